//! From a request to a fully resolved recipe: the data are opened, every automatic choice is made and said.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use danlu_data::{ChannelStats, DataConfig, Dataset, LoaderConfig, Part, channel_stats};
use danlu_nn::{Engine, EngineConfig, Graph, MemoryReport, PlanKey};
use danlu_optim::Horizon;
use danlu_recipe::{
    Choice, DataFacts, Device, Layer, Origin, Precision, Preset, Recipe, Resolved, advise, resolve,
};

use crate::averaging::keeps_average;
use crate::error::TrainError;
use crate::finetune::{InitialWeights, Source};
use crate::progress::Observer;
use crate::run_folder::ChoiceInfo;

/// What a user asked for.
#[derive(Clone, Debug)]
pub struct TrainRequest {
    /// Path of the data set; `demo` is the embedded one where no folder of that name exists.
    pub data: PathBuf,
    /// How long a person would wait.
    pub preset: Preset,
    /// Recipe file and command line, the weaker first.
    pub layers: Vec<Layer>,
    /// The command as it was typed, for the report; may be empty.
    pub command: String,
}

/// A training that could start: data opened, every value of the recipe known.
#[derive(Debug)]
pub struct Prepared {
    /// The data set as it was asked for, for messages and the run folder.
    pub data: String,
    /// The opened data set.
    pub dataset: Arc<Dataset>,
    /// The recipe, nothing left open.
    pub recipe: Resolved<Recipe>,
    /// The automatic choices that the recipe really holds.
    pub choices: Vec<Choice>,
    /// Mean and standard deviation of the training images.
    pub stats: ChannelStats,
    /// Height and width of the network's input.
    pub size: [usize; 2],
    /// The weights to start from, fitted to the network; none for a start from scratch, and for a run that has begun.
    pub initial: Option<InitialWeights>,
}

/// Opens `path`, or the embedded set for `demo`.
pub(crate) fn open_data(path: &Path, config: &DataConfig) -> Result<Dataset, TrainError> {
    Ok(if is_demo(path) { Dataset::demo(config)? } else { Dataset::open(path, config)? })
}

/// Whether the embedded set is meant: the name alone, and no folder of that name in the way.
pub(crate) fn is_demo(path: &Path) -> bool {
    path == Path::new("demo") && !path.exists()
}

impl Prepared {
    /// Opens the data, asks the advisor, and resolves the recipe: advisor < file < flags.
    ///
    /// # Errors
    /// Whatever is wrong with the data or the recipe, and a network or batch that does not fit.
    pub fn new(request: &TrainRequest) -> Result<Self, TrainError> {
        Self::observed(request, &mut crate::progress::Silent)
    }

    /// As [`new`](Prepared::new), with an observer that hears of a download, and what the finders try where something is `"auto"`.
    ///
    /// # Errors
    /// As [`new`](Prepared::new).
    pub fn observed(request: &TrainRequest, observer: &mut dyn Observer) -> Result<Self, TrainError> {
        // What the user says decides how the data are opened; what the data are decides the advice.
        let asked: Resolved<Recipe> = resolve(&request.layers)?;
        let dataset = open_data(&request.data, &asked.recipe.data)?;
        let network = Source::imagenet_network(&asked.recipe, &request.layers);
        let weights = Source::of(&asked.recipe, network, &mut |line| observer.say(line))?;
        let mut given: Vec<Layer> = weights.iter().map(|weights| weights.network(&request.layers)).collect();
        given.extend(request.layers.iter().cloned());
        let advice = advise(&data_facts(&dataset), &crate::machine::machine_facts()?, request.preset, &given);
        let mut layers = vec![Layer::from_choices(&advice)?];
        layers.extend(given);
        let mut recipe: Resolved<Recipe> = resolve(&layers)?;
        let auto = recipe.auto.clone();
        fill_auto(&mut recipe)?;
        let image_size = recipe.recipe.data.image_size.unwrap_or_else(|| dataset.suggested_image_size());
        let measured = |reason: &str| Origin::Finder { reason: reason.to_owned() };
        if recipe.recipe.data.image_size.is_none() {
            recipe.fill("data.image_size", image_size, measured("the size of most images"))?;
        }
        let channels = dataset.channels;
        recipe.fill("data.channels", channels, measured("found by looking at the images"))?;
        if let Some((mean, std)) = weights.as_ref().and_then(|weights| weights.normalisation(channels))
            && recipe.recipe.finetune.mean.is_none()
        {
            let tree = |values: Vec<f32>| values.iter().map(|value| number(*value)).collect::<Vec<_>>();
            let mut layer = Layer::new();
            for (key, values) in [("finetune.mean", mean), ("finetune.std", std)] {
                let path = key.parse().map_err(danlu_recipe::RecipeError::from)?;
                layer.set(path, tree(values).into(), measured("what the weights were trained with"));
            }
            recipe = recipe.with(&layer)?;
        }
        let mut facts = Layer::new();
        facts.set(
            "run".parse().map_err(danlu_recipe::RecipeError::from)?,
            serde_json::json!({
                "danlu": env!("CARGO_PKG_VERSION"),
                "data": request.data.display().to_string(),
                "fingerprint": dataset.fingerprint,
                "classes": dataset.classes,
            }),
            Origin::Default,
        );
        recipe = recipe.with(&facts)?;
        let choices = advice
            .into_iter()
            .filter(|choice| matches!(recipe.origin(&choice.key), Origin::Advisor { .. }))
            .collect();
        let mut prepared = Self::checked(request.data.display().to_string(), dataset, recipe, choices)?;
        if let Some(weights) = weights {
            prepared.fit(weights)?;
        }
        crate::find::fill(&mut prepared, &auto, observer)?;
        Ok(prepared)
    }

    /// Fits weights to the network.
    fn fit(&mut self, weights: Source) -> Result<(), TrainError> {
        let fitted = weights.fit(&self.recipe.recipe, &self.graph()?, &self.dataset.classes)?;
        self.initial = Some(fitted);
        Ok(())
    }

    /// The weights to start from, read again where a run was stopped before its first checkpoint.
    pub(crate) fn initial_weights(&self) -> Result<Option<InitialWeights>, TrainError> {
        if self.initial.is_some() {
            return Ok(self.initial.clone());
        }
        let recipe = &self.recipe.recipe;
        let source = Source::of(recipe, recipe.network.name(), &mut |_| {})?;
        source.map(|source| source.fit(recipe, &self.graph()?, &self.dataset.classes)).transpose()
    }

    /// A training from a recipe in which nothing is open (that of a run folder).
    pub(crate) fn from_resolved(data: &Path, recipe: Resolved<Recipe>) -> Result<Self, TrainError> {
        let dataset = open_data(data, &recipe.recipe.data)?;
        Self::checked(data.display().to_string(), dataset, recipe, Vec::new())
    }

    fn checked(
        data: String,
        dataset: Dataset,
        recipe: Resolved<Recipe>,
        choices: Vec<Choice>,
    ) -> Result<Self, TrainError> {
        refuse_what_is_missing(&recipe.recipe)?;
        let image_size = recipe.recipe.data.image_size.unwrap_or_else(|| dataset.suggested_image_size());
        let size = [image_size, image_size];
        let batch_size = recipe.recipe.train.batch_size;
        if batch_size > dataset.train.len() {
            return Err(TrainError::BatchTooLarge { batch_size, samples: dataset.train.len() });
        }
        let mut stats =
            channel_stats(&dataset, &LoaderConfig::evaluate(&recipe.recipe.data, size, batch_size))?;
        if let (Some(mean), Some(std)) = (&recipe.recipe.finetune.mean, &recipe.recipe.finetune.std) {
            let channels = dataset.channels;
            if mean.len() != channels || std.len() != channels {
                return Err(TrainError::Normalisation { found: mean.len().max(std.len()), channels });
            }
            (stats.mean, stats.std) = (mean.clone(), std.clone());
        }
        let initial = None;
        let prepared = Prepared { data, dataset: Arc::new(dataset), recipe, choices, stats, size, initial };
        crate::finetune::check(&prepared.recipe.recipe, &prepared.graph()?)?;
        Ok(prepared)
    }

    /// Every value that is not the default, in the order of the recipe.
    pub fn choice_infos(&self) -> Vec<ChoiceInfo> {
        let mut infos = Vec::new();
        self.walk("", &self.recipe.tree(), &mut infos);
        infos
    }

    fn walk(&self, path: &str, value: &serde_json::Value, infos: &mut Vec<ChoiceInfo>) {
        if let serde_json::Value::Object(fields) = value {
            for (key, value) in fields {
                let inner = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                // What a run says about itself is no choice.
                if inner != "run" {
                    self.walk(&inner, value, infos);
                }
            }
            return;
        }
        let origin = self.recipe.origin(path);
        if origin == Origin::Default {
            return;
        }
        let source = match &origin {
            Origin::Advisor { source, .. } => source.clone(),
            _ => String::new(),
        };
        infos.push(ChoiceInfo {
            key: path.to_owned(),
            value: if value.is_null() { "none".to_owned() } else { value.to_string() },
            reason: origin.reason().unwrap_or_default().to_owned(),
            source,
            asked: origin.is_asked_for(),
        });
    }

    /// The network for these data.
    ///
    /// # Errors
    /// Sizes that do not fit, with the layer's name.
    pub fn graph(&self) -> Result<Graph, TrainError> {
        let dataset = &self.dataset;
        Ok(self.recipe.recipe.network.build(dataset.channels, dataset.classes.len(), self.size)?)
    }

    /// Updates of the weights in an epoch.
    pub fn iterations_per_epoch(&self) -> usize {
        let (images, train) = (self.dataset.train.len(), &self.recipe.recipe.train);
        if self.recipe.recipe.data.drop_last {
            return (images / train.batch_size.max(1)).div_ceil(train.accumulate.max(1));
        }
        images.div_ceil(train.images_per_iteration())
    }

    /// Checks what only the data and the network can tell: augmentations against the image's size, patterns of groups,
    /// the schedule over the whole training. Nothing is written and nothing trained.
    ///
    /// # Errors
    /// As the start of the training, with the key and the reason.
    pub fn validate(&self) -> Result<(), TrainError> {
        let recipe = &self.recipe.recipe;
        let graph = self.graph()?;
        for side in crate::progressive::sizes(recipe, self.size[0]) {
            recipe.augment.validate_for([side, side])?;
            graph.flops(side, side)?;
        }
        let engine = Engine::new(graph, &engine_config(recipe))?;
        let optimizer = crate::session::optimizer(recipe, &engine)?;
        let horizon = Horizon {
            epochs: u64::from(recipe.train.epochs),
            iterations_per_epoch: self.iterations_per_epoch() as u64,
        };
        crate::finetune::schedule(recipe, &optimizer, horizon)?;
        Ok(())
    }

    /// Exact bytes of a training step, before anything of it is allocated.
    ///
    /// # Errors
    /// Sizes that do not fit.
    pub fn memory(&self) -> Result<MemoryReport, TrainError> {
        step_memory(&self.recipe.recipe, self.graph()?, self.size)
    }
}

/// The exact bytes of a training step of a recipe with all weights training, on images of `[height, width]`.
///
/// # Errors
/// Where the network does not fit the images.
pub fn step_memory(recipe: &Recipe, graph: Graph, size: [usize; 2]) -> Result<MemoryReport, TrainError> {
    let mut engine = Engine::new(graph, &engine_config(recipe))?;
    if keeps_average(recipe) {
        engine.ema_start();
    }
    let state = danlu_optim::state_bytes(&recipe.optimizer.rule, &engine.param_specs());
    let key = PlanKey::train(recipe.train.batch_size, size[0], size[1]);
    Ok(engine.memory(&key)?.with_optimizer(state))
}

/// As JSON, with the digits of the f32 and not those of its neighbour in f64.
fn number(value: f32) -> serde_json::Value {
    value.to_string().parse::<f64>().map_or(serde_json::Value::Null, Into::into)
}

/// The engine that a recipe asks for.
pub(crate) fn engine_config(recipe: &Recipe) -> EngineConfig {
    EngineConfig {
        device: match recipe.train.device {
            Device::Cpu => danlu_nn::DeviceKind::Cpu,
            Device::Reference => danlu_nn::DeviceKind::Reference,
        },
        precision: match recipe.train.precision {
            Precision::F64 => danlu_nn::Precision::F64,
            Precision::F32 | Precision::Bf16 => danlu_nn::Precision::F32,
        },
        threads: recipe.train.threads.unwrap_or(0),
        isa: None,
    }
}

/// What the schema allows and the trainer cannot do yet is refused by name, never ignored.
fn refuse_what_is_missing(recipe: &Recipe) -> Result<(), TrainError> {
    if recipe.train.precision == Precision::Bf16 {
        let [key, value, instead] = ["train.precision", "bf16", "f32"].map(str::to_owned);
        return Err(TrainError::Unsupported { key, value, instead });
    }
    Ok(())
}

/// What holds until the finders have looked: the article's prior for the learning rate, the default for the batch size.
fn fill_auto(recipe: &mut Resolved<Recipe>) -> Result<(), TrainError> {
    for key in recipe.auto.clone() {
        let (value, reason): (serde_json::Value, &str) = match key.as_str() {
            "optimizer.lr" => (
                crate::find::prior_lr(&recipe.recipe.optimizer.rule).into(),
                "the usual start where nothing is known",
            ),
            _ => (recipe.recipe.train.batch_size.into(), "the default, a middle value"),
        };
        recipe.fill(&key, value, Origin::Finder { reason: reason.to_owned() })?;
    }
    Ok(())
}

fn data_facts(dataset: &Dataset) -> DataFacts {
    DataFacts {
        train_images: dataset.train.len(),
        val_images: dataset.val.len(),
        test_images: dataset.test.len(),
        classes: dataset.classes.clone(),
        class_counts: dataset.class_counts(Part::Train),
        channels: dataset.channels,
        median_height: dataset.sizes.median[0],
        median_width: dataset.sizes.median[1],
    }
}
