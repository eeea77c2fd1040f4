//! Where a learning curve will end: an ensemble of power laws, fitted to all partial curves of a study at once.
//!
//! A curve is `score(t) = a - b u(t)` with `u(t) = (t^-c - T^-c) / (1 - T^-c)`, so that `a` is the score at the last step `T` and `b`
//! the gain from step 1 to `T`, whatever the exponent. Each exponent of a grid is one member of the ensemble. In a member, `(a, b)` of
//! the study's trials are draws from one normal distribution (a linear mixed model), which expectation-maximisation finds together with the
//! noise and with the share of trials that each member explains: a short curve borrows from the long ones, a long one stands by itself.
//! A forecast is the mixture of the members' posteriors; where they disagree it is uncertain.

use crate::normal;

/// Exponents of the members; nearly logarithmic to faster than any training that is worth its time.
const EXPONENTS: [f64; 6] = [0.05, 0.25, 0.5, 0.8, 1.2, 2.0];
const MEMBERS: usize = EXPONENTS.len();
/// Neighbouring points are closer to one another than noise alone would have them: a curve is looked at on steps that grow by this much.
const THINNING: f64 = 1.25;
/// What is believed before anything is seen counts as so many trials (and as so many points, for the noise).
const PRIOR_TRIALS: f64 = 2.0;
const PRIOR_POINTS: f64 = 6.0;
const ROUNDS: usize = 12;

type Pair = [f64; 2];
/// A symmetric matrix: `[0][0]`, `[0][1]`, `[1][1]`.
type Symmetric = [f64; 3];

/// One normal component of a forecast.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Component {
    weight: f64,
    mean: f64,
    variance: f64,
}

/// What a curve will be worth at one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Forecast([Component; MEMBERS]);

impl Forecast {
    #[cfg(test)]
    pub(crate) fn mean(&self) -> f64 {
        self.0.iter().map(|c| c.weight * c.mean).sum()
    }

    #[cfg(test)]
    pub(crate) fn variance(&self) -> f64 {
        let mean = self.mean();
        self.0.iter().map(|c| c.weight * (c.variance + (c.mean - mean).powi(2))).sum()
    }

    /// Natural logarithm of the expected improvement on `target`.
    pub(crate) fn log_improvement(&self, target: f64) -> f64 {
        let logs = self.0.map(|c| {
            let sd = c.variance.max(1e-12).sqrt();
            c.weight.max(1e-300).ln() + sd.ln() + log_improvement((c.mean - target) / sd)
        });
        let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        top + logs.iter().map(|l| (l - top).exp()).sum::<f64>().ln()
    }
}

/// `ln(pdf(z) + z cdf(z))`; far below the target by its asymptotic form, so that hopeless trials still have an order.
fn log_improvement(z: f64) -> f64 {
    let log_pdf = -0.5 * z * z - 0.918_938_533_204_672_7;
    if z < -5.0 {
        let q = 1.0 / (z * z);
        log_pdf + q.ln() + (1.0 - 3.0 * q + 15.0 * q * q).ln()
    } else {
        (log_pdf.exp() + z * normal::cdf(z)).max(f64::MIN_POSITIVE).ln()
    }
}

/// A curve as one member sees it: sums over its points.
#[derive(Clone, Copy, Debug, Default)]
struct Moments {
    n: f64,
    u: f64,
    uu: f64,
    y: f64,
    uy: f64,
    yy: f64,
}

#[derive(Clone, Copy, Debug)]
struct Member {
    share: f64,
    mean: Pair,
    /// Of `(a, b)` over the trials: inverse covariance, and its log determinant.
    precision: Symmetric,
    log_det: f64,
}

/// What is known of one curve in one member.
struct Posterior {
    mean: Pair,
    covariance: Symmetric,
    /// Log likelihood of the points, up to what all members share.
    log_likelihood: f64,
}

/// The ensemble, fitted.
#[derive(Clone, Debug)]
pub(crate) struct PowerLaws {
    last: f64,
    noise: f64,
    members: [Member; MEMBERS],
}

fn invert(m: &Symmetric) -> (Symmetric, f64) {
    let det = m[0] * m[2] - m[1] * m[1];
    ([m[2] / det, -m[1] / det, m[0] / det], det)
}

fn times(m: &Symmetric, v: Pair) -> Pair {
    [m[0] * v[0] + m[1] * v[1], m[1] * v[0] + m[2] * v[1]]
}

impl PowerLaws {
    /// Fits the ensemble to curves of `(step, score)`; larger scores are better, of the order of 1.
    pub(crate) fn fit(max_steps: u64, curves: &[Vec<(u64, f64)>]) -> Self {
        let (mean, covariance) = ([0.5, 1.0], [0.5, 0.0, 1.0]);
        let (precision, det) = invert(&covariance);
        let start = Member { share: 1.0 / MEMBERS as f64, mean, precision, log_det: -det.ln() };
        let mut model = PowerLaws { last: max_steps.max(2) as f64, noise: 0.02, members: [start; MEMBERS] };
        let moments: Vec<[Moments; MEMBERS]> = curves.iter().map(|curve| model.moments(curve)).collect();
        let points: f64 = moments.iter().map(|m| m[0].n).sum();
        for _ in 0..ROUNDS {
            let mut count = [PRIOR_TRIALS; MEMBERS];
            let mut sum = [mean.map(|m| PRIOR_TRIALS * m); MEMBERS];
            let mut squares = [covariance.map(|c| PRIOR_TRIALS * c); MEMBERS];
            let mut residual = PRIOR_POINTS * 0.02;
            for s in &mut squares {
                add_outer(s, mean, PRIOR_TRIALS);
            }
            for of in &moments {
                let posteriors = model.posteriors(of);
                let weights = weights(&model.members, &posteriors);
                for k in 0..MEMBERS {
                    let (w, p, m) = (weights[k], &posteriors[k], &of[k]);
                    count[k] += w;
                    for i in 0..2 {
                        sum[k][i] += w * p.mean[i];
                    }
                    for i in 0..3 {
                        squares[k][i] += w * p.covariance[i];
                    }
                    add_outer(&mut squares[k], p.mean, w);
                    let [a, b] = p.mean;
                    let misfit =
                        m.yy - 2.0 * (a * m.y - b * m.uy) + a * a * m.n - 2.0 * a * b * m.u + b * b * m.uu;
                    let spread = p.covariance[0] * m.n - 2.0 * p.covariance[1] * m.u + p.covariance[2] * m.uu;
                    residual += w * (misfit + spread).max(0.0);
                }
            }
            let all: f64 = count.iter().sum();
            for k in 0..MEMBERS {
                let mean = sum[k].map(|s| s / count[k]);
                let mut covariance = squares[k].map(|s| s / count[k]);
                add_outer(&mut covariance, mean, -1.0);
                covariance[0] = covariance[0].max(1e-6);
                covariance[2] = covariance[2].max(1e-6);
                let bound = 0.98 * (covariance[0] * covariance[2]).sqrt();
                covariance[1] = covariance[1].clamp(-bound, bound);
                let (precision, det) = invert(&covariance);
                model.members[k] = Member { share: count[k] / all, mean, precision, log_det: -det.ln() };
            }
            model.noise = (residual / (PRIOR_POINTS + points)).max(1e-6);
        }
        model
    }

    fn u(&self, step: u64, exponent: f64) -> f64 {
        let end = self.last.powf(-exponent);
        ((step.max(1) as f64).powf(-exponent) - end) / (1.0 - end)
    }

    fn moments(&self, curve: &[(u64, f64)]) -> [Moments; MEMBERS] {
        let mut of = [Moments::default(); MEMBERS];
        let mut next = 0.0;
        for (i, &(step, y)) in curve.iter().enumerate() {
            if (step as f64) < next && i + 1 < curve.len() {
                continue;
            }
            next = step as f64 * THINNING;
            for (m, exponent) in of.iter_mut().zip(EXPONENTS) {
                let u = self.u(step, exponent);
                m.n += 1.0;
                m.u += u;
                m.uu += u * u;
                m.y += y;
                m.uy += u * y;
                m.yy += y * y;
            }
        }
        of
    }

    fn posteriors(&self, of: &[Moments; MEMBERS]) -> [Posterior; MEMBERS] {
        std::array::from_fn(|k| {
            let (member, m) = (&self.members[k], &of[k]);
            let inverse = 1.0 / self.noise;
            let precision = [
                member.precision[0] + inverse * m.n,
                member.precision[1] - inverse * m.u,
                member.precision[2] + inverse * m.uu,
            ];
            let prior = times(&member.precision, member.mean);
            let right = [prior[0] + inverse * m.y, prior[1] - inverse * m.uy];
            let (covariance, det) = invert(&precision);
            let mean = times(&covariance, right);
            // Of y under the member: -(y'y/s2 + m0'P0 m0 - m'P m)/2 + (ln det P0 - ln det P)/2, beside n ln(2 pi s2)/2.
            let square = inverse * m.yy + prior[0] * member.mean[0] + prior[1] * member.mean[1]
                - mean[0] * right[0]
                - mean[1] * right[1];
            Posterior { mean, covariance, log_likelihood: 0.5 * (member.log_det - det.ln() - square) }
        })
    }

    /// What a curve, given by its points so far, will be at `step`; an empty one is that of a new trial.
    pub(crate) fn forecast(&self, curve: &[(u64, f64)], step: u64) -> Forecast {
        let posteriors = self.posteriors(&self.moments(curve));
        let weights = weights(&self.members, &posteriors);
        Forecast(std::array::from_fn(|k| {
            let (p, u) = (&posteriors[k], self.u(step, EXPONENTS[k]));
            Component {
                weight: weights[k],
                mean: p.mean[0] - u * p.mean[1],
                variance: p.covariance[0] - 2.0 * u * p.covariance[1] + u * u * p.covariance[2],
            }
        }))
    }
}

/// The members' shares in the light of one curve.
fn weights(members: &[Member; MEMBERS], posteriors: &[Posterior; MEMBERS]) -> [f64; MEMBERS] {
    let logs: [f64; MEMBERS] = std::array::from_fn(|k| members[k].share.ln() + posteriors[k].log_likelihood);
    let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights = logs.map(|l| (l - top).exp());
    let all: f64 = weights.iter().sum();
    weights.map(|w| w / all)
}

fn add_outer(m: &mut Symmetric, v: Pair, weight: f64) {
    m[0] += weight * v[0] * v[0];
    m[1] += weight * v[0] * v[1];
    m[2] += weight * v[1] * v[1];
}

#[cfg(test)]
mod tests {
    use super::*;
    use danlu_rng::{Purpose, Stream};

    /// `a - b t^-c` at steps `1..=n`, with noise.
    fn curve(a: f64, b: f64, c: f64, n: u64, noise: f64, rng: &mut Stream) -> Vec<(u64, f64)> {
        let point =
            |t: u64, rng: &mut Stream| a - b * (t as f64).powf(-c) + noise * normal::quantile(rng.uniform());
        (1..=n).map(|t| (t, point(t, rng))).collect()
    }

    #[test]
    fn a_cut_curve_ends_where_its_power_law_says() {
        for c in [0.3, 0.5, 1.0] {
            let mut rng = Stream::new(1, Purpose::Other(0), 0, 0);
            let mut curves: Vec<_> = (0..24)
                .map(|i| {
                    let n = [2, 6, 18, 54][i % 4];
                    curve(0.04 * i as f64, 0.8 + 0.02 * i as f64, c, n, 0.005, &mut rng)
                })
                .collect();
            curves.push(curve(0.7, 1.1, c, 12, 0.005, &mut rng));
            let model = PowerLaws::fit(54, &curves);
            let end = model.forecast(&curves[24], 54);
            let truth = 0.7 - 1.1 * 54f64.powf(-c);
            assert!((end.mean() - truth).abs() < 0.06, "c {c}: {} for {truth}", end.mean());
            let z = (end.mean() - truth) / end.variance().sqrt();
            assert!(z.abs() < 3.0, "c {c}: {z} standard deviations off");
        }
    }

    #[test]
    fn forecasts_are_less_certain_the_further_they_reach_and_the_less_was_seen() {
        let mut rng = Stream::new(2, Purpose::Other(0), 0, 0);
        let curves: Vec<_> = (0..20)
            .map(|_| {
                let (a, b, c) = (rng.uniform(), 0.5 + rng.uniform(), 0.3 + rng.uniform());
                curve(a, b, c, 40, 0.01, &mut rng)
            })
            .collect();
        let model = PowerLaws::fit(40, &curves);
        let variance = |seen: usize, at: u64| model.forecast(&curves[3][..seen], at).variance();
        assert!(variance(4, 40) > variance(4, 8));
        assert!(variance(0, 40) > variance(2, 40) && variance(2, 40) > variance(20, 40));
        // Forecasts from a quarter of the curve hold what they say: about 95 in 100 within two standard deviations.
        let within = (0..20).filter(|&i| {
            let f = model.forecast(&curves[i][..10], 40);
            (f.mean() - curves[i][39].1).abs() < 2.0 * f.variance().sqrt() + 0.02
        });
        assert!(within.count() >= 17);
    }

    #[test]
    fn expected_improvement_is_that_of_the_normal_and_orders_the_hopeless() {
        // E max(x - 0, 0) of a standard normal is 1 / sqrt(2 pi).
        assert!((log_improvement(0.0) + 0.918_938_533_204_672_7).abs() < 1e-6);
        assert!((log_improvement(8.0) - 8f64.ln()).abs() < 1e-9);
        assert!((log_improvement(-5.0001) - log_improvement(-4.9999)).abs() < 0.01);
        assert!(log_improvement(-40.0) < log_improvement(-30.0));
    }
}
