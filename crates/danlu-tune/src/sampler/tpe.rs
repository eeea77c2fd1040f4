//! The tree-structured Parzen estimator, multivariate.

use super::{Random, Sampler};
use crate::distribution::Distribution;
use crate::normal;
use crate::space::{Space, Values};
use crate::trial::{State, Trial};
use crate::view::View;
use danlu_rng::Stream;
use std::cmp::Ordering;
use std::collections::BTreeSet;

/// TPE (Bergstra et al. 2011) with a joint kernel over all parameters (Falkner et al. 2018, Optuna's
/// `multivariate=True`): good trials give the density `l`, all others `g`, and of some draws from `l` the one of
/// the largest `l / g` is tried.
///
/// - **Conditional**: a kernel is uniform in a parameter that its trial did not have, so that trials of one branch
///   still teach the shared parameters.
/// - **Constant liar**: running trials count as bad, so that workers side by side do not try the same point.
/// - Trials that stopped early rank after complete ones, those that came further first, as in Optuna.
/// - Trials are kept sorted as they change and never sorted anew.
#[derive(Clone, Debug)]
pub struct Tpe {
    /// Random trials before the first model; 10 as in Optuna.
    pub startup: usize,
    /// Draws from `l` to choose from; 24 as in Optuna.
    pub candidates: usize,
    read: usize,
    ranked: BTreeSet<Rank>,
    ranks: Vec<Option<Rank>>,
    points: Vec<f64>,
    norms: Norms,
}

/// Position of a trial in the order from good to bad.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rank {
    class: u8,
    steps: u64,
    loss: f64,
    number: u64,
}

impl Eq for Rank {}

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Rank {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.class.cmp(&other.class))
            .then(other.steps.cmp(&self.steps))
            .then(self.loss.total_cmp(&other.loss))
            .then(self.number.cmp(&other.number))
    }
}

/// Log of the truncation constants of every trial's kernel, for one bandwidth.
#[derive(Clone, Debug, Default)]
struct Norms {
    sd: f64,
    of: Vec<f64>,
}

impl Default for Tpe {
    fn default() -> Self {
        Tpe {
            startup: 10,
            candidates: 24,
            read: 0,
            ranked: BTreeSet::new(),
            ranks: Vec::new(),
            points: Vec::new(),
            norms: Norms::default(),
        }
    }
}

/// Size of the good set: a tenth, at most 25 (Optuna's default).
fn good(n: usize) -> usize {
    n.div_ceil(10).min(25)
}

/// Bandwidth in the unit interval (Optuna's multivariate rule, Scott's exponent). `n` is rounded down to a power of 1.25, so that
/// kernels keep their bandwidth, and with it their truncation constants, over many trials.
fn bandwidth(n: usize, dimensions: usize) -> f64 {
    let n = 1.25f64.powf((n.max(1) as f64).log(1.25).floor());
    (0.2 * n.powf(-1.0 / (dimensions as f64 + 4.0))).max(0.01)
}

/// Probability mass that a categorical kernel leaves for all choices together.
const CATEGORICAL_SPREAD: f64 = 0.25;

impl Tpe {
    fn ingest(&mut self, view: &View) {
        let d = view.space.len();
        for &number in &view.log()[self.read..] {
            let at = number as usize;
            let trial = &view.trials()[at];
            if self.ranks.len() <= at {
                self.ranks.resize(at + 1, None);
                self.points.resize((at + 1) * d, f64::NAN);
            }
            let rank = rank(view, trial);
            if rank == self.ranks[at] {
                continue;
            }
            if self.ranks[at].is_none() {
                for i in 0..d {
                    self.points[at * d + i] = match (view.space.distribution(i), trial.values[i]) {
                        (_, None) => f64::NAN,
                        (Distribution::Categorical { .. }, Some(v)) => v,
                        (domain, Some(v)) => domain.to_unit(v),
                    };
                }
                if self.norms.sd > 0.0 {
                    self.norms.of.resize(at + 1, f64::NAN);
                    self.norms.of[at] = log_norm(&view.space, &self.points[at * d..][..d], self.norms.sd);
                }
            }
            if let Some(old) = self.ranks[at] {
                self.ranked.remove(&old);
            }
            if let Some(new) = rank {
                self.ranked.insert(new);
            }
            self.ranks[at] = rank;
        }
        self.read = view.log().len();
    }

    /// Truncation constants of all kernels for `sd`; recomputed only when the rounded bandwidth changes.
    fn refresh_norms(&mut self, space: &Space, sd: f64) {
        if self.norms.sd == sd && self.norms.of.len() == self.ranks.len() {
            return;
        }
        let d = space.len();
        self.norms.sd = sd;
        self.norms.of = self.points.chunks_exact(d).map(|p| log_norm(space, p, sd)).collect();
    }
}

impl Sampler for Tpe {
    fn sample(&mut self, view: &View, rng: &mut Stream) -> Option<Values> {
        self.ingest(view);
        let finished =
            self.ranked.len() - self.ranked.iter().rev().take_while(|r| r.class == RUNNING).count();
        if finished < self.startup.max(2) {
            return Some(Random::draw(&view.space, rng));
        }
        let space = &view.space;
        let d = space.len();
        let order: Vec<usize> = self.ranked.iter().map(|r| r.number as usize).collect();
        let (l, g) = order.split_at(good(finished));
        let (sd_l, sd_g) = (bandwidth(l.len(), d), bandwidth(g.len(), d));
        self.refresh_norms(space, sd_g);
        let below = Mixture::new(space, &self.points, l, sd_l, None);
        let above = Mixture::new(space, &self.points, g, sd_g, Some(&self.norms.of));
        let mut best: Option<(f64, Values)> = None;
        let mut scratch = Vec::new();
        for _ in 0..self.candidates.max(1) {
            let values = below.draw(space, &self.points, rng);
            let point: Vec<f64> = (0..d)
                .map(|i| match (space.distribution(i), values[i]) {
                    (_, None) => f64::NAN,
                    (Distribution::Categorical { .. }, Some(v)) => v,
                    (domain, Some(v)) => domain.to_unit(v),
                })
                .collect();
            let score = below.log_density(&point, &mut scratch) - above.log_density(&point, &mut scratch);
            if best.as_ref().is_none_or(|(s, _)| score > *s) {
                best = Some((score, values));
            }
        }
        best.map(|(_, values)| values)
    }
}

const RUNNING: u8 = 3;

/// Complete trials by value; then stopped and paused ones by how far they came, then value; then failed; then
/// running ones. Waiting trials say nothing yet.
fn rank(view: &View, trial: &Trial) -> Option<Rank> {
    let number = trial.number;
    let loss = |v: f64| view.loss(v);
    Some(match (trial.state, trial.value, trial.last()) {
        (State::Waiting, ..) => return None,
        (State::Running, ..) => Rank { class: RUNNING, steps: 0, loss: 0.0, number },
        (State::Complete, Some(v), _) => Rank { class: 0, steps: 0, loss: loss(v), number },
        (State::Pruned | State::Paused | State::Released, _, Some(r)) => {
            Rank { class: 1, steps: r.step, loss: loss(r.value), number }
        }
        // A trial of another tool whose values are unknown, a failed one: bad, for it must not be tried again.
        _ => Rank { class: 2, steps: 0, loss: 0.0, number },
    })
}

fn log_norm(space: &Space, point: &[f64], sd: f64) -> f64 {
    let mut sum = 0.0;
    for (i, &x) in point.iter().enumerate() {
        if !x.is_nan() && !space.distribution(i).is_categorical() {
            let mass = normal::cdf((1.0 - x) / sd) - normal::cdf(-x / sd);
            sum += (mass * sd).ln() + 0.918_938_533_204_672_7;
        }
    }
    sum
}

/// Kernels with equal weights and one uniform component (the prior), which counts as one trial.
struct Mixture {
    members: Vec<usize>,
    sd: f64,
    /// Column-major coordinates, so that one candidate is compared with all kernels in straight loops.
    columns: Vec<Column>,
    base: Vec<f64>,
    log_uniform: f64,
}

struct Column {
    values: Vec<f64>,
    /// Log probability of the same and of another choice; `None` for ordered parameters.
    choice: Option<(f64, f64)>,
    /// Log density where the kernel's trial did not have the parameter.
    absent: f64,
    any_absent: bool,
}

impl Mixture {
    fn new(space: &Space, points: &[f64], members: &[usize], sd: f64, norms: Option<&[f64]>) -> Self {
        let d = space.len();
        let mut log_uniform = 0.0;
        let columns = (0..d)
            .map(|i| {
                let values: Vec<f64> = members.iter().map(|&m| points[m * d + i]).collect();
                let n = match space.distribution(i) {
                    Distribution::Categorical { choices } => Some(choices.len() as f64),
                    _ => None,
                };
                let absent = n.map_or(0.0, |n| -n.ln());
                log_uniform += absent;
                let choice = n.map(|n| {
                    ((1.0 - CATEGORICAL_SPREAD + CATEGORICAL_SPREAD / n).ln(), (CATEGORICAL_SPREAD / n).ln())
                });
                let any_absent = values.iter().any(|v| v.is_nan());
                Column { values, choice, absent, any_absent }
            })
            .collect();
        let base = members
            .iter()
            .map(|&m| match norms {
                Some(norms) => -norms[m],
                None => -log_norm(space, &points[m * d..][..d], sd),
            })
            .collect();
        Mixture { members: members.to_vec(), sd, columns, base, log_uniform }
    }

    fn draw(&self, space: &Space, points: &[f64], rng: &mut Stream) -> Values {
        let pick = rng.below(self.members.len() as u64 + 1) as usize;
        let Some(&member) = self.members.get(pick) else {
            return Random::draw(space, rng);
        };
        let centre = &points[member * space.len()..][..space.len()];
        space.fill(|i, domain, _| {
            let x = centre[i];
            match domain {
                Distribution::Categorical { .. } if x.is_nan() || rng.chance(CATEGORICAL_SPREAD) => {
                    domain.from_unit(rng.uniform())
                }
                Distribution::Categorical { .. } => x,
                _ if x.is_nan() => domain.from_unit(rng.uniform()),
                _ => domain.from_unit(normal::truncated(x, self.sd, rng)),
            }
        })
    }

    /// Log density at a point (unit coordinates, NaN where inactive), up to the same constant for every mixture of a space.
    fn log_density(&self, point: &[f64], sums: &mut Vec<f64>) -> f64 {
        sums.clear();
        sums.extend_from_slice(&self.base);
        let scale = -0.5 / (self.sd * self.sd);
        let mut log_uniform = self.log_uniform;
        for (column, &x) in self.columns.iter().zip(point) {
            if x.is_nan() {
                // The parameter does not exist here: kernels that have it are as likely as others, but their own
                // truncation constant is in `base` and must not count; a constant bias that both mixtures share.
                log_uniform -= column.absent;
                continue;
            }
            match column.choice {
                Some((same, other)) => {
                    for (sum, &v) in sums.iter_mut().zip(&column.values) {
                        *sum += if v == x {
                            same
                        } else if v.is_nan() {
                            column.absent
                        } else {
                            other
                        };
                    }
                }
                None if column.any_absent => {
                    for (sum, &v) in sums.iter_mut().zip(&column.values) {
                        *sum += if v.is_nan() { 0.0 } else { scale * (x - v) * (x - v) };
                    }
                }
                None => {
                    for (sum, &v) in sums.iter_mut().zip(&column.values) {
                        *sum += scale * (x - v) * (x - v);
                    }
                }
            }
        }
        let max = sums.iter().fold(log_uniform, |a, &b| a.max(b));
        // exp(-30) of the largest term changes nothing that a choice among candidates could see.
        let total: f64 = sums.iter().map(|&s| if s - max > -30.0 { (s - max).exp() } else { 0.0 }).sum();
        max + (total + (log_uniform - max).exp()).ln() - (self.base.len() as f64 + 1.0).ln()
    }
}
