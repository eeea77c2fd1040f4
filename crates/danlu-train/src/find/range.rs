//! The learning-rate range test (Smith 2017, arXiv 1506.01186) and what several rules read from it.

use danlu_nn::Engine;
use danlu_recipe::Recipe;
use serde::{Deserialize, Serialize};

use super::bench::{Batches, gradients, optimizer};
use crate::error::TrainError;

/// How a range test runs.
#[derive(Clone, Debug, PartialEq)]
pub struct RangeConfig {
    /// First learning rate. Default 1e-7.
    pub start: f64,
    /// Last learning rate. Default 10.
    pub end: f64,
    /// Updates between the two, each with a rate larger by the same factor. Default 100.
    pub steps: usize,
    /// The test stops when the smoothed loss is this many times its best. Default 4, as fastai.
    pub stop_factor: f64,
}

impl Default for RangeConfig {
    fn default() -> Self {
        RangeConfig { start: 1e-7, end: 10.0, steps: 100, stop_factor: 4.0 }
    }
}

/// A learning rate that a rule proposes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Suggestion {
    /// `steepest`, `valley` or `minimum / 10`.
    pub rule: String,
    /// The learning rate.
    pub lr: f64,
}

/// What a range test saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RangeTest {
    /// Learning rates, rising.
    pub lr: Vec<f64>,
    /// Loss of the batch before the update with that rate.
    pub loss: Vec<f64>,
    /// The loss smoothed over neighbouring rates on both sides, so that it lags behind on neither.
    pub smoothed: Vec<f64>,
    /// Where the test stopped because the loss ran away or was no number.
    pub diverged_at: Option<f64>,
}

/// Trains with an exponentially rising learning rate and puts the engine back, bit for bit, whatever happens.
///
/// # Errors
/// Data that cannot be read, and an engine that does not fit the recipe.
pub fn range_test(
    engine: &mut Engine,
    recipe: &Recipe,
    batches: &mut Batches,
    config: &RangeConfig,
) -> Result<RangeTest, TrainError> {
    let (state, trainable) = (engine.export_state(), engine.trainable().to_vec());
    let seen = climb(engine, recipe, batches, config);
    engine.set_trainable(&trainable)?;
    engine.import_state(&state)?;
    seen
}

fn climb(
    engine: &mut Engine,
    recipe: &Recipe,
    batches: &mut Batches,
    config: &RangeConfig,
) -> Result<RangeTest, TrainError> {
    let mut optimizer = optimizer(engine, recipe, 1.0)?;
    // Groups keep their ratios to one another: a group with `lr_scale` is tested at its own scale.
    let scales: Vec<f64> = optimizer.groups().iter().map(|group| group.initial_lr).collect();
    engine.set_trainable(&optimizer.trainable())?;
    let factor = (config.end / config.start).powf(1.0 / config.steps.saturating_sub(1).max(1) as f64);
    let mut seen = RangeTest::default();
    let (mut average, mut weight, mut best) = (0.0, 1.0, f64::INFINITY);
    for step in 0..config.steps {
        let lr = config.start * factor.powi(step as i32);
        let (loss, norm) = gradients(engine, recipe, batches, step as u64)?;
        if !loss.is_finite() || !norm.is_finite() {
            seen.diverged_at = Some(lr);
            break;
        }
        seen.lr.push(lr);
        seen.loss.push(loss);
        // The debiased average decides only when to stop; it lags, so no rate is read from it.
        average = 0.8 * average + 0.2 * loss;
        weight *= 0.8;
        let smooth = average / (1.0 - weight);
        if step >= 10 && smooth > config.stop_factor * best {
            seen.diverged_at = Some(lr);
            break;
        }
        best = best.min(smooth);
        for (group, scale) in optimizer.groups_mut().iter_mut().zip(&scales) {
            group.lr = lr * scale;
        }
        engine.step(&mut optimizer)?;
    }
    seen.smoothed = smooth(&seen.loss, 2.0);
    Ok(seen)
}

/// A Gaussian average over neighbours, `width` steps of standard deviation.
fn smooth(values: &[f64], width: f64) -> Vec<f64> {
    let reach = (3.0 * width).ceil() as isize;
    (0..values.len() as isize)
        .map(|at| {
            let (mut sum, mut total) = (0.0, 0.0);
            for other in (at - reach).max(0)..=(at + reach).min(values.len() as isize - 1) {
                let weight = (-0.5 * ((other - at) as f64 / width).powi(2)).exp();
                sum += weight * values[other as usize];
                total += weight;
            }
            sum / total
        })
        .collect()
}

impl RangeTest {
    /// What the rules say; empty where the loss never fell by more than its own noise: then nothing can be read.
    pub fn suggestions(&self) -> Vec<Suggestion> {
        let curve = &self.smoothed;
        let Some(lowest) = (0..curve.len()).min_by(|a, b| curve[*a].total_cmp(&curve[*b])) else {
            return Vec::new();
        };
        let before = &curve[..(curve.len() / 5).max(1)];
        let level = before.iter().sum::<f64>() / before.len() as f64;
        let early = &self.loss[..before.len()];
        let spread = early.iter().map(|loss| (loss - level).powi(2)).sum::<f64>() / early.len() as f64;
        if lowest < 4 || level - curve[lowest] < (3.0 * spread.sqrt() / 2.0).max(0.02 * level.abs()) {
            return Vec::new();
        }
        let slope = |i: usize| (curve[i + 1] - curve[i - 1]) / (self.lr[i + 1] / self.lr[i - 1]).ln();
        let steepest = (1..lowest).min_by(|a, b| slope(*a).total_cmp(&slope(*b))).unwrap_or(lowest);
        let suggestion = |rule: &str, lr: f64| Suggestion { rule: rule.to_owned(), lr };
        vec![
            suggestion("steepest", self.lr[steepest]),
            suggestion("valley", self.lr[valley(curve)]),
            suggestion("minimum / 10", self.lr[lowest] / 10.0),
        ]
    }
}

/// fastai's `valley`: the middle of the middle third of the longest falling subsequence, taken to be without gaps.
fn valley(curve: &[f64]) -> usize {
    let mut length = vec![1usize; curve.len()];
    let mut last = 0;
    for i in 0..curve.len() {
        for j in 0..i {
            if curve[i] < curve[j] {
                length[i] = length[i].max(length[j] + 1);
            }
        }
        if length[i] > length[last] {
            last = i;
        }
    }
    let start = (last + 1).saturating_sub(length[last]);
    let sections = (last - start) / 3;
    start + sections + sections / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(loss: impl Fn(f64) -> f64) -> RangeTest {
        let lr: Vec<f64> = (0..100).map(|i| 1e-7 * 10f64.powf(8.0 * i as f64 / 99.0)).collect();
        let loss: Vec<f64> = lr.iter().map(|lr| loss(*lr)).collect();
        RangeTest { smoothed: smooth(&loss, 2.0), lr, loss, diverged_at: None }
    }

    #[test]
    fn the_rules_read_a_known_curve() {
        // Falls steepest at 1e-2 (a logistic in log lr), rises from 1 on.
        let seen =
            curve(|lr| 2.3 - 1.5 / (1.0 + (-(lr / 1e-2).log10() * 4.0).exp()) + 3.0 * (lr / 3.0).powi(2));
        let found = seen.suggestions();
        let lr = |rule: &str| found.iter().find(|s| s.rule == rule).expect("is there").lr;
        assert!((lr("steepest") / 1e-2).ln().abs() < 0.3, "{found:?}");
        assert!(lr("valley") > 1e-5 && lr("valley") < 0.1, "{found:?}");
        assert!(lr("minimum / 10") > 0.005 && lr("minimum / 10") < 0.05, "{found:?}");
    }

    #[test]
    fn a_flat_or_rising_curve_suggests_nothing() {
        assert_eq!(curve(|_| 2.3).suggestions(), []);
        assert_eq!(curve(|lr| 2.3 + lr).suggestions(), []);
        let mut state = 1u64;
        let mut noise = move || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 40) as f64 / (1u64 << 24) as f64
        };
        let values: Vec<f64> = (0..100).map(|_| noise()).collect();
        let at = std::cell::Cell::new(0);
        let noisy = curve(|_| {
            at.set(at.get() + 1);
            2.3 + 0.2 * values[at.get() - 1]
        });
        assert_eq!(noisy.suggestions(), []);
        assert_eq!(RangeTest::default().suggestions(), []);
    }
}
