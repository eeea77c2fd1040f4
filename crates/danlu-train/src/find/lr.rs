//! The learning rate: a range test proposes, short trainings decide.

use std::time::{Duration, Instant};

use danlu_nn::Engine;
use danlu_optim::{Horizon, OPTIMIZERS, OptimizerConfig, Schedule};
use serde::{Deserialize, Serialize};

use super::bench::{Batches, fresh_engine, gradients, optimizer, reserve, validate};
use super::range::{RangeConfig, RangeTest, Suggestion, range_test};
use crate::error::TrainError;
use crate::prepare::Prepared;
use crate::progress::Observer;

/// Time that the search may take on any machine: the trials get shorter on a slow one.
const SECONDS: f64 = 40.0;
/// Trials that are expected; the time is shared among so many.
const TRIALS: usize = 6;
/// No more than this many, however the losses lie.
const MOST_TRIALS: usize = 8;
/// Updates of a trial where the time allows them: 1 % of the training, and not fewer than the second, since the rate that is
/// best for a few dozen updates is not the one that is best for some hundred.
const UPDATES: (f64, usize) = (0.01, 200);
/// A trial of fewer says nothing: on a slow machine the search takes longer instead.
const LEAST_UPDATES: usize = 25;
/// Validation images that judge a trial.
const JUDGES: usize = 1024;

/// A short training with one learning rate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LrTrial {
    /// The learning rate: the largest of the recipe's schedule, which is run through in `updates`.
    pub lr: f64,
    /// Cross-entropy on validation images afterwards; none where the training diverged.
    pub loss: Option<f64>,
    /// Share of them that is right.
    pub top1: Option<f64>,
    /// Updates made.
    pub updates: usize,
}

/// What `danlu find lr` found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LrFound {
    /// The optimizer that the rate is for.
    pub optimizer: String,
    /// Images an update.
    pub batch_size: usize,
    /// The chosen rate.
    pub lr: f64,
    /// Why, in a line.
    pub reason: String,
    /// What is used where nothing is known.
    pub prior: f64,
    /// The range test.
    pub range: RangeTest,
    /// What the rules read from it; empty where the loss showed nothing.
    pub suggestions: Vec<Suggestion>,
    /// Largest suggestion divided by the smallest: the rules' disagreement; none without suggestions.
    pub uncertainty: Option<f64>,
    /// The short trainings, in the order of the rate.
    pub trials: Vec<LrTrial>,
    /// How long it took.
    pub seconds: f64,
}

/// Where nothing is known: 0.01 for SGD, 0.001 for Adam (the article), the middle of the usual range for others.
pub fn prior_lr(rule: &OptimizerConfig) -> f64 {
    match rule {
        OptimizerConfig::Sgd(_) => 0.01,
        OptimizerConfig::Adam(_) | OptimizerConfig::AdamW(_) => 0.001,
        other => OPTIMIZERS
            .iter()
            .find(|info| info.name == other.name())
            .map_or(0.001, |info| (info.typical_lr[0] * info.typical_lr[1]).sqrt()),
    }
}

/// Finds the learning rate for the recipe's optimizer, batch size, augmentation and schedule. Nothing of a run changes.
///
/// # Errors
/// Data that cannot be read; a network that does not fit the memory.
pub fn find_lr(prepared: &Prepared, observer: &mut dyn Observer) -> Result<LrFound, TrainError> {
    let begun = Instant::now();
    let recipe = &prepared.recipe.recipe;
    let rule = &recipe.optimizer.rule;
    let prior = prior_lr(rule);
    let mut engine = fresh_engine(prepared)?;
    reserve(&mut engine, recipe.train.batch_size, prepared.size)?;
    let mut batches = Batches::new(prepared, recipe.train.batch_size)?;

    observer.say("learning rate: range test");
    // Rules with a scale of their own (LARS, schedule-free SGD) want more than 10.
    let usual =
        OPTIMIZERS.iter().find(|info| info.name == rule.name()).map_or(1.0, |info| info.typical_lr[1]);
    let config = RangeConfig { end: (10.0 * usual).max(10.0), ..RangeConfig::default() };
    let range = range_test(&mut engine, recipe, &mut batches, &config)?;
    let an_update = begun.elapsed().as_secs_f64() / range.loss.len().max(1) as f64;
    let suggestions = range.suggestions();
    let rates = || suggestions.iter().map(|suggestion| suggestion.lr);
    let uncertainty = (!suggestions.is_empty())
        .then(|| rates().fold(0.0, f64::max) / rates().fold(f64::INFINITY, f64::min));

    let total = prepared.iterations_per_epoch() * recipe.train.epochs as usize;
    let affordable = ((SECONDS - begun.elapsed().as_secs_f64()) / (TRIALS as f64 * an_update)) as usize;
    let wanted = ((UPDATES.0 * total as f64) as usize).max(UPDATES.1);
    let updates = wanted.min(affordable).max(LEAST_UPDATES).min(total.max(1));
    let mut trials = Trials { engine, batches, prepared, updates, done: Vec::new() };
    for lr in candidates(&suggestions, prior) {
        trials.run(lr, observer)?;
    }
    let deadline = begun + Duration::from_secs_f64(SECONDS);
    while trials.done.len() < MOST_TRIALS && Instant::now() < deadline {
        let Some(lr) = next_candidate(&trials.done) else { break };
        trials.run(lr, observer)?;
    }
    let trials = trials.done;
    let (lr, reason) = choose(&trials, prior, updates, uncertainty, rule.name());
    Ok(LrFound {
        optimizer: rule.name().to_owned(),
        batch_size: recipe.train.images_per_iteration(),
        lr,
        reason,
        prior,
        range,
        suggestions,
        uncertainty,
        trials,
        seconds: begun.elapsed().as_secs_f64(),
    })
}

/// The rules' rates without near doubles; around the prior where they say nothing.
fn candidates(suggestions: &[Suggestion], prior: f64) -> Vec<f64> {
    let mut rates: Vec<f64> = suggestions.iter().map(|suggestion| suggestion.lr).collect();
    if rates.is_empty() {
        rates = vec![prior / 3.0, prior, prior * 3.0];
    }
    rates.sort_by(f64::total_cmp);
    rates.dedup_by(|next, last| *next < 1.8 * *last);
    rates.into_iter().map(two_digits).collect()
}

/// The rate that would tell most: beyond the better edge, or in the wider gap beside the best; none where the best
/// stands between neighbours that are within a factor of about 3.
fn next_candidate(done: &[LrTrial]) -> Option<f64> {
    let score = |trial: &LrTrial| trial.loss.unwrap_or(f64::INFINITY);
    let best = (0..done.len()).min_by(|a, b| score(&done[*a]).total_cmp(&score(&done[*b])))?;
    if done[best].loss.is_none() {
        // All diverged: far lower.
        return Some(two_digits(done[0].lr / 10.0));
    }
    if best + 1 == done.len() {
        return Some(two_digits(done[best].lr * 3.0));
    }
    if best == 0 {
        return Some(two_digits(done[best].lr / 3.0));
    }
    let (below, above) = (done[best].lr / done[best - 1].lr, done[best + 1].lr / done[best].lr);
    if below.max(above) <= 4.0 {
        return None;
    }
    Some(two_digits(done[best].lr * if above > below { above.sqrt() } else { 1.0 / below.sqrt() }))
}

struct Trials<'a> {
    engine: Engine,
    batches: Batches,
    prepared: &'a Prepared,
    updates: usize,
    /// In the order of the rate.
    done: Vec<LrTrial>,
}

impl Trials<'_> {
    /// Trains from the initial weights with the recipe's schedule, shortened, and puts the engine back.
    fn run(&mut self, lr: f64, observer: &mut dyn Observer) -> Result<(), TrainError> {
        let state = self.engine.export_state();
        self.batches.restart();
        let trained = self.train(lr);
        self.engine.import_state(&state)?;
        let metrics = trained?;
        let finite = metrics.as_ref().filter(|metrics| metrics.loss.is_finite());
        let trial = LrTrial {
            lr,
            loss: finite.map(|metrics| metrics.loss),
            top1: finite.map(|metrics| metrics.top1),
            updates: self.updates,
        };
        observer.say(&match (trial.loss, trial.top1) {
            (Some(loss), Some(top1)) => {
                format!(
                    "  lr {lr:<8} loss {loss:.4}, top-1 {:.1} % after {} updates",
                    100.0 * top1,
                    trial.updates
                )
            }
            _ => format!("  lr {lr:<8} diverged"),
        });
        let at = self.done.partition_point(|other| other.lr < lr);
        self.done.insert(at, trial);
        Ok(())
    }

    fn train(&mut self, lr: f64) -> Result<Option<crate::Metrics>, TrainError> {
        let recipe = &self.prepared.recipe.recipe;
        let mut optimizer = optimizer(&self.engine, recipe, lr)?;
        self.engine.set_trainable(&optimizer.trainable())?;
        let epochs = u64::from(recipe.train.epochs).min(self.updates as u64).max(1);
        let per_epoch = (self.updates as u64 / epochs).max(1);
        let horizon = Horizon { epochs, iterations_per_epoch: per_epoch };
        let mut schedule = Schedule::per_group(&recipe.schedule, optimizer.groups(), horizon)?;
        for update in 0..epochs * per_epoch {
            let (loss, norm) = gradients(&mut self.engine, recipe, &mut self.batches, update)?;
            if !loss.is_finite() || !norm.is_finite() {
                return Ok(None);
            }
            optimizer.apply(&schedule);
            self.engine.step(&mut optimizer)?;
            schedule.step_iteration();
            // A schedule that waits for the validation metric learns nothing from so short a training.
            if (update + 1) % per_epoch == 0 && !matches!(recipe.schedule.kind.name(), "ReduceLROnPlateau") {
                schedule.step_epoch(None)?;
            }
        }
        Ok(Some(validate(&mut self.engine, self.prepared, self.batches.stats(), JUDGES)?))
    }
}

/// The vertex of the parabola through the best trial and its neighbours (in the logarithm of the rate), held between
/// the half-ways to them; the prior where every trial diverged.
fn choose(
    trials: &[LrTrial],
    prior: f64,
    updates: usize,
    uncertainty: Option<f64>,
    optimizer: &str,
) -> (f64, String) {
    let finite: Vec<(f64, f64)> =
        trials.iter().filter_map(|trial| Some((trial.lr.ln(), trial.loss?))).collect();
    let Some(best) = (0..finite.len()).min_by(|a, b| finite[*a].1.total_cmp(&finite[*b].1)) else {
        let reason = format!("every short training diverged: the usual start for {optimizer}");
        return (prior, reason);
    };
    let mut x = finite[best].0;
    if best > 0 && best + 1 < finite.len() {
        let [(x0, y0), (x1, y1), (x2, y2)] = [finite[best - 1], finite[best], finite[best + 1]];
        let (a, b) = ((x1 - x0) * (y1 - y2), (x1 - x2) * (y1 - y0));
        if (a - b).abs() > 1e-12 {
            x = x1 - 0.5 * ((x1 - x0) * a - (x1 - x2) * b) / (a - b);
            x = x.clamp(0.5 * (x0 + x1), 0.5 * (x1 + x2));
        }
    }
    let disagreement = match uncertainty {
        Some(factor) => format!("the rules of the range test differ by a factor of {factor:.1}"),
        None => format!("the range test showed nothing, so the trials began at {prior}"),
    };
    let reason = format!(
        "lowest loss among {} short trainings of {updates} updates for {optimizer}; {disagreement}",
        trials.len()
    );
    (two_digits(x.exp()), reason)
}

/// More digits say more than is known.
pub(super) fn two_digits(value: f64) -> f64 {
    format!("{value:.1e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(lr: f64, loss: Option<f64>) -> LrTrial {
        LrTrial { lr, loss, top1: loss, updates: 40 }
    }

    #[test]
    fn the_search_goes_beyond_the_better_edge_and_into_wide_gaps() {
        let falling = [trial(0.01, Some(1.0)), trial(0.1, Some(0.5))];
        assert_eq!(next_candidate(&falling), Some(0.3));
        let rising = [trial(0.01, Some(0.5)), trial(0.1, Some(1.0))];
        assert_eq!(next_candidate(&rising), Some(0.0033));
        let gap = [trial(0.01, Some(1.0)), trial(0.1, Some(0.5)), trial(0.3, Some(1.0))];
        assert_eq!(next_candidate(&gap), Some(0.032));
        let narrow = [trial(0.03, Some(1.0)), trial(0.1, Some(0.5)), trial(0.3, None)];
        assert_eq!(next_candidate(&narrow), None);
        assert_eq!(next_candidate(&[trial(0.1, None)]), Some(0.01));
    }

    #[test]
    fn the_choice_is_the_vertex_and_the_prior_where_all_diverged() {
        let loss = |lr: f64| (lr / 0.06).ln().powi(2);
        let trials = [0.01, 0.04, 0.2].map(|lr| trial(lr, Some(loss(lr))));
        assert_eq!(choose(&trials, 0.01, 40, Some(2.0), "sgd").0, 0.06);
        let (lr, reason) = choose(&[trial(0.1, None)], 0.01, 40, None, "sgd");
        assert!(lr == 0.01 && reason.contains("diverged"));
    }

    #[test]
    fn the_prior_is_the_articles() {
        let rule = |name| OptimizerConfig::by_name(name).expect("exists");
        assert_eq!(prior_lr(&rule("sgd")), 0.01);
        assert_eq!(prior_lr(&rule("adam")), 0.001);
        assert!(prior_lr(&rule("lion")) < 0.001);
    }

    #[test]
    fn near_doubles_are_tried_once() {
        let suggestion = |lr| Suggestion { rule: "x".into(), lr };
        assert_eq!(candidates(&[suggestion(0.012), suggestion(0.01), suggestion(0.1)], 1.0), [0.01, 0.1]);
        assert_eq!(candidates(&[], 0.01), [0.0033, 0.01, 0.03]);
    }
}
