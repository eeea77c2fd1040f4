//! Mirror images.

use danlu_rng::{Purpose, Stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Key, probability};
use crate::{DataError, Pixels};

/// Mirrors left and right with probability `p` (torchvision's `RandomHorizontalFlip`).
///
/// Tier 1 (safe for most photos). Risk: classes that differ by their mirror image (b and d, arrows, left and right
/// hands) become one; text and digits become signs that do not exist.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HorizontalFlip {
    /// Probability, 0 to 1. Default 0.5.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub p: f64,
    /// Mirrors every image in every other epoch, half of them in the first, instead of by chance (airbench's alternating
    /// flip); `p` is then not used. Default false. Learns a little faster in short trainings, since two epochs hold both views.
    pub alternating: bool,
}

impl Default for HorizontalFlip {
    fn default() -> Self {
        HorizontalFlip { p: 0.5, alternating: false }
    }
}

/// The stream that says which half of the images is mirrored in the first epoch.
const ALTERNATING: Purpose = Purpose::Other(2);

impl HorizontalFlip {
    pub(super) fn validate(&self) -> Result<(), DataError> {
        probability("augment.horizontal_flip.p", self.p)
    }

    pub(super) fn apply(&self, image: &mut Pixels, stream: &mut Stream, key: Key) {
        let hit = stream.chance(self.p);
        let hit = if self.alternating {
            let first = Stream::new(key.seed, ALTERNATING, 0, key.sample).next_u64() & 1;
            (first + key.epoch) % 2 == 1
        } else {
            hit
        };
        if hit {
            mirror(image);
        }
    }
}

/// Mirrors top and bottom with probability `p` (torchvision's `RandomVerticalFlip`).
///
/// Tier 1 (safe where there is no up and down). Risk: photos of scenes are never seen upside down; classes that differ by
/// it (6 and 9) become one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct VerticalFlip {
    /// Probability, 0 to 1. Default 0.5.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub p: f64,
}

impl Default for VerticalFlip {
    fn default() -> Self {
        VerticalFlip { p: 0.5 }
    }
}

impl VerticalFlip {
    pub(super) fn validate(&self) -> Result<(), DataError> {
        probability("augment.vertical_flip.p", self.p)
    }

    pub(super) fn apply(&self, image: &mut Pixels, stream: &mut Stream) {
        if stream.chance(self.p) {
            let row = image.width * image.channels;
            for y in 0..image.height / 2 {
                let (top, bottom) = image.data.split_at_mut((image.height - 1 - y) * row);
                top[y * row..(y + 1) * row].swap_with_slice(&mut bottom[..row]);
            }
        }
    }
}

/// Mirrors left and right.
pub(crate) fn mirror(image: &mut Pixels) {
    let row = image.width * image.channels;
    if row == 0 {
        return;
    }
    for line in image.data.chunks_exact_mut(row) {
        match image.channels {
            1 => line.reverse(),
            // Pixels as one thing each, so that no byte of a row is asked for its bounds.
            3 => line.as_chunks_mut::<3>().0.reverse(),
            channels => {
                line.reverse();
                line.chunks_exact_mut(channels).for_each(<[u8]>::reverse);
            }
        }
    }
}
