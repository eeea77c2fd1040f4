//! Test-time views: one network pass a view, the probabilities averaged.

use danlu_data::TestViews;
use danlu_nn::{Engine, Images, Input, WeightSet};

use crate::error::TrainError;
use crate::metrics::softmax;

/// Logits `[N, classes]` of the images `[N, H, W, C]`; with several views the logarithm of the mean of the views' probabilities,
/// which is a logit like any other.
pub(crate) fn infer_views(
    engine: &mut Engine,
    set: WeightSet,
    views: TestViews,
    images: &[u8],
    shape: [usize; 4],
    [mean, std]: [&[f32]; 2],
) -> Result<Vec<f32>, TrainError> {
    let classes = engine.graph().classes();
    let mut pass = |data: &[u8]| -> Result<Vec<f32>, TrainError> {
        let images = Images::U8 { data, mean, std };
        Ok(engine.infer(&Input { images, shape, mix: None }, set)?.to_vec())
    };
    if views.count() == 1 {
        return pass(images);
    }
    let mut sum = vec![0.0; shape[0] * classes];
    for view in 0..views.count() {
        let logits = pass(&views.view(view, images, shape))?;
        for (sum, row) in sum.chunks_exact_mut(classes).zip(logits.chunks_exact(classes)) {
            sum.iter_mut().zip(softmax(row)).for_each(|(sum, p)| *sum += p);
        }
    }
    let count = views.count() as f64;
    // A probability that underflows to 0 stays a finite logit.
    Ok(sum.into_iter().map(|p| (p / count).max(f64::MIN_POSITIVE).ln() as f32).collect())
}
