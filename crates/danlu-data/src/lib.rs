//! Image classification data sets on disk: found, checked, split, decoded, augmented and batched.
//!
//! This crate knows files, pixels and labels. It must never know networks, losses or recipes: what it hands out is a
//! [`Batch`] of u8 pixels `[N, H, W, C]` with class numbers; normalising and mixing is the engine's.
//!
//! ```no_run
//! # fn main() -> Result<(), danlu_data::DataError> {
//! use std::sync::Arc;
//! use danlu_data::{AugmentConfig, DataConfig, Dataset, Loader, LoaderConfig, Part};
//!
//! let config = DataConfig::default();
//! let data = Arc::new(Dataset::demo(&config)?);
//! for line in &data.found {
//!     eprintln!("{line}");
//! }
//! let size = data.suggested_image_size();
//! let loader_config = LoaderConfig::train(&config, &AugmentConfig::default(), [size, size], 64, 42);
//! let loader = Loader::new(data.clone(), Part::Train, loader_config)?;
//! for batch in loader.epoch(0, 0) {
//!     let batch = batch?;
//!     assert_eq!(batch.images.len(), batch.shape.iter().product::<usize>());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # The parts
//! - [`Dataset::open`] finds out the format by looking, maps classes, splits; [`Dataset::demo`] is embedded.
//! - [`Loader`] makes the batches of an epoch on its own threads: in order, each a pure function of
//!   (seed, epoch, batch).
//! - [`load_image`] is the one way an image file becomes pixels, for training and prediction alike.
//! - [`channel_stats`] measures mean and standard deviation on the training set.
//! - [`audit()`] looks at every image for duplicates, broken files and other trouble; [`write_split`] keeps a split as text.
//! - [`TestLedger`] counts how often a test set has been opened, across runs.

mod archive;
mod archive_listing;
#[cfg(test)]
mod archive_tests;
mod audit;
mod augment;
mod batch;
mod cache;
mod cifar;
mod config;
mod dataset;
mod decode;
mod demo;
mod epoch;
mod error;
mod folder;
#[cfg(test)]
mod format_tests;
#[doc(hidden)]
pub mod fuzz;
mod group;
mod idx;
mod jpeg_marks;
mod ledger;
mod list;
mod listing;
mod loader;
#[cfg(test)]
mod mutation_tests;
mod packed;
mod parallel;
mod parts;
mod resize;
mod sampling;
mod scan;
mod split;
mod split_file;
mod stall;
mod stats;
mod store;

pub use audit::{Audit, AuditOptions, Duplicates, Kind, Likeness, Member, Oddity, Suggestion, audit};
pub use augment::{
    AugMix, AugmentConfig, ColorJitter, CutMix, GaussianBlur, GaussianNoise, HorizontalFlip, MixPlan, MixUp,
    OrientationWarning, RandAugment, RandomAffine, RandomCrop, RandomErasing, RandomGrayscale,
    RandomPerspective, RandomResizedCrop, RandomRotation, Rotate90, TestViews, TrivialAugment, VerticalFlip,
    flip_keeps_class, turn_keeps_class,
};
pub use batch::Batch;
pub use cache::CacheReport;
pub use config::{Cache, DataConfig, Fit, Interpolation, Sampling, SplitBy};
pub use dataset::{Broken, Dataset, Format, Origin, Part, Sizes, Subset};
pub use decode::{JPEG_DECODER, Pixels, load_image, load_image_bytes};
pub use epoch::Epoch;
pub use error::DataError;
pub use ledger::{LedgerEntry, TestLedger};
pub use loader::{Loader, LoaderConfig};
pub use resize::fit_image;
pub use split_file::{write_rows, write_split};
pub use stats::{ChannelStats, channel_stats};
