//! `danlu show weights`: filters, distributions, what changed, what is dead.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use danlu::pictures::WeightsView;
use danlu::view::Look;
use danlu::view::terminal::table;

use super::output::{picture_path, term, write_picture};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  danlu show weights runs/demo-1\n  danlu show weights runs/demo-1 --layer features.3 --output filters.png\n  danlu show weights runs/photos-2 --against runs/photos-1\n  danlu show weights resnet18.pth --json"
)]
pub(super) struct WeightsArgs {
    /// A run folder (its best weights), a .safetensors or .pth file, or a Hugging Face folder
    weights: PathBuf,
    /// The convolution whose filters are drawn; without one the first
    #[arg(long, value_name = "NAME")]
    layer: Option<String>,
    /// Measure the change from these weights; of a run otherwise from the weights that it began with
    #[arg(long, value_name = "RUN|FILE")]
    against: Option<PathBuf>,
    /// Most filters to draw
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=1024))]
    filters: u64,
    /// The file to draw into (.png or .svg)
    #[arg(long, short, value_name = "FILE", value_parser = picture_path, default_value = "weights.svg")]
    output: PathBuf,
    /// Print the numbers as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: WeightsArgs) -> anyhow::Result<()> {
    let view = WeightsView::open(&args.weights, args.against.as_deref())?;
    let picture = view.picture(args.layer.as_deref(), args.filters as usize, &Look::default())?;
    write_picture(&picture, &args.output)?;
    let mut out = std::io::stdout().lock();
    let change = |name: &str| view.changes.iter().find(|change| change.0 == name).map(|change| change.1);
    if args.json {
        let layers: Vec<serde_json::Value> = view
            .layers
            .iter()
            .map(|layer| {
                let mut value = serde_json::to_value(layer)?;
                value["change"] = serde_json::json!(change(&layer.name));
                Ok(value)
            })
            .collect::<anyhow::Result<_>>()?;
        let value = serde_json::json!({
            "path": view.path,
            "against": view.against,
            "layers": layers,
            "picture": args.output,
        });
        writeln!(out, "{value:#}")?;
        return Ok(());
    }
    let rows: Vec<Vec<String>> = view
        .layers
        .iter()
        .map(|layer| {
            let shape: Vec<String> = layer.shape.iter().map(usize::to_string).collect();
            vec![
                layer.name.clone(),
                shape.join("x"),
                format!("{:.3}", layer.norm),
                format!("{:.4}", layer.std),
                change(&layer.name).map_or("-".to_owned(), |change| format!("{:.0} %", 100.0 * change)),
                layer.dead.len().to_string(),
                layer.duplicates.len().to_string(),
            ]
        })
        .collect();
    let head = ["weights", "shape", "norm", "std", "change", "dead", "copies"];
    write!(out, "{}", table(&head, &rows, term()))?;
    if let Some(against) = &view.against {
        writeln!(out, "change: from {against}, as a share of their norm")?;
    }
    let (dead, copies) = view.dead_and_duplicates();
    writeln!(
        out,
        "{dead} dead filters (norm below 1 % of the layer's median), {copies} pairs of copies (cosine of at least 0.98)"
    )?;
    let broken: usize = view.layers.iter().map(|layer| layer.non_finite).sum();
    if broken > 0 {
        writeln!(out, "{broken} values are NaN or infinite")?;
    }
    writeln!(out, "picture: {}", args.output.display())?;
    Ok(())
}
