//! The report of a run: what its folder says, as one HTML page (`report.html`).

use std::io::Write;
use std::path::PathBuf;

use danlu_data::Part;
use danlu_train::events::EpochEvent;
use danlu_train::{Evaluation, Event, RunFolder, TrainError, prepared_of, read_events, read_result};
use danlu_view::report::{By, Choice, DataSummary, Fact, NumberTable, Picture, Score, TestResult};
use danlu_view::{Confusion, Lang, Order, ReportInput, confusion, report};

/// Writes `report.html` into a finished run, with the test result where the test set was opened; gives its path.
///
/// # Errors
/// Where the run is not finished, its data changed, or the page cannot be written.
pub fn write(run: &RunFolder, test: Option<&Evaluation>, lang: Lang) -> Result<PathBuf, TrainError> {
    let info = run.info()?;
    let result = read_result(run)?;
    let prepared = prepared_of(run, &info)?;
    let (dataset, recipe) = (&prepared.dataset, &prepared.recipe);
    let epochs: Vec<EpochEvent> = read_events(&run.events())?
        .into_iter()
        .filter_map(|event| match event {
            Event::Epoch(epoch) => Some(epoch),
            _ => None,
        })
        .collect();
    let name = run.path().file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let path = run.path().display();
    let counts = |part| dataset.class_counts(part).into_iter().map(|count| count as u64).collect();
    let confusion_counts =
        test.map(|test| Confusion { classes: info.classes.clone(), counts: test.confusion.clone() });
    let mut pictures = Vec::new();
    if let Some(counts) = &confusion_counts {
        pictures.extend(
            Picture::of("Confusion matrix", lang, |look| confusion(counts, Order::Similar, look)).ok(),
        );
    }
    let hits = (result.val.top1 * result.val.samples as f64).round() as u64;
    let input = ReportInput {
        lang,
        name,
        version: info.danlu.clone(),
        summary: format!(
            "{} epochs; the weights of epoch {} were best on the validation set.",
            result.epochs, result.best_epoch
        ),
        facts: vec![
            (Fact::BestEpoch, format!("{} of {}", result.best_epoch, result.epochs)),
            (Fact::Parameters, prepared.graph()?.param_count().to_string()),
        ],
        command: info.command.clone(),
        choices: info
            .choices
            .iter()
            .map(|choice| Choice {
                key: choice.key.clone(),
                value: choice.value.clone(),
                reason: choice.reason.clone(),
                source: choice.source.clone(),
                by: if choice.asked { By::User } else { By::Automatic },
            })
            .collect(),
        data: Some(DataSummary {
            name: info.data.clone(),
            found: dataset.found.clone(),
            classes: info.classes.clone(),
            counts: [counts(Part::Train), counts(Part::Val), counts(Part::Test)],
            broken: dataset
                .broken
                .iter()
                .map(|broken| format!("{}: {}", broken.path.display(), broken.reason))
                .collect(),
            image_size: format!(
                "{} x {}, {}",
                prepared.size[0],
                prepared.size[1],
                if info.channels == 1 { "gray" } else { "colour" }
            ),
            fingerprint: info.fingerprint.clone(),
        }),
        curves: Some(crate::curves::of_runs(std::slice::from_ref(run))?),
        epochs: table(&epochs),
        validation: Some(Score { hits, images: result.val.samples }),
        test: test.map(|test| TestResult {
            score: Score { hits: test.correct, images: test.metrics.samples },
            opened: test.opened.unwrap_or(1) as u64,
        }),
        on_test: test.is_some(),
        confusion: confusion_counts,
        pictures,
        reproduce: vec![format!("danlu train {} --recipe {path}/recipe.toml", info.data)],
        recipe: recipe.to_toml(),
        ..ReportInput::default()
    };
    let page = report(&input);
    danlu_weights::write_atomic(&run.report(), |writer| writer.write_all(page.as_bytes()))?;
    Ok(run.report())
}

fn table(epochs: &[EpochEvent]) -> NumberTable {
    let head = ["epoch", "lr", "train loss", "train top-1", "val loss", "val top-1", "val macro-F1"];
    NumberTable {
        head: head.map(str::to_owned).to_vec(),
        rows: epochs
            .iter()
            .map(|epoch| {
                vec![
                    epoch.epoch as f64,
                    epoch.lr.first().copied().unwrap_or(f64::NAN),
                    epoch.train_loss,
                    epoch.train_top1.unwrap_or(f64::NAN),
                    epoch.val.loss,
                    epoch.val.top1,
                    epoch.val.macro_f1,
                ]
            })
            .collect(),
    }
}
