//! Studies of hyper-parameters: what to try next, how far to go with it, and a record that survives anything.
//!
//! A [`Study`] has a [`Space`] (named parameters, some of which exist only where another has a certain value), a
//! [`Direction`], and trials in a [`store`]. A [`policy`] looks at the trials so far and says whether a free worker
//! starts a new trial or goes on with a paused one. It knows nothing of images, tensors or recipes: a trial is a set of
//! values, a curve of reports by step, and an opaque checkpoint; the same crate tunes anything.

mod curve;
pub mod distribution;
mod error;
mod gp;
pub mod importance;
mod normal;
pub mod policy;
mod power_law;
pub mod sampler;
pub mod scheduler;
pub mod space;
pub mod store;
pub mod study;
pub mod trial;
pub mod view;
pub mod worker;

pub use distribution::Distribution;
pub use error::{Result, TuneError};
pub use policy::{Action, Pair, Policy};
pub use space::{Condition, Parameter, Space, Values};
pub use store::{MemoryStore, Store};
pub use study::{Asked, Direction, Study, StudySpec};
pub use trial::{Checkpoint, Report, State, Trial};
pub use view::View;
