//! How well the network fits: too well, too little, held down by weight decay.

use crate::finding::{Severity, percent, short, two_digits};
use crate::history::{History, median};
use crate::rule::{Rule, Seen, Threshold};

/// Times its minimum that the validation loss ends at.
const RISEN: f64 = 1.12;
/// Times its minimum that the validation loss stays above in each of the last three epochs.
const BACK: f64 = 1.03;
/// Training accuracy above validation accuracy.
const OVERFIT_GAP: f64 = 0.05;
/// Training accuracy above validation accuracy that is overfitting even where the validation loss only stands still.
const WIDE_GAP: f64 = 0.15;
/// Fall of the validation loss over the last third, as a share, that is no progress.
const STILL: f64 = 0.03;
/// Share of what there was to learn that is left.
const UNDERFIT_LEFT: f64 = 0.35;
/// Training above validation accuracy of a network that fits neither, at most.
const UNDERFIT_GAP: f64 = 0.03;
/// Fall of the training loss over the last third of the epochs, as a share, at most.
const FLAT: f64 = 0.08;
/// The same over the middle third, while the rate is not yet low: the end of a schedule is flat for any network.
const STALLED: f64 = 0.16;
/// Share of the norm that a weight keeps, at most.
const SHRUNK: f64 = 0.35;
/// Rate times weight decay times updates: how often the weights were halved by decay alone, at least (natural log).
const DECAYED: f64 = 1.0;
/// Share of what there was to learn that is left under it.
const DECAY_LEFT: f64 = 0.12;

pub(crate) const WEIGHT_DECAY: Rule = Rule {
    name: "weight_decay_too_strong",
    title: "the weight decay is too strong: the weights shrink faster than they learn",
    severity: Severity::Fault,
    source: "Krogh and Hertz 1991; van Laarhoven 2017, arXiv 1706.05350 (what it does under batch norm)",
    thresholds: &[
        Threshold {
            what: "median norm of a weight at the end over that at the start, at most",
            value: SHRUNK,
        },
        Threshold { what: "sum of rate times weight decay over the updates, at least", value: DECAYED },
        Threshold { what: "share of what there was to learn that is left, at least", value: DECAY_LEFT },
    ],
    explains: &[
        "underfitting",
        "plateau",
        "high_lr",
        "no_decay",
        "too_short",
        "noisy_gradients",
        "too_long",
        "validation_easier",
    ],
    check: weight_decay,
};

pub(crate) const OVERFITTING: Rule = Rule {
    name: "overfitting",
    title: "the network overfits: training goes on improving while validation gets worse",
    severity: Severity::Fault,
    source: "the article: validation error rising while training error falls; Deep Learning Tuning Playbook: regularise",
    thresholds: &[
        Threshold { what: "validation loss at the end over its minimum, at least", value: RISEN },
        Threshold { what: "training above validation accuracy, at least", value: OVERFIT_GAP },
        Threshold { what: "the same where the validation loss only stands still, at least", value: WIDE_GAP },
        Threshold { what: "fall of the validation loss over the last third, at most", value: STILL },
    ],
    explains: &["too_long", "no_decay", "plateau"],
    check: overfitting,
};

pub(crate) const UNDERFITTING: Rule = Rule {
    name: "underfitting",
    title: "the network underfits: neither training nor validation is good, and neither improves",
    severity: Severity::Fault,
    source: "the article: training and validation error both high; the network is too small or held down",
    thresholds: &[
        Threshold { what: "share of what there was to learn that is left, at least", value: UNDERFIT_LEFT },
        Threshold { what: "training above validation accuracy, at most", value: UNDERFIT_GAP },
        Threshold { what: "fall of the training loss over the last third, at most", value: FLAT },
        Threshold { what: "the same over the middle third, at most", value: STALLED },
    ],
    explains: &["too_short", "too_long", "no_decay"],
    check: underfitting,
};

fn weight_decay(history: &History) -> Option<Seen> {
    let decay = history.setting.number("optimizer.weight_decay");
    let pulled: f64 = decay * history.updates.iter().map(|update| update.lr).sum::<f64>();
    if decay <= 0.0 || history.left()? < DECAY_LEFT {
        return None;
    }
    let kept = crate::rate::growth(history)?;
    if kept > SHRUNK || pulled < DECAYED {
        return None;
    }
    let evidence = format!(
        "the weights ended at {} of their initial norm, {} of what there was to learn is left; the decay alone halves them {} times in this training",
        percent(kept),
        percent(history.left()?),
        short(pulled / std::f64::consts::LN_2)
    );
    Some(Seen::new(evidence).propose(
        "optimizer.weight_decay",
        two_digits((decay / (10.0 * pulled / DECAYED)).min(decay / 10.0)),
        "the weights may grow where the data ask for it",
    ))
}

fn overfitting(history: &History) -> Option<Seen> {
    let epochs = &history.epochs;
    let last = epochs.last()?;
    let (at, lowest) = epochs
        .iter()
        .enumerate()
        .min_by(|a, b| a.1.val_loss.total_cmp(&b.1.val_loss))
        .map(|(at, epoch)| (at, epoch.val_loss))?;
    let (start, gap) = (&epochs[at], history.gap()?);
    // The middle of the last three: one bad epoch is no trend.
    let tail = &epochs[epochs.len().saturating_sub(3)..];
    let ended = median(tail.iter().map(|epoch| epoch.val_loss))?;
    // At a high rate the validation loss jumps up and down: a trend takes longer to show, and comes back in none of three epochs.
    let back = tail.iter().any(|epoch| epoch.val_loss < BACK * lowest);
    let wait = if last.lr >= 0.5 * history.peak_rate() { 5 } else { 2 };
    let rises = at + wait < epochs.len() && !back && ended >= RISEN * lowest && gap >= OVERFIT_GAP;
    let third = epochs.len() - epochs.len() / 3;
    let before = epochs[..third].iter().map(|epoch| epoch.val_loss).fold(f64::INFINITY, f64::min);
    let stands = epochs.len() >= 6 && gap >= WIDE_GAP && lowest > (1.0 - STILL) * before;
    if !(rises || stands) || last.train_loss > start.train_loss {
        return None;
    }
    // Where it only stands still, the first epoch that was as good as the best.
    let (at, start) = if rises {
        (at, start)
    } else {
        let at = epochs.iter().position(|epoch| epoch.val_loss < lowest * (1.0 + STILL))?;
        (at, &epochs[at])
    };
    let evidence = format!(
        "the validation loss went from {} in epoch {} to {} while the training loss fell from {} to {}; training accuracy {}, validation {}",
        short(lowest),
        at + 1,
        short(ended),
        short(start.train_loss),
        short(last.train_loss),
        percent(last.train_top1.unwrap_or(f64::NAN)),
        percent(last.val_top1)
    );
    let setting = &history.setting;
    let mut seen = Seen::new(evidence).at((at + 1) as f64, "overfitting starts");
    if setting.augmentations.is_empty() {
        seen = seen.propose(
            "augment.random_crop.padding",
            2,
            "shifted images are new images: the strongest cure",
        );
    }
    let decay = setting.number("optimizer.weight_decay");
    if decay < 5e-4 {
        seen = seen.propose("optimizer.weight_decay", 5e-4, "the usual strength for convolutional networks");
    }
    if setting.number("loss.label_smoothing") == 0.0 && setting.text("loss.name") == "cross_entropy" {
        seen = seen.propose(
            "loss.label_smoothing",
            0.1,
            "keeps the network from being too sure of what it has seen",
        );
    }
    if setting.get("train.early_stopping").is_none() {
        seen = seen.propose(
            "train.epochs",
            (at + 1 + (at + 1) / 4).max(2),
            format!("the validation loss was lowest in epoch {}", at + 1),
        );
    }
    Some(seen)
}

fn underfitting(history: &History) -> Option<Seen> {
    let left = history.left()?;
    let epochs = &history.epochs;
    let last = epochs.last()?;
    if left < UNDERFIT_LEFT || history.gap()? > UNDERFIT_GAP || epochs.len() < 6 || history.is_blind() {
        return None;
    }
    let third = epochs.len() / 3;
    let above = |epoch: usize| (epochs[epoch].train_loss - history.floor()).max(1e-9);
    let (middle, late, end) = (epochs.len() - 1 - 2 * third, epochs.len() - 1 - third, epochs.len() - 1);
    let fall = 1.0 - above(end) / above(late);
    if fall > FLAT || 1.0 - above(late) / above(middle) > STALLED {
        return None;
    }
    let evidence = format!(
        "training accuracy {}, validation {}; {} of what there was to learn is left and the loss fell by only {} over the last third",
        percent(last.train_top1.unwrap_or(f64::NAN)),
        percent(last.val_top1),
        percent(left),
        percent(fall.max(0.0))
    );
    let width = history.setting.number("network.width");
    let mut seen = Seen::new(evidence);
    if width > 0.0 {
        seen = seen.propose(
            "network.width",
            (2.0 * width) as u64,
            "twice the channels: the network is too small for these data",
        );
    }
    if history.setting.number("network.dropout") > 0.0 {
        seen = seen.propose(
            "network.dropout",
            0.0,
            "a network that does not fit needs nothing that holds it down",
        );
    }
    Some(seen.advise("a larger or deeper network; a larger image size where detail is lost"))
}
