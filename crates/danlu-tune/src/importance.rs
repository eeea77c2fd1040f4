//! How much each hyper-parameter matters: functional ANOVA on a forest.
//!
//! A forest of random regression trees is fitted to (values, loss); for each parameter the share of the variance of the
//! prediction that the parameter explains alone, all others averaged out (Hutter et al. 2014). Each tree sees another bootstrap
//! of the trials, so the spread over the trees says how sure that is. Losses are replaced by their ranks: a few diverged trials
//! must not make the whole picture.

use crate::distribution::Distribution;
use crate::trial::State;
use crate::view::View;
use danlu_rng::{Purpose, Stream};

/// The importance of one parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Importance {
    /// Name of the parameter.
    pub name: String,
    /// Share of the variance that it explains alone, in `0..=1`; the rest is interaction and noise.
    pub share: f64,
    /// Standard deviation of the share over the trees.
    pub uncertainty: f64,
}

const TREES: u64 = 48;
/// Points over which the other parameters are averaged.
const BACKGROUND: usize = 96;
const GRID: usize = 16;
/// Trials below which nothing can be said.
const LEAST: usize = 8;

/// The importance of every parameter, the largest first; empty with fewer than 8 trials that reported a value.
///
/// A trial counts with its best report; those that stopped early count as what they had reached.
pub fn importance(view: &View) -> Vec<Importance> {
    let d = view.space.len();
    let mut rows: Vec<(Vec<f64>, f64)> = Vec::new();
    for trial in view.trials() {
        let best = trial.curve.iter().map(|r| view.loss(r.value)).chain(trial.value.map(|v| view.loss(v)));
        let loss = best.fold(f64::INFINITY, f64::min);
        let known = trial.values.iter().any(Option::is_some) && trial.state != State::Waiting;
        if known && (loss.is_finite() || trial.state == State::Failed) {
            let point = (0..d).map(|i| unit(view, i, trial.values[i])).collect();
            rows.push((point, loss));
        }
    }
    if rows.len() < LEAST {
        return Vec::new();
    }
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by(|&a, &b| rows[a].1.total_cmp(&rows[b].1));
    let mut ranks = vec![0.0; rows.len()];
    for (rank, &i) in order.iter().enumerate() {
        ranks[i] = rank as f64 / (rows.len() - 1) as f64;
    }
    let points: Vec<Vec<f64>> = rows.into_iter().map(|row| row.0).collect();
    let mut rng = Stream::new(0, Purpose::Sampler, u64::MAX, 0);
    let background: Vec<Vec<f64>> = (0..BACKGROUND)
        .map(|_| {
            let values = crate::sampler::Random::draw(&view.space, &mut rng);
            (0..d).map(|i| unit(view, i, values[i])).collect()
        })
        .collect();
    let mut shares = vec![Vec::new(); d];
    for t in 0..TREES {
        let mut rng = Stream::new(1 + t, Purpose::Sampler, u64::MAX, 0);
        let sample: Vec<usize> = (0..points.len()).map(|_| rng.below(points.len() as u64) as usize).collect();
        let tree = Tree::grow(&points, &ranks, sample, 0, &mut rng);
        let all: Vec<f64> = background.iter().map(|p| tree.predict(p)).collect();
        let total = variance(&all);
        if total < 1e-12 {
            continue;
        }
        for (i, shares) in shares.iter_mut().enumerate() {
            let mut marginal = Vec::with_capacity(GRID);
            for g in 0..GRID {
                let x = place(view, i, g);
                let mut sum = 0.0;
                for point in &background {
                    let mut point = point.clone();
                    // A parameter that does not exist in this point cannot change it.
                    if !point[i].is_nan() {
                        point[i] = x;
                    }
                    sum += tree.predict(&point);
                }
                marginal.push(sum / BACKGROUND as f64);
            }
            shares.push((variance(&marginal) / total).min(1.0));
        }
    }
    let mut all: Vec<Importance> = (0..d)
        .filter(|&i| !shares[i].is_empty())
        .map(|i| Importance {
            name: view.space.parameters()[i].name.clone(),
            share: shares[i].iter().sum::<f64>() / shares[i].len() as f64,
            uncertainty: variance(&shares[i]).sqrt(),
        })
        .collect();
    all.sort_by(|a, b| b.share.total_cmp(&a.share));
    all
}

fn unit(view: &View, i: usize, value: Option<f64>) -> f64 {
    value.map_or(f64::NAN, |v| view.space.distribution(i).to_unit(v))
}

fn place(view: &View, i: usize, g: usize) -> f64 {
    let at = (g as f64 + 0.5) / GRID as f64;
    match view.space.distribution(i) {
        Distribution::Categorical { .. } => {
            let domain = view.space.distribution(i);
            domain.to_unit(domain.from_unit(at))
        }
        _ => at,
    }
}

fn variance(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
    values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / values.len().max(1) as f64
}

enum Tree {
    Leaf(f64),
    Split { column: usize, at: f64, low: Box<Tree>, high: Box<Tree> },
}

impl Tree {
    /// Splits where the squared error falls most, among random cuts of random columns.
    fn grow(points: &[Vec<f64>], targets: &[f64], rows: Vec<usize>, depth: usize, rng: &mut Stream) -> Tree {
        let mean = rows.iter().map(|&r| targets[r]).sum::<f64>() / rows.len().max(1) as f64;
        let d = points.first().map_or(0, Vec::len);
        if rows.len() < 6 || depth > 12 || d == 0 {
            return Tree::Leaf(mean);
        }
        let mut best: Option<(f64, usize, f64)> = None;
        for _ in 0..(2 * d).max(8) {
            let column = rng.below(d as u64) as usize;
            let x = points[rows[rng.below(rows.len() as u64) as usize]][column];
            let y = points[rows[rng.below(rows.len() as u64) as usize]][column];
            // Against a value that does not exist, the cut is "does it exist".
            let at = if x.is_nan() || y.is_nan() { 2.0 } else { 0.5 * (x + y) };
            let (mut n, mut sum) = ([0.0; 2], [0.0; 2]);
            for &r in &rows {
                let side = usize::from(!goes_low(points[r][column], at));
                n[side] += 1.0;
                sum[side] += targets[r];
            }
            if n[0] < 2.0 || n[1] < 2.0 {
                continue;
            }
            let gain = sum[0] * sum[0] / n[0] + sum[1] * sum[1] / n[1];
            if best.is_none_or(|b| gain > b.0) {
                best = Some((gain, column, at));
            }
        }
        let Some((_, column, at)) = best else { return Tree::Leaf(mean) };
        let (low, high): (Vec<usize>, Vec<usize>) =
            rows.into_iter().partition(|&r| goes_low(points[r][column], at));
        let low = Box::new(Tree::grow(points, targets, low, depth + 1, rng));
        let high = Box::new(Tree::grow(points, targets, high, depth + 1, rng));
        Tree::Split { column, at, low, high }
    }

    fn predict(&self, point: &[f64]) -> f64 {
        match self {
            Tree::Leaf(value) => *value,
            Tree::Split { column, at, low, high } => {
                if goes_low(point[*column], *at) {
                    low.predict(point)
                } else {
                    high.predict(point)
                }
            }
        }
    }
}

fn goes_low(x: f64, at: f64) -> bool {
    !x.is_nan() && x < at
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Direction, Parameter, Report, Space, Trial};
    use std::sync::Arc;

    #[test]
    fn what_decides_the_value_is_important_and_what_does_not_is_not() {
        let space = Space::new(vec![
            Parameter::new("strong", Distribution::float(0.0, 1.0)),
            Parameter::new("weak", Distribution::log(1e-3, 1.0)),
            Parameter::new("noise", Distribution::choice(["a", "b", "c"])),
        ])
        .expect("a space");
        let mut view = View::new(Arc::new(space), Direction::Minimize, 1);
        assert!(importance(&view).is_empty(), "nothing is said of nothing");
        let mut rng = Stream::new(1, Purpose::Other(3), 0, 0);
        for number in 0..80 {
            let values = crate::sampler::Random::draw(&view.space, &mut rng);
            let unit = |i: usize| view.space.distribution(i).to_unit(values[i].unwrap_or_default());
            let value = (unit(0) - 0.2).powi(2) + 0.15 * unit(1);
            let curve = vec![Report { step: 1, value, seconds: 0.0 }];
            let (state, checkpoint, error) = (State::Complete, None, None);
            view.put(Trial {
                number,
                id: 0,
                state,
                values,
                curve,
                value: Some(value),
                checkpoint,
                error,
                epoch: 1,
            });
        }
        let found = importance(&view);
        let names: Vec<&str> = found.iter().map(|i| i.name.as_str()).collect();
        assert_eq!(names, ["strong", "weak", "noise"]);
        assert!(found[0].share > 0.5 && found[2].share < 0.1, "{found:?}");
        assert!(found.iter().all(|i| i.uncertainty >= 0.0 && i.uncertainty < 0.3), "{found:?}");
    }
}
