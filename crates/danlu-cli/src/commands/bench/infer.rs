//! `danlu bench infer`: a forward pass, with the batch norms folded into the convolutions and without.

use std::time::Instant;

use clap::Args;
use danlu::nn::{Engine, EngineConfig, InitConfig, WeightSet};
use danlu::train::TrainError;

use super::layers::Layers;
use super::{Subject, median, print};

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
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &InferArgs) -> Result<(), TrainError> {
    let subject = &args.subject;
    let config = EngineConfig { threads: subject.threads, ..EngineConfig::default() };
    let mut plain = Engine::new(subject.build()?, &config)?;
    plain.initialize(&InitConfig::default(), 0)?;
    let (graph, weights) = plain.fold(WeightSet::Live)?;
    let mut folded = Engine::new(graph, &config)?;
    folded.load_state_dict(&weights, WeightSet::Live)?;
    let mut reports = Vec::new();
    let mut texts = Vec::new();
    for &n in &args.batch_size {
        let images = subject.images(n.max(1));
        let mut layers = Layers::default();
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
        if args.layers {
            folded.set_profiling(true);
            for _ in 0..args.passes.max(1) {
                folded.infer(&images.input(), WeightSet::Live)?;
                layers.add(folded.profile(), "the rest", 0.0);
            }
            folded.set_profiling(false);
        }
        let [plain, folded] = times.map(|mut times| median(&mut times));
        let side = subject.image_size;
        let rate = |seconds: f64| n as f64 / seconds;
        let mut report = serde_json::json!({
            "network": subject.network,
            "batch_size": n,
            "image_size": side,
            "unfolded_images_per_second": rate(plain),
            "images_per_second": rate(folded),
            "gain": plain / folded - 1.0,
        });
        let mut text = format!(
            "{}: batch {n} at {side}x{side}: {:.1} images/s folded ({:.3} ms), {:.1} unfolded ({:.3} ms): folding gains {:+.1} %",
            subject.network,
            rate(folded),
            1e3 * folded,
            rate(plain),
            1e3 * plain,
            100.0 * (plain / folded - 1.0)
        );
        if args.layers {
            layers.measured(&config)?.report(&mut report, &mut text);
        }
        reports.push(report);
        texts.push(text);
    }
    print(&if args.json { format!("{:#}", serde_json::Value::from(reports)) } else { texts.join("\n") });
    Ok(())
}
