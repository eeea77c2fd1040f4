//! `danlu show`: the network here, one file for each other thing to look at.

mod activations;
mod augment;
mod curves;
mod dataset;
mod descent;
mod init;
mod network;
pub(super) mod output;
mod schedule;
mod weights;

use clap::{Args, Subcommand};

pub(crate) use network::network;
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
    /// A map of a run's validation images, by what the last layer sees: principal components or t-SNE
    Embedding(dataset::EmbeddingArgs),
    /// The validation images that excite each channel of a layer most
    Channels(dataset::ChannelsArgs),
    /// Layers, shapes, parameters, FLOPs and memory of a network
    Network(network::NetworkArgs),
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
        Show::Network(args) => network::run(&args),
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
