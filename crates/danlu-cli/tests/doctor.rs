//! The doctor, the advisor and rollbacks, through the real binary.

use std::path::Path;
use std::process::Output;

fn danlu(folder: &Path, args: &[&str]) -> Output {
    assert_cmd::Command::cargo_bin("danlu")
        .expect("the binary")
        .current_dir(folder)
        .env("DANLU_HOME", folder.join("home"))
        .env("NO_COLOR", "1")
        .args(args)
        .output()
        .expect("runs")
}

const TINY: &[&str] = &[
    "--set",
    "data.limit=0.1",
    "--set",
    "network.name=small",
    "--set",
    "network.width=4",
    "--set",
    "train.batch_size=16",
    "--set",
    "train.threads=1",
    "--quiet",
];

fn train(folder: &Path, name: &str, more: &[&str]) -> Output {
    let mut args = vec!["train", "demo", "--name", name];
    args.extend(TINY);
    args.extend(more);
    danlu(folder, &args)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_doctor_names_a_rate_that_never_falls_and_writes_the_next_recipe() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    let done = train(at, "a", &["--epochs", "5", "--lr", "0.05", "--schedule", "constant"]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let before = std::fs::read(at.join("runs/a/events.jsonl")).expect("events");
    let seen = danlu(at, &["doctor", "runs/a", "--write", "next.toml", "--picture", "a.svg"]);
    assert!(seen.status.success(), "{}", text(&seen.stderr));
    let said = text(&seen.stdout);
    assert!(said.contains("[no_decay]") && said.contains("\"constant\" -> \"CosineAnnealingLR\""), "{said}");
    assert!(std::fs::read_to_string(at.join("a.svg")).expect("a picture").starts_with("<svg"));
    // Thumbnails of contradicted labels, or a word that there are none.
    let seen = danlu(at, &["doctor", "runs/a", "--images", "worst.svg"]);
    assert!(seen.status.success(), "{}", text(&seen.stderr));
    let drawn = at.join("worst.svg").exists();
    assert_ne!(drawn, text(&seen.stderr).contains("contradicts no training label"));
    assert_eq!(
        before,
        std::fs::read(at.join("runs/a/events.jsonl")).expect("events"),
        "nothing of the run changes"
    );
    // The next recipe is one that trains.
    let next = danlu(at, &["train", "demo", "--recipe", "next.toml", "--dry-run"]);
    assert!(next.status.success(), "{}", text(&next.stderr));
    assert!(text(&next.stdout).contains("CosineAnnealingLR"));
    let json: serde_json::Value =
        serde_json::from_slice(&danlu(at, &["doctor", "runs/a", "--json"]).stdout).expect("JSON");
    assert!(
        json["findings"].as_array().is_some_and(|findings| findings.iter().any(|f| f["rule"] == "no_decay"))
    );
    let page = std::fs::read_to_string(at.join("runs/a/report.html")).expect("the report");
    assert!(page.contains("the learning rate never falls"));
}

#[test]
fn a_folder_that_is_no_run_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let seen = danlu(folder.path(), &["doctor", "nothing"]);
    assert_eq!(seen.status.code(), Some(2));
    assert!(text(&seen.stderr).contains("nothing"), "{}", text(&seen.stderr));
}

/// Without batch norm, at a rate that overflows.
const WILD: &[&str] = &[
    "--set",
    "network.name=blocks",
    "--set",
    "network.blocks=[\"conv 4 s2\",\"conv 8 s2\"]",
    "--schedule",
    "constant",
    "--optimizer",
    "sgd",
    "--momentum",
    "0.9",
    "--set",
    "loss.label_smoothing=0",
    "--epochs",
    "3",
];

fn wild(folder: &Path, name: &str, more: &[&str]) -> Output {
    let mut args = vec![
        "train",
        "demo",
        "--name",
        name,
        "--quiet",
        "--set",
        "data.limit=0.05",
        "--set",
        "train.batch_size=32",
        "--set",
        "train.threads=1",
    ];
    args.extend(WILD);
    args.extend(more);
    danlu(folder, &args)
}

#[test]
fn a_divergence_stops_the_training_and_the_doctor_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let done = wild(folder.path(), "a", &["--lr", "1e30"]);
    assert_eq!(done.status.code(), Some(1), "{}", text(&done.stderr));
    let said = text(&danlu(folder.path(), &["doctor", "runs/a"]).stdout);
    assert!(said.contains("[diverged]") && said.contains("far too high"), "{said}");
}

#[test]
fn a_rollback_halves_the_rate_is_recorded_and_ends_after_three() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    let done = wild(at, "a", &["--lr", "1e30", "--on-divergence", "rollback"]);
    assert_eq!(done.status.code(), Some(1), "{}", text(&done.stderr));
    let events = std::fs::read_to_string(at.join("runs/a/events.jsonl")).expect("events");
    let notes: Vec<&str> = events.lines().filter(|line| line.contains("\"kind\":\"rollback\"")).collect();
    assert_eq!(notes.len(), 3, "{events}");
    assert!(text(&done.stderr).matches("rolled back").count() >= 3, "{}", text(&done.stderr));
    // Again, and the same bytes: a rollback depends on nothing but the recipe.
    wild(at, "b", &["--lr", "1e30", "--on-divergence", "rollback", "--set", "train.checkpoint.iterations=1"]);
    assert_eq!(events, std::fs::read_to_string(at.join("runs/b/events.jsonl")).expect("events"));
}

#[test]
fn advise_prints_what_train_uses_and_the_optimizers_with_their_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let seen =
        danlu(folder.path(), &["advise", "demo", "--network", "small", "--set", "network.width=8", "--json"]);
    assert!(seen.status.success(), "{}", text(&seen.stderr));
    let json: serde_json::Value = serde_json::from_slice(&seen.stdout).expect("JSON");
    let parameters = json["parameters"].as_u64().expect("a number");
    let bytes = |name: &str| {
        let rows = json["optimizers"].as_array().expect("a table");
        rows.iter()
            .find(|row| row["name"] == name)
            .and_then(|row| row["state_bytes"].as_u64())
            .expect("a row")
    };
    assert_eq!(bytes("sgd"), 4 * parameters, "one f32 of momentum for each parameter");
    assert!(bytes("adam") >= 8 * parameters);
    assert!(
        json["choices"].as_array().is_some_and(|choices| choices.iter().any(|c| c["key"] == "optimizer.lr"))
    );
}
