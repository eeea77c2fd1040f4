//! The doctor at a run: its history read from the run folder, and early warnings while it trains.

use danlu_doctor::{ClassRecall, Epoch, Finding, History, Looks, Setting, TestScore, Update, Watch};
use danlu_recipe::Recipe;
use serde_json::Value;

use crate::error::TrainError;
use crate::evaluate_run::Evaluation;
use crate::events::{Event, read_events};
use crate::journal::{JournalEntry, read_journal};
use crate::run_folder::{RunFolder, to_json};

pub use danlu_doctor::{LearningRate, Place, Proposal, RULES, Severity, diagnose, learning_rate, proposals};

/// File in a run folder with the result on the test set.
const TEST_SCORE: &str = "test.json";

/// Reads what a run went through; of a run that still trains, what was written so far.
///
/// # Errors
/// [`TrainError::Io`], [`TrainError::Damaged`] where the run's files cannot be read.
pub fn history(run: &RunFolder) -> Result<History, TrainError> {
    let recipe = danlu_recipe::resolve::<Recipe>(&[danlu_recipe::Layer::from_file(&run.recipe())?])?;
    let mut history = start(run, recipe.tree());
    // A run that was stopped before its first checkpoint has no events yet.
    if run.events().exists() {
        for event in read_events(&run.events())? {
            hear(&mut history, &event);
        }
    }
    if run.journal().exists() {
        for line in read_journal(&run.journal())? {
            if let JournalEntry::Epoch { data_wait, .. } = line.entry {
                history.data_wait.push(data_wait);
            }
        }
    }
    let path = run.path().join(TEST_SCORE);
    if path.exists() {
        let bytes = std::fs::read(&path).map_err(|source| TrainError::io("read", &path, source))?;
        let score = serde_json::from_slice(&bytes)
            .map_err(|error| TrainError::Damaged { path, problem: error.to_string() })?;
        history.test = Some(score);
        history.looks = looks(run);
    }
    Ok(history)
}

/// Counts the runs on the same data that lie beside this one, and their epochs. A neighbour that cannot be read is none.
fn looks(run: &RunFolder) -> Looks {
    let Ok(fingerprint) = run.info().map(|info| info.fingerprint) else { return Looks::default() };
    let siblings = run.path().canonicalize().ok().and_then(|path| std::fs::read_dir(path.parent()?).ok());
    let mut looks = Looks::default();
    for entry in siblings.into_iter().flatten().flatten() {
        let Ok(other) = RunFolder::open(&entry.path()) else { continue };
        if other.info().is_ok_and(|info| info.fingerprint == fingerprint) {
            let rows = std::fs::read_to_string(other.metrics()).unwrap_or_default();
            looks.runs += 1;
            looks.epochs += rows.lines().count().saturating_sub(1) as u64;
        }
    }
    looks
}

/// Keeps the result of a run on its test set beside it.
pub(crate) fn write_test_score(run: &RunFolder, evaluation: &Evaluation) -> Result<(), TrainError> {
    let score = TestScore {
        top1: evaluation.metrics.top1,
        samples: evaluation.metrics.samples,
        opened: evaluation.opened.unwrap_or(1) as u64,
    };
    let bytes = to_json(&score)?;
    let path = run.path().join(TEST_SCORE);
    Ok(danlu_weights::write_atomic(&path, |writer| std::io::Write::write_all(writer, &bytes))?)
}

fn start(run: &RunFolder, recipe: Value) -> History {
    let on = |value: &Value| match value {
        Value::Null => false,
        Value::String(name) => name != "none",
        _ => true,
    };
    let augment: Vec<(String, bool)> = recipe
        .get("augment")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.clone(), on(value)))
        .collect();
    let mixes = |key: &str| matches!(key, "mixup" | "cutmix");
    let setting = Setting {
        mixed: augment.iter().any(|(key, on)| *on && mixes(key)),
        augmentations: augment
            .iter()
            .filter(|(key, on)| *on && !mixes(key))
            .map(|(key, _)| format!("augment.{key}"))
            .collect(),
        pretrained: run.path().join("initial_weights.json").exists(),
        epochs: recipe.pointer("/train/epochs").and_then(Value::as_u64).unwrap_or(0) as usize,
        recipe,
        ..Setting::default()
    };
    History { setting, ..History::default() }
}

/// Adds one event to a history.
fn hear(history: &mut History, event: &Event) {
    match event {
        Event::Start {
            epochs,
            iterations_per_epoch,
            batch_size,
            train_samples,
            val_samples,
            classes,
            class_counts,
            frozen,
            norm_batch,
            ..
        } => {
            let setting = &mut history.setting;
            setting.epochs = *epochs;
            setting.iterations_per_epoch = *iterations_per_epoch;
            setting.batch_size = *batch_size;
            (setting.train_samples, setting.val_samples) = (*train_samples, *val_samples);
            setting.classes.clone_from(classes);
            setting.class_counts.clone_from(class_counts);
            (setting.frozen, setting.norm_batch) = (*frozen, *norm_batch);
        }
        Event::Iteration { loss, lr, grad_norm, .. } => history.updates.push(Update {
            loss: *loss,
            lr: lr.first().copied().unwrap_or_default(),
            grad_norm: *grad_norm,
        }),
        Event::Evidence(evidence) => {
            // What was frozen at the start and trains now is frozen no more.
            if !evidence.layers.is_empty() && evidence.layers.iter().all(|layer| layer.grad_norm.is_some()) {
                history.setting.frozen = 0.0;
            }
            history.evidence.push(evidence.clone());
        }
        Event::Suspects(suspects) => history.suspects.push(suspects.clone()),
        Event::Epoch(epoch) => history.epochs.push(Epoch {
            train_loss: epoch.train_loss,
            train_top1: epoch.train_top1,
            val_loss: epoch.val.loss,
            val_top1: epoch.val.top1,
            lr: epoch.lr.first().copied().unwrap_or_default(),
            recalls: epoch
                .val
                .per_class
                .iter()
                .map(|class| ClassRecall { recall: class.recall, support: class.support })
                .collect(),
        }),
        Event::Divergence(divergence) => history.divergence = Some(divergence.clone()),
        Event::End { .. } => history.finished = true,
        Event::Weights { .. } | Event::Note { .. } => {}
    }
}

/// A training under observation.
#[derive(Debug)]
pub(crate) struct Ward {
    history: History,
    watch: Watch,
}

impl Ward {
    /// With what the events up to `offset` say, so that a resumed training warns as an uninterrupted one does. The file
    /// has been cut back to the offset.
    pub(crate) fn open(run: &RunFolder, recipe: &Recipe, offset: u64) -> Result<Self, TrainError> {
        let tree = serde_json::to_value(recipe)
            .map_err(|error| TrainError::Internal { problem: format!("recipe: {error}") })?;
        let mut ward = Ward { history: start(run, tree), watch: Watch::default() };
        if offset > 0 {
            let mut said = Vec::new();
            for event in read_events(&run.events())? {
                if let Event::Note { kind, .. } = &event {
                    said.extend(kind.strip_prefix("early_warning.").map(str::to_owned));
                }
                ward.hear(&event);
            }
            ward.watch = Watch::after(said);
        }
        Ok(ward)
    }

    pub(crate) fn hear(&mut self, event: &Event) {
        hear(&mut self.history, event);
    }

    /// What is new after an epoch.
    pub(crate) fn look(&mut self) -> Option<Finding> {
        self.watch.look(&self.history)
    }
}

/// An early warning as a sentence. It names no run: the same training says the same, wherever it lies.
pub(crate) fn warning(finding: &Finding) -> String {
    let mut text = format!("{} ({})", finding.title, finding.evidence);
    if let Some(first) = finding.proposals.first() {
        text += &format!("; try `{} = {}`", first.key, first.value);
    }
    text
}
