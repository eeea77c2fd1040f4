//! The batch size: too small for batch norm or for the gradient, too large for the data.

use crate::finding::{Severity, percent, short, two_digits};
use crate::history::{History, median};
use crate::rule::{Rule, Seen, Threshold};

/// Images that a batch norm needs at least.
const NORM_BATCH: f64 = 8.0;
/// A batch this small is always named.
const SURELY_TINY: usize = 4;
/// Times the batch that the gradient noise scale is, at least.
const NOISY: f64 = 10.0;
/// A batch of this size or more is not called noisy: the noise scale of any training grows late.
const NOISY_BATCH: usize = 16;
/// Times the noise scale that the batch is, at least.
const LARGE: f64 = 4.0;
/// Updates an epoch, at most, for a batch to be called large.
const FEW_UPDATES: usize = 12;
/// A batch below this is not called large: a small set has few updates an epoch whatever the batch.
const LARGE_BATCH: usize = 128;

const MCCANDLISH: &str =
    "McCandlish et al. 2018, arXiv 1812.06162: the useful batch is about the gradient noise scale";

pub(crate) const TINY_NORM_BATCH: Rule = Rule {
    name: "tiny_norm_batch",
    title: "batch norm sees too few images: its statistics are noise",
    severity: Severity::Fault,
    source: "Wu and He 2018, arXiv 1803.08494, figure 1: the error of batch norm grows below 8 to 16 images",
    thresholds: &[
        Threshold { what: "images that a batch norm sees, below", value: NORM_BATCH },
        Threshold { what: "images at which it is always named, at most", value: SURELY_TINY as f64 },
    ],
    explains: &[
        "noisy_gradients",
        "validation_easier",
        "no_decay",
        "underfitting",
        "plateau",
        "high_lr",
        "too_short",
    ],
    check: tiny_norm_batch,
};

pub(crate) const NOISY_GRADIENTS: Rule = Rule {
    name: "noisy_gradients",
    title: "the gradients are noisy: the batch is too small",
    severity: Severity::Advice,
    source: MCCANDLISH,
    thresholds: &[
        Threshold { what: "noise scale over the batch size, at least", value: NOISY },
        Threshold { what: "batch size, below", value: NOISY_BATCH as f64 },
    ],
    explains: &["no_decay", "plateau", "high_lr"],
    check: noisy_gradients,
};

pub(crate) const TOO_LARGE: Rule = Rule {
    name: "batch_too_large",
    title: "the batch is too large for these data: few updates, and none learns more for it",
    severity: Severity::Advice,
    source: "Keskar et al. 2017, arXiv 1609.04836 (generalisation gap); Hoffer et al. 2017, arXiv 1705.08741 (too few updates)",
    thresholds: &[
        Threshold { what: "batch size over the noise scale, at least", value: LARGE },
        Threshold { what: "updates an epoch, at most", value: FEW_UPDATES as f64 },
        Threshold { what: "batch size, at least", value: LARGE_BATCH as f64 },
    ],
    explains: &["too_short", "underfitting", "plateau", "no_decay"],
    check: too_large,
};

fn tiny_norm_batch(history: &History) -> Option<Seen> {
    let images = history.setting.norm_batch.filter(|images| (*images as f64) < NORM_BATCH)?;
    let losses: Vec<f64> = history.epochs.iter().map(|epoch| epoch.val_loss).collect();
    let jumps = median(losses.windows(2).map(|pair| (pair[1] / pair[0].max(1e-9) - 1.0).abs()));
    if images > SURELY_TINY && jumps.is_none_or(|jump| jump < 0.1) {
        return None;
    }
    let mut evidence = format!("{images} images a batch");
    if let Some(jump) = jumps {
        evidence += &format!("; the validation loss jumps by {} from epoch to epoch", percent(jump));
    }
    let lr = history.setting.number("optimizer.lr");
    let seen = Seen::new(evidence).propose(
        "train.batch_size",
        32,
        "enough images for the mean and variance of a channel",
    );
    Some(if lr > 0.0 {
        let factor = if history.setting.text("optimizer.name") == "sgd" {
            32.0 / images as f64
        } else {
            (32.0 / images as f64).sqrt()
        };
        seen.propose("optimizer.lr", two_digits(lr * factor), "the rate for the larger batch")
    } else {
        seen
    })
}

fn noisy_gradients(history: &History) -> Option<Seen> {
    let batch = history.setting.batch_size;
    let noise = history.noise_scale()?;
    if batch >= NOISY_BATCH || noise < NOISY * batch as f64 {
        return None;
    }
    // Up to four times a step: the noise scale is an estimate.
    let better = ((noise / 2.0).min(8.0 * batch as f64).max(16.0) as usize).next_power_of_two().min(128);
    let evidence = format!("the gradient noise scale is {} images and a batch has {batch}", short(noise));
    let lr = history.setting.number("optimizer.lr");
    let ratio = better as f64 / batch as f64;
    let scaled = if history.setting.text("optimizer.name") == "sgd" { lr * ratio } else { lr * ratio.sqrt() };
    Some(
        Seen::new(evidence)
            .propose(
                "train.batch_size",
                better,
                "nearer to the noise scale: as many images teach as much, faster",
            )
            .propose("optimizer.lr", two_digits(scaled), "the rate for the larger batch"),
    )
}

fn too_large(history: &History) -> Option<Seen> {
    let batch = history.setting.batch_size;
    let per_epoch = history.setting.iterations_per_epoch;
    if per_epoch == 0 || per_epoch > FEW_UPDATES || batch < LARGE_BATCH || history.epochs.len() < 2 {
        return None;
    }
    let noise = history.noise_scale();
    let all = batch >= history.setting.train_samples.max(1);
    if !all && noise.is_some_and(|noise| (batch as f64) < LARGE * noise) {
        return None;
    }
    let left = history.left().unwrap_or(0.0);
    if left < 0.15 && history.gap().is_none_or(|gap| gap < 0.03) {
        return None;
    }
    let mut evidence = format!("{per_epoch} updates an epoch of {batch} images");
    if let Some(noise) = noise {
        evidence += &format!("; the gradient noise scale is {} images", short(noise));
    }
    evidence += &format!("; {} of what there was to learn is left", percent(left));
    let better = (history.setting.train_samples / 40).clamp(16, 128).next_power_of_two().min(128);
    let lr = history.setting.number("optimizer.lr");
    let seen = Seen::new(evidence).propose("train.batch_size", better, "at least some 20 updates an epoch");
    Some(if lr > 0.0 && history.setting.text("optimizer.name") == "sgd" && lr > 0.1 {
        seen.propose(
            "optimizer.lr",
            two_digits((lr * better as f64 / batch as f64).max(0.01)),
            "in proportion to the batch",
        )
    } else {
        seen
    })
}
