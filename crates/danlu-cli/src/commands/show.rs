//! `danlu show`: the network here, one file for each other thing to look at.

mod activations;
mod augment;
mod curves;
mod dataset;
mod descent;
mod init;
pub(super) mod output;
mod schedule;
mod weights;

use std::io::Write;

use clap::{Args, Subcommand};
use danlu::nn::NetworkConfig;
use danlu::recipe::{Layer, Recipe, Resolved, resolve};
use danlu::train::TrainError;

pub(crate) use output::term;

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    #[command(subcommand)]
    what: Show,
}

#[derive(Debug, Subcommand)]
enum Show {
    /// Learning curves of one or more runs, in the terminal or as a picture
    Curves(curves::CurvesArgs),
    /// Filters, distributions, what changed in the training, dead and copied filters
    Weights(Box<weights::WeightsArgs>),
    /// What the layers see of an image: feature maps, dead channels, Grad-CAM, occlusion
    Activations(Box<activations::ActivationsArgs>),
    /// A map of a run's validation images: the principal components of what the last layer sees
    Embedding(dataset::EmbeddingArgs),
    /// The validation images that excite each channel of a layer most
    Channels(dataset::ChannelsArgs),
    /// Layers, shapes, parameters and FLOPs of a network
    Network {
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
    },
    /// The learning rate (and momentum) of every parameter group over a training, without training
    Schedule(Box<schedule::ScheduleArgs>),
    /// Training images as the network sees them, augmented; a contact sheet
    Augment(Box<augment::AugmentArgs>),
    /// What each initialisation makes of an image, in one convolution and layer by layer
    Init(Box<init::InitArgs>),
    /// The path of an optimizer over a loss of two parameters, with a small, a good and a too large step
    Descent(descent::DescentArgs),
}

pub(crate) fn run(args: ShowArgs) -> anyhow::Result<()> {
    match args.what {
        Show::Network { name, set, image_size, channels, classes } => {
            let graph = network(&name, &set)?
                .build(channels, classes, [image_size, image_size])
                .map_err(TrainError::from)?;
            writeln!(std::io::stdout().lock(), "{graph}")?;
            Ok(())
        }
        Show::Weights(args) => weights::run(*args),
        Show::Activations(args) => activations::run(*args),
        Show::Embedding(args) => dataset::embedding(args),
        Show::Channels(args) => dataset::channels(args),
        Show::Curves(args) => curves::run(args),
        Show::Schedule(args) => schedule::run(*args),
        Show::Augment(args) => augment::run(*args),
        Show::Init(args) => init::run(*args),
        Show::Descent(args) => descent::run(args),
    }
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
