//! What every experiment needs: batches without end, and updates as the recipe makes them.

use danlu_data::{Batch, ChannelStats, Epoch, Loader, LoaderConfig, Part};
use danlu_nn::{Engine, Images, Input, Mix, PlanKey, StepContext, Targets, WeightSet};
use danlu_optim::{Dtype, Optimizer, OptimizerConfig};
use danlu_recipe::Recipe;

use crate::error::TrainError;
use crate::finetune;
use crate::metrics::{Metrics, Tally};
use crate::prepare::{Prepared, engine_config};

/// Training batches of a recipe, augmented, epoch after epoch without end.
#[derive(Debug)]
pub struct Batches {
    loader: Loader,
    stats: ChannelStats,
    epoch: u64,
    now: Option<Epoch>,
}

impl Batches {
    /// Batches of `batch_size` images as the training of `prepared` draws and augments them.
    ///
    /// # Errors
    /// As [`Loader::new`].
    pub fn new(prepared: &Prepared, batch_size: usize) -> Result<Self, TrainError> {
        let recipe = &prepared.recipe.recipe;
        let (data, seed) = (&recipe.data, recipe.train.seed);
        let mut config = LoaderConfig::train(data, &recipe.augment, prepared.size, batch_size, seed);
        config.drop_last = prepared.dataset.train.len() > batch_size;
        if let Some(threads) = recipe.train.threads {
            config.workers = threads;
        }
        let loader = Loader::new(prepared.dataset.clone(), Part::Train, config)?;
        Ok(Batches { loader, stats: prepared.stats.clone(), epoch: 0, now: None })
    }

    /// Starts from the first batch again, so that trials see the same images.
    pub fn restart(&mut self) {
        (self.epoch, self.now) = (0, None);
    }

    /// The next batch; after the last one of an epoch the first of the next.
    ///
    /// # Errors
    /// Images that cannot be read.
    pub fn take(&mut self) -> Result<Batch, TrainError> {
        // An epoch has at least one batch: a loader of an empty part cannot be made.
        for _ in 0..2 {
            let now = match &mut self.now {
                Some(now) => now,
                None => self.now.insert(self.loader.epoch(self.epoch, 0)),
            };
            if let Some(batch) = now.next() {
                return Ok(batch?);
            }
            self.epoch += 1;
            self.now = None;
        }
        Err(TrainError::Internal { problem: "an epoch without a batch".into() })
    }

    pub(crate) fn stats(&self) -> &ChannelStats {
        &self.stats
    }
}

/// An engine with the weights that the training starts from.
pub(crate) fn fresh_engine(prepared: &Prepared) -> Result<Engine, TrainError> {
    let recipe = &prepared.recipe.recipe;
    let mut engine = Engine::new(prepared.graph()?, &engine_config(recipe))?;
    engine.initialize(&recipe.init, recipe.train.seed)?;
    engine.set_bn_mode(finetune::bn_mode(recipe));
    if let Some(initial) = prepared.initial_weights()? {
        engine.load_matching(&initial.state, WeightSet::Live)?;
    }
    Ok(engine)
}

/// The recipe's optimizer with another learning rate.
pub(crate) fn optimizer(engine: &Engine, recipe: &Recipe, lr: f64) -> Result<Optimizer, TrainError> {
    let mut rule: OptimizerConfig = recipe.optimizer.rule.clone();
    rule.set_lr(lr);
    let (specs, depths) = (engine.param_specs(), engine.param_depths());
    Ok(Optimizer::with_grouping(
        &rule,
        &finetune::grouping(recipe, engine.graph()),
        &specs,
        Some(&depths),
        Dtype::F32,
    )?)
}

pub(crate) fn input_of<'a>(batch: &'a Batch, stats: &'a ChannelStats) -> Input<'a> {
    Input {
        images: Images::U8 { data: &batch.images, mean: &stats.mean, std: &stats.std },
        shape: batch.shape,
        mix: batch.mix.as_ref().map(|mix| Mix {
            partner: &mix.partner,
            lambda: f64::from(mix.lambda),
            cut: mix.cut,
        }),
    }
}

/// Gradients of `accumulate` batches, clipped as the recipe says; the mean loss and the gradient's norm before clipping.
pub(crate) fn gradients(
    engine: &mut Engine,
    recipe: &Recipe,
    batches: &mut Batches,
    iteration: u64,
) -> Result<(f64, f64), TrainError> {
    let accumulate = recipe.train.accumulate;
    let mut loss = 0.0;
    for i in 0..accumulate {
        let batch = batches.take()?;
        let context = StepContext {
            seed: recipe.train.seed,
            iteration: iteration * accumulate as u64 + i as u64,
            accumulate: i > 0,
            scale: 1.0 / accumulate as f64,
        };
        let input = input_of(&batch, batches.stats());
        let step =
            engine.forward_backward(&input, &Targets::Classes(&batch.labels), &recipe.loss, &context)?;
        loss += step.loss / accumulate as f64;
    }
    let norm = match recipe.train.clip_norm {
        Some(max) => engine.clip_grad_norm(max),
        None => engine.grad_norm(),
    };
    Ok((loss, norm))
}

/// Metrics on the first `most` validation images (training images where there is no validation set); what is held
/// out is in random order of classes already, since the split is stratified by a hash.
pub(crate) fn validate(
    engine: &mut Engine,
    prepared: &Prepared,
    stats: &ChannelStats,
    most: usize,
) -> Result<Metrics, TrainError> {
    let recipe = &prepared.recipe.recipe;
    let part = if prepared.dataset.val.is_empty() { Part::Train } else { Part::Val };
    let batch_size = most.min(128);
    let mut config = LoaderConfig::evaluate(&recipe.data, prepared.size, batch_size);
    // A fixed draw rather than the first ones: files are sorted by class.
    config.sampling = danlu_data::Sampling::Shuffle;
    let loader = Loader::new(prepared.dataset.clone(), part, config)?;
    let mut tally = Tally::new(engine.graph().classes());
    for batch in loader.epoch(0, 0).take(most.div_ceil(batch_size)) {
        let batch = batch?;
        let logits = engine.infer(&input_of(&batch, stats), WeightSet::Live)?;
        tally.add(logits, &batch.labels);
    }
    Ok(tally.metrics())
}

/// Plans and arena for steps of `batch_size`, so that the first measured step does not pay for them.
pub(crate) fn reserve(engine: &mut Engine, batch_size: usize, [h, w]: [usize; 2]) -> Result<(), TrainError> {
    Ok(engine.reserve(&[PlanKey::train(batch_size, h, w)])?)
}
