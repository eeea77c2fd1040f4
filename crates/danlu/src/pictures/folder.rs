//! The folder `pictures/` of a run: SVG files that open in any browser, written when the training ends.

use std::io::Write;
use std::path::PathBuf;

use danlu_train::{Evaluation, Predictor, RunFolder, TrainError, prepared_of};
use danlu_view::{Look, Order, Svg, confusion, curves, mistakes, reliability};

use super::{WeightsView, dataset, outcome, val_samples};

/// Channels whose most exciting images are shown.
const CHANNELS: usize = 8;

/// Writes every picture of a finished run, each as a whole or not at all; gives their paths. What needs predictions is left out
/// without an `evaluation` of the run's own data.
///
/// # Errors
/// Where the run's files cannot be read or a picture cannot be written.
pub fn write_pictures(
    run: &RunFolder,
    evaluation: Option<&Evaluation>,
    look: &Look,
) -> Result<Vec<PathBuf>, TrainError> {
    let prepared = prepared_of(run, &run.info()?)?;
    let mut pictures: Vec<(&str, Svg)> =
        vec![("curves", curves::curves(&crate::curves::of_runs(std::slice::from_ref(run))?, look))];
    if let Some(evaluation) = evaluation {
        let counts = outcome::confusion_of(evaluation, &prepared.dataset.classes);
        // More classes than can be drawn are no fault: the report has their table.
        pictures.extend(confusion(&counts, Order::Similar, look).ok().map(|svg| ("confusion", svg)));
        if let Some(calibration) = outcome::calibration(evaluation)? {
            pictures.push(("reliability", reliability(&calibration, look)));
        }
        let worst = outcome::worst_mistakes(&prepared, evaluation, 24)?;
        if !worst.is_empty() {
            pictures.push(("mistakes", mistakes(&worst, look)));
        }
    }
    let view = WeightsView::open(run.path(), None)?;
    if view.convolution(None).is_ok() {
        pictures.push(("weights", view.picture(None, 64, look)?));
    }
    let mut predictor = Predictor::open(run)?;
    if predictor.last_feature_maps().is_ok() {
        pictures.push(("grad-cam", outcome::where_it_looked(&mut predictor, &prepared, 10, look)?));
    }
    let samples = val_samples(&predictor, &prepared, dataset::IMAGES)?;
    if let Ok(layer) = predictor.last_feature_maps() {
        pictures.push(("channels", dataset::exciting(&mut predictor, &samples, &layer, CHANNELS, look)?));
    }
    if let Some(map) = dataset::neighbours(&mut predictor, &samples)? {
        let picture = dataset::map_picture(&map, &samples, predictor.classes(), look)?;
        pictures.push(("embedding", picture));
    }
    let folder = run.pictures();
    std::fs::create_dir_all(&folder).map_err(|source| TrainError::Io {
        action: "create",
        path: folder.clone(),
        source,
    })?;
    pictures
        .into_iter()
        .map(|(name, svg)| {
            let path = folder.join(format!("{name}.svg"));
            danlu_weights::write_atomic(&path, |writer| writer.write_all(svg.to_file().as_bytes()))?;
            Ok(path)
        })
        .collect()
}
