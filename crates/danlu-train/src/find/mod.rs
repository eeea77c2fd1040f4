//! Finders: experiments that fill a field of the recipe (`"auto"`) with a measured value.
//!
//! They work on an engine of their own with the recipe's network, initial weights, augmentation and optimizer, never on
//! that of a run; [`range_test`] also leaves the engine it is given bit for bit as it was.

mod auto;
mod batch;
mod bench;
mod lr;
mod range;
mod size;

pub(crate) use auto::fill;
pub use batch::{BatchFound, BatchSize, Decider, find_batch, scaled_lr};
pub use bench::Batches;
pub use lr::{LrFound, LrTrial, find_lr, prior_lr};
pub use range::{RangeConfig, RangeTest, Suggestion, range_test};
pub use size::{SizeFound, SizeTrial, find_size};
