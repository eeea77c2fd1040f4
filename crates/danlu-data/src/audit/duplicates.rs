//! Images that are there twice: byte for byte once decoded, or nearly.
//!
//! The distance of two images is the mean absolute difference of their grey 16 x 16 versions, in levels of 255. Another JPEG
//! quality, another file format or another size changes it by less than 1; two photographs are 20 to 80 apart. Sets whose images
//! look alike (digits, clothes, microscopy) have strangers much closer than that, so the limit of each class is a third of the
//! usual distance between an image and the fifth nearest of its class (measured on up to 48 of its images), and at most 3 levels.
//!
//! Every pair within the limit is found: the difference of the means of two images is at most their distance, so
//! that with the images sorted by brightness only a narrow band needs looking at. Mirrored and turned copies have the same mean and
//! the same four quarters in another order, and are compared in all eight positions where the quarters allow it.

use std::collections::HashMap;

use super::look::{COARSE, FINE, Look};
use super::{Likeness, crops};
use crate::parallel;

/// Images further apart than this are never near-duplicates.
pub(super) const MOST: f32 = 3.0;
/// Nearer ones are, however much a class looks alike: half a level is what rounding does.
const LEAST: f32 = 0.5;
/// A flat image is near every flat image: the limit is at most this share of the contrast.
const OF_CONTRAST: f32 = 0.05;
/// Images of a class whose neighbours are measured.
const MEASURED: usize = 48;
/// The neighbour that is measured; nearer ones may be duplicates themselves.
const NEIGHBOUR: usize = 5;
/// Near images noted for each one; more only say again that all of them are one group.
const PARTNERS: usize = 64;

/// Groups of images: of the same pixels, and of nearly the same, as indices into the looks. Members are ascending.
pub(super) struct Found {
    pub(super) exact: Vec<Vec<u32>>,
    pub(super) near: Vec<Near>,
    /// The limit of each class, in levels.
    pub(super) limits: Vec<f32>,
}

/// A group of near-duplicates.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Near {
    /// Ascending.
    pub(super) members: Vec<u32>,
    /// The largest distance between two images that put the group together.
    pub(super) distance: f32,
    pub(super) likeness: Likeness,
    /// Members whose labels cannot all be right, however the others of the group are alike. Ascending.
    pub(super) doubtful: Vec<u32>,
}

/// Two near images.
pub(super) struct Pair {
    pub(super) images: [u32; 2],
    pub(super) distance: f32,
    pub(super) likeness: Likeness,
}

/// Looks for duplicates, and for near ones where `near` says so. `label(i)` is the class of look `i`, below `classes`.
pub(super) fn find(looks: &[Look], classes: usize, label: impl Fn(u32) -> u32 + Sync, near: bool) -> Found {
    let mut by_hash: HashMap<[u8; 16], Vec<u32>> = HashMap::with_capacity(looks.len());
    for (i, look) in looks.iter().enumerate() {
        by_hash.entry(look.hash).or_default().push(i as u32);
    }
    let mut exact: Vec<Vec<u32>> = by_hash.values().filter(|group| group.len() > 1).cloned().collect();
    exact.sort_unstable();
    if !near {
        return Found { exact, near: Vec::new(), limits: vec![0.0; classes] };
    }
    // One of each: copies would only be near each other.
    let mut distinct: Vec<u32> = by_hash.into_values().filter_map(|group| group.first().copied()).collect();
    distinct.sort_unstable();
    let limits = limits(looks, &distinct, classes, &label);
    let mut pairs = pairs(looks, &distinct, &limits, &label);
    pairs.extend(crops::pairs(looks, &distinct, |i| limits[label(i) as usize]));
    let mut near = groups(&pairs, looks.len());
    // Whoever is near an image is near its copies.
    let copies: HashMap<u32, &Vec<u32>> =
        exact.iter().filter_map(|group| Some((*group.first()?, group))).collect();
    let with_copies = |members: &mut Vec<u32>| {
        let more: Vec<u32> =
            members.iter().filter_map(|i| copies.get(i)).flat_map(|group| &group[1..]).copied().collect();
        members.extend(more);
        members.sort_unstable();
    };
    near.iter_mut().for_each(|group| with_copies(&mut group.members));
    // A turned or cropped copy may rightly carry another label: those that are neither are looked at by themselves.
    pairs.retain(|pair| pair.likeness.conflicts());
    for Near { mut members, .. } in groups(&pairs, looks.len()) {
        with_copies(&mut members);
        if members.iter().any(|&i| label(i) != label(members[0]))
            && let Some(whole) =
                near.iter_mut().find(|group| group.members.binary_search(&members[0]).is_ok())
        {
            whole.doubtful.extend(members);
            whole.doubtful.sort_unstable();
        }
    }
    Found { exact, near, limits }
}

pub(super) fn distance(a: &Look, b: &Look) -> f32 {
    let sum: u32 = a.fine.iter().zip(&b.fine).map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
    sum as f32 / (FINE * FINE) as f32
}

/// A third of the median distance to the fifth nearest image of the class; see the module.
fn limits(
    looks: &[Look],
    distinct: &[u32],
    classes: usize,
    label: &(impl Fn(u32) -> u32 + Sync),
) -> Vec<f32> {
    let mut members = vec![Vec::new(); classes];
    for &i in distinct {
        members[label(i) as usize].push(i);
    }
    let limits = parallel::each(classes, 1, |class| {
        let members: &[u32] = &members[class];
        if members.len() < 2 * NEIGHBOUR {
            return MOST;
        }
        let count = members.len().min(MEASURED);
        let mut fifth: Vec<f32> = (0..count)
            .map(|k| {
                let own = members[k * members.len() / count];
                let mut nearest = [f32::INFINITY; NEIGHBOUR];
                for &other in members.iter().filter(|&&other| other != own) {
                    let distance = distance(&looks[own as usize], &looks[other as usize]);
                    if distance < nearest[NEIGHBOUR - 1] {
                        nearest[NEIGHBOUR - 1] = distance;
                        nearest.sort_unstable_by(f32::total_cmp);
                    }
                }
                nearest[NEIGHBOUR - 1]
            })
            .collect();
        fifth.sort_unstable_by(f32::total_cmp);
        (fifth[count / 2] / 3.0).clamp(LEAST, MOST)
    });
    limits.into_iter().map(|limit| limit.unwrap_or(LEAST)).collect()
}

/// `FLIPS[t][k]`: which cell of a picture of `SIDE` x `SIDE` cells comes to cell `k` in position `t`; 0 leaves all in place.
const fn positions<const SIDE: usize, const AREA: usize>() -> [[u16; AREA]; 8] {
    let mut out = [[0; AREA]; 8];
    let mut t = 0;
    while t < 8 {
        let mut k = 0;
        while k < AREA {
            let (mut y, mut x) = (k / SIDE, k % SIDE);
            if t & 1 != 0 {
                x = SIDE - 1 - x;
            }
            if t & 2 != 0 {
                y = SIDE - 1 - y;
            }
            out[t][k] = if t & 4 != 0 { x * SIDE + y } else { y * SIDE + x } as u16;
            k += 1;
        }
        t += 1;
    }
    out
}

static COARSE_POSITIONS: [[u16; COARSE * COARSE]; 8] = positions::<COARSE, { COARSE * COARSE }>();
static FINE_POSITIONS: [[u16; FINE * FINE]; 8] = positions::<FINE, { FINE * FINE }>();

/// The sums of the four quarters, sorted: the same for every position.
fn quarters(coarse: &[u8; COARSE * COARSE]) -> [u16; 4] {
    let mut sums = [0; 4];
    for (k, &value) in coarse.iter().enumerate() {
        let (y, x) = (k / COARSE, k % COARSE);
        sums[y / (COARSE / 2) * 2 + x / (COARSE / 2)] += u16::from(value);
    }
    sums.sort_unstable();
    sums
}

/// The distance of `a` and `b` mirrored or turned, where it is at most `limit`.
fn turned_distance(a: &Look, b: &Look, limit: f32) -> Option<f32> {
    let most = ((limit + 1.0) * (COARSE * COARSE) as f32) as u32;
    let least = (1..8).filter_map(|t| {
        let cells = a.coarse.iter().zip(&COARSE_POSITIONS[t]);
        let rough: u32 = cells.map(|(v, &k)| u32::from(v.abs_diff(b.coarse[usize::from(k)]))).sum();
        if rough > most {
            return None;
        }
        let cells = a.fine.iter().zip(&FINE_POSITIONS[t]);
        let sum: u32 = cells.map(|(v, &k)| u32::from(v.abs_diff(b.fine[usize::from(k)]))).sum();
        Some(sum as f32 / (FINE * FINE) as f32)
    });
    least.min_by(f32::total_cmp).filter(|&distance| distance <= limit)
}

/// All pairs within the limit.
fn pairs(
    looks: &[Look],
    distinct: &[u32],
    limits: &[f32],
    label: &(impl Fn(u32) -> u32 + Sync),
) -> Vec<Pair> {
    let total = |i: u32| -> u32 { looks[i as usize].coarse.iter().map(|&v| u32::from(v)).sum() };
    let mut sorted: Vec<(u32, u32)> = distinct.iter().map(|&i| (total(i), i)).collect();
    sorted.sort_unstable();
    // Side by side in memory: the band is walked for every image.
    let coarse: Vec<[u8; 64]> = sorted.iter().map(|&(_, i)| looks[i as usize].coarse).collect();
    let quarters: Vec<[u16; 4]> = coarse.iter().map(quarters).collect();
    let limit = |i: u32| {
        let look = &looks[i as usize];
        limits[label(i) as usize].min(OF_CONTRAST * look.contrast)
    };
    let found = parallel::each(sorted.len(), 256, |at| {
        let (sum, i) = sorted[at];
        let own = limit(i);
        // Each of the 64 means is rounded, by half a level on both sides.
        let most = ((own + 1.0) * 64.0) as u32;
        let mut near = Vec::new();
        for next in at + 1..sorted.len() {
            let (other_sum, j) = sorted[next];
            if other_sum - sum > most || near.len() >= PARTNERS {
                break;
            }
            let rough: u32 =
                coarse[at].iter().zip(&coarse[next]).map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
            let (a, b, images) = (&looks[i as usize], &looks[j as usize], [i, j]);
            if rough <= most {
                let distance = distance(a, b);
                if distance <= own.min(limit(j)) {
                    near.push(Pair { images, distance, likeness: Likeness::Near });
                    continue;
                }
            }
            let quarter = quarters[at].iter().zip(&quarters[next]);
            if quarter.map(|(a, b)| u32::from(a.abs_diff(*b))).sum::<u32>() <= most
                && let Some(distance) = turned_distance(a, b, own.min(limit(j)))
            {
                near.push(Pair { images, distance, likeness: Likeness::Turned });
            }
        }
        near
    });
    found.into_iter().flatten().flatten().collect()
}

/// Joins pairs that share an image.
fn groups(pairs: &[Pair], count: usize) -> Vec<Near> {
    let mut parent: Vec<u32> = (0..count as u32).collect();
    fn root(parent: &mut [u32], mut i: u32) -> u32 {
        while parent[i as usize] != i {
            parent[i as usize] = parent[parent[i as usize] as usize];
            i = parent[i as usize];
        }
        i
    }
    for &Pair { images: [a, b], .. } in pairs {
        let (a, b) = (root(&mut parent, a), root(&mut parent, b));
        parent[a.max(b) as usize] = a.min(b);
    }
    let mut groups: HashMap<u32, Near> = HashMap::new();
    for pair in pairs {
        let group = groups.entry(root(&mut parent, pair.images[0])).or_default();
        group.members.extend(pair.images);
        group.distance = group.distance.max(pair.distance);
        group.likeness = group.likeness.max(pair.likeness);
    }
    let mut groups: Vec<Near> = groups.into_values().collect();
    for Near { members, .. } in &mut groups {
        members.sort_unstable();
        members.dedup();
    }
    groups.sort_unstable_by(|a, b| a.members.cmp(&b.members));
    groups
}

#[cfg(test)]
mod tests {
    use danlu_rng::{Purpose, Stream};

    use super::super::look::look;
    use super::*;
    use crate::Pixels;

    /// A picture of soft patches; of the same seed the same one.
    fn picture(seed: u64, size: usize) -> Pixels {
        let mut stream = Stream::new(seed, Purpose::Split, 0, 0);
        let patches: Vec<f64> = (0..16).map(|_| stream.below(256) as f64).collect();
        let data = (0..size * size).map(|i| {
            let (y, x) = ((i / size) as f64 / size as f64 * 3.0, (i % size) as f64 / size as f64 * 3.0);
            let at = |dy: usize, dx: usize| patches[(y as usize + dy) * 4 + x as usize + dx];
            let (fy, fx) = (y.fract(), x.fract());
            let top = at(0, 0) * (1.0 - fx) + at(0, 1) * fx;
            let bottom = at(1, 0) * (1.0 - fx) + at(1, 1) * fx;
            (top * (1.0 - fy) + bottom * fy).round() as u8
        });
        Pixels { data: data.collect(), height: size, width: size, channels: 1 }
    }

    #[test]
    fn copies_are_found_by_their_pixels_and_resized_or_brightened_ones_by_their_look() {
        let mut images: Vec<Pixels> = (0..60).map(|seed| picture(seed, 48)).collect();
        images.push(images[7].clone()); // 60
        images.push(picture(8, 80)); // 61
        let mut brighter = images[9].clone(); // 62
        brighter.data.iter_mut().for_each(|v| *v = v.saturating_add(1));
        images.push(brighter);
        let looks: Vec<Look> = images.iter().map(|image| look(image, false)).collect();
        let found = find(&looks, 1, |_| 0, true);
        assert_eq!(found.exact, [vec![7, 60]]);
        let near: Vec<&[u32]> = found.near.iter().map(|group| &group.members[..]).collect();
        assert_eq!(near, [[8, 61], [9, 62]]);
        assert!(
            found
                .near
                .iter()
                .all(|group| group.distance <= found.limits[0] && group.likeness == Likeness::Near)
        );
    }

    #[test]
    fn mirrored_and_turned_copies_are_found_in_every_position_and_said_to_be_turned() {
        let mut images: Vec<Pixels> = (0..60).map(|seed| picture(seed, 48)).collect();
        let turned = |image: &Pixels, t: usize| {
            let n = image.width;
            let data = (0..n * n).map(|k| {
                let (mut y, mut x) = (k / n, k % n);
                if t & 1 != 0 {
                    x = n - 1 - x;
                }
                if t & 2 != 0 {
                    y = n - 1 - y;
                }
                image.data[if t & 4 != 0 { x * n + y } else { y * n + x }]
            });
            Pixels { data: data.collect(), ..*image }
        };
        for t in 1..8 {
            images.push(turned(&images[t], t));
        }
        // Turned and larger: another file.
        images.push(turned(&picture(20, 80), 5));
        let looks: Vec<Look> = images.iter().map(|image| look(image, false)).collect();
        let found = find(&looks, 1, |_| 0, true);
        assert!(found.exact.is_empty());
        let near: Vec<Vec<u32>> = found.near.iter().map(|group| group.members.clone()).collect();
        let mut expected: Vec<Vec<u32>> = (1..8).map(|t| vec![t, 59 + t]).collect();
        expected.push(vec![20, 67]);
        assert_eq!(near, expected);
        assert!(found.near.iter().all(|group| group.likeness == Likeness::Turned));
    }

    #[test]
    fn a_turned_copy_neither_hides_a_wrong_label_nor_makes_one() {
        let mut images: Vec<Pixels> = (0..60).map(|seed| picture(seed, 48)).collect();
        let mirrored = |image: &Pixels| {
            let mut image = image.clone();
            image.data.chunks_exact_mut(48).for_each(<[u8]>::reverse);
            image
        };
        images.push(picture(3, 80)); // 60: near 3, another label
        images.push(mirrored(&images[3])); // 61: turned, a third label
        images.push(mirrored(&images[5])); // 62: turned, another label: an arrow to the other side
        images.push(images[7].clone()); // 63: a copy of 7 with another label
        images.push(picture(7, 80)); // 64: near both
        let labels = |i: u32| match i {
            60 | 62 | 63 => 1,
            61 => 2,
            _ => 0,
        };
        let looks: Vec<Look> = images.iter().map(|image| look(image, false)).collect();
        let found = find(&looks, 3, labels, true);
        let near: Vec<(Vec<u32>, Vec<u32>)> =
            found.near.into_iter().map(|group| (group.members, group.doubtful)).collect();
        let expected =
            [(vec![3, 60, 61], vec![3, 60]), (vec![5, 62], vec![]), (vec![7, 63, 64], vec![7, 63, 64])];
        assert_eq!(near, expected);
    }

    #[test]
    fn in_a_set_that_looks_alike_strangers_are_no_duplicates() {
        // One shape, drawn by 200 hands: everything within a few levels of everything else.
        let images: Vec<Pixels> = (0..200u64)
            .map(|seed| {
                let mut image = picture(1, 32);
                let other = picture(seed + 10, 32);
                for (v, o) in image.data.iter_mut().zip(&other.data) {
                    *v = (f64::from(*v) * 0.95 + f64::from(*o) * 0.05).round() as u8;
                }
                image
            })
            .collect();
        let mut looks: Vec<Look> = images.iter().map(|image| look(image, false)).collect();
        assert!(find(&looks, 1, |_| 0, true).near.is_empty());
        // A copy with a level of noise stands out all the same.
        let mut copy = images[3].clone();
        copy.data.iter_mut().step_by(3).for_each(|v| *v = v.saturating_add(1));
        looks.push(look(&copy, false));
        let near = find(&looks, 1, |_| 0, true).near;
        assert_eq!(near.iter().map(|group| group.members.clone()).collect::<Vec<_>>(), [vec![3, 200]]);
    }

    #[test]
    fn every_pair_within_the_limit_is_found_as_by_comparing_all_with_all() {
        let looks: Vec<Look> = (0..120u64)
            .map(|seed| {
                let mut image = picture(seed / 2, 20);
                image.data.iter_mut().for_each(|v| *v = v.saturating_add((seed % 2 * (seed / 20)) as u8));
                look(&image, false)
            })
            .collect();
        let distinct: Vec<u32> = (0..looks.len() as u32).collect();
        let mut fast: Vec<(u32, u32)> = pairs(&looks, &distinct, &[2.0], &|_| 0)
            .into_iter()
            .filter(|pair| pair.likeness == Likeness::Near)
            .map(|Pair { images: [a, b], .. }| (a.min(b), a.max(b)))
            .collect();
        fast.sort_unstable();
        let mut slow = Vec::new();
        for a in 0..looks.len() {
            for b in a + 1..looks.len() {
                let limit = 2f32.min(OF_CONTRAST * looks[a].contrast.min(looks[b].contrast));
                if distance(&looks[a], &looks[b]) <= limit {
                    slow.push((a as u32, b as u32));
                }
            }
        }
        assert!(slow.len() > 20, "{} pairs", slow.len());
        assert_eq!(fast, slow);
    }
}
