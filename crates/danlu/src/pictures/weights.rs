//! Trained weights as pictures and numbers: filters, distributions from the first epoch to the last, what changed, what is dead.

use std::path::{Path, PathBuf};

use danlu_nn::{Engine, EngineConfig, StateDict, Tensor, WeightSet};
use danlu_recipe::{Layer, Recipe, Resolved, resolve};
use danlu_train::{RunFolder, TrainError, read_result};
use danlu_view::svg::column;
use danlu_view::{
    Histogram, LayerBars, LayerDistribution, Look, Svg, ViewError, distributions, filters, layer_bars,
};
use danlu_weights::{FilterReport, diff, filter_reports, read_state_dict};

/// Bins of a distribution of `values`: enough to see two humps, few enough to be smooth.
fn bins(values: usize) -> usize {
    ((values as f64).sqrt() as usize).clamp(8, 48)
}

/// Layers whose distributions are drawn, evenly chosen, first and last always.
const MOST_LAYERS: usize = 12;

/// The weights of a run or file, with what they are compared to.
#[derive(Clone, Debug)]
pub struct WeightsView {
    /// The file that was read.
    pub path: PathBuf,
    /// Its tensors.
    pub state: StateDict,
    /// Each convolution and linear weight in numbers.
    pub layers: Vec<FilterReport>,
    /// Stages of the training, first to last: an epoch and its weights. Of a run the initial, the best and the last.
    pub stages: Vec<(u64, StateDict)>,
    /// What the change is measured from, in words; none where there is nothing to compare with.
    pub against: Option<String>,
    /// How far each layer moved: `||now - before|| / ||before||`, by tensor.
    pub changes: Vec<(String, f64)>,
}

impl WeightsView {
    /// Reads the weights at `path`, a run folder (its best weights) or any weights file, and compares them with `against`; without
    /// it, those of a run with the weights that it began with, drawn again from its recipe and seed.
    ///
    /// # Errors
    /// Where a file cannot be read.
    pub fn open(path: &Path, against: Option<&Path>) -> Result<Self, TrainError> {
        let loaded = read_state_dict(path)?;
        let run = path.join("run.json").is_file().then(|| RunFolder::open(path)).transpose()?;
        let initial = run.as_ref().map(initial_weights).transpose()?.flatten();
        let mut stages: Vec<(u64, StateDict)> = initial.iter().map(|state| (0, state.clone())).collect();
        if let Some(run) = &run {
            stages.extend(trained_stages(run, &loaded.state)?);
        }
        let (before, name) = match (against, initial) {
            (Some(other), _) => {
                let other = read_state_dict(other)?;
                (Some(other.state), Some(other.path.display().to_string()))
            }
            (None, Some(initial)) => (Some(initial), Some("the initial weights".to_owned())),
            (None, None) => (None, None),
        };
        let mut view = WeightsView {
            layers: filter_reports(&loaded.state),
            path: loaded.path,
            state: loaded.state,
            stages,
            against: name,
            changes: Vec::new(),
        };
        if let Some(before) = before {
            view.changes = changes(&before, &view);
        }
        Ok(view)
    }

    /// The weight of that layer: the whole name of a tensor, or that of its layer (`conv1` for `conv1.weight`). Without a name the
    /// first convolution.
    ///
    /// # Errors
    /// [`TrainError::NotInModel`]; [`TrainError::NoFeatureMaps`] where there is no convolution.
    pub fn convolution(&self, name: Option<&str>) -> Result<(&str, &Tensor), TrainError> {
        let convolutions = || self.state.iter().filter(|(_, tensor)| tensor.shape.len() == 4);
        let Some(name) = name else { return convolutions().next().ok_or(TrainError::NoFeatureMaps) };
        let fits = |key: &str| key == name || key.strip_suffix(".weight") == Some(name);
        convolutions().find(|(key, _)| fits(key)).ok_or_else(|| TrainError::NotInModel {
            what: "convolution",
            name: name.to_owned(),
            known: convolutions().map(|(key, _)| key.to_owned()).collect(),
        })
    }

    /// How many of `layers` are dead, and how many pairs are copies.
    pub fn dead_and_duplicates(&self) -> (usize, usize) {
        let sum = |f: fn(&FilterReport) -> usize| self.layers.iter().map(f).sum();
        (sum(|layer| layer.dead.len()), sum(|layer| layer.duplicates.len()))
    }

    /// The filters of one convolution, the distributions of the layers over the stages, and what changed, one below another.
    ///
    /// # Errors
    /// As [`convolution`](Self::convolution).
    pub fn picture(&self, layer: Option<&str>, most: usize, look: &Look) -> Result<Svg, TrainError> {
        let (name, tensor) = self.convolution(layer)?;
        let mut parts = vec![draw(filters_picture(name, tensor, most, look))?];
        parts.extend(self.distributions(look)?);
        if let Some(against) = &self.against
            && !self.changes.is_empty()
        {
            let mut bars = LayerBars::changed(self.changes.clone(), look.lang);
            bars.title = format!("{} ({against})", bars.title);
            parts.push(draw(layer_bars(&bars, look))?);
        }
        Ok(column(&format!("weights of {}", self.path.display()), parts))
    }

    /// The distributions of up to twelve layers; none where no value is finite.
    ///
    /// # Errors
    /// Never for weights that were read.
    pub fn distributions(&self, look: &Look) -> Result<Option<Svg>, TrainError> {
        let n = self.layers.len();
        let shown: Vec<&FilterReport> = if n <= MOST_LAYERS {
            self.layers.iter().collect()
        } else {
            (0..MOST_LAYERS).map(|i| &self.layers[i * (n - 1) / (MOST_LAYERS - 1)]).collect()
        };
        let only = [(0, self.state.clone())];
        let stages = if self.stages.is_empty() { &only[..] } else { &self.stages[..] };
        let layers: Vec<LayerDistribution> = shown
            .into_iter()
            .map(|layer| {
                let histogram = |state: &StateDict| {
                    let values = &state.get(&layer.name)?.data;
                    Histogram::new(values, bins(values.len())).ok()
                };
                let epochs =
                    stages.iter().filter_map(|(epoch, state)| Some((*epoch, histogram(state)?))).collect();
                LayerDistribution { name: layer.name.clone(), epochs }
            })
            .filter(|layer| !layer.epochs.is_empty())
            .collect();
        if layers.is_empty() { Ok(None) } else { Ok(Some(draw(distributions(&layers, "", look))?)) }
    }
}

fn filters_picture(name: &str, tensor: &Tensor, most: usize, look: &Look) -> Result<Svg, ViewError> {
    let shape = [0, 1, 2, 3].map(|i| tensor.shape.get(i).copied().unwrap_or(1));
    filters(name, &tensor.data, shape, most, look)
}

/// A picture that cannot be drawn from numbers that were checked is a fault of ours.
pub(crate) fn draw<T>(picture: Result<T, ViewError>) -> Result<T, TrainError> {
    picture.map_err(|error| TrainError::Internal { problem: format!("picture: {error}") })
}

/// The weights that a run began with, where they can be drawn again: not where they came from a file.
fn initial_weights(run: &RunFolder) -> Result<Option<StateDict>, TrainError> {
    if run.path().join("initial_weights.json").exists() {
        return Ok(None);
    }
    let info = run.info()?;
    let recipe: Resolved<Recipe> = resolve(&[Layer::from_file(&run.recipe())?])?;
    let recipe = recipe.recipe;
    let Some(side) = recipe.data.image_size else { return Ok(None) };
    let graph = recipe.network.build(info.channels, info.classes.len(), [side, side])?;
    let mut engine = Engine::new(graph, &EngineConfig { threads: 1, ..EngineConfig::default() })?;
    engine.initialize(&recipe.init, recipe.train.seed)?;
    Ok(Some(engine.state_dict(WeightSet::Live)?))
}

/// The best and the last weights with their epochs; a run that is not finished tells no epochs and has only what was read.
fn trained_stages(run: &RunFolder, best: &StateDict) -> Result<Vec<(u64, StateDict)>, TrainError> {
    if !run.result().is_file() {
        return Ok(vec![(1, best.clone())]);
    }
    let result = read_result(run)?;
    let mut stages = vec![(result.best_epoch as u64, best.clone())];
    if result.best_epoch < result.epochs && run.last_weights().is_file() {
        stages.push((result.epochs as u64, read_state_dict(&run.last_weights())?.state));
    }
    Ok(stages)
}

fn changes(before: &StateDict, view: &WeightsView) -> Vec<(String, f64)> {
    let found = diff(before, &view.state);
    let change = |layer: &FilterReport| {
        let same_shape = before.get(&layer.name).is_some_and(|tensor| tensor.shape == layer.shape);
        let moved = found.values.iter().find(|value| value.name == layer.name).map(|value| value.relative);
        same_shape.then(|| (layer.name.clone(), moved.unwrap_or(0.0)))
    };
    view.layers.iter().filter_map(change).collect()
}
