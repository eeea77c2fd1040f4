//! Which weights are judged and kept: the live ones, or an average of them; and how the averages come about.
//!
//! - `train.ema`: exponential, updated every iteration.
//! - `train.swa`: the ends of the last epochs, each the same ([`SwaConfig`](danlu_recipe::SwaConfig)).
//! - Schedule-free optimizers: the parameters hold the point where the gradient is taken; the weights to judge are the optimizer's average.
//!
//! The last two are no weights that ever trained, so that the batch norms' running estimates do not fit them: they are estimated anew
//! on training images before every validation. All of it is a function of the training's state, so that a resume is byte-exact.

use danlu_nn::{StepContext, WeightSet};
use danlu_recipe::Recipe;
use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::session::Session;
use crate::training::input_of;

/// Images that the batch norms of averaged weights are estimated on: the error of a mean over so many is well below the difference
/// that one epoch makes, and large training sets are not read twice an epoch.
const NORM_IMAGES: usize = 4096;

/// What stochastic weight averaging remembers between epochs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct SwaState {
    /// Learning rate of each group when averaging began.
    pub(crate) rates: Vec<f64>,
    /// Epochs averaged.
    pub(crate) models: u64,
}

/// Whether the training keeps averaged weights beside the live ones.
pub(crate) fn keeps_average(recipe: &Recipe) -> bool {
    recipe.train.ema.is_some() || recipe.train.swa.is_some() || recipe.optimizer.rule.evaluates_average()
}

impl Session {
    /// The weights that are evaluated and kept: the average where there is one.
    pub(crate) fn judged_weights(&self) -> WeightSet {
        if self.engine.has_ema() { WeightSet::Ema } else { WeightSet::Live }
    }

    fn swa_first_epoch(&self) -> Option<usize> {
        Some(self.recipe.train.swa.as_ref()?.first_epoch(self.recipe.train.epochs as usize))
    }

    /// Replaces the schedule's learning rates, which the optimizer has just taken, where stochastic weight averaging has its own.
    pub(crate) fn apply_swa_rates(&mut self) {
        let Some(first) = self.swa_first_epoch().filter(|first| self.position.epoch >= *first) else {
            return;
        };
        let Some(swa) = self.recipe.train.swa.as_ref().filter(|swa| swa.swa_lr.is_some()) else { return };
        let state = self.position.swa.get_or_insert_default();
        if state.rates.is_empty() {
            state.rates = self.optimizer.groups().iter().map(|group| group.lr).collect();
        }
        for (group, from) in self.optimizer.groups_mut().iter_mut().zip(&state.rates) {
            group.lr = swa.rate(*from, self.position.epoch - first);
        }
    }

    /// At the end of an epoch, before it is judged.
    pub(crate) fn average_weights(&mut self) -> Result<(), TrainError> {
        if self.recipe.optimizer.rule.evaluates_average() {
            self.engine.average_from(&self.optimizer)?;
            return self.estimate_norms();
        }
        let Some(first) = self.swa_first_epoch().filter(|first| self.position.epoch >= *first) else {
            return Ok(());
        };
        let state = self.position.swa.get_or_insert_default();
        // The first epoch's weights replace whatever was there.
        if self.position.epoch == first {
            state.models = 0;
            self.engine.ema_start();
        }
        let models = state.models as f64;
        state.models += 1;
        self.engine.ema_update(models / (models + 1.0))?;
        self.estimate_norms()
    }

    /// Estimates the batch norms of the averaged weights on training images, augmented and drawn as in the epoch that comes.
    fn estimate_norms(&mut self) -> Result<(), TrainError> {
        if self.engine.buffers().is_empty() {
            return Ok(());
        }
        let batches = NORM_IMAGES.div_ceil(self.recipe.train.batch_size);
        for (seen, batch) in self.train.epoch(self.position.epoch as u64 + 1, 0).take(batches).enumerate() {
            let batch = batch?;
            let context = StepContext {
                seed: self.recipe.train.seed,
                iteration: self.position.iteration + seen as u64,
                ..StepContext::default()
            };
            let input = input_of(&batch, &self.stats);
            self.engine.estimate_norms(&input, WeightSet::Ema, &context, seen as u64)?;
        }
        Ok(())
    }
}
