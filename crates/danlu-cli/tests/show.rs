//! `danlu show` with the real binary: schedules as numbers and pictures, augmentation, initialisation.

use std::path::Path;

use assert_cmd::Command;

fn danlu(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_danlu"));
    command.current_dir(folder).env("DANLU_HOME", folder.join("home")).env("NO_COLOR", "1");
    command
}

fn json(command: &mut Command) -> serde_json::Value {
    let output = command.assert().success();
    serde_json::from_slice(&output.get_output().stdout).expect("JSON")
}

fn numbers(value: &serde_json::Value) -> Vec<f64> {
    value.as_array().expect("an array").iter().map(|v| v.as_f64().expect("a number")).collect()
}

#[test]
fn a_schedule_is_printed_one_value_a_unit_and_group_and_drawn() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    std::fs::write(
        folder.join("r.toml"),
        "network.name = \"resnet18\"\ntrain.epochs = 6\n\
         optimizer.name = \"sgd\"\noptimizer.lr = 0.1\noptimizer.decay_norm_and_bias = true\n\
         schedule = { name = \"StepLR\", step_size = 2, gamma = 0.1 }\n\
         [[optimizer.groups]]\nmatch = \"fc.*\"\nlr = 1.0\nschedule = { name = \"constant\" }\n",
    )
    .expect("writes");
    let value = json(danlu(folder).args(["show", "schedule", "--recipe", "r.toml", "--json"]));
    assert_eq!(value["unit"], "epoch");
    let groups = value["groups"].as_array().expect("groups");
    assert_eq!(groups.len(), 2);
    let steps = numbers(&groups[0]["lr"]);
    for (found, expected) in steps.iter().zip([0.1, 0.1, 0.01, 0.01, 0.001, 0.001]) {
        assert!((found / expected - 1.0).abs() < 1e-12, "{steps:?}");
    }
    assert_eq!(steps.len(), 6);
    assert_eq!((groups[1]["name"].as_str(), numbers(&groups[1]["lr"])), (Some("fc.*"), vec![1.0; 6]));

    // The article's trap is impossible: the first value is the first. The momentum goes the other way round.
    let one_cycle = [
        "--schedule",
        "OneCycleLR",
        "--set",
        "schedule.unit=iteration",
        "--lr",
        "0.1",
        "--set",
        "optimizer.momentum=0.9",
    ];
    let value = json(
        danlu(folder)
            .args(["show", "schedule", "--iterations-per-epoch", "5", "--epochs", "4", "--json"])
            .args(one_cycle),
    );
    assert_eq!(value["unit"], "iteration");
    let (lr, momentum) = (numbers(&value["groups"][0]["lr"]), numbers(&value["groups"][0]["momentum"]));
    assert_eq!((lr.len(), momentum.len()), (20, 20));
    let peak = lr.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).expect("a value").0;
    assert!(peak > 0 && momentum.iter().all(|m| *m >= momentum[peak]), "{lr:?} {momentum:?}");

    let output = danlu(folder)
        .args(["show", "schedule", "--recipe", "r.toml", "--output", "s.svg"])
        .assert()
        .success();
    let text = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
    assert!(text.contains("learning rate") && text.contains("fc.*: first 1e0"), "{text}");
    assert!(std::fs::read_to_string(folder.join("s.svg")).expect("is there").contains("</svg>"));
    danlu(folder).args(["show", "schedule", "--output", "s.gif"]).assert().code(2);
}

#[test]
fn augmented_images_become_a_contact_sheet() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let output = danlu(folder)
        .args(["show", "augment", "demo", "--each", "--versions", "3", "--output", "each.png"])
        .assert()
        .success();
    let text = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
    assert!(text.contains("18 rows"), "{text}");
    let sheet = image::open(folder.join("each.png")).expect("a PNG");
    assert!(sheet.width() > 300 && sheet.height() > 1000);
}

#[test]
fn initialisations_are_compared_layer_by_layer() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let value = json(danlu(folder).args(["show", "init", "demo", "--network", "vgg11", "--json"]).args([
        "--set",
        "network.width=8",
        "--set",
        "network.hidden=32",
        "--image-size",
        "32",
    ]));
    let inits = value["inits"].as_array().expect("inits");
    let std = |name: &str| -> Vec<f64> {
        let init = inits.iter().find(|init| init["name"] == name).expect("is shown");
        let layers = init["layers"].as_array().expect("layers");
        layers.iter().map(|layer| layer["std"].as_f64().expect("a number")).collect()
    };
    // What the article shows: zeros kill, a small normal fades, Kaiming keeps the scale.
    assert!(std("zeros").iter().all(|v| *v == 0.0));
    let (small, kaiming) = (std("normal, std 0.01"), std("kaiming_normal"));
    assert_eq!(small.len(), kaiming.len());
    let last = small.len() - 1;
    assert!(small[last] < 1e-6 * kaiming[last], "{small:?} {kaiming:?}");
    assert!(kaiming[last] > 1e-2 && kaiming[last] < 1e2, "{kaiming:?}");
    assert!(std::fs::read_to_string(folder.join("init.svg")).expect("is there").contains("</svg>"));
}

#[test]
fn gradient_descent_on_a_valley_follows_the_closed_form_until_a_step_is_too_large() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let value = json(danlu(folder).args(["show", "descent", "--json", "--output", "d.svg"]));
    for path in value["paths"].as_array().expect("paths") {
        let lr = path["lr"].as_f64().expect("a rate");
        let points = path["points"].as_array().expect("points");
        assert_eq!(points.len(), 31);
        for (k, point) in points.iter().enumerate() {
            // Each step multiplies a parameter by 1 - lr * curvature, and the curvatures are 1 and 10.
            let power = |curvature: f64| (1.0 - lr * curvature).powi(k as i32);
            let (x, y) = (-9.0 * power(1.0), 2.0 * power(10.0));
            let found = numbers(point);
            assert!(
                (found[0] - x).abs() < 1e-9 && (found[1] - y).abs() < 1e-9 * y.abs().max(1.0),
                "{lr} {k}"
            );
        }
    }
    assert!(std::fs::read_to_string(folder.join("d.svg")).expect("a picture").starts_with("<svg"));

    // Steps above 2 / 10 climb the walls; the table says so.
    let table = danlu(folder).args(["show", "descent", "--lr", "0.02", "--lr", "0.25"]).assert().success();
    let text = String::from_utf8_lossy(&table.get_output().stdout).into_owned();
    assert!(text.contains("on its way") && text.contains("climbs"), "{text}");
}

#[test]
fn descent_refuses_what_no_optimizer_takes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (arguments, says) in [
        (&["--lr=-0.1"][..], "`optimizer.lr`"),
        (&["--optimizer", "sdg"], "sgd"),
        (&["--set", "momentun=0.9"], "momentum"),
        (&["--steepness", "0"], "1 to 1000"),
        (&["--start", "1"], "two numbers"),
        (&["--steps", "0"], "1..=10000"),
        (&["--output", "d.jpg"], ".svg or .png"),
    ] {
        let failed = danlu(folder.path()).args(["show", "descent"]).args(arguments).assert().code(2);
        let text = String::from_utf8_lossy(&failed.get_output().stderr).into_owned();
        assert!(text.contains(says), "{arguments:?}: {text}");
    }
}

#[test]
fn a_network_is_listed_with_its_parameters_operations_and_memory() {
    let output = Command::new(env!("CARGO_BIN_EXE_danlu"))
        .args(["show", "network", "resnet18", "--batch-size", "8", "--json"])
        .output()
        .expect("runs");
    assert!(output.status.success());
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    // torchvision's table of models: 11,689,512 parameters and 1.81 G multiply-adds.
    assert_eq!(json["parameters"], 11_689_512);
    let macs = json["flops"].as_f64().expect("a number") / 2e9;
    assert!((macs - 1.81).abs() < 0.01, "{macs}");
    let bytes = |key: &str| json[key].as_u64().expect("a number");
    assert!(
        bytes("training_bytes") > 2 * 4 * 11_689_512 && bytes("inference_bytes") < bytes("training_bytes")
    );
    let layers = json["layers"].as_array().expect("a list");
    assert!(layers.iter().any(|layer| layer["name"] == "layer4.1.conv2"));
    assert_eq!(layers[0]["output"], serde_json::json!([112, 112, 64]));
}

#[test]
fn what_folding_gains_is_told_layer_by_layer_and_drawn() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let picture = folder.path().join("folding.svg");
    let output = Command::new(env!("CARGO_BIN_EXE_danlu"))
        .args(["bench", "infer", "--network", "small", "--batch-size", "2", "--passes", "2", "--folding"])
        .args(["--json", "--output"])
        .arg(&picture)
        .output()
        .expect("runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let folded = json[0]["folded"].as_array().expect("a list");
    assert_eq!(folded[0]["layer"], "stem.conv");
    assert_eq!(folded[0]["norm"], "stem.bn");
    assert!(folded.iter().all(|layer| layer["ms"].as_f64().is_some_and(|ms| ms > 0.0)), "{folded:?}");
    let svg = std::fs::read_to_string(&picture).expect("is there");
    assert!(svg.starts_with("<?xml") || svg.starts_with("<svg"), "a picture");
    assert!(svg.contains("gone with the batch norm") && svg.contains("stem.conv"), "with its layers");
}
