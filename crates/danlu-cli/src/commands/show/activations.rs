//! `danlu show activations`: feature maps, dead channels, Grad-CAM and occlusion.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use danlu::pictures::{activations, explain, open_sample, val_samples};
use danlu::train::{Predictor, RunFolder, prepared_of};
use danlu::view::Look;
use danlu::view::svg::column;
use danlu::view::terminal::{Term, bars, image, table};

use super::output::{picture_path, term, write_picture};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  danlu show activations runs/demo-1 val:7\n  danlu show activations runs/photos-1 cat.jpg --class dog --output why.png\n  danlu show activations resnet18.pth cat.jpg --layer layer1.0 --layer layer4.1\n  danlu show activations runs/demo-1 val:0 --batch 256 --json"
)]
pub(super) struct ActivationsArgs {
    /// A run folder, a .safetensors or .pth file, or a Hugging Face folder
    model: PathBuf,
    /// An image file, or `val:N`: the N-th validation image of the run, counted from 0
    image: String,
    /// The class to explain; without one the most probable
    #[arg(long, value_name = "NAME")]
    class: Option<String>,
    /// Layer whose feature maps are drawn, can be given several times; without one six, from the first to the last. Grad-CAM looks at the last that is given
    #[arg(long, value_name = "NAME")]
    layer: Vec<String>,
    /// Most channels of a layer to draw
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u64).range(1..=512))]
    channels: u64,
    /// Side in pixels of the square that occlusion covers; 0 leaves occlusion out; without a number a quarter of the image
    #[arg(long, value_name = "PIXELS")]
    patch: Option<usize>,
    /// Take statistics and dead channels over so many validation images of the run instead of this image
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    batch: Option<u64>,
    /// The file to draw into (.png or .svg)
    #[arg(long, short, value_name = "FILE", value_parser = picture_path, default_value = "activations.svg")]
    output: PathBuf,
    /// Print the numbers as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: ActivationsArgs) -> anyhow::Result<()> {
    let mut predictor = Predictor::load(&args.model)?;
    predictor.notes().iter().for_each(|note| eprintln!("note: {note}"));
    let sample = open_sample(&predictor, &args.model, &args.image)?;
    let patch = args.patch.unwrap_or(sample.pixels.height.min(sample.pixels.width) / 4);
    let layer = args.layer.last().map(String::as_str);
    let why = explain(&mut predictor, &sample, args.class.as_deref(), layer, patch)?;
    let look = Look::default();
    let maps =
        activations::maps(&mut predictor, &sample.pixels, &args.layer, 6, args.channels as usize, &look)?;
    let images = match args.batch {
        None => vec![sample.pixels.clone()],
        Some(count) => {
            let run = RunFolder::open(&args.model)?;
            let prepared = prepared_of(&run, &run.info()?)?;
            let samples = val_samples(&predictor, &prepared, count as usize)?;
            samples.into_iter().map(|sample| sample.pixels).collect()
        }
    };
    let statistics = activations::statistics(&mut predictor, &images)?;
    let parts = [why.picture(&look)?, maps, activations::statistics_picture(&statistics, &look)];
    write_picture(&column(&format!("what the network sees of {}", sample.name), parts), &args.output)?;

    let mut out = std::io::stdout().lock();
    let truth = sample.label.and_then(|label| predictor.classes().get(label as usize));
    if args.json {
        let heat = |heat: &danlu::train::Heat| serde_json::json!({ "height": heat.height, "width": heat.width, "values": heat.values });
        let value = serde_json::json!({
            "image": sample.name,
            "truth": truth,
            "predictions": why.predictions,
            "class": why.class,
            "grad_cam": { "layer": why.grad_cam.layer, "heat": heat(&why.grad_cam.heat) },
            "occlusion": why.occlusion.as_ref().map(heat),
            "statistics_over": images.len(),
            "layers": statistics,
            "picture": args.output,
        });
        writeln!(out, "{value:#}")?;
        return Ok(());
    }
    let term = term();
    match truth {
        Some(truth) => writeln!(out, "{} is {truth}", sample.name)?,
        None => writeln!(out, "{}", sample.name)?,
    }
    let best: Vec<(String, f64, String)> = why
        .predictions
        .iter()
        .take(5)
        .map(|p| (p.class.clone(), p.probability, format!("{:.1} %", 100.0 * p.probability)))
        .collect();
    write!(out, "{}", bars(&best, term))?;
    writeln!(out, "\nGrad-CAM for {} at {}", why.class, why.grad_cam.layer)?;
    let small = Term { width: term.width.min(if term.color { 40 } else { 64 }), ..term };
    // Without colour only the heat itself can be read.
    let shown = if term.color { why.grad_cam_image()? } else { why.grad_cam_plain()? };
    write!(out, "{}", image(&shown, small))?;
    let rows: Vec<Vec<String>> = statistics
        .iter()
        .map(|layer| {
            let [h, w, c] = layer.shape;
            vec![
                layer.name.clone(),
                format!("{h}x{w}x{c}"),
                format!("{:.3}", layer.mean),
                format!("{:.3}", layer.std),
                format!("{:.0} %", 100.0 * layer.zeros),
                format!("{} of {c}", layer.dead.len()),
            ]
        })
        .collect();
    writeln!(out)?;
    write!(out, "{}", table(&["layer", "output", "mean", "std", "zeros", "dead channels"], &rows, term))?;
    writeln!(out, "statistics over {} image(s)\npicture: {}", images.len(), args.output.display())?;
    Ok(())
}
