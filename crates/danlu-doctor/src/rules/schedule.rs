//! The schedule of the learning rate: dying at the first decay, a plateau, no decay at all.

use crate::finding::{Severity, percent, short};
use crate::history::History;
use crate::rule::{Rule, Seen, Threshold};

/// A rate this many times lower than in the epoch before has fallen in a step.
const STEP: f64 = 4.0;
/// Fall of the training loss an epoch before the step, at least.
const ALIVE: f64 = 0.025;
/// Share of that fall that is left after it, at most.
const DYING: f64 = 0.25;
/// Share of what there was to learn that is left.
const DYING_LEFT: f64 = 0.12;
/// Epochs of a plateau at least, and the share of all epochs.
const PLATEAU_EPOCHS: usize = 5;
const PLATEAU_SHARE: f64 = 0.25;
/// Fall of the training loss above its floor in a plateau, in all.
const PLATEAU_FALL: f64 = 0.05;
/// The lowest rate over the highest of a training without decay.
const NO_FALL: f64 = 0.6;
/// Epochs from which on a decay pays.
const DECAY_EPOCHS: usize = 4;

pub(crate) const DIES_AT_FIRST_DECAY: Rule = Rule {
    name: "dies_at_first_decay",
    title: "the learning rate falls too early: learning dies at the first decay",
    severity: Severity::Fault,
    source: "the article: let the rate fall when the loss no longer does; He et al. 2016 decay on the plateau",
    thresholds: &[
        Threshold { what: "times that the rate falls from one epoch to the next, at least", value: STEP },
        Threshold { what: "fall of the training loss an epoch before it, at least", value: ALIVE },
        Threshold { what: "share of that fall that is left after it, at most", value: DYING },
    ],
    explains: &[
        "low_lr",
        "underfitting",
        "plateau",
        "too_short",
        "too_long",
        "high_lr",
        "validation_easier",
        "noisy_gradients",
    ],
    check: dies,
};

pub(crate) const PLATEAU: Rule = Rule {
    name: "plateau",
    title: "a plateau: for many epochs the loss does not fall and the rate stays",
    severity: Severity::Advice,
    source: "the article: on a plateau lower the rate; torch.optim.lr_scheduler.ReduceLROnPlateau",
    thresholds: &[
        Threshold { what: "epochs, at least", value: PLATEAU_EPOCHS as f64 },
        Threshold { what: "share of all epochs, at least", value: PLATEAU_SHARE },
        Threshold { what: "fall of the training loss above its floor, at most", value: PLATEAU_FALL },
    ],
    explains: &["no_decay", "too_long", "too_short"],
    check: plateau,
};

pub(crate) const NO_DECAY: Rule = Rule {
    name: "no_decay",
    title: "the learning rate never falls",
    severity: Severity::Advice,
    source: "the article: the rate should fall over the epochs; Deep Learning Tuning Playbook",
    thresholds: &[
        Threshold { what: "lowest over highest rate after warm-up, at least", value: NO_FALL },
        Threshold { what: "epochs, at least", value: DECAY_EPOCHS as f64 },
    ],
    explains: &[],
    check: no_decay,
};

fn dies(history: &History) -> Option<Seen> {
    let rates = history.rates();
    let step = rates.windows(2).position(|pair| pair[1] > 0.0 && pair[0] / pair[1] >= STEP)? + 1;
    // Epoch `step` (from 0) is the first at the low rate.
    let losses: Vec<f64> = history.epochs.iter().map(|epoch| epoch.train_loss).collect();
    if step < 1 || losses.len() < step + 3 || history.left()? < DYING_LEFT || history.setting.mixed {
        return None;
    }
    let above = |index: usize| (losses[index] - history.floor()).max(1e-9);
    let first = step.saturating_sub(3);
    let before = if step >= 2 {
        1.0 - (above(step - 1) / above(first)).powf(1.0 / (step - 1 - first).max(1) as f64)
    } else {
        // One epoch only: from guessing to where it ended.
        1.0 - above(0) / (history.blind_loss() - history.floor())
    };
    // The step itself lowers the noise at once; what counts is what comes after it.
    let last = losses.len() - 1;
    let after = 1.0 - (above(last) / above(step)).powf(1.0 / (last - step).max(1) as f64);
    if before < ALIVE || after > DYING * before {
        return None;
    }
    let evidence = format!(
        "the rate fell from {} to {} after epoch {step}, when the loss still fell by {} an epoch; after it by {}, and {} of what there was to learn is left",
        short(rates[step - 1]),
        short(rates[step]),
        percent(before),
        percent(after.max(0.0)),
        percent(history.left()?)
    );
    Some(Seen::new(evidence).at(step as f64, "the rate falls").propose(
        "schedule",
        serde_json::json!({"name": "CosineAnnealingLR", "unit": "iteration"}),
        "falls slowly at first and reaches zero at the end, with no step to place",
    ))
}

fn plateau(history: &History) -> Option<Seen> {
    if history.setting.mixed || history.is_blind() {
        return None;
    }
    let rates = history.rates();
    let losses: Vec<f64> =
        history.epochs.iter().map(|epoch| (epoch.train_loss - history.floor()).max(1e-9)).collect();
    let least =
        PLATEAU_EPOCHS.max((PLATEAU_SHARE * history.setting.epochs.max(losses.len()) as f64).ceil() as usize);
    let peak = history.peak_rate();
    let mut longest: Option<(usize, usize)> = None;
    for from in 0..losses.len() {
        let mut to = from;
        while to + 1 < losses.len()
            && (rates[to + 1] / rates[from] - 1.0).abs() < 0.05
            && losses[to + 1] > (1.0 - PLATEAU_FALL) * losses[from]
        {
            to += 1;
        }
        // The end of a schedule is flat because the rate is, and a loss near its floor has nowhere to fall.
        let high = rates[from] > 0.2 * peak && losses[from] > 0.03 * history.blind_loss();
        if high && to + 1 - from > least && longest.is_none_or(|(a, b)| to - from > b - a) {
            longest = Some((from, to));
        }
    }
    let (from, to) = longest?;
    let later = losses[to + 1..].iter().copied().fold(losses[to], f64::min);
    let mut evidence = format!(
        "from epoch {} to {} the training loss went from {} to {} at a rate of {}",
        from + 1,
        to + 1,
        short(history.epochs[from].train_loss),
        short(history.epochs[to].train_loss),
        short(rates[from])
    );
    if later < 0.8 * losses[to] {
        evidence += &format!("; it fell by {} once the rate did", percent(1.0 - later / losses[to]));
    }
    let seen = Seen::new(evidence).at((from + 1) as f64, "plateau");
    Some(if history.setting.text("schedule.name") == "ReduceLROnPlateau" {
        seen.propose("schedule.patience", 2, "waits less before it lowers the rate")
    } else {
        seen.propose(
            "schedule",
            serde_json::json!({"name": "ReduceLROnPlateau", "patience": 3}),
            "lowers the rate when the loss stops falling, whenever that is",
        )
    })
}

fn no_decay(history: &History) -> Option<Seen> {
    let name = history.setting.text("optimizer.name");
    if name.starts_with("schedule_free") || matches!(name, "rprop" | "adadelta") {
        return None;
    }
    let rates = history.rates();
    let planned = history.setting.epochs.max(rates.len());
    // A run that was stopped has not seen the end of its schedule.
    if rates.len() < DECAY_EPOCHS || rates.len() * 10 < planned * 9 {
        return None;
    }
    let peak = rates.iter().copied().fold(0.0, f64::max);
    let top = rates.iter().position(|rate| *rate >= peak)?;
    let last = history.epochs.last()?.lr;
    let lowest = rates[top..].iter().copied().fold(last, f64::min);
    if peak <= 0.0 || lowest < NO_FALL * peak {
        return None;
    }
    let evidence = format!(
        "the rate was {} in the first and {} in the last of {} epochs",
        short(rates[top]),
        short(last),
        rates.len()
    );
    Some(Seen::new(evidence).propose(
        "schedule",
        serde_json::json!({"name": "CosineAnnealingLR", "unit": "iteration"}),
        "large steps find the valley, small ones its bottom",
    ))
}
