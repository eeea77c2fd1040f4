//! `danlu bench`: how fast this machine is, and what the time goes to.

mod data;
mod folding;
mod infer;
mod layers;
mod machine;
mod step;

use std::io::Write;

use clap::{Args, Subcommand};
use danlu::nn::{Graph, Images, Input};
use danlu::train::TrainError;

use super::show::network;

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    what: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// A training step: forward, backward, SGD momentum update
    Step(step::StepArgs),
    /// A forward pass with and without batch norms folded into the convolutions
    Infer(infer::InferArgs),
    /// Images read, decoded, augmented and batched
    Data(Box<data::DataArgs>),
    /// The most that the machine can do: multiply-adds and memory
    Machine(machine::MachineArgs),
}

pub(crate) fn run(args: BenchArgs) -> anyhow::Result<()> {
    match args.what {
        Bench::Step(args) => step::run(&args)?,
        Bench::Infer(args) => infer::run(&args)?,
        Bench::Data(args) => data::run(&args)?,
        Bench::Machine(args) => machine::run(&args)?,
    }
    Ok(())
}

/// The network and the images that are timed.
#[derive(Debug, Args)]
struct Subject {
    /// Name of the network
    #[arg(long, default_value = "small")]
    network: String,
    /// Stem of a ResNet: imagenet or cifar
    #[arg(long)]
    stem: Option<String>,
    /// Pixels of a side of the input
    #[arg(long, value_name = "PIXELS", default_value_t = 28)]
    image_size: usize,
    /// Channels of the input
    #[arg(long, default_value_t = 1)]
    channels: usize,
    /// Number of classes
    #[arg(long, default_value_t = 10)]
    classes: usize,
    /// A setting of the network: width=64 (may be given again)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Threads; 0 is all cores
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

impl Subject {
    fn build(&self) -> Result<Graph, TrainError> {
        let set: Vec<String> =
            self.stem.iter().map(|stem| format!("stem={stem}")).chain(self.set.iter().cloned()).collect();
        let size = [self.image_size, self.image_size];
        Ok(network(&self.network, &set)?.build(self.channels, self.classes, size)?)
    }

    fn images(&self, n: usize) -> Batch {
        let (side, channels) = (self.image_size, self.channels);
        Batch {
            // Any pixels will do: the arithmetic does not depend on them.
            pixels: (0..n * side * side * channels).map(|i| (i * 37 % 251) as u8).collect(),
            mean: vec![0.5; channels],
            std: vec![0.25; channels],
            shape: [n, side, side, channels],
        }
    }
}

struct Batch {
    pixels: Vec<u8>,
    mean: Vec<f32>,
    std: Vec<f32>,
    shape: [usize; 4],
}

impl Batch {
    fn input(&self) -> Input<'_> {
        let images = Images::U8 { data: &self.pixels, mean: &self.mean, std: &self.std };
        Input { images, shape: self.shape, mix: None }
    }
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// A reader that has seen enough is no failure.
fn print(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}
