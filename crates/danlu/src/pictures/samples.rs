//! The images that are looked at: a file, or a place in a run's validation set.

use std::path::Path;

use danlu_data::{Part, Pixels};
use danlu_train::{Predictor, Prepared, RunFolder, TrainError, prepared_of};

/// An image as the network sees it.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Its file name, or its name in the data set.
    pub name: String,
    /// `[H, W, C]` of the network's input size.
    pub pixels: Pixels,
    /// Its class, an index into the model's classes, where the data set tells.
    pub label: Option<u32>,
}

/// Opens `image`: a file, or `val:N`, the N-th image (from 0) of the validation set of the run at `model`.
///
/// # Errors
/// Where the file is no image; where `model` is no run, its data changed, or it has fewer images.
pub fn open_sample(predictor: &Predictor, model: &Path, image: &str) -> Result<Sample, TrainError> {
    let place = image.strip_prefix("val:").filter(|_| !Path::new(image).exists());
    let Some(place) = place else {
        let path = Path::new(image);
        return Ok(Sample { name: image.to_owned(), pixels: predictor.read(path)?, label: None });
    };
    let run = RunFolder::open(model)?;
    let prepared = prepared_of(&run, &run.info()?)?;
    let samples = &prepared.dataset.part(Part::Val).samples;
    let found = place.parse().ok().and_then(|place: usize| samples.get(place));
    let &sample = found.ok_or_else(|| TrainError::NotInModel {
        what: "validation image",
        name: image.to_owned(),
        known: vec!["from `val:0`".to_owned(), format!("`val:{}`", samples.len().saturating_sub(1))],
    })?;
    read(predictor, &prepared, sample)
}

/// Up to `count` validation images of a run, evenly spread over the set.
///
/// # Errors
/// Where the data changed or an image cannot be read.
pub fn val_samples(
    predictor: &Predictor,
    prepared: &Prepared,
    count: usize,
) -> Result<Vec<Sample>, TrainError> {
    let samples = &prepared.dataset.part(Part::Val).samples;
    let (count, all) = (count.min(samples.len()), samples.len());
    (0..count).map(|i| read(predictor, prepared, samples[(2 * i + 1) * all / (2 * count)])).collect()
}

fn read(predictor: &Predictor, prepared: &Prepared, sample: u32) -> Result<Sample, TrainError> {
    let dataset = &prepared.dataset;
    let pixels = predictor.fit(&dataset.decode(sample)?);
    Ok(Sample { name: dataset.name(sample), pixels, label: Some(dataset.label(sample)) })
}
