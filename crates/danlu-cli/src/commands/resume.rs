//! `danlu resume RUN`

use std::path::PathBuf;

use clap::Args;
use danlu::tensorboard::TensorBoard;
use danlu::train::{RunFolder, TrainError, resume};

use super::train::conclude;
use crate::interrupt::stop_on_ctrl_c;
use crate::terminal::Terminal;

#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    /// The run folder
    run: PathBuf,
    /// Evaluate the test set at the end, and write that into the ledger
    #[arg(long = "final")]
    final_test: bool,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
    /// Print nothing but warnings while training
    #[arg(long, short)]
    quiet: bool,
}

pub(crate) fn run(args: ResumeArgs) -> anyhow::Result<()> {
    let stop = stop_on_ctrl_c()?;
    let mut terminal = Terminal::new(args.quiet);
    let run = RunFolder::open(&args.run)?;
    let trained = resume(run, &mut TensorBoard::new(&mut terminal), &stop);
    match trained {
        Ok((run, result)) => conclude(&run, &result, args.final_test, args.json, &mut terminal),
        Err(error @ TrainError::Finished { .. }) => {
            // Nothing is wrong: the work that was asked for is done.
            println!("{error}");
            if let Some(hint) = error.hint() {
                println!("{hint}");
            }
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
