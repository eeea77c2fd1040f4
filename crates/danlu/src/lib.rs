//! danlu as a library: what a Rust program imports to train and use image classifiers.
//!
//! The crates behind it stand alone and are re-exported under short names: [`data`] finds, splits and feeds images, [`nn`] is the engine
//! with its networks and initialisers, [`optim`] has the update rules and learning-rate schedules, [`recipe`] describes a
//! training, [`train`] runs one, [`weights`] reads and writes models, [`view`] draws.

pub mod audit_page;
pub mod curves;
pub mod doctor;
pub mod pictures;
pub mod report;
pub mod tensorboard;
pub mod tune;

pub use danlu_data as data;
pub use danlu_nn as nn;
pub use danlu_optim as optim;
pub use danlu_recipe as recipe;
pub use danlu_train as train;
pub use danlu_tune as tuner;
pub use danlu_view as view;
pub use danlu_weights as weights;
