//! The options that describe a training: a recipe file, a preset, `--set key=value` and short forms of common keys.

use std::path::PathBuf;

use clap::Args;
use danlu::recipe::{Layer, Preset, RecipeError};

/// Options that every command with a recipe shares; each short form is `--set` of the key that its help names.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct RecipeArgs {
    /// Recipe file (TOML); keys and defaults are in docs/recipe.md
    #[arg(long, value_name = "FILE", help_heading = "Recipe")]
    pub(crate) recipe: Option<PathBuf>,
    /// How long a person would wait: `quick` a few minutes, `standard` a coffee, `best` a lunch
    #[arg(long, value_name = "NAME", help_heading = "Recipe")]
    pub(crate) preset: Option<String>,
    /// Any key of the recipe, `--set optimizer.momentum=0.85`; can be given several times
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Recipe")]
    pub(crate) set: Vec<String>,
    /// `network.name`: small, resnet18, vgg16_bn, ...
    #[arg(long, value_name = "NAME", help_heading = "Recipe")]
    network: Option<String>,
    /// `network.stem` of a ResNet: imagenet, or cifar for images of about 32 pixels
    #[arg(long, value_name = "NAME", help_heading = "Recipe")]
    stem: Option<String>,
    /// `data.image_size` in pixels
    #[arg(long, value_name = "PIXELS", help_heading = "Recipe")]
    image_size: Option<u64>,
    /// `data.limit`: the share of every set to use, `5%` or `0.05`
    #[arg(long, value_name = "SHARE", value_parser = share, help_heading = "Recipe")]
    limit: Option<f64>,
    /// `data.cache`, where decoded images are kept between epochs and runs: auto, off, ram or disk
    #[arg(long, value_name = "WHERE", help_heading = "Recipe")]
    cache: Option<String>,
    /// `train.epochs`
    #[arg(long, value_name = "N", help_heading = "Recipe")]
    epochs: Option<u64>,
    /// `train.progressive = {}`: half the image size first, the full one for the last epochs
    #[arg(long, help_heading = "Recipe")]
    progressive: bool,
    /// `train.batch_size`, samples an update, or `auto`
    #[arg(long, value_name = "N", help_heading = "Recipe")]
    batch_size: Option<String>,
    /// `optimizer.name`: sgd, adamw, adam, rmsprop, ...
    #[arg(long, value_name = "NAME", help_heading = "Recipe")]
    optimizer: Option<String>,
    /// `optimizer.lr`, the learning rate, or `auto`
    #[arg(long, value_name = "LR", help_heading = "Recipe")]
    lr: Option<String>,
    /// `optimizer.momentum`
    #[arg(long, value_name = "M", help_heading = "Recipe")]
    momentum: Option<f64>,
    /// `optimizer.weight_decay`
    #[arg(long, value_name = "WD", help_heading = "Recipe")]
    weight_decay: Option<f64>,
    /// `schedule.name`: CosineAnnealingLR, OneCycleLR, StepLR, ...
    #[arg(long, value_name = "NAME", help_heading = "Recipe")]
    schedule: Option<String>,
    /// `train.seed`
    #[arg(long, value_name = "N", help_heading = "Recipe")]
    seed: Option<u64>,
    /// `train.threads`; the result does not depend on it
    #[arg(long, value_name = "N", help_heading = "Recipe")]
    threads: Option<u64>,
    /// `train.on_divergence`, when a loss or gradient is no finite number: `stop`, or `rollback` to the start of the epoch with half the learning rate
    #[arg(long, value_name = "WHAT", help_heading = "Recipe")]
    on_divergence: Option<String>,
    #[command(flatten)]
    finetune: super::finetune_args::FinetuneArgs,
    /// `train.precision`: f32 or bf16
    #[arg(long, value_name = "NAME", help_heading = "Recipe")]
    precision: Option<String>,
}

/// `5%` or `0.05`.
fn share(text: &str) -> Result<f64, String> {
    let (number, by) = match text.strip_suffix('%') {
        Some(number) => (number, 100.0),
        None => (text, 1.0),
    };
    match number.trim().parse::<f64>() {
        // A bare `5` is as likely meant as 5 % as as five times everything.
        Ok(value) if value > 0.0 && value / by <= 1.0 => Ok(value / by),
        _ => Err("expected a share, as `5%` or `0.05`".to_owned()),
    }
}

impl RecipeArgs {
    /// The recipe file as a layer.
    pub(crate) fn file(&self) -> Result<Option<Layer>, RecipeError> {
        self.recipe.as_deref().map(Layer::from_file).transpose()
    }

    /// The preset asked for.
    pub(crate) fn preset(&self) -> Result<Option<Preset>, RecipeError> {
        self.preset.as_deref().map(str::parse).transpose()
    }

    /// Short forms and `--set` as a layer; `--set` wins, being the more explicit.
    pub(crate) fn flags(&self) -> Result<Layer, RecipeError> {
        let mut layer = Layer::new();
        let texts = [
            ("network.name", &self.network, "--network"),
            ("network.stem", &self.stem, "--stem"),
            ("optimizer.name", &self.optimizer, "--optimizer"),
            ("schedule.name", &self.schedule, "--schedule"),
            ("train.precision", &self.precision, "--precision"),
            ("data.cache", &self.cache, "--cache"),
            ("train.on_divergence", &self.on_divergence, "--on-divergence"),
        ];
        for (key, value, flag) in texts {
            if let Some(value) = value {
                layer.flag(key, value.as_str(), flag)?;
            }
        }
        // A number, or a word such as `auto`, which the schema accepts or refuses by name.
        for (key, value, flag) in
            [("train.batch_size", &self.batch_size, "--batch-size"), ("optimizer.lr", &self.lr, "--lr")]
        {
            if let Some(value) = value {
                match (value.parse::<u64>(), value.parse::<f64>()) {
                    (Ok(whole), _) => layer.flag(key, whole, flag)?,
                    (_, Ok(number)) => layer.flag(key, number, flag)?,
                    _ => layer.flag(key, value.as_str(), flag)?,
                }
            }
        }
        let wholes = [
            ("data.image_size", self.image_size, "--image-size"),
            ("train.epochs", self.epochs, "--epochs"),
            ("train.seed", self.seed, "--seed"),
            ("train.threads", self.threads, "--threads"),
        ];
        for (key, value, flag) in wholes {
            if let Some(value) = value {
                layer.flag(key, value, flag)?;
            }
        }
        for (key, value, flag) in [
            ("optimizer.momentum", self.momentum, "--momentum"),
            ("optimizer.weight_decay", self.weight_decay, "--weight-decay"),
            ("data.limit", self.limit, "--limit"),
        ] {
            if let Some(value) = value {
                layer.flag(key, value, flag)?;
            }
        }
        if self.progressive {
            layer.flag("train.progressive", serde_json::json!({}), "--progressive")?;
        }
        self.finetune.add_to(&mut layer)?;
        for text in &self.set {
            layer.set_flag(text)?;
        }
        Ok(layer)
    }
}
