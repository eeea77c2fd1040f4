//! `train.on_divergence = "rollback"`: back to the start of the epoch, on with half the learning rate.
//!
//! The place is the start of the running epoch and not the newest checkpoint: checkpoints also fall where the clock or
//! Ctrl-C puts them, and a run must not depend on that. So an interrupted and resumed run goes back to the same place as
//! an uninterrupted one.

use danlu_recipe::OnDivergence;

use crate::checkpoint::Checkpoint;
use crate::doctor::Ward;
use crate::error::TrainError;
use crate::log_file::LogFile;
use crate::session::{Session, restore};

/// Rollbacks of one training: a rate that diverges after three halvings is not what is wrong.
pub(crate) const MOST: u32 = 3;

impl Session {
    /// Whether the state at the start of every epoch is kept.
    pub(crate) fn keeps_rollback_point(&self) -> bool {
        self.recipe.train.on_divergence == OnDivergence::Rollback
    }

    /// Takes the state of the start of the epoch back, with half the learning rate. What was said of the epoch goes with
    /// it. Gives back `error` where the recipe says stop, or this happened [`MOST`] times.
    pub(crate) fn roll_back(&mut self, error: TrainError) -> Result<String, TrainError> {
        if !self.keeps_rollback_point() || self.position.rollbacks >= MOST {
            return Err(error);
        }
        let TrainError::Diverged { iteration, lr, .. } = &error else { return Err(error) };
        let (at, lr) = (*iteration, *lr);
        // What is buffered would be written behind the cut.
        self.events.flush()?;
        self.metrics.flush()?;
        let path = self.run.rollback_point();
        let Some(checkpoint) = Checkpoint::read(&path)? else { return Err(error) };
        let (rollbacks, rate_scale) = (self.position.rollbacks + 1, self.position.rate_scale / 2.0);
        // A fresh optimizer: buffers that did not exist at the start of the epoch must not survive.
        self.optimizer = crate::session::optimizer(&self.recipe, &self.engine)?;
        restore(&checkpoint, &self.run, &mut self.engine, &mut self.optimizer, &mut self.schedule)?;
        self.optimizer.set_epoch(checkpoint.position.epoch as u64);
        self.engine.set_trainable(&self.optimizer.trainable())?;
        self.position = checkpoint.position;
        (self.position.rollbacks, self.position.rate_scale) = (rollbacks, rate_scale);
        self.events = LogFile::open_at(&self.run.events(), self.position.events_offset)?;
        self.metrics = LogFile::open_at(&self.run.metrics(), self.position.metrics_offset)?;
        self.doctor = Ward::open(&self.run, &self.recipe, self.position.events_offset)?;
        Ok(format!(
            "{error}: rolled back from iteration {at} to iteration {} (the start of epoch {}) with the learning rate halved from {lr:e} (rollback {rollbacks} of at most {MOST})",
            self.position.iteration,
            self.position.epoch + 1
        ))
    }
}
