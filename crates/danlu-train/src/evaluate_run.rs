//! A finished run, judged: on its own validation or test set, or on another data set.

use std::path::Path;
use std::sync::Arc;

use danlu_data::{
    Batch, ChannelStats, DataConfig, Dataset, Loader, LoaderConfig, Part, TestLedger, TestViews,
};
use danlu_nn::{Engine, WeightSet};
use danlu_recipe::{Layer, Recipe, Resolved, resolve};
use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::evaluate::evaluate_each;
use crate::metrics::{Metrics, argmax, softmax};
use crate::prepare::{engine_config, is_demo};
use crate::progress::Observer;
use crate::run_folder::{RunFolder, RunInfo};
use crate::training::prepared_of;

/// What an evaluation found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The metrics.
    pub metrics: Metrics,
    /// `[classes, classes]` counts, row = true class.
    pub confusion: Vec<u64>,
    /// Right predictions.
    pub correct: u64,
    /// How often this test set has been opened, this time included; none for other parts.
    pub opened: Option<usize>,
    /// What was said of each image, in the order of the part.
    pub predictions: Vec<ImagePrediction>,
}

/// What the network said of one image of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImagePrediction {
    /// The image, an index into the data set.
    pub sample: u32,
    /// Its class.
    pub label: u32,
    /// The most probable class.
    pub predicted: u32,
    /// The probability of that class.
    pub confidence: f32,
}

impl ImagePrediction {
    /// Whether the prediction is right.
    pub fn is_right(&self) -> bool {
        self.label == self.predicted
    }
}

/// Evaluates a run's best weights on a part of its own data. For the test set the opening is written into the ledger
/// first. `views` are those of an image that are averaged over; `None`: the recipe's.
///
/// # Errors
/// [`TrainError::NoSuchPart`], [`TrainError::DataChanged`], or unreadable weights.
pub fn evaluate_run(
    run: &RunFolder,
    part: Part,
    command: &str,
    views: Option<TestViews>,
    observer: &mut dyn Observer,
) -> Result<Evaluation, TrainError> {
    let info = run.info()?;
    let prepared = prepared_of(run, &info)?;
    let judged = Judged { dataset: prepared.dataset, part, is_test: part == Part::Test };
    let evaluation = judge(run, &info, &prepared.recipe.recipe, judged, command, views, observer)?;
    if part == Part::Test {
        crate::doctor::write_test_score(run, &evaluation)?;
    }
    Ok(evaluation)
}

/// Evaluates a run's best weights on another data set, with the run's preprocessing; classes are matched by name, and
/// some may be absent. A set without parts is judged as a whole, one with parts by its part of that name. The run's own
/// data are not needed. What is a test set there goes into the ledger, too.
///
/// # Errors
/// Whatever is wrong with the data, such as a class that the network does not know; [`TrainError::NoSuchPart`];
/// unreadable weights.
pub fn evaluate_on(
    run: &RunFolder,
    data: &Path,
    part: Part,
    command: &str,
    views: Option<TestViews>,
    observer: &mut dyn Observer,
) -> Result<Evaluation, TrainError> {
    let info = run.info()?;
    let recipe: Resolved<Recipe> = resolve(&[Layer::from_file(&run.recipe())?])?;
    // All of what is shown is judged, however little the run was trained on.
    let config = DataConfig { channels: Some(info.channels), limit: None, ..recipe.recipe.data.clone() };
    let dataset = if is_demo(data) {
        demo(&config, &info.classes)?
    } else {
        Dataset::open_for_evaluation(data, &config, &info.classes)?
    };
    for line in &dataset.found {
        observer.say(line);
    }
    for broken in &dataset.broken {
        observer.warn(&format!("left out `{}`: {}", broken.path.display(), broken.reason));
    }
    // A set without parts comes back as a test set; it is one only if it was asked for as one.
    let whole = dataset.train.is_empty() && dataset.val.is_empty();
    let judged = Judged {
        part: if whole { Part::Test } else { part },
        is_test: part == Part::Test,
        dataset: Arc::new(dataset),
    };
    judge(run, &info, &recipe.recipe, judged, command, views, observer)
}

/// The embedded set, for a network of its classes.
fn demo(config: &DataConfig, classes: &[String]) -> Result<Dataset, TrainError> {
    let dataset = Dataset::demo(config)?;
    match dataset.classes.iter().find(|class| !classes.contains(class)) {
        None if dataset.classes == classes => Ok(dataset),
        unknown => Err(danlu_data::DataError::UnknownClass {
            path: dataset.path.clone(),
            part: Part::Test.name().to_owned(),
            class: unknown.unwrap_or(&dataset.classes[0]).clone(),
            known: classes.join(", "),
            nearest: None,
        }
        .into()),
    }
}

/// What is looked at.
struct Judged {
    dataset: Arc<Dataset>,
    part: Part,
    /// Whether the opening goes into the ledger.
    is_test: bool,
}

fn judge(
    run: &RunFolder,
    info: &RunInfo,
    recipe: &Recipe,
    Judged { dataset, part, is_test }: Judged,
    command: &str,
    views: Option<TestViews>,
    observer: &mut dyn Observer,
) -> Result<Evaluation, TrainError> {
    if dataset.part(part).is_empty() {
        return Err(TrainError::NoSuchPart { data: dataset.path.display().to_string(), part });
    }
    let side = recipe.data.image_size.ok_or_else(|| TrainError::Damaged {
        path: run.recipe(),
        problem: "has no `data.image_size`".into(),
    })?;
    let size = [side, side];
    let graph = recipe.network.build(info.channels, info.classes.len(), size)?;
    let mut engine = Engine::new(graph, &engine_config(recipe))?;
    let weights = danlu_weights::read_state_dict(&run.best_weights())?;
    danlu_weights::check_finite(&weights.state).map_err(|error| error.of_file(&weights.path))?;
    engine.load_state_dict(&weights.state, WeightSet::Live)?;
    let images = dataset.part(part).len();
    // A small set is no reason to refuse a large batch.
    let batch_size = recipe.train.batch_size.min(images);
    let test_fingerprint = dataset.test_fingerprint.clone();
    let data = DataConfig { test_views: views.unwrap_or(recipe.data.test_views), ..recipe.data.clone() };
    let loader = Loader::new(dataset, part, LoaderConfig::evaluate(&data, size, batch_size))?;
    let opened = if is_test {
        let ledger = TestLedger::for_fingerprint(&test_fingerprint);
        Some(ledger.record(&run.path().display().to_string(), command, None)?)
    } else {
        None
    };
    // The statistics of the training set, as they were when it was trained.
    let stats = ChannelStats { mean: info.mean.clone(), std: info.std.clone(), images };
    let mut predictions = Vec::with_capacity(images);
    let mut keep = |batch: &Batch, logits: &[f32]| {
        let rows = logits.chunks_exact(info.classes.len());
        for ((&sample, &label), row) in batch.samples.iter().zip(&batch.labels).zip(rows) {
            let predicted = argmax(row);
            let confidence = softmax(row)[predicted] as f32;
            predictions.push(ImagePrediction { sample, label, predicted: predicted as u32, confidence });
        }
    };
    let tally = evaluate_each(&mut engine, WeightSet::Live, &loader, &stats, None, observer, &mut keep)?;
    Ok(Evaluation {
        metrics: tally.metrics(),
        confusion: tally.confusion().to_vec(),
        correct: tally.correct(),
        opened,
        predictions,
    })
}

/// Keeps what an evaluation of the run's own data found, in the run (`evaluation-validation.json`, `evaluation-test.json`): a report made
/// later must not open the test set again.
///
/// # Errors
/// Where it cannot be written.
pub fn keep_evaluation(run: &RunFolder, part: Part, evaluation: &Evaluation) -> Result<(), TrainError> {
    let text = serde_json::to_vec(evaluation)
        .map_err(|error| TrainError::Internal { problem: format!("evaluation: {error}") })?;
    Ok(danlu_weights::write_atomic(&run.evaluation(part), |writer| std::io::Write::write_all(writer, &text))?)
}

/// Reads what [`keep_evaluation`] kept; none where nothing was.
///
/// # Errors
/// Where the file is there and cannot be read.
pub fn kept_evaluation(run: &RunFolder, part: Part) -> Result<Option<Evaluation>, TrainError> {
    let path = run.evaluation(part);
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(TrainError::io("read", &path, source)),
    };
    match serde_json::from_slice(&text) {
        Ok(evaluation) => Ok(Some(evaluation)),
        Err(error) => Err(TrainError::Damaged { path, problem: error.to_string() }),
    }
}
