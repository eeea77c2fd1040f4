//! Data with the real binary: the cache across processes that are killed, splits by group and fold, the audit's page.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use assert_cmd::Command;
use serde_json::Value;

fn danlu(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_danlu"));
    command.current_dir(folder).env("DANLU_HOME", folder.join("home")).env("NO_COLOR", "1");
    command
}

/// JPEG photos of two classes, each unlike the others.
fn photos(folder: &Path, count: u32, side: u32) {
    for i in 0..count {
        let class = folder.join(["cat", "dog"][i as usize % 2]);
        fs::create_dir_all(&class).expect("creates");
        let image = image::RgbImage::from_fn(side, side, |x, y| {
            let (x, y, i) = (x as f32, y as f32, (i + 1) as f32);
            let wave = |a: f32, b: f32| {
                let turn = |k: f32| (i * k).sin() * 0.12;
                let one = (x * turn(a) + y * turn(b) + i).sin();
                let other = (x * turn(b + 0.7) - y * turn(a + 1.3) + 2.0 * i).sin();
                (128.0 + 62.0 * (one + other)) as u8
            };
            image::Rgb([wave(1.1, 2.3), wave(3.7, 0.9), wave(2.9, 4.1)])
        });
        image.save(class.join(format!("p{}_{i:03}.jpg", i / 8))).expect("saves");
    }
}

const BENCH: [&str; 9] =
    ["bench", "data", "photos", "--cache", "disk", "--image-size", "64", "--json", "--workers"];

fn cache_of(output: &[u8]) -> Value {
    serde_json::from_slice::<Value>(output).expect("JSON")["cache"].clone()
}

#[test]
fn a_cache_survives_kills_and_is_filled_by_several_processes_at_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    photos(&folder.join("photos"), 160, 300);
    let start = || -> Child {
        std::process::Command::new(env!("CARGO_BIN_EXE_danlu"))
            .args(BENCH)
            .arg("2")
            .current_dir(folder)
            .env("DANLU_HOME", folder.join("home"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts")
    };
    // Two at a time, killed at several moments.
    for milliseconds in [0, 20, 60, 120, 250] {
        let mut pair = [start(), start()];
        std::thread::sleep(Duration::from_millis(milliseconds));
        for child in &mut pair {
            let _ = child.kill(); // it may have ended
            child.wait().expect("ends");
        }
    }
    let pair = [start(), start()];
    for child in pair {
        let output = child.wait_with_output().expect("ends");
        assert!(output.status.success());
        assert_eq!(cache_of(&output.stdout)["damaged"], 0);
    }
    let output = danlu(folder).args(BENCH).arg("1").assert().success();
    let cache = cache_of(&output.get_output().stdout);
    // 160 less 24 for the test, less a fifth of the rest.
    assert_eq!((&cache["place"], &cache["damaged"]), (&Value::from("disk"), &Value::from(0)));
    assert_eq!(cache["filled"], 108);
    // The next run finds it, and a damaged image in it is decoded again and told.
    let train = |name: &str| {
        let output = danlu(folder)
            .args([
                "train",
                "photos",
                "--name",
                name,
                "--network",
                "small",
                "--image-size",
                "64",
                "--cache",
                "disk",
            ])
            .args(["--epochs", "1", "--batch-size", "16", "--lr", "0.01", "--set", "network.width=8"])
            // Whole images would be kept for random windows; `bench data` has none.
            .args(["--set", "augment.random_resized_crop=none"])
            .assert()
            .success();
        String::from_utf8_lossy(&output.get_output().stderr).into_owned()
    };
    let text = train("a");
    assert!(text.contains("decoded images: 108 from an earlier run in"), "{text}");
    let path = fs::read_dir(folder.join("home/cache"))
        .expect("lists")
        .map(|entry| entry.expect("reads").path())
        .find(|path| path.extension().is_some_and(|ending| ending == "cache"))
        .expect("a file");
    let mut bytes = fs::read(&path).expect("reads");
    // The first image after the header and the checksums that is there.
    let at =
        bytes.iter().skip(4096 + 160 * 16).position(|&byte| byte != 0).expect("pixels") + 4096 + 160 * 16;
    bytes[at] ^= 1;
    fs::write(&path, bytes).expect("writes");
    let [a, b] = [text, train("b")];
    assert!(
        !a.contains("damaged")
            && (b.contains("1 images of the cache were damaged") || b.contains("from an earlier run")),
        "{b}"
    );
    let metrics = |name: &str| fs::read(folder.join(format!("runs/{name}/metrics.csv"))).expect("reads");
    assert_eq!(metrics("a"), metrics("b"), "no pixel depends on the cache");
    danlu(folder).args(["bench", "data", "photos", "--cache", "tape"]).assert().code(2);
}

/// The part of each image in a split file.
fn parts(path: &Path) -> Vec<(String, String)> {
    let text = fs::read_to_string(path).expect("reads");
    let rows = text.lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
    rows.map(|row| (row[0].clone(), row[2].clone())).collect()
}

#[test]
fn trials_of_a_study_read_the_images_that_an_earlier_one_decoded() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    photos(&folder.join("photos"), 40, 24);
    let space = "network = { name = \"small\", width = 4 }\ntrain = { epochs = 1, batch_size = 8 }\n\
                 data = { cache = \"disk\", image_size = 16 }\noptimizer.lr = { log = [0.001, 0.3] }\n";
    fs::write(folder.join("space.toml"), space).expect("writes");
    // A budget of trials is that of the study, so it grows by one.
    let trial = |command: &[&str], budget: &str| {
        danlu(folder).args(command).args(["--budget", budget, "--json"]).assert().success();
        let entries = fs::read_dir(folder.join("home/cache")).expect("a cache");
        let mut files: Vec<_> = entries.map(|entry| entry.expect("reads").path()).collect();
        files.retain(|path| path.extension().is_some_and(|ending| ending == "cache"));
        assert_eq!(files.len(), 1, "one file for all trials: {files:?}");
        let path = files.remove(0);
        (fs::read(&path).expect("reads"), path)
    };
    let (first, path) = trial(&["tune", "space.toml", "photos", "--workers", "1"], "1trials");
    let worker = ["worker", "--store", "sqlite:runs/studies.db", "--name", "space"];
    assert!(trial(&worker, "2trials").0 == first, "a second trial, in another process, has nothing to add");
    // That it reads the file shows in a damaged pixel: it is noticed, decoded again and mended.
    let mut damaged = first.clone();
    let at = damaged.iter().rposition(|&byte| byte != 0).expect("images are there");
    damaged[at] ^= 0x55;
    fs::write(&path, damaged).expect("writes");
    assert!(trial(&worker, "3trials").0 == first, "the damage is still there: no trial has looked");
}

#[test]
fn splits_by_group_and_fold_are_files_that_train() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    photos(&folder.join("photos"), 96, 24);
    danlu(folder).args(["split", "photos", "g.csv", "--set", "data.group=*/{}_*.jpg"]).assert().success();
    let grouped = parts(&folder.join("g.csv"));
    assert_eq!(grouped.len(), 96);
    let mut sides: std::collections::BTreeMap<&str, std::collections::BTreeSet<&str>> = Default::default();
    for (name, part) in &grouped {
        let group = name.split(['/', '_']).nth(1).expect("a group");
        sides.entry(group).or_default().insert(part);
    }
    assert_eq!(sides.len(), 12);
    assert!(sides.values().all(|parts| parts.len() == 1), "{sides:?}");
    assert!(["train", "val", "test"].iter().all(|part| sides.values().any(|parts| parts.contains(part))));
    // Every image that is not tested validates in exactly one fold.
    let mut validated = Vec::new();
    for fold in 0..4 {
        let file = format!("f{fold}.csv");
        let fold = format!("data.fold={fold}");
        danlu(folder)
            .args(["split", "photos", &file, "--set", "data.folds=4", "--set", &fold])
            .assert()
            .success();
        let all = parts(&folder.join(&file));
        validated.extend(all.into_iter().filter(|(_, part)| part == "val").map(|(name, _)| name));
    }
    let tested = parts(&folder.join("f0.csv")).iter().filter(|(_, part)| part == "test").count();
    validated.sort();
    assert_eq!(validated.len() + tested, 96);
    validated.dedup();
    assert_eq!(validated.len() + tested, 96);
    danlu(folder)
        .args([
            "train",
            "photos",
            "--network",
            "small",
            "--epochs",
            "1",
            "--batch-size",
            "16",
            "--lr",
            "0.01",
        ])
        .args(["--set", "network.width=8", "--set", "data.split_file=g.csv", "--name", "a"])
        .assert()
        .success();
    let output = danlu(folder)
        .args(["train", "photos", "--set", "data.order_by=date", "--set", "data.split=ordered"])
        .assert();
    let output = output.code(2);
    let text = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    assert!(text.contains("`data.order_by`") && text.contains("a list"), "{text}");
    let output = danlu(folder).args(["train", "photos.tar.gz"]).assert().code(2);
    assert!(String::from_utf8_lossy(&output.get_output().stderr).contains("no such file"));
    fs::write(folder.join("photos.tar.gz"), "x").expect("writes");
    let output = danlu(folder).args(["train", "photos.tar.gz"]).assert().code(2);
    let text = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    assert!(text.contains("gunzip -k photos.tar.gz"), "{text}");
}

#[test]
fn an_audit_finds_turned_and_cropped_copies_and_shows_them() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    photos(&folder.join("photos"), 40, 120);
    let open = |name: &str| image::open(folder.join("photos").join(name)).expect("opens");
    open("cat/p0_000.jpg").fliph().save(folder.join("photos/cat/mirrored.png")).expect("saves");
    open("dog/p0_001.jpg").rotate90().save(folder.join("photos/dog/turned.png")).expect("saves");
    let cropped = open("cat/p1_010.jpg").crop_imm(10, 20, 100, 90);
    cropped
        .resize_exact(150, 140, image::imageops::FilterType::Triangle)
        .save(folder.join("photos/cat/part.png"))
        .expect("saves");
    image::GrayImage::from_pixel(30, 30, image::Luma([9]))
        .save(folder.join("photos/dog/black.png"))
        .expect("saves");
    fs::write(folder.join("photos/cat/torn.jpg"), "no image").expect("writes");
    let output = danlu(folder).args(["audit", "photos", "--json", "--html", "audit.html"]).assert().success();
    let report: Value = serde_json::from_slice(&output.get_output().stdout).expect("JSON");
    let alike = |likeness: &str| -> Vec<Vec<String>> {
        let groups =
            report["near"].as_array().expect("a list").iter().filter(|group| group["likeness"] == likeness);
        groups
            .map(|group| {
                let images = group["images"].as_array().expect("a list").iter();
                images.map(|member| member["image"].as_str().expect("text").to_owned()).collect()
            })
            .collect()
    };
    assert_eq!(
        alike("turned"),
        [["cat/mirrored.png", "cat/p0_000.jpg"], ["dog/p0_001.jpg", "dog/turned.png"]]
    );
    assert_eq!(alike("cropped"), [["cat/p1_010.jpg", "cat/part.png"]]);
    assert_eq!(report["label_conflicts"], 0);
    let page = fs::read_to_string(folder.join("audit.html")).expect("reads");
    for text in [
        "mirrored or turned",
        "one is a part of the other",
        "cat/torn.jpg",
        "one colour all over",
        "stored as",
    ] {
        assert!(page.contains(text), "{text}");
    }
    assert!(page.matches("<img").count() >= 7, "thumbnails of every group and odd image");
}

#[test]
fn weights_of_a_list_and_repeats_reach_the_training() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    photos(&folder.join("photos"), 60, 24);
    let mut list = "path,label,w\n".to_owned();
    for i in 0..60 {
        let class = ["cat", "dog"][i % 2];
        list += &format!("photos/{class}/p{}_{i:03}.jpg,{class},{}\n", i / 8, i % 3);
    }
    fs::write(folder.join("list.csv"), &list).expect("writes");
    let train = |arguments: &[&str]| {
        danlu(folder)
            .args([
                "train",
                "list.csv",
                "--network",
                "small",
                "--epochs",
                "1",
                "--batch-size",
                "8",
                "--lr",
                "0.01",
            ])
            .args(["--set", "network.width=8"])
            .args(arguments)
            .assert()
    };
    let weighted = ["--set", "data.sampling=weighted", "--set", "data.weight_by=w"];
    train(&[&weighted[..], &["--set", "data.repeats=2", "--name", "a"]].concat()).success();
    train(&weighted[..2]).code(2);
    train(&weighted[2..]).code(2);
    fs::write(folder.join("list.csv"), list.replace(",0\n", ",-1\n")).expect("writes");
    let output = train(&weighted).code(2);
    let text = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    assert!(text.contains("line 2: the weight is `-1`"), "{text}");
}
