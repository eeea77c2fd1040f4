//! The danlu command line: parse, build, call. One command a file in `commands/`.

mod commands;
mod failure;
mod finetune_args;
mod interrupt;
mod recipe_args;
mod study_table;
mod terminal;
mod test_views;
mod tui;

use std::process::ExitCode;

use clap::Parser;

#[derive(Debug, Parser)]
#[command(
    name = "danlu",
    version,
    about = "Trains CNN image classifiers: one command from a folder of images to a tested model",
    after_help = "Start here:\n  danlu train demo            train on embedded real images, test once, look at the run\n  danlu train photos/         a folder with one folder for each class\n  danlu predict runs/photos-1 cat.jpg\n\nExit codes: 0 done, 1 the work failed, 2 the request was wrong, 130 stopped by Ctrl-C.",
    propagate_version = true,
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    command: commands::Command,
}

fn main() -> ExitCode {
    init_logging();
    // clap answers a wrong request with exit code 2, and help and version with 0.
    match commands::run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error),
    }
}

/// Warnings of the libraries go to stderr; `DANLU_LOG=debug` shows more.
fn init_logging() {
    let level = match std::env::var("DANLU_LOG").as_deref() {
        Ok("trace") => tracing::Level::TRACE,
        Ok("debug") => tracing::Level::DEBUG,
        Ok("info") => tracing::Level::INFO,
        Ok("error") => tracing::Level::ERROR,
        _ => tracing::Level::WARN,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(terminal::colour())
        .without_time()
        .with_target(false)
        .init();
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
