//! A loss or gradient that is no finite number, and the steps before it.

use crate::finding::{Severity, short, two_digits};
use crate::history::{History, median};
use crate::rule::{Rule, Seen, Threshold};

/// Updates before the end in which the gradient is looked at.
const TAIL: usize = 50;
/// A gradient norm this many times its median began the divergence.
const JUMP: f64 = 3.0;

pub(crate) const DIVERGED: Rule = Rule {
    name: "diverged",
    title: "the training diverged",
    severity: Severity::Fault,
    source: "Deep Learning Tuning Playbook: lower the rate, warm up, then clip at the 90th percentile of the gradient norm",
    thresholds: &[
        Threshold { what: "a loss or gradient that is no finite number", value: 1.0 },
        Threshold { what: "times the median gradient norm where it began", value: JUMP },
    ],
    explains: &[
        "far_too_high_lr",
        "high_lr",
        "underfitting",
        "overfitting",
        "plateau",
        "too_short",
        "too_long",
        "no_decay",
        "dead_relus",
        "low_lr",
        "weight_decay_too_strong",
        "noisy_gradients",
        "batch_too_large",
        "label_noise",
        "validation_easier",
        "augmentation_breaks_label",
    ],
    check,
};

fn check(history: &History) -> Option<Seen> {
    let divergence = history.divergence.as_ref()?;
    let updates = &history.updates[..history.updates.len().min(divergence.iteration as usize)];
    let tail = &updates[updates.len().saturating_sub(TAIL)..];
    let calm = median(updates.iter().map(|update| update.grad_norm));
    let began = calm.and_then(|calm| tail.iter().position(|update| update.grad_norm > JUMP * calm));
    let mut evidence = format!(
        "{} at update {}, at a rate of {}",
        divergence.what,
        divergence.iteration + 1,
        short(divergence.lr)
    );
    if let Some(layer) = &divergence.layer {
        evidence += &format!("; first in the network: {layer}");
    }
    if let (Some(last), Some(calm)) = (updates.last(), calm) {
        evidence += &format!(
            "; the update before it had loss {} and gradient norm {} (median of the training {})",
            short(last.loss),
            short(last.grad_norm),
            short(calm)
        );
    }
    let place = updates.len() - began.map_or(0, |began| tail.len() - began);
    let mut seen = Seen::new(evidence)
        .at(history.epoch_of(place), if began.is_some() { "the gradient jumps" } else { "diverged" });
    let rate = divergence.lr.max(history.setting.number("optimizer.lr")) / 4.0;
    seen = if rate <= 1.0 {
        seen.propose(
            "optimizer.lr",
            two_digits(rate),
            "a quarter of the rate: one that diverges is several times too high",
        )
    } else {
        let prior = if history.setting.text("optimizer.name") == "sgd" { 0.01 } else { 0.001 };
        seen.propose(
            "optimizer.lr",
            prior,
            "the usual start where nothing is known (0.01 for SGD, 0.001 for Adam)",
        )
    };
    let mut norms: Vec<f64> =
        updates.iter().map(|update| update.grad_norm).filter(|norm| norm.is_finite()).collect();
    norms.sort_by(f64::total_cmp);
    if history.setting.get("train.clip_norm").is_none() && norms.len() >= 20 {
        let high = two_digits(norms[norms.len() * 9 / 10]);
        seen = seen.propose(
            "train.clip_norm",
            high,
            "the 90th percentile of the gradient norm: cuts the rare jump and leaves the rest",
        );
    }
    Some(seen)
}
