//! Pictures of what a run came to: confusion, calibration, mistakes, where it looked.

use std::sync::Arc;

use danlu_data::{Pixels, fit_image};
use danlu_doctor::SuspectSample;
use danlu_train::{Evaluation, ImagePrediction, Predictor, Prepared, TrainError};
use danlu_view::{Calibration, Confusion, Lang, Look, Mistake, Svg, Tile, contact_sheet};

use super::activations::{bitmap, explain};
use super::samples::val_samples;
use super::weights::draw;

/// Bins of the reliability diagram (Guo et al. 2017).
const BINS: usize = 15;
/// Largest side of a thumbnail in pixels.
const THUMBNAIL: usize = 96;

/// The confusion of an evaluation.
pub fn confusion_of(evaluation: &Evaluation, classes: &[String]) -> Confusion {
    Confusion { classes: classes.to_vec(), counts: evaluation.confusion.clone() }
}

/// How sure the network was, and how often it was right then; none of no images.
///
/// # Errors
/// Never for an evaluation that was made.
pub fn calibration(evaluation: &Evaluation) -> Result<Option<Calibration>, TrainError> {
    if evaluation.predictions.is_empty() {
        return Ok(None);
    }
    let confidence: Vec<f32> = evaluation.predictions.iter().map(|p| p.confidence).collect();
    let right: Vec<bool> = evaluation.predictions.iter().map(ImagePrediction::is_right).collect();
    draw(Calibration::new(&confidence, &right, BINS)).map(Some)
}

/// The `most` surest mistakes of an evaluation of the run's own data, as thumbnails. An image that can no longer be read is left
/// out.
///
/// # Errors
/// Never for an evaluation of the same data.
pub fn worst_mistakes(
    prepared: &Prepared,
    evaluation: &Evaluation,
    most: usize,
) -> Result<Vec<Mistake>, TrainError> {
    let mut wrong: Vec<&ImagePrediction> = evaluation.predictions.iter().filter(|p| !p.is_right()).collect();
    wrong.sort_by(|a, b| b.confidence.total_cmp(&a.confidence).then(a.sample.cmp(&b.sample)));
    let classes = &prepared.dataset.classes;
    let class = |index: u32| classes.get(index as usize).cloned().unwrap_or_default();
    let mut found = Vec::new();
    for prediction in wrong {
        if found.len() == most {
            break;
        }
        let Ok(pixels) = prepared.dataset.decode(prediction.sample) else { continue };
        found.push(Mistake {
            image: Arc::new(bitmap(&thumbnail(prepared, &pixels))?),
            truth: class(prediction.label),
            predicted: class(prediction.predicted),
            confidence: f64::from(prediction.confidence),
            place: prepared.dataset.name(prediction.sample),
        });
    }
    Ok(found)
}

/// The training images that the network contradicts, worst first, as thumbnails with their class, what was seen and the loss;
/// none where it contradicts none. An image that can no longer be read is left out.
///
/// # Errors
/// Where an image cannot be drawn.
pub fn contradicted(
    prepared: &Prepared,
    samples: &[SuspectSample],
    look: &Look,
) -> Result<Option<Svg>, TrainError> {
    let class = |index: u32| prepared.dataset.classes.get(index as usize).cloned().unwrap_or_default();
    let mut tiles = Vec::new();
    for sample in samples {
        let Ok(pixels) = prepared.dataset.decode(sample.sample) else { continue };
        tiles.push(Tile {
            note: format!("→ {}, {:.1}", class(sample.predicted), sample.loss),
            ..Tile::new(bitmap(&thumbnail(prepared, &pixels))?, class(sample.label))
        });
    }
    let title = match look.lang {
        Lang::En => "training images that the network contradicts: label, what it sees, loss",
        Lang::Zh => "网络与标签相左的训练图像：标签、网络所见、损失",
    };
    Ok((!tiles.is_empty()).then(|| contact_sheet(title, &tiles, 92.0, look)))
}

/// The image as the network saw it, at most 96 pixels wide.
fn thumbnail(prepared: &Prepared, pixels: &Pixels) -> Pixels {
    let data = &prepared.recipe.recipe.data;
    let size = prepared.size.map(|side| side.min(THUMBNAIL));
    fit_image(pixels, size, data.fit, data.crop_ratio, data.interpolation)
}

/// Where the network looked in `count` validation images, for the class that it found most probable.
///
/// # Errors
/// Where an image cannot be read; [`TrainError::NoFeatureMaps`].
pub fn where_it_looked(
    predictor: &mut Predictor,
    prepared: &Prepared,
    count: usize,
    look: &Look,
) -> Result<Svg, TrainError> {
    let mut tiles = Vec::new();
    for sample in val_samples(predictor, prepared, count)? {
        let why = explain(predictor, &sample, None, None, 0)?;
        let truth = sample.label.and_then(|label| prepared.dataset.classes.get(label as usize));
        tiles.push(Tile {
            note: format!("→ {} {:.0} %", why.class, 100.0 * why.probability()),
            warning: truth.is_some_and(|truth| *truth != why.class),
            ..Tile::new(why.grad_cam_image()?, truth.cloned().unwrap_or_default())
        });
    }
    Ok(contact_sheet("Grad-CAM", &tiles, 130.0, look))
}
