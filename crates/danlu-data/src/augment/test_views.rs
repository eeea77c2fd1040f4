//! Test-time views: an image is judged by the mean of the probabilities of several views of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{crop, flip};
use crate::Pixels;

/// The views of an image that validation, test and prediction average over (recipe key `data.test_views`). Each view costs a
/// forward pass; training is not changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TestViews {
    /// The image alone (default).
    #[default]
    None,
    /// The image and its mirror image: usually worth some tenths of a percent where training mirrors too. Wrong for digits
    /// and letters.
    Mirror,
    /// Image and mirror image, each also shifted by a pixel up left and down right: six views (airbench's).
    MirrorShift,
}

impl TestViews {
    /// How many views there are, the image itself included.
    pub fn count(self) -> usize {
        match self {
            TestViews::None => 1,
            TestViews::Mirror => 2,
            TestViews::MirrorShift => 6,
        }
    }

    /// View `index` of the images `[N, H, W, C]`; 0 is the images themselves.
    pub fn view(self, index: usize, images: &[u8], [_, height, width, channels]: [usize; 4]) -> Vec<u8> {
        let size = height * width * channels;
        if index == 0 || size == 0 {
            return images.to_vec();
        }
        let mut out = Vec::with_capacity(images.len());
        for data in images.chunks_exact(size) {
            let mut image = Pixels { data: data.to_vec(), height, width, channels };
            if index % 2 == 1 {
                flip::mirror(&mut image);
            }
            match index / 2 {
                0 => {}
                1 => image = crop::shift(&image, 1, 1),
                _ => image = crop::shift(&image, -1, -1),
            }
            out.extend_from_slice(&image.data);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_are_the_image_its_mirror_and_their_shifts() {
        let image = [1u8, 2, 3, 4, 5, 6];
        let view = |views: TestViews, index| views.view(index, &image, [1, 2, 3, 1]);
        assert_eq!(view(TestViews::Mirror, 0), image);
        assert_eq!(view(TestViews::Mirror, 1), [3, 2, 1, 6, 5, 4]);
        assert_eq!(view(TestViews::MirrorShift, 2), [5, 6, 0, 0, 0, 0]);
        assert_eq!(view(TestViews::MirrorShift, 4), [0, 0, 0, 0, 1, 2]);
        assert_eq!(TestViews::MirrorShift.count(), 6);
    }
}
