//! Starting from weights: which file, what of it fits the network, and what of the network trains.

use std::path::{Path, PathBuf};

use danlu_nn::{BnMode, Engine, EngineConfig, Graph, NetworkConfig, StateDict};
use danlu_optim::{
    Dtype, Group, GroupConfig, GroupingConfig, Horizon, LeadIn, Optimizer, ParamSpec, Preview, Schedule, glob,
};
use danlu_recipe::{FrozenNorm, Head, Layer, Origin, Recipe};
use danlu_weights::{
    IMAGENET_MEAN, IMAGENET_STD, LoadOptions, LoadReport, Loaded, ModelCard, Pretrained, WeightsError,
    match_state_dict, read_state_dict,
};
use serde::Serialize;

use crate::error::TrainError;

/// Weights that fit a network, and what became of every key of their file.
#[derive(Clone, Debug)]
pub struct InitialWeights {
    /// What is loaded; it may lack tensors, which keep their random values.
    pub state: StateDict,
    /// Where it came from and what was done to it (`initial_weights.json`).
    pub origin: WeightsOrigin,
}

/// Where the weights of a run came from: every key is in one of the report's lists.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WeightsOrigin {
    /// The file that was read.
    pub path: String,
    /// How it was stored.
    pub format: &'static str,
    /// What was done while reading: prefixes removed, types converted, the head replaced and why.
    pub notes: Vec<String>,
    /// What became of every key.
    pub report: LoadReport,
}

impl InitialWeights {
    /// A few lines for a person.
    pub fn summary(&self) -> Vec<String> {
        let origin = &self.origin;
        let mut lines = vec![format!("weights: `{}` ({})", origin.path, origin.format)];
        lines.extend(origin.notes.iter().map(|note| format!("  {note}")));
        lines.extend(origin.report.to_string().lines().map(|line| format!("  {line}")));
        lines
    }
}

/// What `finetune.weights` calls the weights that torchvision publishes for the network.
const IMAGENET: &str = "imagenet";

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Weights as read, before a network is known.
#[derive(Debug)]
pub(crate) struct Source {
    loaded: Loaded,
}

impl Source {
    /// Reads the weights that a recipe names; none where it starts from scratch. `imagenet` is downloaded once, for
    /// `network`, and `say` hears of it.
    pub(crate) fn of(
        recipe: &Recipe,
        network: &str,
        say: &mut dyn FnMut(&str),
    ) -> Result<Option<Self>, TrainError> {
        let Some(weights) = &recipe.finetune.weights else { return Ok(None) };
        let path = Path::new(weights);
        if weights != IMAGENET || path.exists() {
            return Ok(Some(Source { loaded: read_state_dict(path)? }));
        }
        let pretrained = Pretrained::of(network)?;
        let mut told = 0;
        let file = pretrained.fetch(&mut |have, total| {
            // Every 16 MiB, and the end.
            if have >= told || Some(have) == total {
                told = have + (16 << 20);
                let of = total.map_or(String::new(), |total| format!(" of {:.1}", mib(total)));
                say(&format!("downloading {}: {:.1}{of} MiB", pretrained.url(), mib(have)));
            }
        })?;
        let mut loaded = read_state_dict(&file)?;
        loaded.card.network = NetworkConfig::by_name(network).and_then(|it| serde_json::to_value(it).ok());
        (loaded.card.mean, loaded.card.std) = (IMAGENET_MEAN.to_vec(), IMAGENET_STD.to_vec());
        Ok(Some(Source { loaded }))
    }

    /// The network that `imagenet` means: the one that a person asks for, else a ResNet-18.
    pub(crate) fn imagenet_network<'a>(recipe: &'a Recipe, layers: &[Layer]) -> &'a str {
        let asked = |key: &str| layers.iter().any(|layer| layer.get(key).is_some());
        if asked("network") || asked("network.name") { recipe.network.name() } else { "resnet18" }
    }

    /// The network of the weights as a layer under what a person says; empty where it is not known or was asked for.
    pub(crate) fn network(&self, layers: &[Layer]) -> Layer {
        let mut layer = Layer::new();
        let asked = |key: &str| layers.iter().any(|layer| layer.get(key).is_some());
        if asked("network") || asked("network.name") {
            return layer;
        }
        let Some(config) = network_of(&self.loaded) else { return layer };
        let origin = Origin::Advisor {
            reason: "the network of the weights".to_owned(),
            source: self.loaded.path.display().to_string(),
        };
        if let (Ok(path), Ok(value)) = ("network".parse(), serde_json::to_value(config)) {
            layer.set(path, value, origin);
        }
        layer
    }

    /// Mean and standard deviation that the weights were trained with, where their file tells.
    pub(crate) fn normalisation(&self, channels: usize) -> Option<(Vec<f32>, Vec<f32>)> {
        let ModelCard { mean, std, .. } = &self.loaded.card;
        (mean.len() == channels && std.len() == channels && std.iter().all(|std| *std > 0.0))
            .then(|| (mean.clone(), std.clone()))
    }

    /// Fits the weights to a network for `classes`.
    pub(crate) fn fit(
        self,
        recipe: &Recipe,
        graph: &Graph,
        classes: &[String],
    ) -> Result<InitialWeights, TrainError> {
        let Loaded { state, card, format, path, mut notes, .. } = self.loaded;
        let strict = recipe.finetune.strict;
        let targets = targets_of(graph);
        let mut options =
            LoadOptions { strict, adapt_input_channels: !strict, replace_head: false, allow_partial: false };
        match recipe.finetune.head {
            Head::Keep => {}
            Head::New => options.replace_head = true,
            // As many classes, but others: their head would say the wrong names.
            Head::Auto => {
                if !strict && !card.classes.is_empty() && card.classes != classes {
                    options.replace_head = true;
                    notes.push(if card.classes.len() == classes.len() {
                        "new head: the weights are for other classes, or for these in another order"
                            .to_owned()
                    } else {
                        let (found, wanted) = (card.classes.len(), classes.len());
                        format!("new head: the weights are for {found} classes, the task has {wanted}")
                    });
                }
            }
        }
        let matched = match match_state_dict(&targets, &state, &options) {
            Err(WeightsError::HeadMismatch { found, expected, .. })
                if recipe.finetune.head == Head::Auto && !strict =>
            {
                notes.push(format!("new head: the weights are for {found} classes, the task has {expected}"));
                match_state_dict(&targets, &state, &LoadOptions { replace_head: true, ..options })?
            }
            other => other.map_err(|error| error.of_file(&path))?,
        };
        let path = std::fs::canonicalize(&path).unwrap_or(path).display().to_string();
        let origin = WeightsOrigin { path, format: format.name(), notes, report: matched.report };
        Ok(InitialWeights { state: matched.state, origin })
    }
}

/// The network that weights belong to: as their card describes it, else as names and shapes tell.
pub(crate) fn network_of(loaded: &Loaded) -> Option<NetworkConfig> {
    if let Some(config) = &loaded.card.network {
        if let Ok(config) = serde_json::from_value::<NetworkConfig>(config.clone()) {
            return Some(config);
        }
        // timm puts a tag behind the name: `resnet50.a1_in1k`.
        let name = loaded.card.architecture().unwrap_or_default();
        if let Some(config) = NetworkConfig::by_name(name.split('.').next().unwrap_or_default()) {
            return Some(config);
        }
    }
    danlu_weights::identify(&loaded.state).and_then(|found| NetworkConfig::by_name(&found.architecture))
}

/// Names and shapes of a network's parameters and buffers.
pub(crate) fn targets_of(graph: &Graph) -> Vec<(String, Vec<usize>)> {
    let params = graph.params().iter().map(|param| (param.name.clone(), param.shape.clone()));
    params.chain(graph.buffers().into_iter().map(|buffer| (buffer.name, buffer.shape))).collect()
}

/// Writes `initial_weights.json` into a run folder.
pub(crate) fn write_origin(run: &Path, origin: &WeightsOrigin) -> Result<PathBuf, TrainError> {
    let path = run.join("initial_weights.json");
    let bytes = crate::run_folder::to_json(origin)?;
    danlu_weights::write_atomic(&path, |writer| std::io::Write::write_all(writer, &bytes))?;
    Ok(path)
}

/// The layer of the network's last parameters.
fn head_of(graph: &Graph) -> &str {
    let last = graph.params().last().map_or("", |param| param.name.as_str());
    last.rsplit_once('.').map_or(last, |(layer, _)| layer)
}

/// Parts of the backbone that begin to train one after the other under `finetune.unfreeze_every`.
const PARTS: usize = 4;

/// What to say of layers that thaw too late to train at all.
pub(crate) fn late_thaw(recipe: &Recipe, graph: &Graph) -> Option<String> {
    let finetune = &recipe.finetune;
    if finetune.head_epochs == 0 && finetune.unfreeze_every == 0 {
        return None;
    }
    let last = match finetune.unfreeze_every {
        0 => u64::from(finetune.head_epochs),
        every => {
            let parts = backbone_parts(graph).into_iter().map(|(_, part)| part as u64).max().unwrap_or(0);
            u64::from(finetune.head_epochs.max(1)) + parts * u64::from(every)
        }
    };
    let epochs = u64::from(recipe.train.epochs);
    (last >= epochs).then(|| {
        format!(
            "the first layers would begin to train in epoch {} and there are {epochs}: they stay as they are",
            last + 1
        )
    })
}

/// The modules of the backbone (`layer4`, `features.3`) and the part that each belongs to: 0 is the last quarter of the weights'
/// layers, which begins first.
fn backbone_parts(graph: &Graph) -> Vec<(String, usize)> {
    let head = head_of(graph);
    let mut modules: Vec<(String, usize)> = Vec::new();
    for param in graph.params() {
        let layer = param.name.rsplit_once('.').map_or(param.name.as_str(), |(layer, _)| layer);
        if layer == head {
            continue;
        }
        // Numbered modules belong to a list: `features.3.conv.0` is of `features.3`, `layer4.1.conv2` of `layer4`.
        let mut names = layer.splitn(3, '.');
        let (first, second) = (names.next().unwrap_or(layer), names.next());
        let is_list = matches!(first, "features" | "blocks" | "classifier");
        let module = match second {
            Some(second) if is_list => format!("{first}.{second}"),
            _ => first.to_owned(),
        };
        match modules.iter_mut().find(|(name, _)| *name == module) {
            Some((_, count)) => *count += 1,
            None => modules.push((module, 1)),
        }
    }
    let all: usize = modules.iter().map(|(_, count)| count).sum();
    let mut after = all;
    let parts = modules.into_iter().map(|(module, count)| {
        after -= count;
        // Where the middle of the module lies, counted from the end.
        let middle = 2 * after + count;
        (module, (middle * PARTS / (2 * all).max(1)).min(PARTS - 1))
    });
    let mut parts: Vec<(String, usize)> = parts.collect();
    // A quarter that a large module passes over would be an epoch in which nothing new trains.
    let mut there: Vec<usize> = parts.iter().map(|(_, part)| *part).collect();
    there.sort_unstable();
    there.dedup();
    parts.iter_mut().for_each(|(_, part)| *part = there.iter().position(|it| *it == *part).unwrap_or(0));
    parts
}

/// The recipe's parameter groups, with what `finetune` freezes or slows down put before the groups that were written
/// out, which therefore win.
pub(crate) fn grouping(recipe: &Recipe, graph: &Graph) -> GroupingConfig {
    let finetune = &recipe.finetune;
    let head = format!("{}.*", head_of(graph));
    let group = |pattern: &str| GroupConfig { pattern: pattern.to_owned(), ..GroupConfig::default() };
    let mut groups = Vec::new();
    if finetune.head_epochs > 0 || finetune.unfreeze_every > 0 || finetune.backbone_lr_scale != 1.0 {
        let scaled = finetune.backbone_lr_scale != 1.0;
        groups.push(GroupConfig {
            unfreeze_epoch: Some(u64::from(finetune.head_epochs)),
            lr_scale: scaled.then_some(finetune.backbone_lr_scale),
            ..group("*")
        });
        groups.push(GroupConfig { unfreeze_epoch: Some(0), lr_scale: scaled.then_some(1.0), ..group(&head) });
    }
    if finetune.unfreeze_every > 0 {
        for (module, part) in backbone_parts(graph) {
            // The head is alone first, even where `head_epochs` does not say for how long.
            let first = u64::from(finetune.head_epochs.max(1));
            let epoch = first + part as u64 * u64::from(finetune.unfreeze_every);
            groups.push(GroupConfig { unfreeze_epoch: Some(epoch), ..group(&format!("{module}.*")) });
        }
    }
    for pattern in &finetune.freeze {
        if pattern == "backbone" {
            groups.push(GroupConfig { freeze: Some(true), ..group("*") });
            groups.push(GroupConfig { freeze: Some(false), ..group(&head) });
            continue;
        }
        let plain = !pattern.contains(['*', '?']);
        let is_parameter = graph.params().iter().any(|param| param.name == *pattern);
        let whole = if plain && !is_parameter { format!("{pattern}.*") } else { pattern.clone() };
        groups.push(GroupConfig { freeze: Some(true), ..group(&whole) });
    }
    let own = &recipe.optimizer.grouping;
    groups.extend(own.groups.iter().cloned());
    GroupingConfig { groups, ..own.clone() }
}

/// The schedule of a training: begun once the head has had its epochs alone.
pub(crate) fn schedule(
    recipe: &Recipe,
    optimizer: &Optimizer,
    horizon: Horizon,
) -> Result<Schedule, TrainError> {
    Ok(Schedule::after(&recipe.schedule, optimizer.groups(), horizon, lead_in(recipe))?)
}

fn lead_in(recipe: &Recipe) -> LeadIn {
    let finetune = &recipe.finetune;
    LeadIn { epochs: u64::from(finetune.head_epochs), then: finetune.whole_lr_scale }
}

/// The learning rates of a whole training and its parameter groups, without training: what `danlu show schedule` draws.
///
/// # Errors
/// What the optimizer or the schedule refuses.
pub fn preview_schedule(
    recipe: &Recipe,
    graph: &Graph,
    iterations_per_epoch: u64,
) -> Result<(Preview, Vec<Group>), TrainError> {
    let engine = Engine::new(graph.clone(), &EngineConfig { threads: 1, ..EngineConfig::default() })?;
    let optimizer = crate::session::optimizer(recipe, &engine)?;
    let horizon = Horizon { epochs: u64::from(recipe.train.epochs), iterations_per_epoch };
    let preview = Preview::after(&recipe.schedule, optimizer.groups(), horizon, lead_in(recipe))?;
    Ok((preview, optimizer.groups().to_vec()))
}

/// Refuses patterns that match nothing and a network of which nothing would train, before anything is written.
pub(crate) fn check(recipe: &Recipe, graph: &Graph) -> Result<(), TrainError> {
    let params = graph.params();
    let specs: Vec<ParamSpec> = params
        .iter()
        .map(|param| ParamSpec { name: param.name.clone(), shape: param.shape.clone() })
        .collect();
    let grouping = grouping(recipe, graph);
    danlu_optim::state_bytes_with(&recipe.optimizer.rule, &grouping, &specs, Dtype::F32)?;
    let frozen = |spec: &ParamSpec| {
        let matching = grouping.groups.iter().filter(|group| glob(&group.pattern, &spec.name));
        matching.filter_map(|group| group.freeze).next_back().unwrap_or(false)
    };
    if specs.iter().all(frozen) { Err(TrainError::NothingTrains) } else { Ok(()) }
}

/// What the batch norms of frozen layers do in training.
pub(crate) fn bn_mode(recipe: &Recipe) -> BnMode {
    match recipe.finetune.frozen_norm {
        FrozenNorm::Running => BnMode::RunningWhereFrozen,
        FrozenNorm::Batch => BnMode::Batch,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trainable(toml: &str, epoch: u64) -> Vec<(String, bool, f64)> {
        let layer = Layer::from_toml(toml, "r.toml").expect("is TOML");
        let recipe: Recipe = danlu_recipe::resolve(&[layer]).expect("is a recipe").recipe;
        let graph =
            NetworkConfig::by_name("resnet18").expect("is known").build(3, 4, [32, 32]).expect("builds");
        let engine = danlu_nn::Engine::new(graph, &Default::default()).expect("starts");
        let grouping = grouping(&recipe, engine.graph());
        let specs = engine.param_specs();
        let mut optimizer =
            Optimizer::with_grouping(&recipe.optimizer.rule, &grouping, &specs, None, Dtype::F32)
                .expect("groups");
        optimizer.set_epoch(epoch);
        let mut lr = vec![0.0; specs.len()];
        for group in optimizer.groups() {
            group.params.iter().for_each(|&param| lr[param] = group.lr);
        }
        let names = specs.into_iter().map(|spec| spec.name);
        names.zip(optimizer.trainable()).zip(lr).map(|((name, trains), lr)| (name, trains, lr)).collect()
    }

    #[test]
    fn a_frozen_backbone_leaves_the_head_alone_to_train() {
        for (name, trains, _) in trainable("finetune.freeze = [\"backbone\"]", 5) {
            assert_eq!(trains, name.starts_with("fc."), "{name}");
        }
    }

    #[test]
    fn a_layer_is_frozen_by_its_name_and_a_group_of_ones_own_wins() {
        let toml =
            "finetune.freeze = [\"backbone\"]\n[[optimizer.groups]]\nmatch = \"layer4.*\"\nfreeze = false";
        for (name, trains, _) in trainable(toml, 0) {
            assert_eq!(trains, name.starts_with("fc.") || name.starts_with("layer4."), "{name}");
        }
        for (name, trains, _) in trainable("finetune.freeze = [\"layer1\", \"conv1.weight\", \"*.bn2.*\"]", 0)
        {
            let frozen = name.starts_with("layer1.") || name == "conv1.weight" || name.contains(".bn2.");
            assert_eq!(trains, !frozen, "{name}");
        }
    }

    #[test]
    fn gradual_unfreezing_goes_from_the_last_layers_to_the_first() {
        let toml = "finetune = { head_epochs = 2, unfreeze_every = 3 }";
        let begins = |name: &str| {
            (0..20).find(|&epoch| trainable(toml, epoch).iter().any(|(n, trains, _)| n == name && *trains))
        };
        let stages: Vec<Option<u64>> =
            ["fc.weight", "layer4.0.conv1.weight", "layer3.1.bn2.bias", "layer2.0.conv1.weight"]
                .map(begins)
                .to_vec();
        assert_eq!(stages[..3], [Some(0), Some(2), Some(5)]);
        assert!(stages[3] > stages[2] && begins("conv1.weight") >= stages[3], "{stages:?}");
        assert_eq!(begins("conv1.weight"), Some(2 + 3 * 3));
    }

    #[test]
    fn the_head_trains_first_and_the_backbone_follows_more_slowly() {
        let toml = "finetune = { head_epochs = 2, backbone_lr_scale = 0.1 }\noptimizer = { name = \"sgd\", lr = 0.5 }";
        for (name, trains, lr) in trainable(toml, 1) {
            assert_eq!(trains, name.starts_with("fc."), "{name}");
            assert!((lr - if name.starts_with("fc.") { 0.5 } else { 0.05 }).abs() < 1e-12, "{name}: {lr}");
        }
        assert!(trainable(toml, 2).iter().all(|(_, trains, _)| *trains));
    }
}
