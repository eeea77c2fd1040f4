//! What the loader hands to the engine.

use crate::augment::MixPlan;

/// A batch of images as the network's device takes it: u8 pixels, not yet normalised.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Pixels, `[N, H, W, C]`, 0 to 255, augmented.
    pub images: Vec<u8>,
    /// `[N, H, W, C]`.
    pub shape: [usize; 4],
    /// The class of each image, `[N]`.
    pub labels: Vec<u32>,
    /// The number of each image in the data set, `[N]`; see [`crate::Dataset::name`].
    pub samples: Vec<u32>,
    /// The place of the batch in its epoch, from 0.
    pub index: usize,
    /// MixUp or CutMix, to be applied after normalising; `None` where the batch is not mixed.
    pub mix: Option<MixPlan>,
    /// Images that could not be read any more (vanished, damaged) and are missing from this batch, with the reason.
    pub skipped: Vec<(u32, String)>,
}

impl Batch {
    /// Images in the batch.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// True where every image of the batch was skipped.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Mixes the pixels as the engine mixes the normalised images, rounded to u8: for looking at.
    pub fn mix_pixels(&mut self) {
        let Some(mix) = self.mix.take() else { return };
        let [_, h, w, c] = self.shape;
        let source = self.images.clone();
        let size = h * w * c;
        for (i, &partner) in mix.partner.iter().enumerate() {
            for y in 0..h {
                for at in 0..w * c {
                    let place = i * size + y * w * c + at;
                    let other = f32::from(source[partner as usize * size + y * w * c + at]);
                    self.images[place] = match mix.cut {
                        None => {
                            let own = f32::from(source[place]);
                            (mix.lambda * own + (1.0 - mix.lambda) * other).round() as u8
                        }
                        Some([y0, x0, y1, x1]) if (y0..y1).contains(&y) && (x0..x1).contains(&(at / c)) => {
                            other as u8
                        }
                        Some(_) => source[place],
                    };
                }
            }
        }
    }

    /// The pixels of image `i`, `[H, W, C]`.
    pub fn image(&self, i: usize) -> &[u8] {
        let size = self.shape[1] * self.shape[2] * self.shape[3];
        &self.images[i * size..(i + 1) * size]
    }
}
