//! A schedule's values over a whole training, without training: what `danlu show schedule` draws.

use super::{Horizon, LeadIn, Schedule, ScheduleConfig, Unit};
use crate::error::OptimError;
use crate::group::Group;

/// The values that groups have over a training.
#[derive(Clone, Debug, PartialEq)]
pub struct Preview {
    /// What one value stands for: `iteration` where anything changes between iterations, else `epoch`.
    pub unit: Unit,
    /// For each group one learning rate a unit.
    pub lrs: Vec<Vec<f64>>,
    /// For each group one momentum a unit; the group's own where the schedule leaves it alone, `None` where there is none.
    pub momenta: Vec<Vec<Option<f64>>>,
}

impl Preview {
    /// Runs the schedule of these groups over `horizon`. `ReduceLROnPlateau` is shown without a drop, since no metric is known.
    pub fn new(config: &ScheduleConfig, groups: &[Group], horizon: Horizon) -> Result<Self, OptimError> {
        Self::after(config, groups, horizon, LeadIn::NONE)
    }

    /// As [`new`](Preview::new), the schedule begun after a lead-in.
    pub fn after(
        config: &ScheduleConfig,
        groups: &[Group],
        horizon: Horizon,
        lead_in: LeadIn,
    ) -> Result<Self, OptimError> {
        let mut schedule = Schedule::after(config, groups, horizon, lead_in)?;
        let by_iteration = |c: &ScheduleConfig| {
            c.unit == Unit::Iteration
                || c.warmup.as_ref().is_some_and(|warmup| warmup.unit == Unit::Iteration)
        };
        let own = |g: &Group| by_iteration(g.schedule.as_ref().unwrap_or(config));
        let unit = if groups.iter().any(own) { Unit::Iteration } else { Unit::Epoch };
        let mut lrs = vec![Vec::new(); groups.len()];
        let mut momenta = vec![Vec::new(); groups.len()];
        for _ in 0..horizon.epochs {
            for iteration in 0..horizon.iterations_per_epoch {
                if unit == Unit::Iteration || iteration == 0 {
                    for (g, group) in groups.iter().enumerate() {
                        lrs[g].push(schedule.lrs()[g]);
                        momenta[g].push(schedule.momenta()[g].or(group.initial_momentum));
                    }
                }
                schedule.step_iteration();
            }
            schedule.step_epoch_unwatched();
        }
        Ok(Preview { unit, lrs, momenta })
    }
}
