//! Metrics of a network on a part of a data set.

use danlu_data::{Batch, ChannelStats, Loader};
use danlu_nn::{Engine, Images, Input, WeightSet};

use crate::error::TrainError;
use crate::metrics::Tally;
use crate::progress::Observer;

/// Runs the network over everything that `loader` gives, in order and without augmentation.
pub(crate) fn evaluate(
    engine: &mut Engine,
    set: WeightSet,
    loader: &Loader,
    stats: &ChannelStats,
    observer: &mut dyn Observer,
) -> Result<Tally, TrainError> {
    evaluate_each(engine, set, loader, stats, observer, &mut |_, _| {})
}

/// [`evaluate`] that shows every batch with its logits `[N, classes]` to `each`.
pub(crate) fn evaluate_each(
    engine: &mut Engine,
    set: WeightSet,
    loader: &Loader,
    stats: &ChannelStats,
    observer: &mut dyn Observer,
    each: &mut dyn FnMut(&Batch, &[f32]),
) -> Result<Tally, TrainError> {
    let mut tally = Tally::new(engine.graph().classes());
    let total = loader.batches_per_epoch();
    for (done, batch) in loader.epoch(0, 0).enumerate() {
        let batch = batch?;
        for (_, reason) in &batch.skipped {
            observer.warn(&format!("left out of the evaluation: {reason}"));
        }
        let images = Images::U8 { data: &batch.images, mean: &stats.mean, std: &stats.std };
        let logits = engine.infer(&Input { images, shape: batch.shape, mix: None }, set)?;
        tally.add(logits, &batch.labels);
        each(&batch, logits);
        observer.validating(done + 1, total);
    }
    Ok(tally)
}
