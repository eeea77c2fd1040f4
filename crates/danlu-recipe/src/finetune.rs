//! The recipe's section `finetune`: weights to start from, what of them trains, and when.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::resolve::Fault;

/// Start from weights that exist instead of from scratch (recipe section `finetune`).
///
/// Every key of the weights and of the network is accounted for when the training starts, and listed in the run's
/// `initial_weights.json`. The head is the network's last layer, the backbone everything before it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FinetuneConfig {
    /// The weights to start from: a `.pth` or `.safetensors` file, a Hugging Face folder or a run folder (its best
    /// weights); `imagenet` downloads torchvision's for the network (once, checked by SHA-256; a ResNet-18's where no
    /// network is asked for). Default none: the weights are drawn at random. Where
    /// no network is asked for, it is that of the weights.
    pub weights: Option<String>,
    /// Any key that is missing, unexpected or of another size is an error, as PyTorch's
    /// `load_state_dict(strict=True)`. Default false: it is left out and listed.
    pub strict: bool,
    /// What becomes of the head of the weights. Default `auto`.
    pub head: Head,
    /// What does not train: `backbone`, or patterns on parameter names (`layer1`, `layer1.*`, `conv1.weight`). Default
    /// nothing. `["backbone"]` trains the head alone: fast, and the safest choice for a few hundred images.
    pub freeze: Vec<String>,
    /// What the batch norms of frozen layers normalise with. Default `running`.
    pub frozen_norm: FrozenNorm,
    /// Computes the features of the frozen first layers once an image and keeps them, where those layers stay frozen for more
    /// than one epoch and the augmentation makes the same pictures again (none, or flips and quarter turns alone). Default
    /// true. At most a quarter of the free memory; what does not fit is computed each time.
    pub cache_features: bool,
    /// Epochs at the start in which the head alone trains, at the optimizer's `lr` as it is; then the whole network does, and the
    /// schedule begins. Default 0. 1 or 2 let a new head settle before its first, large gradients reach the pretrained
    /// layers (fastai's `fine_tune`).
    #[schemars(range(min = 0, max = 100_000))]
    pub head_epochs: u32,
    /// Factor on every learning rate once `head_epochs` are over. Default 1. 0.5 is fastai's: a head that has settled takes smaller
    /// steps.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub whole_lr_scale: f64,
    /// Epochs after which the next quarter of the backbone begins to train, the last layers first, once `head_epochs` are over
    /// (gradual unfreezing, Howard and Ruder 2018, arXiv 1801.06146). Default 0: the whole backbone at once.
    #[schemars(range(min = 0, max = 100_000))]
    pub unfreeze_every: u32,
    /// Factor on the learning rate of the backbone. Default 1. 0.1 for pretrained layers that should move less than a
    /// new head; `optimizer.layer_decay` makes it fall with the depth.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub backbone_lr_scale: f64,
    /// Mean of each channel that images are normalised with, 0 to 1. Default: that of the weights where their file
    /// tells it, else measured on the training images.
    pub mean: Option<Vec<f32>>,
    /// Standard deviation of each channel that images are normalised with, 0 to 1. Default as `mean`.
    pub std: Option<Vec<f32>>,
}

impl Default for FinetuneConfig {
    fn default() -> Self {
        FinetuneConfig {
            weights: None,
            strict: false,
            head: Head::Auto,
            freeze: Vec::new(),
            frozen_norm: FrozenNorm::Running,
            cache_features: true,
            head_epochs: 0,
            whole_lr_scale: 1.0,
            unfreeze_every: 0,
            backbone_lr_scale: 1.0,
            mean: None,
            std: None,
        }
    }
}

/// What becomes of the last layer of the weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Head {
    /// Kept where it fits and was not made for other classes, else replaced by a new one; said either way (default).
    #[default]
    Auto,
    /// Always replaced by a new one.
    New,
    /// Always kept; an error where it does not fit.
    Keep,
}

/// What the batch norms of frozen layers normalise with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FrozenNorm {
    /// Their running statistics, which stay as they are: a frozen layer computes the same for an image in training as
    /// in use (default).
    #[default]
    Running,
    /// The statistics of the batch, and the running ones move: what PyTorch does where only `requires_grad` is off. For
    /// images that differ much from those of the weights.
    Batch,
}

impl FinetuneConfig {
    /// What the types alone cannot see.
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut fault = |key: &str, message: String, hint: Option<&str>| {
            let key = format!("finetune.{key}");
            faults.push(Fault { message: format!("`{key}` {message}"), key, hint: hint.map(str::to_owned) });
        };
        if self.weights.as_deref().is_some_and(str::is_empty) {
            fault(
                "weights",
                "is empty, expected a path".to_owned(),
                Some("leave it out to train from scratch"),
            );
        }
        if self.strict && self.weights.is_none() {
            fault(
                "strict",
                "is set and there are no weights".to_owned(),
                Some("name them with `--weights FILE`"),
            );
        }
        if let Some(pattern) = self.freeze.iter().find(|pattern| pattern.is_empty()) {
            fault("freeze", format!("holds {pattern:?}, expected `backbone` or a pattern"), None);
        }
        for (key, scale) in
            [("backbone_lr_scale", self.backbone_lr_scale), ("whole_lr_scale", self.whole_lr_scale)]
        {
            if !(scale > 0.0 && scale <= 1.0) {
                let message = format!("is {scale}, expected above 0 to 1");
                fault(key, message, Some("to train the head alone: `--freeze backbone`"));
            }
        }
        if self.mean.is_some() != self.std.is_some() {
            fault("mean", "and `finetune.std` belong together".to_owned(), Some("give both or neither"));
        }
        for (key, values) in [("mean", &self.mean), ("std", &self.std)] {
            if let Some(values) = values
                && (values.iter().any(|value| !value.is_finite())
                    || key == "std" && values.iter().any(|v| *v <= 0.0))
            {
                fault(
                    key,
                    format!(
                        "is {values:?}, expected finite numbers{}",
                        if key == "std" { " above 0" } else { "" }
                    ),
                    None,
                );
            }
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_have_no_fault_and_senseless_values_are_named() {
        assert_eq!(FinetuneConfig::default().faults(), []);
        let config = FinetuneConfig {
            weights: Some(String::new()),
            backbone_lr_scale: 0.0,
            whole_lr_scale: f64::NAN,
            freeze: vec![String::new()],
            mean: Some(vec![0.5]),
            ..FinetuneConfig::default()
        };
        let faults = config.faults();
        let keys: Vec<&str> = faults.iter().map(|fault| fault.key.as_str()).collect();
        assert_eq!(
            keys,
            [
                "finetune.weights",
                "finetune.freeze",
                "finetune.backbone_lr_scale",
                "finetune.whole_lr_scale",
                "finetune.mean"
            ]
        );
        let strict = FinetuneConfig { strict: true, ..FinetuneConfig::default() };
        assert!(strict.faults()[0].hint.as_deref().is_some_and(|hint| hint.contains("--weights")));
    }
}
