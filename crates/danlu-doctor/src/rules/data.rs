//! The data: frozen layers, wrong labels, augmentation, imbalance, validation against training and test, waiting.

use crate::finding::{Severity, percent, short};
use crate::history::{History, median};
use crate::rule::{Rule, Seen, Threshold};

/// Share of parameters that do not train, at least.
const FROZEN: f64 = 0.3;
/// Share of what there was to learn that is left by a frozen network.
const FROZEN_LEFT: f64 = 0.25;
/// Share of the training samples that the network is sure of whose label it contradicts.
const CONTRADICTED: f64 = 0.05;
/// How often a sample that is contradicted is so again in the next epoch: labels stay wrong, augmentations change.
const PERSISTENT: f64 = 0.55;
/// Validation accuracy above training accuracy that an augmentation causes which breaks labels.
const BREAKS_GAP: f64 = 0.06;
/// The same where the network is right on validation images and yet unsure of them.
const UNSURE_GAP: f64 = 0.15;
/// The same where nothing but flips and turns is on: they take nothing away from an image, so that training images are as easy as
/// validation images unless the label no longer fits.
const TURNED_GAP: f64 = 0.1;
/// A validation loss above this many times the validation error, and a little, is that of an unsure network.
const UNSURE: f64 = 3.0;
/// Times as many images in the largest class as in the smallest.
const IMBALANCED: f64 = 5.0;
/// Recall of the larger classes above that of the smaller ones.
const RECALL_GAP: f64 = 0.25;
/// Validation accuracy above training accuracy, with and without a reason for it.
const EASIER: f64 = 0.1;
const EASIER_BARE: f64 = 0.04;
/// Share of the time spent waiting for data.
const WAITING: f64 = 0.2;
/// Standard errors between validation and test accuracy.
const ERRORS: f64 = 3.0;

pub(crate) const FROZEN_LAYERS: Rule = Rule {
    name: "frozen_layers",
    title: "layers are frozen that should learn",
    severity: Severity::Fault,
    source: "Yosinski et al. 2014, arXiv 1411.1792: frozen features transfer only where the data are alike; frozen random ones never",
    thresholds: &[
        Threshold { what: "share of the parameters that is frozen, at least", value: FROZEN },
        Threshold { what: "share of what there was to learn that is left, at least", value: FROZEN_LEFT },
    ],
    explains: &[
        "underfitting",
        "plateau",
        "low_lr",
        "too_short",
        "no_decay",
        "high_lr",
        "too_long",
        "label_noise",
    ],
    check: frozen,
};

pub(crate) const AUGMENTATION_BREAKS_LABEL: Rule = Rule {
    name: "augmentation_breaks_label",
    title: "an augmentation changes what the image shows, and the label stays",
    severity: Severity::Fault,
    source: "Cubuk et al. 2019, arXiv 1805.09501: useful augmentations differ by data set (no mirror for digits)",
    thresholds: &[
        Threshold {
            what: "share of the surely seen training samples contradicted, at least",
            value: CONTRADICTED,
        },
        Threshold { what: "validation above training accuracy, at least", value: BREAKS_GAP },
        Threshold {
            what: "of the contradicted, contradicted again in the next epoch, below",
            value: PERSISTENT,
        },
        Threshold {
            what: "or validation above training accuracy of an unsure network, at least",
            value: UNSURE_GAP,
        },
        Threshold { what: "times the validation error that its validation loss is, at least", value: UNSURE },
        Threshold {
            what: "or validation above training accuracy where only flips and turns are on, at least",
            value: TURNED_GAP,
        },
    ],
    explains: &[
        "validation_easier",
        "underfitting",
        "label_noise",
        "plateau",
        "no_decay",
        "too_short",
        "high_lr",
    ],
    check: augmentation,
};

pub(crate) const LABEL_NOISE: Rule = Rule {
    name: "label_noise",
    title: "labels are wrong: the network is sure of another class, epoch after epoch",
    severity: Severity::Fault,
    source: "Northcutt et al. 2021, arXiv 1911.00068 (confident learning); Arpit et al. 2017, arXiv 1706.05394: wrong labels are learned last",
    thresholds: &[
        Threshold {
            what: "share of the surely seen training samples contradicted, at least",
            value: CONTRADICTED,
        },
        Threshold { what: "of these, contradicted again in the next epoch, at least", value: PERSISTENT },
    ],
    explains: &[
        "underfitting",
        "validation_easier",
        "overfitting",
        "plateau",
        "no_decay",
        "too_long",
        "high_lr",
        "noisy_gradients",
        "too_short",
    ],
    check: label_noise,
};

pub(crate) const IMBALANCE: Rule = Rule {
    name: "imbalance",
    title: "the classes are unequal and the small ones are missed",
    severity: Severity::Fault,
    source: "Buda et al. 2018, arXiv 1710.05381",
    thresholds: &[
        Threshold {
            what: "times as many images in the largest class as in the smallest, at least",
            value: IMBALANCED,
        },
        Threshold {
            what: "recall of the larger half above that of the smaller half, at least",
            value: RECALL_GAP,
        },
    ],
    explains: &["underfitting", "no_decay", "too_short"],
    check: imbalance,
};

pub(crate) const VALIDATION_EASIER: Rule = Rule {
    name: "validation_easier",
    title: "validation images are easier than training images",
    severity: Severity::Advice,
    source: "the article: training error is usually below validation error; augmentation, dropout or a leak turn it round",
    thresholds: &[
        Threshold {
            what: "validation above training accuracy with augmentation or dropout, at least",
            value: EASIER,
        },
        Threshold { what: "the same without either, at least", value: EASIER_BARE },
    ],
    explains: &["underfitting", "too_short", "no_decay"],
    check: validation_easier,
};

pub(crate) const DATA_BOUND: Rule = Rule {
    name: "data_bound",
    title: "the training waits for its data",
    severity: Severity::Advice,
    source: "measured by the loader in this run",
    thresholds: &[Threshold { what: "share of the training time spent waiting, at least", value: WAITING }],
    explains: &[],
    check: data_bound,
};

pub(crate) const VALIDATION_BEATS_TEST: Rule = Rule {
    name: "validation_beats_test",
    title: "validation is much better than test: the hyper-parameters are tuned to the validation set",
    severity: Severity::Fault,
    source: "the article: the validation set trains the hyper-parameters, so its error is optimistic; Cawley and Talbot 2010",
    thresholds: &[Threshold { what: "standard errors between the two accuracies, at least", value: ERRORS }],
    explains: &[],
    check: beats_test,
};

fn frozen(history: &History) -> Option<Seen> {
    let setting = &history.setting;
    let left = history.left()?;
    if setting.frozen < FROZEN || left < FROZEN_LEFT || history.epochs.len() < 2 {
        return None;
    }
    let evidence = format!(
        "{} of the parameters do not train{}, and {} of what there was to learn is left",
        percent(setting.frozen),
        if setting.pretrained { "" } else { " and are random: no weights were loaded" },
        percent(left)
    );
    let asked = setting.get("finetune.freeze").and_then(serde_json::Value::as_array);
    let key = if asked.is_some_and(|list| !list.is_empty()) { "finetune.freeze" } else { "optimizer.groups" };
    Some(Seen::new(evidence).propose(key, serde_json::json!([]), "every layer trains"))
}

/// Share contradicted, persistence, and the epoch, at the epoch of the best validation accuracy or after it.
fn contradictions(history: &History) -> Option<(f64, Option<f64>, usize)> {
    let (best, _) = history.best()?;
    let at = history.suspects.iter().rposition(|seen| seen.epoch <= best.max(2) && seen.sure > 0)?;
    let seen = &history.suspects[at];
    // Of the images that the network is sure of: of the others it says nothing.
    let share = seen.contradicted as f64 / seen.sure.max(1) as f64;
    let (mut again, mut before) = (0usize, 0usize);
    for pair in history.suspects[..=at].windows(2).rev().take(4) {
        before += pair[0].watched_contradicted.len();
        again += pair[0]
            .watched_contradicted
            .iter()
            .filter(|sample| pair[1].watched_contradicted.contains(sample))
            .count();
    }
    Some((share, (before >= 8).then(|| again as f64 / before as f64), seen.epoch))
}

fn augmentation(history: &History) -> Option<Seen> {
    let setting = &history.setting;
    if setting.augmentations.is_empty() {
        return None;
    }
    let (gap, last) = (-history.gap()?, history.epochs.last()?);
    let (best, _) = history.best()?;
    let (share, again, epoch) = contradictions(history).unwrap_or((0.0, None, best));
    let changing =
        share >= CONTRADICTED && gap >= BREAKS_GAP && again.is_some_and(|again| again < PERSISTENT);
    // Half of the time the label says the one and half the other: the network learns to say both.
    let unsure = gap >= UNSURE_GAP
        && setting.number("network.dropout") == 0.0
        && last.val_loss > UNSURE * (1.0 - last.val_top1) + 0.2 + history.floor();
    let turns = ["horizontal_flip", "vertical_flip", "rotate90"].map(|name| format!("augment.{name}"));
    let turned = gap >= TURNED_GAP
        && setting.number("network.dropout") == 0.0
        && setting.augmentations.iter().all(|key| turns.contains(key));
    let evidence = if changing {
        format!(
            "{} of the augmented training images that the network is sure of look like another class, {} of them again in the next epoch (a wrong label would stay wrong); validation is {} better than training",
            percent(share),
            percent(again.unwrap_or(f64::NAN)),
            percent(gap)
        )
    } else if unsure {
        format!(
            "training accuracy {}, validation {}, and a validation loss of {}: the network is right on images as they are and unsure of them",
            percent(last.val_top1 - gap),
            percent(last.val_top1),
            short(last.val_loss)
        )
    } else if turned {
        format!(
            "training accuracy {}, validation {}: a flip or turn takes nothing away from an image and still makes it harder to name",
            percent(last.val_top1 - gap),
            percent(last.val_top1)
        )
    } else {
        return None;
    };
    let mut seen = Seen::new(evidence).at(epoch as f64, "labels broken");
    for key in suspicious(&setting.augmentations) {
        seen = seen.propose(
            key,
            "none",
            "the strongest change of what an image shows; look at it with `danlu show augment`",
        );
    }
    Some(seen.advise("`danlu show augment DATA` shows the images as the network sees them"))
}

/// The augmentations that most often change a class, the most suspicious alone where there is one.
fn suspicious(keys: &[String]) -> Vec<&str> {
    const ORDER: [&str; 9] = [
        "vertical_flip",
        "rotation",
        "affine",
        "perspective",
        "random_erasing",
        "invert",
        "color_jitter",
        "horizontal_flip",
        "random_resized_crop",
    ];
    let found = ORDER.iter().find_map(|name| keys.iter().find(|key| key.contains(name)));
    found.or(keys.first()).map(String::as_str).into_iter().collect()
}

fn label_noise(history: &History) -> Option<Seen> {
    let (share, again, epoch) = contradictions(history)?;
    if share < CONTRADICTED || again.is_none_or(|again| again < PERSISTENT) {
        return None;
    }
    let class =
        |index: u32| history.setting.classes.get(index as usize).map_or("?", String::as_str).to_owned();
    let worst: Vec<String> = history
        .worst_samples()
        .iter()
        .take(5)
        .map(|s| {
            format!(
                "{} (label {}, seen as {}, loss {})",
                s.sample,
                class(s.label),
                class(s.predicted),
                short(s.loss)
            )
        })
        .collect();
    let evidence = format!(
        "of the training images that the network is sure of it contradicts {} of the labels, and {} of those again in the next epoch; worst: {}",
        percent(share),
        percent(again.unwrap_or(f64::NAN)),
        worst.join(", ")
    );
    let mut seen = Seen::new(evidence).at(epoch as f64, "contradicted");
    if history.setting.number("loss.label_smoothing") < 0.1 {
        seen = seen.propose(
            "loss.label_smoothing",
            0.1,
            "a network that may be wrong about a label is pulled less by wrong ones",
        );
    }
    Some(seen.advise("look at the images named above (`danlu doctor RUN --images worst.png` draws them) and mend or remove their labels"))
}

fn imbalance(history: &History) -> Option<Seen> {
    let counts = &history.setting.class_counts;
    let recalls = &history.epochs.get(history.best()?.0 - 1)?.recalls;
    let (least, most) = (counts.iter().min().copied()?, counts.iter().max().copied()?);
    if counts.len() != recalls.len() || counts.len() < 2 || (most as f64) < IMBALANCED * least.max(1) as f64 {
        return None;
    }
    let mut order: Vec<usize> = (0..counts.len()).filter(|&class| recalls[class].support > 0).collect();
    order.sort_by_key(|&class| counts[class]);
    let (small, large) = order.split_at(order.len() / 2);
    let mean = |classes: &[usize]| {
        classes.iter().map(|&class| recalls[class].recall).sum::<f64>() / classes.len().max(1) as f64
    };
    // The rarest class against the rest as well: one lost class among ten is lost.
    let rarest = *order.first()?;
    let gap = (mean(large) - mean(small)).max(mean(&order[1..]) - recalls[rarest].recall);
    if gap < RECALL_GAP {
        return None;
    }
    let name = history.setting.classes.get(rarest).map_or("?", String::as_str);
    let evidence = format!(
        "classes have {least} to {most} training images; recall of the larger half {}, of the smaller half {}; of `{name}` {}",
        percent(mean(large)),
        percent(mean(small)),
        percent(recalls[rarest].recall)
    );
    let average = counts.iter().sum::<usize>() as f64 / counts.len() as f64;
    let weights: Vec<f64> = counts
        .iter()
        .map(|&count| crate::finding::two_digits((average / count.max(1) as f64).sqrt()))
        .collect();
    let mut seen = Seen::new(evidence);
    if history.setting.get("loss.class_weights").is_none() {
        seen = seen.propose(
            "loss.class_weights",
            weights,
            "the square root of the inverse frequency: small classes count more, without drowning the large ones",
        );
    }
    if history.setting.text("train.select") != "macro_f1" {
        seen = seen.propose(
            "train.select",
            "macro_f1",
            "every class counts the same when the best epoch is chosen",
        );
    }
    Some(seen.advise("more images of the small classes help most"))
}

fn validation_easier(history: &History) -> Option<Seen> {
    let count = history.epochs.len();
    if history.setting.mixed || count < 3 {
        return None;
    }
    let late = &history.epochs[count - (count / 4).max(2)..];
    let gap = median(late.iter().filter_map(|epoch| epoch.train_top1.map(|top1| epoch.val_top1 - top1)))?;
    let harder = history.setting.is_made_harder();
    if gap < if harder { EASIER } else { EASIER_BARE } {
        return None;
    }
    let evidence = format!(
        "validation accuracy is {} above training accuracy over the last {} epochs",
        percent(gap),
        late.len()
    );
    let seen = Seen::new(evidence);
    Some(if harder {
        let mut seen = seen;
        if history.setting.number("network.dropout") > 0.0 {
            seen = seen.propose(
                "network.dropout",
                0.0,
                "the network has more to gain from seeing all of itself",
            );
        }
        seen.advise("augmentation or dropout is stronger than this network needs: weaken it, or train longer")
    } else {
        seen.advise("nothing makes training images harder here: look for the same or nearly the same images in both sets, and for a split that is not random")
    })
}

fn data_bound(history: &History) -> Option<Seen> {
    let waits = &history.data_wait;
    // The first epoch fills caches.
    let wait = median(waits[usize::from(waits.len() > 1)..].iter().copied())?;
    (wait >= WAITING).then(|| {
        Seen::new(format!("{} of the training time is spent waiting for images", percent(wait)))
            .advise("smaller images on disk, a faster disk, fewer or cheaper augmentations, or more cores")
    })
}

fn beats_test(history: &History) -> Option<Seen> {
    let test = history.test?;
    let (epoch, best) = history.best()?;
    let error = |share: f64, count: f64| share * (1.0 - share) / count.max(1.0);
    let spread = (error(best, history.setting.val_samples as f64) + error(test.top1, test.samples as f64))
        .sqrt()
        .max(1e-4);
    let distance = (best - test.top1) / spread;
    if distance < ERRORS {
        return None;
    }
    let evidence = format!(
        "validation {} on {} images, test {} on {}: {} standard errors apart; the validation set was looked at {} times in this run and {} times in all {} runs on these data in its folder, the test set has been opened {} time(s)",
        percent(best),
        history.setting.val_samples,
        percent(test.top1),
        test.samples,
        short(distance),
        history.epochs.len(),
        history.looks.epochs.max(history.epochs.len() as u64),
        history.looks.runs.max(1),
        test.opened
    );
    Some(Seen::new(evidence).at(epoch as f64, "chosen epoch").advise(
        "believe the test figure; split a larger validation set (`data.val`), compare fewer settings on it, and look for a difference between the two sets",
    ))
}
