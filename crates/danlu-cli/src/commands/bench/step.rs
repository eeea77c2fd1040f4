//! `danlu bench step`: how fast a training step is.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use danlu::nn::{Engine, EngineConfig, InitConfig, LossConfig, PlanKey, StepContext, Targets};
use danlu::optim::{Dtype, Optimizer, OptimizerConfig, SgdConfig};

use super::layers::Layers;
use super::{Subject, median, print};
use crate::commands::show::output::{picture_path, write_picture};

#[derive(Debug, Args)]
pub(super) struct StepArgs {
    #[command(flatten)]
    subject: Subject,
    /// Images a step
    #[arg(long, default_value_t = 128)]
    batch_size: usize,
    /// Number format: f32
    #[arg(long, default_value = "f32", value_parser = ["f32"])]
    precision: String,
    /// Timed steps, after one that is not
    #[arg(long, default_value_t = 5)]
    steps: usize,
    /// Every kernel of the step: algorithm, time, speed, share of the machine's peak, bytes
    #[arg(long)]
    layers: bool,
    /// Draws every convolution under the machine's limits (its roofline) into this file (.png or .svg)
    #[arg(long, value_name = "FILE", value_parser = picture_path)]
    roofline: Option<PathBuf>,
    /// Draws the time of each layer, forward and backward, into this file (.png or .svg)
    #[arg(long, value_name = "FILE", value_parser = picture_path)]
    bars: Option<PathBuf>,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &StepArgs) -> anyhow::Result<()> {
    let subject = &args.subject;
    let (n, side) = (args.batch_size.max(1), subject.image_size);
    let graph = subject.build()?;
    let flops = graph.flops(side, side)?;
    let parameters = graph.param_count();
    let config = EngineConfig { threads: subject.threads, ..EngineConfig::default() };
    let mut engine = Engine::new(graph, &config)?;
    engine.initialize(&InitConfig::default(), 0)?;
    let rule =
        OptimizerConfig::Sgd(SgdConfig { lr: 0.01, momentum: 0.9, weight_decay: 5e-4, ..Default::default() });
    let mut optimizer = Optimizer::new(&rule, &[], &engine.param_specs(), Dtype::F32)?;
    let planned =
        engine.memory(&PlanKey::train(n, side, side))?.with_optimizer(optimizer.state_bytes()).total();
    let images = subject.images(n);
    let labels: Vec<u32> = (0..n).map(|i| (i % subject.classes) as u32).collect();
    let profiled = args.layers || args.roofline.is_some() || args.bars.is_some();
    engine.set_profiling(profiled);
    let mut layers = Layers::default();
    let mut times = Vec::with_capacity(args.steps);
    for i in 0..=args.steps.max(1) {
        let start = Instant::now();
        let context = StepContext { iteration: i as u64, ..StepContext::default() };
        engine.forward_backward(
            &images.input(),
            &Targets::Classes(&labels),
            &LossConfig::default(),
            &context,
        )?;
        let update = Instant::now();
        engine.step(&mut optimizer)?;
        if i > 0 {
            times.push(start.elapsed().as_secs_f64());
            layers.add(engine.profile(), "optimizer", update.elapsed().as_secs_f64());
        }
    }
    let seconds = median(&mut times);
    let rate = n as f64 / seconds;
    let mut report = serde_json::json!({
        "network": subject.network,
        "batch_size": n,
        "image_size": side,
        "precision": args.precision,
        "parameters": parameters,
        "images_per_second": rate,
        "step_ms": 1e3 * seconds,
        "effective_gflops": 3.0 * flops as f64 * rate / 1e9,
        "peak_bytes": planned,
    });
    let mut text = format!(
        "{}: batch {n} at {side}x{side}: {:.2} ms a step, {rate:.1} images/s, {:.1} GFLOP/s (a step counted as three forward passes), {:.1} MiB planned",
        subject.network,
        1e3 * seconds,
        3.0 * flops as f64 * rate / 1e9,
        planned as f64 / f64::from(1 << 20)
    );
    if profiled {
        let measured = layers.measured(&config)?;
        if args.layers {
            measured.report(&mut report, &mut text);
        }
        if let Some(path) = &args.roofline {
            write_picture(&measured.roofline(), path)?;
        }
        if let Some(path) = &args.bars {
            write_picture(&measured.bars(&subject.network)?, path)?;
        }
    }
    print(&if args.json { format!("{report:#}") } else { text });
    Ok(())
}
