//! One trial: values, curve, state.

use crate::space::Values;
use serde::{Deserialize, Serialize};

/// Where a trial stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Enqueued, not yet begun (Optuna's `WAITING`).
    Waiting,
    /// A worker holds its lease, or the lease ran out and it waits to be taken over (`RUNNING`).
    Running,
    /// Set aside with its checkpoint; may go on later (`RUNNING` for Optuna, which would pop a `WAITING` one).
    Paused,
    /// Let go of with its checkpoint by a worker that stopped (its budget, Ctrl-C): the next free worker goes on with it (`RUNNING` for Optuna).
    Released,
    /// Reached its last step (`COMPLETE`).
    Complete,
    /// Given up by the scheduler for good (`PRUNED`).
    Pruned,
    /// The objective failed or diverged (`FAIL`).
    Failed,
}

impl State {
    /// Whether nothing will change any more.
    pub fn is_finished(self) -> bool {
        matches!(self, State::Complete | State::Pruned | State::Failed)
    }
}

/// What an objective says after a step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// How many steps the trial has done: 1, 2, ... up to the study's `max_steps`.
    pub step: u64,
    /// The value to be optimised, as of this step.
    pub value: f64,
    /// What the step cost, in seconds; 0 where it was not measured.
    pub seconds: f64,
}

/// Where a paused or interrupted trial goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Opaque to the tuner: the objective wrote it and will read it (a path that all workers see).
    pub path: String,
    /// The steps it holds.
    pub step: u64,
}

/// A trial as a study knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// 0, 1, 2, ... in its study.
    pub number: u64,
    /// The store's key.
    pub id: i64,
    /// Where it stands.
    pub state: State,
    /// Its values.
    pub values: Values,
    /// What was reported, in the order of steps.
    pub curve: Vec<Report>,
    /// The final value of a complete trial.
    pub value: Option<f64>,
    /// The latest checkpoint.
    pub checkpoint: Option<Checkpoint>,
    /// Why it failed.
    pub error: Option<String>,
    /// How many workers have held it.
    pub epoch: i64,
}

impl Trial {
    /// The last report.
    pub fn last(&self) -> Option<&Report> {
        self.curve.last()
    }

    /// The steps done so far.
    pub fn steps(&self) -> u64 {
        self.last().map_or(0, |r| r.step)
    }

    /// The value at the largest reported step that is at most `step`.
    pub fn value_at(&self, step: u64) -> Option<f64> {
        let n = self.curve.partition_point(|r| r.step <= step);
        n.checked_sub(1).map(|i| self.curve[i].value)
    }

    /// Mean seconds a step, from the steps that were measured.
    pub fn seconds_per_step(&self) -> Option<f64> {
        let (mut total, mut steps, mut before) = (0.0, 0u64, 0);
        for r in &self.curve {
            if r.seconds > 0.0 {
                total += r.seconds;
                steps += r.step - before;
            }
            before = r.step;
        }
        (steps > 0).then(|| total / steps as f64)
    }

    /// Adds a report, or replaces the one of the same step (a trial that went on from an older checkpoint reports
    /// some steps again; none is counted twice).
    pub fn record(&mut self, report: Report) {
        match self.curve.binary_search_by_key(&report.step, |r| r.step) {
            Ok(i) => self.curve[i] = report,
            Err(i) => self.curve.insert(i, report),
        }
    }
}
