//! The image size: accuracy against cost of three sizes, by short trainings on a part of the data.

use std::sync::Arc;
use std::time::Instant;

use danlu_nn::PlanKey;
use danlu_optim::{Horizon, Schedule};
use serde::{Deserialize, Serialize};

use super::bench::{Batches, fresh_engine, gradients, optimizer, reserve, validate};
use crate::error::TrainError;
use crate::prepare::Prepared;
use crate::progress::Observer;

/// Seconds for each size: the same time for all, since that is what a person pays.
const SECONDS: f64 = 12.0;
/// Updates for each size at most, and at least where the time allows less.
const UPDATES: (usize, usize) = (20, 300);
/// Validation images that judge.
const JUDGES: usize = 1024;
/// A smaller size is preferred where it is at most this much less accurate (about the noise of 1,024 images).
const TOLERANCE: f64 = 0.01;

/// One image size that was tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SizeTrial {
    /// Pixels of a side.
    pub image_size: usize,
    /// Share of validation images that is right after `updates`.
    pub top1: f64,
    /// Their cross-entropy.
    pub loss: f64,
    /// Updates made.
    pub updates: usize,
    /// Milliseconds of an update, data included.
    pub step_ms: f64,
    /// Exact bytes of a training step.
    pub bytes: usize,
}

/// What `danlu find size` found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SizeFound {
    /// The chosen size.
    pub image_size: usize,
    /// Why, in a line.
    pub reason: String,
    /// The three sizes.
    pub trials: Vec<SizeTrial>,
    /// How long it took.
    pub seconds: f64,
}

/// Tries the recipe's image size, about 0.7 and about half of it. Nothing of a run changes.
///
/// # Errors
/// Data that cannot be read; sizes that do not fit the network.
pub fn find_size(prepared: &Prepared, observer: &mut dyn Observer) -> Result<SizeFound, TrainError> {
    let begun = Instant::now();
    let full = prepared.size[0];
    let mut sizes = vec![danlu_recipe::side(full, 0.5), danlu_recipe::side(full, 0.71), full];
    sizes.dedup();
    let mut trials = Vec::new();
    for size in sizes {
        let trial = try_size(prepared, size)?;
        observer.say(&format!(
            "  {size:>3} pixels: top-1 {:.1} % after {} updates of {:.1} ms, {:.1} MiB",
            100.0 * trial.top1,
            trial.updates,
            trial.step_ms,
            trial.bytes as f64 / f64::from(1 << 20)
        ));
        trials.push(trial);
    }
    let (image_size, reason) = choose(&trials);
    Ok(SizeFound { image_size, reason, trials, seconds: begun.elapsed().as_secs_f64() })
}

fn try_size(prepared: &Prepared, size: usize) -> Result<SizeTrial, TrainError> {
    let prepared = Prepared {
        data: prepared.data.clone(),
        dataset: Arc::clone(&prepared.dataset),
        recipe: prepared.recipe.clone(),
        choices: Vec::new(),
        stats: prepared.stats.clone(),
        size: [size, size],
        initial: prepared.initial.clone(),
    };
    let recipe = &prepared.recipe.recipe;
    let mut engine = fresh_engine(&prepared)?;
    let state = danlu_optim::state_bytes(&recipe.optimizer.rule, &engine.param_specs());
    let key = PlanKey::train(recipe.train.batch_size, size, size);
    let bytes = engine.memory(&key)?.with_optimizer(state).total();
    reserve(&mut engine, recipe.train.batch_size, prepared.size)?;
    let mut batches = Batches::new(&prepared, recipe.train.batch_size)?;
    let mut optimizer = optimizer(&engine, recipe, recipe.optimizer.rule.lr())?;
    engine.set_trainable(&optimizer.trainable())?;
    // A few updates tell how many fit into the time.
    let begun = Instant::now();
    let mut updates = UPDATES.1;
    let horizon = |updates: usize| Horizon { epochs: 1, iterations_per_epoch: updates.max(1) as u64 };
    let mut schedule = Schedule::per_group(&recipe.schedule, optimizer.groups(), horizon(updates))?;
    let mut done = 0;
    while done < updates {
        let (loss, norm) = gradients(&mut engine, recipe, &mut batches, done as u64)?;
        if !loss.is_finite() || !norm.is_finite() {
            break;
        }
        optimizer.apply(&schedule);
        engine.step(&mut optimizer)?;
        schedule.step_iteration();
        done += 1;
        if done == 5 {
            let an_update = begun.elapsed().as_secs_f64() / 5.0;
            updates = ((SECONDS / an_update) as usize).clamp(UPDATES.0, UPDATES.1);
            schedule = Schedule::per_group(&recipe.schedule, optimizer.groups(), horizon(updates))?;
            (0..done).for_each(|_| schedule.step_iteration());
        }
    }
    let step_ms = 1e3 * begun.elapsed().as_secs_f64() / done.max(1) as f64;
    let metrics = validate(&mut engine, &prepared, batches.stats(), JUDGES)?;
    Ok(SizeTrial { image_size: size, top1: metrics.top1, loss: metrics.loss, updates: done, step_ms, bytes })
}

fn choose(trials: &[SizeTrial]) -> (usize, String) {
    let best = trials.iter().map(|trial| trial.top1).fold(0.0, f64::max);
    // Ascending: the first that is as good as the best within the noise.
    match trials.iter().find(|trial| trial.top1 >= best - TOLERANCE) {
        Some(trial) => {
            let reason = format!(
                "the smallest within {:.0} point of the best ({:.1} %) in equal time: {:.1} % at {:.1} ms an update",
                100.0 * TOLERANCE,
                100.0 * best,
                100.0 * trial.top1,
                trial.step_ms
            );
            (trial.image_size, reason)
        }
        None => (0, "nothing was tried".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_size_within_the_noise_of_the_best_is_chosen() {
        let trial =
            |image_size, top1| SizeTrial { image_size, top1, loss: 1.0, updates: 1, step_ms: 1.0, bytes: 1 };
        assert_eq!(choose(&[trial(14, 0.80), trial(20, 0.845), trial(28, 0.85)]).0, 20);
        assert_eq!(choose(&[trial(14, 0.80), trial(20, 0.82), trial(28, 0.85)]).0, 28);
    }
}
