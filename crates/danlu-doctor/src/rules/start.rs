//! How the network starts: activations that vanish or explode by layer, ReLUs that are dead.

use crate::evidence::ActivationEvidence;
use crate::finding::{Severity, percent, short};
use crate::history::{History, median};
use crate::rule::{Rule, Seen, Threshold};

/// A spread of activations this many times smaller than the largest one before it has vanished.
const VANISHED: f64 = 1e-2;
/// A spread of activations above this has exploded: normalised inputs have 1.
const EXPLODED: f64 = 30.0;
/// Share of a layer's channels that are off for every image.
const DEAD: f64 = 0.4;
/// Times the loss of guessing that a first update from good weights stays below: sure and wrong before anything was learned.
const LOUD_LOSS: f64 = 2.0;

const GLOROT_HE: &str = "Glorot and Bengio 2010; He et al. 2015, arXiv 1502.01852: the variance must stay the same from layer to layer";

/// What a training that begins badly looks like, whichever way the weights are wrong.
const BAD_START: &[&str] = &[
    "batch_too_large",
    "dead_relus",
    "dies_at_first_decay",
    "far_too_high_lr",
    "high_lr",
    "imbalance",
    "label_noise",
    "low_lr",
    "no_decay",
    "noisy_gradients",
    "plateau",
    "too_long",
    "too_short",
    "underfitting",
    "weight_decay_too_strong",
];

/// The same where the start is loud: it can end in a divergence at any rate, which is a symptom then.
const LOUD_START: &[&str] = &{
    let mut all = ["diverged"; BAD_START.len() + 1];
    let (_, rest) = all.split_at_mut(1);
    rest.copy_from_slice(BAD_START);
    all
};

pub(crate) const VANISHING: Rule = Rule {
    name: "vanishing_activations",
    title: "the initial weights are too small: activations vanish from layer to layer",
    severity: Severity::Fault,
    source: GLOROT_HE,
    thresholds: &[Threshold {
        what: "spread of a layer's output over the largest before it, at most",
        value: VANISHED,
    }],
    explains: BAD_START,
    check: vanishing,
};

pub(crate) const EXPLODING: Rule = Rule {
    name: "exploding_activations",
    title: "the initial weights are too large: activations explode from layer to layer",
    severity: Severity::Fault,
    source: GLOROT_HE,
    thresholds: &[
        Threshold { what: "spread of a layer's output at the start, at least", value: EXPLODED },
        Threshold { what: "times the loss of guessing, had by the first update", value: LOUD_LOSS },
    ],
    explains: LOUD_START,
    check: exploding,
};

pub(crate) const DEAD_RELUS: Rule = Rule {
    name: "dead_relus",
    title: "ReLUs are dead: channels that are off for every image and get no gradient",
    severity: Severity::Fault,
    source: "Lu et al. 2019, arXiv 1903.06733; CS231n: a rate too high or a bad start kills ReLUs",
    thresholds: &[Threshold { what: "share of a layer's channels, at least", value: DEAD }],
    explains: &["underfitting", "plateau", "low_lr", "too_short", "no_decay", "too_long", "imbalance"],
    check: dead_relus,
};

/// The layers as seen at the first update, the head left out: it may start at zero on purpose.
fn first(history: &History) -> Option<&[ActivationEvidence]> {
    let seen = history.evidence.first().filter(|seen| seen.iteration <= 1)?;
    let layers = &seen.activations;
    layers.split_last().map(|(_, hidden)| hidden).filter(|hidden| hidden.len() >= 2)
}

fn vanishing(history: &History) -> Option<Seen> {
    let hidden = first(history)?;
    let mut largest: f64 = 1.0;
    for (index, layer) in hidden.iter().enumerate() {
        if layer.std < VANISHED * largest {
            let evidence = format!(
                "at the first update the output of `{}` (layer {} of {}) has a spread of {}, and a layer before it {}",
                layer.name,
                index + 1,
                hidden.len(),
                short(layer.std),
                short(largest)
            );
            return Some(better_start(Seen::new(evidence).at(0.0, "first update"), history));
        }
        largest = largest.max(layer.std);
    }
    None
}

fn exploding(history: &History) -> Option<Seen> {
    let hidden = first(history)?;
    let layer = hidden.iter().find(|layer| layer.std > EXPLODED || layer.mean.abs() > EXPLODED)?;
    let loss = history.updates.first().map(|update| update.loss);
    if loss.is_some_and(|loss| loss < LOUD_LOSS * history.blind_loss()) {
        return None;
    }
    let evidence = format!(
        "at the first update the output of `{}` has a spread of {} (1 is usual), and the loss was {} where guessing has {}",
        layer.name,
        short(layer.std),
        short(loss.unwrap_or(f64::NAN)),
        short(history.blind_loss())
    );
    let ended = history.divergence.as_ref().map_or(String::new(), |divergence| {
        format!("; after {} updates {}", divergence.iteration, divergence.what)
    });
    Some(better_start(Seen::new(evidence + &ended).at(0.0, "first update"), history))
}

fn better_start(seen: Seen, history: &History) -> Seen {
    let seen = seen.propose(
        "init.weights",
        serde_json::json!({"name": "kaiming_normal", "nonlinearity": "relu"}),
        "keeps the variance from layer to layer under ReLU (He et al. 2015)",
    );
    if history.setting.norm_batch.is_none() {
        return seen.advise("a network with batch norm is far less sensitive to its start");
    }
    seen
}

fn dead_relus(history: &History) -> Option<Seen> {
    let late = &history.evidence
        [history.evidence.len() - (history.evidence.len() / 2).max(1).min(history.evidence.len())..];
    let count = late.first()?.activations.len().saturating_sub(1);
    let mut worst: Option<(&str, f64)> = None;
    for index in 0..count {
        let share =
            median(late.iter().filter_map(|seen| seen.activations.get(index)).map(|layer| layer.dead))?;
        if share > worst.map_or(DEAD, |(_, share)| share) {
            worst = Some((&late[0].activations[index].name, share));
        }
    }
    let (name, share) = worst?;
    let early = history
        .evidence
        .first()
        .and_then(|seen| seen.activations.iter().find(|layer| layer.name == name))
        .map_or(0.0, |layer| layer.dead);
    let evidence = format!(
        "{} of the channels of `{name}` are 0 for every image looked at ({} at the start)",
        percent(share),
        percent(early)
    );
    let seen = Seen::new(evidence);
    if early > 0.5 * share {
        return Some(better_start(seen.at(0.0, "from the start"), history));
    }
    if crate::rate::is_high(history).is_some() {
        // They are a symptom then, and the rate is named by its own rule.
        return None;
    }
    let rate = history.setting.number("optimizer.lr").max(history.peak_rate());
    Some(seen.propose(
        "optimizer.lr",
        crate::finding::two_digits(rate / 3.0),
        "they died during the training: large steps push a channel below zero for good",
    ))
}
