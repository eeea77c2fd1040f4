//! The recipe's section `train`: how long, in what batches, on what, and which weights are kept.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::averaging::SwaConfig;
use crate::progressive::ProgressiveConfig;
use crate::resolve::Fault;

/// How the training runs (recipe section `train`).
///
/// An iteration is one update of the weights: one batch, or `accumulate` batches. An epoch is every training image
/// once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Passes over the training set. Default 10, where no data is known; the advisor chooses by the time that a
    /// person would wait. More epochs with a falling learning rate are more accurate until the validation loss
    /// rises.
    #[schemars(range(min = 1, max = 100_000))]
    pub epochs: u32,
    /// Images in a batch; `"auto"` finds the one that fits the memory, runs fast and learns well (`danlu find
    /// batch`). Default 64. Larger ones run faster and need a larger learning rate (times 2 for SGD where the batch
    /// doubles); from some size on they learn less from each image.
    #[schemars(range(min = 1, max = 65_536))]
    pub batch_size: usize,
    /// Batches whose gradients are added up before the weights change, so that `batch_size * accumulate` images
    /// make an iteration in the memory of `batch_size`. Default 1. Batch norm still sees `batch_size` images.
    #[schemars(range(min = 1, max = 4096))]
    pub accumulate: usize,
    /// Largest global norm of the gradients; longer ones are scaled down to it (PyTorch's `clip_grad_norm_`).
    /// Default none. Use 1 to 5 where the loss jumps.
    pub clip_norm: Option<f64>,
    /// Decay of an exponential moving average of the weights, updated every iteration; the average is evaluated and
    /// kept beside the weights. Default none. 0.999 suits some thousand iterations; it smooths the last epochs where
    /// the learning rate does not fall to 0.
    pub ema: Option<f64>,
    /// Stochastic weight averaging: the mean of the weights at the ends of the last epochs is validated and kept. Default
    /// none. Often worth some tenths of a percent where the learning rate stays high to the end; not with `ema`, which
    /// does the same with less to set.
    pub swa: Option<SwaConfig>,
    /// Progressive resizing: small images first, the full size at the end. Default none; `{}` (or `--progressive`) is half the
    /// side, then 0.75 of it, then all of it, over the first 60 % of the epochs. Cheaper by a third or more; for long trainings
    /// on images large enough to be shrunk.
    pub progressive: Option<ProgressiveConfig>,
    /// Stop when the validation metric no longer improves. Default none: with a schedule that falls to 0 the last
    /// epochs are the best ones, and stopping early forgoes them.
    pub early_stopping: Option<EarlyStopping>,
    /// The validation metric whose best epoch is kept as `weights/best.safetensors`. Default `auto`.
    pub select: Select,
    /// Number format of activations and their gradients; weights, sums and the optimizer are in f32, or with `f64` in f64.
    /// Default `f32`.
    pub precision: Precision,
    /// What computes. Default `cpu`.
    pub device: Device,
    /// Threads for computing and loading. Default none: as many as the machine has cores. Results do not depend on
    /// it.
    #[schemars(range(min = 1, max = 1024))]
    pub threads: Option<usize>,
    /// Seed of everything random but the split (`data.split_seed`): initial weights, order, augmentation, dropout.
    /// Default 0. The same recipe, seed and version give the same bytes on the same instruction set.
    pub seed: u64,
    /// When the state is saved for a resume, beside the end of every epoch.
    pub checkpoint: CheckpointConfig,
    /// Whether TensorBoard's event files are written into the run folder, at the end of every epoch: every scalar of the
    /// events, the weights' histograms, the first filters and the hyper-parameters. Default false: danlu's own curves
    /// and report need none.
    pub tensorboard: bool,
    /// Whether each batch norm is folded into its convolution for prediction and in an exported ONNX model; training never
    /// folds. Default true: the same answers, faster. `false` to compare.
    pub fold_batch_norm: bool,
    /// What happens when the loss or a gradient is no finite number. Default `stop`. Either way it is noticed before
    /// the update, so that the weights stay good.
    pub on_divergence: OnDivergence,
}

impl Default for TrainConfig {
    fn default() -> Self {
        TrainConfig {
            epochs: 10,
            batch_size: 64,
            accumulate: 1,
            clip_norm: None,
            ema: None,
            swa: None,
            progressive: None,
            early_stopping: None,
            select: Select::Auto,
            precision: Precision::F32,
            device: Device::Cpu,
            threads: None,
            seed: 0,
            checkpoint: CheckpointConfig::default(),
            tensorboard: false,
            fold_batch_norm: true,
            on_divergence: OnDivergence::Stop,
        }
    }
}

/// When to stop before the last epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EarlyStopping {
    /// Epochs without improvement that are waited for. Default 10.
    #[schemars(range(min = 1, max = 100_000))]
    pub patience: u32,
    /// What counts as an improvement: by how much the metric of `select` must be better than the best so far.
    /// Default 0 (any). In the metric's own unit: 0.001 is 0.1 points of accuracy.
    #[schemars(range(min = 0.0))]
    pub min_delta: f64,
}

impl Default for EarlyStopping {
    fn default() -> Self {
        EarlyStopping { patience: 10, min_delta: 0.0 }
    }
}

/// The validation metric that says which epoch is best.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Select {
    /// `macro_f1` where the largest class has more than 3 times the images of the smallest, else `top1` (default).
    #[default]
    Auto,
    /// Share of images whose most probable class is right.
    Top1,
    /// Mean of the classes' F1, each class the same: a small class counts as much as a large one.
    MacroF1,
    /// Cross-entropy, the lower the better: where the probabilities matter.
    Loss,
}

/// Number format of activations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32 bits (default).
    #[default]
    F32,
    /// bfloat16, 16 bits with the range of f32: half the memory, faster where the processor multiplies it.
    Bf16,
    /// 64 bits, weights and optimizer included; with `device = "reference"` only. For comparisons with other programs.
    F64,
}

/// What computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Device {
    /// The processor, with the fast kernels (default).
    #[default]
    Cpu,
    /// The processor, with plain loops: slow, for checking the fast ones.
    Reference,
}

/// When the state is saved within an epoch; at the end of every epoch it always is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CheckpointConfig {
    /// Seconds between checkpoints. Default 60: a minute is lost at most. None: only by iterations and epochs.
    #[schemars(range(min = 1))]
    pub seconds: Option<u64>,
    /// Iterations between checkpoints. Default none.
    #[schemars(range(min = 1))]
    pub iterations: Option<u64>,
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        CheckpointConfig { seconds: Some(60), iterations: None }
    }
}

/// What happens when the loss or a gradient is no finite number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnDivergence {
    /// Stop, keep the last good checkpoint, and say where it came from (default).
    #[default]
    Stop,
    /// Go back to the start of the epoch and go on with half the learning rate, at most 3 times; each is said and
    /// written into the events.
    Rollback,
}

/// Seeds up to here are exact in JSON and in every TOML reader.
const MAX_SEED: u64 = (1 << 53) - 1;

impl TrainConfig {
    /// Images that one update of the weights learns from: `batch_size * accumulate`.
    pub fn images_per_iteration(&self) -> usize {
        self.batch_size * self.accumulate
    }

    /// What the ranges of the single keys do not say.
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut fault = |key: &str, value: String, range: &str, reason: &str| {
            let message = format!("`train.{key}` is {value}, expected {range}: {reason}");
            faults.push(Fault { key: format!("train.{key}"), message, hint: None });
        };
        if let Some(norm) = self.clip_norm.filter(|norm| !(*norm > 0.0 && norm.is_finite())) {
            fault(
                "clip_norm",
                norm.to_string(),
                "above 0",
                "at 0 no weight would ever change; leave it out for no clipping",
            );
        }
        if let Some(decay) = self.ema.filter(|decay| !(*decay > 0.0 && *decay < 1.0)) {
            fault(
                "ema",
                decay.to_string(),
                "between 0 and 1",
                "at 0 it is the weights themselves, at 1 it never leaves the start",
            );
        }
        if self.precision == Precision::F64 && self.device != Device::Reference {
            fault(
                "precision",
                "\"f64\"".to_owned(),
                "\"f32\" where `train.device` is \"cpu\"",
                "the fast kernels have no f64; the reference device has",
            );
        }
        if self.ema.is_some() && self.swa.is_some() {
            fault("swa", "on".to_owned(), "off where `train.ema` is set", "only one average can be kept");
        }
        if self.early_stopping.as_ref().is_some_and(|stop| !stop.min_delta.is_finite()) {
            fault(
                "early_stopping.min_delta",
                "not finite".to_owned(),
                "at least 0",
                "nothing would count as an improvement",
            );
        }
        if self.seed > MAX_SEED {
            fault(
                "seed",
                self.seed.to_string(),
                "up to 2^53 - 1",
                "larger integers are not exact in every reader of the recipe",
            );
        }
        faults.extend(self.swa.iter().flat_map(SwaConfig::faults));
        faults.extend(self.progressive.iter().flat_map(ProgressiveConfig::faults));
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_have_no_fault() {
        assert_eq!(TrainConfig::default().faults(), []);
    }

    #[test]
    fn every_senseless_value_is_named_with_range_and_reason() {
        let config = TrainConfig {
            clip_norm: Some(0.0),
            ema: Some(1.0),
            early_stopping: Some(EarlyStopping { patience: 1, min_delta: f64::INFINITY }),
            seed: u64::MAX,
            ..TrainConfig::default()
        };
        let faults = config.faults();
        let keys: Vec<&str> = faults.iter().map(|fault| fault.key.as_str()).collect();
        assert_eq!(keys, ["train.clip_norm", "train.ema", "train.early_stopping.min_delta", "train.seed"]);
        assert_eq!(
            faults[1].message,
            "`train.ema` is 1, expected between 0 and 1: at 0 it is the weights themselves, at 1 it never leaves the start"
        );
    }
}
