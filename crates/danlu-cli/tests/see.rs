//! Looking at a run with the real binary: weights, activations, pictures, report, TensorBoard's files.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::OnceLock;

use assert_cmd::Command;

fn danlu(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_danlu"));
    command.current_dir(folder).env("DANLU_HOME", folder.join("home")).env("NO_COLOR", "1");
    command
}

/// A folder with `photos/`, two classes that differ in which half is bright, and `runs/a`, trained on them.
fn trained() -> PathBuf {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (class, bright) in [("above", true), ("below", false)] {
            let place = folder.path().join("photos").join(class);
            std::fs::create_dir_all(&place).expect("creates");
            for i in 0..40u32 {
                let image = image::GrayImage::from_fn(16, 16, |x, y| {
                    let base = if (y < 8) == bright { 200 } else { 40 };
                    image::Luma([(base + (x * 7 + y * 3 + i * 11) % 40) as u8])
                });
                image.save(place.join(format!("{i}.png"))).expect("saves");
            }
        }
        let options = ["--epochs", "3", "--batch-size", "16", "--set", "network.width=8", "--lr", "0.05"];
        danlu(folder.path())
            .args(["train", "photos", "--network", "small", "--name", "a", "--set", "network.dropout=0.2"])
            .args(["--set", "train.tensorboard=true"])
            .args(options)
            .assert()
            .success();
        folder
    });
    folder.path().to_path_buf()
}

fn json(command: &mut Command) -> serde_json::Value {
    serde_json::from_slice(&command.assert().success().get_output().stdout).expect("JSON")
}

#[test]
fn weights_are_shown_as_filters_distributions_and_change_since_the_start() {
    let folder = trained();
    let value = json(danlu(&folder).args(["show", "weights", "runs/a", "--output", "w.svg", "--json"]));
    assert_eq!(value["against"], "the initial weights");
    let layers = value["layers"].as_array().expect("layers");
    assert_eq!(layers[0]["shape"], serde_json::json!([8, 1, 3, 3]));
    for layer in layers {
        let change = layer["change"].as_f64().expect("is measured");
        assert!(change > 0.0 && change < 10.0, "it trained: {layer}");
        assert_eq!(layer["non_finite"], 0);
    }
    assert!(std::fs::read_to_string(folder.join("w.svg")).expect("reads").contains("</svg>"));

    // A run against itself has not moved at all.
    let value = json(danlu(&folder).args([
        "show",
        "weights",
        "runs/a",
        "--against",
        "runs/a",
        "-o",
        "w.png",
        "--json",
    ]));
    assert!(
        value["layers"].as_array().expect("layers").iter().all(|layer| layer["change"] == 0.0),
        "{value}"
    );

    let output = danlu(&folder).args(["show", "weights", "runs/a", "--layer", "stem"]).assert().code(2);
    let text = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    assert!(text.contains("no convolution `stem`") && text.contains("stem.conv.weight"), "{text}");
}

#[test]
fn activations_of_an_image_are_shown_with_grad_cam_and_occlusion() {
    let folder = trained();
    let value = json(danlu(&folder).args([
        "show",
        "activations",
        "runs/a",
        "photos/below/3.png",
        "--output",
        "a.png",
        "--batch",
        "8",
        "--json",
    ]));
    assert_eq!(value["class"], "below");
    assert_eq!(value["predictions"][0]["class"], "below");
    assert_eq!(value["statistics_over"], 8);
    let heat = &value["grad_cam"]["heat"];
    let values = heat["values"].as_array().expect("numbers");
    assert_eq!(values.len() as u64, heat["height"].as_u64().expect("h") * heat["width"].as_u64().expect("w"));
    assert!(values.iter().any(|v| v.as_f64() > Some(0.0)), "something speaks for the class: {value}");
    assert_eq!(value["occlusion"]["height"], 8, "a square of 4 pixels moves by 2 over 16");
    assert_eq!(value["layers"][0]["shape"], serde_json::json!([16, 16, 8]));
    let sheet = image::open(folder.join("a.png")).expect("a PNG");
    assert!(sheet.height() > sheet.width());

    // An image of the validation set by its place, and in words.
    let output =
        danlu(&folder).args(["show", "activations", "runs/a", "val:0", "--patch", "0"]).assert().success();
    let text = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
    assert!(text.contains("Grad-CAM for") && text.contains("dead channels"), "{text}");

    for (args, code, says) in [
        (["runs/a", "val:999"], 2, "from `val:0` to `val:13`"),
        (["runs/a", "photos/nothing.png"], 2, "nothing.png"),
        (["photos", "val:0"], 2, "photos"),
    ] {
        let output = danlu(&folder).args(["show", "activations"]).args(args).assert().code(code);
        let text = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
        assert!(text.contains(says), "{args:?}: {text}");
    }
}

#[test]
fn a_training_leaves_pictures_and_a_report_in_two_languages() {
    let folder = trained();
    for name in ["curves", "confusion", "reliability", "weights", "grad-cam", "channels", "embedding"] {
        let path = folder.join("runs/a/pictures").join(format!("{name}.svg"));
        assert!(std::fs::read_to_string(&path).expect(name).contains("</svg>"), "{name}");
    }
    // The weights' spread is kept of every epoch, for the ridges of the picture.
    let events = std::fs::read_to_string(folder.join("runs/a/events.jsonl")).expect("reads");
    let spreads: Vec<serde_json::Value> = events
        .lines()
        .filter(|line| line.contains("\"event\":\"weights\""))
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(spreads.iter().map(|s| s["epoch"].as_u64()).collect::<Vec<_>>(), [1, 2, 3].map(Some));
    assert_ne!(spreads[0]["layers"], spreads[2]["layers"], "they moved");
    let page = std::fs::read_to_string(folder.join("runs/a/report.html")).expect("reads");
    for part in ["id=\"result\"", "id=\"classes\"", "id=\"pictures\"", "id=\"reproduce\"", "Grad-CAM"] {
        assert!(page.contains(part), "{part}");
    }
    // It cannot fetch or run anything.
    assert!(!page.contains("<script") && !page.contains("src=\"http") && page.contains("default-src 'none'"));

    danlu(&folder).args(["report", "runs/a", "--lang", "zh", "--output", "zh.html"]).assert().success();
    let page = std::fs::read_to_string(folder.join("zh.html")).expect("reads");
    assert!(page.contains("<html lang=\"zh") && page.contains("训练报告") && page.contains("验证损失"));
    danlu(&folder).args(["report", "runs/a", "--lang", "tlh"]).assert().code(2);
}

#[test]
fn validation_images_become_a_map_and_rows_of_what_excites_a_channel() {
    let folder = trained();
    let value = json(danlu(&folder).args(["show", "embedding", "runs/a", "-o", "map.svg", "--json"]));
    let points = value["points"].as_array().expect("points");
    assert_eq!(points.len(), 14, "all validation images: 20 % of what is left of 80");
    // The classes are easy: the first component alone tells them apart.
    let of = |label: u64| -> Vec<f64> {
        points.iter().filter(|p| p["label"] == label).map(|p| p["x"].as_f64().expect("a number")).collect()
    };
    let (low, high) = (of(0), of(1));
    let min = |v: &[f64]| v.iter().copied().fold(f64::INFINITY, f64::min);
    let max = |v: &[f64]| v.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    assert!(max(&low) < min(&high) || max(&high) < min(&low), "{value}");
    let tsne = json(danlu(&folder).args(["show", "embedding", "runs/a", "--method", "tsne", "--json"]));
    assert_eq!(tsne["points"].as_array().map(Vec::len), Some(14));
    assert_eq!(tsne["perplexity"].as_f64(), Some(13.0 / 3.0), "lowered to the number of images");
    assert!(tsne["divergence"].as_f64().is_some_and(|d| d > 0.0), "{tsne}");
    let few =
        danlu(&folder).args(["show", "embedding", "runs/a", "--method", "tsne", "--images", "4"]).assert();
    let few = few.code(2).get_output().stderr.clone();
    let few = String::from_utf8_lossy(&few);
    assert!(
        few.contains("t-SNE takes 7 to 3000 images, not 4") && few.contains("hint: `--images N`"),
        "{few}"
    );
    danlu(&folder).args(["show", "channels", "runs/a", "--channels", "3", "-o", "c.png"]).assert().success();
    let sheet = image::open(folder.join("c.png")).expect("a PNG");
    assert!(sheet.width() > sheet.height() && sheet.height() > 300, "three rows: {}", sheet.height());
}

/// Lengths of the records of an event file, which must be whole.
fn records(path: &Path) -> Vec<usize> {
    let bytes = std::fs::read(path).expect("reads");
    let (mut at, mut found) = (0, Vec::new());
    while at < bytes.len() {
        let length = u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes")) as usize;
        found.push(length);
        at += length + 16;
    }
    assert_eq!(at, bytes.len(), "the last record is whole");
    found
}

#[test]
fn tensorboards_file_holds_every_update_once_after_a_resume_too() {
    let folder = trained();
    let event_file = |run: &str| {
        let entries = std::fs::read_dir(folder.join("runs").join(run)).expect("lists").flatten();
        let is_one = |path: &PathBuf| path.to_string_lossy().contains("events.out.tfevents.");
        entries.map(|entry| entry.path()).find(is_one).expect("an event file")
    };
    let whole = records(&event_file("a"));
    // 3 epochs; of each update loss, top-1, gradient norm and learning rate.
    let events = std::fs::read_to_string(folder.join("runs/a/events.jsonl")).expect("reads");
    let updates = events.lines().filter(|line| line.contains("\"event\":\"iteration\"")).count();
    assert!(whole.len() > 4 * updates + 3 * 5, "{} records of {updates} updates", whole.len());

    // The same training, killed after its second epoch and resumed: as many records of the same lengths.
    let run = folder.join("runs/killed");
    copy(&folder.join("runs/a"), &run);
    for gone in ["result.json", "checkpoint", "events.jsonl", "metrics.csv", "journal.jsonl"] {
        let path = run.join(gone);
        if path.is_dir() {
            std::fs::remove_dir_all(&path).and_then(|()| std::fs::create_dir(&path)).expect("empties");
        } else {
            std::fs::remove_file(&path).expect("removes");
        }
    }
    danlu(&folder).args(["resume", "runs/killed"]).assert().success();
    assert_eq!(records(&event_file("killed")), whole, "started over: cut back to nothing and written again");
}

fn copy_once(from: &Path, to: &Path) {
    if !to.exists() {
        copy(from, to);
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("creates");
    for entry in std::fs::read_dir(from).expect("lists").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copies");
        }
    }
}

/// `danlu serve` that ends with the test.
struct Dashboard {
    child: Child,
    address: String,
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Dashboard {
    fn start(folder: &Path, args: &[&str]) -> Self {
        Dashboard::of(folder, "runs", args)
    }

    fn of(folder: &Path, runs: &str, args: &[&str]) -> Self {
        let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_danlu"))
            .current_dir(folder)
            .args(["serve", runs, "--port", "0"])
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("is piped"))
            .read_line(&mut line)
            .expect("prints its address");
        let address =
            line.trim().trim_start_matches("http://").split('/').next().expect("an address").to_owned();
        Dashboard { child, address }
    }

    /// The status, the head and the body of an answer.
    fn ask(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
        let mut stream = TcpStream::connect(&self.address).expect("connects");
        let host =
            if headers.contains("Host:") { String::new() } else { format!("Host: {}\r\n", self.address) };
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\n{host}{headers}Connection: close\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).expect("asks");
        // A server that refuses a large body may hang up before it has read all of it.
        let _ = stream.write_all(body);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        (status, head, answer[end + 4..].to_vec())
    }

    fn get(&self, path: &str) -> (u16, String) {
        let (status, _, body) = self.ask("GET", path, "", b"");
        (status, String::from_utf8_lossy(&body).into_owned())
    }
}

#[test]
fn the_dashboard_lists_shows_compares_and_predicts() {
    let folder = trained();
    let server = Dashboard::start(&folder, &[]);
    let (status, page) = server.get("/");
    assert!(
        status == 200 && page.contains("<a href=\"/runs/a\">a</a>") && page.contains("finished"),
        "{page}"
    );
    let (status, page) = server.get("/runs/a");
    assert!(status == 200 && page.contains("<svg") && page.contains("Try an image"), "{page}");
    assert!(page.contains("id=\"doctor\"") && page.contains("value=\"weights stem.conv\""), "{page}");
    copy_once(&folder.join("runs/a"), &folder.join("runs/b"));
    let recipe = std::fs::read_to_string(folder.join("runs/b/recipe.toml")).expect("reads");
    let other = recipe.replace("lr = 0.05", "lr = 0.25");
    assert_ne!(recipe, other);
    std::fs::write(folder.join("runs/b/recipe.toml"), other).expect("writes");
    let (status, page) = server.get("/compare?run=a&run=b");
    assert!(
        status == 200
            && page.contains("<th scope=\"row\">optimizer.lr</th><td>0.05</td><td><b>0.25</b></td>"),
        "{page}"
    );
    for what in ["updates", "memory", "weights%20stem.conv"] {
        let (status, body) = server.get(&format!("/runs/a/draw?what={what}&width=400"));
        assert!(status == 200 && body.contains("</svg>"), "{what}: {status} {body}");
    }
    assert_eq!(server.get("/runs/a/draw?what=everything").0, 400);
    // danlu-view bounds a width that no screen has.
    for (asked, drawn) in [("1e300", 4000), ("-5", 240), ("NaN", 720)] {
        let (status, body) = server.get(&format!("/runs/a/draw?what=updates&width={asked}"));
        assert!(status == 200 && body.contains(&format!("viewBox=\"0 0 {drawn} ")), "{asked}: {:.300}", body);
    }
    // A person is told in a page, a program in JSON.
    let (status, _, body) = server.ask("GET", "/runs/nothing", "Accept: text/html\r\n", b"");
    let page = String::from_utf8_lossy(&body).into_owned();
    assert!(
        status == 404 && page.contains("<h1>Not Found</h1>") && page.contains("there is no run"),
        "{page}"
    );
    for (path, holds) in [
        ("/runs/a/report.html", "id=\"result\""),
        ("/runs/a/pictures/grad-cam.svg", "<svg"),
        ("/runs/a/metrics.csv", "epoch,iteration"),
        ("/runs/a/recipe.toml", "[train]"),
        ("/assets/app.js", "EventSource"),
        ("/assets/app.css", ".drop"),
        ("/api/runs", "\"name\":\"a\""),
        ("/api/runs/a", "\"epochs\":["),
        ("/api/compare?run=a", "recipe_changes_from_the_first"),
        ("/api/runs?changed_since=99999999999", "\"runs\":[]"),
        ("/api/runs/a/findings", "\"findings\":["),
    ] {
        let (status, body) = server.get(path);
        assert!(status == 200 && body.contains(holds), "{path}: {status} {}", &body[..body.len().min(400)]);
    }

    let image = std::fs::read(folder.join("photos/below/3.png")).expect("reads");
    let (status, _, body) = server.ask("POST", "/runs/a/predict", "", &image);
    let answer: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!((status, &answer["predictions"][0]["class"]), (200, &"below".into()));
    assert!(answer["grad_cam"]["image"].as_str().expect("an address").starts_with("data:image/png;base64,"));
    let (_, _, body) = server.ask("POST", "/runs/a/predict?maps=true", "", &image);
    let answer: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    assert!(answer["feature_maps"].as_str().expect("a picture").contains("</svg>"));
    let (status, _, body) = server.ask("POST", "/runs/a/predict", "", b"no image");
    assert_eq!(status, 422, "{}", String::from_utf8_lossy(&body));
    assert_eq!(server.ask("POST", "/runs/a/predict", "", &vec![0; 21 << 20]).0, 413);
    // Nothing trains here that could be stopped.
    assert_eq!(server.ask("POST", "/runs/a/stop", "", b"").0, 409);
    assert!(!folder.join("runs/a/stop").exists());

    // The description names paths that are there.
    let (_, text) = server.get("/api/openapi.json");
    let api: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    for (path, methods) in api["paths"].as_object().expect("paths") {
        if methods.get("get").is_some() && !path.ends_with("/live") && !path.contains("{study}") {
            let query = match path.rsplit('/').next() {
                Some("compare") => "?run=a",
                Some("draw") => "?what=memory",
                _ => "",
            };
            assert_eq!(server.get(&format!("{}{query}", path.replace("{run}", "a"))).0, 200, "{path}");
        }
    }
}

#[test]
fn a_study_is_shown_with_its_trials_and_what_mattered() {
    let folder = trained();
    let space = "[network]\nname = \"small\"\nwidth = 8\n[train]\nepochs = 2\nbatch_size = 16\n[optimizer]\nname = \"sgd\"\n\
                 lr = { log = [1e-3, 1.0] }\nmomentum = { float = [0.0, 0.95] }\n";
    std::fs::write(folder.join("space.toml"), space).expect("writes");
    danlu(&folder)
        .args(["tune", "space.toml", "photos", "--runs", "studied", "--budget", "9trials", "--workers", "1"])
        .arg("--quiet")
        .assert()
        .success();
    let server = Dashboard::of(&folder, "studied", &[]);
    let (status, page) = server.get("/");
    assert!(status == 200 && page.contains("<a href=\"/studies/space\">space</a>"), "{page}");
    let (status, page) = server.get("/studies/space");
    for part in ["id=\"importance\"", "id=\"parallel\"", "id=\"slices\"", "<svg", "optimizer.momentum"] {
        assert!(status == 200 && page.contains(part), "{part}: {page}");
    }
    let trial = page.split("href=\"/runs/").nth(1).and_then(|rest| rest.split('"').next()).expect("a trial");
    assert!(trial.starts_with("space%2Ftrial-"), "{trial}");
    let (status, page) = server.get(&format!("/runs/{trial}"));
    assert!(
        status == 200 && page.contains("a trial of the study") && !page.contains("id=\"stop\""),
        "{page}"
    );
    let (_, text) = server.get("/api/studies/space");
    let study: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let trials = study["trials"].as_array().expect("trials");
    assert_eq!(study["study"]["trials"].as_u64(), Some(trials.len() as u64));
    assert!(trials.iter().all(|trial| trial["curve"][0]["value"].is_number()), "{study}");
    assert_eq!(study["importance"].as_array().expect("shares").len(), 2);
    assert_eq!(server.get("/api/studies").0, 200);
    assert_eq!(server.get("/studies/nothing").0, 404);
    assert_eq!(server.get("/runs/space%2F..%2Fspace").0, 404);
}

#[test]
fn the_dashboard_tells_a_training_as_it_goes_and_stops_it() {
    let folder = trained();
    let mut training = std::process::Command::new(env!("CARGO_BIN_EXE_danlu"))
        .current_dir(&folder)
        .env("DANLU_HOME", folder.join("home"))
        .args(["train", "photos", "--network", "small", "--name", "long", "--epochs", "100000", "--quiet"])
        .args(["--batch-size", "16", "--set", "network.width=8"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    let server = Dashboard::start(&folder, &[]);
    let epoch = || {
        let value: serde_json::Value = serde_json::from_str(&server.get("/api/runs/long").1).expect("JSON");
        value["run"]["epoch"].as_u64().unwrap_or(0)
    };
    for _ in 0..600 {
        if epoch() > 0 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let mut stream = TcpStream::connect(&server.address).expect("connects");
    let head = format!("GET /runs/long/live HTTP/1.1\r\nHost: {}\r\n\r\n", server.address);
    stream.write_all(head.as_bytes()).expect("asks");
    let epochs: Vec<u64> = BufReader::new(stream)
        .lines()
        .map_while(Result::ok)
        .filter_map(|line| line.strip_prefix("data: ").map(str::to_owned))
        .map(|data| serde_json::from_str::<serde_json::Value>(&data).expect("JSON"))
        .map(|row| {
            assert_eq!(row["status"], "training", "{row}");
            row["epoch"].as_u64().expect("a number")
        })
        .take(3)
        .collect();
    assert!(epochs.len() == 3 && epochs[0] < epochs[2], "it moves: {epochs:?}");

    // Another site's page must not be able to stop it; the dashboard's own is.
    let foreign = "Origin: http://evil.example\r\n";
    assert_eq!(server.ask("POST", "/runs/long/stop", foreign, b"").0, 403);
    assert_eq!(server.ask("POST", "/runs/long/stop", "", b"").0, 200);
    let status = training.wait().expect("ends");
    assert_eq!(status.code(), Some(130), "as by Ctrl-C");
    let (_, body) = server.get("/api/runs/long");
    assert!(body.contains("\"status\":\"stopped\""), "{body}");
}

#[test]
fn the_dashboard_stands_in_a_browser() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/check-dashboard");
    let there = |name: &str| {
        std::env::var_os("PATH")
            .is_some_and(|path| std::env::split_paths(&path).any(|at| at.join(name).is_file()))
    };
    if !there("chromium") || !there("python3") {
        eprintln!("skipped: no Chromium or Python here; scripts/install-test-tools installs them");
        return;
    }
    let folder = trained();
    let runs = folder.join("browsed");
    std::fs::create_dir_all(&runs).expect("creates");
    copy_once(&folder.join("runs/a"), &runs.join("a"));
    let mut training = std::process::Command::new(env!("CARGO_BIN_EXE_danlu"))
        .current_dir(&folder)
        .env("DANLU_HOME", folder.join("home"))
        .args(["train", "photos", "--runs", "browsed", "--network", "small", "--name", "live", "--quiet"])
        .args([
            "--epochs",
            "100000",
            "--batch-size",
            "4",
            "--set",
            "network.width=8",
            "--set",
            "train.threads=1",
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    let server = Dashboard::of(&folder, "browsed", &[]);
    let started = |_| {
        runs.join("live/metrics.csv").exists() || {
            std::thread::sleep(std::time::Duration::from_millis(100));
            false
        }
    };
    assert!((0..600).any(started), "the training starts");
    let output = std::process::Command::new("python3")
        .arg(script)
        .args([format!("http://{}", server.address), "a".to_owned()])
        .arg(folder.join("photos/below/3.png"))
        .args(["--live", "live"])
        .output()
        .expect("starts");
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let _ = training.kill();
    }
    let _ = training.wait();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("the dashboard is as it should be"), "{said}");
}

#[test]
fn the_dashboard_serves_nothing_else_and_nobody_else() {
    let folder = trained();
    std::fs::write(folder.join("secret.txt"), "secret").expect("writes");
    let link = folder.join("runs/a/pictures/leak.svg");
    if !link.exists() {
        std::os::unix::fs::symlink(folder.join("secret.txt"), &link).expect("links");
    }
    let server = Dashboard::start(&folder, &[]);
    for path in [
        "/runs/../secret.txt",
        "/runs/..%2fphotos",
        "/runs/%2e%2e",
        "/runs/a/..%2f..%2fsecret.txt",
        "/runs/a/pictures/..%2frecipe.toml",
        "/runs/a/pictures/leak.svg",
        "/runs/a/checkpoint/state.safetensors",
        "/runs/nothing",
        "/etc/passwd",
    ] {
        let (status, body) = server.get(path);
        assert!(
            status == 404 && !body.contains("secret\n") && !body.contains("root:"),
            "{path}: {status} {body}"
        );
    }
    // A name that was made to point at this machine gives itself away.
    assert_eq!(server.ask("GET", "/", "Host: evil.example\r\n", b"").0, 403);
    let (_, head, _) = server.ask("GET", "/", "", b"");
    assert!(head.to_lowercase().contains("content-security-policy: default-src 'none'"), "{head}");

    // Beyond loopback only with a token, and a token is wanted of everyone.
    danlu(&folder).args(["serve", "runs", "--host", "0.0.0.0", "--port", "0"]).assert().code(2);
    danlu(&folder).args(["serve", "runs", "--host", "0.0.0.0", "--token", "short"]).assert().code(2);
    let odd = danlu(&folder).args(["serve", "runs", "--token", "sixteen;and=more&odd"]).assert().code(2);
    let message = String::from_utf8_lossy(&odd.get_output().stderr).into_owned();
    assert!(message.contains("the token has a `;`") && message.contains("hint:"), "{message}");
    danlu(&folder).args(["serve", "nowhere"]).assert().code(2);
    let token = "0123456789abcdef";
    let server = Dashboard::start(&folder, &["--token", token]);
    assert_eq!(server.get("/").0, 401);
    assert_eq!(server.get("/?token=0123456789abcdeX").0, 401);
    let (status, head, _) = server.ask("GET", &format!("/?token={token}"), "", b"");
    assert!(status == 303 && head.contains("HttpOnly") && head.contains("SameSite=Strict"), "{head}");
    assert_eq!(server.ask("GET", "/", &format!("Cookie: danlu_token={token}\r\n"), b"").0, 200);
    assert_eq!(server.ask("GET", "/api/runs", &format!("Authorization: Bearer {token}\r\n"), b"").0, 200);
}
