//! Metrics of a network on a part of a data set.

use danlu_data::{Batch, ChannelStats, Loader};
use danlu_nn::{Engine, Images, Input, WeightSet};

use crate::error::TrainError;
use crate::features::FeatureCache;
use crate::metrics::Tally;
use crate::progress::Observer;
use crate::views::infer_views;

/// Runs the network over everything that `loader` gives, in order and without augmentation; with
/// `data.test_views`, the mean of an image's views. `features` are those of the frozen prefix of the live weights.
pub(crate) fn evaluate(
    engine: &mut Engine,
    set: WeightSet,
    loader: &Loader,
    stats: &ChannelStats,
    features: Option<&mut FeatureCache>,
    observer: &mut dyn Observer,
) -> Result<Tally, TrainError> {
    evaluate_each(engine, set, loader, stats, features, observer, &mut |_, _| {})
}

/// [`evaluate`] that shows every batch with its logits `[N, classes]` to `each`.
pub(crate) fn evaluate_each(
    engine: &mut Engine,
    set: WeightSet,
    loader: &Loader,
    stats: &ChannelStats,
    mut features: Option<&mut FeatureCache>,
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
        let views = loader.config().test_views;
        let logits = match features.as_deref_mut().filter(|_| views.count() == 1) {
            Some(cache) => {
                let values = cache.of(engine, &batch, stats)?;
                let input = Input { images: Images::Features(&values), shape: batch.shape, mix: None };
                engine.infer(&input, set)?.to_vec()
            }
            None => infer_views(engine, set, views, &batch.images, batch.shape, [&stats.mean, &stats.std])?,
        };
        tally.add(&logits, &batch.labels);
        each(&batch, &logits);
        observer.validating(done + 1, total);
    }
    Ok(tally)
}
