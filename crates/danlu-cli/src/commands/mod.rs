//! The commands, one a file.

mod advise;
mod audit;
mod bench;
mod doctor;
mod evaluate;
mod export;
mod find;
mod predict;
mod report;
mod resume;
mod serve;
mod show;
mod split;
mod train;
mod tune;
mod weights;
mod worker;

use clap::Subcommand;

pub(crate) use weights::Differs;

/// What `danlu` can be asked for.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Train a classifier on a data set; `demo` is a set of real images inside the binary
    Train(Box<train::TrainArgs>),
    /// What is in a data set, and what is wrong with it: duplicates, broken files, wrong labels
    Audit(Box<audit::AuditArgs>),
    /// Write the split that a training would use as a text file
    Split(Box<split::SplitArgs>),
    /// Go on with a training after Ctrl-C, a kill or a power cut
    Resume(resume::ResumeArgs),
    /// Search the hyper-parameters: `danlu tune space.toml photos/ --budget 30m`
    Tune(Box<tune::TuneArgs>),
    /// Work on a study that `danlu tune` started, from any machine: `danlu worker --store postgres://...`
    Worker(worker::WorkerArgs),
    /// Validation metrics of a run's best weights again
    Val(evaluate::EvaluateArgs),
    /// Evaluate the held-out test set, once; every opening is written into a ledger
    Test(evaluate::EvaluateArgs),
    /// The recipe that `train` would use, a reason and a source a line, and the optimizers side by side
    Advise(Box<advise::AdviseArgs>),
    /// What is wrong with a run, the evidence, and the next recipe
    Doctor(doctor::DoctorArgs),
    /// Experiments that find a value: `danlu find lr DATA`, `find batch`, `find size`
    Find(Box<find::FindArgs>),
    /// Classes of images with their probabilities
    Predict(predict::PredictArgs),
    /// A run's model for other programs: ONNX, safetensors, .pth, Hugging Face; checked on validation images
    Export(export::ExportArgs),
    /// Weights files: what is in them, how two differ, their average, one format into another
    Weights(weights::WeightsArgs),
    /// Write a run's report again, in English or Chinese
    Report(report::ReportArgs),
    /// Look at things: `danlu show network resnet18`
    Show(show::ShowArgs),
    /// Runs in the browser: live curves, comparison, recipes, an image to try; and as JSON
    Serve(serve::ServeArgs),
    /// The project's own measurements: `danlu bench step --network resnet18`
    Bench(Box<bench::BenchArgs>),
}

/// Runs one command.
pub(crate) fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Train(args) => train::run(*args),
        Command::Audit(args) => audit::run(*args),
        Command::Split(args) => split::run(*args),
        Command::Resume(args) => resume::run(args),
        Command::Tune(args) => tune::run(*args),
        Command::Worker(args) => worker::run(args),
        Command::Val(args) => evaluate::val(args),
        Command::Test(args) => evaluate::test(args),
        Command::Advise(args) => advise::run(*args),
        Command::Doctor(args) => doctor::run(args),
        Command::Find(args) => find::run(*args),
        Command::Predict(args) => predict::run(args),
        Command::Export(args) => export::run(args),
        Command::Weights(args) => weights::run(args),
        Command::Report(args) => report::run(args),
        Command::Show(args) => show::run(args),
        Command::Serve(args) => serve::run(args),
        Command::Bench(args) => bench::run(*args),
    }
}
