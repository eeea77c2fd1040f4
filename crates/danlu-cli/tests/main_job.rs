//! The main job with the real binary: train, evaluate, predict, and what is said to bad input.

use std::path::Path;

use assert_cmd::Command;

fn danlu(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_danlu"));
    command.current_dir(folder).env("DANLU_HOME", folder.join("home")).env("NO_COLOR", "1");
    command
}

/// Two classes of PNG images that a network can tell apart: bright above, or bright below.
fn images(folder: &Path, each: u32) {
    for (class, bright) in [("above", true), ("below", false)] {
        std::fs::create_dir_all(folder.join(class)).expect("creates");
        for i in 0..each {
            let image = image::GrayImage::from_fn(16, 16, |x, y| {
                let base = if (y < 8) == bright { 200 } else { 40 };
                image::Luma([(base + (x * 7 + y * 3 + i * 11) % 40) as u8])
            });
            image.save(folder.join(class).join(format!("{i}.png"))).expect("saves");
        }
    }
}

const SMALL: [&str; 8] = ["--epochs", "3", "--batch-size", "16", "--set", "network.width=8", "--lr", "0.05"];

#[test]
fn a_folder_of_images_becomes_a_tested_model() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    images(&folder.join("photos"), 40);
    let output = danlu(folder)
        .args(["train", "photos", "--network", "small", "--name", "a"])
        .args(SMALL)
        .assert()
        .success();
    let text = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
    assert!(folder.join("runs/a/report.html").is_file());
    assert!(text.contains("validation  top-1 100.00 %") && text.contains("danlu test runs/a"), "{text}");
    for file in ["recipe.toml", "run.json", "events.jsonl", "metrics.csv", "journal.jsonl", "result.json"] {
        assert!(folder.join("runs/a").join(file).is_file(), "{file} is missing");
    }

    // The curves of a run against itself: in the terminal, and as a picture with both names in its legend.
    let output = danlu(folder).args(["show", "curves", "runs/a"]).assert().success();
    let text = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
    assert!(text.contains("loss (nats)") && text.contains("learning rate"), "{text}");
    let both = ["show", "curves", "runs/a", "runs/a", "--svg", "c.svg", "--png", "c.png"];
    danlu(folder).args(both).assert().success();
    let svg = std::fs::read_to_string(folder.join("c.svg")).expect("reads");
    assert!(svg.contains("a validation") && svg.contains("top-1 (%)"), "{svg}");
    assert!(std::fs::read(folder.join("c.png")).expect("reads").starts_with(b"\x89PNG"));
    danlu(folder).args(["show", "curves", "photos"]).assert().code(2);

    // The test set: opened once, and the second time is counted.
    for times in 1..=2 {
        let output = danlu(folder).args(["test", "runs/a", "--json"]).assert().success();
        let json: serde_json::Value = serde_json::from_slice(&output.get_output().stdout).expect("JSON");
        assert_eq!(json["test_set_opened"], times);
        assert_eq!(json["metrics"]["samples"], 12, "15 % of 80");
        assert_eq!(json["metrics"]["top1"], 1.0);
    }

    // Another data set, here the photos of one class alone, and one whose class the network does not know.
    std::fs::create_dir_all(folder.join("new/below")).expect("makes a folder");
    for i in 0..3 {
        let from = folder.join(format!("photos/below/{i}.png"));
        std::fs::copy(from, folder.join(format!("new/below/{i}.png"))).expect("copies");
    }
    for (command, opened) in [("val", serde_json::Value::Null), ("test", 1.into())] {
        let output = danlu(folder).args([command, "runs/a", "new", "--json"]).assert().success();
        let json: serde_json::Value = serde_json::from_slice(&output.get_output().stdout).expect("JSON");
        assert_eq!((&json["metrics"]["samples"], &json["test_set_opened"]), (&3.into(), &opened));
        assert_eq!(json["metrics"]["top1"], 1.0);
    }
    std::fs::rename(folder.join("new/below"), folder.join("new/bellow")).expect("renames");
    let output = danlu(folder).args(["val", "runs/a", "new"]).assert().code(2);
    let text = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    assert!(text.contains("`bellow`") && text.contains("did you mean `below`?"), "{text}");

    let output = danlu(folder).args(["predict", "runs/a", "photos/below/3.png", "--json"]).assert().success();
    let json: serde_json::Value = serde_json::from_slice(&output.get_output().stdout).expect("JSON");
    assert_eq!(json["classes"][0]["class"], "below");

    // Finished is said, and is no failure; a taken name and a run that is none are.
    let output = danlu(folder).args(["resume", "runs/a"]).assert().success();
    assert!(String::from_utf8_lossy(&output.get_output().stdout).contains("finished"));
    danlu(folder).args(["train", "photos", "--name", "a"]).args(SMALL).assert().code(2);

    // The run's own recipe replays it, bit for bit.
    danlu(folder)
        .args(["train", "photos", "--recipe", "runs/a/recipe.toml", "--name", "b"])
        .assert()
        .success();
    let events =
        |run: &str| std::fs::read(folder.join("runs").join(run).join("events.jsonl")).expect("is there");
    assert!(events("a") == events("b"));

    // A run that was stopped on the way (or a paused trial) is tested with its best weights so far; it has no report yet.
    for file in ["result.json", "report.html"] {
        std::fs::remove_file(folder.join("runs/b").join(file)).expect("removes");
    }
    let output = danlu(folder).args(["test", "runs/b", "--json"]).assert().success();
    let text = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    assert!(text.contains("not finished"), "{text}");
    assert!(!folder.join("runs/b/report.html").exists());

    // Data that changed since are not silently used.
    std::fs::remove_file(folder.join("photos/above/0.png")).expect("removes");
    let output = danlu(folder).args(["val", "runs/a"]).assert().code(2);
    assert!(String::from_utf8_lossy(&output.get_output().stderr).contains("changed since"));
}

#[test]
fn bad_requests_are_refused_with_a_hint_and_nothing_half_written() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    images(&folder.join("photos"), 20);
    images(&folder.join("one"), 5);
    std::fs::remove_dir_all(folder.join("one/below")).expect("removes");
    std::fs::create_dir(folder.join("empty")).expect("creates");
    std::fs::write(folder.join("file.txt"), "x").expect("writes");
    std::fs::write(folder.join("bad.toml"), "train = {\n").expect("writes");
    let cases: [(&[&str], &str); 12] = [
        (&["train", "nowhere"], "nowhere"),
        (&["train", "file.txt"], "file.txt"),
        (&["train", "empty"], "empty"),
        (&["train", "one"], "only one class"),
        (&["train", "photos", "--recipe", "bad.toml"], "bad.toml"),
        (&["train", "photos", "--set", "optimizer.momentun=0.9"], "momentum"),
        (&["train", "photos", "--set", "train.epochs=many"], "train.epochs"),
        (&["train", "photos", "--lr=-1"], "optimizer.lr"),
        (&["train", "photos", "--batch-size", "4000"], "batch_size"),
        (&["train", "photos", "--precision", "bf16"], "bf16"),
        (&["resume", "photos"], "is not a run folder"),
        (&["predict", "nowhere", "x.png"], "nowhere"),
    ];
    for (arguments, expected) in cases {
        let output = danlu(folder).args(arguments).assert().code(2);
        let text = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
        assert!(text.contains("error:") && text.contains(expected), "{arguments:?}: {text}");
        assert!(text.contains("hint:"), "{arguments:?} has no hint: {text}");
    }
    assert!(!folder.join("runs").exists(), "a refused request left something behind");
}

/// What the system refuses is said with the file's name and a hint, and leaves no run that is half a run.
#[test]
fn a_folder_that_cannot_be_written_is_refused_with_a_hint() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    images(&folder.join("photos"), 20);
    std::fs::write(folder.join("taken"), "a file where the runs should be").expect("writes");
    // Root may write anywhere but into a file and into the kernel's own folders.
    let mut places = vec!["taken"];
    if cfg!(target_os = "linux") {
        places.push("/proc/danlu");
    }
    for place in places {
        let output = danlu(folder).args(["train", "photos", "--runs", place]).args(SMALL).assert().code(2);
        let text = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
        assert!(text.contains(place) && text.contains("hint:"), "{text}");
        assert_eq!(text.matches("os error").count(), 1, "the cause is said once: {text}");
    }
}

/// A full disk, as a limit on the size of files: the error names the file, no temporary file stays, and the run goes on later.
#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_is_full_stops_the_run_and_a_resume_completes_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    images(&folder.join("photos"), 20);
    let command = "trap '' XFSZ; ulimit -f 24; exec \"$0\" \"$@\"";
    let output = Command::new("sh")
        .args(["-c", command, env!("CARGO_BIN_EXE_danlu"), "train", "photos", "--name", "a"])
        .args(["--network", "small"])
        .args(SMALL)
        .current_dir(folder)
        .env("DANLU_HOME", folder.join("home"))
        .env("NO_COLOR", "1")
        .assert()
        .failure();
    let text = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    assert!(text.contains("runs/a/") && text.contains("hint:"), "{text}");
    for part in ["weights", "checkpoint"] {
        for entry in std::fs::read_dir(folder.join("runs/a").join(part)).expect("lists") {
            let name = entry.expect("reads").file_name().to_string_lossy().into_owned();
            assert!(!name.ends_with(".tmp"), "`{name}` is left half-written in {part}");
        }
    }
    assert!(!folder.join("runs/a/result.json").exists());
    danlu(folder).args(["resume", "runs/a"]).assert().success();
    assert!(folder.join("runs/a/result.json").is_file());
}

/// What is no image, or would be a bomb, is left out by name before any memory is taken for it; damaged IDX files are refused.
#[test]
fn files_that_are_not_what_they_say_are_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    images(&folder.join("photos"), 20);
    std::fs::write(folder.join("photos/above/text.jpg"), "not an image").expect("writes");
    // A PNG whose header claims 65000 x 65000 pixels.
    let mut bomb = std::fs::read(folder.join("photos/above/0.png")).expect("reads");
    bomb[16..20].copy_from_slice(&65_000u32.to_be_bytes());
    bomb[20..24].copy_from_slice(&65_000u32.to_be_bytes());
    std::fs::write(folder.join("photos/below/bomb.png"), bomb).expect("writes");
    let output = danlu(folder)
        .args(["train", "photos", "--network", "small", "--set", "data.max_broken=0.2"])
        .args(SMALL)
        .assert()
        .success();
    let text = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    assert!(text.contains("text.jpg") && text.contains("bomb.png"), "{text}");

    for (name, magic, expected) in [("magic", 0x0000_0999u32, "magic"), ("short", 0x0000_0803, "short")] {
        let data = folder.join(name);
        std::fs::create_dir(&data).expect("creates");
        let mut file = magic.to_be_bytes().to_vec();
        for size in [100u32, 28, 28] {
            file.extend(size.to_be_bytes());
        }
        file.extend([0; 50]);
        std::fs::write(data.join("train-images-idx3-ubyte"), file).expect("writes");
        let mut labels = 0x0000_0801u32.to_be_bytes().to_vec();
        labels.extend(100u32.to_be_bytes());
        labels.extend((0..100u8).map(|i| i % 10));
        std::fs::write(data.join("train-labels-idx1-ubyte"), labels).expect("writes");
        let output = danlu(folder).args(["train", name]).assert().code(2);
        let text = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
        assert!(text.contains("train-images-idx3-ubyte") && text.contains("hint:"), "{expected}: {text}");
    }
    let output = danlu(folder)
        .args(["train", "photos", "--network", "vgg16", "--image-size", "8"])
        .args(["--epochs", "1", "--batch-size", "8"])
        .assert()
        .code(2);
    let text = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    assert!(text.contains("layer `features.") && text.contains("hint:"), "{text}");
}

#[test]
fn a_loss_that_explodes_stops_before_the_update_and_names_the_layer() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    images(&folder.join("photos"), 20);
    let output = danlu(folder)
        .args(["train", "photos", "--name", "a", "--network", "small", "--epochs", "30", "--batch-size", "8"])
        .args(["--lr", "1e30", "--set", "schedule.name=constant"])
        .assert()
        .code(1);
    let text = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    assert!(text.contains("diverged") && text.contains("lr 1e30") && text.contains("hint:"), "{text}");
    assert!(!folder.join("runs/a/result.json").exists());
}

#[test]
fn a_dry_run_shows_recipe_network_and_memory_and_writes_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let output = danlu(folder).args(["train", "demo", "--dry-run", "--lr", "0.05"]).assert().success();
    let text = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
    for expected in ["lr = 0.05", "--lr", "iterations an epoch", "memory of a training step", "fc"] {
        assert!(text.contains(expected), "`{expected}` is not in: {text}");
    }
    assert!(!folder.join("runs").exists());
}

#[test]
fn a_study_keeps_its_budget_writes_the_best_recipe_and_never_opens_the_test_set() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let space = "network = { name = \"small\", width = { int = [4, 8], step = 4 } }\ndata.limit = 0.05\ntrain = { epochs = 2, batch_size = 32 }\noptimizer.lr = { log = [0.001, 0.3] }\n";
    std::fs::write(folder.join("space.toml"), space).expect("writes");
    let tune = ["tune", "space.toml", "demo", "--budget", "2trials", "--workers", "1"];
    danlu(folder).args(tune).assert().success();
    let best = std::fs::read_to_string(folder.join("runs/space/best.toml")).expect("the best recipe");
    assert!(best.contains("lr") && folder.join("runs/space/study.html").is_file(), "{best}");
    assert!(!folder.join("home").exists(), "a study opened the test set");

    // A new study of the same name in another store must not go on with this one's trials.
    let output = danlu(folder).args(tune).args(["--store", "sqlite:other.db"]).assert().code(2);
    let text = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    assert!(text.contains("holds trials") && text.contains("hint:"), "{text}");

    // The work can be left to workers that know nothing but the store.
    danlu(folder)
        .args(["tune", "space.toml", "demo", "--name", "later", "--workers", "0"])
        .assert()
        .success();
    let worker = ["worker", "--store", "sqlite:runs/studies.db", "--name", "later", "--budget", "1trials"];
    let output = danlu(folder).args(worker).args(["--json"]).assert().success();
    // The budget ends while the second trial trains: it is let go of, and said to be.
    let said: serde_json::Value = serde_json::from_slice(&output.get_output().stdout).expect("JSON");
    assert_eq!((&said["trials"], &said["paused"], &said["released"]), (&2.into(), &1.into(), &1.into()));
    assert!(said["verdicts"].to_string().contains("the same command goes on with it"), "{said}");
    assert!(folder.join("runs/later/trial-0/recipe.toml").is_file());
    templates_start_workers(folder);

    // Values by hand and the best of an older study come first; what the space does not have is refused before anything is written.
    let queued = ["tune", "space.toml", "demo", "--name", "queued", "--workers", "1", "--budget", "1trials"];
    let wrong = ["--enqueue", "optimizer.lr=0.01,network.width=5"];
    let output = danlu(folder).args(queued).args(wrong).assert().code(2);
    let text = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    assert!(text.contains("`network.width` = 5: expected an integer from 4 to 8 in steps of 4"), "{text}");
    let right = ["--enqueue", "optimizer.lr=0.0123", "--warm-start", "later"];
    danlu(folder).args(queued).args(right).assert().success();
    let recipe = std::fs::read_to_string(folder.join("runs/queued/trial-0/recipe.toml")).expect("reads");
    assert!(recipe.contains("lr = 0.0123"), "{recipe}");

    // A search on fewer images comes first, and its best trials are the first of the study.
    let rough =
        ["tune", "space.toml", "demo", "--name", "rough", "--workers", "1", "--coarse", "data.limit=0.03"];
    let output = danlu(folder).args(rough).assert().code(2);
    let text = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    assert!(text.contains("`--coarse` takes a quarter of the budget") && text.contains("hint:"), "{text}");
    let output = danlu(folder).args(rough).args(["--budget", "1trials"]).assert().success();
    let text = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    assert!(text.contains("2 trials of the older study are tried first"), "{text}");
    let lr = |run: &str| {
        let text = std::fs::read_to_string(folder.join("runs").join(run).join("recipe.toml")).expect("reads");
        let of = |key: &str| text.lines().find(|l| l.starts_with(key)).expect("stands there").to_owned();
        (
            of("limit").split_whitespace().nth(2).map(str::to_owned),
            of("lr ").split('#').next().map(str::to_owned),
        )
    };
    let (coarse, fine) = (lr("rough-coarse/trial-0"), lr("rough/trial-0"));
    assert_eq!((coarse.0.as_deref(), fine.0.as_deref()), (Some("0.03"), Some("0.05")));
    assert!([&coarse.1, &lr("rough-coarse/trial-1").1].contains(&&fine.1), "{coarse:?} {fine:?}");

    // The default policy is known by its name, an unknown one is refused with the names there are.
    let output = danlu(folder).args(tune).args(["--policy", "best"]).assert().code(2);
    let text = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    assert!(text.contains("`best` is no way to search") && text.contains("tpe+asha"), "{text}");

    std::fs::write(folder.join("bad.toml"), space.replace("[4, 8]", "[8, 4]")).expect("writes");
    let output = danlu(folder).args(["tune", "bad.toml", "demo", "--budget", "2trials"]).assert().code(2);
    let text = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    assert!(text.contains("network.width") && text.contains("bad.toml line 1"), "{text}");
}

/// The commands of `templates/` run here as they would there, on the study `later`.
fn templates_start_workers(folder: &Path) {
    let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../templates");
    let values = |budget: &'static str| {
        [
            ("DANLU_STORE", "sqlite:runs/studies.db"),
            ("DANLU_STUDY", "later"),
            ("DANLU_RUNS", "runs"),
            ("DANLU_BUDGET", budget),
        ]
    };
    // Slurm: its lines are comments for bash.
    let bin = Path::new(env!("CARGO_BIN_EXE_danlu")).parent().expect("a folder").display().to_string();
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap_or_default());
    let mut slurm = Command::new("bash");
    slurm.arg(templates.join("slurm-array.sh")).current_dir(folder).env("PATH", path);
    slurm.env("DANLU_HOME", folder.join("home")).envs(values("2trials")).assert().success();

    // Kubernetes: what a Job must have, every variable that the arguments name, and the command itself.
    let text = std::fs::read_to_string(templates.join("kubernetes-job.json")).expect("reads");
    let job: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((&job["apiVersion"], &job["kind"]), (&"batch/v1".into(), &"Job".into()));
    let pod = &job["spec"]["template"]["spec"];
    assert!(pod["restartPolicy"] == "OnFailure" && job["spec"]["parallelism"] == job["spec"]["completions"]);
    let container = &pod["containers"][0];
    assert_eq!(container["command"], serde_json::json!(["danlu"]));
    assert_eq!(container["volumeMounts"][0]["name"], pod["volumes"][0]["name"]);
    let named = container["env"].as_array().expect("variables");
    let arguments = container["args"].as_array().expect("arguments").iter().map(|argument| {
        let argument = argument.as_str().expect("a string");
        let Some(name) = argument.strip_prefix("$(").and_then(|rest| rest.strip_suffix(')')) else {
            return argument;
        };
        assert!(named.iter().any(|variable| variable["name"] == name), "{name} is not set");
        values("3trials").iter().find(|(key, _)| *key == name).expect("a known variable").1
    });
    danlu(folder).args(arguments).assert().success();
}

#[test]
fn an_audit_finds_leaks_and_its_cleaned_split_trains() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    images(&folder.join("photos/train"), 30);
    images(&folder.join("photos/test"), 4); // the first 4 of each class again
    let copy = |from: &str, to: &str| {
        std::fs::copy(folder.join("photos").join(from), folder.join("photos").join(to)).expect("copies")
    };
    copy("train/above/20.png", "train/below/wrong.png");
    std::fs::write(folder.join("photos/train/above/text.png"), "no image").expect("writes");
    // These pictures are stripes shifted by a pixel: near-duplicates are a matter of taste.
    let arguments = ["audit", "photos", "--no-near", "--html", "audit.html", "--fix", "clean.csv", "--json"];
    let output = danlu(folder).args(arguments).assert().success();
    let json: serde_json::Value = serde_json::from_slice(&output.get_output().stdout).expect("JSON");
    let exact = json["exact"].as_array().expect("groups");
    let across: Vec<_> = exact.iter().filter(|group| group["across_parts"] == true).collect();
    assert!(across.len() == 8 && json["label_conflicts"] == 1, "{exact:?}");
    // A copy may have been held out for validation: then no training image is in the test set.
    let trains = |group: &&&serde_json::Value| group.to_string().contains("\"training\"");
    assert_eq!(json["leaks"], across.iter().filter(trains).count(), "{exact:?}");
    assert_eq!(json["broken"][0]["image"], "train/above/text.png");
    let page = std::fs::read_to_string(folder.join("audit.html")).expect("reads");
    assert!(page.contains("data:image/png;base64,") && page.contains("below/wrong.png"));

    let output = danlu(folder).args(["audit", "photos"]).assert().success();
    let text = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
    assert!(text.contains("what to do") && text.contains("--fix clean.csv"), "{text}");

    let clean = ["--set", "data.split_file=clean.csv"];
    danlu(folder)
        .args(["train", "photos", "--network", "small", "--name", "c"])
        .args(SMALL)
        .args(clean)
        .assert()
        .success();
    danlu(folder).args(["split", "photos", "split.csv", "--limit", "50%"]).assert().success();
    let split = std::fs::read_to_string(folder.join("split.csv")).expect("reads");
    assert!(split.starts_with("path,label,split\n") && split.contains("test/below/0.png,below,test"));
    danlu(folder).args(["audit", "nowhere"]).assert().code(2);
    danlu(folder).args(["train", "photos", "--limit", "5"]).args(SMALL).assert().code(2);
    // A pipe nobody writes to must not be waited for.
    if std::process::Command::new("mkfifo")
        .arg(folder.join("pipe.png"))
        .status()
        .is_ok_and(|made| made.success())
    {
        let output = danlu(folder).args(["predict", "runs/c", "pipe.png"]).assert().code(2);
        assert!(String::from_utf8_lossy(&output.get_output().stderr).contains("a pipe or a device"));
    }
    let output = danlu(folder).args(["bench", "data", "photos", "--json"]).assert().success();
    let json: serde_json::Value = serde_json::from_slice(&output.get_output().stdout).expect("JSON");
    assert!(json["epochs"][1]["images"].as_u64() > Some(40), "{json}");
}

#[test]
fn the_time_of_a_step_is_drawn_by_layer_and_under_the_roofline() {
    let folder = tempfile::tempdir().expect("a folder");
    let step = ["bench", "step", "--batch-size", "4", "--steps", "1", "--threads", "1"];
    danlu(folder.path()).args(step).args(["--roofline", "roof.jpg"]).assert().code(2);
    danlu(folder.path()).args(step).args(["--roofline", "roof.svg", "--bars", "bars.png"]).assert().success();
    let roof = std::fs::read_to_string(folder.path().join("roof.svg")).expect("the roofline");
    assert!(roof.starts_with("<svg") && roof.contains("stem.conv conv dw"), "{roof}");
    let bars = std::fs::read(folder.path().join("bars.png")).expect("the bars");
    assert!(bars.starts_with(b"\x89PNG"));
}
