//! The report of a run: what its folder says, as one HTML page (`report.html`).

use std::io::Write;
use std::path::{Path, PathBuf};

use danlu_data::Part;
use danlu_doctor::Severity;
use danlu_train::events::EpochEvent;
use danlu_train::journal::JournalEntry;
use danlu_train::{
    Evaluation, Event, Predictor, Prepared, RunFolder, TrainError, prepared_of, read_events, read_journal,
    read_result,
};
use danlu_view::report::{By, Choice, DataSummary, Fact, Finding, NumberTable, Picture, Score, TestResult};
use danlu_view::{Lang, Look, ReportInput, report};

use crate::pictures::{WeightsView, dataset, memory, outcome, val_samples};

/// Writes `report.html` into a finished run; gives its path. `evaluation` is that of the run's own test set, or of its validation
/// set where the test set was not opened: it gives the results by class, the calibration and the mistakes.
///
/// # Errors
/// Where the run is not finished, its data changed, or the page cannot be written.
pub fn write(run: &RunFolder, evaluation: Option<&Evaluation>, lang: Lang) -> Result<PathBuf, TrainError> {
    write_to(run, evaluation, lang, &run.report())
}

/// [`write()`] into another file.
///
/// # Errors
/// As [`write()`].
pub fn write_to(
    run: &RunFolder,
    evaluation: Option<&Evaluation>,
    lang: Lang,
    file: &Path,
) -> Result<PathBuf, TrainError> {
    let test = evaluation.filter(|evaluation| evaluation.opened.is_some());
    let info = run.info()?;
    let result = read_result(run)?;
    let prepared = prepared_of(run, &info)?;
    let dataset = &prepared.dataset;
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
    let worst = match evaluation {
        Some(evaluation) => outcome::worst_mistakes(&prepared, evaluation, MISTAKES)?,
        None => Vec::new(),
    };
    let seconds: f64 = read_journal(&run.journal())?
        .iter()
        .map(|line| if let JournalEntry::Epoch { seconds, .. } = line.entry { seconds } else { 0.0 })
        .sum();
    let examination = crate::doctor::examine(run)?;
    let findings = examination
        .findings
        .iter()
        .map(|finding| Finding {
            title: finding.title.clone(),
            evidence: finding.evidence.clone(),
            advice: std::iter::once(finding.advice.clone())
                .filter(|advice| !advice.is_empty())
                .chain(finding.proposals.iter().map(|p| format!("{} = {}: {}", p.key, p.value, p.reason)))
                .collect::<Vec<_>>()
                .join("; "),
            warning: finding.severity == Severity::Fault,
        })
        .collect();
    let doubts_labels = examination
        .findings
        .iter()
        .any(|finding| matches!(finding.rule.as_str(), "label_noise" | "augmentation_breaks_label"));
    let hits = (result.val.top1 * result.val.samples as f64).round() as u64;
    let mut curves = crate::doctor::picture(run, &examination.findings)?;
    crate::curves::translate(&mut curves, lang);
    let input = ReportInput {
        lang,
        name,
        version: info.danlu.clone(),
        summary: match lang {
            Lang::En => format!(
                "{} epochs; the weights of epoch {} were best on the validation set.",
                result.epochs, result.best_epoch
            ),
            Lang::Zh => {
                format!("共训练 {} 轮；第 {} 轮的权重在验证集上最好。", result.epochs, result.best_epoch)
            }
        },
        facts: vec![
            (Fact::BestEpoch, format!("{} of {}", result.best_epoch, result.epochs)),
            (Fact::Time, danlu_view::layers::BarUnit::Seconds.text((seconds * 10.0).round() / 10.0)),
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
        curves: Some(curves),
        findings,
        epochs: table(&epochs, lang),
        validation: Some(Score { hits, images: result.val.samples }),
        test: test.map(|test| TestResult {
            score: Score { hits: test.correct, images: test.metrics.samples },
            opened: test.opened.unwrap_or(1) as u64,
        }),
        on_test: test.is_some(),
        confusion: evaluation.map(|evaluation| outcome::confusion_of(evaluation, &info.classes)),
        calibration: evaluation.map(outcome::calibration).transpose()?.flatten(),
        mistakes: worst,
        pictures: pictures(run, &prepared, doubts_labels, lang)?,
        reproduce: vec![
            format!("danlu train {} --recipe {path}/recipe.toml", info.data),
            format!("danlu predict {path} IMAGE..."),
        ],
        recipe: recipe_text(run)?,
        ..ReportInput::default()
    };
    let page = report(&input);
    danlu_weights::write_atomic(file, |writer| writer.write_all(page.as_bytes()))?;
    Ok(file.to_path_buf())
}

/// The run's own recipe, every value with where it came from.
fn recipe_text(run: &RunFolder) -> Result<String, TrainError> {
    let path = run.recipe();
    std::fs::read_to_string(&path).map_err(|source| TrainError::Io { action: "read", path, source })
}

/// Mistakes shown as thumbnails.
const MISTAKES: usize = 24;

/// What the network became: its filters, what changed in them, where it looks.
fn pictures(
    run: &RunFolder,
    prepared: &Prepared,
    doubts_labels: bool,
    lang: Lang,
) -> Result<Vec<Picture>, TrainError> {
    let mut pictures = Vec::new();
    let titles = match lang {
        Lang::En => [
            "Weights: filters, distributions, change",
            "Where it looks (Grad-CAM)",
            "Memory of a training step, layer by layer",
            "Labels that the network contradicts, the worst first",
            "Validation images, near one another where the network sees the same (t-SNE)",
        ],
        Lang::Zh => [
            "权重：卷积核、分布与变化",
            "网络看哪里（Grad-CAM）",
            "训练一步的内存（按层）",
            "网络与标签相左者，最甚者在前",
            "验证图像：网络所见相似者相邻（t-SNE）",
        ],
    };
    let wide = Look { width: 720.0, lang };
    if doubts_labels && let Some(picture) = crate::doctor::contradicted(run, &wide)? {
        let note = match lang {
            Lang::En => {
                "Training images: label, then what the network sees and the loss. Mend or remove wrong labels."
            }
            Lang::Zh => "训练图像：标签，然后是网络所见与损失。请改正或移除错误的标签。",
        };
        let (title, note) = (titles[3].to_owned(), note.to_owned());
        pictures.push(Picture { title, note, wide: picture, narrow: None });
    }
    let view = WeightsView::open(run.path(), None)?;
    if view.convolution(None).is_ok() {
        pictures.push(Picture::of(titles[0], lang, |look| view.picture(None, 64, look))?);
    }
    let mut predictor = Predictor::open(run)?;
    if predictor.last_feature_maps().is_ok() {
        let mut looked = Picture {
            title: titles[1].to_owned(),
            note: String::new(),
            wide: outcome::where_it_looked(&mut predictor, prepared, 10, &wide)?,
            narrow: None,
        };
        looked.note = match lang {
            Lang::En => {
                "Validation images: class, then what was predicted; framed where that is wrong.".to_owned()
            }
            Lang::Zh => "验证图像：先写真实类别，再写预测类别；错误者加框。".to_owned(),
        };
        pictures.push(looked);
    }
    let samples = val_samples(&predictor, prepared, dataset::IMAGES)?;
    if let Some(map) = dataset::neighbours(&mut predictor, &samples)? {
        let draw = |look: &Look| dataset::map_picture(&map, &samples, predictor.classes(), look);
        pictures.push(Picture::of(titles[4], lang, draw)?);
    }
    let (report, batch_size) = (prepared.memory()?, prepared.recipe.recipe.train.batch_size);
    pictures.push(Picture::of(titles[2], lang, |look| memory(&report, batch_size, look))?);
    Ok(pictures)
}

fn table(epochs: &[EpochEvent], lang: Lang) -> NumberTable {
    let head = match lang {
        Lang::En => ["epoch", "lr", "train loss", "train top-1", "val loss", "val top-1", "val macro-F1"],
        Lang::Zh => ["轮次", "学习率", "训练损失", "训练 top-1", "验证损失", "验证 top-1", "验证宏 F1"],
    };
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
