//! Update rules, parameter groups and learning-rate schedules, equal to PyTorch's.
//!
//! For: turning gradients into better weights. It knows names, shapes and plain slices of f32 or f64; it must never know graphs, layers or devices.
//!
//! ```
//! use danlu_optim::*;
//! let specs = [ParamSpec::new("conv1.weight", [4, 3, 3, 3]), ParamSpec::new("conv1.bias", [4])];
//! let config = OptimizerConfig::Sgd(SgdConfig { lr: 0.1, momentum: 0.9, ..Default::default() });
//! let mut optimizer = Optimizer::new(&config, &[], &specs, Dtype::F32)?;
//! let horizon = Horizon { epochs: 2, iterations_per_epoch: 10 };
//! let mut schedule = Schedule::new(&ScheduleConfig::default(), &optimizer.group_bases(), horizon)?;
//! let (mut weight, mut bias) = (vec![1f32; 108], vec![0f32; 4]);
//! let (weight_grad, bias_grad) = (vec![0.5f32; 108], vec![0.1f32; 4]);
//! for _epoch in 0..2 {
//!     for _batch in 0..10 {
//!         optimizer.apply(&schedule); // learning rate and momentum of this iteration
//!         let mut tensors = [
//!             TensorMut { param: &mut weight, grad: &weight_grad },
//!             TensorMut { param: &mut bias, grad: &bias_grad },
//!         ];
//!         optimizer.step::<f32>(&mut tensors, None)?;
//!         schedule.step_iteration();
//!     }
//!     schedule.step_epoch(Some(0.5))?; // the validation metric, for ReduceLROnPlateau
//! }
//! # Ok::<(), OptimError>(())
//! ```
//!
//! # The scheduler before the optimizer
//!
//! PyTorch skips the first value of a schedule when `scheduler.step()` is called before `optimizer.step()`. Here the first value is there from the start
//! ([`Schedule::lrs`]), the schedule never touches the optimizer, and [`Optimizer::step_scheduled`] is the one call that takes the value, steps and moves on: its
//! order cannot be wrong. A recipe has no such order at all.
//!
//! # The public interface in short
//!
//! - [`ParamSpec`] `{ name: String, shape: Vec<usize> }`, [`TensorMut`] `{ param: &mut [T], grad: &[T] }`, [`Dtype`] `{ F32, F64 }`, [`Real`] (f32, f64).
//! - [`OptimizerConfig`] (enum, tag `name`; `all()`, `by_name(&str)`, `lr()`, `set_lr(f64)`, `momentum() -> Option<f64>`, `validate()`), [`GroupConfig`]
//!   (`[[optimizer.groups]]`), [`GroupingConfig`] `{ groups, decay_norm_and_bias, layer_decay, layer_decay_min_scale }`; a recipe flattens `OptimizerConfig` and
//!   `GroupingConfig` into one `[optimizer]`.
//! - `Optimizer::new(&OptimizerConfig, &[GroupConfig], &[ParamSpec], Dtype) -> Result<Optimizer, OptimError>`;
//!   `Optimizer::with_grouping(&OptimizerConfig, &GroupingConfig, &[ParamSpec], depths: Option<&[usize]>, Dtype)`; `add_param_group(&[ParamSpec], &GroupConfig)`.
//! - `optimizer.step::<T>(&mut [TensorMut<'_, T>], Option<&rayon::ThreadPool>) -> Result<(), OptimError>`, `step_scheduled(&mut Schedule, tensors, pool)`,
//!   `step_with(&mut [Tensor<T>], pool, closure)`, `zero_grad(&mut [Tensor<T>])`.
//! - `groups() -> &[Group]`, `groups_mut() -> &mut [Group]` (pub `lr`, `momentum`, `weight_decay`), `group_bases() -> Vec<GroupBase>`, `apply(&Schedule)`,
//!   `set_epoch(u64) -> bool` (gradual unfreezing: true when `trainable()` changed), `trainable() -> Vec<bool>`.
//! - `averaged(&[&[T]], &mut [&mut [T]]) -> Result<bool, OptimError>`: the weights to validate and save for the schedule-free rules
//!   (`config.evaluates_average()`); `switch() -> Option<Switch { step, lr }>`: when SWATS switched, for the events.
//! - `state_dict() -> Vec<(String, StateValue)>`, `load_state_dict(&[(String, StateValue)]) -> Result<(), OptimError>`, `state_bytes() -> usize`;
//!   before anything exists `state_bytes(&OptimizerConfig, &[ParamSpec]) -> usize` and `state_bytes_with(&OptimizerConfig, &GroupingConfig, &[ParamSpec], Dtype)`.
//! - [`ScheduleConfig`] `{ kind: ScheduleKind (tag `name`), unit, warmup }`, `Schedule::new(&ScheduleConfig, &[GroupBase], Horizon) -> Result<Schedule, OptimError>`,
//!   `Schedule::per_group(&ScheduleConfig, &[Group], Horizon)` (a group's own schedule wins), `Schedule::lambda(closure, Unit, &[GroupBase], Horizon)`,
//!   `lrs() -> &[f64]`, `momenta() -> &[Option<f64>]`, `step_iteration()`, `step_epoch(metric: Option<f64>) -> Result<(), OptimError>`,
//!   `state_dict() -> ScheduleState` (serde), `load_state_dict(&ScheduleState)`; [`Preview::new`] gives all values for `show schedule`.
//! - [`OPTIMIZERS`]: strengths, weaknesses, usual learning rate and state of each optimizer, for `advise`.

mod check;
mod config;
mod error;
mod group;
pub mod matrix;
mod optimizer;
mod param;
mod real;
pub mod rules;
pub mod schedule;
mod table;

pub use config::OptimizerConfig;
pub use error::OptimError;
pub use group::{Group, GroupConfig, GroupingConfig, glob, layer_depths};
pub use optimizer::{Optimizer, StateValue, Switch, state_bytes, state_bytes_with};
pub use param::{ParamSpec, Tensor, TensorMut, zero_grad};
pub use real::{Dtype, Real};
pub use rules::{
    AdadeltaConfig, AdagradConfig, AdamConfig, AdamWConfig, AdamaxConfig, AdjustLr, AsgdConfig, LambConfig,
    LarsConfig, LionConfig, MuonConfig, NAdamConfig, RAdamConfig, RmsPropConfig, RpropConfig,
    ScheduleFreeAdamWConfig, ScheduleFreeSgdConfig, SgdConfig, SwatsConfig,
};
pub use schedule::{
    GroupBase, Horizon, LeadIn, Preview, Schedule, ScheduleConfig, ScheduleKind, ScheduleState, Unit, Warmup,
};
pub use table::{OPTIMIZERS, OptimizerInfo};
