//! How long the training was.

use crate::finding::{Severity, percent, short};
use crate::history::History;
use crate::rule::{Rule, Seen, Threshold};

/// The best epoch lies in this first part of the training.
const EARLY: f64 = 0.1;
/// ... or in this last part.
const LATE: f64 = 0.75;
/// Epochs from which on a training can be called too long.
const LONG: usize = 10;
/// Gain in validation accuracy over the last quarter.
const GAIN: f64 = 0.03;
/// Times that gain where the rate has fallen below a tenth of its peak by the end.
const FALLEN: f64 = 3.0;
/// Training above validation accuracy of a network that could go on learning, at most.
const ROOM_GAP: f64 = 0.02;

const PLAYBOOK: &str = "Deep Learning Tuning Playbook: best step in the first 10 %: far too long; in the last 25 %: longer may help";

pub(crate) const TOO_LONG: Rule = Rule {
    name: "too_long",
    title: "the training is far too long: the best epoch came at the very beginning",
    severity: Severity::Advice,
    source: PLAYBOOK,
    thresholds: &[
        Threshold { what: "best epoch over all epochs, at most", value: EARLY },
        Threshold { what: "epochs, at least", value: LONG as f64 },
    ],
    explains: &["too_short"],
    check: too_long,
};

pub(crate) const TOO_SHORT: Rule = Rule {
    name: "too_short",
    title: "the training is too short: it was still improving when it ended",
    severity: Severity::Advice,
    source: PLAYBOOK,
    thresholds: &[
        Threshold { what: "best epoch over all epochs, at least", value: LATE },
        Threshold { what: "gain in validation accuracy over the last quarter, at least", value: GAIN },
        Threshold { what: "times that where the rate has fallen to a tenth, at least", value: FALLEN },
        Threshold { what: "training above validation accuracy, at most", value: ROOM_GAP },
    ],
    explains: &["no_decay"],
    check: too_short,
};

fn too_long(history: &History) -> Option<Seen> {
    let count = history.epochs.len();
    let (best, top1) = history.best()?;
    if count < LONG || best as f64 > (EARLY * count as f64).max(1.0) || history.is_blind() {
        return None;
    }
    let evidence = format!(
        "validation accuracy was best in epoch {best} of {count} ({}); it ended at {}",
        percent(top1),
        percent(history.epochs[count - 1].val_top1)
    );
    Some(Seen::new(evidence).at(best as f64, "best").propose(
        "train.epochs",
        (3 * best).max(3),
        "three times as far as the best epoch leaves room for a falling rate",
    ))
}

fn too_short(history: &History) -> Option<Seen> {
    let count = history.epochs.len();
    let (best, top1) = history.best()?;
    if !history.finished || count < 3 || (best as f64) < LATE * count as f64 || history.is_blind() {
        return None;
    }
    if history.gap().is_some_and(|gap| gap > ROOM_GAP) {
        return None;
    }
    let quarter = (count / 4).max(1);
    let before = history.epochs[..count - quarter].iter().map(|epoch| epoch.val_top1).fold(0.0, f64::max);
    // A rate that falls to zero lifts the last epochs by itself: much more must be gained than that to say so.
    let peak = history.peak_rate();
    let falls = history.epochs[count - 1].lr < 0.1 * peak;
    let gain = top1 - before;
    if gain < if falls { FALLEN * GAIN } else { GAIN } {
        return None;
    }
    let evidence = format!(
        "validation accuracy rose by {} points over the last {quarter} of {count} epochs, to {}",
        short(100.0 * gain),
        percent(top1)
    );
    Some(Seen::new(evidence).at(count as f64, "still rising").propose(
        "train.epochs",
        2 * count,
        "twice as long, with the schedule stretched over it",
    ))
}
