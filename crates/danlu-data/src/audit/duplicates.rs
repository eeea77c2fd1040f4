//! Images that are there twice: byte for byte once decoded, or nearly.
//!
//! The distance of two images is the mean absolute difference of their grey 16 x 16 versions, in levels of 255. Another JPEG
//! quality, another file format or another size changes it by less than 1; two photographs are 20 to 80 apart. Sets whose images
//! look alike (digits, clothes, microscopy) have strangers much closer than that, so the limit of each class is a third of the
//! usual distance between an image and the fifth nearest of its class (measured on up to 48 of its images), and at most 3 levels.
//! Flipped, turned or cropped copies are not found.
//!
//! Every pair within the limit is found: the difference of the means of two images is at most their distance, so
//! that with the images sorted by brightness only a narrow band needs looking at.

use std::collections::HashMap;

use super::look::{FINE, Look};
use crate::parallel;

/// Images further apart than this are never near-duplicates.
const MOST: f32 = 3.0;
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
    /// With the largest distance between two images that put the group together.
    pub(super) near: Vec<(Vec<u32>, f32)>,
    /// The limit of each class, in levels.
    pub(super) limits: Vec<f32>,
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
    let pairs = pairs(looks, &distinct, &limits, &label);
    let mut near = groups(&pairs, looks.len());
    // Whoever is near an image is near its copies.
    let copies: HashMap<u32, &Vec<u32>> =
        exact.iter().filter_map(|group| Some((*group.first()?, group))).collect();
    for (members, _) in &mut near {
        let more: Vec<u32> =
            members.iter().filter_map(|i| copies.get(i)).flat_map(|group| &group[1..]).copied().collect();
        members.extend(more);
        members.sort_unstable();
    }
    Found { exact, near, limits }
}

fn distance(a: &Look, b: &Look) -> f32 {
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

/// All pairs within the limit, with their distance.
fn pairs(
    looks: &[Look],
    distinct: &[u32],
    limits: &[f32],
    label: &(impl Fn(u32) -> u32 + Sync),
) -> Vec<(u32, u32, f32)> {
    let total = |i: u32| -> u32 { looks[i as usize].coarse.iter().map(|&v| u32::from(v)).sum() };
    let mut sorted: Vec<(u32, u32)> = distinct.iter().map(|&i| (total(i), i)).collect();
    sorted.sort_unstable();
    // Side by side in memory: the band is walked for every image.
    let coarse: Vec<[u8; 64]> = sorted.iter().map(|&(_, i)| looks[i as usize].coarse).collect();
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
            if rough > most {
                continue;
            }
            let distance = distance(&looks[i as usize], &looks[j as usize]);
            if distance <= own.min(limit(j)) {
                near.push((i, j, distance));
            }
        }
        near
    });
    found.into_iter().flatten().flatten().collect()
}

/// Joins pairs that share an image.
fn groups(pairs: &[(u32, u32, f32)], count: usize) -> Vec<(Vec<u32>, f32)> {
    let mut parent: Vec<u32> = (0..count as u32).collect();
    fn root(parent: &mut [u32], mut i: u32) -> u32 {
        while parent[i as usize] != i {
            parent[i as usize] = parent[parent[i as usize] as usize];
            i = parent[i as usize];
        }
        i
    }
    for &(a, b, _) in pairs {
        let (a, b) = (root(&mut parent, a), root(&mut parent, b));
        parent[a.max(b) as usize] = a.min(b);
    }
    let mut groups: HashMap<u32, (Vec<u32>, f32)> = HashMap::new();
    for &(a, b, distance) in pairs {
        let group = groups.entry(root(&mut parent, a)).or_default();
        group.0.extend([a, b]);
        group.1 = group.1.max(distance);
    }
    let mut groups: Vec<(Vec<u32>, f32)> = groups.into_values().collect();
    for (members, _) in &mut groups {
        members.sort_unstable();
        members.dedup();
    }
    groups.sort_unstable_by(|a, b| a.0.cmp(&b.0));
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
        let looks: Vec<Look> = images.iter().map(look).collect();
        let found = find(&looks, 1, |_| 0, true);
        assert_eq!(found.exact, [vec![7, 60]]);
        let near: Vec<&[u32]> = found.near.iter().map(|(group, _)| &group[..]).collect();
        assert_eq!(near, [[8, 61], [9, 62]]);
        assert!(found.near.iter().all(|(_, distance)| *distance <= found.limits[0]));
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
        let mut looks: Vec<Look> = images.iter().map(look).collect();
        assert!(find(&looks, 1, |_| 0, true).near.is_empty());
        // A copy with a level of noise stands out all the same.
        let mut copy = images[3].clone();
        copy.data.iter_mut().step_by(3).for_each(|v| *v = v.saturating_add(1));
        looks.push(look(&copy));
        let near = find(&looks, 1, |_| 0, true).near;
        assert_eq!(near.iter().map(|(group, _)| group.clone()).collect::<Vec<_>>(), [vec![3, 200]]);
    }

    #[test]
    fn every_pair_within_the_limit_is_found_as_by_comparing_all_with_all() {
        let looks: Vec<Look> = (0..120u64)
            .map(|seed| {
                let mut image = picture(seed / 2, 20);
                image.data.iter_mut().for_each(|v| *v = v.saturating_add((seed % 2 * (seed / 20)) as u8));
                look(&image)
            })
            .collect();
        let distinct: Vec<u32> = (0..looks.len() as u32).collect();
        let mut fast: Vec<(u32, u32)> = pairs(&looks, &distinct, &[2.0], &|_| 0)
            .into_iter()
            .map(|(a, b, _)| (a.min(b), a.max(b)))
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
