//! kill -9 at any moment, resume: the bytes are those of the uninterrupted run.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A small training with everything that has state: momentum, EMA, one-cycle, shuffle, augmentation, dropout, growing images, a checkpoint every update.
const RECIPE: &str = r#"
data.limit = 0.05
network = { name = "small", width = 8, dropout = 0.2 }
train = { epochs = 4, batch_size = 24, ema = 0.9, progressive = {}, checkpoint = { iterations = 1 } }
optimizer = { name = "sgd", lr = 0.05, momentum = 0.9, nesterov = true }
schedule = { name = "OneCycleLR", unit = "iteration" }
augment.horizontal_flip.p = 0.5
augment.random_crop.padding = 2
"#;

fn danlu(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_danlu"));
    command
        .current_dir(folder)
        .env("DANLU_HOME", folder.join("home"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

fn train(folder: &Path, name: &str) -> Command {
    let mut command = danlu(folder);
    command.args(["train", "demo", "--quiet", "--recipe", "r.toml", "--name", name]);
    command
}

/// Kills the process (SIGKILL) `delay` after the run has at least `events` lines of events; false if it was done before that.
fn kill_at(mut child: Child, run: &Path, events: usize, delay: Duration) -> bool {
    let lines = || {
        std::fs::read(run.join("events.jsonl"))
            .map_or(0, |bytes| bytes.iter().filter(|b| **b == b'\n').count())
    };
    while lines() < events {
        if child.try_wait().expect("the child can be asked").is_some() {
            return false;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    std::thread::sleep(delay);
    let running = child.try_wait().expect("the child can be asked").is_none();
    child.kill().expect("kill -9");
    child.wait().expect("the child is gone");
    running
}

#[test]
fn a_run_killed_at_many_moments_ends_in_the_same_bytes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    std::fs::write(folder.join("r.toml"), RECIPE).expect("writes");
    assert!(train(folder, "whole").status().expect("runs").success());

    // 40 updates; the delays of fractions of an update hit its inside, checkpoint writes and validation, whatever the
    // machine's speed.
    let run = folder.join("runs/killed");
    let mut kills = 0;
    for (events, delay) in [
        (1, 0),
        (4, 300),
        (9, 1100),
        (12, 2300),
        (13, 700),
        (21, 3700),
        (24, 150),
        (33, 1900),
        (34, 2900),
        (43, 500),
    ] {
        let mut command = if kills == 0 { train(folder, "killed") } else { danlu(folder) };
        if kills > 0 {
            command.args(["resume", "runs/killed", "--quiet"]);
        }
        let child = command.spawn().expect("starts");
        kills += u32::from(kill_at(child, &run, events, Duration::from_micros(delay)));
    }
    assert!(kills >= 5, "{kills} kills: the test tested too little");
    assert!(danlu(folder).args(["resume", "runs/killed", "--quiet"]).status().expect("runs").success());

    for file in
        ["weights/best.safetensors", "weights/last.safetensors", "events.jsonl", "metrics.csv", "result.json"]
    {
        let read = |run: &str| std::fs::read(folder.join("runs").join(run).join(file)).expect("is there");
        assert!(read("whole") == read("killed"), "{file} differs after {kills} kills");
    }
    let leftovers: Vec<String> = ["weights", "checkpoint"]
        .iter()
        .flat_map(|part| std::fs::read_dir(folder.join("runs/killed").join(part)).expect("lists"))
        .map(|entry| entry.expect("reads").file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".tmp"))
        .collect();
    assert_eq!(leftovers, Vec::<String>::new(), "temporary files are left");
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    std::fs::write(folder.join("r.toml"), RECIPE).expect("writes");
    for (name, threads) in [("one", "1"), ("three", "3")] {
        assert!(
            train(folder, name)
                .args(["--epochs", "1", "--threads", threads])
                .status()
                .expect("runs")
                .success()
        );
    }
    let read =
        |run: &str| std::fs::read(folder.join("runs").join(run).join("events.jsonl")).expect("is there");
    assert!(read("one") == read("three"));
}
