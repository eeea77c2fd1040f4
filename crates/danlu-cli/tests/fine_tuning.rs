//! Fine-tuning with the real binary: weights in, every key accounted for, exact resume, weights out.

use std::path::Path;

use assert_cmd::Command;

fn danlu(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_danlu"));
    command.current_dir(folder).env("DANLU_HOME", folder.join("home")).env("NO_COLOR", "1");
    command
}

/// Two classes of colour images: bright above, or bright below.
fn images(folder: &Path, each: u32) {
    for (class, bright) in [("above", true), ("below", false)] {
        std::fs::create_dir_all(folder.join(class)).expect("creates");
        for i in 0..each {
            let image = image::RgbImage::from_fn(16, 16, |x, y| {
                let base = if (y < 8) == bright { 200 } else { 40 };
                image::Rgb([0, 20, 40].map(|more| (base + (x * 7 + y * 3 + i * 11 + more) % 40) as u8))
            });
            image.save(folder.join(class).join(format!("{i}.png"))).expect("saves");
        }
    }
}

/// A run on 10 grey classes, whose weights the others start from.
fn pretrain(folder: &Path) {
    danlu(folder)
        .args(["train", "demo", "--name", "first", "--quiet", "--network", "small", "--epochs", "1"])
        .args(["--set", "data.limit=0.05", "--set", "network.width=8"])
        .assert()
        .success();
}

fn stderr(command: &mut Command) -> String {
    String::from_utf8_lossy(&command.assert().success().get_output().stderr).into_owned()
}

#[test]
fn a_frozen_backbone_gets_a_new_head_and_every_key_is_accounted_for() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    pretrain(folder);
    images(&folder.join("photos"), 30);

    // The network is that of the weights; 10 classes become 2, 1 channel becomes 3.
    let text = stderr(
        danlu(folder)
            .args(["train", "photos", "--weights", "runs/first", "--freeze", "backbone", "--name", "head"])
            .args(["--epochs", "2", "--batch-size", "16", "--lr", "0.1"]),
    );
    for expected in [
        "weights: `",
        "best.safetensors` (safetensors)",
        "new head: the weights are for 10 classes, the task has 2",
        "new head: `fc.weight`, `fc.bias`",
        "1 input channels summed and shared out over 3",
        "network.name = \"small\": the network of the weights",
    ] {
        assert!(text.contains(expected), "`{expected}` is not in: {text}");
    }
    let origin = std::fs::read(folder.join("runs/head/initial_weights.json")).expect("is there");
    let origin: serde_json::Value = serde_json::from_slice(&origin).expect("JSON");
    let count = |list: &str| origin["report"][list].as_array().expect("a list").len();
    assert_eq!(count("new_head"), 2);
    assert_eq!(count("missing") + count("unexpected") + count("shape_mismatch"), 0);
    assert!(count("loaded") > 10);

    // Nothing but the head has moved, running statistics included.
    let output =
        danlu(folder).args(["weights", "diff", "runs/first", "runs/head", "--json"]).assert().code(1);
    let diff: serde_json::Value = serde_json::from_slice(&output.get_output().stdout).expect("JSON");
    let shapes: Vec<&str> =
        diff["shapes"].as_array().expect("a list").iter().filter_map(|entry| entry[0].as_str()).collect();
    assert_eq!(diff["values"], serde_json::json!([]), "{diff}");
    assert_eq!(shapes.len(), 3, "the first layer for 3 channels, and the head: {shapes:?}");

    // --strict refuses all of that, and leaves nothing behind.
    let output = danlu(folder)
        .args(["train", "photos", "--weights", "runs/first", "--strict", "--name", "strict"])
        .assert()
        .code(2);
    let text = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    assert!(text.contains("images of 1 channels") && text.contains("hint:"), "{text}");
    assert!(!folder.join("runs/strict").exists());
}

#[test]
fn features_of_a_frozen_backbone_are_computed_once_and_change_nothing_but_the_last_digits() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    pretrain(folder);
    let train = |name: &str, more: &[&str]| {
        let mut command = danlu(folder);
        command
            .args(["train", "demo", "--weights", "runs/first", "--freeze", "backbone", "--name", name])
            .args(["--set", "data.limit=0.05", "--epochs", "4", "--batch-size", "24"])
            .args(["--set", "augment.horizontal_flip.p=0.5"])
            .args(more);
        command
    };
    let text = stderr(&mut train("kept", &[]));
    assert!(text.contains("features of the frozen layers (up to `pool`, "), "{text}");
    assert!(text.contains("are computed once an image and kept: up to "), "{text}");
    let text = stderr(&mut train("plain", &["--set", "finetune.cache_features=false"]));
    assert!(!text.contains("features of the frozen layers"), "{text}");
    // The number of images in a pass decides the last bits of a convolution's sums.
    let diff = danlu(folder)
        .args([
            "weights",
            "diff",
            "runs/kept/weights/last.safetensors",
            "runs/plain/weights/last.safetensors",
        ])
        .arg("--json")
        .output()
        .expect("runs");
    let diff: serde_json::Value = serde_json::from_slice(&diff.stdout).expect("JSON");
    for tensor in diff["values"].as_array().expect("a list") {
        assert!(tensor["relative"].as_f64().expect("a number") < 1e-4, "{tensor}");
    }

    // Shifts make a new picture each time: said, and trained without.
    let text = stderr(&mut train("shifted", &["--set", "augment.random_crop.padding=2"]));
    assert!(
        text.contains("are computed again in every epoch: the augmentation makes new pictures"),
        "{text}"
    );

    // Stopped in the middle, the cache is empty again, and the end is the same.
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_danlu"));
    child.current_dir(folder).env("DANLU_HOME", folder.join("home"));
    child.args(train("killed", &["--set", "train.checkpoint.iterations=1", "--quiet"]).get_args());
    let mut running = child.stderr(std::process::Stdio::null()).spawn().expect("starts");
    let events = folder.join("runs/killed/events.jsonl");
    let lines =
        || std::fs::read(&events).map_or(0, |bytes| bytes.iter().filter(|byte| **byte == b'\n').count());
    while lines() < 20 && running.try_wait().expect("can be asked").is_none() {
        std::thread::sleep(std::time::Duration::from_micros(300));
    }
    assert!(running.try_wait().expect("can be asked").is_none(), "it was done before it was killed");
    running.kill().expect("kills");
    running.wait().expect("is gone");
    danlu(folder).args(["resume", "runs/killed", "--quiet"]).assert().success();
    for file in ["weights/best.safetensors", "weights/last.safetensors", "events.jsonl"] {
        let read = |run: &str| std::fs::read(folder.join("runs").join(run).join(file)).expect("is there");
        assert!(read("kept") == read("killed"), "{file} differs");
    }
}

#[test]
fn a_backbone_thaws_from_the_last_layers_to_the_first() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    pretrain(folder);
    let train = |name: &str, epochs: &str| {
        let mut command = danlu(folder);
        command
            .args(["train", "demo", "--weights", "runs/first", "--gradual-unfreeze", "--name", name])
            .args(["--set", "data.limit=0.02", "--epochs", epochs, "--batch-size", "24", "--lr", "0.05"]);
        command
    };
    // Two epochs: the head, then the last quarter with it. The stem stays as it was, and that is said.
    let text = stderr(&mut train("two", "2"));
    assert!(text.contains("the first layers would begin to train in epoch 4 and there are 2"), "{text}");
    let changed = |run: &str| -> Vec<String> {
        let run = format!("runs/{run}/weights/last.safetensors");
        let output = danlu(folder).args(["weights", "diff", "runs/first", &run, "--json"]).assert().code(1);
        let diff: serde_json::Value = serde_json::from_slice(&output.get_output().stdout).expect("JSON");
        let values = diff["values"].as_array().expect("a list");
        values.iter().map(|entry| entry["name"].as_str().expect("a name").to_owned()).collect()
    };
    let two = changed("two");
    assert!(
        two.iter().any(|name| name.starts_with("fc.")) && two.iter().any(|name| name.starts_with("stage"))
    );
    assert!(!two.iter().any(|name| name.starts_with("stem")), "{two:?}");
    let text = stderr(&mut train("five", "5"));
    assert!(!text.contains("would begin to train"), "{text}");
    let five = changed("five");
    assert!(five.len() > two.len() && five.iter().any(|name| name.starts_with("stem")), "{five:?}");
}

#[test]
fn a_fine_tuning_that_is_killed_ends_in_the_same_bytes_without_the_file_it_started_from() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    pretrain(folder);
    std::fs::copy(folder.join("runs/first/weights/best.safetensors"), folder.join("w.safetensors"))
        .expect("copies");
    let train = |name: &str| {
        let mut command = danlu(folder);
        command
            .args(["train", "demo", "--weights", "w.safetensors", "--fine-tune", "--name", name, "--quiet"])
            .args(["--set", "data.limit=0.05", "--epochs", "3", "--batch-size", "24", "--lr", "0.02"])
            .args(["--set", "train.checkpoint.iterations=1", "--set", "train.ema=0.9"]);
        command
    };
    train("whole").assert().success();
    // Once in the epoch in which the head trains alone, once after the unfreezing.
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_danlu"));
    child.current_dir(folder).env("DANLU_HOME", folder.join("home"));
    child.args(train("killed").get_args()).stderr(std::process::Stdio::null());
    let events = folder.join("runs/killed/events.jsonl");
    for (round, wanted) in [4, 19].into_iter().enumerate() {
        if round == 1 {
            child = std::process::Command::new(env!("CARGO_BIN_EXE_danlu"));
            child.current_dir(folder).args(["resume", "runs/killed", "--quiet"]);
            child.stderr(std::process::Stdio::null());
        }
        let mut running = child.spawn().expect("starts");
        let lines =
            || std::fs::read(&events).map_or(0, |bytes| bytes.iter().filter(|byte| **byte == b'\n').count());
        while lines() < wanted && running.try_wait().expect("can be asked").is_none() {
            std::thread::sleep(std::time::Duration::from_micros(300));
        }
        assert!(running.try_wait().expect("can be asked").is_none(), "it was done before it was killed");
        running.kill().expect("kills");
        running.wait().expect("is gone");
        // The checkpoint holds everything from the first moment on.
        let _ = std::fs::remove_file(folder.join("w.safetensors"));
    }
    danlu(folder).args(["resume", "runs/killed", "--quiet"]).assert().success();
    for file in ["weights/best.safetensors", "weights/last.safetensors", "events.jsonl", "metrics.csv"] {
        let read = |run: &str| std::fs::read(folder.join("runs").join(run).join(file)).expect("is there");
        assert!(read("whole") == read("killed"), "{file} differs");
    }
}

#[test]
fn weights_that_cannot_be_meant_are_refused_with_a_hint_and_nothing_left_behind() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let hostile = Path::new(env!("CARGO_MANIFEST_DIR")).join("../danlu-weights/tests");
    let path = |name: &str| hostile.join(name).display().to_string();
    let cases = [
        (path("hostile/os_system_protocol2.pth"), "calls `os.system`"),
        (path("hostile/truncated.pth"), "damaged"),
        (path("hostile/zero.pth"), "an empty file"),
        (path("hostile/header_beyond_file.safetensors"), "the header needs 5008 bytes"),
        (path("hostile/wrong_magic.bin"), "is not a weights file"),
        (path("golden/vgg_thin.pth"), "another architecture"),
        ("nowhere.pth".to_owned(), "nowhere.pth"),
    ];
    for (file, expected) in cases {
        let output = danlu(folder)
            .args(["train", "demo", "--network", "resnet18", "--weights", &file])
            .assert()
            .code(2);
        let text = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
        assert!(text.contains(expected) && text.contains("hint:"), "{file}: {text}");
    }
    let output = danlu(folder).args(["train", "demo", "--freeze", "layer9"]).assert().code(2);
    assert!(String::from_utf8_lossy(&output.get_output().stderr).contains("layer9"));
    assert!(!folder.join("runs").exists() && !folder.join("danlu_was_here").exists());
}

/// Puts NaN into the first value of an f32 tensor of a safetensors file.
fn poison(path: &Path, key: &str) {
    let mut bytes = std::fs::read(path).expect("is there");
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")) as usize;
    let tensors: serde_json::Value = serde_json::from_slice(&bytes[8..header]).expect("a header");
    assert_eq!(tensors[key]["dtype"], "F32", "{key}");
    let at = header + tensors[key]["data_offsets"][0].as_u64().expect("an offset") as usize;
    bytes[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(path, bytes).expect("writes");
}

#[test]
fn a_weight_that_is_no_number_is_named_on_every_way_in() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    pretrain(folder);
    images(&folder.join("photos"), 10);
    let image = "photos/above/0.png";
    poison(&folder.join("runs/first/weights/best.safetensors"), "fc.weight");
    std::fs::copy(folder.join("runs/first/weights/best.safetensors"), folder.join("w.safetensors"))
        .expect("copies");
    // A converter loses nothing, not even this, and says so.
    for to in ["w.pth", "hf"] {
        let text = stderr(danlu(folder).args(["weights", "convert", "w.safetensors", to]));
        assert!(text.contains("NaN or infinite were kept as they are: `fc.weight` (1 value)"), "{text}");
    }
    let output = danlu(folder).args(["weights", "inspect", "w.pth"]).assert().success();
    let text = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
    let is_named = |line: &str| line.starts_with("fc.weight ") && line.ends_with("1 NaN or infinite");
    assert!(text.contains("1 tensors hold values that are NaN") && text.lines().any(is_named), "{text}");
    let refused: [(&[&str], &str); 8] = [
        (&["train", "demo", "--weights", "w.safetensors"], "w.safetensors"),
        (&["train", "demo", "--network", "small", "--set", "network.width=8", "--weights", "w.pth"], "w.pth"),
        (&["train", "demo", "--weights", "hf"], "hf"),
        (&["train", "demo", "--weights", "runs/first"], "best.safetensors"),
        (&["predict", "w.safetensors", image], "w.safetensors"),
        (&["predict", "runs/first", image], "best.safetensors"),
        (&["export", "runs/first", "--to", "onnx"], "best.safetensors"),
        (&["weights", "average", "w.pth", "w.safetensors", "--out", "mean.pth"], "w.pth"),
    ];
    for (arguments, file) in refused {
        let output = danlu(folder).args(arguments).assert().code(2);
        let text = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
        let expected = "has weights that are NaN or infinite: `fc.weight` (1 value)";
        assert!(text.contains(expected) && text.contains(file) && text.contains("hint:"), "{text}");
    }
    assert!(!folder.join("mean.pth").exists() && !folder.join("runs/first/export/model.onnx").exists());
    // A head that is replaced does not matter.
    danlu(folder)
        .args(["train", "photos", "--weights", "w.safetensors", "--epochs", "1", "--name", "head", "--quiet"])
        .args(["--set", "finetune.head=\"new\""])
        .assert()
        .success();
}

#[test]
fn a_run_is_exported_checked_on_its_validation_images_and_every_file_predicts_the_same() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    images(&folder.join("photos"), 30);
    danlu(folder)
        .args(["train", "photos", "--name", "a", "--network", "small", "--epochs", "2", "--batch-size", "16"])
        .args(["--set", "network.width=8", "--quiet"])
        .assert()
        .success();
    let exports: [&[&str]; 5] = [
        &["--to", "onnx", "--preprocessing"],
        &["--to", "safetensors"],
        &["--to", "safetensors", "--fold", "--out", "folded.safetensors"],
        &["--to", "pth"],
        &["--to", "huggingface"],
    ];
    for arguments in exports {
        let output = danlu(folder).args(["export", "runs/a", "--json"]).args(arguments).assert().success();
        let json: serde_json::Value = serde_json::from_slice(&output.get_output().stdout).expect("JSON");
        assert_eq!(json["checked_on"], "10 validation images", "{json}");
        assert_eq!(json["same_class"], 10);
        assert!(json["relative_difference"].as_f64().expect("a number") <= 1e-4, "{json}");
        let folds = json["format"] == "onnx" || arguments.contains(&"--fold");
        assert_eq!(json["folded"].as_array().expect("a list").is_empty(), !folds, "{json}");
    }
    for record in ["model.onnx.json", "model.pth.json", "folded.safetensors.json", "huggingface.json"] {
        assert!(folder.join("runs/a/export").join(record).is_file(), "{record}");
    }

    // The same probabilities from the run and from each file that carries its card; paths from stdin, in batches.
    let paths: Vec<String> = (0..5).map(|i| format!("photos/below/{i}.png")).collect();
    let predict = |model: &str| {
        let output = danlu(folder)
            .args(["predict", model, "-", "--csv", "--batch-size", "2"])
            .write_stdin(paths.join("\n"))
            .assert()
            .success();
        String::from_utf8_lossy(&output.get_output().stdout).into_owned()
    };
    let probability = |text: &str| -> Vec<f64> {
        let rows = text.lines().skip(1).filter(|line| line.contains(",below,"));
        rows.map(|line| line.rsplit(',').next().expect("a column").parse().expect("a number")).collect()
    };
    let run = predict("runs/a");
    assert!(run.starts_with("image,rank,class,probability\n") && run.lines().count() == 11, "{run}");
    for file in [
        "runs/a/export/model.safetensors",
        "folded.safetensors",
        "runs/a/export/huggingface",
        "runs/a/export/model.onnx",
    ] {
        let (a, b) = (probability(&run), probability(&predict(file)));
        assert!(a.len() == 5 && a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-4), "{file}: {a:?} {b:?}");
    }

    // A .pth file has lost its network: said, with what it looks like where that is known.
    let output =
        danlu(folder).args(["predict", "runs/a/export/model.pth", "photos/below/1.png"]).assert().code(2);
    let text = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    assert!(text.contains("of no network that danlu has") && text.contains("hint:"), "{text}");
    // An ONNX path that cannot be written.
    let output =
        danlu(folder).args(["export", "runs/a", "--to", "onnx", "--out", "no/such/m.onnx"]).assert().code(2);
    let text = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    assert!(text.contains("no/such/m.onnx") && text.contains("hint:"), "{text}");
    // One unreadable image among others: the others are answered, and the exit code tells.
    let output = danlu(folder)
        .args(["predict", "runs/a", "photos/below/1.png", "nowhere.png", "--json"])
        .assert()
        .failure();
    assert!(String::from_utf8_lossy(&output.get_output().stdout).contains("below/1.png"));

    // The weights commands.
    danlu(folder).args(["weights", "diff", "runs/a", "runs/a/export/model.pth"]).assert().success();
    danlu(folder)
        .args(["weights", "convert", "runs/a/export/model.pth", "back.safetensors"])
        .assert()
        .success();
    danlu(folder)
        .args(["weights", "average", "back.safetensors", "runs/a", "--out", "mean.pth"])
        .assert()
        .success();
    danlu(folder).args(["weights", "diff", "mean.pth", "runs/a"]).assert().success();
    danlu(folder).args(["weights", "convert", "mean.pth", "mean.onnx"]).assert().code(2);
    let output = danlu(folder).args(["weights", "inspect", "runs/a"]).assert().success();
    let text = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
    assert!(text.contains("classes: above, below") && text.contains("fc.weight"), "{text}");
}

#[test]
fn imagenet_weights_come_from_the_cache_or_say_what_to_do_without_a_network() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    images(&folder.join("photos"), 12);
    let train = |more: &[&str]| {
        let mut command = danlu(folder);
        command
            .args(["train", "photos", "--epochs", "1", "--batch-size", "8", "--image-size", "32"])
            .args(more);
        command
    };
    // Nothing listens there.
    let offline = ("DANLU_WEIGHTS_MIRROR", "http://127.0.0.1:9/models");
    let output =
        train(&["--weights", "imagenet", "--network", "vgg11"]).env(offline.0, offline.1).assert().code(1);
    let text = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    for expected in
        ["could not download `http://127.0.0.1:9/models/vgg11-8a719046.pth`", "put it at", "hint:"]
    {
        assert!(text.contains(expected), "{text}");
    }
    assert!(!folder.join("runs").exists(), "no run is begun");
    // A mirror that answers with a page of its own: the download is told, and its bytes are not used.
    let mirror = std::net::TcpListener::bind("127.0.0.1:0").expect("listens");
    let address = format!("http://{}", mirror.local_addr().expect("has an address"));
    let server = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = mirror.accept().expect("is asked");
        let mut request = [0; 4096];
        let read = stream.read(&mut request).expect("reads");
        assert!(request[..read].starts_with(b"GET /vgg11-8a719046.pth "));
        let page = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nlogin";
        stream.write_all(page).expect("answers");
    });
    let output = train(&["--weights", "imagenet", "--network", "vgg11"])
        .env("DANLU_WEIGHTS_MIRROR", &address)
        .assert()
        .code(1);
    server.join().expect("served");
    let text = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    for expected in ["downloading http://", "its SHA-256 is", "expected 8a719046"] {
        assert!(text.contains(expected), "{text}");
    }
    let output = train(&["--weights", "imagenet", "--network", "small"]).assert().code(2);
    let text = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    assert!(
        text.contains("no ImageNet weights for the network `small`") && text.contains("resnet50"),
        "{text}"
    );

    // What lies in the cache is used without a look at the network: here a ResNet-18 of our own.
    train(&["--network", "resnet18", "--name", "own", "--quiet"]).assert().success();
    std::fs::create_dir_all(folder.join("home/weights")).expect("creates");
    let cached = "home/weights/resnet18-f37072fd.pth";
    danlu(folder).args(["weights", "convert", "runs/own", cached]).assert().success();
    let text = stderr(train(&["--weights", "imagenet", "--name", "tuned"]).env(offline.0, offline.1));
    assert!(
        text.contains("resnet18-f37072fd.pth` (") && text.contains("the network of the weights"),
        "{text}"
    );
    let recipe = std::fs::read_to_string(folder.join("runs/tuned/recipe.toml")).expect("reads");
    assert!(recipe.contains("0.485") && recipe.contains("weights = \"imagenet\""), "{recipe}");
}
