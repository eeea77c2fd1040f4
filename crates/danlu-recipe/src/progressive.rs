//! Progressive resizing: the recipe key `train.progressive`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::resolve::Fault;

/// Progressive resizing (fastai's DAWNBench entry of 2018; Tan and Le 2021, arXiv 2104.00298): the first epochs train on small
/// images, which cost a fraction, and the size grows in equal steps to `data.image_size`. Validation, test and prediction see the full
/// size from the start, so that epochs compare; the batch norms' estimates get used to it in the last, full-size part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ProgressiveConfig {
    /// Side of the first images as a share of `data.image_size`, 0.25 to below 1. Default 0.5: a quarter of the work. Sides are
    /// multiples of 4, above 64 pixels of 32.
    #[schemars(range(min = 0.25, max = 1.0))]
    pub start: f64,
    /// Share of the epochs that train on images below the full size, above 0 to below 1. Default 0.6. The last epoch is
    /// always of full size.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub share: f64,
    /// Sizes below the full one, each for as many epochs. Default 2.
    #[schemars(range(min = 1, max = 16))]
    pub steps: u32,
}

impl Default for ProgressiveConfig {
    fn default() -> Self {
        ProgressiveConfig { start: 0.5, share: 0.6, steps: 2 }
    }
}

/// The side of `share` of `full` pixels: a multiple of 4 for small images and of 32 for photos, as networks halve them;
/// at least 8, at most `full`.
pub fn side(full: usize, share: f64) -> usize {
    let grain = if full > 64 { 32 } else { 4 };
    ((full as f64 * share / grain as f64).round() as usize * grain).clamp(8.min(full), full)
}

impl ProgressiveConfig {
    /// Side of the training images in an epoch (from 0) of `epochs`, where it is `full` at the end.
    pub fn size(&self, full: usize, epoch: usize, epochs: usize) -> usize {
        let below = ((self.share * epochs as f64).round() as usize).min(epochs.saturating_sub(1));
        if epoch >= below {
            return full;
        }
        let step = (epoch * self.steps as usize / below) as f64;
        side(full, self.start + (1.0 - self.start) * step / f64::from(self.steps))
    }

    /// Every size of a training of `epochs`, the smallest first.
    pub fn sizes(&self, full: usize, epochs: usize) -> Vec<usize> {
        let mut sizes: Vec<usize> = (0..epochs.max(1)).map(|epoch| self.size(full, epoch, epochs)).collect();
        sizes.dedup();
        sizes
    }

    pub(crate) fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut fault = |key: &str, value: f64, range: &str, reason: &str| {
            let message = format!("`train.progressive.{key}` is {value}, expected {range}: {reason}");
            faults.push(Fault { key: format!("train.progressive.{key}"), message, hint: None });
        };
        if !(0.25..1.0).contains(&self.start) {
            fault("start", self.start, "0.25 to below 1", "at 1 nothing would grow");
        }
        if !(self.share > 0.0 && self.share < 1.0) {
            fault("share", self.share, "above 0 to below 1", "the last epochs must see the full size");
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_grows_in_equal_steps_and_the_end_is_full() {
        let config = ProgressiveConfig::default();
        let sizes: Vec<usize> = (0..10).map(|epoch| config.size(28, epoch, 10)).collect();
        assert_eq!(sizes, [16, 16, 16, 20, 20, 20, 28, 28, 28, 28]);
        assert_eq!(config.sizes(224, 10), [128, 160, 224]);
        assert_eq!(config.sizes(28, 1), [28]);
        assert_eq!(config.sizes(8, 5), [8]);
    }

    #[test]
    fn whatever_the_numbers_no_size_is_above_the_full_one_and_the_last_epoch_is_full() {
        for full in [8, 9, 28, 65, 224, 4096] {
            for epochs in [1, 2, 3, 7, 100] {
                for share in [0.01, 0.5, 0.99] {
                    let config = ProgressiveConfig { start: 0.25, share, steps: 16 };
                    let sizes: Vec<usize> =
                        (0..epochs).map(|epoch| config.size(full, epoch, epochs)).collect();
                    assert!(sizes.windows(2).all(|pair| pair[0] <= pair[1]), "{sizes:?}");
                    assert!(sizes[0] >= 8 && sizes[epochs - 1] == full, "{sizes:?}");
                }
            }
        }
    }
}
