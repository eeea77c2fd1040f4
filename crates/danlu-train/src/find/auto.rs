//! `"auto"` in a recipe: the batch size first, then the learning rate for it.

use danlu_optim::OptimizerConfig;
use danlu_recipe::Origin;

use super::{find_batch, find_lr, scaled_lr};
use crate::error::TrainError;
use crate::prepare::Prepared;
use crate::progress::Observer;

/// Fills the keys of `auto` by experiments. A learning rate that danlu chose for another batch size is rescaled; one
/// that a person asked for stays.
pub(crate) fn fill(
    prepared: &mut Prepared,
    auto: &[String],
    observer: &mut dyn Observer,
) -> Result<(), TrainError> {
    let found = |reason: String| Origin::Finder { reason };
    let asks = |key: &str| auto.iter().any(|asked| asked == key);
    if asks("train.batch_size") {
        let before = prepared.recipe.recipe.train.batch_size;
        let batch = find_batch(prepared, observer)?;
        observer.say(&format!("train.batch_size = {}: {}", batch.batch_size, batch.reason));
        prepared.recipe.fill("train.batch_size", batch.batch_size, found(batch.reason))?;
        let rule = &prepared.recipe.recipe.optimizer.rule;
        if !asks("optimizer.lr")
            && !prepared.recipe.origin("optimizer.lr").is_asked_for()
            && batch.batch_size != before
        {
            let lr = scaled_lr(rule, rule.lr(), before, batch.batch_size);
            let how = if is_sgd(rule) { "in proportion" } else { "with the square root" };
            let reason =
                format!("{} at a batch of {before}, rescaled {how} to {}", rule.lr(), batch.batch_size);
            observer.say(&format!("optimizer.lr = {lr}: {reason}"));
            prepared.recipe.fill("optimizer.lr", lr, found(reason))?;
        }
    }
    if asks("optimizer.lr") {
        let lr = find_lr(prepared, observer)?;
        observer.say(&format!("optimizer.lr = {}: {}", lr.lr, lr.reason));
        prepared.recipe.fill("optimizer.lr", lr.lr, found(lr.reason))?;
    }
    Ok(())
}

pub(super) fn is_sgd(rule: &OptimizerConfig) -> bool {
    matches!(rule, OptimizerConfig::Sgd(_) | OptimizerConfig::Asgd(_) | OptimizerConfig::ScheduleFreeSgd(_))
}
