//! Trained weights as pictures and numbers: filters, distributions from the first epoch to the last, what changed, what is dead.

use std::path::{Path, PathBuf};

use danlu_nn::{Engine, EngineConfig, StateDict, Tensor, WeightSet};
use danlu_recipe::{Layer, Recipe, Resolved, resolve};
use danlu_train::{Event, RunFolder, TrainError, WeightHistogram, read_events, weight_histograms};
use danlu_view::svg::column;
use danlu_view::{
    Histogram, LayerBars, LayerDistribution, Look, Svg, ViewError, distributions, filters, layer_bars,
};
use danlu_weights::{FilterReport, diff, filter_reports, read_state_dict};

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
    /// How they were spread before the training (epoch 0, where that is known) and after each epoch; of a file as it is.
    pub stages: Vec<(u64, Vec<WeightHistogram>)>,
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
        let mut stages = match &run {
            Some(run) => trained_stages(run)?,
            None => Vec::new(),
        };
        if stages.is_empty() {
            stages.push((1, weight_histograms(&loaded.state)));
        }
        if let Some(initial) = &initial {
            stages.insert(0, (0, weight_histograms(initial)));
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
        let layers: Vec<LayerDistribution> = shown
            .into_iter()
            .map(|layer| {
                let of = |found: &WeightHistogram| Histogram {
                    low: f64::from(found.low),
                    high: f64::from(found.high),
                    counts: found.counts.iter().copied().map(u64::from).collect(),
                };
                let stage = |stage: &(u64, Vec<WeightHistogram>)| {
                    Some((stage.0, of(stage.1.iter().find(|found| found.name == layer.name)?)))
                };
                let epochs = self.stages.iter().filter_map(stage).collect();
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

/// How the weights were spread after each epoch, from the events.
fn trained_stages(run: &RunFolder) -> Result<Vec<(u64, Vec<WeightHistogram>)>, TrainError> {
    if !run.events().is_file() {
        return Ok(Vec::new());
    }
    let stage = |event| match event {
        Event::Weights { epoch, layers } => Some((epoch as u64, layers)),
        _ => None,
    };
    Ok(read_events(&run.events())?.into_iter().filter_map(stage).collect())
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
