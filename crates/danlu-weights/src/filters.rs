//! What a trained layer looks like in numbers: norms, dead filters, filters that are copies of one another.

use crate::{StateDict, Tensor};
use serde::Serialize;

/// A filter is dead when its L2 norm is below this share of its layer's median: weight decay has eaten it.
const DEAD: f64 = 0.01;
/// Two filters are copies when the absolute cosine between them is at least this.
const DUPLICATE: f32 = 0.98;
/// Layers of more filters are not searched for copies: the work grows with the square.
const MOST_COMPARED: usize = 4096;

/// A convolution's or a linear layer's weight.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FilterReport {
    /// Name of the tensor.
    pub name: String,
    /// `[out, in / groups, rows, columns]` or `[out, in]`.
    pub shape: Vec<usize>,
    /// L2 norm of the whole tensor.
    pub norm: f64,
    /// Mean of its values.
    pub mean: f64,
    /// Standard deviation of its values (of the population).
    pub std: f64,
    /// Smallest and largest L2 norm of a filter (of an output).
    pub filter_norms: [f64; 2],
    /// Outputs whose norm is below 1 % of the layer's median.
    pub dead: Vec<usize>,
    /// Pairs of outputs whose absolute cosine is at least 0.98; only of convolutions, and of up to 4096 filters.
    pub duplicates: Vec<[usize; 2]>,
    /// Values that are NaN or infinite.
    pub non_finite: usize,
}

/// Looks at every convolution and linear weight, in the file's order.
pub fn filter_reports(state: &StateDict) -> Vec<FilterReport> {
    state.iter().filter(|(_, t)| matches!(t.shape.len(), 2 | 4) && !t.data.is_empty()).map(report).collect()
}

fn report((name, tensor): (&str, &Tensor)) -> FilterReport {
    let outputs = tensor.shape[0].max(1);
    let size = (tensor.data.len() / outputs).max(1);
    let n = tensor.data.len() as f64;
    let sum_of = |f: fn(f64) -> f64| tensor.data.iter().map(|&v| f(f64::from(v))).sum::<f64>();
    let (sum, squares) = (sum_of(|v| v), sum_of(|v| v * v));
    let norms: Vec<f64> = tensor
        .data
        .chunks_exact(size)
        .map(|filter| filter.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt())
        .collect();
    let mut sorted = norms.clone();
    sorted.sort_by(f64::total_cmp);
    let median = sorted.get(sorted.len() / 2).copied().unwrap_or(0.0);
    let dead: Vec<usize> =
        norms.iter().enumerate().filter(|(_, norm)| **norm <= DEAD * median).map(|(i, _)| i).collect();
    let convolution = tensor.shape.len() == 4;
    FilterReport {
        name: name.to_owned(),
        shape: tensor.shape.clone(),
        norm: squares.sqrt(),
        mean: sum / n,
        std: (squares / n - (sum / n).powi(2)).max(0.0).sqrt(),
        filter_norms: [sorted.first().copied().unwrap_or(0.0), sorted.last().copied().unwrap_or(0.0)],
        // One value a filter has only a sign for a direction: every two would be copies.
        duplicates: if convolution && size > 1 && outputs <= MOST_COMPARED {
            duplicates(&tensor.data, size, &norms, &dead)
        } else {
            Vec::new()
        },
        dead,
        non_finite: tensor.data.iter().filter(|v| !v.is_finite()).count(),
    }
}

fn duplicates(data: &[f32], size: usize, norms: &[f64], dead: &[usize]) -> Vec<[usize; 2]> {
    let unit: Vec<f32> = data
        .chunks_exact(size)
        .zip(norms)
        .flat_map(|(filter, &norm)| {
            filter.iter().map(move |&v| if norm > 0.0 { (f64::from(v) / norm) as f32 } else { 0.0 })
        })
        .collect();
    let filter = |i: usize| &unit[i * size..][..size];
    let mut pairs = Vec::new();
    for a in (0..norms.len()).filter(|a| !dead.contains(a)) {
        for b in (a + 1..norms.len()).filter(|b| !dead.contains(b)) {
            if dot(filter(a), filter(b)).abs() >= DUPLICATE {
                pairs.push([a, b]);
            }
        }
    }
    pairs
}

/// In eight sums side by side, which the compiler turns into one vector.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; 8];
    let (a8, b8) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f32 = a8.remainder().iter().zip(b8.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a8.zip(b8) {
        for i in 0..8 {
            sums[i] += x[i] * y[i];
        }
    }
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(shape: Vec<usize>, data: Vec<f32>) -> FilterReport {
        let state: StateDict = [("w".to_owned(), Tensor { shape, data })].into_iter().collect();
        filter_reports(&state).remove(0)
    }

    #[test]
    fn dead_filters_and_copies_are_named() {
        let filters = [[3.0f32, 0.0, 4.0, 0.0], [0.0; 4], [-6.0, 0.0, -8.0, 0.0], [0.0, 1.0, 0.0, 1.0]];
        let found = of(vec![4, 1, 2, 2], filters.concat());
        assert_eq!(found.dead, [1]);
        assert_eq!(found.duplicates, [[0, 2]], "the same direction, turned round and twice as long");
        assert_eq!(found.filter_norms, [0.0, 10.0]);
        assert!((found.norm - 127f64.sqrt()).abs() < 1e-12, "{}", found.norm);
    }

    #[test]
    fn kernels_of_one_value_are_no_copies_and_nothing_is_counted_of_what_is_not_finite() {
        assert!(of(vec![3, 1, 1, 1], vec![1.0, 2.0, 3.0]).duplicates.is_empty());
        assert_eq!(of(vec![2, 2], vec![1.0, f32::NAN, f32::INFINITY, 0.0]).non_finite, 2);
        assert!(filter_reports(&StateDict::new()).is_empty());
    }
}
