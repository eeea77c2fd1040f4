//! The knobs of a recipe with the real binary: whole trainings equal to PyTorch's, averaged weights, warnings, test-time views.

use std::path::Path;

use assert_cmd::Command;
use serde_json::Value;

fn danlu(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_danlu"));
    command.current_dir(folder).env("DANLU_HOME", folder.join("home")).env("NO_COLOR", "1");
    command
}

fn golden(file: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file)
}

fn events(run: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(run.join("events.jsonl")).expect("events");
    text.lines().map(|line| serde_json::from_str(line).expect("an event")).collect()
}

/// The images of golden/train/make_runs.py.
fn golden_images(folder: &Path) {
    for (part, first, each) in [("train", 0, 8), ("val", 8, 2)] {
        for (class, name) in ["a", "b", "c"].iter().enumerate() {
            let class = class as u32;
            let place = folder.join(part).join(name);
            std::fs::create_dir_all(&place).expect("makes a folder");
            for i in first..first + each {
                let image = image::GrayImage::from_fn(12, 12, |x, y| {
                    let bright = (class == 0 && y < 6) || (class == 1 && x < 6) || (class == 2 && x + y < 11);
                    let texture = (x * 7 + y * 13 + i * 29 + class * 3 + x * y * i) % 97;
                    image::Luma([(40 + 60 * u32::from(bright) + texture) as u8])
                });
                image.save(place.join(format!("{i:02}.png"))).expect("saves");
            }
        }
    }
}

/// Sum and L2 norm of a tensor of f64 in a checkpoint.
fn sum_and_norm(checkpoint: &safetensors::SafeTensors<'_>, name: &str) -> [f64; 2] {
    let tensor = checkpoint.tensor(&format!("engine/model.{name}")).expect("the tensor is there");
    assert_eq!(tensor.dtype(), safetensors::Dtype::F64, "{name}");
    let values = tensor.data().as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes));
    let (sum, squares) = values.fold((0.0, 0.0), |(sum, squares), v| (sum + v, squares + v * v));
    [sum, squares.sqrt()]
}

#[test]
fn thirty_updates_with_every_optimizer_and_schedule_are_pytorchs() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    golden_images(&folder.join("data"));
    std::fs::copy(golden("initial.safetensors"), folder.join("initial.safetensors")).expect("copies");
    let golden: Value =
        serde_json::from_slice(&std::fs::read(golden("runs.json")).expect("reads")).expect("JSON");
    let cases = golden["cases"].as_array().expect("cases");
    assert!(cases.len() > 40);
    for (i, case) in cases.iter().enumerate() {
        let label = case["label"].as_str().expect("a label");
        std::fs::write(folder.join("r.toml"), case["recipe"].as_str().expect("a recipe")).expect("writes");
        let name = format!("case-{i}");
        danlu(folder)
            .args(["train", "data", "--quiet", "--recipe", "r.toml", "--name", &name])
            .assert()
            .success();
        let run = folder.join("runs").join(&name);
        let losses: Vec<f64> = events(&run)
            .iter()
            .filter(|e| e["event"] == "iteration")
            .map(|e| e["loss"].as_f64().expect("a loss"))
            .collect();
        let expected: Vec<f64> =
            case["losses"].as_array().expect("losses").iter().map(|v| v.as_f64().expect("a loss")).collect();
        assert_eq!(losses.len(), expected.len(), "{label}");
        for (step, (found, expected)) in losses.iter().zip(&expected).enumerate() {
            assert!((found / expected - 1.0).abs() < 1e-8, "{label}, update {step}: {found} and {expected}");
        }
        if let Some(step) = case["switch"].as_u64() {
            let notes: Vec<Value> =
                events(&run).into_iter().filter(|e| e["kind"] == "optimizer_switch").collect();
            assert_eq!(notes.len(), 1, "the switch is recorded once");
            let message = notes[0]["message"].as_str().expect("a message");
            assert!(message.contains(&format!("at iteration {step} ")), "{message}");
            danlu(folder)
                .args(["show", "curves", &format!("runs/{name}"), "--svg", "curves.svg"])
                .assert()
                .success();
            let picture = std::fs::read_to_string(folder.join("curves.svg")).expect("a picture");
            assert!(picture.contains("SGD from here"), "the switch is on the curve");
        }
        let bytes = std::fs::read(run.join("checkpoint/state.safetensors")).expect("a checkpoint");
        let checkpoint = safetensors::SafeTensors::deserialize(&bytes).expect("safetensors");
        for (name, expected) in case["final"].as_object().expect("weights") {
            let [sum, norm] = sum_and_norm(&checkpoint, name);
            let (expected_sum, expected_norm) =
                (expected[0].as_f64().expect("sum"), expected[1].as_f64().expect("norm"));
            assert!(
                (norm - expected_norm).abs() < 1e-8 * (1e-3 + expected_norm)
                    && (sum - expected_sum).abs() < 1e-7 * (1e-3 + expected_norm),
                "{label}, {name}: {sum} {norm} and {expected_sum} {expected_norm}"
            );
        }
    }
}

/// A training whose judged weights are an average.
fn averaged(optimizer: &str, more: &str) -> String {
    format!(
        "data.limit = 0.05\nnetwork = {{ name = \"small\", width = 8, dropout = 0.2 }}\n\
         train.epochs = 4\ntrain.batch_size = 24\ntrain.checkpoint.iterations = 1\n\
         augment.random_crop.padding = 2\noptimizer = {optimizer}\n{more}"
    )
}

#[test]
fn averaged_weights_are_judged_with_batch_norms_of_their_own_and_resume_byte_for_byte() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let cases = [
        ("free", averaged("{ name = \"schedule_free_adamw\", lr = 0.01 }", "schedule = \"constant\"\n")),
        (
            "swa",
            averaged(
                "{ name = \"sgd\", lr = 0.05, momentum = 0.9 }",
                "schedule = \"constant\"\ntrain.swa = { start = 0.5, swa_lr = 0.02, anneal_epochs = 1 }\n",
            ),
        ),
    ];
    for (name, recipe) in cases {
        std::fs::write(folder.join("r.toml"), recipe).expect("writes");
        let train = |name: &str| {
            let mut command = danlu(folder);
            command.args(["train", "demo", "--quiet", "--recipe", "r.toml", "--name", name]);
            command
        };
        train(name).assert().success();
        let whole = folder.join("runs").join(name);
        // Killed (SIGKILL) within the third epoch, when averages are under way.
        let killed = format!("{name}-killed");
        let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_danlu"))
            .current_dir(folder)
            .env("DANLU_HOME", folder.join("home"))
            .args(["train", "demo", "--quiet", "--recipe", "r.toml", "--name", &killed])
            .spawn()
            .expect("starts");
        let run = folder.join("runs").join(&killed);
        let lines =
            || std::fs::read_to_string(run.join("events.jsonl")).map_or(0, |text| text.lines().count());
        while lines() < 26 && child.try_wait().expect("can be asked").is_none() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        assert!(
            child.try_wait().expect("can be asked").is_none(),
            "{name} was done before it could be killed"
        );
        child.kill().expect("kill -9");
        child.wait().expect("gone");
        danlu(folder).args(["resume", &format!("runs/{killed}"), "--quiet"]).assert().success();
        for file in ["weights/best.safetensors", "weights/last.safetensors", "events.jsonl", "result.json"] {
            let read = |run: &Path| std::fs::read(run.join(file)).expect("is there");
            assert!(read(&whole) == read(&run), "{name}: {file} differs after a kill");
        }
        let epochs: Vec<Value> = events(&whole).into_iter().filter(|e| e["event"] == "epoch").collect();
        let judged: Vec<bool> = epochs.iter().map(|e| e["ema"] == true).collect();
        let expected = if name == "swa" { [false, false, true, true] } else { [true; 4] };
        assert_eq!(judged, expected, "{name}: which epochs judge an average");
        // Ten classes: an average without batch norms of its own would guess.
        let top1 = epochs[3]["val"]["top1"].as_f64().expect("a share");
        assert!(top1 > 0.2, "{name}: {top1}");
        if name == "swa" {
            let lr = |epoch: usize| epochs[epoch]["lr"][0].as_f64().expect("a rate");
            assert_eq!([lr(1), lr(2), lr(3)], [0.05, 0.05, 0.02], "the rate goes to SWA's");
        }
    }
}

#[test]
fn an_average_of_an_average_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (flags, key) in [
        (["--set", "train.ema=0.99", "--set", "train.swa.start=0.5"], "train.swa"),
        (["--set", "train.ema=0.99", "--set", "optimizer=schedule_free_sgd"], "train.ema"),
        (["--set", "train.swa.start=1.0", "--set", "train.epochs=2"], "train.swa.start"),
        (["--set", "train.precision=f64", "--set", "train.epochs=2"], "train.precision"),
    ] {
        let output = danlu(folder.path()).args(["train", "demo"]).args(flags).assert().code(2);
        let text = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
        assert!(text.contains(&format!("`{key}`")) && text.contains("expected"), "{text}");
        assert!(!folder.path().join("runs").exists(), "nothing is left behind");
    }
}

#[test]
fn a_flip_that_changes_the_class_is_warned_of_by_name_and_recorded() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    // The classes are the letters a, b and c.
    golden_images(&folder.join("data"));
    let train = |name: &str, flags: &[&str]| {
        let mut command = danlu(folder);
        command.args(["train", "data", "--quiet", "--name", name, "--epochs", "1", "--batch-size", "8"]);
        command.args([
            "--set",
            "network.name=small",
            "--set",
            "network.width=8",
            "--set",
            "data.image_size=12",
        ]);
        command.args(flags);
        command
    };
    let output =
        train("flipped", &["--set", "augment.horizontal_flip.p=0.5", "--set", "data.test_views=mirror"])
            .assert()
            .success();
    let text = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    for key in ["augment.horizontal_flip", "data.test_views"] {
        assert!(text.contains("flip-changes-class") && text.contains(&format!("`{key}`")), "{text}");
    }
    let notes: Vec<Value> = events(&folder.join("runs/flipped"))
        .into_iter()
        .filter(|e| e["kind"] == "flip-changes-class")
        .collect();
    assert_eq!(notes.len(), 2, "{notes:?}");
    train("plain", &[]).assert().success();
    assert!(events(&folder.join("runs/plain")).iter().all(|e| e["event"] != "note"));
}

#[test]
fn views_of_an_image_are_averaged_as_probabilities() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    golden_images(&folder.join("data"));
    let flipped = folder.join("flipped.png");
    image::imageops::flip_horizontal(
        &image::open(folder.join("data/val/b/08.png")).expect("opens").to_luma8(),
    )
    .save(&flipped)
    .expect("saves");
    danlu(folder)
        .args(["train", "data", "--quiet", "--name", "a", "--epochs", "3", "--batch-size", "8"])
        .args(["--set", "network.name=small", "--set", "network.width=8", "--set", "data.image_size=12"])
        .assert()
        .success();
    let predict = |image: &str, views: &str| -> Vec<f64> {
        let output = danlu(folder)
            .args(["predict", "runs/a", image, "--json", "--test-views", views])
            .assert()
            .success();
        let value: Value = serde_json::from_slice(&output.get_output().stdout).expect("JSON");
        let classes = value["classes"].as_array().expect("classes").clone();
        ["a", "b", "c"]
            .iter()
            .map(|name| {
                let class = classes.iter().find(|class| class["class"] == **name).expect("the class");
                class["probability"].as_f64().expect("a probability")
            })
            .collect()
    };
    let image = "data/val/b/08.png";
    let (own, mirrored) = (predict(image, "none"), predict("flipped.png", "none"));
    assert!(
        own.iter().zip(&mirrored).any(|(a, b)| (a - b).abs() > 1e-3),
        "the views differ: {own:?} {mirrored:?}"
    );
    for ((own, mirrored), both) in own.iter().zip(&mirrored).zip(predict(image, "mirror")) {
        assert!(((own + mirrored) / 2.0 - both).abs() < 1e-5, "{own} {mirrored} {both}");
    }
    let loss = |views: &str| {
        let output = danlu(folder).args(["val", "runs/a", "--tta", views, "--json"]).assert().success();
        let value: Value = serde_json::from_slice(&output.get_output().stdout).expect("JSON");
        value["metrics"]["loss"].as_f64().expect("a loss")
    };
    assert!((loss("none") - loss("mirror")).abs() > 1e-6);
    let output = danlu(folder).args(["val", "runs/a", "--tta", "sideways"]).assert().code(2);
    let text = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    assert!(text.contains("expected none, mirror or mirror_shift"), "{text}");
}

#[test]
fn a_recipe_that_does_not_fit_its_data_or_network_leaves_no_run_behind() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    for (set, says) in [
        ("schedule={name=\"LambdaLR\", lambda=\"1 / (2 - epoch)\"}", "`schedule.lambda`"),
        ("augment.gaussian_blur={kernel_size=63}", "`augment.gaussian_blur.kernel_size`"),
        ("optimizer.groups=[{match=\"layr*\", lr=0.1}]", "`layr*`"),
    ] {
        let arguments = ["train", "demo", "--quiet", "--limit", "5%", "--epochs", "4", "--set", set];
        // Found before anything is trained, and by the dry run, too.
        for more in [&[][..], &["--dry-run"]] {
            let failed = danlu(folder).args(arguments).args(more).assert().code(2);
            let text = String::from_utf8_lossy(&failed.get_output().stderr).into_owned();
            assert!(text.contains(says), "{set}: {text}");
        }
        let left = std::fs::read_dir(folder.join("runs")).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{set}");
    }
}
