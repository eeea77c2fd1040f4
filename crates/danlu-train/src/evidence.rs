//! Evidence: what the doctor wants to know of the inside of a training, every k-th update, into the events.
//!
//! Norms of each weight, its gradient and its last change are those of the training's own update. Activations and the
//! gradient of a part of the batch come from a small second engine with a copy of the weights, so that batch-norm
//! estimates, gradients and plans of the training stay as they are. The part is a quarter of the batch at most, and k is
//! chosen so that the images seen twice stay below `SHARE` of all (never by a clock: a resume must look at the same
//! updates). What it cost is measured, a share of the training time an epoch, in `journal.jsonl`.

use std::time::Duration;

use danlu_data::{Batch, ChannelStats};
use danlu_nn::{
    Engine, EngineConfig, Images, Input, LossConfig, NodeId, StateDict, StepContext, Targets, WeightSet,
};

use crate::error::TrainError;

pub use danlu_doctor::{ActivationEvidence, Evidence, LayerEvidence, NoiseSample, NoiseScale};

/// Updates between two collections, at least.
pub const LEAST_EVERY: u64 = 25;
/// Collections in a whole training, at most (about): a long one is looked at more rarely.
const MOST_TIMES: u64 = 200;
/// Images of the small pass: an eighth of the batch within these, where a quarter of the batch is so many.
const IMAGES: (usize, usize) = (8, 16);
/// Images of the small passes as a share of the training's, at most. A small pass costs up to twice as much an image, and
/// the statistics come on top: this stays below 2 % of the time.
const SHARE: f64 = 0.006;

/// The first `count` images of a batch, not mixed.
pub(crate) fn first_of(batch: &Batch, count: usize) -> Batch {
    let count = count.min(batch.len());
    let [_, h, w, c] = batch.shape;
    Batch {
        index: batch.index,
        images: batch.images[..count * h * w * c].to_vec(),
        shape: [count, h, w, c],
        labels: batch.labels[..count].to_vec(),
        samples: batch.samples[..count].to_vec(),
        ..Batch::default()
    }
}

/// Images of the small pass beside a batch of `batch_size`; two of four, since a gradient of one image says nothing of a batch norm.
fn images_looked_at(batch_size: usize) -> usize {
    let least = if batch_size >= 4 { 2 } else { 1 };
    (batch_size / 8).clamp(IMAGES.0, IMAGES.1).min(batch_size / 4).max(least)
}

/// Collects evidence; made on the first use.
#[derive(Debug)]
pub(crate) struct Collector {
    every: u64,
    probe: Option<Probe>,
    /// Time spent in this epoch.
    pub(crate) spent: Duration,
}

#[derive(Debug)]
struct Probe {
    engine: Engine,
    nodes: Vec<(NodeId, String, usize)>,
}

/// What is known before the update.
pub(crate) struct Before {
    weights: StateDict,
    grad_norms: Vec<f64>,
    activations: Vec<ActivationEvidence>,
    noise: Option<NoiseSample>,
}

impl Collector {
    /// For a training of `updates` updates of `accumulate` batches of `batch_size` images.
    pub(crate) fn new(updates: u64, batch_size: usize, accumulate: usize) -> Self {
        let part = images_looked_at(batch_size) as f64 / (batch_size * accumulate).max(1) as f64;
        let affordable = (part / SHARE).ceil() as u64;
        let every = (updates / MOST_TIMES).max(LEAST_EVERY).max(affordable);
        Collector { every, probe: None, spent: Duration::ZERO }
    }

    /// Whether the update after `iteration` completed ones is looked at: the first one (initialisation), then every k-th.
    pub(crate) fn is_due(&self, iteration: u64) -> bool {
        iteration == 0 || (iteration + 1).is_multiple_of(self.every)
    }

    /// Looks at gradients and activations; `engine` holds the gradients of `group`, whose images were `images` together.
    pub(crate) fn before(
        &mut self,
        engine: &Engine,
        config: &EngineConfig,
        group: &[Batch],
        stats: &ChannelStats,
        loss: &LossConfig,
        context: &StepContext,
    ) -> Result<Before, TrainError> {
        let weights = engine.state_dict(WeightSet::Live)?;
        let grad_norms = engine.grad_norms();
        let images: usize = group.iter().map(Batch::len).sum();
        let few = first_of(&group[0], images_looked_at(group[0].len()));
        let probe = match &mut self.probe {
            Some(probe) => probe,
            None => self.probe.insert(Probe::new(engine, config)?),
        };
        let engine_of_probe = &mut probe.engine;
        engine_of_probe.load_state_dict(&weights, WeightSet::Live)?;
        engine_of_probe.set_trainable(engine.trainable())?;
        // Batch norms of frozen layers compute here what they compute in the training.
        engine_of_probe.set_bn_mode(engine.bn_mode());
        let input = Input {
            images: Images::U8 { data: &few.images, mean: &stats.mean, std: &stats.std },
            shape: few.shape,
            mix: None,
        };
        let context = StepContext { accumulate: false, scale: 1.0, ..*context };
        engine_of_probe.forward_backward(&input, &Targets::Classes(&few.labels), loss, &context)?;
        let mixed = group.iter().any(|batch| batch.mix.is_some());
        let noise = (!mixed && few.len() >= 2 && images >= 2 * few.len()).then(|| NoiseSample {
            small: few.len() as f64,
            small_norm: engine_of_probe.grad_norm(),
            big: images as f64,
            big_norm: grad_norms.iter().map(|norm| norm * norm).sum::<f64>().sqrt(),
        });
        let activations = probe
            .nodes
            .iter()
            .filter_map(|(node, name, channels)| {
                let values = probe.engine.tap(*node)?;
                Some(statistics(name, &values, *channels))
            })
            .collect();
        Ok(Before { weights, grad_norms, activations, noise })
    }
}

impl Probe {
    fn new(engine: &Engine, config: &EngineConfig) -> Result<Self, TrainError> {
        let mut probe = Engine::new(engine.graph().clone(), config)?;
        let nodes: Vec<(NodeId, String, usize)> = probe
            .layers()?
            .into_iter()
            .filter(|row| row.params > 0)
            .map(|row| (row.node, row.name, row.output.c))
            .collect();
        probe.set_taps(&nodes.iter().map(|(node, ..)| *node).collect::<Vec<_>>());
        Ok(Probe { engine: probe, nodes })
    }
}

impl Before {
    /// Adds what the update did to the weights.
    pub(crate) fn after(self, engine: &Engine, epoch: usize, iteration: u64) -> Evidence {
        let trainable = engine.trainable().to_vec();
        let mut layers = Vec::new();
        for (index, info) in engine.params().iter().enumerate().filter(|(_, info)| info.kind.is_weight()) {
            let (Some(after), Some(before)) = (engine.param(index), self.weights.get(&info.name)) else {
                continue;
            };
            let (mut norm, mut old, mut change) = (0.0, 0.0, 0.0);
            for (new, before) in after.iter().zip(&before.data) {
                let before = f64::from(*before);
                norm += new * new;
                old += before * before;
                change += (new - before) * (new - before);
            }
            let trains = trainable[index];
            layers.push(LayerEvidence {
                name: info.name.clone(),
                grad_norm: trains.then(|| digits(self.grad_norms[index])),
                weight_norm: digits(norm.sqrt()),
                update_ratio: trains.then(|| digits((change / old.max(1e-30)).sqrt())),
            });
        }
        Evidence { epoch, iteration, layers, activations: self.activations, noise: self.noise }
    }
}

fn statistics(name: &str, values: &[f32], channels: usize) -> ActivationEvidence {
    let channels = channels.max(1);
    // A sum for each channel: neighbours in memory, so that the loop over them runs on vectors.
    let (mut sums, mut squares) = (vec![0.0f64; channels], vec![0.0f64; channels]);
    let mut zeros = vec![0u32; channels];
    let pixels = values.len() / channels;
    for pixel in values.chunks_exact(channels) {
        for (((value, sum), square), zero) in pixel.iter().zip(&mut sums).zip(&mut squares).zip(&mut zeros) {
            let wide = f64::from(*value);
            *sum += wide;
            *square += wide * wide;
            *zero += u32::from(*value == 0.0);
        }
    }
    let count = values.len().max(1) as f64;
    let mean = sums.iter().sum::<f64>() / count;
    let dead = zeros.iter().filter(|zeros| **zeros as usize == pixels).count();
    ActivationEvidence {
        name: name.to_owned(),
        mean: digits(mean),
        std: digits((squares.iter().sum::<f64>() / count - mean * mean).max(0.0).sqrt()),
        zeros: digits(zeros.iter().map(|zeros| f64::from(*zeros)).sum::<f64>() / count),
        dead: digits(dead as f64 / channels as f64),
    }
}

/// Five significant digits: a third of the bytes, and no rule looks closer.
fn digits(value: f64) -> f64 {
    if value.is_finite() { format!("{value:.4e}").parse().unwrap_or(value) } else { f64::MAX.copysign(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frozen_batch_norms_are_seen_with_the_statistics_that_the_training_uses() {
        let network = danlu_nn::NetworkConfig::by_name("small").expect("is known");
        let graph = network.build(1, 3, [16, 16]).expect("builds");
        let config = EngineConfig { threads: 1, ..EngineConfig::default() };
        let mut engine = Engine::new(graph, &config).expect("starts");
        engine.initialize(&danlu_nn::InitConfig::default(), 0).expect("draws");
        // Estimates of other images than these, as of weights that come from elsewhere.
        let mut state = StateDict::new();
        for (name, tensor) in engine.state_dict(WeightSet::Live).expect("has one").iter() {
            let mut tensor = tensor.clone();
            match name.rsplit('.').next() {
                Some("running_mean") => tensor.data.fill(0.5),
                Some("running_var") => tensor.data.fill(3.0),
                _ => {}
            }
            state.insert(name.to_owned(), tensor);
        }
        engine.load_state_dict(&state, WeightSet::Live).expect("loads");
        let head: Vec<bool> = engine.params().iter().map(|info| info.name.starts_with("fc.")).collect();
        engine.set_trainable(&head).expect("as many");
        engine.set_bn_mode(danlu_nn::BnMode::RunningWhereFrozen);

        let batch = Batch {
            images: (0..8 * 16 * 16).map(|i| (i * 37 % 251) as u8).collect(),
            shape: [8, 16, 16, 1],
            labels: (0..8).map(|i| i % 3).collect(),
            samples: (0..8).collect(),
            ..Batch::default()
        };
        let (loss, context) = (LossConfig::default(), StepContext::default());
        let stats = ChannelStats { mean: vec![0.5], std: vec![0.25], images: 1 };
        let group = [batch];
        let mut collector = Collector::new(100, 8, 1);
        let seen = collector.before(&engine, &config, &group, &stats, &loss, &context).expect("looks");

        let few = first_of(&group[0], images_looked_at(8));
        let nodes = collector.probe.expect("was made").nodes;
        engine.set_taps(&nodes.iter().map(|(node, ..)| *node).collect::<Vec<_>>());
        let input = Input {
            images: Images::U8 { data: &few.images, mean: &stats.mean, std: &stats.std },
            shape: few.shape,
            mix: None,
        };
        engine.forward_backward(&input, &Targets::Classes(&few.labels), &loss, &context).expect("runs");
        let own: Vec<ActivationEvidence> = nodes
            .iter()
            .map(|(node, name, channels)| statistics(name, &engine.tap(*node).expect("is kept"), *channels))
            .collect();
        assert_eq!(seen.activations, own);
        assert!(own.len() > 3);
    }

    #[test]
    fn dead_channels_and_zeros_are_counted() {
        let seen = statistics("a", &[0.0, 1.0, 0.0, 0.0, 0.0, 3.0], 2);
        assert_eq!((seen.zeros, seen.dead), (0.66667, 0.5));
        assert_eq!(seen.mean, 0.66667);
    }

    #[test]
    fn a_long_training_is_looked_at_about_as_often_as_a_short_one() {
        let collector = Collector::new(100_000, 128, 1);
        assert_eq!((0..100_000).filter(|i| collector.is_due(*i)).count(), 201);
        let collector = Collector::new(100, 128, 1);
        let due: Vec<u64> = (0..100).filter(|i| collector.is_due(*i)).collect();
        assert_eq!(due, [0, 24, 49, 74, 99]);
    }

    #[test]
    fn whatever_the_batch_few_images_are_seen_twice() {
        for batch_size in [1, 2, 8, 16, 32, 64, 128, 1024] {
            for accumulate in [1, 4] {
                let collector = Collector::new(3000, batch_size, accumulate);
                let twice = images_looked_at(batch_size) as f64 / collector.every as f64;
                assert!(twice <= SHARE * (batch_size * accumulate) as f64, "{batch_size}");
            }
        }
        assert_eq!([4, 16, 32, 64, 128, 512].map(images_looked_at), [2, 4, 8, 8, 16, 16]);
    }
}
