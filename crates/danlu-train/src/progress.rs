//! What a training tells while it runs, and how it is told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use danlu_recipe::Recipe;
use serde::{Deserialize, Serialize};

use crate::events::EpochEvent;
use crate::run_folder::RunFolder;

/// Receives what a training has to say; every method may do nothing.
pub trait Observer {
    /// A sentence for the user: what was found, what was chosen.
    fn say(&mut self, _message: &str) {}
    /// A sentence that the user should not miss.
    fn warn(&mut self, _message: &str) {}
    /// Before the first update of this process: where the run lies, its recipe, and the updates that it has behind it.
    fn started(&mut self, _run: &RunFolder, _recipe: &Recipe, _iteration: u64) {}
    /// After every update.
    fn iteration(&mut self, _progress: &IterationProgress) {}
    /// The validation set is being evaluated.
    fn validating(&mut self, _done: usize, _total: usize) {}
    /// After every epoch, when its events, weights and checkpoint are on the disk.
    fn epoch(&mut self, _epoch: &EpochEvent, _epochs: usize, _speed: &Speed) {}
}

/// An observer that is not interested.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {}

/// Where a training stands.
#[derive(Clone, Debug)]
pub struct IterationProgress {
    /// Epochs completed, of `epochs`.
    pub epoch: usize,
    /// Epochs planned.
    pub epochs: usize,
    /// Updates completed within the epoch, of `iterations_per_epoch`.
    pub iteration: usize,
    /// Updates an epoch.
    pub iterations_per_epoch: usize,
    /// Mean training objective of the epoch so far.
    pub loss: f64,
    /// Share of training samples predicted right in the epoch so far.
    pub top1: Option<f64>,
    /// Learning rate of the first parameter group.
    pub lr: f64,
    /// Speed since the process started on this epoch.
    pub speed: Speed,
    /// Expected time until the end of the training, validation included.
    pub eta: Duration,
}

/// How fast a training goes.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Speed {
    /// Training images a second, validation not counted.
    pub images_per_second: f64,
    /// Share of the training time spent waiting for data, in `0..=1`.
    pub data_wait: f64,
}

/// The best epoch so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BestSoFar {
    /// Counted from 1.
    pub epoch: usize,
    /// Value of the selecting metric, higher is better.
    pub score: f64,
    /// Validation loss of that epoch, which decides between equal scores.
    pub loss: f64,
}

/// Asks a training to stop at the next update, from a signal handler or another thread.
#[derive(Clone, Debug, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// Asks to stop.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether someone asked.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
