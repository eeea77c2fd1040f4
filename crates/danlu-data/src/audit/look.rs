//! What the audit keeps of an image: a hash of its pixels, two small grey versions, brightness and contrast.

use crate::Pixels;

/// Side of the small grey version that decides.
pub(super) const FINE: usize = 16;
/// Side of the smaller one that sorts out most pairs.
pub(super) const COARSE: usize = 8;

/// Side of the grey version that windows are cut out of, to find cropped copies.
pub(super) const THUMB: usize = 40;
/// Cropped copies are looked for among images whose shorter side is at least this long.
const LEAST_SIDE: usize = 64;

/// What is kept of a decoded image.
#[derive(Clone, Debug)]
pub(super) struct Look {
    /// Of size, channels and pixels: the same image in another file or format has the same.
    pub(super) hash: [u8; 16],
    /// Grey, mean of each of 16 x 16 boxes.
    pub(super) fine: [u8; FINE * FINE],
    /// Grey, mean of each of 8 x 8 boxes.
    pub(super) coarse: [u8; COARSE * COARSE],
    /// Grey, mean of each of 40 x 40 boxes; `None` where it is not asked for or the image is small.
    pub(super) thumb: Option<Box<[u8; THUMB * THUMB]>>,
    /// Mean of the grey values, 0 to 255.
    pub(super) brightness: f32,
    /// Standard deviation of the grey values, in levels.
    pub(super) contrast: f32,
    pub(super) height: usize,
    pub(super) width: usize,
}

pub(super) fn look(image: &Pixels, thumb: bool) -> Look {
    let mut hasher = blake3::Hasher::new();
    for side in [image.height, image.width, image.channels] {
        hasher.update(&(side as u64).to_le_bytes());
    }
    hasher.update(&image.data);
    let mut hash = [0; 16];
    hash.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    let gray = match image.channels {
        1 => None,
        _ => Some(image.clone().with_channels(1)),
    };
    let gray = gray.as_ref().unwrap_or(image);
    let (mut sum, mut square) = (0u64, 0u64);
    for &value in &gray.data {
        sum += u64::from(value);
        square += u64::from(value) * u64::from(value);
    }
    let n = gray.data.len().max(1) as f64;
    let mean = sum as f64 / n;
    let contrast = (square as f64 / n - mean * mean).max(0.0).sqrt();
    let fine = boxes::<FINE, { FINE * FINE }>(gray);
    let small = Pixels { data: fine.to_vec(), height: FINE, width: FINE, channels: 1 };
    Look {
        hash,
        coarse: boxes::<COARSE, { COARSE * COARSE }>(&small),
        fine,
        thumb: (thumb && image.height.min(image.width) >= LEAST_SIDE)
            .then(|| Box::new(boxes::<THUMB, { THUMB * THUMB }>(gray))),
        brightness: mean as f32,
        contrast: contrast as f32,
        height: image.height,
        width: image.width,
    }
}

/// The mean of each of `SIDE` x `SIDE` boxes that cover the image; pixels on a border count with their share.
fn boxes<const SIDE: usize, const AREA: usize>(image: &Pixels) -> [u8; AREA] {
    let spans = |length: usize| -> Vec<(usize, Vec<u32>)> {
        // In units of 1 / SIDE of a pixel, so that every share is a whole number.
        (0..SIDE)
            .map(|i| {
                let (from, to) = (i * length, (i + 1) * length);
                let first = from / SIDE;
                let shares = (first..to.div_ceil(SIDE))
                    .map(|at| ((at + 1) * SIDE).min(to) as u32 - (at * SIDE).max(from) as u32)
                    .collect();
                (first, shares)
            })
            .collect()
    };
    let (rows, columns) = (spans(image.height), spans(image.width));
    let area = (image.height * image.width) as u64;
    let mut out = [0; AREA];
    let mut across = vec![0u64; image.height * SIDE];
    for (y, row) in image.data.chunks_exact(image.width.max(1)).enumerate() {
        for (x, (first, shares)) in columns.iter().enumerate() {
            across[y * SIDE + x] =
                shares.iter().zip(&row[*first..]).map(|(&share, &v)| u64::from(share) * u64::from(v)).sum();
        }
    }
    for (y, (first, shares)) in rows.iter().enumerate() {
        for x in 0..SIDE {
            let sum: u64 = shares
                .iter()
                .enumerate()
                .map(|(k, &share)| u64::from(share) * across[(first + k) * SIDE + x])
                .sum();
            out[y * SIDE + x] = ((sum + area / 2) / area.max(1)) as u8;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_are_means_also_where_they_cut_pixels() {
        let image = Pixels { data: vec![0, 90, 180], height: 1, width: 3, channels: 1 };
        assert_eq!(boxes::<2, 4>(&image), [30, 150, 30, 150], "two thirds of 0 and a third of 90");
        let flat = Pixels::filled(37, 11, 1, 77);
        assert_eq!(boxes::<16, 256>(&flat), [77; 256]);
    }
}
