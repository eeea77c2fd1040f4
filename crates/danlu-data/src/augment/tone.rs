//! Grey values: turning grey, and the tone operations that automatic augmentation draws from (sharpness, posterize,
//! solarize, autocontrast, equalize), each as torchvision v2 on u8 tensors.

use danlu_rng::Stream;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{color, probability};
use crate::{DataError, Pixels};

/// Takes the colour out with probability `p` (torchvision's `RandomGrayscale`); grey images stay as they are.
///
/// Tier 2 (to be considered). Risk: classes that differ by colour become one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RandomGrayscale {
    /// Probability, 0 to 1. Default 0.1, as torchvision.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub p: f64,
}

impl Default for RandomGrayscale {
    fn default() -> Self {
        RandomGrayscale { p: 0.1 }
    }
}

impl RandomGrayscale {
    pub(super) fn validate(&self) -> Result<(), DataError> {
        probability("augment.random_grayscale.p", self.p)
    }

    pub(super) fn apply(&self, image: &mut Pixels, stream: &mut Stream) {
        if stream.chance(self.p) {
            // A saturation of 0 is the grey image in every channel.
            color::adjust(image, [1.0, 1.0, 0.0]);
        }
    }
}

/// `adjust_sharpness`: 0 smooths, 1 changes nothing, 2 sharpens; the border stays.
pub(crate) fn sharpness(image: &mut Pixels, factor: f64) {
    let (h, w, c) = (image.height, image.width, image.channels);
    if h <= 2 || w <= 2 {
        return;
    }
    let source = image.data.clone();
    let value = |y: usize, x: usize, ch: usize| f64::from(source[(y * w + x) * c + ch]);
    for y in 1..h - 1 {
        for x in 1..w - 1 {
            for ch in 0..c {
                let mut sum = 4.0 * value(y, x, ch);
                for dy in 0..3 {
                    for dx in 0..3 {
                        sum += value(y + dy - 1, x + dx - 1, ch);
                    }
                }
                let smooth = (sum / 13.0).round_ties_even();
                let blend = value(y, x, ch) * factor + (1.0 - factor) * smooth;
                image.data[(y * w + x) * c + ch] = blend.clamp(0.0, 255.0) as u8;
            }
        }
    }
}

/// Keeps the `bits` highest bits.
pub(crate) fn posterize(image: &mut Pixels, bits: u32) {
    let mask = if bits >= 8 { 0xff } else { !(0xffu8 >> bits) };
    image.data.iter_mut().for_each(|v| *v &= mask);
}

/// Inverts values from `threshold` on.
pub(crate) fn solarize(image: &mut Pixels, threshold: f64) {
    // PyTorch compares bytes with a number in f32, which decides for thresholds a rounding away from a byte.
    let threshold = threshold as f32;
    image.data.iter_mut().filter(|v| f32::from(**v) >= threshold).for_each(|v| *v = 255 - *v);
}

/// Stretches each channel to the whole range.
pub(crate) fn autocontrast(image: &mut Pixels) {
    let c = image.channels;
    for ch in 0..c {
        let values = || image.data.iter().skip(ch).step_by(c).copied();
        let (Some(low), Some(high)) = (values().min(), values().max()) else { return };
        if low < high {
            let scale = f32::from(high - low) / 255.0;
            for v in image.data.iter_mut().skip(ch).step_by(c) {
                *v = (f32::from(*v - low) / scale).clamp(0.0, 255.0) as u8;
            }
        }
    }
}

/// Makes all values of each channel equally frequent (Pillow's `equalize`).
pub(crate) fn equalize(image: &mut Pixels) {
    let c = image.channels;
    for ch in 0..c {
        let mut histogram = [0usize; 256];
        image.data.iter().skip(ch).step_by(c).for_each(|&v| histogram[usize::from(v)] += 1);
        let total: usize = histogram.iter().sum();
        let last = histogram.iter().rev().find(|count| **count > 0).copied().unwrap_or(0);
        let step = (total - last) / 255;
        if step == 0 {
            continue;
        }
        let (mut table, mut before) = ([0u8; 256], 0);
        for (entry, count) in table.iter_mut().zip(histogram) {
            *entry = ((before + step / 2) / step).min(255) as u8;
            before += count;
        }
        image.data.iter_mut().skip(ch).step_by(c).for_each(|v| *v = table[usize::from(*v)]);
    }
}
