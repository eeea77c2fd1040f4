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
    #[cfg(target_arch = "x86_64")]
    if image.channels == 3 && image.width >= 6 && std::arch::is_x86_feature_detected!("ssse3") {
        // SAFETY: the processor has SSSE3, as was just asked.
        unsafe { mirror_rgb(&mut image.data, image.width) };
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

/// Mirrors rows of at least 6 pixels, five pixels at a time.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "ssse3")]
fn mirror_rgb(data: &mut [u8], width: usize) {
    use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_setr_epi8, _mm_shuffle_epi8, _mm_storeu_si128};
    // Five pixels and the byte before them, the other way round, and a byte that does not count.
    let turned = _mm_setr_epi8(13, 14, 15, 10, 11, 12, 7, 8, 9, 4, 5, 6, 1, 2, 3, -1);
    let mut line = vec![0u8; 3 * width + 1];
    for row in data.chunks_exact_mut(3 * width) {
        let mut left = width;
        let mut to = 0;
        while left > 5 {
            let from: &[u8; 16] = row[3 * left - 16..3 * left].try_into().unwrap_or(&[0; 16]); // 16 bytes always
            let out = &mut line[to..to + 16];
            // SAFETY: both have 16 bytes.
            unsafe {
                let pixels = _mm_loadu_si128(from.as_ptr().cast::<__m128i>());
                _mm_storeu_si128(out.as_mut_ptr().cast(), _mm_shuffle_epi8(pixels, turned));
            }
            left -= 5;
            to += 15;
        }
        for (out, pixel) in line[to..].chunks_exact_mut(3).zip(row[..3 * left].chunks_exact(3).rev()) {
            out.copy_from_slice(pixel);
        }
        row.copy_from_slice(&line[..3 * width]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_any_width_are_mirrored_pixel_by_pixel() {
        for channels in [1, 2, 3, 4] {
            for width in (1..40).chain([224]) {
                let data: Vec<u8> = (0..3 * width * channels).map(|i| (i * 37 % 251) as u8).collect();
                let mut image = Pixels { data: data.clone(), height: 3, width, channels };
                mirror(&mut image);
                for (row, old) in image.data.chunks(width * channels).zip(data.chunks(width * channels)) {
                    assert!(row.chunks(channels).eq(old.chunks(channels).rev()), "{width} x {channels}");
                }
            }
        }
    }
}
