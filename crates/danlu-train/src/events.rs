//! What happened in a training: one JSON object a line in `events.jsonl`.
//!
//! Events are a pure function of the recipe, the data and the machine's instruction set: they hold no clock time, no
//! speed and no path, so that the file of a resumed run is byte-equal to that of an uninterrupted one. What concerns the
//! process (times, speeds, resumes) goes to `journal.jsonl`.

use serde::{Deserialize, Serialize};

use crate::metrics::Metrics;

/// A line of `events.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The first line: what is about to be trained.
    Start {
        /// Version of this format.
        format: u32,
        /// Name of the network.
        network: String,
        /// Number of trained and frozen parameters.
        parameters: usize,
        /// Epochs planned.
        epochs: usize,
        /// Updates an epoch.
        iterations_per_epoch: usize,
        /// Samples an update.
        batch_size: usize,
        /// Samples in the training and validation sets.
        train_samples: usize,
        /// Samples in the validation set.
        val_samples: usize,
        /// Class names in the order of the class map.
        classes: Vec<String>,
        /// Training samples of each class.
        #[serde(default)]
        class_counts: Vec<usize>,
        /// Share of the parameters that do not train in the first epoch, in `0..=1`.
        #[serde(default)]
        frozen: f64,
        /// Images that a batch norm sees at once; none without batch norm.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        norm_batch: Option<usize>,
    },
    /// After every update.
    Iteration {
        /// Epochs completed before this one (0 in the first epoch).
        epoch: usize,
        /// Updates completed, this one included.
        iteration: u64,
        /// The training objective on this batch (label smoothing and class weights included).
        loss: f64,
        /// Share of the batch predicted right, before the update; none where labels were mixed.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        top1: Option<f64>,
        /// Learning rate of each parameter group at this update.
        lr: Vec<f64>,
        /// Global L2 norm of the gradient before clipping.
        grad_norm: f64,
    },
    /// Every k-th update: norms, activations, gradient noise, for the doctor.
    Evidence(crate::evidence::Evidence),
    /// Training samples that the network contradicts, before every `epoch`.
    Suspects(danlu_doctor::SuspectSamples),
    /// After every epoch: how the weights (not their average) are spread.
    Weights {
        /// Epochs completed.
        epoch: usize,
        /// Filters and matrices, in the order of the network.
        layers: Vec<crate::weight_histogram::WeightHistogram>,
    },
    /// After every epoch.
    Epoch(EpochEvent),
    /// A loss or gradient is no finite number; the update did not happen.
    Divergence(danlu_doctor::Divergence),
    /// Something worth knowing: an early stop, a skipped image, a switch of the optimizer.
    Note {
        /// Epochs completed.
        epoch: usize,
        /// Updates completed.
        iteration: u64,
        /// A stable name: `early_stop`, `broken_image`, `optimizer_switch`, `rollback`, `flip-changes-class`,
        /// `rotation-changes-class`, and `early_warning.` with the name of a rule of the doctor.
        kind: String,
        /// The sentence that the user sees.
        message: String,
    },
    /// The last line of a finished training.
    End {
        /// Epochs completed.
        epochs: usize,
        /// Updates completed.
        iterations: u64,
        /// The epoch (counted from 1) whose weights are `best`.
        best_epoch: usize,
        /// `finished`, `early_stop` or `diverged`.
        reason: String,
    },
}

/// What an epoch brought.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochEvent {
    /// Epochs completed, this one included.
    pub epoch: usize,
    /// Updates completed.
    pub iteration: u64,
    /// Mean training objective over the epoch's batches.
    pub train_loss: f64,
    /// Share of training samples predicted right while training (augmented, before each update); none where labels were mixed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub train_top1: Option<f64>,
    /// Metrics on the validation set.
    pub val: Metrics,
    /// Whether these are the moving-average weights.
    pub ema: bool,
    /// Learning rate of each parameter group in the epoch's last update.
    pub lr: Vec<f64>,
    /// Whether this is the best epoch so far.
    pub best: bool,
}

/// Version of the event format, in [`Event::Start`].
pub const EVENTS_FORMAT: u32 = 1;

/// Reads `events.jsonl`; a last line that is not whole (the writer was killed) is left out.
pub fn read_events(path: &std::path::Path) -> Result<Vec<Event>, crate::TrainError> {
    let text = std::fs::read_to_string(path).map_err(|source| crate::TrainError::io("read", path, source))?;
    let mut events = Vec::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        match serde_json::from_str(line) {
            Ok(event) => events.push(event),
            Err(_) if lines.peek().is_none() => {}
            Err(error) => {
                return Err(crate::TrainError::Damaged {
                    path: path.to_path_buf(),
                    problem: format!("line {} is not an event: {error}", number + 1),
                });
            }
        }
    }
    Ok(events)
}
