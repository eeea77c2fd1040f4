//! A trial as a run folder.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use danlu_recipe::SearchSpace;
use danlu_train::{
    Destination, EpochEvent, Event, IterationProgress, Observer, Prepared, RunFolder, RunResult, Speed,
    StopFlag, TrainError, read_events, read_result, resume, train,
};
use danlu_tune::worker::{Ended, Go, Job, Objective, Reporter};
use danlu_tune::{Checkpoint, Report};

use super::{Plan, StudyError};
use crate::tensorboard::TensorBoard;

/// Trains recipes in run folders under `folder`.
pub struct Runs {
    plan: Plan,
    search: SearchSpace,
    folder: PathBuf,
    /// Threads of a trial; `None` for all.
    threads: Option<usize>,
    /// Bytes that a trial may take; `None` where the system does not say.
    memory: Option<u64>,
}

impl Runs {
    /// Trials of `plan`, each in `folder/trial-<n>`.
    ///
    /// # Errors
    /// Never for a plan that [`Plan::new`] made.
    pub fn new(
        plan: &Plan,
        folder: PathBuf,
        threads: Option<usize>,
        memory: Option<u64>,
    ) -> Result<Self, StudyError> {
        Ok(Runs { search: plan.search()?, plan: plan.clone(), folder, threads, memory })
    }

    fn start(
        &self,
        job: &Job,
        name: &str,
        observer: &mut Reports<'_>,
    ) -> Result<(RunFolder, RunResult), StudyError> {
        let layers = self.plan.layers(&self.search, &job.values, job.number, self.threads)?;
        let request = self.plan.request(layers, format!("danlu tune (trial {})", job.number))?;
        let prepared = Prepared::new(&request)?;
        if prepared.dataset.fingerprint != self.plan.fingerprint && !self.searches_data() {
            return Err(StudyError::Space(
                format!("the data in `{}` are not those that the study was started with", self.plan.data),
                None,
            ));
        }
        let needed = prepared.memory()?.total() as u64;
        if let Some(memory) = self.memory.filter(|memory| needed > *memory) {
            let mib = |bytes: u64| bytes >> 20;
            return Err(StudyError::Space(
                format!("a training step needs {} MiB and {} MiB are free for it", mib(needed), mib(memory)),
                None,
            ));
        }
        drop(prepared);
        let destination = Destination { runs: self.folder.clone(), name: Some(name.to_owned()) };
        let stop = observer.stop.clone();
        Ok(train(&request, &destination, &mut TensorBoard::new(observer), &stop)?)
    }

    /// A fingerprint tells data and split; where those are searched, it differs from trial to trial.
    fn searches_data(&self) -> bool {
        self.search.parameters().iter().any(|p| p.name.starts_with("data."))
    }
}

impl Objective for Runs {
    fn run(&mut self, job: &Job, reporter: &dyn Reporter) -> Result<Ended, String> {
        let name = format!("trial-{}", job.number);
        let path = self.folder.join(&name);
        let metric = self.plan.metric;
        let stop = StopFlag::default();
        let mut observer = Reports {
            reporter,
            metric,
            stop: stop.clone(),
            known: job.steps,
            begun: Instant::now(),
            path: path.clone(),
        };
        let words = |error: &dyn std::fmt::Display| error.to_string();
        let ran = if path.join("recipe.toml").exists() {
            // The worker before may have died between an epoch and its report.
            let run = RunFolder::open(&path).map_err(|e| words(&e))?;
            for epoch in epochs(&run) {
                if epoch.epoch as u64 > job.steps && !stop.is_set() {
                    observer.report(&epoch);
                }
            }
            observer.begun = Instant::now();
            if stop.is_set() {
                return Ok(Ended::Stopped(Some(observer.checkpoint(observer.known))));
            }
            match resume(run, &mut TensorBoard::new(&mut observer), &stop) {
                Err(TrainError::Finished { .. }) => {
                    let run = RunFolder::open(&path).map_err(|e| words(&e))?;
                    read_result(&run).map(|result| (run, result)).map_err(StudyError::from)
                }
                other => other.map_err(StudyError::from),
            }
        } else {
            self.start(job, &name, &mut observer)
        };
        match ran {
            Ok((run, _)) => {
                // What the trial is worth is the epoch whose weights are kept.
                let values = epochs(&run).into_iter().map(|epoch| metric.of(&epoch.val));
                let best =
                    values.min_by(|a, b| metric.direction().loss(*a).total_cmp(&metric.direction().loss(*b)));
                Ok(Ended::Complete(best))
            }
            Err(StudyError::Train(TrainError::Interrupted { .. })) => {
                Ok(Ended::Stopped(Some(observer.checkpoint(observer.known))))
            }
            Err(StudyError::Train(TrainError::Busy { .. })) => {
                // A process that was thought dead still trains in the folder: not this trial's fault.
                std::thread::sleep(Duration::from_secs(2));
                Ok(Ended::Stopped(None))
            }
            Err(error) => Err(error.to_string()),
        }
    }
}

/// The epochs of a run, in order; none where nothing can be read.
pub(super) fn epochs(run: &RunFolder) -> Vec<EpochEvent> {
    let events = read_events(&run.events()).unwrap_or_default();
    let epochs = events.into_iter().filter_map(|event| match event {
        Event::Epoch(epoch) => Some(epoch),
        _ => None,
    });
    epochs.collect()
}

/// Passes epochs on to the study, and the study's will to the training.
struct Reports<'a> {
    reporter: &'a dyn Reporter,
    metric: super::Metric,
    stop: StopFlag,
    /// Epochs that the study knows of.
    known: u64,
    begun: Instant,
    path: PathBuf,
}

impl Reports<'_> {
    fn checkpoint(&self, step: u64) -> Checkpoint {
        Checkpoint { path: self.path.display().to_string(), step }
    }

    fn report(&mut self, epoch: &EpochEvent) {
        let step = epoch.epoch as u64;
        let seconds = self.begun.elapsed().as_secs_f64();
        self.begun = Instant::now();
        self.known = step;
        let report = Report { step, value: self.metric.of(&epoch.val), seconds };
        if self.reporter.report(report, Some(self.checkpoint(step))) == Go::Stop {
            self.stop.stop();
        }
    }

    fn look(&self) {
        if self.reporter.should_stop() {
            self.stop.stop();
        }
    }
}

impl Observer for Reports<'_> {
    fn iteration(&mut self, _: &IterationProgress) {
        self.look();
    }
    fn validating(&mut self, _: usize, _: usize) {
        self.look();
    }
    fn epoch(&mut self, epoch: &EpochEvent, _: usize, _: &Speed) {
        self.report(epoch);
    }
}
