//! Progressive resizing: the size of an epoch's training images is a function of the epoch alone, so that a resume needs to
//! remember nothing.

use danlu_data::{Epoch, Loader, LoaderConfig, Part};
use danlu_recipe::Recipe;

use crate::error::TrainError;
use crate::events::Event;
use crate::progress::Observer;
use crate::session::Session;

/// Every side that the recipe's training images have, the smallest first; `full` is that of the network's input.
pub(crate) fn sizes(recipe: &Recipe, full: usize) -> Vec<usize> {
    let epochs = recipe.train.epochs as usize;
    recipe.train.progressive.as_ref().map_or(vec![full], |config| config.sizes(full, epochs))
}

impl Session {
    /// The batches of the present epoch from `first_batch` on, at the size that it trains with.
    pub(crate) fn training_batches(
        &mut self,
        first_batch: usize,
        observer: &mut dyn Observer,
    ) -> Result<Epoch, TrainError> {
        let (epoch, full) = (self.position.epoch, self.train.config().size[0]);
        let side_of = |epoch: usize| {
            let config = self.recipe.train.progressive.as_ref();
            config.map_or(full, |config| config.size(full, epoch, self.recipe.train.epochs as usize))
        };
        let side = side_of(epoch);
        let grows = self.recipe.train.progressive.is_some() && (epoch == 0 || side != side_of(epoch - 1));
        if grows && self.position.iteration_in_epoch == 0 {
            let message = format!("training images of {side} x {side} from epoch {}", epoch + 1);
            observer.say(&message);
            let iteration = self.position.iteration;
            self.event(&Event::Note { epoch, iteration, kind: "image_size".to_owned(), message })?;
        }
        if side == full {
            self.small = None;
            return Ok(self.train.epoch(epoch as u64, first_batch));
        }
        if self.small.as_ref().is_none_or(|loader| loader.config().size[0] != side) {
            let config = LoaderConfig { size: [side, side], ..self.train.config().clone() };
            self.small = Some(Loader::new(self.train.dataset().clone(), Part::Train, config)?);
        }
        let loader = self.small.as_ref().unwrap_or(&self.train);
        Ok(loader.epoch(epoch as u64, first_batch))
    }
}
