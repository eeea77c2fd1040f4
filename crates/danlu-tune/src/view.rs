//! What a policy sees: the trials of a study in memory, kept up to date change by change.

use crate::space::Space;
use crate::study::Direction;
use crate::trial::{State, Trial};
use std::collections::BTreeSet;
use std::sync::Arc;

/// All trials of a study, with the indices that policies ask for. Nothing here is ever rebuilt from scratch: a
/// change costs the logarithm of the number of trials.
#[derive(Clone, Debug)]
pub struct View {
    /// The search space.
    pub space: Arc<Space>,
    /// Whether small or large values are good.
    pub direction: Direction,
    /// The steps of a complete trial.
    pub max_steps: u64,
    /// Seconds left of the study's budget, where it has one.
    pub seconds_left: Option<f64>,
    trials: Vec<Trial>,
    log: Vec<u64>,
    by_state: [BTreeSet<u64>; 7],
    best: Option<(f64, u64)>,
    best_observed: Option<(f64, u64)>,
    seconds: f64,
    timed_steps: u64,
}

impl View {
    /// A view of a study without trials.
    pub fn new(space: Arc<Space>, direction: Direction, max_steps: u64) -> Self {
        View {
            space,
            direction,
            max_steps,
            seconds_left: None,
            trials: Vec::new(),
            log: Vec::new(),
            by_state: Default::default(),
            best: None,
            best_observed: None,
            seconds: 0.0,
            timed_steps: 0,
        }
    }

    /// Adds a trial or replaces the one of the same number. Numbers may arrive in any order; a gap is filled
    /// with a failed trial without values until its own arrives (Optuna never leaves one).
    pub fn put(&mut self, trial: Trial) {
        let number = trial.number;
        // Stores may hand over a trial that did not change; policies count changes.
        if self.trials.get(number as usize).is_some_and(|known| same(known, &trial)) {
            return;
        }
        while self.trials.len() as u64 <= number {
            let n = self.trials.len() as u64;
            self.trials.push(Trial {
                number: n,
                id: -1,
                state: State::Failed,
                values: vec![None; self.space.len()],
                curve: Vec::new(),
                value: None,
                checkpoint: None,
                error: None,
                epoch: 0,
            });
        }
        let old = std::mem::replace(&mut self.trials[number as usize], trial);
        self.by_state[old.state as usize].remove(&number);
        let trial = &self.trials[number as usize];
        self.by_state[trial.state as usize].insert(number);
        let loss = |v: f64| self.direction.loss(v);
        if let (State::Complete, Some(value)) = (trial.state, trial.value)
            && self.best.is_none_or(|(b, _)| loss(value) < b)
        {
            self.best = Some((loss(value), number));
        }
        for report in &trial.curve {
            if self.best_observed.is_none_or(|(b, _)| loss(report.value) < b) {
                self.best_observed = Some((loss(report.value), number));
            }
        }
        let (before, after) = (cost(&old), cost(trial));
        self.seconds += after.0 - before.0;
        self.timed_steps = self.timed_steps + after.1 - before.1;
        self.log.push(number);
    }

    /// Trial by number.
    pub fn trial(&self, number: u64) -> Option<&Trial> {
        self.trials.get(number as usize)
    }

    /// All trials in the order of their numbers.
    pub fn trials(&self) -> &[Trial] {
        &self.trials
    }

    /// The numbers of the trials in one state, ascending.
    pub fn in_state(&self, state: State) -> &BTreeSet<u64> {
        &self.by_state[state as usize]
    }

    /// Every change so far, as trial numbers; a policy that keeps its own index reads on from where it stopped.
    pub fn log(&self) -> &[u64] {
        &self.log
    }

    /// Smaller is better: the value, negated where the study maximises, infinite where it is not a number.
    pub fn loss(&self, value: f64) -> f64 {
        self.direction.loss(value)
    }

    /// The best complete trial.
    pub fn best(&self) -> Option<&Trial> {
        self.best.map(|(_, n)| &self.trials[n as usize])
    }

    /// The trial that reported the best value at any step.
    pub fn best_observed(&self) -> Option<&Trial> {
        self.best_observed.map(|(_, n)| &self.trials[n as usize])
    }

    /// The best loss reported at any step.
    pub fn best_observed_loss(&self) -> Option<f64> {
        self.best_observed.map(|(loss, _)| loss)
    }

    /// Seconds a step, over all trials; `None` before anything was measured.
    pub fn seconds_per_step(&self) -> Option<f64> {
        (self.timed_steps > 0).then(|| self.seconds / self.timed_steps as f64)
    }
}

/// Equal, where a value that is not a number equals itself.
fn same(a: &Trial, b: &Trial) -> bool {
    let equal = |x: f64, y: f64| x == y || (x.is_nan() && y.is_nan());
    (a.state, a.epoch, a.id, &a.checkpoint, &a.values) == (b.state, b.epoch, b.id, &b.checkpoint, &b.values)
        && a.value.is_some() == b.value.is_some()
        && equal(a.value.unwrap_or(0.0), b.value.unwrap_or(0.0))
        && a.curve.len() == b.curve.len()
        && a.curve.iter().zip(&b.curve).all(|(x, y)| x.step == y.step && equal(x.value, y.value))
}

/// Seconds and steps of a trial whose steps were timed.
fn cost(trial: &Trial) -> (f64, u64) {
    trial.seconds_per_step().map_or((0.0, 0), |s| (s * trial.steps() as f64, trial.steps()))
}
