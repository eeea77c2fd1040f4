//! Small rotations, shifts, scales, shears, and the view from the side.

use danlu_rng::Stream;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::warp::{Affine, Lookup, affine, perspective};
use super::{probability, range_of};
use crate::{DataError, Pixels};

/// Turns by a small angle, uniform in `[-degrees, degrees]` (torchvision's `RandomRotation`, bilinear; the corners that come
/// from outside are black).
///
/// Tier 2 (to be considered). Risk: classes that differ by their direction (arrows, 6 and 9 from 90 degrees on) become one;
/// black corners tell the network that the image was turned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RandomRotation {
    /// Probability, 0 to 1. Default 1.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub p: f64,
    /// Largest angle either way in degrees, above 0 to 180. Default 10: safe for digits and most photos.
    #[schemars(range(min = 0.0, max = 180.0))]
    pub degrees: f64,
}

impl Default for RandomRotation {
    fn default() -> Self {
        RandomRotation { p: 1.0, degrees: 10.0 }
    }
}

impl RandomRotation {
    pub(super) fn validate(&self) -> Result<(), DataError> {
        probability("augment.random_rotation.p", self.p)?;
        degrees("augment.random_rotation.degrees", self.degrees, 180.0)
    }

    pub(super) fn apply(&self, image: Pixels, stream: &mut Stream) -> Pixels {
        let (hit, angle) = (stream.chance(self.p), stream.uniform_in(-self.degrees, self.degrees));
        if !hit {
            return image;
        }
        affine(&image, &Affine { angle, ..Affine::default() }, Lookup::Bilinear)
    }
}

/// Turns, shifts, scales and shears at once (torchvision's `RandomAffine`, bilinear; what comes from outside is black).
///
/// Tier 2 (to be considered). Risk: as rotation; shifts and scales may push a thing at the border out of the image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RandomAffine {
    /// Probability, 0 to 1. Default 1.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub p: f64,
    /// Largest angle either way in degrees, 0 to 180. Default 0 (no rotation).
    #[schemars(range(min = 0.0, max = 180.0))]
    pub degrees: f64,
    /// Largest shift as a share of width and height, each 0 to 1. Default `[0.1, 0.1]`.
    pub translate: [f64; 2],
    /// Least and largest magnification, above 0 to 10 (random scale). Default `[0.9, 1.1]`.
    pub scale: [f64; 2],
    /// Largest shear along x in degrees, 0 to 89. Default 0 (none); 5 to 15 are usual for handwriting.
    #[schemars(range(min = 0.0, max = 89.0))]
    pub shear: f64,
}

impl Default for RandomAffine {
    fn default() -> Self {
        RandomAffine { p: 1.0, degrees: 0.0, translate: [0.1, 0.1], scale: [0.9, 1.1], shear: 0.0 }
    }
}

impl RandomAffine {
    pub(super) fn validate(&self) -> Result<(), DataError> {
        probability("augment.random_affine.p", self.p)?;
        let at_least_0 = |key: &str, value: f64, max: f64| {
            if (0.0..=max).contains(&value) {
                return Ok(());
            }
            Err(DataError::config(key, value, format!("0 to {max} (degrees either way)")))
        };
        at_least_0("augment.random_affine.degrees", self.degrees, 180.0)?;
        at_least_0("augment.random_affine.shear", self.shear, 89.0)?;
        range_of("augment.random_affine.scale", self.scale, 0.0, 10.0)?;
        for (i, share) in self.translate.into_iter().enumerate() {
            if !(0.0..=1.0).contains(&share) {
                let key = format!("augment.random_affine.translate[{i}]");
                return Err(DataError::config(
                    &key,
                    share,
                    "0 to 1 (share of the side; 1 shifts all out of sight)",
                ));
            }
        }
        Ok(())
    }

    pub(super) fn apply(&self, image: Pixels, stream: &mut Stream) -> Pixels {
        let hit = stream.chance(self.p);
        let angle = stream.uniform_in(-self.degrees, self.degrees);
        // torchvision shifts by whole pixels.
        let mut shift = |share: f64, side: usize| {
            let most = share * side as f64;
            stream.uniform_in(-most, most).round_ties_even()
        };
        let translate = [shift(self.translate[0], image.width), shift(self.translate[1], image.height)];
        let scale = stream.uniform_in(self.scale[0], self.scale[1]);
        let shear = [stream.uniform_in(-self.shear, self.shear), 0.0];
        if !hit {
            return image;
        }
        affine(&image, &Affine { angle, translate, scale, shear, corner: false }, Lookup::Bilinear)
    }
}

/// Looks at the image from the side: each corner moves inwards at random (torchvision's `RandomPerspective`, bilinear).
///
/// Tier 2 (to be considered). Risk: as rotation; fine things become too small to see.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RandomPerspective {
    /// Probability, 0 to 1. Default 0.5.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub p: f64,
    /// Largest move of a corner as a share of half the side, 0 to 1. Default 0.5, as torchvision; 0.2 is gentle.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub distortion_scale: f64,
}

impl Default for RandomPerspective {
    fn default() -> Self {
        RandomPerspective { p: 0.5, distortion_scale: 0.5 }
    }
}

impl RandomPerspective {
    pub(super) fn validate(&self) -> Result<(), DataError> {
        probability("augment.random_perspective.p", self.p)?;
        if (0.0..=1.0).contains(&self.distortion_scale) {
            return Ok(());
        }
        let expected = "0 to 1 (share of half the side that a corner moves)";
        Err(DataError::config("augment.random_perspective.distortion_scale", self.distortion_scale, expected))
    }

    pub(super) fn apply(&self, image: Pixels, stream: &mut Stream) -> Pixels {
        let hit = stream.chance(self.p);
        let (h, w) = (image.height, image.width);
        let bound = |side: usize| (self.distortion_scale * (side / 2) as f64) as u64 + 1;
        let mut inward = |side: usize| stream.below(bound(side)) as f64;
        let (right, bottom) = (w as f64 - 1.0, h as f64 - 1.0);
        let mut corner = |x: f64, y: f64| {
            let (dx, dy) = (inward(w), inward(h));
            [if x > 0.0 { x - dx } else { dx }, if y > 0.0 { y - dy } else { dy }]
        };
        let to = [corner(0.0, 0.0), corner(right, 0.0), corner(right, bottom), corner(0.0, bottom)];
        if !hit {
            return image;
        }
        perspective(&image, [[0.0, 0.0], [right, 0.0], [right, bottom], [0.0, bottom]], to)
    }
}

fn degrees(key: &str, value: f64, max: f64) -> Result<(), DataError> {
    if value > 0.0 && value <= max {
        return Ok(());
    }
    Err(DataError::config(key, value, format!("above 0 to {max} (degrees either way)")))
}
