//! The advisor: a recipe from what is known of the data, the machine, and how long a person wants to wait.
//!
//! A pure function of facts, so that the same facts always give the same recipe, and a reason and a source stand
//! behind every choice. What a person asked for (file, flags) is looked at first: the learning rate follows the batch
//! size that was asked for, the epochs follow the network.

mod cost;
mod facts;
mod names;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use facts::{DataFacts, MachineFacts};

use crate::layer::Layer;
use crate::preset::Preset;
use cost::Candidate;

/// A value that was chosen from the data and the machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// The recipe key, such as `train.batch_size`.
    pub key: String,
    /// The value.
    pub value: Value,
    /// Why, in a line.
    pub reason: String,
    /// What the reason rests on: a paper, a page, a measurement.
    pub source: String,
}

/// Images up to this side are "small": the residual networks for small images take them as they are.
const SMALL_SIDE: usize = 64;
/// Widths 16, 32, 64, Nesterov, one-cycle to 0.1, flips and shifts, smoothing 0.1: 92.7 % test accuracy, one run. It was
/// PyTorch's run and not danlu's, which is why it is called a trial wherever it is quoted.
const TRIAL: &str = "a PyTorch trial on Fashion-MNIST, one run: 92.7 % after 8 epochs";
const STRIDE: &str = "Fashion-MNIST, 7 epochs, one run each: 93.2 % validation accuracy against 92.4 %";
/// Up to so many epochs, an image is seen too rarely to be learnt by heart: it is shown as it is.
const FEW_EPOCHS: u32 = 15;
const FEW: &str = "Fashion-MNIST, 6 epochs, one run each, validation: 91.9 % with shifts at 0.1, 92.8 % without, 93.1 % without at 0.2; width 48: 15 epochs with shifts at 0.1 93.4 %, 14 without at 0.2 93.9 %";
/// Up to so many, hiding a part of it is enough and the higher learning rate still pays, where there are so many images: on the demo
/// (4,080) shifts at the lower rate did as well, at a lower loss.
const SOME_EPOCHS: u32 = 30;
const MANY_IMAGES: usize = 20_000;
const ERASING: &str = "Fashion-MNIST, width 32, one run each, validation: 10 epochs 93.6 % without, 93.3 % with; 20 epochs 93.5 % without, 93.9 % with";
const MORE_EPOCHS: &str = "Fashion-MNIST, quick, one run each, validation, at about the same cost: width 48 for 6 epochs 93.1 %, width 32 for 10 epochs 93.6 %";
/// Epochs to choose from: far enough apart that a speed that wavers by some percent rarely changes the training.
const RUNGS: [u32; 12] = [1, 2, 3, 5, 7, 10, 14, 20, 30, 45, 64, 128];
/// A training may take this much longer than planned before a smaller one is chosen.
const LENIENCY: f64 = 1.25;
/// Said as such, so that nobody takes it for a measurement.
const HABIT: &str = "rule of thumb, not measured";
const HE: &str = "He et al. 2016, arXiv 1512.03385";

/// Advises a recipe: one choice a key, in the order in which they were made. `given` is what a person asked for (the
/// file's and the command line's layers); put the choices under it with [`Layer::from_choices`].
pub fn advise(data: &DataFacts, machine: &MachineFacts, preset: Preset, given: &[Layer]) -> Vec<Choice> {
    let mut advisor = Advisor { data, machine, preset, given, choices: Vec::new() };
    let size = advisor.image_size();
    let batch_size = advisor.batch_size(size);
    let cost = advisor.network(size);
    let epochs = advisor.epochs(cost);
    advisor.optimizer(batch_size, epochs);
    advisor.augmentation(size, epochs);
    advisor.selection();
    advisor.choices
}

struct Advisor<'a> {
    data: &'a DataFacts,
    machine: &'a MachineFacts,
    preset: Preset,
    given: &'a [Layer],
    choices: Vec<Choice>,
}

impl Advisor<'_> {
    fn choose(&mut self, key: &str, value: impl Into<Value>, reason: impl Into<String>, source: &str) {
        if self.given(key).is_none() {
            let (reason, source) = (reason.into(), source.to_owned());
            self.choices.push(Choice { key: key.to_owned(), value: value.into(), reason, source });
        }
    }

    fn given(&self, key: &str) -> Option<&Value> {
        self.given.iter().rev().find_map(|layer| layer.get(key))
    }

    /// The name that a person asked for, in either form: `optimizer.name = "adamw"` or `optimizer = "adamw"`.
    fn given_name(&self, section: &str) -> Option<&str> {
        let name = self.given(&format!("{section}.name")).or_else(|| self.given(section));
        name.and_then(Value::as_str)
    }

    /// Whether the last layer alone trains.
    fn freezes_backbone(&self) -> bool {
        let freeze = self.given("finetune.freeze").and_then(Value::as_array);
        freeze.is_some_and(|patterns| patterns.iter().any(|pattern| pattern == "backbone"))
    }

    /// Whether the last layer trains before the whole network does.
    fn trains_the_head_first(&self) -> bool {
        self.given_number("finetune.head_epochs").is_some()
    }

    fn given_number(&self, key: &str) -> Option<usize> {
        self.given(key).and_then(Value::as_f64).filter(|value| *value >= 1.0).map(|value| value as usize)
    }

    fn is_small(&self) -> bool {
        self.data.median_height.max(self.data.median_width) <= SMALL_SIDE
    }

    /// Whether small images are seen so often that parts of them are hidden, and not yet so often that they are shifted too.
    fn hides_parts(&self, epochs: u32) -> bool {
        let often = (FEW_EPOCHS + 1..=SOME_EPOCHS).contains(&epochs);
        self.is_small() && often && self.data.train_images >= MANY_IMAGES
    }

    fn image_size(&mut self) -> usize {
        if let Some(size) = self.given_number("data.image_size") {
            return size;
        }
        let (height, width) = (self.data.median_height, self.data.median_width);
        let side = height.min(width).max(8);
        if self.is_small() {
            self.choose(
                "data.image_size",
                side,
                format!("the median image is {height}x{width}: no detail is lost"),
                "the data",
            );
            return side;
        }
        let wanted = match self.preset {
            Preset::Quick => 96,
            Preset::Standard => 128,
            Preset::Best => 224,
        };
        // A multiple of 32: a ResNet halves the image five times.
        let size = wanted.min(side / 32 * 32).max(32);
        let reason = if size < wanted {
            format!("the median image is {height}x{width}: larger would only invent pixels")
        } else {
            format!(
                "`{}` at a cost that fits: work grows with the square of the size (images are {height}x{width})",
                self.preset
            )
        };
        self.choose("data.image_size", size, reason, HABIT);
        size
    }

    /// Half as large where the data would give fewer than 20 updates an epoch.
    fn batch_size(&mut self, size: usize) -> usize {
        if let Some(batch_size) = self.given_number("train.batch_size") {
            return batch_size;
        }
        let most = if self.is_small() { 128 } else { 64 };
        let by_data = previous_power_of_two(self.data.train_images / 20);
        // About 3 KiB of kept activations for a pixel of a ResNet: a batch may take a quarter of the memory.
        let bytes_an_image = size * size * 3 * 1024;
        let by_memory =
            previous_power_of_two((self.machine.memory_bytes / 4) as usize / bytes_an_image.max(1));
        let batch_size = most.min(by_data).max(16).min(by_memory.max(1)).min(self.data.train_images.max(1));
        let reason = if batch_size == most {
            "large enough to keep the cores busy, small enough for many updates an epoch".to_owned()
        } else if batch_size == by_memory {
            "what should fit into a quarter of the memory (estimated; `--dry-run` tells the exact bytes)"
                .to_owned()
        } else {
            format!(
                "{} training images: at least 20 updates an epoch where that is possible",
                self.data.train_images
            )
        };
        self.choose("train.batch_size", batch_size, reason, if batch_size == 128 { TRIAL } else { HABIT });
        batch_size
    }

    /// The largest network that the time allows often enough; returns its cost in seconds an epoch.
    fn network(&mut self, size: usize) -> f64 {
        let seconds = |candidate: &Candidate| {
            candidate.seconds_an_epoch(size, self.data.train_images + self.data.val_images / 3, self.machine)
        };
        if let Some(name) = self.given_name("network") {
            let (width, stride) = (self.given_number("network.width"), self.given_number("network.stride"));
            return seconds(&Candidate::named(name, width, stride, size));
        }
        let width_is_given = self.given("network.width").is_some() || self.given("network.widths").is_some();
        let candidates = cost::candidates(self.is_small(), size, self.preset, self.data.train_images);
        let fewest = self.fewest_epochs();
        let budget = self.budget_seconds();
        let affordable =
            candidates.iter().rev().find(|c| seconds(c) * f64::from(fewest) <= LENIENCY * budget);
        let chosen = affordable.unwrap_or(&candidates[0]).clone();
        let epoch = seconds(&chosen);
        let reason = format!(
            "the largest of {} that makes {fewest} epochs in about {} on {} ({:.0} s an epoch)",
            cost::list(&candidates),
            minutes(budget),
            cores(self.machine.cores),
            epoch
        );
        let reason = if affordable.is_some() {
            reason
        } else {
            "the smallest: even this one takes all the time there is".to_owned()
        };
        let source = if chosen.name == "small" { MORE_EPOCHS } else { HE };
        self.choose("network.name", chosen.name, reason, source);
        if !width_is_given {
            self.choose(
                "network.width",
                chosen.width,
                "channels of the first stage: work grows with their square",
                HABIT,
            );
        }
        if let Some(stride) = chosen.stride {
            let reason = if stride == 2 {
                "the stem halves the image: twice the channels for the same work"
            } else {
                "the images are too small to be halved at once"
            };
            self.choose("network.stride", stride, reason, if stride == 2 { STRIDE } else { HABIT });
        }
        if chosen.name != "small" {
            let stem = if size <= SMALL_SIDE { "cifar" } else { "imagenet" };
            let reason = format!(
                "{size} pixels: {}",
                if size <= SMALL_SIDE {
                    "too few to be halved twice at once"
                } else {
                    "halved twice at once, 16 times less work"
                }
            );
            self.choose("network.stem", stem, reason, HE);
        }
        epoch
    }

    /// Epochs that a network must be given to be worth its size.
    fn fewest_epochs(&self) -> u32 {
        match (self.preset, self.is_small()) {
            // More epochs of a smaller network beat few of a larger one; a small set needs more of them for as many updates.
            (Preset::Quick, true) => (480_000 / self.data.train_images.max(1)).clamp(10, 20) as u32,
            (Preset::Quick, false) => 12,
            (Preset::Standard, true) => 20,
            (Preset::Standard, false) => 15,
            (Preset::Best, _) => 30,
        }
    }

    /// What a person would wait: less for a small set, which has less to learn from.
    fn budget_seconds(&self) -> f64 {
        let images = self.data.train_images as f64;
        match (self.preset, self.is_small()) {
            (Preset::Quick, true) => (60.0 + 0.002 * images).min(160.0),
            (Preset::Quick, false) => (60.0 + 0.01 * images).min(170.0),
            (Preset::Standard, true) => (120.0 + 0.01 * images).min(540.0),
            (Preset::Standard, false) => (600.0 + 0.1 * images).min(3300.0),
            (Preset::Best, true) => (600.0 + 0.06 * images).min(3300.0),
            (Preset::Best, false) => (1800.0 + 0.4 * images).min(14_000.0),
        }
    }

    fn epochs(&mut self, seconds_an_epoch: f64) -> u32 {
        if let Some(epochs) = self.given_number("train.epochs") {
            return u32::try_from(epochs).unwrap_or(u32::MAX);
        }
        let budget = self.budget_seconds();
        let most = match self.preset {
            Preset::Quick => 20,
            Preset::Standard => 64,
            Preset::Best => 128,
        };
        let seconds = |epochs: u32| f64::from(epochs) * seconds_an_epoch;
        let rung = RUNGS.into_iter().rev().find(|&epochs| epochs <= most && seconds(epochs) <= budget);
        let fewest = self.fewest_epochs();
        let epochs = if seconds(fewest) <= LENIENCY * budget {
            rung.unwrap_or(1).max(fewest)
        } else {
            rung.unwrap_or(1)
        };
        let measured = if self.machine.training_gflops.is_some() { "measured" } else { "estimated" };
        let took = minutes(seconds(epochs));
        let reason = if epochs == most {
            format!("more would gain little; about {took} ({measured})")
        } else {
            format!("about {took} at {seconds_an_epoch:.0} s an epoch ({measured})")
        };
        self.choose("train.epochs", epochs, reason, "the time that a preset promises");
        epochs
    }

    fn optimizer(&mut self, batch_size: usize, epochs: u32) {
        let name = self.given_name("optimizer").map(str::to_owned);
        match name.as_deref().unwrap_or("sgd") {
            "sgd" => {
                let pretrained = self.given("finetune.weights").is_some_and(Value::is_string);
                let few = self.is_small() && epochs <= FEW_EPOCHS || self.hides_parts(epochs);
                let at_128 = if few { 0.2 } else { 0.1 };
                let fresh = round(at_128 * batch_size as f64 / 128.0).clamp(0.01, 0.4);
                // A head that trains alone starts from nothing, and nothing that is good can be spoilt.
                let head_alone = pretrained && self.freezes_backbone();
                let head_first = pretrained && !head_alone && self.trains_the_head_first();
                let lr = if pretrained && !head_alone && !head_first { round(fresh / 10.0) } else { fresh };
                self.choose("optimizer.name", "sgd", "convolutional networks trained with it are at least as accurate on new images as with adaptive rules", "Wilson et al. 2017, arXiv 1705.08292");
                self.choose(
                    "optimizer.lr",
                    lr,
                    if head_alone {
                        format!("a new last layer alone trains: the rate of a fresh start, {at_128} at 128 images, in proportion to the batch of {batch_size}")
                    } else if head_first {
                        format!("a new last layer begins alone: the rate of a fresh start, {at_128} at 128 images, in proportion to the batch of {batch_size}")
                    } else if pretrained {
                        format!("a tenth of what a fresh start takes at a batch of {batch_size}: weights that are good should move little")
                    } else {
                        let few = if few { ", twice the usual for few epochs" } else { "" };
                        format!("{at_128} at 128 images{few}, in proportion to the batch of {batch_size}")
                    },
                    match (pretrained, few) {
                        (true, _) if head_alone || head_first => "Goyal et al. 2017, arXiv 1706.02677",
                        (true, _) => "Li et al. 2020, arXiv 2002.11770",
                        (false, true) => FEW,
                        (false, false) => "Goyal et al. 2017, arXiv 1706.02677",
                    },
                );
                if head_first {
                    let reason =
                        "weights that are good should move little: a tenth of what the new last layer takes";
                    self.choose(
                        "finetune.backbone_lr_scale",
                        0.1,
                        reason,
                        "Li et al. 2020, arXiv 2002.11770",
                    );
                }
                self.choose("optimizer.momentum", 0.9, "averages about 10 updates", "Sutskever et al. 2013");
                self.choose("optimizer.nesterov", true, "looks ahead, at no cost", "Sutskever et al. 2013");
                self.choose(
                    "optimizer.weight_decay",
                    5e-4,
                    "the usual strength for small residual networks",
                    "Zagoruyko and Komodakis 2016, arXiv 1605.07146",
                );
            }
            rule @ ("adam" | "adamw" | "nadam" | "radam") => {
                let lr = round(0.001 * (batch_size as f64 / 128.0).sqrt());
                let reason =
                    format!("0.001 at 128 images, with the square root of the batch of {batch_size}");
                self.choose("optimizer.lr", lr, reason, "Malladi et al. 2022, arXiv 2205.10287");
                if rule == "adamw" {
                    self.choose(
                        "optimizer.weight_decay",
                        0.05,
                        "decoupled decay is multiplied by the small rate",
                        "Loshchilov and Hutter 2019, arXiv 1711.05101",
                    );
                }
            }
            // Rules with a scale of their own keep their own defaults.
            _ => {}
        }
        if self.given_name("schedule").is_none()
            && !matches!(name.as_deref(), Some("schedule_free_sgd" | "schedule_free_adamw"))
        {
            self.choose(
                "schedule.name",
                "OneCycleLR",
                "up to a large rate and down to none: the fastest way to a good network in a fixed time",
                "Smith and Topin 2018, arXiv 1708.07120",
            );
            self.choose(
                "schedule.unit",
                "iteration",
                "a smooth curve",
                "PyTorch's OneCycleLR is stepped every batch",
            );
            self.choose(
                "schedule.pct_start",
                0.2,
                "a short rise leaves more of a short training for the fall",
                HABIT,
            );
        }
        if self.given_name("loss").is_none_or(|name| name == "cross_entropy") && self.data.classes.len() >= 4
        {
            self.choose(
                "loss.name",
                "cross_entropy",
                "the loss for one class an image",
                "PyTorch's CrossEntropyLoss",
            );
            self.choose(
                "loss.label_smoothing",
                0.1,
                "keeps the network from being too sure of itself",
                "Szegedy et al. 2016, arXiv 1512.00567",
            );
        }
    }

    fn augmentation(&mut self, size: usize, epochs: u32) {
        let flip = names::flip(&self.data.classes);
        match flip {
            Ok(()) => self.choose(
                "augment.horizontal_flip.p",
                0.5,
                "a mirrored image keeps its class here",
                "Krizhevsky et al. 2012",
            ),
            Err(why) => self.choose("augment.horizontal_flip", "none", why, "the class names"),
        }
        if self.freezes_backbone() {
            let key = if self.is_small() { "augment.random_crop" } else { "augment.random_resized_crop" };
            let reason = "the frozen layers see the same pictures in every epoch, so that their features are computed once";
            self.choose(key, "none", reason, HABIT);
        } else if self.is_small() && epochs <= FEW_EPOCHS {
            let reason = "few epochs learn more from the images as they are than from shifted ones";
            self.choose("augment.random_crop", "none", reason, FEW);
        } else if self.hides_parts(epochs) {
            let reason = "hidden parts, below, keep images from being learnt by heart";
            self.choose("augment.random_crop", "none", reason, HABIT);
        } else if self.is_small() {
            let padding = if size < 32 { 2 } else { size / 8 };
            let reason = format!("shifts by up to {padding} pixels keep the class (4 are usual at 32x32)");
            self.choose("augment.random_crop.padding", padding, reason, HE);
        } else {
            let least = if self.preset == Preset::Best { 0.08 } else { 0.35 };
            let reason = "a window of the photo, of a random size and shape";
            self.choose(
                "augment.random_resized_crop.scale",
                json!([least, 1.0]),
                reason,
                "Szegedy et al. 2015, arXiv 1409.4842; from 0.35 on in short trainings is a rule of thumb",
            );
        }
        if self.hides_parts(epochs) && !self.freezes_backbone() {
            let reason = "hides a part of the image: an image that is seen so often would be learnt by heart";
            self.choose("augment.random_erasing.p", 0.3, reason, ERASING);
        } else if self.preset == Preset::Best && !self.freezes_backbone() {
            let reason = "hides a part of the image; reported to help long trainings";
            self.choose("augment.random_erasing.p", 0.25, reason, "Zhong et al. 2020, arXiv 1708.04896");
        }
    }

    fn selection(&mut self) {
        let counts = self.data.class_counts.iter().copied().filter(|&count| count > 0);
        let (Some(least), Some(most)) = (counts.clone().min(), counts.max()) else { return };
        if most > 3 * least {
            let reason = format!(
                "classes have {least} to {most} images: accuracy would mostly measure the large ones"
            );
            self.choose("train.select", "macro_f1", reason, "the data");
        }
    }
}

/// Two significant digits: 0.0353553 says more than is known.
fn round(value: f64) -> f64 {
    let digits = 1 - value.abs().log10().floor() as i32;
    let scale = 10f64.powi(digits);
    (value * scale).round() / scale
}

fn previous_power_of_two(value: usize) -> usize {
    if value == 0 { 1 } else { 1 << value.ilog2() }
}

fn minutes(seconds: f64) -> String {
    if seconds < 90.0 { format!("{seconds:.0} seconds") } else { format!("{:.0} minutes", seconds / 60.0) }
}

fn cores(count: usize) -> String {
    if count == 1 { "1 core".to_owned() } else { format!("{count} cores") }
}
