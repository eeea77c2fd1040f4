//! Real trainings, small and with one planted fault each, as `scripts/doctor-cases` recorded them: the planted fault must
//! be named first, and healthy trainings must have no finding.
//!
//! The thresholds of the rules were chosen on the cases whose name does not end in `_b`; the others were set aside and
//! run afterwards.

use std::path::PathBuf;

use danlu_doctor::{History, Severity, Watch, diagnose};

fn cases() -> Vec<(String, History)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut cases: Vec<(String, History)> = std::fs::read_dir(folder)
        .expect("the folder of cases")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("a readable case");
            let name = path.file_stem().and_then(|stem| stem.to_str()).expect("a name").to_owned();
            (name, serde_json::from_str(&text).expect("a history"))
        })
        .collect();
    cases.sort_by(|a, b| a.0.cmp(&b.0));
    cases
}

/// The planted fault that is not named first, or what a healthy one is accused of.
fn wrong(name: &str, history: &History) -> Option<String> {
    let found: Vec<String> = diagnose(history).into_iter().map(|finding| finding.rule).collect();
    let right = if name.starts_with("healthy") {
        found.is_empty()
    } else {
        found.first().is_some_and(|first| first == name.trim_end_matches("_b"))
    };
    (!right).then(|| format!("{name}: {found:?}"))
}

fn all_wrong(set_aside: bool) -> Vec<String> {
    cases()
        .iter()
        .filter(|(name, _)| name.ends_with("_b") == set_aside)
        .filter_map(|(name, history)| wrong(name, history))
        .collect()
}

#[test]
fn every_planted_fault_is_named_first_and_no_healthy_training_is_accused() {
    assert_eq!(all_wrong(false), Vec::<String>::new());
}

/// Set-aside cases that came out wrong the first time, kept so that the figure stays honest; a false alarm on a healthy
/// training (`healthy_rmsprop_b`) among them. Whoever mends a rule takes its name out, and records new cases to hold out.
const MISSES: [&str; 5] =
    ["exploding_activations_b", "far_too_high_lr_b", "healthy_rmsprop_b", "high_lr_b", "label_noise_b"];

#[test]
fn the_cases_that_were_set_aside_come_out_as_they_did_the_first_time() {
    let wrong = all_wrong(true);
    let names: Vec<&str> = wrong.iter().filter_map(|text| text.split(':').next()).collect();
    assert_eq!(names, MISSES, "{wrong:#?}");
}

#[test]
fn a_healthy_training_hears_no_early_warning_at_any_epoch() {
    for (name, history) in cases().iter().filter(|(name, _)| name.starts_with("healthy")) {
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
    for (name, history) in cases() {
        for finding in diagnose(&history).into_iter().filter(|finding| finding.severity == Severity::Fault) {
            assert!(finding.evidence.chars().any(|c| c.is_ascii_digit()), "{name}: {finding:?}");
            assert!(!finding.proposals.is_empty() || !finding.advice.is_empty(), "{name}: {finding:?}");
        }
    }
}
