//! Pictures of a run: what its weights look like, what its layers see of an image, where it looked.
//!
//! The numbers come from `danlu-train` and `danlu-weights`, the drawing from `danlu-view`; the command line, the report and the
//! dashboard all ask here, so that a picture looks the same in each.

pub mod activations;
pub mod dataset;
pub mod folder;
pub mod memory;
pub mod outcome;
pub mod projection;
pub mod samples;
pub mod weights;

pub use activations::{Explanation, explain};
pub use folder::write_pictures;
pub use memory::{RunNetwork, memory, memory_of, network_of};
pub use projection::{Axes, Map, Projection};
pub use samples::{Sample, open_sample, val_samples};
pub use weights::WeightsView;
