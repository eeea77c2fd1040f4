//! Stochastic weight averaging: the recipe key `train.swa`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::resolve::Fault;

/// Stochastic weight averaging (arXiv 1803.05407; `torch.optim.swa_utils`): from some epoch on the weights at the end of every epoch
/// are averaged, each counting the same; the average is validated and kept, its batch norms estimated anew on training images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SwaConfig {
    /// Share of the epochs after which averaging starts, 0 to below 1. Default 0.75 (the paper's): before that the weights still
    /// move too far for their mean to mean anything.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub start: f64,
    /// Learning rate while averaging, of every group (PyTorch's `SWALR`); not 0, since weights that stand still need no average.
    /// Default: none, the schedule goes on. With a schedule that falls to 0 set it, to about a half of the highest rate.
    #[schemars(range(min = 0.0))]
    pub swa_lr: Option<f64>,
    /// Epochs in which the learning rate goes from the schedule's to `swa_lr`. Default 10 (PyTorch's); fewer where the training is short.
    #[schemars(range(min = 0, max = 100_000))]
    pub anneal_epochs: u32,
    /// How it goes there. Default `cos` (PyTorch's).
    pub anneal_strategy: Anneal,
}

impl Default for SwaConfig {
    fn default() -> Self {
        SwaConfig { start: 0.75, swa_lr: None, anneal_epochs: 10, anneal_strategy: Anneal::Cos }
    }
}

/// The path of a learning rate to its new value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Anneal {
    /// Half a cosine.
    #[default]
    Cos,
    /// A straight line.
    Linear,
}

impl SwaConfig {
    /// The first epoch (counted from 0) whose end is averaged: never beyond the last.
    pub fn first_epoch(&self, epochs: usize) -> usize {
        ((self.start * epochs as f64).floor() as usize).min(epochs.saturating_sub(1))
    }

    /// The learning rate of the `since`-th epoch of averaging (from 0) where the schedule had `from` when it began.
    pub fn rate(&self, from: f64, since: usize) -> f64 {
        let Some(lr) = self.swa_lr else { return from };
        // PyTorch's SWALR: without epochs to anneal, the new rate holds from the second epoch on.
        let t = (since as f64 / f64::from(self.anneal_epochs.max(1))).clamp(0.0, 1.0);
        let alpha = match self.anneal_strategy {
            Anneal::Cos => (1.0 - (std::f64::consts::PI * t).cos()) / 2.0,
            Anneal::Linear => t,
        };
        lr * alpha + from * (1.0 - alpha)
    }

    pub(crate) fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut fault = |key: &str, value: f64, range: &str, reason: &str| {
            let message = format!("`train.swa.{key}` is {value}, expected {range}: {reason}");
            faults.push(Fault { key: format!("train.swa.{key}"), message, hint: None });
        };
        if !(0.0..1.0).contains(&self.start) {
            fault("start", self.start, "0 to below 1", "at 1 no epoch would be averaged");
        }
        if let Some(lr) = self.swa_lr.filter(|lr| !(*lr > 0.0 && lr.is_finite())) {
            fault("swa_lr", lr, "above 0", "weights that stand still need no average");
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_goes_to_its_new_value_as_pytorchs_swalr() {
        // torch 2.15: SGD(lr=0.1), SWALR(swa_lr=0.05, anneal_epochs=4), get_last_lr() at the start and after each step().
        let cos = SwaConfig { swa_lr: Some(0.05), anneal_epochs: 4, ..SwaConfig::default() };
        let expected = [0.1, 0.09267766952966369, 0.07500000000000001, 0.05732233047033631, 0.05, 0.05];
        for (since, expected) in expected.into_iter().enumerate() {
            assert!((cos.rate(0.1, since) - expected).abs() < 1e-15, "{since}");
        }
        let linear = SwaConfig { anneal_strategy: Anneal::Linear, ..cos };
        assert!((linear.rate(0.1, 1) - 0.0875).abs() < 1e-15);
    }

    #[test]
    fn averaging_starts_after_its_share_of_the_epochs_and_before_the_end() {
        let swa = |start: f64| SwaConfig { start, ..SwaConfig::default() };
        assert_eq!(swa(0.75).first_epoch(20), 15);
        assert_eq!(swa(0.0).first_epoch(3), 0);
        assert_eq!(swa(0.99).first_epoch(3), 2);
    }
}
