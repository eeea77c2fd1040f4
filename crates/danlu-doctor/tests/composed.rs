//! Cases that no small training shows reliably, composed from formulas: a healthy training in which one thing is changed.
//!
//! The healthy one: losses and accuracies that approach their ends exponentially, a cosine from 0.1 to 0, updates of a
//! few thousandths of the weights. It must have no finding; every change must be named first.

use danlu_doctor::{
    ActivationEvidence, Divergence, Epoch, Evidence, History, LayerEvidence, LearningRate, NoiseSample,
    Setting, TestScore, Update, diagnose, learning_rate, proposals,
};
use serde_json::json;

const PER_EPOCH: usize = 50;

fn healthy_of(epochs: usize) -> History {
    let mut history = History {
        setting: Setting {
            epochs,
            iterations_per_epoch: PER_EPOCH,
            batch_size: 64,
            norm_batch: Some(64),
            train_samples: 64 * PER_EPOCH,
            val_samples: 1000,
            classes: (0..10).map(|class| format!("c{class}")).collect(),
            class_counts: vec![64 * PER_EPOCH / 10; 10],
            augmentations: vec!["augment.horizontal_flip".into()],
            recipe: json!({
                "optimizer": {"name": "sgd", "lr": 0.1, "weight_decay": 5e-4},
                "schedule": {"name": "CosineAnnealingLR"},
                "network": {"width": 16, "dropout": 0.0},
                "loss": {"name": "cross_entropy", "label_smoothing": 0.0},
                "train": {"epochs": epochs},
            }),
            ..Setting::default()
        },
        finished: true,
        data_wait: vec![0.01; epochs],
        ..History::default()
    };
    let updates = epochs * PER_EPOCH;
    for update in 0..updates {
        let done = update as f64 / updates as f64;
        let lr = 0.05 * (1.0 + (std::f64::consts::PI * done).cos());
        let loss = 0.25 + 2.05 * (-8.0 * done).exp();
        history.updates.push(Update { loss, lr, grad_norm: 1.0 });
        if update == 0 || (update + 1).is_multiple_of(25) {
            let layer = |name: &str| LayerEvidence {
                name: name.into(),
                grad_norm: Some(0.3),
                weight_norm: 8.0,
                update_ratio: Some(0.04 * lr),
            };
            let activation = |name: &str| ActivationEvidence {
                name: name.into(),
                std: 0.8,
                zeros: 0.5,
                ..Default::default()
            };
            let names = ["stem", "stage1", "stage2", "fc"];
            history.evidence.push(Evidence {
                epoch: update / PER_EPOCH,
                iteration: update as u64 + 1,
                layers: names.map(layer).to_vec(),
                activations: names.map(activation).to_vec(),
                noise: Some(noise(200.0)),
            });
        }
    }
    for epoch in 1..=epochs {
        let left = (-8.0 * epoch as f64 / epochs as f64).exp();
        history.epochs.push(Epoch {
            train_loss: 0.25 + 2.05 * left,
            train_top1: Some(0.92 - 0.8 * left),
            val_loss: 0.3 + 2.0 * left,
            val_top1: 0.91 - 0.8 * left,
            lr: history.updates[epoch * PER_EPOCH - 1].lr,
            ..Epoch::default()
        });
    }
    history
}

fn healthy() -> History {
    healthy_of(20)
}

/// Gradient norms of 16 and 64 images whose noise scale is `images`: |G|^2 = 1, tr(S) = `images`.
fn noise(images: f64) -> NoiseSample {
    let norm = |batch: f64| (1.0 + images / batch).sqrt();
    NoiseSample { small: 16.0, small_norm: norm(16.0), big: 64.0, big_norm: norm(64.0) }
}

fn first(history: &History) -> String {
    diagnose(history).first().map_or("nothing".to_owned(), |finding| finding.rule.clone())
}

#[test]
fn a_healthy_training_has_no_finding_and_a_good_rate_whatever_its_length() {
    for epochs in [8, 12, 20, 40, 100] {
        let history = healthy_of(epochs);
        assert_eq!(diagnose(&history), [], "{epochs} epochs");
        assert_eq!(learning_rate(&history), Some(LearningRate::Good));
    }
}

#[test]
fn a_training_that_waits_for_its_data_is_told() {
    for wait in [0.3, 0.8] {
        let mut history = healthy();
        history.data_wait = vec![wait; 20];
        assert_eq!(first(&history), "data_bound");
        // Filling a cache in the first epoch is no waiting.
        history.data_wait = vec![0.0; 20];
        history.data_wait[0] = wait;
        assert_eq!(first(&history), "nothing");
    }
}

#[test]
fn a_validation_set_that_was_tuned_to_is_told_with_the_number_of_looks() {
    for (test, samples) in [(0.80, 1000), (0.86, 10_000)] {
        let mut history = healthy();
        history.test = Some(TestScore { top1: test, samples, opened: 7 });
        let findings = diagnose(&history);
        assert_eq!(findings[0].rule, "validation_beats_test");
        assert!(findings[0].evidence.contains("opened 7 time"), "{}", findings[0].evidence);
        history.test = Some(TestScore { top1: 0.9, samples: 1000, opened: 1 });
        assert_eq!(first(&history), "nothing", "a point below is chance");
    }
}

#[test]
fn a_training_whose_best_epoch_came_at_once_is_far_too_long() {
    for (epochs, best) in [(20, 2), (60, 5)] {
        let mut history = healthy_of(epochs);
        for (index, epoch) in history.epochs.iter_mut().enumerate() {
            let falling = index.abs_diff(best - 1) as f64 * 0.02 / epochs as f64;
            (epoch.val_top1, epoch.val_loss) = (0.9 - falling, 0.31);
            (epoch.train_loss, epoch.train_top1) = (0.27, Some(0.91));
        }
        assert_eq!(first(&history), "too_long");
    }
}

#[test]
fn gradients_that_are_mostly_noise_ask_for_a_larger_batch() {
    for (batch, scale) in [(8, 300.0), (4, 2000.0)] {
        let mut history = healthy();
        history.setting.batch_size = batch;
        history.setting.norm_batch = None;
        for seen in &mut history.evidence {
            seen.noise = Some(noise(scale));
        }
        assert_eq!(first(&history), "noisy_gradients");
    }
}

#[test]
fn validation_that_is_easier_without_a_reason_is_told() {
    for above in [0.06, 0.2] {
        let mut history = healthy();
        history.setting.augmentations.clear();
        for epoch in &mut history.epochs {
            epoch.train_top1 = Some(epoch.val_top1 - above);
        }
        assert_eq!(first(&history), "validation_easier");
        assert!(diagnose(&history)[0].advice.contains("same images"), "{}", diagnose(&history)[0].advice);
    }
}

#[test]
fn channels_that_are_off_for_every_image_are_told_by_layer() {
    for dead in [0.5, 0.95] {
        let mut history = healthy();
        let count = history.evidence.len();
        for seen in &mut history.evidence[count / 3..] {
            seen.activations[1].dead = dead;
        }
        let findings = diagnose(&history);
        assert_eq!(findings[0].rule, "dead_relus");
        assert!(findings[0].evidence.contains("`stage1`"));
    }
}

#[test]
fn a_loss_that_stands_still_at_a_high_rate_is_a_plateau() {
    for (from, to) in [(4usize, 13usize), (3, 16)] {
        let mut history = healthy();
        let level = 0.9;
        for (index, epoch) in history.epochs.iter_mut().enumerate() {
            let flat = (from..to).contains(&index);
            epoch.lr = if index < to { 0.1 } else { 0.01 };
            if flat {
                (epoch.train_loss, epoch.train_top1) = (level, Some(0.66));
                (epoch.val_loss, epoch.val_top1) = (level, 0.66);
            } else if index < from {
                (epoch.train_loss, epoch.train_top1) = (level + 0.3 * (from - index) as f64, Some(0.4));
                (epoch.val_loss, epoch.val_top1) = (level + 0.3 * (from - index) as f64, 0.4);
            }
        }
        for (index, update) in history.updates.iter_mut().enumerate() {
            update.lr = history.epochs[index / PER_EPOCH].lr;
        }
        for seen in &mut history.evidence {
            seen.layers.iter_mut().for_each(|layer| layer.update_ratio = Some(0.004));
        }
        assert_eq!(first(&history), "plateau");
    }
}

#[test]
fn the_layer_and_the_jump_before_a_divergence_are_named() {
    let mut history = healthy();
    history.updates.truncate(310);
    history.epochs.truncate(6);
    history.evidence.retain(|seen| seen.iteration <= 310);
    history.updates[303..].iter_mut().for_each(|update| update.grad_norm = 40.0);
    history.divergence = Some(Divergence {
        iteration: 310,
        what: "the loss is NaN".into(),
        layer: Some("stage2".into()),
        lr: 0.09,
    });
    history.finished = false;
    let findings = diagnose(&history);
    assert_eq!(findings[0].rule, "diverged");
    assert!(findings[0].evidence.contains("stage2"));
    let place = findings[0].place.as_ref().expect("a place");
    assert!((place.epoch - 303.0 / 50.0).abs() < 1e-9, "{place:?}");
    assert_eq!(learning_rate(&history), Some(LearningRate::FarTooHigh));
}

#[test]
fn two_findings_never_propose_the_same_key() {
    let mut history = healthy();
    history.divergence = Some(Divergence { iteration: 900, what: "x".into(), lr: 0.1, layer: None });
    history.setting.norm_batch = Some(2);
    history.setting.batch_size = 2;
    let findings = diagnose(&history);
    let keys: Vec<&str> = proposals(&findings).iter().map(|proposal| proposal.key.as_str()).collect();
    let mut unique = keys.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(keys.len(), unique.len(), "{keys:?}");
    assert!(findings.len() >= 2);
}
