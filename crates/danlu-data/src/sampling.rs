//! Which images an epoch draws, and in which order: a pure function of (seed, epoch), so that a resume needs no memory of the past.

use std::collections::BTreeMap;

use danlu_rng::{Purpose, Stream};

use crate::Sampling;

/// One draw of an epoch: the place of the sample in the part, and how often it has been drawn before in this epoch.
pub(crate) type Draw = (u32, u32);

/// The draws of an epoch of `count` images, `repeats` of each next to one another. `label(place)` and `weight(place)` are those of the image
/// at a place of the part.
pub(crate) fn order(
    sampling: Sampling,
    repeats: usize,
    count: u32,
    label: impl Fn(u32) -> u32,
    weight: impl Fn(u32) -> f64,
    seed: u64,
    epoch: u64,
) -> Vec<Draw> {
    let mut stream = Stream::new(seed, Purpose::Shuffle, epoch, 0);
    let draws = match sampling {
        Sampling::Sequential => (0..count).map(|i| (i, 0)).collect(),
        Sampling::Shuffle => {
            let mut order: Vec<Draw> = (0..count).map(|i| (i, 0)).collect();
            stream.shuffle(&mut order);
            order
        }
        Sampling::Weighted => {
            let weights: Vec<f64> = (0..count).map(weight).collect();
            let most = weights.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
            // In 2^-31 of the largest weight; one that is not 0 can always be drawn.
            let scaled = |w: f64| ((w / most * (1u64 << 31) as f64).round() as u64).max(u64::from(w > 0.0));
            let sums = sums(weights.into_iter().map(scaled));
            with_replacement(count, |stream| pick(&sums, stream) as u32, &mut stream)
        }
        Sampling::ClassBalanced | Sampling::SquareRoot => {
            let mut by_class: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
            (0..count).for_each(|place| by_class.entry(label(place)).or_default().push(place));
            let classes: Vec<Vec<u32>> = by_class.into_values().collect();
            // In 2^-16 of an image, so that a draw is one whole number.
            let weight = |class: &Vec<u32>| match sampling {
                Sampling::SquareRoot => ((class.len() as f64).sqrt() * 65536.0).round() as u64,
                _ => 1,
            };
            let sums = sums(classes.iter().map(weight));
            let draw = |stream: &mut Stream| {
                let class = &classes[pick(&sums, stream)];
                class[stream.below(class.len() as u64) as usize]
            };
            with_replacement(count, draw, &mut stream)
        }
    };
    if repeats <= 1 {
        return draws;
    }
    let repeats = repeats as u32;
    let distinct = count.div_ceil(repeats) as usize;
    let each = |(place, before): Draw| (0..repeats).map(move |again| (place, before * repeats + again));
    draws.into_iter().take(distinct).flat_map(each).take(count as usize).collect()
}

/// Running sums.
fn sums(weights: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut total = 0;
    weights
        .map(|weight| {
            total += weight;
            total
        })
        .collect()
}

/// A place in proportion to its weight.
fn pick(sums: &[u64], stream: &mut Stream) -> usize {
    let at = stream.below(sums.last().copied().unwrap_or(1).max(1));
    sums.partition_point(|&sum| sum <= at).min(sums.len().saturating_sub(1))
}

/// As many draws as there are images, with what was drawn before counted.
fn with_replacement(count: u32, draw: impl Fn(&mut Stream) -> u32, stream: &mut Stream) -> Vec<Draw> {
    let mut drawn = vec![0u32; count as usize];
    (0..count)
        .map(|_| {
            let place = draw(stream);
            let before = drawn[place as usize];
            drawn[place as usize] += 1;
            (place, before)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(sampling: Sampling, repeats: usize, epoch: u64) -> Vec<Draw> {
        // 900 images of class 0, 100 of class 1; weights 0, 1, 2, 3, 0, 1, ...
        order(sampling, repeats, 1000, |i| u32::from(i >= 900), |i| f64::from(i % 4), 7, epoch)
    }

    /// Draws of every image over 60 epochs.
    fn frequencies(sampling: Sampling) -> Vec<u32> {
        let mut drawn = vec![0; 1000];
        (0..60).flat_map(|epoch| made(sampling, 1, epoch)).for_each(|(place, _)| drawn[place as usize] += 1);
        drawn
    }

    #[test]
    fn images_are_drawn_in_proportion_to_their_weights_and_none_of_weight_0() {
        let drawn = frequencies(Sampling::Weighted);
        let of = |rest: usize| drawn.iter().skip(rest).step_by(4).sum::<u32>() as f64 / 60_000.0;
        assert_eq!(of(0), 0.0);
        // 60,000 draws: a standard deviation of 0.2 %.
        for rest in 1..4 {
            assert!((of(rest) - rest as f64 / 6.0).abs() < 0.01, "{} of weight {rest}", of(rest));
        }
        let zeros = order(Sampling::Weighted, 1, 10, |_| 0, |_| 0.0, 1, 1);
        assert_eq!(zeros.len(), 10, "weights that are all 0 are refused elsewhere; here they must not panic");
    }

    #[test]
    fn balanced_draws_every_class_equally_and_square_root_lies_between() {
        let rare = |sampling| frequencies(sampling)[900..].iter().sum::<u32>() as f64 / 60_000.0;
        assert!((rare(Sampling::ClassBalanced) - 0.5).abs() < 0.01);
        // 10 / (30 + 10).
        assert!((rare(Sampling::SquareRoot) - 0.25).abs() < 0.01);
        assert!((rare(Sampling::Shuffle) - 0.1).abs() < 1e-9);
    }

    #[test]
    fn repeated_augmentation_takes_fewer_images_each_several_times_in_a_row() {
        let draws = made(Sampling::Shuffle, 3, 4);
        assert_eq!(draws.len(), 1000);
        for group in draws.chunks(3) {
            assert!(group.iter().enumerate().all(|(again, draw)| *draw == (group[0].0, again as u32)));
        }
        let mut places: Vec<u32> = draws.iter().map(|draw| draw.0).collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), 334);
        // Every draw of an epoch is another augmentation.
        let mut keys = made(Sampling::ClassBalanced, 3, 4);
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 1000);
    }

    #[test]
    fn an_order_depends_on_seed_and_epoch_only() {
        for sampling in [Sampling::Shuffle, Sampling::ClassBalanced, Sampling::SquareRoot, Sampling::Weighted]
        {
            assert_eq!(made(sampling, 1, 5), made(sampling, 1, 5));
            assert_ne!(made(sampling, 1, 5), made(sampling, 1, 6));
        }
        assert_eq!(made(Sampling::Sequential, 1, 5)[17], (17, 0));
    }
}
