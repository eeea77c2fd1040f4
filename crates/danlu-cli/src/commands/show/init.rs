//! `danlu show init`: what each initialisation makes of an image, in one convolution and layer by layer.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use danlu::data::{Batch, Loader, LoaderConfig, Part};
use danlu::nn::init::{InitConfig, InitMethod};
use danlu::nn::{Engine, EngineConfig, Graph, Images, Input, NetworkConfig, NodeId, WeightSet};
use danlu::train::{Observer, Prepared, TrainError};
use danlu::view::terminal::table;
use danlu::view::{Bitmap, ColorMap, LayerStats, Look, Svg, init_comparison, layer_stats};

use super::output::{picture_path, request, term, write_picture};
use crate::recipe_args::RecipeArgs;
use crate::terminal::Terminal;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  danlu show init demo\n  danlu show init photos/ --network vgg16_bn --output init.svg\n  danlu show init demo --network small --images 64 --json"
)]
pub(super) struct InitArgs {
    /// The data set whose first validation images are taken: a folder of images, of IDX files, or `demo`
    data: PathBuf,
    #[command(flatten)]
    recipe: RecipeArgs,
    /// Images that go through the network
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1024))]
    images: u64,
    /// The file to draw into (.png or .svg)
    #[arg(long, short, value_name = "FILE", value_parser = picture_path, default_value = "init.svg")]
    output: PathBuf,
    /// Print the statistics as JSON
    #[arg(long)]
    json: bool,
}

/// The filters of the one convolution whose outputs are drawn, two by two.
const FILTERS: usize = 4;

/// What the article compares, and what danlu has beside it; each as a recipe spells it.
fn methods() -> anyhow::Result<Vec<(&'static str, InitMethod)>> {
    let list = [
        ("zeros", serde_json::json!({ "name": "constant", "value": 0.0 })),
        ("ones", serde_json::json!({ "name": "constant", "value": 1.0 })),
        ("uniform [0, 1)", serde_json::json!({ "name": "uniform" })),
        ("normal, std 1", serde_json::json!({ "name": "normal" })),
        ("normal, std 0.01", serde_json::json!({ "name": "normal", "std": 0.01 })),
        ("trunc_normal, std 0.02", serde_json::json!({ "name": "trunc_normal", "std": 0.02 })),
        ("xavier_uniform", serde_json::json!({ "name": "xavier_uniform" })),
        ("xavier_normal", serde_json::json!({ "name": "xavier_normal" })),
        ("kaiming_uniform", serde_json::json!({ "name": "kaiming_uniform", "nonlinearity": "relu" })),
        ("kaiming_normal", serde_json::json!({ "name": "kaiming_normal", "nonlinearity": "relu" })),
        ("orthogonal", serde_json::json!({ "name": "orthogonal", "gain": std::f64::consts::SQRT_2 })),
        ("dirac", serde_json::json!({ "name": "dirac" })),
        ("pytorch", serde_json::json!({ "name": "pytorch" })),
    ];
    list.into_iter().map(|(name, value)| Ok((name, serde_json::from_value(value)?))).collect()
}

/// Statistics of one layer's output.
struct LayerRow {
    name: String,
    mean: f64,
    std: f64,
    /// Share of the channels that are 0 everywhere.
    dead: f64,
}

pub(super) fn run(args: InitArgs) -> anyhow::Result<()> {
    let prepared = Prepared::new(&request(args.data.clone(), &args.recipe)?)?;
    let recipe = &prepared.recipe.recipe;
    let config = LoaderConfig::evaluate(&recipe.data, prepared.size, args.images as usize);
    let batch = Loader::new(prepared.dataset.clone(), Part::Val, config)
        .and_then(|loader| loader.batch(0, 0))
        .map_err(TrainError::from)?;
    let graph = prepared.graph()?;
    let one = one_convolution(&prepared)?;
    let mut results: Vec<(&str, Vec<LayerRow>)> = Vec::new();
    let mut outputs = Vec::new();
    let mut terminal = Terminal::new(args.json);
    for (name, method) in methods()? {
        // The orthogonal one of a VGG takes a while.
        terminal.say(&format!("{name}: through {} as initialised", recipe.network.name()));
        let layers = through(&graph, &prepared, &batch, &method)?;
        outputs.push((name.to_owned(), feature_maps(&one, &prepared, &batch, &method)?));
        results.push((name, layers));
    }
    let picture = picture(&batch, outputs, &results)?;
    write_picture(&picture, &args.output)?;
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{:#}", json(recipe.network.name(), batch.len(), &results))?;
        return Ok(());
    }
    let rows: Vec<Vec<String>> = results.iter().map(|(name, layers)| summary(name, layers)).collect();
    let head = ["weights", "std of layer 1", "of the last", "ratio", "last mean", "most dead"];
    write!(out, "{}", table(&head, &rows, term()))?;
    writeln!(
        out,
        "{} weight layers of `{}`, {} image(s), as initialised: batch norms pass values on unchanged.\npicture: {}",
        results.first().map_or(0, |(_, layers)| layers.len()),
        recipe.network.name(),
        batch.len(),
        args.output.display()
    )?;
    Ok(())
}

fn summary(name: &str, layers: &[LayerRow]) -> Vec<String> {
    let (first, last) = (layers.first().map_or(0.0, |row| row.std), layers.last().map_or(0.0, |row| row.std));
    let ratio = if first > 0.0 { format!("{:.2e}", last / first) } else { "-".to_owned() };
    let dead = layers.iter().map(|row| row.dead).fold(0.0, f64::max);
    let mean = layers.last().map_or(0.0, |row| row.mean);
    vec![
        name.to_owned(),
        format!("{first:.3e}"),
        format!("{last:.3e}"),
        ratio,
        format!("{mean:.3e}"),
        format!("{:.0} %", 100.0 * dead),
    ]
}

fn json(network: &str, images: usize, results: &[(&str, Vec<LayerRow>)]) -> serde_json::Value {
    let inits: Vec<serde_json::Value> = results
        .iter()
        .map(|(name, layers)| {
            let layers: Vec<serde_json::Value> = layers
                .iter()
                .map(|row| {
                    serde_json::json!({ "name": row.name, "mean": row.mean, "std": row.std, "dead": row.dead })
                })
                .collect();
            serde_json::json!({ "name": name, "layers": layers })
        })
        .collect();
    serde_json::json!({ "network": network, "images": images, "inits": inits })
}

/// A network of one 7x7 convolution with a ReLU, for the picture.
fn one_convolution(prepared: &Prepared) -> anyhow::Result<Graph> {
    let text = format!("conv {FILTERS} 7x7");
    let network: NetworkConfig =
        serde_json::from_value(serde_json::json!({ "name": "blocks", "blocks": [text] }))?;
    Ok(network.build(prepared.dataset.channels, 2, prepared.size).map_err(TrainError::from)?)
}

/// Runs the batch through a freshly initialised network and hands out the values of the tapped nodes.
fn run_taps(
    graph: &Graph,
    prepared: &Prepared,
    batch: &Batch,
    method: &InitMethod,
    nodes: &[NodeId],
) -> Result<Vec<Vec<f32>>, TrainError> {
    let threads = prepared.recipe.recipe.train.threads.unwrap_or(0);
    let mut engine = Engine::new(graph.clone(), &EngineConfig { threads, ..EngineConfig::default() })?;
    let init = InitConfig { weights: method.clone(), ..InitConfig::default() };
    engine.initialize(&init, prepared.recipe.recipe.train.seed)?;
    engine.set_taps(nodes);
    let images = Images::U8 { data: &batch.images, mean: &prepared.stats.mean, std: &prepared.stats.std };
    engine.infer(&Input { images, shape: batch.shape, mix: None }, WeightSet::Live)?;
    Ok(nodes.iter().map(|&node| engine.tap(node).unwrap_or_default()).collect())
}

fn through(
    graph: &Graph,
    prepared: &Prepared,
    batch: &Batch,
    method: &InitMethod,
) -> Result<Vec<LayerRow>, TrainError> {
    let layers = graph.layers(prepared.size[0], prepared.size[1])?;
    let weighted: Vec<_> = layers.into_iter().filter(|row| row.params > 0).collect();
    let nodes: Vec<NodeId> = weighted.iter().map(|row| row.node).collect();
    let values = run_taps(graph, prepared, batch, method, &nodes)?;
    Ok(weighted
        .iter()
        .zip(&values)
        .map(|(row, values)| statistics(&row.name, row.output.c, values))
        .collect())
}

fn statistics(name: &str, channels: usize, values: &[f32]) -> LayerRow {
    let n = values.len().max(1) as f64;
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
    let variance = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n;
    let mut alive = vec![false; channels.max(1)];
    for pixel in values.chunks_exact(channels.max(1)) {
        alive.iter_mut().zip(pixel).for_each(|(alive, value)| *alive |= *value != 0.0);
    }
    let dead = alive.iter().filter(|alive| !**alive).count() as f64 / alive.len() as f64;
    LayerRow { name: name.to_owned(), mean, std: variance.sqrt(), dead }
}

/// The outputs of the filters for the first image, two by two, each method from its least to its largest value.
fn feature_maps(
    graph: &Graph,
    prepared: &Prepared,
    batch: &Batch,
    method: &InitMethod,
) -> anyhow::Result<Bitmap> {
    let layers = graph.layers(prepared.size[0], prepared.size[1]).map_err(TrainError::from)?;
    let row = layers.first().context("the network has no layer")?;
    let values = run_taps(graph, prepared, batch, method, &[row.node])?.remove(0);
    let (h, w) = (row.output.h, row.output.w);
    let mut flat = vec![0f32; FILTERS * h * w];
    for filter in 0..FILTERS {
        let (top, left) = (filter / 2 * h, filter % 2 * w);
        for y in 0..h {
            for x in 0..w {
                flat[(top + y) * 2 * w + left + x] = values[(y * w + x) * FILTERS + filter];
            }
        }
    }
    let (low, high) =
        flat.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &v| (low.min(v), high.max(v)));
    // A constant output is drawn dark, not as noise.
    let high = if high > low { high } else { low + 1.0 };
    ColorMap::Viridis.image(&flat, 2 * h, 2 * w, low, high).context("cannot draw the feature maps")
}

fn picture(
    batch: &Batch,
    outputs: Vec<(String, Bitmap)>,
    results: &[(&str, Vec<LayerRow>)],
) -> anyhow::Result<Svg> {
    let [_, h, w, c] = batch.shape;
    let input = Bitmap::new(h, w, c, batch.image(0).to_vec()).context("cannot draw the image")?;
    let look = Look::default();
    let above = init_comparison(&input, outputs, &look);
    let stats: Vec<LayerStats> = results
        .iter()
        .map(|(name, layers)| LayerStats {
            name: (*name).to_owned(),
            std: layers.iter().map(|row| row.std).collect(),
            mean: Vec::new(),
            dead: layers.iter().map(|row| row.dead).collect(),
        })
        .collect();
    let below = layer_stats(&stats, &look);
    let top = above.height();
    let mut both = Svg::new(above.width().max(below.width()), top + below.height(), above.title().to_owned());
    both.place(0.0, 0.0, above);
    both.place(0.0, top, below);
    Ok(both)
}
