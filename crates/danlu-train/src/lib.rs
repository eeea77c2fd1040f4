//! The training loop: metrics, checkpoints, exact resume, evaluation and prediction.
//!
//! For: turning a request into a run folder with a trained, judged model. It joins the data, the engine, the optimizer and the recipe; it must
//! never know argv or HTML.
//!
//! [`train`] and [`resume`] read top to bottom in `training.rs`. The checkpoint is the commit point of a run: whatever was written after it is
//! cut back, or written again identically, by a resume.

mod averaging;
mod checkpoint;
pub mod doctor;
mod error;
mod evaluate;
mod evaluate_run;
pub mod events;
pub mod evidence;
mod explain;
mod export;
mod features;
pub mod find;
mod finetune;
pub mod journal;
mod log_file;
mod machine;
mod metrics;
mod predict;
mod prepare;
mod progress;
mod progressive;
mod rollback;
mod run_folder;
mod selection;
mod session;
mod suspects;
mod training;
mod views;
mod weight_histogram;

pub use error::TrainError;
pub use evaluate_run::{
    Evaluation, ImagePrediction, evaluate_on, evaluate_run, keep_evaluation, kept_evaluation,
};
pub use events::{EpochEvent, Event, read_events};
pub use explain::{GradCam, Heat};
pub use export::{ExportFormat, ExportOptions, Exported, FoldedLayer, export_run};
pub use finetune::{InitialWeights, WeightsOrigin, preview_schedule};
pub use journal::read_journal;
pub use machine::{StepSpeed, available_memory, measure_steps};
pub use metrics::{ClassMetrics, Metrics, Tally, argmax, softmax};
pub use predict::{Prediction, Predictor};
pub use prepare::{Prepared, TrainRequest, step_memory};
pub use progress::{BestSoFar, IterationProgress, Observer, Silent, Speed, StopFlag};
pub use run_folder::{ChoiceInfo, RunFolder, RunInfo};
pub use training::{Destination, RunResult, prepared_of, read_result, resume, train};
pub use weight_histogram::{WeightHistogram, weight_histograms};
