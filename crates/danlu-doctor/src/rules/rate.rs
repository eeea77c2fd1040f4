//! The learning rate: far too high, too low, high.

use crate::finding::{Severity, percent, short, two_digits};
use crate::history::History;
use crate::rate::{
    FAR_RATIO, GROWN, HIGH_DROP, HIGH_RATIO, LOW_LEFT, LOW_RATIO, NOTHING_LEARNED, SPIKE, THROWN,
    is_far_too_high, is_high, is_too_low,
};
use crate::rule::{Rule, Seen, Threshold};

const FIGURE: &str = "the article's figure of loss curves (CS231n, \"Babysitting the learning process\"): an update should be about a thousandth of its weight";

pub(crate) const FAR_TOO_HIGH: Rule = Rule {
    name: "far_too_high_lr",
    title: "the learning rate is far too high: the loss rises and does not come back",
    severity: Severity::Fault,
    source: FIGURE,
    thresholds: &[
        Threshold { what: "times the loss of guessing, reached by the training loss", value: SPIKE },
        Threshold { what: "or median update as a share of its weight", value: FAR_RATIO },
        Threshold { what: "or the same of the first update", value: THROWN },
        Threshold {
            what: "and share of what there was to learn that is left as long as the rate is high",
            value: NOTHING_LEARNED,
        },
    ],
    explains: &[
        "dead_relus",
        "high_lr",
        "low_lr",
        "underfitting",
        "overfitting",
        "plateau",
        "too_short",
        "too_long",
        "no_decay",
        "weight_decay_too_strong",
        "noisy_gradients",
        "batch_too_large",
        "label_noise",
        "imbalance",
        "validation_easier",
        "augmentation_breaks_label",
        "tiny_norm_batch",
        "dies_at_first_decay",
    ],
    check: far_too_high,
};

pub(crate) const TOO_LOW: Rule = Rule {
    name: "low_lr",
    title: "the learning rate is too low: the loss still falls, slowly, at the end",
    severity: Severity::Fault,
    source: FIGURE,
    thresholds: &[
        Threshold { what: "median update as a share of its weight, at most", value: LOW_RATIO },
        Threshold { what: "share of what there was to learn that is left, at least", value: LOW_LEFT },
    ],
    explains: &[
        "underfitting",
        "plateau",
        "too_short",
        "too_long",
        "no_decay",
        "noisy_gradients",
        "batch_too_large",
        "weight_decay_too_strong",
        "validation_easier",
        "label_noise",
    ],
    check: too_low,
};

pub(crate) const HIGH: Rule = Rule {
    name: "high_lr",
    title: "the learning rate is high: the loss stays up until the rate falls",
    severity: Severity::Advice,
    source: FIGURE,
    thresholds: &[
        Threshold { what: "median update as a share of its weight, at least", value: HIGH_RATIO },
        Threshold { what: "or times its initial norm that the median weight grows to", value: GROWN },
        Threshold { what: "share of the loss that goes when the rate falls, at least", value: HIGH_DROP },
        Threshold { what: "or times the loss of guessing that a validation jumps to before", value: SPIKE },
    ],
    explains: &["underfitting", "plateau", "no_decay", "validation_easier", "too_short"],
    check: high,
};

fn far_too_high(history: &History) -> Option<Seen> {
    if history.divergence.is_some() || !is_far_too_high(history) {
        return None;
    }
    let losses = history.updates.iter().map(|update| update.loss).filter(|loss| loss.is_finite());
    let (at, highest) = losses
        .enumerate()
        .fold((0, 0.0), |best, (update, loss)| if loss > best.1 { (update, loss) } else { best });
    let rate = history.setting.number("optimizer.lr").max(history.peak_rate());
    let mut evidence = format!(
        "the training loss reached {} ({} is guessing) and ended at {}",
        short(highest),
        short(history.blind_loss()),
        short(history.epochs.last().map_or(f64::NAN, |last| last.train_loss))
    );
    if let Some(ratio) = history.update_ratio() {
        evidence += &format!("; an update moved a weight by {} of its norm", percent(ratio));
    }
    let seen = Seen::new(evidence).at(history.epoch_of(at + 1), "highest loss");
    Some(seen.propose(
        "optimizer.lr",
        two_digits(rate / 10.0),
        "a tenth: a rate that throws the weights away is an order of magnitude too high; `danlu find lr` measures it",
    ))
}

fn too_low(history: &History) -> Option<Seen> {
    let (ratio, left) = is_too_low(history)?;
    let rate = history.setting.number("optimizer.lr").max(history.peak_rate());
    // An update of about a thousandth of the weight is aimed at; a hundred times in one go is the most.
    let factor = ratio.map_or(10.0, |ratio| (2e-3 / ratio.max(1e-12)).clamp(3.0, 100.0));
    let mut evidence =
        format!("{} of what there was to learn is left and the loss was still falling", percent(left));
    if let Some(ratio) = ratio {
        evidence += &format!("; an update moved a weight by {} of its norm (1e-3 is usual)", short(ratio));
    }
    let epochs = history.epochs.len() as f64;
    Some(Seen::new(evidence).at(epochs, "still falling").propose(
        "optimizer.lr",
        two_digits(rate * factor),
        format!(
            "{} times: brings an update to about a thousandth of its weight; `danlu find lr` measures it",
            short(factor.round())
        ),
    ))
}

fn high(history: &History) -> Option<Seen> {
    let (epoch, dropped, ratio) = is_high(history)?;
    let rate = history.setting.number("optimizer.lr").max(history.peak_rate());
    let mut evidence = if dropped > 0.0 {
        format!(
            "{} of the loss above its floor went after epoch {epoch}, when the rate fell",
            percent(dropped)
        )
    } else {
        "the loss stays high and the rate never falls".to_owned()
    };
    if let Some(ratio) = ratio {
        evidence += &format!("; an update moved a weight by {} of its norm (1e-3 is usual)", percent(ratio));
    }
    Some(Seen::new(evidence).at(epoch as f64, "the rate falls").propose(
        "optimizer.lr",
        two_digits(rate / 3.0),
        "a third: reaches the low level earlier, and more of the training is spent there",
    ))
}
