//! How the weights of each layer are spread, after every epoch, into the events.

use danlu_nn::StateDict;
use serde::{Deserialize, Serialize};

/// Weights of a tensor that are counted, evenly chosen: enough for a smooth picture, few enough to cost nothing.
const MOST_VALUES: usize = 4096;
/// Bins, fewer where there are few values.
const BINS: (usize, usize) = (8, 32);

/// Counts of one tensor's values in bins of equal width.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WeightHistogram {
    /// Name of the tensor.
    pub name: String,
    /// Lower end of the first bin.
    pub low: f32,
    /// Upper end of the last bin.
    pub high: f32,
    /// Values in each bin.
    pub counts: Vec<u32>,
}

/// Those of the filters and matrices; biases and batch norms have too few values. A tensor without a finite value is left out.
pub fn weight_histograms(state: &StateDict) -> Vec<WeightHistogram> {
    state
        .iter()
        .filter(|(_, tensor)| tensor.shape.len() >= 2)
        .filter_map(|(name, tensor)| histogram(name, &tensor.data))
        .collect()
}

fn histogram(name: &str, values: &[f32]) -> Option<WeightHistogram> {
    let step = values.len().div_ceil(MOST_VALUES).max(1);
    // A step that divides the length of a filter would see the same taps of each: an odd one hardly ever does.
    let chosen: Vec<f32> = values.iter().copied().step_by(step | 1).filter(|v| v.is_finite()).collect();
    let (mut low, mut high) =
        (chosen.iter().copied().reduce(f32::min)?, chosen.iter().copied().reduce(f32::max)?);
    if low == high {
        // Bins of no width cannot be drawn.
        let by = if low == 0.0 { 1e-3 } else { low.abs() * 1e-3 };
        (low, high) = (low - by, high + by);
    }
    let bins = ((chosen.len() as f64).sqrt() as usize).clamp(BINS.0, BINS.1);
    let mut counts = vec![0u32; bins];
    for value in chosen {
        let share = f64::from(value - low) / f64::from(high - low);
        counts[((share * bins as f64) as usize).min(bins - 1)] += 1;
    }
    Some(WeightHistogram { name: name.to_owned(), low, high, counts })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finite_value_of_a_small_tensor_counts_once() {
        let values: Vec<f32> = (0..100).map(|i| i as f32).chain([f32::NAN]).collect();
        let found = histogram("w", &values).expect("finite values");
        assert_eq!((found.low, found.high, found.counts.len()), (0.0, 99.0, 10));
        assert!(found.counts.iter().all(|&count| count == 10), "{found:?}");
        assert_eq!(histogram("w", &[f32::NAN]), None);
        assert_eq!(histogram("w", &[]), None);
        let same = histogram("w", &[2.5; 64]).expect("finite values");
        assert!(same.low < 2.5 && same.high > 2.5 && same.counts.iter().sum::<u32>() == 64, "{same:?}");
    }

    #[test]
    fn a_large_tensor_is_sampled_and_keeps_its_shape() {
        // Half of the filters' taps are small and half large: a step of an even number would see only one kind.
        let values: Vec<f32> = (0..1_000_000).map(|i| if i % 2 == 0 { 0.0 } else { 1.0 }).collect();
        let found = histogram("w", &values).expect("finite values");
        let total: u32 = found.counts.iter().sum();
        assert!(total as usize <= MOST_VALUES && total as usize > MOST_VALUES / 2, "{total}");
        let (first, last) = (found.counts[0], found.counts[found.counts.len() - 1]);
        assert!(first.abs_diff(last) <= 1 && first + last == total, "{found:?}");
    }
}
