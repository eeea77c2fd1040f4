//! `danlu tune SPACE DATA`

mod coarse;
mod queue;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use danlu::recipe::Preset;
use danlu::train::{StopFlag, TrainError};
use danlu::tune::{
    Control, DEFAULT_POLICY, Limits, Plan, Report, StudyError, best_workers, confirm, drive, write_report,
};
use danlu::tuner::worker::Finish;
use danlu::tuner::{State, Study, StudySpec, store};

use crate::interrupt::stop_on_ctrl_c;
use crate::study_table::StudyTable;
use crate::terminal::Terminal;

#[derive(Debug, Args)]
#[command(
    after_help = "A space is a recipe in which fields hold distributions:\n  [optimizer]\n  lr = { log = [1e-3, 1.0], advised = 0.1 }\n  momentum = { float = [0.8, 0.99] }\n\nExamples:\n  danlu tune space.toml photos/ --budget 30m\n  danlu tune space.toml demo --budget 5trials --confirm\n  danlu tune space.toml photos/ --budget 2h --coarse data.limit=0.2\n  danlu tune space.toml /shared/photos --store postgres://me@host/danlu --workers 0   then on each machine:\n  danlu worker --store postgres://me@host/danlu --runs /shared/runs"
)]
pub(crate) struct TuneArgs {
    /// The search space (TOML), a recipe with distributions in it
    space: PathBuf,
    /// Data set, as for `danlu train`
    data: PathBuf,
    /// When to stop: `30m`, `2h`, `cpu:1h`, `20trials` (the work of 20 full trainings); several with commas. Without it Ctrl-C stops
    #[arg(long, value_name = "BUDGET")]
    budget: Option<Limits>,
    /// Where the study is kept: `sqlite:FILE` (default: beside the runs) or `postgres://USER@HOST:PORT/DATABASE`
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// Name of the study; without one the name of the space file
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Folder in which runs are created
    #[arg(long, value_name = "DIR", default_value = "runs")]
    runs: PathBuf,
    /// Trials side by side: a number, `auto` (measured), or 0 to create the study and leave the work to `danlu worker`
    #[arg(long, value_name = "N", default_value = "auto")]
    workers: String,
    /// Train the best 3 recipes again with 3 other seeds each, after the budget
    #[arg(long)]
    confirm: bool,
    /// How to search: a sampler (prior, tpe, random, sobol, grid) and a scheduler (forecast, asha, hyperband, median, none), or
    /// `freeze_thaw`; the default is the advised recipe first, then TPE, paused and resumed by forecasts of the learning curves
    #[arg(long, value_name = "NAME", default_value = DEFAULT_POLICY)]
    policy: String,
    /// Try these values first, as `optimizer.lr=0.1,network.width=32`; can be given several times, once a trial
    #[arg(long, value_name = "KEY=VALUE,...")]
    enqueue: Vec<String>,
    /// Spend a quarter of the budget on a cheaper version of the training first, and try its best 5 first in the study: `data.limit=0.2`,
    /// `data.image_size=16`, `train.epochs=3`; can be given several times
    #[arg(long, value_name = "KEY=VALUE", conflicts_with = "warm_start")]
    coarse: Vec<String>,
    /// Try the best 5 trials of an older study first (complete ones before others), as far as this space has their values
    #[arg(long, value_name = "NAME[@URL]")]
    warm_start: Option<String>,
    /// Seed of the search
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// How long a person would wait for one training: quick, standard, best
    #[arg(long, value_name = "NAME", default_value = "quick")]
    preset: String,
    /// Any key of the recipe, the same for all trials; can be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
    /// Print nothing but warnings while the study runs
    #[arg(long, short)]
    quiet: bool,
}

pub(crate) fn run(args: TuneArgs) -> anyhow::Result<()> {
    let stem = args.space.file_stem().and_then(|stem| stem.to_str()).unwrap_or("study");
    let name = args.name.clone().unwrap_or_else(|| stem.to_owned());
    let preset: Preset = args.preset.parse().map_err(TrainError::from)?;
    let url =
        args.store.clone().unwrap_or_else(|| format!("sqlite:{}", args.runs.join("studies.db").display()));
    let (plan, spec) = Plan::new(&args.space, &args.data, &name, preset, args.set.clone())?;
    if args.store.is_none() {
        std::fs::create_dir_all(&args.runs)
            .map_err(|source| StudyError::Io { path: args.runs.clone(), source })?;
    }
    {
        let mut store = store::open(&url, true).map_err(StudyError::from)?;
        store.create_study(&spec).map_err(StudyError::from)?;
    }
    // Who goes on with a study goes on with its plan: choices that were pinned then hold now.
    let (plan, spec) = reload(&url, &name, &plan)?;
    refuse_trials_of_another(&url, &spec, &args.runs)?;
    let workers = match args.workers.as_str() {
        "auto" => {
            let (workers, said) = best_workers()?;
            if !args.quiet {
                eprintln!("{workers} worker(s): {said}");
            }
            workers
        }
        number => number.parse().map_err(|_| {
            StudyError::Space(format!("`--workers {number}`: expected a number or `auto`"), None)
        })?,
    };
    let stop = stop_on_ctrl_c()?;
    let mut limits = args.budget.clone().unwrap_or_default();
    let mut older = args.warm_start.clone();
    if !args.coarse.is_empty() && is_new(&url, &spec)? {
        let (coarse, rest) = coarse::split(&limits)?;
        limits = rest;
        if coarse::search(&args, &url, &name, preset, workers.max(1), coarse, &stop)? == Finish::Asked {
            eprintln!(
                "stopped in the coarse search: every trial is checkpointed; go on with the same command"
            );
            std::process::exit(130);
        }
        older = Some(coarse::name(&name));
    }
    if let Some(count) = queue::fill(&url, &spec, &args.enqueue, older.as_deref())?
        && !args.quiet
    {
        eprintln!("{count} trials of the older study are tried first");
    }
    if workers == 0 {
        println!("study `{name}` is in {}", shown(&url));
        println!("next: `danlu worker --store {} --name {name} --runs DIR` on each machine", shown(&url));
        return Ok(());
    }
    let session = Session {
        url: &url,
        runs: &args.runs,
        name: &name,
        quiet: args.quiet,
        json: args.json,
        confirm: args.confirm,
    };
    session.run(&plan, &spec, workers, args.seed, &args.policy, limits, &stop)
}

/// Whether nothing has been tried in the study yet.
fn is_new(url: &str, spec: &StudySpec) -> Result<bool, StudyError> {
    let study = Study::open(store::open(url, false)?, spec.clone())?;
    Ok(study.view().trials().is_empty())
}

fn reload(url: &str, name: &str, plan: &Plan) -> anyhow::Result<(Plan, StudySpec)> {
    let mut store = store::open(url, false).map_err(StudyError::from)?;
    let (known, known_spec) = Plan::load(store.as_mut(), name)?;
    if known.fingerprint != plan.fingerprint {
        let problem = format!(
            "study `{name}` was started on other data (`{}`, fingerprint {}; now {})",
            known.data, known.fingerprint, plan.fingerprint
        );
        return Err(StudyError::Space(problem, Some("give the new study another `--name`".into())).into());
    }
    Ok((known, known_spec))
}

/// A trial is resumed from its folder, so that the folder of a study must hold no trials of a study in another store.
fn refuse_trials_of_another(url: &str, spec: &StudySpec, runs: &Path) -> anyhow::Result<()> {
    let study = Study::open(store::open(url, false).map_err(StudyError::from)?, spec.clone());
    let folder = runs.join(&spec.name);
    if study.map_err(StudyError::from)?.view().trials().is_empty() && folder.join("trial-0").exists() {
        let problem = format!(
            "`{}` holds trials, and study `{}` in {} has none yet",
            folder.display(),
            spec.name,
            shown(url)
        );
        let hint = "it belongs to a study in another store: open that one with `--store`, or give the new study another `--name`";
        return Err(StudyError::Space(problem, Some(hint.into())).into());
    }
    Ok(())
}

/// The address without a password.
pub(super) fn shown(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, rest)), Some((_, host))) => {
            let user = rest.split(['@', ':']).next().unwrap_or_default();
            format!("{scheme}://{user}@{host}")
        }
        _ => url.to_owned(),
    }
}

/// One session of work on a study, and what is said at its end.
pub(super) struct Session<'a> {
    pub(super) url: &'a str,
    pub(super) runs: &'a Path,
    pub(super) name: &'a str,
    pub(super) quiet: bool,
    pub(super) json: bool,
    pub(super) confirm: bool,
}

/// Without a sign of life for so long, a worker's trial belongs to others.
const LEASE: Duration = Duration::from_secs(60);

impl Session<'_> {
    pub(super) fn run(
        &self,
        plan: &Plan,
        spec: &StudySpec,
        workers: usize,
        seed: u64,
        policy: &str,
        limits: Limits,
        stop: &StopFlag,
    ) -> anyhow::Result<()> {
        let table = StudyTable::new(self.quiet, plan.metric, spec.max_steps);
        let finish = drive(
            plan,
            spec,
            &Control {
                store: self.url.to_owned(),
                runs: self.runs.to_owned(),
                workers,
                seed,
                policy: policy.to_owned(),
                limits,
                lease: LEASE,
                stop: stop.clone(),
                observer: &|event, view| table.show(event, view),
            },
        )?;
        let store = store::open(self.url, false).map_err(StudyError::from)?;
        let study = Study::open(store, spec.clone()).map_err(StudyError::from)?;
        let view = study.view();
        let mut confirmed = Vec::new();
        if self.confirm && finish != Finish::Asked {
            let mut terminal = Terminal::new(self.quiet);
            confirmed = confirm(plan, spec, view, self.runs, &mut terminal, stop)?;
        }
        let report = write_report(plan, spec, view, self.runs, &confirmed)?;
        let count = |state| view.in_state(state).len();
        let mut out = std::io::stdout().lock();
        if self.json {
            let best = report.best.as_ref().map(|best| {
                serde_json::json!({
                    "trial": best.number, "value": best.value, "epoch": best.epoch, "complete": best.complete, "run": best.run,
                    "values": view.trial(best.number).map(|t| view.space.to_external(&t.values)),
                })
            });
            let importance = report.importance.iter().map(
                |i| serde_json::json!({ "name": i.name, "share": i.share, "uncertainty": i.uncertainty }),
            );
            let confirmed = confirmed.iter().map(|c| {
                serde_json::json!({ "trial": c.number, "values": c.values, "mean": c.mean(), "deviation": c.deviation() })
            });
            let value = serde_json::json!({
                "study": self.name, "metric": plan.metric, "best": best, "recipe": report.recipe, "page": report.page,
                "trials": view.trials().len(), "complete": count(State::Complete), "paused": count(State::Paused), "released": count(State::Released),
                "failed": count(State::Failed), "epochs": view.trials().iter().map(|t| t.steps()).sum::<u64>(),
                "importance": importance.collect::<Vec<_>>(), "confirmed": confirmed.collect::<Vec<_>>(),
                "verdicts": report.verdicts,
            });
            writeln!(out, "{value:#}")?;
        } else {
            self.say(&mut out, plan, view, &report)?;
        }
        if finish == Finish::Asked {
            writeln!(
                std::io::stderr(),
                "stopped: every trial is checkpointed; go on with the same command (`danlu tune ... --name {}`)",
                self.name
            )?;
            std::process::exit(130);
        }
        Ok(())
    }

    fn say(
        &self,
        out: &mut impl Write,
        plan: &Plan,
        view: &danlu::tuner::View,
        report: &Report,
    ) -> anyhow::Result<()> {
        let count = |state| view.in_state(state).len();
        writeln!(
            out,
            "\nstudy {}: {} trials ({} complete, {} paused, {} failed), {} epochs",
            self.name,
            view.trials().len(),
            count(State::Complete),
            count(State::Paused) + count(State::Released),
            count(State::Failed),
            view.trials().iter().map(|t| t.steps()).sum::<u64>()
        )?;
        if let Some(best) = &report.best {
            writeln!(
                out,
                "  best        trial {}, {} {} at epoch {} of {}",
                best.number,
                plan.metric.name(),
                plan.metric.show(best.value),
                best.epoch,
                view.max_steps
            )?;
            if let Some(trial) = view.trial(best.number) {
                for (name, value) in view.space.to_external(&trial.values) {
                    writeln!(out, "              {name} = {value}")?;
                }
            }
        }
        for i in report.importance.iter().take(5) {
            writeln!(
                out,
                "  matters     {:3.0} % +- {:2.0}  {}",
                100.0 * i.share,
                100.0 * i.uncertainty,
                i.name
            )?;
        }
        for verdict in &report.verdicts {
            writeln!(out, "  note        {verdict}")?;
        }
        writeln!(out, "report: {}", report.page.display())?;
        if let Some(recipe) = &report.recipe {
            writeln!(out, "next: `danlu train {} --recipe {} --final`", plan.data, recipe.display())?;
        }
        Ok(())
    }
}
