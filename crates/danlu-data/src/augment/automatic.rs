//! Automatic augmentation: RandAugment, TrivialAugment (wide) and AugMix draw from one list of operations.

use danlu_rng::Stream;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::warp::{Affine, Lookup, affine};
use super::{color, mix, tone};
use crate::{DataError, Pixels};

/// One operation of the list, as torchvision's `_AutoAugmentBase` names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Identity,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
    Rotate,
    Brightness,
    Color,
    Contrast,
    Sharpness,
    Posterize,
    Solarize,
    AutoContrast,
    Equalize,
}

use Operation as O;

const ALL: [O; 14] = [
    O::Identity,
    O::ShearX,
    O::ShearY,
    O::TranslateX,
    O::TranslateY,
    O::Rotate,
    O::Brightness,
    O::Color,
    O::Contrast,
    O::Sharpness,
    O::Posterize,
    O::Solarize,
    O::AutoContrast,
    O::Equalize,
];

impl Operation {
    /// Whether a strength may go either way.
    fn is_signed(self) -> bool {
        !matches!(self, O::Identity | O::Posterize | O::Solarize | O::AutoContrast | O::Equalize)
    }

    /// Applies it as torchvision does, nearest pixel, black from outside. The magnitude is in the operation's own unit.
    pub(crate) fn apply(self, mut image: Pixels, magnitude: f64) -> Pixels {
        let warped = |map: Affine| affine(&image, &map, Lookup::Nearest);
        let degrees = magnitude.atan().to_degrees();
        match self {
            O::Identity => {}
            O::ShearX => {
                return warped(Affine { shear: [degrees, 0.0], corner: true, ..Affine::default() });
            }
            O::ShearY => {
                return warped(Affine { shear: [0.0, degrees], corner: true, ..Affine::default() });
            }
            O::TranslateX => {
                return warped(Affine { translate: [magnitude.trunc(), 0.0], ..Affine::default() });
            }
            O::TranslateY => {
                return warped(Affine { translate: [0.0, magnitude.trunc()], ..Affine::default() });
            }
            // `rotate` turns counter-clockwise.
            O::Rotate => return warped(Affine { angle: -magnitude, ..Affine::default() }),
            O::Brightness => color::adjust(&mut image, [1.0 + magnitude, 1.0, 1.0]),
            O::Contrast => color::adjust(&mut image, [1.0, 1.0 + magnitude, 1.0]),
            O::Color => color::adjust(&mut image, [1.0, 1.0, 1.0 + magnitude]),
            O::Sharpness => tone::sharpness(&mut image, 1.0 + magnitude),
            O::Posterize => tone::posterize(&mut image, magnitude.max(0.0) as u32),
            O::Solarize => tone::solarize(&mut image, 255.0 * magnitude),
            O::AutoContrast => tone::autocontrast(&mut image),
            O::Equalize => tone::equalize(&mut image),
        }
        image
    }
}

/// The strength of `bin` of `bins`, growing from 0 to `most`.
fn linear(most: f64, bin: usize, bins: usize) -> f64 {
    most * bin as f64 / (bins - 1) as f64
}

/// From 1 to 0 as `torch.linspace` counts in single precision, from the nearer end: it decides whether the value at the
/// threshold is inverted.
fn falling(bin: usize, bins: usize) -> f64 {
    let step = -1.0f32 / (bins - 1) as f32;
    f64::from(if bin < bins / 2 { step.mul_add(bin as f32, 1.0) } else { -step * (bins - 1 - bin) as f32 })
}

fn bits(most: f64, steps: f64, bin: usize, bins: usize) -> f64 {
    most - (bin as f64 / ((bins - 1) as f64 / steps)).round_ties_even()
}

/// Strengths of RandAugment: each operation's range is gentle.
pub(crate) fn rand_augment(op: Operation, bin: usize, bins: usize, [h, w]: [usize; 2]) -> f64 {
    match op {
        O::Identity | O::AutoContrast | O::Equalize => 0.0,
        O::ShearX | O::ShearY => linear(0.3, bin, bins),
        O::TranslateX => linear(150.0 / 331.0 * w as f64, bin, bins),
        O::TranslateY => linear(150.0 / 331.0 * h as f64, bin, bins),
        O::Rotate => linear(30.0, bin, bins),
        O::Brightness | O::Color | O::Contrast | O::Sharpness => linear(0.9, bin, bins),
        O::Posterize => bits(8.0, 4.0, bin, bins),
        O::Solarize => falling(bin, bins),
    }
}

/// Strengths of TrivialAugment (wide): up to extreme ones.
pub(crate) fn trivial_augment(op: Operation, bin: usize, bins: usize) -> f64 {
    match op {
        O::Identity | O::AutoContrast | O::Equalize => 0.0,
        O::ShearX | O::ShearY | O::Brightness | O::Color | O::Contrast | O::Sharpness => {
            linear(0.99, bin, bins)
        }
        O::TranslateX | O::TranslateY => linear(32.0, bin, bins),
        O::Rotate => linear(135.0, bin, bins),
        O::Posterize => bits(8.0, 6.0, bin, bins),
        O::Solarize => falling(bin, bins),
    }
}

/// Strengths of AugMix.
pub(crate) fn aug_mix(op: Operation, bin: usize, bins: usize, [h, w]: [usize; 2]) -> f64 {
    match op {
        O::TranslateX => linear(w as f64 / 3.0, bin, bins),
        O::TranslateY => linear(h as f64 / 3.0, bin, bins),
        O::Posterize => bits(4.0, 4.0, bin, bins),
        _ => rand_augment(op, bin, bins, [h, w]),
    }
}

fn signed(op: Operation, magnitude: f64, stream: &mut Stream) -> f64 {
    // Drawn always, so that the numbers after it do not depend on the operation.
    let negative = stream.chance(0.5);
    if op.is_signed() && negative { -magnitude } else { magnitude }
}

/// Applies `num_ops` operations drawn at random, all at one strength (torchvision's `RandAugment`, arXiv 1909.13719).
///
/// Tier 2 (to be considered). Risk: holds the risks of rotation, shift, shear, colour and contrast at once; wrong for digits,
/// letters and classes that differ by colour or direction. The standard for long trainings on photos.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RandAugment {
    /// Operations for each image, 1 to 14. Default 2, as torchvision.
    #[schemars(range(min = 1, max = 14))]
    pub num_ops: usize,
    /// Strength, 0 to 30 (of 31 steps). Default 9, as torchvision; lower it for small networks and short trainings.
    #[schemars(range(min = 0, max = 30))]
    pub magnitude: usize,
}

/// Steps of strength of RandAugment and TrivialAugment (torchvision's `num_magnitude_bins`).
const BINS: usize = 31;

impl Default for RandAugment {
    fn default() -> Self {
        RandAugment { num_ops: 2, magnitude: 9 }
    }
}

impl RandAugment {
    pub(super) fn validate(&self) -> Result<(), DataError> {
        if !(1..=14).contains(&self.num_ops) {
            let expected = "1 to 14 (operations for each image)";
            return Err(DataError::config("augment.rand_augment.num_ops", self.num_ops, expected));
        }
        if self.magnitude >= BINS {
            let expected = "0 to 30 (the last of 31 steps of strength)";
            return Err(DataError::config("augment.rand_augment.magnitude", self.magnitude, expected));
        }
        Ok(())
    }

    pub(super) fn apply(&self, mut image: Pixels, stream: &mut Stream) -> Pixels {
        for _ in 0..self.num_ops {
            let op = ALL[stream.below(ALL.len() as u64) as usize];
            let magnitude = rand_augment(op, self.magnitude, BINS, [image.height, image.width]);
            let magnitude = signed(op, magnitude, stream);
            image = op.apply(image, magnitude);
        }
        image
    }
}

/// Applies one operation at a strength drawn at random (torchvision's `TrivialAugmentWide`, arXiv 2103.10158): nothing to
/// tune.
///
/// Tier 2 (to be considered). Risk: as RandAugment, with turns up to 135 degrees and shifts up to 32 pixels, which is the
/// whole of a small image: for images of 32 pixels or fewer prefer RandAugment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TrivialAugment {}

impl TrivialAugment {
    pub(super) fn apply(&self, image: Pixels, stream: &mut Stream) -> Pixels {
        let op = ALL[stream.below(ALL.len() as u64) as usize];
        let magnitude = trivial_augment(op, stream.below(BINS as u64) as usize, BINS);
        let magnitude = signed(op, magnitude, stream);
        op.apply(image, magnitude)
    }
}

/// Mixes an image with several chains of operations on itself (torchvision's `AugMix`, arXiv 1912.02781), without the paper's
/// consistency loss.
///
/// Tier 2 (to be considered). Risk: as RandAugment, but the image itself always shows through; costs about ten times a flip.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AugMix {
    /// Strength of the operations, 1 to 10. Default 3, as torchvision.
    #[schemars(range(min = 1, max = 10))]
    pub severity: usize,
    /// Chains that are mixed, 1 to 10. Default 3, as torchvision.
    #[schemars(range(min = 1, max = 10))]
    pub mixture_width: usize,
    /// Operations in a chain, 1 to 10; none (default): 1 to 3, drawn for each chain.
    #[schemars(range(min = 1, max = 10))]
    pub chain_depth: Option<usize>,
    /// Parameter of the Beta and Dirichlet draws of the weights, above 0 to 10. Default 1, as torchvision.
    #[schemars(range(min = 0.0, max = 10.0))]
    pub alpha: f64,
}

impl Default for AugMix {
    fn default() -> Self {
        AugMix { severity: 3, mixture_width: 3, chain_depth: None, alpha: 1.0 }
    }
}

impl AugMix {
    pub(super) fn validate(&self) -> Result<(), DataError> {
        for (name, value) in [
            ("severity", self.severity),
            ("mixture_width", self.mixture_width),
            ("chain_depth", self.chain_depth.unwrap_or(1)),
        ] {
            if !(1..=10).contains(&value) {
                return Err(DataError::config(&format!("augment.aug_mix.{name}"), value, "1 to 10"));
            }
        }
        if self.alpha > 0.0 && self.alpha <= 10.0 {
            return Ok(());
        }
        let expected = "above 0 to 10 (a parameter of a Dirichlet distribution)";
        Err(DataError::config("augment.aug_mix.alpha", self.alpha, expected))
    }

    pub(super) fn apply(&self, image: Pixels, stream: &mut Stream) -> Pixels {
        let m = mix::dirichlet(self.alpha, 2, stream);
        let weights = mix::dirichlet(self.alpha, self.mixture_width, stream);
        let mut sum: Vec<f64> = image.data.iter().map(|&v| m[0] * f64::from(v)).collect();
        for weight in weights {
            let mut chain = image.clone();
            let depth = self.chain_depth.unwrap_or_else(|| 1 + stream.below(3) as usize);
            for _ in 0..depth {
                // All but the identity, which the paper's list does not have.
                let op = ALL[1 + stream.below(ALL.len() as u64 - 1) as usize];
                let bin = stream.below(self.severity as u64) as usize;
                let magnitude = aug_mix(op, bin, 10, [chain.height, chain.width]);
                let magnitude = signed(op, magnitude, stream);
                chain = op.apply(chain, magnitude);
            }
            sum.iter_mut().zip(&chain.data).for_each(|(sum, &v)| *sum += m[1] * weight * f64::from(v));
        }
        let data = sum.into_iter().map(|v| v.round_ties_even().clamp(0.0, 255.0) as u8).collect();
        Pixels { data, ..image }
    }
}
