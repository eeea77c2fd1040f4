//! MixUp and CutMix: images and labels of a batch mixed in pairs.

use danlu_rng::{Purpose, Stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::probability;
use crate::DataError;

/// How the images of a batch are mixed, after they have been normalised.
///
/// `x'[i] = mix(x[i], x[partner[i]])` and the target is `lambda * y[i] + (1 - lambda) * y[partner[i]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct MixPlan {
    /// The place in the batch of the image that each one is mixed with, `[N]`.
    pub partner: Vec<u32>,
    /// Weight of the image's own label, 0 to 1; with CutMix the share of the area that is the image's own.
    pub lambda: f32,
    /// `None`: MixUp, `x' = lambda * x[i] + (1 - lambda) * x[partner[i]]`. `Some([y0, x0, y1, x1])`: CutMix, the rows
    /// `y0..y1` and columns `x0..x1` come from the partner.
    pub cut: Option<[usize; 4]>,
}

/// Blends pairs of images and their labels (MixUp, arXiv 1710.09412).
///
/// Tier 2 (to be considered). Risk: soft targets make the training loss high and the confidence low; short trainings and
/// small networks may lose by it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MixUp {
    /// Probability that a batch is mixed, 0 to 1. Default 1. With CutMix on too, the two share a batch's draw: the sum of
    /// both is at most 1.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub p: f64,
    /// Both parameters of the Beta distribution of lambda, above 0 to 10. Default 0.2, the paper's for ImageNet.
    #[schemars(range(min = 0.0, max = 10.0))]
    pub alpha: f64,
}

impl Default for MixUp {
    fn default() -> Self {
        MixUp { p: 1.0, alpha: 0.2 }
    }
}

/// Replaces a rectangle of each image by its partner's (CutMix, arXiv 1905.04899).
///
/// Tier 2 (to be considered). Risk: as MixUp; and the label follows the area even where the object was not in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CutMix {
    /// Probability that a batch is mixed, 0 to 1. Default 1; see MixUp.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub p: f64,
    /// Both parameters of the Beta distribution of lambda, above 0 to 10. Default 1 (uniform), as the paper.
    #[schemars(range(min = 0.0, max = 10.0))]
    pub alpha: f64,
}

impl Default for CutMix {
    fn default() -> Self {
        CutMix { p: 1.0, alpha: 1.0 }
    }
}

/// Checks both and their sum.
pub(super) fn validate(mixup: Option<&MixUp>, cutmix: Option<&CutMix>) -> Result<(), DataError> {
    let (mut sum, mut key) = (0.0, "");
    let both = [
        ("augment.mixup.p", "augment.mixup.alpha", mixup.map(|m| (m.p, m.alpha))),
        ("augment.cutmix.p", "augment.cutmix.alpha", cutmix.map(|m| (m.p, m.alpha))),
    ];
    for (p_key, alpha_key, values) in both {
        let Some((p, alpha)) = values else { continue };
        probability(p_key, p)?;
        if !(alpha > 0.0 && alpha <= 10.0) {
            return Err(DataError::config(
                alpha_key,
                alpha,
                "above 0 to 10 (a parameter of a Beta distribution)",
            ));
        }
        sum += p;
        key = p_key;
    }
    if sum > 1.0 + 1e-9 {
        let expected =
            "with `augment.mixup.p` at most 1 together (a batch is mixed in one way); 0.5 each is usual";
        return Err(DataError::config(key, sum, expected));
    }
    Ok(())
}

/// Draws the plan of a batch; `None` where it is not mixed. Partners are a rotation of the (shuffled) batch, so every image
/// is a partner once and none its own.
pub(super) fn draw(
    mixup: Option<&MixUp>,
    cutmix: Option<&CutMix>,
    seed: u64,
    epoch: u64,
    batch: u64,
    [n, h, w]: [usize; 3],
) -> Option<MixPlan> {
    if (mixup.is_none() && cutmix.is_none()) || n < 2 {
        return None;
    }
    let mut stream = Stream::new(seed, Purpose::Mix, epoch, batch);
    let draw = stream.uniform();
    let mixup_p = mixup.map_or(0.0, |m| m.p);
    let by = 1 + stream.below(n as u64 - 1) as usize;
    let partner = (0..n).map(|i| ((i + by) % n) as u32).collect();
    if let Some(mixup) = mixup.filter(|_| draw < mixup_p) {
        return Some(MixPlan { partner, lambda: beta(mixup.alpha, &mut stream) as f32, cut: None });
    }
    let cutmix = cutmix.filter(|m| draw < mixup_p + m.p)?;
    // torchvision: the box of half-sides 0.5 * sqrt(1 - lambda) about a uniform centre, clipped; lambda from its area.
    let half = 0.5 * (1.0 - beta(cutmix.alpha, &mut stream)).sqrt();
    let (cy, cx) = (stream.below(h as u64) as f64, stream.below(w as u64) as f64);
    let (dy, dx) = ((half * h as f64).floor(), (half * w as f64).floor());
    let clip = |v: f64, n: usize| v.clamp(0.0, n as f64) as usize;
    let cut = [clip(cy - dy, h), clip(cx - dx, w), clip(cy + dy, h), clip(cx + dx, w)];
    let area = (cut[2] - cut[0]) * (cut[3] - cut[1]);
    Some(MixPlan { partner, lambda: 1.0 - area as f32 / (h * w) as f32, cut: Some(cut) })
}

/// Beta(alpha, alpha) as a ratio of Gamma draws.
fn beta(alpha: f64, stream: &mut Stream) -> f64 {
    let (a, b) = (log_gamma_draw(alpha, stream), log_gamma_draw(alpha, stream));
    // In logarithms: with a small alpha both draws may be below the smallest number.
    1.0 / (1.0 + (b - a).exp())
}

/// Dirichlet(alpha, .., alpha) of `n` weights that sum to 1.
pub(super) fn dirichlet(alpha: f64, n: usize, stream: &mut Stream) -> Vec<f64> {
    let logs: Vec<f64> = (0..n).map(|_| log_gamma_draw(alpha, stream)).collect();
    let largest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let parts: Vec<f64> = logs.iter().map(|log| (log - largest).exp()).collect();
    let sum: f64 = parts.iter().sum();
    parts.into_iter().map(|part| part / sum).collect()
}

/// The logarithm of a Gamma(alpha, 1) draw (Marsaglia and Tsang 2000; below 1 by their power of a uniform).
fn log_gamma_draw(alpha: f64, stream: &mut Stream) -> f64 {
    let boost = if alpha < 1.0 { (1.0 - stream.uniform()).ln() / alpha } else { 0.0 };
    let d = if alpha < 1.0 { alpha + 1.0 } else { alpha } - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = stream.normal();
        let v = (1.0 + c * x).powi(3);
        let u = 1.0 - stream.uniform();
        if v > 0.0 && u.ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return (d * v).ln() + boost;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beta_draws_have_the_distributions_mean_and_variance() {
        for alpha in [0.2, 1.0, 3.0] {
            let mut stream = Stream::new(1, Purpose::Mix, 0, 0);
            let draws: Vec<f64> = (0..40_000).map(|_| beta(alpha, &mut stream)).collect();
            let mean = draws.iter().sum::<f64>() / draws.len() as f64;
            let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / draws.len() as f64;
            let expected = 1.0 / (4.0 * (2.0 * alpha + 1.0));
            assert!((mean - 0.5).abs() < 0.01, "{alpha}: {mean}");
            assert!((variance / expected - 1.0).abs() < 0.03, "{alpha}: {variance} and {expected}");
        }
    }

    #[test]
    fn lambda_of_cutmix_is_the_share_of_the_area_that_stays() {
        let cutmix = CutMix::default();
        for batch in 0..200 {
            let plan = draw(None, Some(&cutmix), 3, 1, batch, [8, 20, 30]).unwrap();
            let [y0, x0, y1, x1] = plan.cut.unwrap();
            assert!(y0 <= y1 && y1 <= 20 && x0 <= x1 && x1 <= 30);
            assert!((plan.lambda - (1.0 - ((y1 - y0) * (x1 - x0)) as f32 / 600.0)).abs() < 1e-6);
            let mut partners = plan.partner.clone();
            assert!(partners.iter().enumerate().all(|(i, &p)| p as usize != i));
            partners.sort_unstable();
            assert_eq!(partners, (0..8).collect::<Vec<_>>());
        }
    }
}
