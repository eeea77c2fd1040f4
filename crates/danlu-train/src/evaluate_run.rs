//! A finished run, judged: on its own validation or test set, or on another data set.

use std::path::Path;
use std::sync::Arc;

use danlu_data::{ChannelStats, DataConfig, Dataset, Loader, LoaderConfig, Part, TestLedger};
use danlu_nn::{Engine, WeightSet};
use danlu_recipe::{Layer, Recipe, Resolved, resolve};

use crate::error::TrainError;
use crate::evaluate::evaluate;
use crate::metrics::Metrics;
use crate::prepare::{engine_config, is_demo};
use crate::progress::Observer;
use crate::run_folder::{RunFolder, RunInfo};
use crate::training::prepared_of;

/// What an evaluation found.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// The metrics.
    pub metrics: Metrics,
    /// `[classes, classes]` counts, row = true class.
    pub confusion: Vec<u64>,
    /// Right predictions.
    pub correct: u64,
    /// How often this test set has been opened, this time included; none for other parts.
    pub opened: Option<usize>,
}

/// Evaluates a run's best weights on a part of its own data. For the test set the opening is written into the ledger
/// first.
///
/// # Errors
/// [`TrainError::NoSuchPart`], [`TrainError::DataChanged`], or unreadable weights.
pub fn evaluate_run(
    run: &RunFolder,
    part: Part,
    command: &str,
    observer: &mut dyn Observer,
) -> Result<Evaluation, TrainError> {
    let info = run.info()?;
    let prepared = prepared_of(run, &info)?;
    let judged = Judged { dataset: prepared.dataset, part, is_test: part == Part::Test };
    judge(run, &info, &prepared.recipe.recipe, judged, command, observer)
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
    judge(run, &info, &recipe.recipe, judged, command, observer)
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
    engine.load_state_dict(&weights.state, WeightSet::Live)?;
    let images = dataset.part(part).len();
    // A small set is no reason to refuse a large batch.
    let batch_size = recipe.train.batch_size.min(images);
    let test_fingerprint = dataset.test_fingerprint.clone();
    let loader = Loader::new(dataset, part, LoaderConfig::evaluate(&recipe.data, size, batch_size))?;
    let opened = if is_test {
        let ledger = TestLedger::for_fingerprint(&test_fingerprint);
        Some(ledger.record(&run.path().display().to_string(), command, None)?)
    } else {
        None
    };
    // The statistics of the training set, as they were when it was trained.
    let stats = ChannelStats { mean: info.mean.clone(), std: info.std.clone(), images };
    let tally = evaluate(&mut engine, WeightSet::Live, &loader, &stats, observer)?;
    Ok(Evaluation {
        metrics: tally.metrics(),
        confusion: tally.confusion().to_vec(),
        correct: tally.correct(),
        opened,
    })
}
