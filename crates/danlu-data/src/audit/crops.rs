//! Cropped copies: one image is a window of the other.
//!
//! Windows of the 40 x 40 version of each image (each side 60 to 100 % of the whole, in steps of a tenth) are compared with the whole of every
//! other image: first means, then quarters, then 8 x 8 boxes. Where a window comes near, its edges are moved to where it fits best, and
//! what then is within the limit is a cropped copy. The cost grows with the square of the number of images.

use super::Likeness;
use super::duplicates::{MOST, Pair, distance};
use super::look::{COARSE, FINE, Look, THUMB};
use crate::parallel;

/// Larger sets are not searched for cropped copies.
pub(super) const MOST_IMAGES: usize = 20_000;
/// A tenth of the side.
const STEP: usize = THUMB / 10;
/// The shortest window, in tenths.
const SHORTEST: usize = 6;
/// How far a window of the grid, which lies up to half a step beside the true one, may be from the other image: in the mean, and in the 8 x 8
/// boxes, in levels.
const MEAN: f32 = 6.0;
const ROUGH: f32 = 10.0;
/// The limit of a fitted window over that of near-duplicates: it is cut out of a small version, and less sharp than the other image.
const BLUR: f32 = 4.0 / 3.0;
/// Images of less contrast (fog, a white wall) are near a window of everything.
const LEAST_CONTRAST: f32 = 16.0;
/// The limit is at most this share of the contrast.
const OF_CONTRAST: f32 = 0.1;

/// A window in pixels of the small version: top, left, bottom, right.
type Edges = [f32; 4];

/// Sums of everything above and left of each corner.
struct Sums([[u32; THUMB + 1]; THUMB + 1]);

impl Sums {
    fn of(thumb: &[u8; THUMB * THUMB]) -> Self {
        let mut sums = [[0; THUMB + 1]; THUMB + 1];
        for y in 0..THUMB {
            let mut row = 0;
            for x in 0..THUMB {
                row += u32::from(thumb[y * THUMB + x]);
                sums[y + 1][x + 1] = sums[y][x + 1] + row;
            }
        }
        Sums(sums)
    }

    /// The sum up to a corner between the pixels.
    fn at(&self, y: f32, x: f32) -> f32 {
        let (top, left) = ((y as usize).min(THUMB - 1), (x as usize).min(THUMB - 1));
        let (fy, fx) = (y - top as f32, x - left as f32);
        let [a, b] = [self.0[top][left] as f32, self.0[top][left + 1] as f32];
        let [c, d] = [self.0[top + 1][left] as f32, self.0[top + 1][left + 1] as f32];
        (a * (1.0 - fx) + b * fx) * (1.0 - fy) + (c * (1.0 - fx) + d * fx) * fy
    }

    /// The means of `SIDE` x `SIDE` boxes of a window.
    fn boxes<const SIDE: usize, const AREA: usize>(&self, [top, left, bottom, right]: Edges) -> [f32; AREA] {
        let (high, wide) = ((bottom - top) / SIDE as f32, (right - left) / SIDE as f32);
        let row = |y: usize| -> [f32; 41] {
            let mut row = [0.0; 41];
            let y = (top + high * y as f32).clamp(0.0, THUMB as f32);
            for (x, value) in row.iter_mut().enumerate().take(SIDE + 1) {
                *value = self.at(y, (left + wide * x as f32).clamp(0.0, THUMB as f32));
            }
            row
        };
        let mut out = [0.0; AREA];
        let mut above = row(0);
        for y in 0..SIDE {
            let below = row(y + 1);
            for x in 0..SIDE {
                out[y * SIDE + x] = (below[x + 1] - below[x] - above[x + 1] + above[x]) / (high * wide);
            }
            above = below;
        }
        out
    }
}

/// The windows of the grid, without the whole.
fn windows() -> Vec<Edges> {
    let spans: Vec<[f32; 2]> = (SHORTEST..=10)
        .flat_map(|length| {
            (0..=10 - length).map(move |from| [from, from + length].map(|v| (v * STEP) as f32))
        })
        .collect();
    let pairs = spans
        .iter()
        .flat_map(|&[top, bottom]| spans.iter().map(move |&[left, right]| [top, left, bottom, right]));
    pairs
        .filter(|&[top, left, bottom, right]| (bottom - top) * (right - left) < (THUMB * THUMB) as f32)
        .collect()
}

fn difference<const AREA: usize>(a: &[f32; AREA], b: &[u8; AREA]) -> f32 {
    a.iter().zip(b).map(|(a, &b)| (a - f32::from(b)).abs()).sum::<f32>() / AREA as f32
}

/// Moves the edges to where the window fits best; the distance there.
fn fitted(sums: &Sums, mut edges: Edges, other: &Look) -> f32 {
    let measure = |edges: Edges| difference(&sums.boxes::<FINE, { FINE * FINE }>(edges), &other.fine);
    let mut best = measure(edges);
    for step in [2.0, 1.0, 0.5, 0.25] {
        for _ in 0..4 {
            let before = best;
            // Single edges, and both of a side: a shift.
            for moved in [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1]]
            {
                for sign in [-1.0, 1.0] {
                    let tried: Edges = std::array::from_fn(|i| edges[i] + sign * step * moved[i] as f32);
                    let inside = tried.iter().all(|&edge| (0.0..=THUMB as f32).contains(&edge));
                    let least = THUMB as f32 / 2.0;
                    if !inside || tried[2] - tried[0] < least || tried[3] - tried[1] < least {
                        continue;
                    }
                    let distance = measure(tried);
                    if distance < best {
                        (best, edges) = (distance, tried);
                    }
                }
            }
            if best == before {
                break;
            }
        }
    }
    best
}

/// Pairs of which one is a window of the other. `limit(i)` is that of near-duplicates.
pub(super) fn pairs(looks: &[Look], distinct: &[u32], limit: impl Fn(u32) -> f32 + Sync) -> Vec<Pair> {
    if distinct.len() > MOST_IMAGES {
        return Vec::new();
    }
    let mut wholes: Vec<(f32, u32)> = (distinct.iter())
        .filter(|&&i| looks[i as usize].thumb.is_some() && looks[i as usize].contrast >= LEAST_CONTRAST)
        .map(|&i| (looks[i as usize].brightness, i))
        .collect();
    wholes.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let quarters: Vec<[f32; 4]> = wholes.iter().map(|&(_, i)| quarters(&looks[i as usize])).collect();
    let windows = windows();
    let found = parallel::each(wholes.len(), 4, |at| {
        let own = wholes[at].1;
        let look = &looks[own as usize];
        let Some(thumb) = &look.thumb else { return Vec::new() };
        let sums = Sums::of(thumb);
        let mut near: Vec<Pair> = Vec::new();
        for &edges in &windows {
            let quarter = sums.boxes::<2, 4>(edges);
            let mean = quarter.iter().sum::<f32>() / 4.0;
            let mut coarse = None;
            let first = wholes.partition_point(|&(brightness, _)| brightness < mean - MEAN);
            for next in first..wholes.len() {
                let (brightness, other) = wholes[next];
                if brightness > mean + MEAN {
                    break;
                }
                let apart: f32 = quarter.iter().zip(&quarters[next]).map(|(a, b)| (a - b).abs()).sum();
                if apart > 4.0 * ROUGH || other == own || near.iter().any(|pair| pair.images[1] == other) {
                    continue;
                }
                let b = &looks[other as usize];
                let coarse = coarse.get_or_insert_with(|| sums.boxes::<COARSE, { COARSE * COARSE }>(edges));
                if difference(coarse, &b.coarse) > ROUGH.min(0.25 * b.contrast) {
                    continue;
                }
                let limit = limit(own).min(limit(other)).min(MOST);
                let fitted = fitted(&sums, edges, b);
                // Whole against whole has been looked at already.
                if fitted <= (BLUR * limit).min(OF_CONTRAST * b.contrast) && distance(look, b) > limit {
                    near.push(Pair { images: [own, other], distance: fitted, likeness: Likeness::Cropped });
                }
            }
        }
        near
    });
    found.into_iter().flatten().flatten().collect()
}

/// The means of the four quarters.
fn quarters(look: &Look) -> [f32; 4] {
    let mut sums = [0.0; 4];
    for (k, &value) in look.coarse.iter().enumerate() {
        let (y, x) = (k / COARSE, k % COARSE);
        sums[y / (COARSE / 2) * 2 + x / (COARSE / 2)] += f32::from(value) / 16.0;
    }
    sums
}

#[cfg(test)]
mod tests {
    use danlu_rng::{Purpose, Stream};

    use super::super::look::look;
    use super::*;
    use crate::Pixels;
    use crate::resize::{Window, resize_window};

    /// A picture of blobs of several sizes.
    fn picture(seed: u64) -> Pixels {
        let (height, width) = (90, 120);
        let mut stream = Stream::new(seed, Purpose::Split, 3, 0);
        let mut blobs = Vec::new();
        for _ in 0..25 {
            let mut draw = |low, high| stream.uniform_in(low, high);
            blobs.push([draw(0.0, 90.0), draw(0.0, 120.0), draw(4.0, 25.0), draw(-90.0, 90.0)]);
        }
        let data = (0..height * width).map(|k| {
            let (y, x) = ((k / width) as f64, (k % width) as f64);
            let light = |[cy, cx, r, light]: &[f64; 4]| {
                light * (-((y - cy).powi(2) + (x - cx).powi(2)) / (r * r)).exp()
            };
            (128.0 + blobs.iter().map(light).sum::<f64>()).clamp(0.0, 255.0) as u8
        });
        Pixels { data: data.collect(), height, width, channels: 1 }
    }

    #[test]
    fn windows_of_other_images_are_found_at_any_place_and_size_and_strangers_are_not() {
        let mut images: Vec<Pixels> = (0..80).map(picture).collect();
        let windows = [
            Window { top: 0, left: 0, height: 80, width: 100 },
            Window { top: 17, left: 23, height: 66, width: 88 },
            Window { top: 30, left: 5, height: 58, width: 79 },
            Window { top: 5, left: 0, height: 85, width: 120 },
        ];
        for (number, &window) in windows.iter().enumerate() {
            let image = picture(10 * number as u64 + 3);
            images.push(resize_window(&image, window, [75, 100], crate::Interpolation::Bilinear));
        }
        let looks: Vec<Look> = images.iter().map(|image| look(image, true)).collect();
        let all: Vec<u32> = (0..looks.len() as u32).collect();
        let mut found: Vec<[u32; 2]> = pairs(&looks, &all, |_| MOST).iter().map(|pair| pair.images).collect();
        found.sort_unstable();
        assert_eq!(found, [[3, 80], [13, 81], [23, 82], [33, 83]]);
    }
}
