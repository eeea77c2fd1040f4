//! A worker: claims trials, runs them, reports, and lets go of them in time.
//!
//! Any number of workers share a study, as threads, processes or machines; each has its own connection. While a trial runs
//! a second thread renews its lease, so that only a worker that is gone (killed, power cut, network gone for longer than
//! the lease) loses it. What it loses goes on elsewhere from the last checkpoint; what it still reports is refused.

use crate::error::{Result, TuneError};
use crate::policy::Policy;
use crate::scheduler::Verdict;
use crate::store::{Claim, Fixed, LetGo, Outcome, Owner, Store};
use crate::study::{Asked, Study};
use crate::trial::{Checkpoint, Report, Trial};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// A trial to run.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Its number in the study.
    pub number: u64,
    /// Its values by name, active parameters only.
    pub values: Fixed,
    /// Where to go on; `None` at the start.
    pub checkpoint: Option<Checkpoint>,
    /// Steps that the study knows of. The checkpoint may hold more (the worker died before it could report them): those
    /// are reported again, or for the first time.
    pub steps: u64,
    /// The step at which the trial is complete.
    pub max_steps: u64,
}

/// What an objective is told after a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Go {
    /// Do the next step.
    On,
    /// Save a checkpoint and return [`Ended::Stopped`].
    Stop,
}

/// How a run of an objective ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// `max_steps` are done; the value of the last report is the trial's, or this one where the objective says another
    /// (its best epoch).
    Complete(Option<f64>),
    /// Told to stop; the checkpoint from which it goes on.
    Stopped(Option<Checkpoint>),
}

/// Something that can be tuned: it runs by steps, reports a value after each, and can be stopped and taken up again.
pub trait Objective {
    /// Runs a trial until it is complete or told to stop.
    ///
    /// # Errors
    /// What went wrong, for people. The trial is recorded as failed and the study goes on.
    fn run(&mut self, job: &Job, reporter: &dyn Reporter) -> std::result::Result<Ended, String>;
}

/// The objective's way back.
pub trait Reporter: Sync {
    /// After each step, in order. A checkpoint, where one was saved, must hold this step.
    fn report(&self, report: Report, checkpoint: Option<Checkpoint>) -> Go;
    /// To be asked within a step, so that Ctrl-C and budgets need not wait for its end.
    fn should_stop(&self) -> bool;
}

/// Limits of a worker, shared by all workers of a process. The first that is reached ends the work.
#[derive(Clone, Debug, Default)]
pub struct Budget {
    /// Until then.
    pub deadline: Option<Instant>,
    /// Processor time of this process, all threads together.
    pub cpu: Option<Duration>,
    /// Steps of the whole study, those of earlier sessions and other workers included.
    pub steps: Option<u64>,
}

impl Budget {
    fn seconds_left(&self) -> Option<f64> {
        self.deadline.map(|at| at.saturating_duration_since(Instant::now()).as_secs_f64())
    }

    fn is_spent(&self) -> bool {
        self.deadline.is_some_and(|at| Instant::now() >= at)
            || self.cpu.is_some_and(|limit| cpu_time().is_some_and(|used| used >= limit))
    }
}

/// Processor time of this process; `None` where the system does not say.
pub fn cpu_time() -> Option<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Some(Duration::new(u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?))
}

/// What happens, for a table or a log.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A trial begins, or goes on where `steps` is above 0.
    Run(Trial),
    /// A report was written.
    Reported(u64, Report),
    /// The policy set the trial aside.
    Paused(u64),
    /// The trial was let go of, because this worker stops.
    Released(u64),
    /// The trial has ended.
    Ended(u64, Outcome),
    /// Another worker has taken the trial over.
    Lost(u64),
}

/// Why a worker came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// Someone asked.
    Asked,
    /// The budget is spent.
    Budget,
    /// Nothing is left to do.
    Exhausted,
}

/// A worker of a study.
pub struct Worker<'a> {
    /// Name and lease.
    pub owner: Owner,
    /// Names the random numbers; two workers need two.
    pub seed: u64,
    /// Limits.
    pub budget: Budget,
    /// Set by Ctrl-C or by another worker.
    pub stop: Arc<AtomicBool>,
    /// Told what happens.
    pub observer: &'a (dyn Fn(&Event, &crate::View) + Sync),
}

/// After so many workers died in the first step of a trial it is the trial's fault.
const DEATHS: i64 = 12;
/// How long a worker that has nothing to do waits before it looks again.
const IDLE: Duration = Duration::from_millis(150);

impl Worker<'_> {
    /// Works until there is nothing left to do, the budget is spent, or someone asks to stop. An objective that fails is
    /// recorded; only a store that stays out of reach is an error.
    ///
    /// # Errors
    /// What the store says. No trial is lost by it: the lease runs out, and another worker goes on.
    pub fn work<'p, S: Store>(
        &self,
        study: Study<S>,
        policy: &'p mut (dyn Policy + 'p),
        objective: &mut (dyn Objective + '_),
    ) -> Result<Finish> {
        let study = Mutex::new(study);
        let policy = Mutex::new(policy);
        loop {
            if let Some(finish) = self.finish(&lock(&study)) {
                return Ok(finish);
            }
            let asked = {
                let mut study = lock(&study);
                study.set_seconds_left(self.budget.seconds_left());
                study.ask(&mut **lock(&policy), &self.owner, self.seed)?
            };
            match asked {
                Asked::Stop => return Ok(Finish::Exhausted),
                Asked::Wait => std::thread::sleep(IDLE),
                Asked::Run(claim, trial) => self.run(&study, &policy, objective, claim, trial)?,
            }
        }
    }

    fn finish<S: Store>(&self, study: &Study<S>) -> Option<Finish> {
        if self.stop.load(Ordering::Relaxed) {
            return Some(Finish::Asked);
        }
        let spent = || study.view().trials().iter().map(Trial::steps).sum::<u64>();
        let spent = self.budget.is_spent() || self.budget.steps.is_some_and(|limit| spent() >= limit);
        spent.then_some(Finish::Budget)
    }

    fn run<'p, S: Store>(
        &self,
        study: &Mutex<Study<S>>,
        policy: &Mutex<&'p mut (dyn Policy + 'p)>,
        objective: &mut (dyn Objective + '_),
        claim: Claim,
        trial: Trial,
    ) -> Result<()> {
        let number = claim.number;
        if claim.epoch > DEATHS && trial.steps() == 0 {
            let outcome = Outcome::Failed(format!("{DEATHS} workers died in its first step"));
            lock(study).finish(&claim, &outcome)?;
            return Ok(());
        }
        (self.observer)(&Event::Run(trial.clone()), lock(study).view());
        let job = {
            let study = lock(study);
            Job {
                number,
                values: study.external(&trial.values),
                checkpoint: trial.checkpoint.clone(),
                steps: trial.steps(),
                max_steps: study.spec().max_steps,
            }
        };
        // The worker before may have died between its last report and the end of the trial.
        let state = LineState { last: trial.last().map(|r| r.value), ..LineState::default() };
        let line = Line { worker: self, study, policy, claim, state: Mutex::new(state) };
        let over = (Mutex::new(false), Condvar::new());
        let ended = std::thread::scope(|scope| {
            scope.spawn(|| line.renew(&over));
            // The renewing thread must end whatever the objective does, a panic included.
            let _end = OnDrop(|| {
                *lock(&over.0) = true;
                over.1.notify_all();
            });
            objective.run(&job, &line)
        });
        let LineState { verdict, error, last, lost } = std::mem::take(&mut *lock(&line.state));
        if lost {
            (self.observer)(&Event::Lost(number), lock(study).view());
            return Ok(());
        }
        if let Some(error) = error {
            return Err(error);
        }
        let outcome = match ended {
            Err(error) => Outcome::Failed(error),
            Ok(Ended::Complete(value)) => match value.or(last) {
                Some(value) if !value.is_nan() => Outcome::Complete(value),
                _ => Outcome::Failed("the final value is not a number".into()),
            },
            Ok(Ended::Stopped(_)) if verdict == Some(Verdict::Prune) => Outcome::Pruned,
            Ok(Ended::Stopped(checkpoint)) => {
                let how = if verdict == Some(Verdict::Pause) { LetGo::Pause } else { LetGo::Release };
                let mut study = lock(study);
                study.let_go(&claim, how, checkpoint.as_ref())?;
                let event = if how == LetGo::Pause { Event::Paused(number) } else { Event::Released(number) };
                (self.observer)(&event, study.view());
                return Ok(());
            }
        };
        let mut study = lock(study);
        match study.finish(&claim, &outcome) {
            Ok(()) => (self.observer)(&Event::Ended(number, outcome), study.view()),
            Err(TuneError::LeaseLost { .. }) => (self.observer)(&Event::Lost(number), study.view()),
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// A panic of another thread cannot leave what these guard half-changed: a study is changed by the store first.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// The line between a running objective and the study.
struct Line<'a, 'p, S> {
    worker: &'a Worker<'a>,
    study: &'a Mutex<Study<S>>,
    policy: &'a Mutex<&'p mut (dyn Policy + 'p)>,
    claim: Claim,
    state: Mutex<LineState>,
}

#[derive(Default)]
struct LineState {
    verdict: Option<Verdict>,
    error: Option<TuneError>,
    last: Option<f64>,
    lost: bool,
}

impl<S: Store> Line<'_, '_, S> {
    fn renew(&self, over: &(Mutex<bool>, Condvar)) {
        let every = self.worker.owner.lease / 3;
        let mut ended = lock(&over.0);
        while !*ended {
            let waited = over.1.wait_timeout(ended, every);
            ended = waited.map_or_else(|poisoned| poisoned.into_inner().0, |(guard, _)| guard);
            if *ended {
                return;
            }
            drop(ended);
            let renewed = lock(self.study).renew(&self.claim, &self.worker.owner);
            if let Err(error) = renewed {
                self.note(error);
                return;
            }
            ended = lock(&over.0);
        }
    }

    fn note(&self, error: TuneError) {
        let mut state = lock(&self.state);
        match error {
            TuneError::LeaseLost { .. } => state.lost = true,
            error => state.error = Some(error),
        }
    }
}

impl<S: Store> Reporter for Line<'_, '_, S> {
    fn report(&self, report: Report, checkpoint: Option<Checkpoint>) -> Go {
        if lock(&self.state).lost {
            return Go::Stop;
        }
        let number = self.claim.number;
        let mut study = lock(self.study);
        if let Err(error) = study.record(&self.claim, &self.worker.owner, &report, checkpoint.as_ref()) {
            self.note(error);
            return Go::Stop;
        }
        lock(&self.state).last = Some(report.value);
        (self.worker.observer)(&Event::Reported(number, report), study.view());
        if report.step >= study.spec().max_steps {
            return Go::On;
        }
        // The budget first: what it stops is released, not judged.
        if self.worker.finish(&study).is_some() {
            return Go::Stop;
        }
        study.set_seconds_left(self.worker.budget.seconds_left());
        let verdict = lock(self.policy).verdict(study.view(), number);
        if verdict == Verdict::Continue {
            return Go::On;
        }
        lock(&self.state).verdict = Some(verdict);
        Go::Stop
    }

    fn should_stop(&self) -> bool {
        let state = lock(&self.state);
        state.lost
            || state.error.is_some()
            || state.verdict.is_some()
            || self.worker.stop.load(Ordering::Relaxed)
            || self.worker.budget.is_spent()
    }
}
