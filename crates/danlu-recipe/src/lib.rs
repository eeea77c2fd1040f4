//! The recipe: every hyper-parameter of one training, typed, documented and validated.
//!
//! For: the one thing that command line, file, trainer, tuner and doctor speak. It composes the config types that the
//! crates of each concept own, merges layers (defaults < preset < file < flags) with the origin of every value,
//! explains what is wrong with a key or a value, writes a resolved recipe down so that it can be replayed, advises a
//! recipe from facts about data and machine, and reads search spaces. It knows no image, no tensor and no clock: it
//! runs nothing.
//!
//! ```
//! use danlu_recipe::{Layer, Recipe, resolve};
//!
//! let file = Layer::from_toml("[optimizer]\nname = \"sgd\"\nlr = 0.1\nmomentum = 0.9\n", "r.toml")?;
//! let mut flags = Layer::new();
//! flags.flag("optimizer.lr", 0.05, "--lr")?;
//! flags.set_flag("train.epochs=8")?;
//! let resolved = resolve::<Recipe>(&[file, flags])?;
//! assert_eq!(resolved.recipe.optimizer.rule.lr(), 0.05);
//! assert_eq!(resolved.origin("optimizer.momentum").to_string(), "r.toml line 4");
//! let text = resolved.to_toml(); // every key, with where its value came from
//! assert_eq!(resolve::<Recipe>(&[Layer::from_toml(&text, "again.toml")?])?.recipe, resolved.recipe);
//!
//! let wrong = Layer::from_toml("[optimizer]\nmomentun = 0.9\n", "r.toml")?;
//! let error = resolve::<Recipe>(&[wrong]).unwrap_err();
//! assert_eq!(error.to_string(), "unknown key `optimizer.momentun` (r.toml line 2)");
//! assert_eq!(error.hint().as_deref(), Some("did you mean `optimizer.momentum`?"));
//! # Ok::<(), danlu_recipe::RecipeError>(())
//! ```

mod advise;
mod averaging;
#[cfg(test)]
mod bad_values;
mod check;
mod complete;
mod diff;
mod error;
mod finetune;
mod layer;
mod nearest;
mod origin;
mod path;
mod preset;
mod progressive;
mod recipe;
mod reference;
mod resolve;
#[cfg(test)]
mod sample;
mod schema;
mod space;
mod toml_tree;
mod train;
mod write;

pub use advise::{Choice, DataFacts, MachineFacts, advise};
pub use averaging::{Anneal, SwaConfig};
pub use diff::{Change, diff};
pub use error::{Problem, RecipeError};
pub use finetune::{FinetuneConfig, FrozenNorm, Head};
pub use layer::Layer;
pub use nearest::nearest;
pub use origin::Origin;
pub use path::{Path, PathError, Step};
pub use preset::Preset;
pub use progressive::{ProgressiveConfig, side};
pub use recipe::{OptimizerSection, Recipe, RunFacts};
pub use reference::reference_markdown;
pub use resolve::{Fault, Resolved, Sections, resolve};
pub use space::{Assignment, Condition, Distribution, SearchSpace, SpaceParameter};
pub use train::{CheckpointConfig, Device, EarlyStopping, OnDivergence, Precision, Select, TrainConfig};
