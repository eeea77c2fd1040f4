//! `torch.optim.lr_scheduler.ExponentialLR` and `PolynomialLR`.

use super::curve::{Curve, Point, Start};
use super::step_lr::check_gamma;
use crate::check;
use crate::error::OptimError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Times `gamma` every unit: a smooth staircase; use it for long trainings without known lengths.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExponentialConfig {
    /// Factor a unit; no default (PyTorch has none). Above 1 the rate would grow until the training diverges. 0.95 an epoch is a tenth after 45 epochs.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub gamma: f64,
}

/// Down to zero along a power of the time that is left: with power 1 a straight line, as in many segmentation and short-budget recipes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PolynomialConfig {
    /// Units until zero; default the whole training after warm-up (PyTorch's is 5).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub total_iters: Option<u64>,
    /// Power of the time that is left; default 1 (PyTorch's), a line. 0.9 or 2 fall slower or faster at first.
    #[schemars(range(min = 0.0))]
    pub power: f64,
}

impl Default for PolynomialConfig {
    fn default() -> Self {
        PolynomialConfig { total_iters: None, power: 1.0 }
    }
}

impl ExponentialConfig {
    pub(super) fn validate(&self) -> Result<(), OptimError> {
        check_gamma(self.gamma)
    }
}

impl PolynomialConfig {
    pub(super) fn validate(&self) -> Result<(), OptimError> {
        if self.total_iters == Some(0) {
            return Err(OptimError::bad("schedule.total_iters", 0, ">= 1", "a decay needs a length"));
        }
        check::positive("schedule.power", self.power, "at 0 or below the learning rate would not fall")
    }
}

#[derive(Clone, Debug)]
pub(super) struct Exponential {
    base: f64,
    gamma: f64,
}

impl Exponential {
    pub(super) fn new(c: &ExponentialConfig, start: &mut Start) -> Self {
        Exponential { base: start.base(), gamma: c.gamma }
    }
}

impl Curve for Exponential {
    fn initial(&mut self, _point: &mut Point) {}

    fn step(&mut self, point: &mut Point) {
        point.lr *= self.gamma;
    }

    fn restart(&mut self, point: &mut Point) {
        point.lr = self.base;
    }

    fn counters(&mut self) -> Vec<&mut u64> {
        Vec::new()
    }

    fn boxed(&self) -> Box<dyn Curve> {
        Box::new(self.clone())
    }
}

#[derive(Clone, Debug)]
pub(super) struct Polynomial {
    base: f64,
    total: u64,
    power: f64,
    last: u64,
}

impl Polynomial {
    pub(super) fn new(c: &PolynomialConfig, start: &mut Start) -> Self {
        let total = c.total_iters.unwrap_or(start.total).max(1);
        Polynomial { base: start.base(), total, power: c.power, last: 0 }
    }
}

impl Curve for Polynomial {
    fn initial(&mut self, _point: &mut Point) {
        self.last = 0;
    }

    fn step(&mut self, point: &mut Point) {
        self.last += 1;
        if self.last <= self.total {
            let left = |done: u64| 1.0 - done as f64 / self.total as f64;
            point.lr *= (left(self.last) / left(self.last - 1)).powf(self.power);
        }
    }

    fn restart(&mut self, point: &mut Point) {
        self.last = 0;
        point.lr = self.base;
    }

    fn counters(&mut self) -> Vec<&mut u64> {
        vec![&mut self.last]
    }

    fn boxed(&self) -> Box<dyn Curve> {
        Box::new(self.clone())
    }
}
