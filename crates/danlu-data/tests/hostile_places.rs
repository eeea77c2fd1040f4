//! Folders and drives that misbehave: links in circles, names that are no text, files that change while a training runs, drives that stall.
#![cfg(unix)]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use danlu_data::{
    AuditOptions, DataConfig, DataError, Dataset, Loader, LoaderConfig, Part, audit, write_split,
};

fn write_image(path: &Path, seed: u8) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let image = image::RgbImage::from_fn(20, 16, |x, y| image::Rgb([seed, (x * 9) as u8, (y * 11) as u8]));
    image.save_with_format(path, image::ImageFormat::Png).unwrap();
}

fn class_folders(root: &Path, each: usize) {
    for (number, class) in ["a", "b"].iter().enumerate() {
        (0..each)
            .for_each(|i| write_image(&root.join(class).join(format!("{i}.png")), (number * 100 + i) as u8));
    }
}

#[test]
fn links_in_circles_end_and_links_to_nowhere_are_told() {
    let folder = tempfile::tempdir().unwrap();
    class_folders(folder.path(), 10);
    symlink("..", folder.path().join("a/up")).unwrap();
    symlink(".", folder.path().join("b/here")).unwrap();
    symlink("loop", folder.path().join("a/loop")).unwrap();
    symlink("nowhere.png", folder.path().join("a/gone.png")).unwrap();
    symlink("0.png", folder.path().join("a/copy.png")).unwrap();
    let data =
        Dataset::open(folder.path(), &DataConfig { max_broken: 0.2, ..DataConfig::default() }).unwrap();
    assert_eq!(data.len(), 21, "a link to a file is that file");
    let found = data.found.join("\n");
    assert_eq!(found.matches("leads back to a folder above it").count(), 2, "{found}");
    let broken: Vec<String> = data.broken.iter().map(|broken| broken.path.display().to_string()).collect();
    assert_eq!(broken, ["a/gone.png", "a/loop"]);
}

#[test]
fn names_that_are_no_text_are_kept_apart_in_split_files_and_classes() {
    let folder = tempfile::tempdir().unwrap();
    class_folders(folder.path(), 10);
    let odd = |bytes: &[u8]| folder.path().join("a").join(OsStr::from_bytes(bytes));
    write_image(&odd(b"caf\xe9.png"), 200);
    write_image(&odd(b"caf\xe8.png"), 201);
    write_image(&folder.path().join("a/#1, \"x\".png"), 202);
    for i in 0..6 {
        let class = folder.path().join(OsStr::from_bytes(b"\xff"));
        write_image(&class.join(format!("{i}.png")), 210 + i);
    }
    write_image(&folder.path().join("#hash/0.png"), 220);
    (1..6).for_each(|i| write_image(&folder.path().join(format!("#hash/{i}.png")), 220 + i));
    let data = Dataset::open(folder.path(), &DataConfig::default()).unwrap();
    assert_eq!(data.classes, ["#hash", "\\xff", "a", "b"]);
    let mut names: Vec<String> = (0..data.len() as u32).map(|sample| data.name(sample)).collect();
    assert!(names.contains(&"a/caf\\xe9.png".to_owned()) && names.contains(&"a/caf\\xe8.png".to_owned()));
    names.sort();
    names.dedup();
    assert_eq!(names.len(), data.len());
    let split = folder.path().join("../split.csv");
    let split = split.parent().unwrap().join(format!("split-{}.csv", std::process::id()));
    write_split(&split, &data).unwrap();
    let config =
        DataConfig { split_file: Some(split.to_string_lossy().into_owned()), ..DataConfig::default() };
    let again = Dataset::open(folder.path(), &config);
    fs::remove_file(&split).unwrap();
    let again = again.unwrap();
    assert_eq!(again.fingerprint, data.fingerprint, "{:?}", again.found);
}

#[test]
fn a_folder_that_changes_during_training_costs_only_what_changed() {
    let folder = tempfile::tempdir().unwrap();
    class_folders(folder.path(), 20);
    let data = Arc::new(Dataset::open(folder.path(), &DataConfig::default()).unwrap());
    let file = |place: usize| data.file(data.train.samples[place]).unwrap();
    let config = LoaderConfig::evaluate(&DataConfig::default(), [16, 16], 4);
    let loader = Loader::new(data.clone(), Part::Train, LoaderConfig { workers: 2, ..config }).unwrap();
    let before: usize = loader.epoch(0, 0).map(|batch| batch.unwrap().len()).sum();
    assert_eq!(before, 28);
    let loader =
        Loader::new(data.clone(), Part::Train, LoaderConfig { workers: 2, ..loader.config().clone() })
            .unwrap();
    fs::remove_file(file(0)).unwrap(); // vanished
    let bytes = fs::read(file(5)).unwrap();
    fs::write(file(5), &bytes[..bytes.len() / 2]).unwrap(); // being copied anew
    fs::remove_file(file(9)).unwrap();
    fs::create_dir(file(9)).unwrap(); // a folder of that name
    fs::remove_file(file(13)).unwrap();
    symlink("/dev/zero", file(13)).unwrap(); // a device without an end
    write_image(&folder.path().join("a/new.png"), 250); // added: not part of this data set
    let batches: Vec<_> = loader.epoch(0, 0).map(Result::unwrap).collect();
    let mut skipped: Vec<u32> =
        batches.iter().flat_map(|batch| &batch.skipped).map(|(sample, _)| *sample).collect();
    skipped.sort_unstable();
    assert_eq!(skipped, [0, 5, 9, 13].map(|place| data.train.samples[place]));
    assert_eq!(batches.iter().map(|batch| batch.len()).sum::<usize>(), 24);
    // All of a batch: an error that names an image.
    (0..28).for_each(|place| drop(fs::remove_file(file(place))));
    let fresh = Loader::new(data.clone(), Part::Train, loader.config().clone()).unwrap();
    let error = fresh.epoch(0, 0).find_map(Result::err).unwrap().to_string();
    assert!(error.contains("no image of its batch can be read"), "{error}");
}

/// A pipe that nobody writes to is what a drive that has gone away looks like: opening it does not come back.
fn stalls(path: &Path) {
    let _ = fs::remove_file(path);
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn a_drive_that_stalls_is_an_error_and_no_hang() {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("parts.tar");
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/archives/parts.tar"), &archive).unwrap();
    let config = DataConfig { read_timeout: 1, ..DataConfig::default() };
    let data = Arc::new(Dataset::open(&archive, &config).unwrap());
    let loader = Loader::new(data, Part::Train, LoaderConfig::evaluate(&config, [8, 8], 2)).unwrap();
    stalls(&archive);
    match loader.epoch(0, 0).next().unwrap() {
        Err(error @ DataError::Stalled { seconds: 1, .. }) => {
            assert!(error.hint().unwrap().contains("danlu resume"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    // Opening a data set whose list does not come.
    let list = folder.path().join("train.csv");
    stalls(&list);
    fs::remove_file(&archive).unwrap();
    // (A pipe of its own is refused as no file; beside others it is left out.)
    assert!(matches!(Dataset::open(&list, &config), Err(DataError::NotADataset { .. })));
    let idx = folder.path().join("digits");
    fs::create_dir(&idx).unwrap();
    fs::write(idx.join("real"), "x").unwrap();
    let images = idx.join("train-images-idx3-ubyte");
    stalls(&idx.join("pipe"));
    symlink("pipe", &images).unwrap();
    assert!(Dataset::open(&idx, &config).is_err(), "and no hang");
}

#[test]
fn an_audit_reads_names_that_are_no_text() {
    let folder = tempfile::tempdir().unwrap();
    class_folders(folder.path(), 8);
    write_image(&folder.path().join("a").join(OsStr::from_bytes(b"\xe9.jpg")), 8);
    fs::write(folder.path().join("b").join(OsStr::from_bytes(b"\xe8.png")), "text").unwrap();
    let config = DataConfig { max_broken: 0.2, ..DataConfig::default() };
    let (found, _) = audit(folder.path(), &config, AuditOptions::default()).unwrap();
    assert_eq!(found.wrongly_named[0].image, "a/\\xe9.jpg");
    assert_eq!(found.broken[0].image, "b/\\xe8.png");
}
