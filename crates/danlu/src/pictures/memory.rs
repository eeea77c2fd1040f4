//! Memory of a training step, layer by layer.

use danlu_nn::{Graph, MemoryReport};
use danlu_recipe::{Layer, Recipe, Resolved, resolve};
use danlu_train::{RunFolder, TrainError, step_memory};
use danlu_view::layers::BarUnit;
use danlu_view::{Lang, LayerBars, Look, Svg, layer_bars};

use super::weights::draw;

/// The network of a run, from its folder alone.
#[derive(Clone, Debug)]
pub struct RunNetwork {
    /// Its recipe.
    pub recipe: Recipe,
    /// The network that the recipe builds.
    pub graph: Graph,
    /// Side of its images in pixels.
    pub side: usize,
}

/// Builds the network of a run; none where the size of its images is not in its recipe.
///
/// # Errors
/// Where the recipe cannot be read.
pub fn network_of(run: &RunFolder) -> Result<Option<RunNetwork>, TrainError> {
    let info = run.info()?;
    let recipe: Resolved<Recipe> = resolve(&[Layer::from_file(&run.recipe())?])?;
    let recipe = recipe.recipe;
    let Some(side) = recipe.data.image_size else { return Ok(None) };
    let graph = recipe.network.build(info.channels, info.classes.len(), [side, side])?;
    Ok(Some(RunNetwork { recipe, graph, side }))
}

/// The memory of a step of the run's training and its batch size, from its folder alone.
///
/// # Errors
/// As [`network_of`].
pub fn memory_of(run: &RunFolder) -> Result<Option<(MemoryReport, usize)>, TrainError> {
    let Some(RunNetwork { recipe, graph, side }) = network_of(run)? else { return Ok(None) };
    let report = step_memory(&recipe, graph, [side, side])?;
    Ok(Some((report, recipe.train.batch_size)))
}

/// A bar a layer: its weights, their gradients and the optimizer's state, and what it keeps for the backward pass.
///
/// # Errors
/// Never for a network with layers.
pub fn memory(report: &MemoryReport, batch_size: usize, look: &Look) -> Result<Svg, TrainError> {
    // Gradients and state are as large for each layer as its share of the weights.
    let per_weight = |bytes: usize| bytes as f64 / report.weights.max(1) as f64;
    let (gradients, state) = (per_weight(report.gradients), per_weight(report.optimizer));
    let layers = report.layers.iter().map(|layer| {
        let weights = layer.weights as f64;
        (layer.name.clone(), [weights, weights * gradients, weights * state, layer.kept as f64, 0.0])
    });
    let mut bars = LayerBars::memory(layers.collect(), look.lang);
    // Scratch is shared by all layers, and a rule without state has none to show.
    let shown: Vec<bool> =
        (0..bars.parts.len()).map(|part| bars.layers.iter().any(|(_, values)| values[part] > 0.0)).collect();
    keep(&mut bars.parts, &shown);
    bars.layers.iter_mut().for_each(|(_, values)| keep(values, &shown));
    bars.layers.retain(|(_, values)| values.iter().any(|value| *value > 0.0));
    let total = BarUnit::Bytes.text(report.total() as f64);
    bars.title = match look.lang {
        Lang::En => format!("{}: a step of {batch_size} images takes {total}", bars.title),
        Lang::Zh => format!("{}：每步 {batch_size} 张图像，共 {total}", bars.title),
    };
    draw(layer_bars(&bars, look))
}

fn keep<T>(values: &mut Vec<T>, shown: &[bool]) {
    let mut shown = shown.iter();
    values.retain(|_| shown.next().is_none_or(|shown| *shown));
}
