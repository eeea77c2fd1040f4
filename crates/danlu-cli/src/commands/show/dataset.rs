//! `danlu show embedding` and `danlu show channels`: what a run's network makes of its validation images.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use danlu::pictures::{Sample, dataset, val_samples};
use danlu::train::{Predictor, RunFolder, prepared_of};
use danlu::view::Look;

use super::output::{picture_path, write_picture};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  danlu show embedding runs/demo-1\n  danlu show embedding runs/photos-1 --images 1000 -o map.png"
)]
pub(super) struct EmbeddingArgs {
    /// The run folder
    run: PathBuf,
    /// Validation images, evenly spread over the set
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = clap::value_parser!(u64).range(3..=100_000))]
    images: u64,
    /// The file to draw into (.png or .svg)
    #[arg(long, short, value_name = "FILE", value_parser = picture_path, default_value = "embedding.svg")]
    output: PathBuf,
    /// Print the points as JSON
    #[arg(long)]
    json: bool,
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
    let map = dataset::map(&mut predictor, &samples)?;
    let picture = dataset::map_picture(&map, &samples, predictor.classes(), &Look::default())?;
    write_picture(&picture, &args.output)?;
    let mut out = std::io::stdout().lock();
    if args.json {
        let points: Vec<serde_json::Value> = samples
            .iter()
            .zip(&map.points)
            .map(|(sample, (x, y))| serde_json::json!({ "image": sample.name, "label": sample.label, "x": x, "y": y }))
            .collect();
        let value = serde_json::json!({ "variance": map.variance, "points": points, "picture": args.output });
        writeln!(out, "{value:#}")?;
        return Ok(());
    }
    writeln!(
        out,
        "{} validation images along the first two principal components of the last layer's input, which hold {:.0} % and {:.0} % of the variance\npicture: {}",
        samples.len(),
        100.0 * map.variance[0],
        100.0 * map.variance[1],
        args.output.display()
    )?;
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
