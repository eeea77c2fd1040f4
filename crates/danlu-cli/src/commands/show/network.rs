//! `danlu show network`: layers, parameters, operations and memory, without running anything.

use std::io::Write;

use clap::Args;
use danlu::nn::{Engine, EngineConfig, MemoryReport, NetworkConfig, PlanKey};
use danlu::recipe::{Layer, Recipe, Resolved, resolve};
use danlu::train::TrainError;
use danlu::view::terminal::table;

use super::output::term;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  danlu show network resnet50\n  danlu show network resnet18 --set stem=cifar --image-size 32 --classes 10 --batch-size 128\n  danlu show network efficientnet_lite2 --image-size 260 --json"
)]
pub(super) struct NetworkArgs {
    /// Name of the network: small, resnet18, vgg16_bn, ...
    name: String,
    /// Its options, `--set stem=cifar`; can be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Pixels of a side of the input
    #[arg(long, value_name = "PIXELS", default_value_t = 224)]
    image_size: usize,
    /// Channels of the input: 1 or 3
    #[arg(long, default_value_t = 3)]
    channels: usize,
    /// Number of classes
    #[arg(long, default_value_t = 1000)]
    classes: usize,
    /// Images in a batch, for the memory
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..))]
    batch_size: u32,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &NetworkArgs) -> anyhow::Result<()> {
    let report = Report::of(args)?;
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{:#}", report.json(args))?;
    } else {
        write!(out, "{}", report.text(args))?;
    }
    Ok(())
}

/// The network of that name and options, checked as the recipe's section is.
pub(crate) fn network(name: &str, set: &[String]) -> Result<NetworkConfig, TrainError> {
    let mut layer = Layer::new();
    layer.flag("network.name", name, "NAME")?;
    for text in set {
        layer.set_flag(&format!("network.{text}"))?;
    }
    let recipe: Resolved<Recipe> = resolve(&[layer])?;
    Ok(recipe.recipe.network)
}

struct Report {
    rows: Vec<danlu::nn::LayerRow>,
    parameters: usize,
    flops: u64,
    /// Of a training step and of inference, both without an optimizer's state.
    train: MemoryReport,
    infer: MemoryReport,
}

impl Report {
    fn of(args: &NetworkArgs) -> Result<Self, TrainError> {
        let (n, side) = (args.batch_size as usize, args.image_size);
        let graph = network(&args.name, &args.set)?.build(args.channels, args.classes, [side, side])?;
        let (rows, parameters) = (graph.layers(side, side)?, graph.param_count());
        let flops = graph.flops(side, side)?;
        // Weights are zero pages that nobody touches: only their plans are made.
        let mut engine = Engine::new(graph, &EngineConfig::default())?;
        let train = engine.memory(&PlanKey::train(n, side, side))?;
        let infer = engine.memory(&PlanKey::infer(n, side, side))?;
        Ok(Report { rows, parameters, flops, train, infer })
    }

    /// Weights, running estimates and the arena: inference needs no gradients.
    fn infer_bytes(&self) -> usize {
        self.infer.weights + self.infer.norms + self.infer.arena
    }

    fn text(&self, args: &NetworkArgs) -> String {
        let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
        let cells: Vec<Vec<String>> = self
            .rows
            .iter()
            .zip(&self.train.layers)
            .map(|(row, memory)| {
                vec![
                    row.name.clone(),
                    row.op.clone(),
                    row.output.to_string(),
                    row.params.to_string(),
                    format!("{:.2}", row.flops as f64 / 1e6),
                    format!("{:.2}", mib(memory.output)),
                    format!("{:.2}", mib(memory.kept)),
                ]
            })
            .collect();
        let n = args.batch_size;
        let head = ["layer", "operation", "output", "parameters", "MFLOP", "MiB out", "MiB kept"];
        let [weights, gradients] = [self.train.weights, self.train.gradients].map(mib);
        format!(
            "{}{} parameters, {:.3} GFLOP an image (a multiply-add is two)\n\
             a batch of {n}: training {:.1} MiB (weights {weights:.1}, gradients {gradients:.1}, activations and scratch {:.1}) and the optimizer's state; inference {:.1} MiB\n",
            table(&head, &cells, term()),
            self.parameters,
            self.flops as f64 / 1e9,
            mib(self.train.total()),
            mib(self.train.arena),
            mib(self.infer_bytes()),
        )
    }

    fn json(&self, args: &NetworkArgs) -> serde_json::Value {
        let layers: Vec<serde_json::Value> = self
            .rows
            .iter()
            .zip(&self.train.layers)
            .map(|(row, memory)| {
                serde_json::json!({
                    "name": row.name,
                    "operation": row.op,
                    "output": [row.output.h, row.output.w, row.output.c],
                    "parameters": row.params,
                    "flops": row.flops,
                    "output_bytes": memory.output,
                    "kept_bytes": memory.kept,
                })
            })
            .collect();
        serde_json::json!({
            "network": args.name,
            "image_size": args.image_size,
            "channels": args.channels,
            "classes": args.classes,
            "batch_size": args.batch_size,
            "parameters": self.parameters,
            "flops": self.flops,
            "training_bytes": self.train.total(),
            "inference_bytes": self.infer_bytes(),
            "layers": layers,
        })
    }
}
