//! `danlu worker --store URL`

use std::path::PathBuf;

use clap::Args;
use danlu::tune::{DEFAULT_POLICY, Limits, Plan, StudyError};
use danlu::tuner::store;

use super::tune::{Session, shown};
use crate::interrupt::stop_on_ctrl_c;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  danlu worker --store postgres://me@host/danlu --runs /shared/runs\n  danlu worker --store sqlite:runs/studies.db --name space --budget 1h"
)]
pub(crate) struct WorkerArgs {
    /// Where the study is kept
    #[arg(long, value_name = "URL")]
    store: String,
    /// Name of the study; not needed where the store has one only
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Folder of the runs, the same for all workers (shared between machines): a trial goes on where another worker left it
    #[arg(long, value_name = "DIR", default_value = "runs")]
    runs: PathBuf,
    /// When to stop, as for `danlu tune`; without it the worker stays until the study is done or it is stopped
    #[arg(long, value_name = "BUDGET")]
    budget: Option<Limits>,
    /// Trials side by side on this machine
    #[arg(long, value_name = "N", default_value_t = 1)]
    workers: usize,
    /// How to search
    #[arg(long, value_name = "NAME", default_value = DEFAULT_POLICY)]
    policy: String,
    /// Seed of the search; without one the process number, since two workers need two
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
    /// Print nothing but warnings
    #[arg(long, short)]
    quiet: bool,
}

pub(crate) fn run(args: WorkerArgs) -> anyhow::Result<()> {
    let mut opened = store::open(&args.store, false).map_err(StudyError::from)?;
    let name = match args.name {
        Some(name) => name,
        None => {
            let names = opened.study_names().map_err(StudyError::from)?;
            match names.as_slice() {
                [one] => one.clone(),
                [] => {
                    return Err(StudyError::Space(
                        format!("there is no study in {}", shown(&args.store)),
                        Some("start one with `danlu tune SPACE.toml DATA --store URL --workers 0`".into()),
                    )
                    .into());
                }
                several => {
                    return Err(StudyError::Space(
                        format!(
                            "there are several studies in {}: {}",
                            shown(&args.store),
                            several.join(", ")
                        ),
                        Some("choose one with `--name`".into()),
                    )
                    .into());
                }
            }
        }
    };
    let (plan, spec) = Plan::load(opened.as_mut(), &name)?;
    drop(opened);
    let stop = stop_on_ctrl_c()?;
    let seed = args.seed.unwrap_or_else(|| std::process::id().into());
    let session = Session {
        url: &args.store,
        runs: &args.runs,
        name: &name,
        quiet: args.quiet,
        json: args.json,
        confirm: false,
    };
    session.run(&plan, &spec, args.workers, seed, &args.policy, args.budget.unwrap_or_default(), &stop)
}
