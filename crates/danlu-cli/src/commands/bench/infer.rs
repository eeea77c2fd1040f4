//! `danlu bench infer`: a forward pass, with the batch norms folded into the convolutions and without.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use danlu::nn::{Engine, EngineConfig, InitConfig, WeightSet};
use danlu::train::TrainError;

use super::folding::Folding;
use super::layers::Layers;
use super::{Subject, median, print};
use crate::commands::show::output::{picture_path, write_picture};

#[derive(Debug, Args)]
pub(super) struct InferArgs {
    #[command(flatten)]
    subject: Subject,
    /// Images a pass (may be given again)
    #[arg(long, default_values_t = [1, 64])]
    batch_size: Vec<usize>,
    /// Timed passes of each kind, after one that is not
    #[arg(long, default_value_t = 20)]
    passes: usize,
    /// Every kernel of the folded pass: algorithm, time, speed, share of the machine's peak, bytes
    #[arg(long)]
    layers: bool,
    /// Every layer that took a batch norm in, and what that gained
    #[arg(long)]
    folding: bool,
    /// Draw what folding gains layer by layer, for the last batch size (.png or .svg)
    #[arg(long, short, value_name = "FILE", value_parser = picture_path)]
    output: Option<PathBuf>,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &InferArgs) -> anyhow::Result<()> {
    let (mut reports, mut texts, folding) = measure(args)?;
    if let (Some(path), Some(mut folding)) = (&args.output, folding) {
        let Subject { network, image_size: side, .. } = &args.subject;
        let n = args.batch_size.last().copied().unwrap_or_default();
        let title = format!("{network} at {side}x{side}, batch {n}: time by layer");
        write_picture(&folding.picture(title)?, path)?;
        if let Some(report) = reports.last_mut() {
            report["picture"] = serde_json::json!(path);
        }
        texts.push(format!("picture: {}", path.display()));
    }
    print(&if args.json { format!("{:#}", serde_json::Value::from(reports)) } else { texts.join("\n") });
    Ok(())
}

/// Reports as JSON and as text, one a batch size, and what folding did to the layers of the last.
type Measured = (Vec<serde_json::Value>, Vec<String>, Option<Folding>);

fn measure(args: &InferArgs) -> Result<Measured, TrainError> {
    let subject = &args.subject;
    let config = EngineConfig { threads: subject.threads, ..EngineConfig::default() };
    let mut plain = Engine::new(subject.build()?, &config)?;
    plain.initialize(&InitConfig::default(), 0)?;
    let (graph, weights) = plain.fold(WeightSet::Live)?;
    let mut folded = Engine::new(graph, &config)?;
    folded.load_state_dict(&weights, WeightSet::Live)?;
    let mut reports = Vec::new();
    let mut texts = Vec::new();
    let mut last: Option<Folding> = None;
    for &n in &args.batch_size {
        let images = subject.images(n.max(1));
        let mut layers = Layers::default();
        last = None;
        let mut times = [Vec::new(), Vec::new()];
        // Alternately, so that whatever else the machine does falls on both.
        for i in 0..=args.passes.max(1) {
            for (engine, times) in [&mut plain, &mut folded].into_iter().zip(&mut times) {
                let start = Instant::now();
                engine.infer(&images.input(), WeightSet::Live)?;
                if i > 0 {
                    times.push(start.elapsed().as_secs_f64());
                }
            }
        }
        if args.folding || args.output.is_some() {
            let mut folding = Folding::of(&plain);
            [&mut plain, &mut folded].into_iter().for_each(|engine| engine.set_profiling(true));
            for _ in 0..args.passes.max(1) {
                plain.infer(&images.input(), WeightSet::Live)?;
                folded.infer(&images.input(), WeightSet::Live)?;
                folding.add(plain.profile(), folded.profile());
            }
            [&mut plain, &mut folded].into_iter().for_each(|engine| engine.set_profiling(false));
            last = Some(folding);
        }
        if args.layers {
            folded.set_profiling(true);
            for _ in 0..args.passes.max(1) {
                folded.infer(&images.input(), WeightSet::Live)?;
                layers.add(folded.profile(), "the rest", 0.0);
            }
            folded.set_profiling(false);
        }
        let [plain_time, folded_time] = times.map(|mut times| median(&mut times));
        let side = subject.image_size;
        let rate = |seconds: f64| n as f64 / seconds;
        let mut report = serde_json::json!({
            "network": subject.network,
            "batch_size": n,
            "image_size": side,
            "unfolded_images_per_second": rate(plain_time),
            "images_per_second": rate(folded_time),
            "gain": plain_time / folded_time - 1.0,
        });
        let mut text = format!(
            "{}: batch {n} at {side}x{side}: {:.1} images/s folded ({:.3} ms), {:.1} unfolded ({:.3} ms): folding gains {:+.1} %",
            subject.network,
            rate(folded_time),
            1e3 * folded_time,
            rate(plain_time),
            1e3 * plain_time,
            100.0 * (plain_time / folded_time - 1.0)
        );
        if let (Some(folding), true) = (&mut last, args.folding) {
            folding.report(&mut report, &mut text);
        }
        if args.layers {
            layers.measured(&config)?.report(&mut report, &mut text);
        }
        reports.push(report);
        texts.push(text);
    }
    Ok((reports, texts, last))
}
