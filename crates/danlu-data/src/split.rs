//! Holding out: which images train, which choose hyper-parameters, which test.
//!
//! Each unit (an image; or all images of one group, and copies of one file) has a rank, a pure function of (seed, purpose, its name);
//! the units of the lowest ranks are taken until each class has its share. So a split does not depend on the order in which a
//! file system lists its files, an added image moves few others, and a subset of 5 % lies inside the one of 10 %.

use std::collections::HashMap;

use danlu_rng::{Purpose, Stream};

/// What ranks are used for; two uses rank independently.
#[derive(Clone, Copy)]
pub(crate) enum Use {
    Test = 0,
    Validation = 1,
    Limit = 2,
}

/// The rank of a name.
pub(crate) fn rank(seed: u64, purpose: Use, name: &str) -> u64 {
    let hash = blake3::hash(name.as_bytes());
    let mut head = [0u8; 8];
    head.copy_from_slice(&hash.as_bytes()[..8]);
    Stream::new(seed, Purpose::Split, purpose as u64, u64::from_le_bytes(head)).next_u64()
}

/// Samples that stay on one side of every split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unit {
    /// Ascending.
    pub(crate) samples: Vec<u32>,
    /// Of the group; else of the image (the first by name, of copies).
    pub(crate) name: String,
}

/// Puts together samples of the same content or the same group.
pub(crate) fn units<'a>(
    samples: &[u32],
    digest: impl Fn(u32) -> [u8; 16],
    group: impl Fn(u32) -> Option<&'a str>,
    name: impl Fn(u32) -> String,
) -> Vec<Unit> {
    let mut parent: Vec<u32> = (0..samples.len() as u32).collect();
    fn root(parent: &mut [u32], mut i: u32) -> u32 {
        while parent[i as usize] != i {
            parent[i as usize] = parent[parent[i as usize] as usize];
            i = parent[i as usize];
        }
        i
    }
    let mut by_digest = HashMap::with_capacity(samples.len());
    let mut by_group = HashMap::new();
    for (i, &sample) in samples.iter().enumerate() {
        let first = *by_digest.entry(digest(sample)).or_insert(i as u32);
        let of_group = group(sample).map(|group| *by_group.entry(group).or_insert(i as u32));
        for other in [Some(first), of_group].into_iter().flatten() {
            let (a, b) = (root(&mut parent, i as u32), root(&mut parent, other));
            parent[a.max(b) as usize] = a.min(b);
        }
    }
    let mut place = HashMap::new();
    let mut units: Vec<Unit> = Vec::new();
    for (i, &sample) in samples.iter().enumerate() {
        let own = group(sample).map_or_else(|| name(sample), str::to_owned);
        let at = *place.entry(root(&mut parent, i as u32)).or_insert(units.len());
        match units.get_mut(at) {
            None => units.push(Unit { samples: vec![sample], name: own }),
            Some(unit) => {
                unit.samples.push(sample);
                if own < unit.name {
                    unit.name = own;
                }
            }
        }
    }
    units
}

fn ranked(units: Vec<Unit>, seed: u64, purpose: Use) -> Vec<Unit> {
    let mut ranked: Vec<(u64, Unit)> =
        units.into_iter().map(|unit| (rank(seed, purpose, &unit.name), unit)).collect();
    ranked.sort_by(|a, b| (a.0, &a.1.samples).cmp(&(b.0, &b.1.samples)));
    ranked.into_iter().map(|(_, unit)| unit).collect()
}

/// Images of each class.
fn counts(samples: &[u32], label: &impl Fn(u32) -> u32, classes: usize) -> Vec<usize> {
    let mut counts = vec![0; classes];
    samples.iter().for_each(|&sample| counts[label(sample) as usize] += 1);
    counts
}

/// Takes a share of every class (rounded; at least one and never all where the class has two or more, as far as the units
/// allow it). Returns the kept and the taken samples, each in ascending order.
pub(crate) fn hold_out(
    units: Vec<Unit>,
    label: impl Fn(u32) -> u32,
    classes: usize,
    fraction: f64,
    seed: u64,
    purpose: Use,
) -> (Vec<u32>, Vec<u32>) {
    let units = ranked(units, seed, purpose);
    let mut total = vec![0usize; classes];
    units.iter().flat_map(|unit| &unit.samples).for_each(|&sample| total[label(sample) as usize] += 1);
    let target: Vec<usize> = total
        .iter()
        .map(|&total| {
            let count = (total as f64 * fraction).round() as usize;
            if total >= 2 && fraction > 0.0 { count.clamp(1, total - 1) } else { count.min(total) }
        })
        .collect();
    let mut have = vec![0usize; classes];
    let mut taken = vec![false; units.len()];
    // The classes of a unit with their counts; most units are one image.
    let of_unit = |unit: &Unit| -> Vec<(usize, usize)> {
        if let [sample] = unit.samples[..] {
            return vec![(label(sample) as usize, 1)];
        }
        let counts = counts(&unit.samples, &label, classes);
        counts.into_iter().enumerate().filter(|&(_, count)| count > 0).collect()
    };
    let exhausts = |have: &[usize], unit: &[(usize, usize)]| {
        unit.iter().any(|&(class, count)| total[class] >= 2 && have[class] + count >= total[class])
    };
    for (unit, taken) in units.iter().zip(&mut taken) {
        let unit = of_unit(unit);
        let gain: isize = unit
            .iter()
            .map(|&(class, count)| {
                let before = target[class].abs_diff(have[class]);
                before as isize - target[class].abs_diff(have[class] + count) as isize
            })
            .sum();
        if gain > 0 && !exhausts(&have, &unit) {
            *taken = true;
            unit.iter().for_each(|&(class, count)| have[class] += count);
        }
    }
    // Units so large that each is more than the share: the smallest one that has the class.
    for class in 0..classes {
        if have[class] > 0 || target[class] == 0 {
            continue;
        }
        let smallest = (0..units.len())
            .filter(|&i| !taken[i] && units[i].samples.iter().any(|&sample| label(sample) as usize == class))
            .filter(|&i| !exhausts(&have, &of_unit(&units[i])))
            .min_by_key(|&i| units[i].samples.len());
        if let Some(i) = smallest {
            taken[i] = true;
            of_unit(&units[i]).iter().for_each(|&(class, count)| have[class] += count);
        }
    }
    divide(&units, &taken)
}

/// Divides into `folds` parts of nearly equal size and classes, and takes the one of number `fold`.
pub(crate) fn take_fold(
    units: Vec<Unit>,
    label: impl Fn(u32) -> u32,
    classes: usize,
    folds: usize,
    fold: usize,
    seed: u64,
) -> (Vec<u32>, Vec<u32>) {
    let mut units = ranked(units, seed, Use::Validation);
    // Large units first, while there is room to even them out; the order of ranks stays within a size.
    units.sort_by_key(|unit| std::cmp::Reverse(unit.samples.len()));
    let mut have = vec![vec![0usize; classes]; folds];
    let mut sizes = vec![0usize; folds];
    let taken: Vec<bool> = units
        .iter()
        .map(|unit| {
            let load = |f: usize| -> usize { unit.samples.iter().map(|&s| have[f][label(s) as usize]).sum() };
            let own = (0..folds).min_by_key(|&f| (load(f), sizes[f])).unwrap_or(0);
            unit.samples.iter().for_each(|&sample| have[own][label(sample) as usize] += 1);
            sizes[own] += unit.samples.len();
            own == fold
        })
        .collect();
    divide(&units, &taken)
}

fn divide(units: &[Unit], taken: &[bool]) -> (Vec<u32>, Vec<u32>) {
    let mut sides = [Vec::new(), Vec::new()];
    for (unit, &taken) in units.iter().zip(taken) {
        sides[usize::from(taken)].extend(&unit.samples);
    }
    let [mut kept, mut taken] = sides;
    kept.sort_unstable();
    taken.sort_unstable();
    (kept, taken)
}

/// Takes the last share by `key`, whatever the classes: numbers where all keys are numbers, else text (ISO dates sort so).
pub(crate) fn take_last(samples: &[u32], key: impl Fn(u32) -> String, fraction: f64) -> (Vec<u32>, Vec<u32>) {
    let mut keyed: Vec<(String, u32)> = samples.iter().map(|&sample| (key(sample), sample)).collect();
    let numbers: Option<Vec<f64>> = keyed.iter().map(|(key, _)| key.trim().parse().ok()).collect();
    match numbers {
        Some(numbers) => {
            let mut both: Vec<(f64, u32)> = numbers.into_iter().zip(keyed.iter().map(|(_, s)| *s)).collect();
            both.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            keyed = both.into_iter().map(|(_, sample)| (String::new(), sample)).collect();
        }
        None => keyed.sort_unstable(),
    }
    let count = (samples.len() as f64 * fraction).round() as usize;
    let at = samples.len() - count.min(samples.len());
    let mut order: Vec<u32> = keyed.into_iter().map(|(_, sample)| sample).collect();
    let mut taken = order.split_off(at);
    order.sort_unstable();
    taken.sort_unstable();
    (order, taken)
}

/// A share of every class, at least one image of each; a smaller share is a subset of a larger one.
pub(crate) fn limit(
    samples: &[u32],
    classes: usize,
    label: impl Fn(u32) -> u32,
    name: impl Fn(u32) -> String,
    seed: u64,
    fraction: f64,
) -> Vec<u32> {
    let mut by_class: Vec<Vec<(u64, u32)>> = vec![Vec::new(); classes];
    for &sample in samples {
        by_class[label(sample) as usize].push((rank(seed, Use::Limit, &name(sample)), sample));
    }
    let mut taken: Vec<u32> = by_class
        .into_iter()
        .flat_map(|mut class| {
            class.sort_unstable();
            let count = ((class.len() as f64 * fraction).round() as usize).max(1);
            class.into_iter().take(count).map(|(_, sample)| sample)
        })
        .collect();
    taken.sort_unstable();
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 200 images of 4 classes; `group(i)` and the content of image i.
    fn made(group: impl Fn(u32) -> Option<&'static str>, digest: impl Fn(u32) -> [u8; 16]) -> Vec<Unit> {
        let samples: Vec<u32> = (0..200).collect();
        units(&samples, digest, group, |sample| format!("{sample}.png"))
    }

    fn own(sample: u32) -> [u8; 16] {
        u128::from(sample).to_le_bytes()
    }

    #[test]
    fn a_group_is_on_one_side_and_every_class_gets_its_share() {
        const NAMES: [&str; 25] = [
            "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s",
            "t", "u", "v", "w", "x", "y",
        ];
        let group = |sample: u32| Some(NAMES[sample as usize / 8]);
        let units = made(group, own);
        assert_eq!(units.len(), 25);
        for seed in 0..20 {
            let (kept, taken) = hold_out(units.clone(), |s| s % 4, 4, 0.2, seed, Use::Test);
            assert_eq!(kept.len() + taken.len(), 200);
            assert!(taken.iter().all(|&t| kept.iter().all(|&k| group(k) != group(t))));
            assert_eq!(counts(&taken, &|s| s % 4, 4), [10; 4], "5 groups of 2 each");
        }
    }

    #[test]
    fn copies_of_a_file_stay_together_and_one_large_group_is_taken_where_nothing_smaller_is() {
        let units = made(|_| None, |sample| own(sample / 2));
        let (kept, taken) = hold_out(units, |_| 0, 1, 0.3, 1, Use::Validation);
        assert!(taken.iter().all(|t| !kept.contains(&(t ^ 1))) && taken.len() == 60);
        let halves = made(|sample| Some(if sample < 80 { "small" } else { "large" }), own);
        let (kept, taken) = hold_out(halves, |_| 0, 1, 0.1, 1, Use::Validation);
        assert_eq!((kept.len(), taken.len()), (120, 80));
        let one = made(|_| Some("all"), own);
        assert_eq!(hold_out(one, |_| 0, 1, 0.1, 1, Use::Validation).1.len(), 0, "never all");
    }

    #[test]
    fn folds_are_disjoint_cover_everything_and_are_stratified() {
        let units = made(|_| None, own);
        let mut all = Vec::new();
        for fold in 0..5 {
            let (kept, taken) = take_fold(units.clone(), |s| s % 4, 4, 5, fold, 3);
            assert_eq!(counts(&taken, &|s| s % 4, 4), [10; 4]);
            assert_eq!(kept.len(), 160);
            all.extend(taken);
        }
        all.sort_unstable();
        assert_eq!(all, (0..200).collect::<Vec<_>>());
    }

    #[test]
    fn the_last_by_number_or_by_date_are_taken() {
        let samples: Vec<u32> = (0..10).collect();
        let (kept, taken) = take_last(&samples, |s| (100 - s).to_string(), 0.2);
        assert_eq!((kept.len(), taken), (8, vec![0, 1]), "100 and 99, as numbers");
        let (_, taken) = take_last(&samples, |s| format!("2024-0{}-01", 9 - s.min(8)), 0.1);
        assert_eq!(taken, [0]);
    }
}
