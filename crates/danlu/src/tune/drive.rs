//! Runs the workers of this process until the budget is spent.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use danlu_train::{StopFlag, available_memory};
use danlu_tune::policy::FreezeThaw;
use danlu_tune::sampler::{Grid, Prior, Random, Sobol, Tpe};
use danlu_tune::scheduler::{Asha, Forecast, Full, Hyperband, Median, Stop, first_rung};
use danlu_tune::store::{self, Owner};
use danlu_tune::worker::{Budget, Event, Finish, Worker};
use danlu_tune::{Pair, Policy, Study, StudySpec, TuneError, View};

use super::{Plan, Runs, StudyError};

/// When a study stops. What is reached first counts; nothing set means Ctrl-C.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    /// Wall clock of this session.
    pub wall: Option<Duration>,
    /// Processor time of this session.
    pub cpu: Option<Duration>,
    /// Work of so many full trainings, in the study as a whole. Most trials end early, so far more than that are tried.
    pub trials: Option<u64>,
}

impl std::str::FromStr for Limits {
    type Err = String;

    /// `30m`, `2h`, `90s`, `cpu:1h`, `20trials`; several with commas.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut limits = Limits::default();
        for part in text.split(',').map(str::trim) {
            let refuse =
                || format!("`{part}` is no budget: expected `30m`, `2h`, `90s`, `cpu:1h` or `20trials`");
            let time = |text: &str| {
                let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic())?);
                let seconds = match unit {
                    "s" => 1.0,
                    "m" | "min" => 60.0,
                    "h" => 3600.0,
                    "d" => 86400.0,
                    _ => return None,
                };
                let value = number.trim().parse::<f64>().ok().map(|n| n * seconds);
                value.filter(|v| *v > 0.0 && *v < 1e9).map(Duration::from_secs_f64)
            };
            if let Some(count) = part.strip_suffix("trials").or_else(|| part.strip_suffix("trial")) {
                limits.trials = Some(count.trim().parse().ok().filter(|n| *n > 0).ok_or_else(refuse)?);
            } else if let Some(cpu) = part.strip_prefix("cpu:") {
                limits.cpu = Some(time(cpu).ok_or_else(refuse)?);
            } else {
                limits.wall = Some(time(part).ok_or_else(refuse)?);
            }
        }
        Ok(limits)
    }
}

/// How a session runs.
pub struct Control<'a> {
    /// Address of the store.
    pub store: String,
    /// Folder of the runs; the study's own lies in it.
    pub runs: PathBuf,
    /// Trials side by side.
    pub workers: usize,
    /// Seed of the samplers.
    pub seed: u64,
    /// `sampler+scheduler` such as `prior+forecast` ([`DEFAULT_POLICY`]) or `tpe+hyperband`; or `freeze_thaw`.
    pub policy: String,
    /// Limits.
    pub limits: Limits,
    /// Time without a sign of life after which a worker's trial belongs to others.
    pub lease: Duration,
    /// Ctrl-C.
    pub stop: StopFlag,
    /// Told what happens.
    pub observer: &'a (dyn Fn(&Event, &View) + Sync),
}

/// Advice first, then TPE; pause and resume by forecasts of the learning curves against measured seconds. Figures: docs/guide/tuning.md.
pub const DEFAULT_POLICY: &str = "prior+forecast";

/// Makes a policy by name.
///
/// # Errors
/// An unknown name; a grid that is too large.
pub(super) fn policy(name: &str, spec: &StudySpec, seed: u64) -> Result<Box<dyn Policy>, StudyError> {
    if name == "freeze_thaw" {
        return Ok(Box::new(FreezeThaw::new(seed)));
    }
    let refuse = |what: &str| {
        StudyError::Space(
            format!("`{name}` is no way to search: `{what}` is not known"),
            Some("use `freeze_thaw`, or a sampler (random, sobol, grid, tpe, prior) and a scheduler (none, median, asha, hyperband, forecast) such as `tpe+asha`".into()),
        )
    };
    let (sampler, scheduler) = name.split_once('+').unwrap_or((name, "none"));
    let sampler: Box<dyn danlu_tune::sampler::Sampler> = match sampler {
        "random" => Box::new(Random),
        "sobol" => Box::new(Sobol::new(seed)),
        "grid" => Box::new(Grid::new(&spec.space, 5)?),
        "tpe" => Box::new(Tpe::default()),
        "prior" => Box::new(Prior::new(Tpe::default())),
        other => return Err(refuse(other)),
    };
    let scheduler: Box<dyn danlu_tune::scheduler::Scheduler> = match scheduler {
        "none" => Box::new(Full),
        "median" => Box::new(Median::default()),
        "asha" => Box::new(Asha::new(first_rung(spec.max_steps), 3.0, Stop::Pause)),
        "forecast" => Box::new(Forecast::new(first_rung(spec.max_steps), 3.0)),
        "hyperband" => Box::new(Hyperband::new(first_rung(spec.max_steps), 3.0, spec.max_steps, Stop::Pause)),
        other => return Err(refuse(other)),
    };
    Ok(Box::new(Pair { sampler, scheduler }))
}

/// Works on the study until a limit is reached, nothing is left, or someone asks to stop. Every trial that is running then is
/// checkpointed and released.
///
/// # Errors
/// A store that stays out of reach; a policy that does not exist.
pub fn drive(plan: &Plan, spec: &StudySpec, control: &Control<'_>) -> Result<Finish, StudyError> {
    let stop = Arc::new(AtomicBool::new(false));
    let used = danlu_tune::worker::cpu_time().unwrap_or_default();
    let budget = Budget {
        deadline: control.limits.wall.map(|wall| Instant::now() + wall),
        cpu: control.limits.cpu.map(|cpu| used + cpu),
        steps: control.limits.trials.map(|trials| trials.saturating_mul(spec.max_steps)),
    };
    let workers = control.workers.max(1);
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let threads = (workers > 1).then_some((cores / workers).max(1));
    let memory = available_memory().map(|bytes| bytes / workers as u64);
    let folder = study_folder(&control.runs, &spec.name);
    let one = |index: usize| -> Result<Finish, StudyError> {
        let seed = control.seed.wrapping_mul(1_000_003).wrapping_add(index as u64);
        let study = Study::open(store::open(&control.store, false)?, spec.clone())?;
        let owner =
            Owner { worker: format!("{}:{}:{index}", host(), std::process::id()), lease: control.lease };
        let mut runs = Runs::new(plan, folder.clone(), threads, memory)?;
        let mut policy = policy(&control.policy, spec, seed)?;
        let worker =
            Worker { owner, seed, budget: budget.clone(), stop: stop.clone(), observer: control.observer };
        Ok(worker.work(study, policy.as_mut(), &mut runs)?)
    };
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                if control.stop.is_set() {
                    stop.store(true, Ordering::Relaxed);
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        let handles: Vec<_> = (0..workers).map(|index| scope.spawn(move || one(index))).collect();
        let results: Vec<Result<Finish, StudyError>> = handles
            .into_iter()
            .map(|handle| {
                let died = || StudyError::Space("a worker came to an unexpected end".into(), None);
                let result = handle.join().map_err(|_| died()).and_then(|result| result);
                if result.is_err() {
                    // The others need not finish what this session cannot.
                    stop.store(true, Ordering::Relaxed);
                }
                result
            })
            .collect();
        ended.store(true, Ordering::Relaxed);
        let mut finish = Finish::Exhausted;
        for result in results {
            match result? {
                Finish::Asked => finish = Finish::Asked,
                Finish::Budget if finish == Finish::Exhausted => finish = Finish::Budget,
                _ => {}
            }
        }
        Ok(finish)
    })
}

/// The folder of a study's runs.
pub(super) fn study_folder(runs: &Path, name: &str) -> PathBuf {
    runs.join(name)
}

fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "host".into() } else { name.trim().into() }
}

/// Refuses names that cannot be the name of a folder.
pub(super) fn check_name(name: &str) -> Result<(), StudyError> {
    if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\', '\0']) {
        let reason =
            TuneError::Setting { key: "name", value: format!("{name:?}"), expected: "a plain folder name" };
        return Err(reason.into());
    }
    Ok(())
}
