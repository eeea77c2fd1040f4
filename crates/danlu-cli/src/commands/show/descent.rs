//! `danlu show descent`: the path of gradient descent over a loss of two parameters, for each step size.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use danlu::optim::{Dtype, Optimizer, OptimizerConfig, ParamSpec, TensorMut};
use danlu::recipe::{Layer, Recipe, Resolved, resolve};
use danlu::train::TrainError;
use danlu::view::terminal::{TermChart, line_chart, table};
use danlu::view::{Curve, Descent, Look, descent};

use super::output::{picture_path, term, write_picture};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  danlu show descent                                    # a small, a good, a large and a too large step\n  danlu show descent --lr 0.02 --lr 0.18 --output descent.svg\n  danlu show descent --lr 0.02 --set momentum=0.9        # what momentum makes of a small step\n  danlu show descent --optimizer adam --lr 0.1 --lr 1 --steps 60"
)]
pub(super) struct DescentArgs {
    /// Learning rate of a path; can be given several times
    #[arg(long, value_name = "LR", default_values_t = [0.01, 0.09, 0.18, 0.205])]
    lr: Vec<f64>,
    /// `optimizer.name`: sgd, adam, ...
    #[arg(long, value_name = "NAME", default_value = "sgd")]
    optimizer: String,
    /// An option of the optimizer, `--set momentum=0.9`; can be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Steps of each path
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    steps: u32,
    /// How many times steeper the loss is along the second parameter, 1 to 1000; steps above `2 / STEEPNESS` climb
    #[arg(long, value_name = "STEEPNESS", default_value_t = 10.0, value_parser = steepness)]
    steepness: f64,
    /// Where the paths start, both parameters
    #[arg(long, value_name = "X,Y", default_value = "-9,2", value_parser = place, allow_hyphen_values = true)]
    start: (f64, f64),
    /// Draw into this file (.svg or .png)
    #[arg(long, short, value_name = "FILE", value_parser = picture_path)]
    output: Option<PathBuf>,
    /// Print every path as JSON
    #[arg(long)]
    json: bool,
}

fn steepness(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if (1.0..=1000.0).contains(&value) => Ok(value),
        _ => Err("expected a number from 1 to 1000".to_owned()),
    }
}

fn place(text: &str) -> Result<(f64, f64), String> {
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|value| value.abs() <= 1e6);
    text.split_once(',')
        .and_then(|(x, y)| Some((number(x)?, number(y)?)))
        .ok_or_else(|| "expected two numbers from -1e6 to 1e6, as `-9,2`".to_owned())
}

/// The path of one learning rate.
struct Path {
    lr: f64,
    /// The start and the place after each step; it ends early where a place is no finite number.
    points: Vec<(f64, f64)>,
    losses: Vec<f64>,
}

/// A long valley: `(x^2 + steepness * y^2) / 2`, the shape that a loss has near any minimum, with its two directions
/// of the least and the greatest curvature.
struct Valley {
    steepness: f64,
}

impl Valley {
    fn loss(&self, (x, y): (f64, f64)) -> f64 {
        0.5 * (x * x + self.steepness * y * y)
    }

    fn gradient(&self, (x, y): (f64, f64)) -> [f64; 2] {
        [x, self.steepness * y]
    }
}

pub(super) fn run(args: DescentArgs) -> anyhow::Result<()> {
    let valley = Valley { steepness: args.steepness };
    let paths =
        args.lr.iter().map(|&lr| path(&args, &valley, lr)).collect::<Result<Vec<Path>, TrainError>>()?;
    if let Some(output) = &args.output {
        write_picture(&descent(&picture(&valley, &paths, args.start), &Look::default()), output)?;
        eprintln!("picture: {}", output.display());
    }
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{:#}", json(&args, &paths))?;
        return Ok(());
    }
    write!(out, "{}", line_chart(&chart(&paths), term()))?;
    let rows: Vec<Vec<String>> = paths.iter().map(summary).collect();
    write!(
        out,
        "{}",
        table(&["lr", "loss at the start", "at the end", "steps", "what it does"], &rows, term())
    )?;
    Ok(())
}

/// The optimizer of that name and options, checked as the recipe's section is.
fn rule(args: &DescentArgs, lr: f64) -> Result<OptimizerConfig, TrainError> {
    let mut layer = Layer::new();
    layer.flag("optimizer.name", args.optimizer.as_str(), "--optimizer")?;
    layer.flag("optimizer.lr", lr, "--lr")?;
    for text in &args.set {
        layer.set_flag(&format!("optimizer.{text}"))?;
    }
    let recipe: Resolved<Recipe> = resolve(&[layer])?;
    Ok(recipe.recipe.optimizer.rule)
}

/// Runs the very optimizer that trains networks, on two parameters.
fn path(args: &DescentArgs, valley: &Valley, lr: f64) -> Result<Path, TrainError> {
    let rule = rule(args, lr)?;
    let start = args.start;
    // A matrix: biases would go without weight decay, and Muon would leave them to AdamW.
    let specs = [ParamSpec::new("weight", [1, 2])];
    let mut optimizer = Optimizer::new(&rule, &[], &specs, Dtype::F64)?;
    let mut at = [start.0, start.1];
    let mut points = vec![start];
    for _ in 0..args.steps {
        let grad = valley.gradient((at[0], at[1]));
        optimizer.step::<f64>(&mut [TensorMut { param: &mut at, grad: &grad }], None)?;
        if !at.iter().all(|value| value.is_finite()) {
            break;
        }
        points.push((at[0], at[1]));
    }
    let losses = points.iter().map(|&point| valley.loss(point)).collect();
    Ok(Path { lr, points, losses })
}

fn summary(path: &Path) -> Vec<String> {
    let first = path.losses.first().copied().unwrap_or_default();
    let last = path.losses.last().copied().unwrap_or_default();
    // Whether the steep direction changes sides tells large steps from small ones.
    let turns = path.points.windows(2).filter(|pair| pair[0].1 * pair[1].1 < 0.0).count();
    let what = if !last.is_finite() || last > first {
        "climbs: too large"
    } else if last > 0.01 * first {
        if turns * 2 > path.points.len() { "zigzags" } else { "on its way" }
    } else if turns * 2 > path.points.len() {
        "arrives in zigzags"
    } else {
        "arrives"
    };
    vec![
        path.lr.to_string(),
        format!("{first:.3e}"),
        format!("{last:.3e}"),
        (path.points.len() - 1).to_string(),
        what.to_owned(),
    ]
}

fn chart(paths: &[Path]) -> TermChart {
    TermChart {
        title: "loss".to_owned(),
        x_title: "step".to_owned(),
        scale: danlu::view::scale::Kind::Log,
        height: 0,
        curves: paths
            .iter()
            .map(|path| Curve {
                name: format!("lr {}", path.lr),
                points: path.losses.iter().enumerate().map(|(i, loss)| (i as f64, *loss)).collect(),
                ..Curve::default()
            })
            .collect(),
    }
}

fn json(args: &DescentArgs, paths: &[Path]) -> serde_json::Value {
    let paths: Vec<serde_json::Value> = paths
        .iter()
        .map(|path| serde_json::json!({ "lr": path.lr, "points": path.points, "loss": path.losses }))
        .collect();
    serde_json::json!({ "optimizer": args.optimizer, "steepness": args.steepness, "paths": paths })
}

/// The valley around its floor and the start; paths that leave it are cut at the edge.
fn picture(valley: &Valley, paths: &[Path], start: (f64, f64)) -> Descent {
    const SIDE: usize = 81;
    let x = 1.15 * start.0.abs().max(1.0);
    // A floor that is not much narrower than long, so that zigzags are seen.
    let y = 1.5 * start.1.abs().max(x / 5.0);
    let at = |i: usize, half: f64| half * (2.0 * i as f64 / (SIDE - 1) as f64 - 1.0);
    let loss = (0..SIDE * SIDE).map(|i| valley.loss((at(i % SIDE, x), at(i / SIDE, y)))).collect();
    Descent {
        x: (-x, x),
        y: (-y, y),
        loss,
        columns: SIDE,
        paths: paths.iter().map(|path| (format!("lr {}", path.lr), path.points.clone())).collect(),
        names: ("parameter 1 (flat)".to_owned(), "parameter 2 (steep)".to_owned()),
    }
}
