//! Learning-rate schedules: one value of learning rate and momentum for each group at each iteration.
//!
//! A schedule starts at its first value: read it ([`Schedule::lrs`]), step the optimizer, then step the schedule.

mod composed;
mod config;
mod constant;
mod cosine;
mod curve;
mod cyclic;
mod decay;
mod lambda;
mod linear;
mod one_cycle;
mod plateau;
mod preview;
mod step_lr;

pub use composed::{ChainedConfig, SequentialConfig};
pub use config::{ScheduleConfig, ScheduleKind, Unit, Warmup};
pub use constant::ConstantConfig;
pub use cosine::{CosineAnnealingConfig, WarmRestartsConfig};
pub use cyclic::{CyclicConfig, CyclicMode};
pub use decay::{ExponentialConfig, PolynomialConfig};
pub use lambda::{Lambda, LambdaConfig, MultiplicativeConfig};
pub use linear::LinearConfig;
pub use one_cycle::{Anneal, OneCycleConfig};
pub use plateau::{PlateauConfig, PlateauMode, ThresholdMode};
pub use preview::Preview;
pub use step_lr::{MultiStepConfig, StepConfig};

use crate::error::OptimError;
use crate::group::Group;
use curve::{Clock, Curve, CurveState, Point, Start};
use lambda::Factor;
use serde::{Deserialize, Serialize};

/// What a group's schedule starts from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupBase {
    /// Learning rate.
    pub lr: f64,
    /// Momentum (beta1 in the Adam family); `None` where there is none to cycle.
    pub momentum: Option<f64>,
}

/// Length of the training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Horizon {
    /// Number of epochs.
    pub epochs: u64,
    /// Optimizer steps in an epoch.
    pub iterations_per_epoch: u64,
}

/// Epochs before the schedule begins, at the learning rates of the groups as they are: a new head that trains alone before the
/// whole network does. The schedule then has the rest of the training for itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LeadIn {
    /// How many; 0 for none.
    pub epochs: u64,
    /// Factor on the learning rates that the schedule starts from afterwards.
    pub then: f64,
}

impl LeadIn {
    /// The schedule begins with the training.
    pub const NONE: LeadIn = LeadIn { epochs: 0, then: 1.0 };
}

/// Where a schedule stands; store it with the checkpoint (floats round-trip in JSON with `float_roundtrip`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScheduleState {
    groups: Vec<GroupState>,
    /// Epochs of the lead-in that are left.
    #[serde(default, skip_serializing_if = "is_zero")]
    lead: u64,
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct GroupState {
    point: Point,
    curve: CurveState,
    warm: u64,
}

/// The running schedule of all groups.
#[derive(Clone, Debug)]
pub struct Schedule {
    groups: Vec<GroupSchedule>,
    /// Learning rate of each group in the lead-in, and the epochs of it that are left.
    lead: (Vec<f64>, u64),
    lrs: Vec<f64>,
    momenta: Vec<Option<f64>>,
}

/// One group's schedule.
#[derive(Clone, Debug)]
struct GroupSchedule {
    unit: Unit,
    base: f64,
    point: Point,
    curve: Box<dyn Curve>,
    warmup: Option<config::Ramp>,
    /// Units of warm-up done.
    warm: u64,
}

impl Schedule {
    /// The same schedule for every group.
    pub fn new(config: &ScheduleConfig, base: &[GroupBase], horizon: Horizon) -> Result<Self, OptimError> {
        Self::build(base.iter().map(|base| (config, *base)), horizon)
    }

    /// `config` for the groups that have no schedule of their own.
    pub fn per_group(
        config: &ScheduleConfig,
        groups: &[Group],
        horizon: Horizon,
    ) -> Result<Self, OptimError> {
        Self::after(config, groups, horizon, LeadIn::NONE)
    }

    /// As [`per_group`](Schedule::per_group), begun after a lead-in. `horizon` is the whole training; of one that ends before
    /// the lead-in does, no schedule is seen.
    pub fn after(
        config: &ScheduleConfig,
        groups: &[Group],
        horizon: Horizon,
        lead_in: LeadIn,
    ) -> Result<Self, OptimError> {
        let scale = if lead_in.epochs > 0 { lead_in.then } else { 1.0 };
        let base = |g: &Group| GroupBase { lr: g.initial_lr * scale, momentum: g.initial_momentum };
        let rest = match horizon.epochs.saturating_sub(lead_in.epochs) {
            0 => horizon.epochs,
            rest => rest,
        };
        let mut schedule = Self::build(
            groups.iter().map(|g| (g.schedule.as_ref().unwrap_or(config), base(g))),
            Horizon { epochs: rest, ..horizon },
        )?;
        schedule.lead = (groups.iter().map(|g| g.initial_lr).collect(), lead_in.epochs);
        schedule.refresh();
        Ok(schedule)
    }

    fn build<'a>(
        each: impl Iterator<Item = (&'a ScheduleConfig, GroupBase)>,
        horizon: Horizon,
    ) -> Result<Self, OptimError> {
        let groups: Vec<GroupSchedule> =
            each.map(|(config, base)| GroupSchedule::new(config, base, horizon)).collect::<Result<_, _>>()?;
        let mut schedule = Schedule { groups, lead: (Vec::new(), 0), lrs: Vec::new(), momenta: Vec::new() };
        schedule.refresh();
        Ok(schedule)
    }

    /// LambdaLR with a closure: the initial learning rate times `lambda` of the number of units done. The closure is not part of the state.
    pub fn lambda(
        lambda: Lambda,
        unit: Unit,
        base: &[GroupBase],
        horizon: Horizon,
    ) -> Result<Self, OptimError> {
        Self::closure(lambda, false, unit, base, horizon)
    }

    /// MultiplicativeLR with a closure: the value before times `lambda` of the number of units done. The closure is not part of the state.
    pub fn multiplicative(
        lambda: Lambda,
        unit: Unit,
        base: &[GroupBase],
        horizon: Horizon,
    ) -> Result<Self, OptimError> {
        Self::closure(lambda, true, unit, base, horizon)
    }

    fn closure(
        lambda: Lambda,
        multiplicative: bool,
        unit: Unit,
        base: &[GroupBase],
        horizon: Horizon,
    ) -> Result<Self, OptimError> {
        let config = ScheduleConfig { unit, ..ScheduleConfig::default() };
        let one = |&base: &GroupBase| {
            GroupSchedule::with(&config, base, horizon, |start| {
                Ok(Box::new(Factor::from_closure(lambda.clone(), multiplicative, start)) as Box<dyn Curve>)
            })
        };
        let groups = base.iter().map(one).collect::<Result<_, _>>()?;
        let mut schedule = Schedule { groups, lead: (Vec::new(), 0), lrs: Vec::new(), momenta: Vec::new() };
        schedule.refresh();
        Ok(schedule)
    }

    /// Learning rate of each group for the next optimizer step.
    pub fn lrs(&self) -> &[f64] {
        &self.lrs
    }

    /// Momentum (beta1) of each group for the next optimizer step; `None` where the schedule leaves it alone.
    pub fn momenta(&self) -> &[Option<f64>] {
        &self.momenta
    }

    /// To be called after every optimizer step.
    pub fn step_iteration(&mut self) {
        if self.lead.1 > 0 {
            return;
        }
        self.groups.iter_mut().for_each(GroupSchedule::step_iteration);
        self.refresh();
    }

    /// To be called after every epoch, with the validation metric that `ReduceLROnPlateau` watches.
    pub fn step_epoch(&mut self, metric: Option<f64>) -> Result<(), OptimError> {
        if self.ends_an_epoch_of_the_lead_in() {
            return Ok(());
        }
        self.groups.iter_mut().try_for_each(|group| group.step_epoch(metric))?;
        self.refresh();
        Ok(())
    }

    fn ends_an_epoch_of_the_lead_in(&mut self) -> bool {
        let leads = self.lead.1 > 0;
        self.lead.1 -= u64::from(leads);
        self.refresh();
        leads
    }

    /// An epoch without a metric: `ReduceLROnPlateau` stays where it is.
    fn step_epoch_unwatched(&mut self) {
        if self.ends_an_epoch_of_the_lead_in() {
            return;
        }
        for group in &mut self.groups {
            if !group.warm_up(Unit::Epoch) && group.unit == Unit::Epoch {
                group.curve.step(&mut group.point);
            }
        }
        self.refresh();
    }

    /// Where it stands, for an exact resume.
    pub fn state_dict(&self) -> ScheduleState {
        let one = |g: &GroupSchedule| GroupState {
            point: g.point,
            curve: curve::save(g.curve.as_ref()),
            warm: g.warm,
        };
        ScheduleState { groups: self.groups.iter().map(one).collect(), lead: self.lead.1 }
    }

    /// Goes on from a state of a schedule of the same configuration.
    pub fn load_state_dict(&mut self, state: &ScheduleState) -> Result<(), OptimError> {
        let fits = |(g, s): (&mut GroupSchedule, &GroupState)| curve::fits(g.curve.as_mut(), &s.curve);
        if state.groups.len() != self.groups.len() || !self.groups.iter_mut().zip(&state.groups).all(fits) {
            let reason = "it was made by another schedule or for another number of groups".to_string();
            return Err(OptimError::BadState { name: "schedule".to_string(), reason });
        }
        for (group, state) in self.groups.iter_mut().zip(&state.groups) {
            (group.point, group.warm) = (state.point, state.warm);
            curve::load(group.curve.as_mut(), &state.curve);
        }
        self.lead.1 = state.lead;
        self.refresh();
        Ok(())
    }

    fn refresh(&mut self) {
        if self.lead.1 > 0 {
            self.lrs.clone_from(&self.lead.0);
            self.momenta = vec![None; self.groups.len()];
            return;
        }
        self.lrs = self.groups.iter().map(GroupSchedule::lr).collect();
        self.momenta = self.groups.iter().map(|g| g.point.momentum).collect();
    }
}

impl GroupSchedule {
    fn new(config: &ScheduleConfig, base: GroupBase, horizon: Horizon) -> Result<Self, OptimError> {
        config.validate()?;
        Self::with(config, base, horizon, |start| config.kind.curve(start))
    }

    fn with(
        config: &ScheduleConfig,
        base: GroupBase,
        horizon: Horizon,
        curve: impl FnOnce(&mut Start) -> Result<Box<dyn Curve>, OptimError>,
    ) -> Result<Self, OptimError> {
        let warmup = config.ramp(horizon);
        let mut total = match config.unit {
            Unit::Epoch => horizon.epochs,
            Unit::Iteration => horizon.epochs.saturating_mul(horizon.iterations_per_epoch),
        };
        if let Some(ramp) = &warmup {
            let taken = match (ramp.unit, config.unit) {
                (Unit::Iteration, Unit::Epoch) => ramp.length.div_ceil(horizon.iterations_per_epoch.max(1)),
                _ => ramp.length,
            };
            if taken > total {
                let (value, range) =
                    (format!("{taken} {}", config.unit.plural()), format!("<= {total}, the training"));
                let reason = "the learning rate would never be reached";
                return Err(OptimError::bad("schedule.warmup.length", value, &range, reason));
            }
            total -= taken;
        }
        let clock = Clock {
            per_iteration: config.unit == Unit::Iteration,
            iterations_per_epoch: horizon.iterations_per_epoch,
            epochs: horizon.epochs,
        };
        let mut start = Start {
            point: Point { lr: base.lr, momentum: None },
            initial_lr: None,
            has_momentum: base.momentum.is_some(),
            total,
            clock,
        };
        let mut curve = curve(&mut start)?;
        let mut point = start.point;
        curve.initial(&mut point);
        Ok(GroupSchedule { unit: config.unit, base: point.lr, point, curve, warmup, warm: 0 })
    }

    fn warming(&self) -> Option<&config::Ramp> {
        self.warmup.as_ref().filter(|ramp| self.warm < ramp.length)
    }

    fn lr(&self) -> f64 {
        self.warming().map_or(self.point.lr, |ramp| self.base * ramp.factor(self.warm))
    }

    /// Moves the warm-up on, if it is not over; the schedule itself starts at its first value when it is.
    fn warm_up(&mut self, unit: Unit) -> bool {
        let Some(ramp) = self.warming() else { return false };
        self.warm += u64::from(ramp.unit == unit);
        true
    }

    fn step_iteration(&mut self) {
        if !self.warm_up(Unit::Iteration) && self.unit == Unit::Iteration {
            self.curve.step(&mut self.point);
        }
    }

    fn step_epoch(&mut self, metric: Option<f64>) -> Result<(), OptimError> {
        if !self.warm_up(Unit::Epoch) && self.unit == Unit::Epoch {
            self.curve.observe(&mut self.point, metric)?;
        }
        Ok(())
    }
}
