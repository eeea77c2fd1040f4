//! The options that start a training from weights: `--weights`, `--strict`, `--freeze`, `--fine-tune`.

use clap::Args;
use danlu::recipe::{Layer, RecipeError};

/// Short forms of the recipe's section `finetune`.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct FinetuneArgs {
    /// `finetune.weights`: a .pth or .safetensors file, a Hugging Face folder, a run, or `imagenet`
    /// (downloads torchvision's weights for the network, once)
    #[arg(long, value_name = "FILE", help_heading = "Fine-tuning")]
    weights: Option<String>,
    /// `finetune.strict`: any key that is missing, unexpected or of another size is an error
    #[arg(long, help_heading = "Fine-tuning")]
    strict: bool,
    /// `finetune.freeze`: `backbone` (all but the last layer) or a pattern such as `layer1.*`; can be given several times
    #[arg(long, value_name = "WHAT", help_heading = "Fine-tuning")]
    freeze: Vec<String>,
    /// The head alone for one epoch, then the whole network at half the rate, which falls to a hundredth of it at the first layers
    #[arg(long, help_heading = "Fine-tuning", conflicts_with = "freeze")]
    fine_tune: bool,
    /// As --fine-tune, but the backbone thaws a quarter an epoch, the last layers first
    #[arg(long, help_heading = "Fine-tuning", conflicts_with_all = ["freeze", "fine_tune"])]
    gradual_unfreeze: bool,
}

impl FinetuneArgs {
    /// Adds what was asked for.
    pub(crate) fn add_to(&self, layer: &mut Layer) -> Result<(), RecipeError> {
        let preset = if self.gradual_unfreeze { "--gradual-unfreeze" } else { "--fine-tune" };
        if self.fine_tune || self.gradual_unfreeze {
            // fastai's `fine_tune`: one frozen epoch at the whole rate, then half of it at the head and a tenth of that to a
            // hundredth at the backbone (`lr_mult`).
            layer.flag("finetune.head_epochs", 1, preset)?;
            layer.flag("finetune.whole_lr_scale", 0.5, preset)?;
            layer.flag("finetune.backbone_lr_scale", 0.1, preset)?;
            layer.flag("optimizer.layer_decay", 0.8, preset)?;
            layer.flag("optimizer.layer_decay_min_scale", 0.1, preset)?;
        }
        if self.gradual_unfreeze {
            layer.flag("finetune.unfreeze_every", 1, preset)?;
        }
        if let Some(weights) = &self.weights {
            layer.flag("finetune.weights", weights.as_str(), "--weights")?;
        }
        if self.strict {
            layer.flag("finetune.strict", true, "--strict")?;
        }
        if !self.freeze.is_empty() {
            layer.flag("finetune.freeze", self.freeze.clone(), "--freeze")?;
        }
        Ok(())
    }
}
