//! Random crops.

use danlu_rng::Stream;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{probability, range_of};
use crate::resize::Window;
use crate::{DataError, Pixels};

/// Pads by `padding` black pixels on every side and crops the input size at a random place (torchvision's `RandomCrop`
/// with `padding`).
///
/// Tier 2 (to be considered). Risk: cuts off what lies at the border; small where the padding is a tenth of the size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RandomCrop {
    /// Pixels added on every side, that is the largest shift, 0 to 512. Default 4, the usual choice for 32x32 images.
    #[schemars(range(min = 0, max = 512))]
    pub padding: usize,
    /// Probability, 0 to 1. Default 1.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub p: f64,
}

impl Default for RandomCrop {
    fn default() -> Self {
        RandomCrop { padding: 4, p: 1.0 }
    }
}

impl RandomCrop {
    pub(super) fn validate(&self) -> Result<(), DataError> {
        if self.padding > 512 {
            return Err(DataError::config("augment.random_crop.padding", self.padding, "0 to 512 (pixels)"));
        }
        probability("augment.random_crop.p", self.p)
    }

    /// A shift by the whole side leaves nothing but padding.
    pub(super) fn fits(&self, size: [usize; 2]) -> Result<(), DataError> {
        let side = size[0].min(size[1]);
        if self.padding < side {
            return Ok(());
        }
        let expected =
            format!("less than the image's shorter side ({side} pixels): a shift would leave only black");
        Err(DataError::config("augment.random_crop.padding", self.padding, expected))
    }

    pub(super) fn apply(&self, image: Pixels, stream: &mut Stream) -> Pixels {
        let span = 2 * self.padding as u64 + 1;
        let (hit, top, left) = (stream.chance(self.p), stream.below(span), stream.below(span));
        if !hit {
            return image;
        }
        shift(&image, top as i64 - self.padding as i64, left as i64 - self.padding as i64)
    }
}

/// Cuts a random window and resizes it to the input size, in place of `data.fit` (torchvision's `RandomResizedCrop`).
///
/// Tier 2 (to be considered). Risk: a small window may miss the thing; changes its size and shape. The standard for
/// photos where many epochs are trained; raise the lower scale for short trainings and small things.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RandomResizedCrop {
    /// Least and largest share of the area, above 0 to 1. Default `[0.08, 1]`, as torchvision; `[0.35, 1]` for short
    /// trainings.
    pub scale: [f64; 2],
    /// Least and largest width over height, 0.01 to 100. Default `[0.75, 1.3333]`, as torchvision.
    pub ratio: [f64; 2],
}

impl Default for RandomResizedCrop {
    fn default() -> Self {
        RandomResizedCrop { scale: [0.08, 1.0], ratio: [3.0 / 4.0, 4.0 / 3.0] }
    }
}

impl RandomResizedCrop {
    pub(super) fn validate(&self) -> Result<(), DataError> {
        range_of("augment.random_resized_crop.scale", self.scale, 0.0, 1.0)?;
        range_of("augment.random_resized_crop.ratio", self.ratio, 0.01, 100.0)
    }

    /// torchvision's `get_params`: ten tries, then the largest centred window of a permitted shape.
    pub(super) fn window(&self, [h, w]: [usize; 2], stream: &mut Stream) -> Window {
        let area = (h * w) as f64;
        for _ in 0..10 {
            let target = area * stream.uniform_in(self.scale[0], self.scale[1]);
            let ratio = stream.uniform_in(self.ratio[0].ln(), self.ratio[1].ln()).exp();
            let width = (target * ratio).sqrt().round_ties_even() as usize;
            let height = (target / ratio).sqrt().round_ties_even() as usize;
            if (1..=w).contains(&width) && (1..=h).contains(&height) {
                let top = stream.below((h - height + 1) as u64) as usize;
                let left = stream.below((w - width + 1) as u64) as usize;
                return Window { top, left, height, width };
            }
        }
        let shape = w as f64 / h as f64;
        let (height, width) = if shape < self.ratio[0] {
            (((w as f64 / self.ratio[0]).round() as usize).clamp(1, h), w)
        } else if shape > self.ratio[1] {
            (h, ((h as f64 * self.ratio[1]).round() as usize).clamp(1, w))
        } else {
            (h, w)
        };
        Window { top: (h - height) / 2, left: (w - width) / 2, height, width }
    }
}

/// The window of the same size that starts at row `top` and column `left`; black outside of the image.
pub(crate) fn shift(image: &Pixels, top: i64, left: i64) -> Pixels {
    let (h, w, c) = (image.height as i64, image.width as i64, image.channels);
    let mut out = Pixels::filled(image.height, image.width, c, 0);
    let from = left.clamp(0, w);
    let to = (left + w).clamp(0, w);
    if from >= to {
        return out;
    }
    let (count, target) = ((to - from) as usize * c, (from - left) as usize * c);
    for y in 0..h {
        let source = y + top;
        if source < 0 || source >= h {
            continue;
        }
        let read = (source * w + from) as usize * c;
        let write = y as usize * image.width * c + target;
        out.data[write..write + count].copy_from_slice(&image.data[read..read + count]);
    }
    out
}
