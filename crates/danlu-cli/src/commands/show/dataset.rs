//! `danlu show embedding` and `danlu show channels`: what a run's network makes of its validation images.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use danlu::pictures::{Axes, Projection, Sample, dataset, val_samples};
use danlu::train::{Predictor, RunFolder, prepared_of};
use danlu::view::Look;

use super::output::{picture_path, write_picture};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  danlu show embedding runs/demo-1\n  danlu show embedding runs/photos-1 --method tsne --images 1000 -o map.png"
)]
pub(super) struct EmbeddingArgs {
    /// The run folder
    run: PathBuf,
    /// Validation images, evenly spread over the set
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = clap::value_parser!(u64).range(3..=100_000))]
    images: u64,
    /// How the images get their place
    #[arg(long, value_enum, default_value_t = Method::Pca)]
    method: Method,
    /// Neighbours that each image minds in t-SNE, about; lowered where there are few images
    #[arg(long, value_name = "N", default_value_t = 30.0, value_parser = perplexity)]
    perplexity: f64,
    /// The file to draw into (.png or .svg)
    #[arg(long, short, value_name = "FILE", value_parser = picture_path, default_value = "embedding.svg")]
    output: PathBuf,
    /// Print the points as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Method {
    /// Principal components: distances mean something, and it takes no time
    Pca,
    /// t-SNE: groups come apart; who is near whom counts, nothing else
    Tsne,
}

fn perplexity(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    if (2.0..=1000.0).contains(&value) { Ok(value) } else { Err("expected 2 to 1000".to_owned()) }
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  danlu show channels runs/demo-1\n  danlu show channels runs/photos-1 --layer layer4.1.conv2 --channels 16 -o channels.png"
)]
pub(super) struct ChannelsArgs {
    /// The run folder
    run: PathBuf,
    /// The layer; without one the last with feature maps
    #[arg(long, value_name = "NAME")]
    layer: Option<String>,
    /// Channels to show, from the first
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=64))]
    channels: u64,
    /// Validation images to choose from, evenly spread over the set
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    images: u64,
    /// The file to draw into (.png or .svg)
    #[arg(long, short, value_name = "FILE", value_parser = picture_path, default_value = "channels.png")]
    output: PathBuf,
}

fn open(run: &std::path::Path, images: u64) -> anyhow::Result<(Predictor, Vec<Sample>)> {
    let run = RunFolder::open(run)?;
    let predictor = Predictor::open(&run)?;
    let samples = val_samples(&predictor, &prepared_of(&run, &run.info()?)?, images as usize)?;
    Ok((predictor, samples))
}

pub(super) fn embedding(args: EmbeddingArgs) -> anyhow::Result<()> {
    let (mut predictor, samples) = open(&args.run, args.images)?;
    let projection = match args.method {
        Method::Pca => Projection::Pca,
        Method::Tsne => Projection::Tsne { perplexity: args.perplexity },
    };
    let map = dataset::map(&mut predictor, &samples, projection)?;
    let picture = dataset::map_picture(&map, &samples, predictor.classes(), &Look::default())?;
    write_picture(&picture, &args.output)?;
    let mut out = std::io::stdout().lock();
    if args.json {
        let points: Vec<serde_json::Value> = samples
            .iter()
            .zip(&map.points)
            .map(|(sample, (x, y))| serde_json::json!({ "image": sample.name, "label": sample.label, "x": x, "y": y }))
            .collect();
        let mut value = serde_json::json!({ "points": points, "picture": args.output });
        match map.axes {
            Axes::Components { variance } => value["variance"] = serde_json::json!(variance),
            Axes::Neighbours { perplexity, divergence } => {
                value["perplexity"] = serde_json::json!(perplexity);
                value["divergence"] = serde_json::json!(divergence);
            }
        }
        writeln!(out, "{value:#}")?;
        return Ok(());
    }
    let how = match map.axes {
        Axes::Components { variance: [first, second] } => format!(
            "along the first two principal components of the last layer's input, which hold {:.0} % and {:.0} % of the variance",
            100.0 * first,
            100.0 * second
        ),
        Axes::Neighbours { perplexity, divergence } => format!(
            "by t-SNE of the last layer's input (perplexity {perplexity:.0}, divergence {divergence:.2}): who is near whom counts, the distance of groups means nothing"
        ),
    };
    writeln!(out, "{} validation images {how}\npicture: {}", samples.len(), args.output.display())?;
    Ok(())
}

pub(super) fn channels(args: ChannelsArgs) -> anyhow::Result<()> {
    let (mut predictor, samples) = open(&args.run, args.images)?;
    let layer = match &args.layer {
        Some(name) => predictor.layer(name)?,
        None => predictor.last_feature_maps()?,
    };
    let picture =
        dataset::exciting(&mut predictor, &samples, &layer, args.channels as usize, &Look::default())?;
    write_picture(&picture, &args.output)?;
    writeln!(
        std::io::stdout().lock(),
        "{}: the images of {} that excite each channel of {} most, a row a channel",
        args.output.display(),
        samples.len(),
        layer.name
    )?;
    Ok(())
}
