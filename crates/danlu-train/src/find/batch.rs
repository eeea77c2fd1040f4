//! The batch size: what fits, what is fast, and what learns well.

use std::time::Instant;

use danlu_nn::{Engine, PlanKey, StepContext, Targets};
use danlu_optim::OptimizerConfig;
use serde::{Deserialize, Serialize};

use super::auto::is_sgd;
use super::bench::{Batches, fresh_engine, input_of, optimizer, reserve};
use super::lr::two_digits;
use crate::error::TrainError;
use crate::evidence::NoiseScale;
use crate::machine::available_memory;
use crate::prepare::Prepared;
use crate::progress::Observer;

/// Share of the free memory that a step may take; the rest is headroom for images, evaluation and other programs.
const HEADROOM: f64 = 0.8;
/// A size is fast enough at this share of the best throughput: beyond it larger batches only take updates away.
const FAST: f64 = 0.95;
/// Smaller batches leave batch norm too few images to measure and the cores too little to do.
const LEAST: usize = 16;
/// The largest that is looked at.
const MOST: usize = 1024;
/// Seconds for the throughput of one size.
const SECONDS_A_SIZE: f64 = 1.0;
/// Updates of the two measurements of gradient noise.
const NOISE_UPDATES: usize = 24;
/// Updates between them.
const UPDATES_BETWEEN: usize = 60;

/// One batch size that was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchSize {
    /// Images.
    pub batch_size: usize,
    /// Exact bytes of a training step (weights, gradients, optimizer, activations).
    pub bytes: usize,
    /// Training images a second; none where it does not fit.
    pub images_per_second: Option<f64>,
}

/// Which consideration decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decider {
    /// A larger one does not fit.
    Memory,
    /// A larger one is no faster.
    Speed,
    /// A larger one would learn less from each image (gradient noise scale).
    Learning,
    /// A larger one would give too few updates an epoch.
    Data,
}

/// What `danlu find batch` found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchFound {
    /// The chosen size.
    pub batch_size: usize,
    /// Which consideration decided.
    pub decided_by: Decider,
    /// Why, in a line.
    pub reason: String,
    /// Bytes that a step may take.
    pub memory_budget: u64,
    /// The largest power of two that fits.
    pub fits: usize,
    /// The smallest that runs at 95 % of the best speed.
    pub fast: usize,
    /// Gradient noise scale in images after the first updates (McCandlish et al. 2018); none where it drowned in its own noise.
    pub noise_early: Option<f64>,
    /// The same after some training; it grows as the loss falls.
    pub noise_later: Option<f64>,
    /// What was measured.
    pub sizes: Vec<BatchSize>,
    /// The recipe's learning rate, rescaled to the size (linear for SGD, square root for the others).
    pub lr: f64,
    /// How long it took.
    pub seconds: f64,
}

/// `lr` of a batch of `before` images for one of `after`: in proportion for SGD (Goyal et al. 2017), with the square root
/// for rules that divide by the gradient's size (Malladi et al. 2022).
pub fn scaled_lr(rule: &OptimizerConfig, lr: f64, before: usize, after: usize) -> f64 {
    let factor = after as f64 / before.max(1) as f64;
    two_digits(lr * if is_sgd(rule) { factor } else { factor.sqrt() })
}

/// Finds the batch size; nothing of a run changes, and nothing is tried that the memory plan says does not fit.
///
/// # Errors
/// Data that cannot be read; a network of which not even one image fits.
pub fn find_batch(prepared: &Prepared, observer: &mut dyn Observer) -> Result<BatchFound, TrainError> {
    let begun = Instant::now();
    let recipe = &prepared.recipe.recipe;
    // Where the system does not say, a small laptop is assumed.
    let memory_budget = (HEADROOM * available_memory().unwrap_or(4 << 30) as f64) as u64;
    let images = prepared.dataset.train.len();
    let mut engine = fresh_engine(prepared)?;
    let state = danlu_optim::state_bytes(&recipe.optimizer.rule, &engine.param_specs());

    let mut sizes = Vec::new();
    for exponent in 0..=MOST.ilog2() {
        let batch_size = 1usize << exponent;
        if batch_size > images.max(1) {
            break;
        }
        let key = PlanKey::train(batch_size, prepared.size[0], prepared.size[1]);
        let bytes = engine.memory(&key)?.with_optimizer(state).total();
        sizes.push(BatchSize { batch_size, bytes, images_per_second: None });
        if bytes as u64 > memory_budget {
            break;
        }
    }
    let fits = sizes.iter().rev().find(|size| size.bytes as u64 <= memory_budget).map(|size| size.batch_size);
    let Some(fits) = fits else {
        return Err(TrainError::DoesNotFit {
            bytes: sizes.first().map_or(0, |size| size.bytes),
            budget: memory_budget,
        });
    };
    // At least 20 updates an epoch where that is possible.
    let by_data = previous_power_of_two(images / 20).max(LEAST).min(previous_power_of_two(images));
    let most = fits.min(by_data);
    let least = LEAST.min(most);

    observer.say("batch size: speed of training steps");
    let mut best = 0.0f64;
    for size in sizes.iter_mut().filter(|size| size.batch_size >= least && size.batch_size <= most) {
        let speed = throughput(&mut engine, prepared, size.batch_size)?;
        observer.say(&format!("  {:>4} images: {speed:.0} images/s", size.batch_size));
        size.images_per_second = Some(speed);
        let rises = speed > 1.03 * best;
        best = best.max(speed);
        if !rises && size.batch_size >= 128 {
            break;
        }
    }
    let fast = sizes
        .iter()
        .find(|size| size.images_per_second.is_some_and(|speed| speed >= FAST * best))
        .map_or(most, |size| size.batch_size);

    observer.say("batch size: gradient noise");
    let (noise_early, noise_later) = noise(&mut engine, prepared, fast.clamp(least.max(32).min(most), most))?;
    let (batch_size, decided_by) = decide(noise_early, noise_later, fast, fits, by_data);
    let reason = explain(batch_size, decided_by, noise_early, noise_later, memory_budget, images);
    let rule = &recipe.optimizer.rule;
    Ok(BatchFound {
        batch_size,
        decided_by,
        reason,
        memory_budget,
        fits,
        fast,
        noise_early,
        noise_later,
        sizes,
        lr: scaled_lr(rule, rule.lr(), recipe.train.batch_size, batch_size),
        seconds: begun.elapsed().as_secs_f64(),
    })
}

/// Images a second of updates of one size: the best of several, since a busy machine only makes them slower.
fn throughput(engine: &mut Engine, prepared: &Prepared, batch_size: usize) -> Result<f64, TrainError> {
    let recipe = &prepared.recipe.recipe;
    reserve(engine, batch_size, prepared.size)?;
    let state = engine.export_state();
    let batch = Batches::new(prepared, batch_size)?.take()?;
    let mut optimizer = optimizer(engine, recipe, 1e-6)?;
    let begun = Instant::now();
    let mut best = f64::INFINITY;
    for step in 0..50 {
        let start = Instant::now();
        let input = input_of(&batch, &prepared.stats);
        let context = StepContext { seed: recipe.train.seed, iteration: step, ..StepContext::default() };
        engine.forward_backward(&input, &Targets::Classes(&batch.labels), &recipe.loss, &context)?;
        engine.step(&mut optimizer)?;
        // The first one touches memory for the first time.
        if step > 0 {
            best = best.min(start.elapsed().as_secs_f64());
        }
        if step >= 2 && begun.elapsed().as_secs_f64() > SECONDS_A_SIZE {
            break;
        }
    }
    engine.import_state(&state)?;
    Ok(batch.len() as f64 / best.max(1e-9))
}

/// Gradient noise scale at the start and after some updates at the recipe's rate, and the engine put back.
fn noise(
    engine: &mut Engine,
    prepared: &Prepared,
    batch_size: usize,
) -> Result<(Option<f64>, Option<f64>), TrainError> {
    let recipe = &prepared.recipe.recipe;
    let state = engine.export_state();
    let mut batches = Batches::new(prepared, batch_size)?;
    let rule = &recipe.optimizer.rule;
    let lr = scaled_lr(rule, rule.lr(), recipe.train.batch_size, batch_size);
    // A constant rate: a third of the schedule's peak is about what a training starts with.
    let mut optimizer = optimizer(engine, recipe, lr / 3.0)?;
    let mut found = [None, None];
    let mut iteration = 0u64;
    'phases: for (phase, found) in found.iter_mut().enumerate() {
        let mut scale = NoiseScale::default();
        for update in 0..NOISE_UPDATES + if phase == 1 { UPDATES_BETWEEN } else { 0 } {
            let batch = batches.take()?;
            let measured = phase == 0 || update >= UPDATES_BETWEEN;
            let small = (batch.len() / 8).max(2);
            let context = StepContext { seed: recipe.train.seed, iteration, ..StepContext::default() };
            let mut part = None;
            if measured && batch.len() >= 2 * small {
                let few = crate::evidence::first_of(&batch, small);
                let targets = Targets::Classes(&few.labels);
                engine.forward_backward(
                    &input_of(&few, &prepared.stats),
                    &targets,
                    &recipe.loss,
                    &context,
                )?;
                part = Some(engine.grad_norm());
            }
            let targets = Targets::Classes(&batch.labels);
            let step = engine.forward_backward(
                &input_of(&batch, &prepared.stats),
                &targets,
                &recipe.loss,
                &context,
            )?;
            let norm = engine.grad_norm();
            if !step.loss.is_finite() || !norm.is_finite() {
                break 'phases;
            }
            if let Some(part) = part {
                scale.add(small as f64, part, batch.len() as f64, norm);
            }
            engine.step(&mut optimizer)?;
            iteration += 1;
        }
        *found = scale.images();
    }
    engine.import_state(&state)?;
    Ok((found[0], found[1]))
}

/// The useful size: nearest to the noise scale (the geometric mean of early and later, since one size is used all the
/// time), not beyond where speed stops rising (or 128, where batches are not yet costly for learning), what fits, and 20
/// updates an epoch.
fn decide(
    early: Option<f64>,
    later: Option<f64>,
    fast: usize,
    fits: usize,
    by_data: usize,
) -> (usize, Decider) {
    let useful = match (early, later) {
        (Some(early), Some(later)) => Some((early * later).sqrt()),
        (early, later) => later.or(early),
    };
    let useful = useful.map(|images| nearest_power_of_two(images).clamp(LEAST, MOST));
    let cap = fast.max(128);
    let (mut size, mut by) = match useful {
        Some(useful) if useful <= cap => (useful, Decider::Learning),
        Some(_) => (cap, Decider::Speed),
        None => (fast.max(LEAST), Decider::Speed),
    };
    if by_data < size {
        (size, by) = (by_data, Decider::Data);
    }
    if fits < size {
        (size, by) = (fits, Decider::Memory);
    }
    (size, by)
}

fn explain(
    size: usize,
    by: Decider,
    early: Option<f64>,
    later: Option<f64>,
    budget: u64,
    images: usize,
) -> String {
    let show = |noise: Option<f64>| noise.map_or("not measurable".to_owned(), |n| format!("{n:.0}"));
    let noise = format!("gradient noise scale {} images at the start, {} later", show(early), show(later));
    match by {
        Decider::Memory => {
            format!(
                "memory decided: {} does not fit into {:.1} GiB; {noise}",
                2 * size,
                budget as f64 / f64::from(1 << 30)
            )
        }
        Decider::Speed => {
            format!("speed decided: larger batches are hardly faster and make fewer updates; {noise}")
        }
        Decider::Learning => {
            format!(
                "learning decided: smaller ones are noisier, larger ones average more than they learn; {noise}"
            )
        }
        Decider::Data => format!("data decided: {images} images, at least 20 updates an epoch; {noise}"),
    }
}

fn previous_power_of_two(value: usize) -> usize {
    if value == 0 { 1 } else { 1 << value.ilog2() }
}

fn nearest_power_of_two(value: f64) -> usize {
    1usize << value.max(1.0).log2().round().clamp(0.0, 20.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_consideration_decides_where_it_is_the_tightest() {
        let case = |early, later, fast, fits, by_data| decide(early, later, fast, fits, by_data);
        // The geometric mean of 30 and 70 is 46: nearest to 64, since 32 * sqrt 2 is 45.3.
        assert_eq!(case(Some(30.0), Some(70.0), 128, 1024, 1024), (64, Decider::Learning));
        assert_eq!(case(Some(500.0), Some(5000.0), 64, 1024, 1024), (128, Decider::Speed));
        assert_eq!(case(Some(500.0), Some(5000.0), 64, 8, 1024), (8, Decider::Memory));
        assert_eq!(case(None, Some(5000.0), 256, 1024, 32), (32, Decider::Data));
        assert_eq!(case(Some(1.0), Some(3.0), 64, 1024, 1024), (16, Decider::Learning), "not below 16");
        assert_eq!(case(None, None, 128, 1024, 1024), (128, Decider::Speed));
    }

    #[test]
    fn the_rate_follows_the_batch_by_the_rule_of_its_optimizer() {
        let rule = |name| OptimizerConfig::by_name(name).expect("exists");
        assert_eq!(scaled_lr(&rule("sgd"), 0.1, 128, 512), 0.4);
        assert_eq!(scaled_lr(&rule("adamw"), 0.001, 128, 512), 0.002);
        assert_eq!(scaled_lr(&rule("sgd"), 0.1, 128, 64), 0.05);
    }
}
