//! Real trainings, small and with one planted fault each, as `scripts/doctor-cases` recorded them: the planted fault must
//! be named first, and healthy trainings must have no finding.
//!
//! The rules and their thresholds were set on the cases in `development`. Those in `held_out` were written down before they were
//! trained, recorded once, and run afterwards.

use std::path::PathBuf;

use danlu_doctor::{History, RULES, Severity, Watch, diagnose};
use serde_json::{Value, json};

fn cases(half: &str) -> Vec<(String, History)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests").join(half);
    let mut cases: Vec<(String, History)> = std::fs::read_dir(folder)
        .expect("the folder of cases")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("a readable case");
            let name = path.file_stem().and_then(|stem| stem.to_str()).expect("a name").to_owned();
            (name, history(&text))
        })
        .collect();
    cases.sort_by(|a, b| a.0.cmp(&b.0));
    cases
}

/// The updates lie in columns, which are a third of the bytes.
fn history(text: &str) -> History {
    let mut value: Value = serde_json::from_str(text).expect("JSON");
    let columns = value["updates"].take();
    let column = |name: &str| columns[name].as_array().cloned().unwrap_or_default();
    let (loss, lr, grad_norm) = (column("loss"), column("lr"), column("grad_norm"));
    value["updates"] =
        (0..loss.len()).map(|i| json!({"loss": loss[i], "lr": lr[i], "grad_norm": grad_norm[i]})).collect();
    serde_json::from_value(value).expect("a history")
}

/// The rule that a case is named for; none where it is healthy. A letter tells several cases of a rule apart.
fn planted(name: &str) -> Option<&'static str> {
    if name.starts_with("healthy") {
        return None;
    }
    let stem = name.strip_suffix("_b").or(name.strip_suffix("_c")).unwrap_or(name);
    Some(RULES.iter().find(|rule| rule.name == stem).unwrap_or_else(|| panic!("no rule {stem}")).name)
}

/// The planted fault that is not named first, or what a healthy one is accused of.
fn wrong(name: &str, history: &History) -> Option<String> {
    let found: Vec<String> = diagnose(history).into_iter().map(|finding| finding.rule).collect();
    (found.first().map(String::as_str) != planted(name)).then(|| format!("{name}: {found:?}"))
}

fn all_wrong(half: &str) -> Vec<String> {
    cases(half).iter().filter_map(|(name, history)| wrong(name, history)).collect()
}

#[test]
fn every_planted_fault_is_named_first_and_no_healthy_training_is_accused() {
    assert_eq!(all_wrong("development"), Vec::<String>::new());
}

/// Held-out cases that came out wrong, kept so that the figure in the guide stays honest. Whoever mends a rule in their light moves
/// them to the other half and writes down fresh ones.
const MISSES: [&str; 2] = ["augmentation_breaks_label", "noisy_gradients"];

#[test]
fn the_cases_that_were_held_out_come_out_as_they_did_the_first_time() {
    let wrong = all_wrong("held_out");
    let names: Vec<&str> = wrong.iter().filter_map(|text| text.split(':').next()).collect();
    assert_eq!(names, MISSES, "{wrong:#?}");
}

#[test]
fn each_half_has_at_least_twenty_planted_and_fifteen_healthy_cases() {
    let count = |half: &str| {
        let names: Vec<bool> = cases(half).iter().map(|(name, _)| planted(name).is_some()).collect();
        (names.iter().filter(|planted| **planted).count(), names.iter().filter(|planted| !**planted).count())
    };
    let ((planted, healthy), (more, others)) = (count("development"), count("held_out"));
    assert!(planted >= 20 && healthy >= 15, "{planted} and {healthy}");
    assert!(more >= 20 && others >= 15, "{more} and {others} held out");
}

#[test]
fn a_healthy_training_hears_no_early_warning_at_any_epoch() {
    for (name, history) in cases("development").iter().filter(|(name, _)| name.starts_with("healthy")) {
        let mut watch = Watch::default();
        for epochs in 1..=history.epochs.len() {
            let mut so_far = history.clone();
            let updates = epochs * history.setting.iterations_per_epoch;
            so_far.epochs.truncate(epochs);
            so_far.updates.truncate(updates);
            so_far.suspects.truncate(epochs);
            so_far.evidence.retain(|seen| seen.iteration <= updates as u64);
            so_far.finished = false;
            let warning = watch.look(&so_far);
            assert!(warning.is_none(), "{name}, epoch {epochs}: {warning:?}");
        }
    }
}

#[test]
fn every_fault_comes_with_numbers_and_a_way_out() {
    for (name, history) in cases("development").into_iter().chain(cases("held_out")) {
        for finding in diagnose(&history).into_iter().filter(|finding| finding.severity == Severity::Fault) {
            assert!(finding.evidence.chars().any(|c| c.is_ascii_digit()), "{name}: {finding:?}");
            assert!(!finding.proposals.is_empty() || !finding.advice.is_empty(), "{name}: {finding:?}");
        }
    }
}
