//! Augmentation: changes of the training images that keep their class (recipe section `augment`).
//!
//! Tier 1 (flips, quarter turns and both together) is safe for most photos; everything else is tier 2, "to be considered
//! carefully", and states its risk. All are off by default.

mod affine;
mod automatic;
mod blur;
mod color;
mod crop;
mod each;
mod erase;
mod flip;
mod mix;
mod orientation;
mod test_views;
mod tone;
mod turn;
mod warp;

#[cfg(test)]
mod golden_tests;

pub use affine::{RandomAffine, RandomPerspective, RandomRotation};
pub use automatic::{AugMix, RandAugment, TrivialAugment};
pub use blur::{GaussianBlur, GaussianNoise};
pub use color::ColorJitter;
pub use crop::{RandomCrop, RandomResizedCrop};
pub use erase::RandomErasing;
pub use flip::{HorizontalFlip, VerticalFlip};
pub use mix::{CutMix, MixPlan, MixUp};
pub use orientation::{OrientationWarning, flip_keeps_class, turn_keeps_class};
pub use test_views::TestViews;
pub use tone::RandomGrayscale;
pub use turn::Rotate90;

use danlu_rng::{Purpose, Stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::decode::View;
use crate::resize::{Window, resize_window};
use crate::{DataError, Interpolation, Pixels};

/// The augmentations of the training images, each off by default (recipe section `augment`). They are applied in the order
/// of the fields. Every draw is keyed by (seed, epoch, sample), or (seed, epoch, batch) for the last two.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AugmentConfig {
    /// Cuts a random window and resizes it to the input size, in place of `data.fit`. Default off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub random_resized_crop: Option<RandomResizedCrop>,
    /// Pads and crops at random: shifts. Default off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub random_crop: Option<RandomCrop>,
    /// Mirrors left and right. Default off. Safe for most photos; wrong for digits, letters, road signs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub horizontal_flip: Option<HorizontalFlip>,
    /// Mirrors top and bottom. Default off. Safe where there is no up and down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vertical_flip: Option<VerticalFlip>,
    /// Turns by 90, 180 or 270 degrees. Default off. Safe where there is no up and down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotate90: Option<Rotate90>,
    /// Turns by a small angle. Default off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub random_rotation: Option<RandomRotation>,
    /// Turns, shifts, scales and shears. Default off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub random_affine: Option<RandomAffine>,
    /// Looks from the side. Default off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub random_perspective: Option<RandomPerspective>,
    /// A few operations drawn at random, at one strength. Default off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rand_augment: Option<RandAugment>,
    /// One operation drawn at random, at a random strength. Default off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trivial_augment: Option<TrivialAugment>,
    /// Mixes the image with changed versions of itself. Default off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aug_mix: Option<AugMix>,
    /// Changes brightness, contrast, saturation and hue. Default off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub color_jitter: Option<ColorJitter>,
    /// Takes the colour out. Default off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub random_grayscale: Option<RandomGrayscale>,
    /// Blurs. Default off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gaussian_blur: Option<GaussianBlur>,
    /// Adds noise. Default off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gaussian_noise: Option<GaussianNoise>,
    /// Fills a random rectangle. Default off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub random_erasing: Option<RandomErasing>,
    /// Blends pairs of images and labels. Default off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mixup: Option<MixUp>,
    /// Replaces rectangles by another image's, and mixes the labels. Default off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cutmix: Option<CutMix>,
}

impl AugmentConfig {
    /// Checks every range.
    ///
    /// # Errors
    /// [`DataError::Config`] with the key, the value, the range and the reason.
    pub fn validate(&self) -> Result<(), DataError> {
        self.random_resized_crop.as_ref().map_or(Ok(()), RandomResizedCrop::validate)?;
        self.random_crop.as_ref().map_or(Ok(()), RandomCrop::validate)?;
        self.horizontal_flip.as_ref().map_or(Ok(()), HorizontalFlip::validate)?;
        self.vertical_flip.as_ref().map_or(Ok(()), VerticalFlip::validate)?;
        self.rotate90.as_ref().map_or(Ok(()), Rotate90::validate)?;
        self.random_rotation.as_ref().map_or(Ok(()), RandomRotation::validate)?;
        self.random_affine.as_ref().map_or(Ok(()), RandomAffine::validate)?;
        self.random_perspective.as_ref().map_or(Ok(()), RandomPerspective::validate)?;
        self.rand_augment.as_ref().map_or(Ok(()), RandAugment::validate)?;
        self.aug_mix.as_ref().map_or(Ok(()), AugMix::validate)?;
        self.random_grayscale.as_ref().map_or(Ok(()), RandomGrayscale::validate)?;
        self.color_jitter.as_ref().map_or(Ok(()), ColorJitter::validate)?;
        self.gaussian_blur.as_ref().map_or(Ok(()), GaussianBlur::validate)?;
        self.gaussian_noise.as_ref().map_or(Ok(()), GaussianNoise::validate)?;
        self.random_erasing.as_ref().map_or(Ok(()), RandomErasing::validate)?;
        mix::validate(self.mixup.as_ref(), self.cutmix.as_ref())
    }

    /// Checks that the augmentations fit images of this size (height, width).
    ///
    /// # Errors
    /// [`DataError::Config`], as [`AugmentConfig::validate`].
    pub fn validate_for(&self, size: [usize; 2]) -> Result<(), DataError> {
        self.validate()?;
        self.random_crop.as_ref().map_or(Ok(()), |op| op.fits(size))?;
        self.gaussian_blur.as_ref().map_or(Ok(()), |op| op.fits(size))
    }

    /// How many pictures an image can become, where these are few: 1 without augmentation, 2 with a flip. `None` where a number is
    /// drawn from a range, or images are mixed with others.
    pub fn variants(&self) -> Option<usize> {
        // Every field is named, so that a new augmentation must be thought of here.
        let AugmentConfig {
            horizontal_flip,
            vertical_flip,
            rotate90,
            random_resized_crop: None,
            random_crop: None,
            random_rotation: None,
            random_affine: None,
            random_perspective: None,
            rand_augment: None,
            trivial_augment: None,
            aug_mix: None,
            color_jitter: None,
            random_grayscale: None,
            gaussian_blur: None,
            gaussian_noise: None,
            random_erasing: None,
            mixup: None,
            cutmix: None,
        } = self
        else {
            return None;
        };
        let (mirrored, upside_down) = (horizontal_flip.is_some(), vertical_flip.is_some());
        Some(match (rotate90.is_some(), mirrored, upside_down) {
            (false, false, false) => 1,
            (false, true, true) | (true, false, false) => 4,
            (false, ..) => 2,
            // All symmetries of the square.
            (true, ..) => 8,
        })
    }

    /// True where the whole decoded image is needed, and not only the fitted one.
    pub(crate) fn needs_whole(&self) -> bool {
        self.random_resized_crop.is_some()
    }

    /// The random window of an image of `[height, width]`; all of it where none is asked for.
    pub(crate) fn window(&self, shape: [usize; 2], seed: u64, epoch: u64, sample: u64) -> Window {
        let [height, width] = shape;
        match &self.random_resized_crop {
            Some(op) => op.window(shape, &mut Stream::new(seed, WINDOW, epoch, sample)),
            None => Window { top: 0, left: 0, height, width },
        }
    }

    /// The random window of a whole image, at the input size.
    pub(crate) fn cut<'a>(
        &self,
        image: impl Into<View<'a>>,
        size: [usize; 2],
        filter: Interpolation,
        seed: u64,
        epoch: u64,
        sample: u64,
    ) -> Pixels {
        let image = image.into();
        let window = self.window([image.height, image.width], seed, epoch, sample);
        resize_window(image, window, size, filter)
    }

    /// Augments one image of the network's input size.
    pub(crate) fn apply(&self, mut image: Pixels, seed: u64, epoch: u64, sample: u64) -> Pixels {
        let mut stream = Stream::new(seed, Purpose::Augment, epoch, sample);
        if let Some(op) = &self.random_crop {
            image = op.apply(image, &mut stream);
        }
        if let Some(op) = &self.horizontal_flip {
            op.apply(&mut image, &mut stream, Key { seed, epoch, sample });
        }
        if let Some(op) = &self.vertical_flip {
            op.apply(&mut image, &mut stream);
        }
        if let Some(op) = &self.rotate90 {
            image = op.apply(image, &mut stream);
        }
        if let Some(op) = &self.random_rotation {
            image = op.apply(image, &mut stream);
        }
        if let Some(op) = &self.random_affine {
            image = op.apply(image, &mut stream);
        }
        if let Some(op) = &self.random_perspective {
            image = op.apply(image, &mut stream);
        }
        if let Some(op) = &self.rand_augment {
            image = op.apply(image, &mut stream);
        }
        if let Some(op) = &self.trivial_augment {
            image = op.apply(image, &mut stream);
        }
        if let Some(op) = &self.aug_mix {
            image = op.apply(image, &mut stream);
        }
        if let Some(op) = &self.color_jitter {
            op.apply(&mut image, &mut stream);
        }
        if let Some(op) = &self.random_grayscale {
            op.apply(&mut image, &mut stream);
        }
        if let Some(op) = &self.gaussian_blur {
            image = op.apply(image, &mut stream);
        }
        if let Some(op) = &self.gaussian_noise {
            op.apply(&mut image, &mut stream);
        }
        if let Some(op) = &self.random_erasing {
            op.apply(&mut image, &mut stream);
        }
        image
    }

    /// How a batch of `[N, H, W]` is mixed.
    pub(crate) fn mix(&self, seed: u64, epoch: u64, batch: u64, shape: [usize; 3]) -> Option<MixPlan> {
        mix::draw(self.mixup.as_ref(), self.cutmix.as_ref(), seed, epoch, batch, shape)
    }
}

/// What names the draws of one image.
#[derive(Clone, Copy, Debug)]
struct Key {
    seed: u64,
    epoch: u64,
    sample: u64,
}

/// The stream of the random window, apart from the others so that it can be drawn before them.
const WINDOW: Purpose = Purpose::Other(1);

/// Checks that `key` is a probability.
fn probability(key: &str, p: f64) -> Result<(), DataError> {
    if (0.0..=1.0).contains(&p) {
        return Ok(());
    }
    Err(DataError::config(key, p, "0 to 1 (the probability that an image is changed)"))
}

/// Checks that `key` is `[least, largest]`, above `low` (or at it where it is not 0) to `high`.
fn range_of(key: &str, [least, largest]: [f64; 2], low: f64, high: f64) -> Result<(), DataError> {
    if least > 0.0 && least >= low && least <= largest && largest <= high {
        return Ok(());
    }
    let above = if low == 0.0 { "above 0".into() } else { low.to_string() };
    let expected = format!("[least, largest], each {above} to {high}");
    Err(DataError::config(key, format!("[{least}, {largest}]"), expected))
}
