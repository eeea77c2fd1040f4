//! The chart that the doctor reads: what is known of one training, in plain numbers.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::evidence::Evidence;

/// One training, finished or not. Whatever is not known stays empty, and the rules that need it are silent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// What was to be trained, and how.
    pub setting: Setting,
    /// Every update, in order.
    pub updates: Vec<Update>,
    /// Every completed epoch, in order.
    pub epochs: Vec<Epoch>,
    /// What was seen inside, at some updates.
    pub evidence: Vec<Evidence>,
    /// Training samples that the network contradicts, an entry an epoch.
    pub suspects: Vec<SuspectSamples>,
    /// Set where a loss or gradient was no finite number.
    pub divergence: Option<Divergence>,
    /// Whether the training came to its end.
    pub finished: bool,
    /// Share of the training time spent waiting for data, an entry an epoch.
    pub data_wait: Vec<f64>,
    /// The result on the test set, once it was opened.
    pub test: Option<TestScore>,
    /// How often the validation set was looked at, this run included; read only where the test set was opened.
    pub looks: Looks,
}

/// Looks at a validation set: each completed epoch of each run is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Looks {
    /// Runs on the same data.
    pub runs: u64,
    /// Their epochs.
    pub epochs: u64,
}

/// The fixed side of a training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Setting {
    /// Epochs planned.
    pub epochs: usize,
    /// Updates an epoch.
    pub iterations_per_epoch: usize,
    /// Images an update learns from.
    pub batch_size: usize,
    /// Images that a batch norm sees at once; none without batch norm.
    pub norm_batch: Option<usize>,
    /// Training images.
    pub train_samples: usize,
    /// Validation images.
    pub val_samples: usize,
    /// Classes.
    pub classes: Vec<String>,
    /// Training images of each class; empty where unknown.
    pub class_counts: Vec<usize>,
    /// Share of the parameters that do not train, 0 to 1.
    pub frozen: f64,
    /// Whether the weights came from a file.
    pub pretrained: bool,
    /// Whether images and labels were mixed (mixup, CutMix), which makes training losses incomparable.
    pub mixed: bool,
    /// Keys of the augmentations that were on, `augment.horizontal_flip`.
    pub augmentations: Vec<String>,
    /// The recipe as a tree of its sections.
    pub recipe: Value,
}

/// One update of the weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Update {
    /// The objective on its batch.
    pub loss: f64,
    /// Learning rate of the first group.
    pub lr: f64,
    /// L2 norm of the whole gradient, before clipping.
    pub grad_norm: f64,
}

/// One epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Epoch {
    /// Mean objective, label smoothing included.
    pub train_loss: f64,
    /// Share of the training images predicted right, as augmented and before each update.
    pub train_top1: Option<f64>,
    /// Cross-entropy on the validation set.
    pub val_loss: f64,
    /// Share of the validation images predicted right.
    pub val_top1: f64,
    /// Learning rate of the last update.
    pub lr: f64,
    /// Recall of each class on the validation set; empty where unknown.
    pub recalls: Vec<ClassRecall>,
}

/// How many of a class were found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClassRecall {
    /// Share found.
    pub recall: f64,
    /// Images of the class.
    pub support: u64,
}

/// Training samples that the network is sure have another class than their label, in one epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SuspectSamples {
    /// Epochs completed, this one included.
    pub epoch: usize,
    /// Samples looked at: all whose labels were not mixed.
    pub judged: u64,
    /// Of these, those of which the network is sure (of some class, at least one half). Written since danlu 0.1; 0 where unknown.
    pub sure: u64,
    /// Of the sure ones, those whose label has next to no probability.
    pub contradicted: u64,
    /// Samples that are watched one by one (a fixed part of the set).
    pub watched: u64,
    /// Of these, the contradicted ones, by number.
    pub watched_contradicted: Vec<u32>,
    /// Those with the highest loss, worst first.
    pub worst: Vec<SuspectSample>,
}

/// One of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SuspectSample {
    /// Its number in the training set.
    pub sample: u32,
    /// The label's class.
    pub label: u32,
    /// The class that the network sees.
    pub predicted: u32,
    /// Cross-entropy of the label, in nats.
    pub loss: f64,
}

/// Where a loss or a gradient was no finite number.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Divergence {
    /// Updates completed before it.
    pub iteration: u64,
    /// What was not finite, in words.
    pub what: String,
    /// The layer in which it began, where that is known.
    pub layer: Option<String>,
    /// Learning rate of the first group.
    pub lr: f64,
}

/// The result on the test set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TestScore {
    /// Share predicted right.
    pub top1: f64,
    /// Images.
    pub samples: u64,
    /// How often this test set has been opened.
    pub opened: u64,
}

impl Setting {
    /// The value at a dotted key of the recipe.
    pub fn get(&self, key: &str) -> Option<&Value> {
        key.split('.').try_fold(&self.recipe, |value, key| value.get(key)).filter(|value| !value.is_null())
    }

    /// The number there, 0 where there is none.
    pub fn number(&self, key: &str) -> f64 {
        self.get(key).and_then(Value::as_f64).unwrap_or(0.0)
    }

    /// The text there.
    pub fn text(&self, key: &str) -> &str {
        self.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether anything but the training itself makes training images harder: augmentation, dropout, drop-path.
    pub fn is_made_harder(&self) -> bool {
        let drops = ["network.dropout", "network.drop_path"].iter().any(|key| self.number(key) > 0.0);
        drops || !self.augmentations.is_empty()
    }
}

impl History {
    /// Classes, at least 2.
    pub(crate) fn class_count(&self) -> f64 {
        self.setting.classes.len().max(2) as f64
    }

    /// Accuracy without looking: that of the largest class.
    pub(crate) fn chance(&self) -> f64 {
        let counts = &self.setting.class_counts;
        let all: usize = counts.iter().sum();
        let largest = counts.iter().max().copied().unwrap_or(0);
        if all == 0 { 1.0 / self.class_count() } else { largest as f64 / all as f64 }
    }

    /// Loss of a network that says every class is as likely.
    pub(crate) fn blind_loss(&self) -> f64 {
        self.class_count().ln()
    }

    /// The lowest objective that label smoothing leaves: the entropy of the smoothed label.
    pub(crate) fn floor(&self) -> f64 {
        let (smoothing, classes) =
            (self.setting.number("loss.label_smoothing").clamp(0.0, 1.0), self.class_count());
        let entropy = |p: f64| if p > 0.0 { -p * p.ln() } else { 0.0 };
        let other = smoothing / classes;
        entropy(1.0 - smoothing + other) + (classes - 1.0) * entropy(other)
    }

    /// Share of what there was to learn that is not learned yet: 1 knows nothing, 0 is perfect.
    pub(crate) fn unlearned(&self, train_loss: f64) -> f64 {
        (train_loss - self.floor()) / (self.blind_loss() - self.floor()).max(1e-9)
    }

    /// The same at the end of the last epoch.
    pub(crate) fn left(&self) -> Option<f64> {
        let last = self.epochs.last()?;
        (!self.setting.mixed).then(|| self.unlearned(last.train_loss))
    }

    /// The best validation accuracy, and the epoch (counted from 1) that had it first.
    pub(crate) fn best(&self) -> Option<(usize, f64)> {
        let mut best: Option<(usize, f64)> = None;
        for (index, epoch) in self.epochs.iter().enumerate() {
            if best.is_none_or(|(_, top1)| epoch.val_top1 > top1) {
                best = Some((index + 1, epoch.val_top1));
            }
        }
        best
    }

    /// Whether no epoch was clearly better than guessing.
    pub(crate) fn is_blind(&self) -> bool {
        let (chance, samples) = (self.chance(), self.setting.val_samples.max(1) as f64);
        let noise = 3.0 * (chance * (1.0 - chance) / samples).sqrt();
        self.best().is_some_and(|(_, top1)| top1 <= 1.25 * chance + noise)
    }

    /// Where an update lies, in epochs.
    pub(crate) fn epoch_of(&self, iteration: usize) -> f64 {
        iteration as f64 / self.setting.iterations_per_epoch.max(1) as f64
    }

    /// The highest learning rate of each completed epoch.
    pub(crate) fn rates(&self) -> Vec<f64> {
        let per_epoch = self.setting.iterations_per_epoch.max(1);
        self.epochs
            .iter()
            .enumerate()
            .map(|(index, epoch)| {
                let from = (index * per_epoch).min(self.updates.len());
                let to = ((index + 1) * per_epoch).min(self.updates.len());
                let highest = self.updates[from..to].iter().map(|update| update.lr).fold(f64::NAN, f64::max);
                if highest.is_nan() { epoch.lr } else { highest }
            })
            .collect()
    }

    /// The highest learning rate of all.
    pub(crate) fn peak_rate(&self) -> f64 {
        let updates = self.updates.iter().map(|update| update.lr);
        updates.chain(self.epochs.iter().map(|epoch| epoch.lr)).fold(0.0, f64::max)
    }

    /// Median of norm(update) / norm(weight) over layers, at the moments at which the rate was at least half its peak.
    pub(crate) fn update_ratio(&self) -> Option<f64> {
        let peak = self.peak_rate();
        let at = |iteration: u64| self.updates.get((iteration as usize).saturating_sub(1));
        let ratios: Vec<f64> = self
            .evidence
            .iter()
            .filter(|seen| at(seen.iteration).is_none_or(|update| update.lr >= 0.5 * peak))
            .filter_map(Evidence::update_ratio)
            .collect();
        median(ratios.into_iter())
    }

    /// Gradient noise scale in images over the middle of the training (the first tenth is left out).
    pub(crate) fn noise_scale(&self) -> Option<f64> {
        let mut scale = crate::NoiseScale::default();
        let last = self.evidence.last()?.iteration;
        let samples =
            self.evidence.iter().filter(|seen| seen.iteration * 10 > last).filter_map(|seen| seen.noise);
        let mut count = 0;
        for sample in samples {
            scale.add(sample.small, sample.small_norm, sample.big, sample.big_norm);
            count += 1;
        }
        if count >= 3 { scale.images() } else { None }
    }

    /// The training samples that the network contradicts, worst first, at the epoch of the best validation accuracy or the last
    /// one before it that had any: later they may be learned by heart.
    pub fn worst_samples(&self) -> &[SuspectSample] {
        let best = self.best().map_or(0, |(epoch, _)| epoch.max(2));
        let seen = self.suspects.iter().rev().filter(|seen| seen.epoch <= best);
        seen.map(|seen| seen.worst.as_slice()).find(|worst| !worst.is_empty()).unwrap_or_default()
    }

    /// The gap between training and validation accuracy at the end, positive where training is better.
    pub(crate) fn gap(&self) -> Option<f64> {
        let last = self.epochs.last()?;
        last.train_top1.map(|top1| top1 - last.val_top1)
    }
}

/// The middle value; none of nothing.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.filter(|value| !value.is_nan()).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_smoothing_leaves_the_entropy_of_the_smoothed_label() {
        // torch.nn.functional.cross_entropy with label_smoothing 0.1 of a network that predicts the smoothed label
        // itself: p = 0.91 and nine times 0.01.
        let mut history = History::default();
        history.setting.classes = vec![String::new(); 10];
        history.setting.recipe = serde_json::json!({"loss": {"label_smoothing": 0.1}});
        let expected = -(0.91f64 * 0.91f64.ln() + 9.0 * 0.01 * 0.01f64.ln());
        assert!((history.floor() - expected).abs() < 1e-12);
        assert!((history.unlearned(10.0f64.ln()) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn guessing_the_largest_class_is_chance() {
        let mut history = History::default();
        history.setting.class_counts = vec![90, 10];
        assert_eq!(history.chance(), 0.9);
    }
}
