//! `danlu show schedule`: the learning rate over a training, without training.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use danlu::nn::Graph;
use danlu::optim::{Group, Preview, ScheduleKind, Unit};
use danlu::recipe::Recipe;
use danlu::train::{Prepared, TrainError, preview_schedule};
use danlu::view::scale::Kind;
use danlu::view::terminal::{TermChart, line_chart};
use danlu::view::{Curve, Look, ScheduleGroup, SchedulePlot, ScheduleUnit, schedule};

use super::output::{picture_path, recipe, request, term, write_picture};
use crate::recipe_args::RecipeArgs;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  danlu show schedule --recipe r.toml\n  danlu show schedule photos/ --recipe r.toml --output schedule.svg\n  danlu show schedule --schedule OneCycleLR --set schedule.unit=iteration --iterations-per-epoch 50 --json"
)]
pub(super) struct ScheduleArgs {
    /// The data set, for its number of iterations an epoch; without one `--iterations-per-epoch` counts
    data: Option<PathBuf>,
    #[command(flatten)]
    recipe: RecipeArgs,
    /// Updates an epoch where no data set is given
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    iterations_per_epoch: u64,
    /// Draw into this file (.svg or .png)
    #[arg(long, short, value_name = "FILE", value_parser = picture_path)]
    output: Option<PathBuf>,
    /// Logarithmic axis of the learning rate
    #[arg(long)]
    log: bool,
    /// Print the values: `{"unit": "epoch", "groups": [{"name": "default", "lr": [...]}]}`
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: ScheduleArgs) -> anyhow::Result<()> {
    let (recipe, graph, iterations_per_epoch) = planned(&args)?;
    let (preview, groups) = preview_schedule(&recipe, &graph, iterations_per_epoch)?;
    let plot = plot(&preview, &groups, args.log);
    if let Some(path) = &args.output {
        write_picture(&schedule(&plot, &Look::default()), path)?;
        eprintln!("picture: {}", path.display());
    }
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", json(&plot))?;
        return Ok(());
    }
    let title = match plot.unit {
        ScheduleUnit::Epoch => "epoch",
        ScheduleUnit::Iteration => "iteration",
    };
    let chart = |name: &str, scale: Kind, values: fn(&ScheduleGroup) -> &Vec<f64>| TermChart {
        title: name.to_owned(),
        x_title: title.to_owned(),
        scale,
        height: 0,
        curves: plot
            .groups
            .iter()
            .filter(|group| !values(group).is_empty())
            .map(|group| Curve {
                name: group.name.clone(),
                points: values(group).iter().enumerate().map(|(i, v)| (i as f64, *v)).collect(),
                ..Curve::default()
            })
            .collect(),
    };
    let scale = if args.log { Kind::Log } else { Kind::Linear };
    write!(out, "{}", line_chart(&chart("learning rate", scale, |group| &group.lr), term()))?;
    if plot.groups.iter().any(|group| !group.momentum.is_empty()) {
        write!(out, "{}", line_chart(&chart("momentum", Kind::Linear, |group| &group.momentum), term()))?;
    }
    for group in &plot.groups {
        let (first, last) = (group.lr.first(), group.lr.last());
        let (first, last) = (first.copied().unwrap_or_default(), last.copied().unwrap_or_default());
        let largest = group.lr.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        writeln!(out, "{}: first {first:e}, largest {largest:e}, last {last:e}", group.name)?;
    }
    if matches!(recipe.schedule.kind, ScheduleKind::ReduceLROnPlateau(_)) {
        writeln!(
            out,
            "ReduceLROnPlateau drops when the metric stops improving, which only a training knows"
        )?;
    }
    Ok(())
}

/// The recipe, the network and the updates an epoch: of the data, or of the recipe alone.
fn planned(args: &ScheduleArgs) -> Result<(Recipe, Graph, u64), TrainError> {
    Ok(match &args.data {
        Some(data) => {
            let prepared = Prepared::new(&request(data.clone(), &args.recipe)?)?;
            let (graph, iterations) = (prepared.graph()?, prepared.iterations_per_epoch() as u64);
            (prepared.recipe.recipe, graph, iterations)
        }
        None => {
            let recipe = recipe(&args.recipe)?.recipe;
            // Only the names of the parameters matter, for the groups: the sizes may be any that fit.
            let side = recipe.data.image_size.unwrap_or(224);
            let classes = recipe.run.as_ref().map_or(10, |run| run.classes.len().max(1));
            let graph = recipe.network.build(recipe.data.channels.unwrap_or(3), classes, [side, side])?;
            (recipe, graph, args.iterations_per_epoch)
        }
    })
}

/// The momentum is shown where it changes.
fn plot(preview: &Preview, groups: &[Group], log: bool) -> SchedulePlot {
    let groups = groups.iter().enumerate().map(|(g, group)| {
        let momenta: Vec<f64> = preview.momenta[g].iter().flatten().copied().collect();
        let changes = momenta.windows(2).any(|pair| pair[0] != pair[1]);
        ScheduleGroup {
            name: group.name.clone(),
            lr: preview.lrs[g].clone(),
            momentum: if changes { momenta } else { Vec::new() },
        }
    });
    let unit = match preview.unit {
        Unit::Epoch => ScheduleUnit::Epoch,
        Unit::Iteration => ScheduleUnit::Iteration,
    };
    SchedulePlot { unit, groups: groups.collect(), log }
}

fn json(plot: &SchedulePlot) -> serde_json::Value {
    let groups: Vec<serde_json::Value> = plot
        .groups
        .iter()
        .map(|group| {
            let mut value = serde_json::json!({ "name": group.name, "lr": group.lr });
            if !group.momentum.is_empty() {
                value["momentum"] = serde_json::json!(group.momentum);
            }
            value
        })
        .collect();
    let unit = match plot.unit {
        ScheduleUnit::Epoch => "epoch",
        ScheduleUnit::Iteration => "iteration",
    };
    serde_json::json!({ "unit": unit, "groups": groups })
}
