//! Data sets of every supported shape, opened, split and loaded; and bad ones refused.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use danlu_data::{
    AugmentConfig, DataConfig, DataError, Dataset, HorizontalFlip, Loader, LoaderConfig, Origin, Part,
    RandomCrop, Sampling, channel_stats, load_image,
};

fn write_image(path: &Path, seed: u8) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let image = image::RgbImage::from_fn(20, 16, |x, y| image::Rgb([seed, (x * 9) as u8, (y * 11) as u8]));
    image.save(path).unwrap();
}

fn class_folders(root: &Path, classes: &[&str], each: usize) {
    for (number, class) in classes.iter().enumerate() {
        for i in 0..each {
            write_image(&root.join(class).join(format!("{i}.png")), (number * 100 + i) as u8);
        }
    }
}

fn idx(shape: &[u32], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, shape.len() as u8];
    shape.iter().for_each(|n| bytes.extend(n.to_be_bytes()));
    bytes.extend(data);
    bytes
}

fn open(path: &Path) -> Result<Dataset, DataError> {
    Dataset::open(path, &DataConfig::default())
}

#[test]
fn the_demo_has_a_given_test_set_and_holds_a_fifth_out_for_validation() {
    let data = Dataset::demo(&DataConfig::default()).unwrap();
    assert_eq!([data.train.len(), data.val.len(), data.test.len()], [4800, 1200, 1000]);
    assert_eq!(data.val.origin, Origin::HeldOut(0.2));
    assert_eq!(data.test.origin, Origin::Given);
    assert_eq!((data.channels, data.classes[9].as_str()), (1, "Ankle boot"));
    assert_eq!(data.class_counts(Part::Train), vec![480; 10]);
    assert_eq!(data.class_counts(Part::Val), vec![120; 10]);
    assert_eq!(data.suggested_image_size(), 28);
}

#[test]
fn class_folders_without_parts_give_15_percent_to_the_test_then_a_fifth_of_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    class_folders(folder.path(), &["dog", "cat"], 20);
    write_image(&folder.path().join(".hidden/1.png"), 0);
    fs::write(folder.path().join("cat/notes.txt"), "not an image").unwrap();
    let data = open(folder.path()).unwrap();
    assert_eq!(data.classes, ["cat", "dog"]);
    // 3 of 20 test, then round(17 * 0.2) = 3 validation.
    assert_eq!([data.train.len(), data.val.len(), data.test.len()], [28, 6, 6]);
    let mut all = [&data.train, &data.val, &data.test].map(|s| s.samples.clone()).concat();
    all.sort_unstable();
    assert_eq!(all, (0..40).collect::<Vec<_>>(), "every image is in exactly one part");
    let again = open(folder.path()).unwrap();
    assert_eq!(again.fingerprint, data.fingerprint);
    write_image(&folder.path().join("cat/0.png"), 250);
    assert_ne!(
        open(folder.path()).unwrap().fingerprint,
        data.fingerprint,
        "changed data, another fingerprint"
    );
}

#[test]
fn given_parts_are_matched_by_the_name_of_the_class() {
    let folder = tempfile::tempdir().unwrap();
    class_folders(&folder.path().join("train"), &["a", "b", "c"], 4);
    class_folders(&folder.path().join("valid"), &["b", "c"], 2);
    class_folders(&folder.path().join("test"), &["c"], 1);
    let data = open(folder.path()).unwrap();
    assert_eq!([data.train.len(), data.val.len(), data.test.len()], [12, 4, 1]);
    assert_eq!(data.label(data.test.samples[0]), 2, "alone in its folder, `c` is still class 2");
    class_folders(&folder.path().join("test"), &["C2"], 1);
    let error = open(folder.path()).unwrap_err();
    assert!(matches!(&error, DataError::UnknownClass { class, .. } if class == "C2"), "{error}");
}

#[test]
fn an_idx_training_pair_without_a_test_set_is_split() {
    let folder = tempfile::tempdir().unwrap();
    let labels: Vec<u8> = (0..40).map(|i| i % 2 * 3).collect();
    let pixels: Vec<u8> = (0..40 * 6).map(|i| i as u8).collect();
    fs::write(folder.path().join("train-images-idx3-ubyte"), idx(&[40, 2, 3], &pixels)).unwrap();
    fs::write(folder.path().join("train-labels-idx1-ubyte"), idx(&[40], &labels)).unwrap();
    let data = open(folder.path()).unwrap();
    assert_eq!(data.classes, ["0", "3"]);
    assert_eq!([data.train.len(), data.val.len(), data.test.len()], [28, 6, 6]);
    let image = data.decode(7).unwrap();
    assert_eq!((image.height, image.width), (2, 3));
    assert_eq!(image.data, pixels[42..48]);
}

#[test]
fn bad_data_sets_are_refused_with_their_own_error() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    assert!(matches!(open(&root.join("nowhere")), Err(DataError::NotFound { .. })));
    assert!(matches!(open(root), Err(DataError::Empty { .. })));
    fs::write(root.join("file"), "x").unwrap();
    assert!(matches!(open(&root.join("file")), Err(DataError::NotADataset { .. })));

    class_folders(&root.join("one"), &["only"], 5);
    assert!(matches!(open(&root.join("one")), Err(DataError::OneClass { .. })));
    class_folders(&root.join("small"), &["a"], 9);
    class_folders(&root.join("small"), &["b"], 1);
    match open(&root.join("small")) {
        Err(DataError::ClassTooSmall { class, count: 1, needed: 3, .. }) => assert_eq!(class, "b"),
        other => panic!("{other:?}"),
    }
    write_image(&root.join("flat/1.png"), 1);
    assert!(matches!(open(&root.join("flat")), Err(DataError::NoClassFolders { count: 1, .. })));
    class_folders(&root.join("notrain/test"), &["a", "b"], 2);
    assert!(matches!(open(&root.join("notrain")), Err(DataError::NoTrainingSet { .. })));
    for class in ["a", "b"] {
        fs::create_dir_all(root.join("broken").join(class)).unwrap();
        fs::write(root.join("broken").join(class).join("1.jpg"), "this is text").unwrap();
    }
    match open(&root.join("broken")) {
        Err(error @ DataError::TooManyBroken { broken: 2, total: 2, .. }) => {
            assert!(error.to_string().contains("not an image"), "{error}");
            assert!(error.hint().is_some());
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn damaged_idx_files_are_named_with_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("train-images-idx3-ubyte");
    fs::write(folder.path().join("train-labels-idx1-ubyte"), idx(&[2], &[0, 1])).unwrap();
    let reason = |bytes: &[u8]| {
        fs::write(&images, bytes).unwrap();
        match open(folder.path()) {
            Err(error @ DataError::Format { .. }) => error.to_string(),
            other => panic!("{other:?}"),
        }
    };
    assert!(reason(&[1, 2, 3, 4, 5, 6, 7, 8]).contains("magic"));
    assert!(reason(&[0, 0, 8]).contains("ends within its header"));
    assert!(reason(&idx(&[2, 2, 2], &[0; 7])).contains("7 bytes"));
    assert!(reason(&idx(&[2, 2, 2], &[0; 9])).contains("more data"));
    assert!(reason(&idx(&[3, 2, 2], &[0; 12])).contains("labels of shape"));
    assert!(reason(&idx(&[2, 60_000, 60_000], &[0; 8])).contains("60000 x 60000"));
    fs::remove_file(&images).unwrap();
    assert!(open(folder.path()).unwrap_err().to_string().contains("partner is missing"));
}

/// Debian's packages hold them packed, the sites' archives too; both kinds may lie side by side.
#[test]
fn packed_idx_files_give_the_same_images_and_a_damaged_one_is_named() {
    use std::io::Write;
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let labels: Vec<u8> = (0..40).map(|i| i % 2).collect();
    let pixels: Vec<u8> = (0..40 * 6).map(|i| i as u8).collect();
    let (images, labels) = (idx(&[40, 2, 3], &pixels), idx(&[40], &labels));
    let [plain, packed] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    fs::write(plain.path().join("train-images-idx3-ubyte"), &images).unwrap();
    fs::write(plain.path().join("train-labels-idx1-ubyte"), &labels).unwrap();
    fs::write(packed.path().join("train-images-idx3-ubyte.gz"), gzip(&images)).unwrap();
    fs::write(packed.path().join("train-labels.idx1-ubyte"), &labels).unwrap();
    let [a, b] = [&plain, &packed].map(|folder| open(folder.path()).unwrap());
    assert_eq!(a.train.samples, b.train.samples);
    for index in [0, 7, 39] {
        assert_eq!(a.decode(index).unwrap().data, b.decode(index).unwrap().data);
        assert_eq!(a.label(index), b.label(index));
    }

    let mut torn = gzip(&images);
    torn.truncate(torn.len() / 2);
    fs::write(packed.path().join("train-images-idx3-ubyte.gz"), torn).unwrap();
    let error = open(packed.path()).unwrap_err();
    assert!(error.to_string().contains("train-images-idx3-ubyte.gz"), "{error}");
    let mut bent = gzip(&images);
    let middle = bent.len() / 2;
    bent[middle..].fill(0xff);
    fs::write(packed.path().join("train-images-idx3-ubyte.gz"), bent).unwrap();
    assert!(open(packed.path()).unwrap_err().to_string().contains("gzip"));
}

#[test]
fn a_few_broken_images_are_listed_and_left_out() {
    let folder = tempfile::tempdir().unwrap();
    class_folders(folder.path(), &["a", "b"], 30);
    let good = folder.path().join("a/good.jpg");
    image::RgbImage::from_fn(64, 64, |x, y| image::Rgb([(x * y) as u8, x as u8, y as u8]))
        .save(&good)
        .unwrap();
    let bytes = fs::read(&good).unwrap();
    fs::write(folder.path().join("a/cut.jpg"), &bytes[..bytes.len() / 2]).unwrap();
    fs::write(folder.path().join("b/empty.png"), "").unwrap();
    let data = open(folder.path()).unwrap();
    let names: Vec<_> = data.broken.iter().map(|b| b.path.to_string_lossy().into_owned()).collect();
    assert_eq!(names, ["a/cut.jpg", "b/empty.png"]);
    assert_eq!(data.len(), 61);
}

#[test]
fn a_bomb_is_refused_before_memory_is_taken_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bomb.bmp");
    // A BMP header that claims 65000 x 65000 pixels of 24 bits.
    let mut bytes = b"BM".to_vec();
    bytes.extend([0u8; 8]);
    bytes.extend(54u32.to_le_bytes());
    bytes.extend(40u32.to_le_bytes());
    bytes.extend(65_000i32.to_le_bytes());
    bytes.extend(65_000i32.to_le_bytes());
    bytes.extend([1, 0, 24, 0]);
    bytes.extend([0u8; 24]);
    fs::write(&path, bytes).unwrap();
    let error = load_image(&path, 3, &DataConfig::default()).unwrap_err().to_string();
    assert!(error.contains("65000 x 65000"), "{error}");
}

fn demo_loader(batch_size: usize, workers: usize, sampling: Sampling) -> Loader {
    let config = DataConfig { limit: Some(0.05), sampling, ..DataConfig::default() };
    let augment = AugmentConfig {
        random_crop: Some(RandomCrop::default()),
        horizontal_flip: Some(HorizontalFlip::default()),
        ..AugmentConfig::default()
    };
    let data = Arc::new(Dataset::demo(&config).unwrap());
    let loader = LoaderConfig { workers, ..LoaderConfig::train(&config, &augment, [28, 28], batch_size, 7) };
    Loader::new(data, Part::Train, loader).unwrap()
}

#[test]
fn an_epoch_is_every_training_image_once_whatever_the_threads() {
    let (one, three) = (demo_loader(32, 1, Sampling::Shuffle), demo_loader(32, 3, Sampling::Shuffle));
    let batches = |loader: &Loader, first| loader.epoch(2, first).collect::<Result<Vec<_>, _>>().unwrap();
    let all = batches(&one, 0);
    assert_eq!(all, batches(&three, 0));
    assert_eq!(all[3..], batches(&three, 3), "a resume inside the epoch goes on with the same batches");
    assert_eq!(all[5], three.batch(2, 5).unwrap());
    let mut seen: Vec<u32> = all.iter().flat_map(|batch| batch.samples.clone()).collect();
    assert_ne!(seen, one.dataset().train.samples, "shuffled");
    seen.sort_unstable();
    assert_eq!(seen, one.dataset().train.samples);
    assert_ne!(all[0].samples, one.batch(3, 0).unwrap().samples, "another order in another epoch");
    assert_eq!(all.len(), one.batches_per_epoch());
}

#[test]
fn a_last_batch_that_is_not_full_is_left_out_where_that_is_asked_for() {
    let make = |drop_last, batch_size| {
        let config = DataConfig { limit: Some(0.05), drop_last, ..DataConfig::default() };
        let data = Arc::new(Dataset::demo(&config).unwrap());
        let loader = LoaderConfig::train(&config, &AugmentConfig::default(), [28, 28], batch_size, 7);
        Loader::new(data, Part::Train, loader).unwrap()
    };
    let samples = |loader: &Loader, epoch| -> Vec<Vec<u32>> {
        loader.epoch(epoch, 0).map(|batch| batch.unwrap().samples).collect()
    };
    // 240 images in batches of 64: 3 are full, 48 images are left.
    let (kept, dropped) = (make(false, 64), make(true, 64));
    assert_eq!((kept.len(), kept.batches_per_epoch(), dropped.batches_per_epoch()), (240, 4, 3));
    let (all, full) = (samples(&kept, 1), samples(&dropped, 1));
    assert_eq!(all.iter().map(Vec::len).collect::<Vec<_>>(), [64, 64, 64, 48]);
    assert_eq!(full, all[..3], "the others are the same");
    // Another epoch leaves other images out.
    let mut next: Vec<u32> = samples(&dropped, 2).concat();
    assert!(all[3].iter().any(|sample| next.contains(sample)));
    // Nothing is left out where every batch is full, nor ever of an evaluation.
    assert_eq!(samples(&make(true, 60), 1).concat().len(), 240);
    let config = DataConfig { limit: Some(0.05), drop_last: true, ..DataConfig::default() };
    let evaluate = LoaderConfig::evaluate(&config, [28, 28], 64);
    let loader = Loader::new(dropped.dataset().clone(), Part::Train, evaluate).unwrap();
    next = samples(&loader, 0).concat();
    assert_eq!(next, dropped.dataset().train.samples);
}

#[test]
fn class_balanced_sampling_draws_every_class_about_equally() {
    let folder = tempfile::tempdir().unwrap();
    class_folders(folder.path(), &["a"], 200);
    class_folders(folder.path(), &["b"], 20);
    let config = DataConfig { sampling: Sampling::ClassBalanced, ..DataConfig::default() };
    let data = Arc::new(Dataset::open(folder.path(), &config).unwrap());
    let loader_config = LoaderConfig::train(&config, &AugmentConfig::default(), [16, 16], 10, 1);
    let loader = Loader::new(data, Part::Train, loader_config).unwrap();
    let labels: Vec<u32> = (0..5).flat_map(|e| loader.epoch(e, 0)).flat_map(|b| b.unwrap().labels).collect();
    let share = labels.iter().filter(|&&l| l == 1).count() as f64 / labels.len() as f64;
    assert!((share - 0.5).abs() < 0.08, "{share}");
}

#[test]
fn limited_sets_are_nested_and_stratified() {
    let with = |limit| Dataset::demo(&DataConfig { limit: Some(limit), ..DataConfig::default() }).unwrap();
    let (small, large) = (with(0.05), with(0.1));
    assert_eq!(small.class_counts(Part::Train), vec![24; 10]);
    assert!(small.train.samples.iter().all(|sample| large.train.samples.contains(sample)));
    assert_eq!(small.fingerprint, large.fingerprint);
}

#[test]
fn a_file_that_vanishes_during_training_is_skipped_and_told() {
    let folder = tempfile::tempdir().unwrap();
    class_folders(folder.path(), &["a", "b"], 10);
    let data = Arc::new(open(folder.path()).unwrap());
    let gone = data.train.samples[3];
    fs::remove_file(data.file(gone).unwrap()).unwrap();
    let config = LoaderConfig::evaluate(&DataConfig::default(), [16, 16], 8);
    let loader = Loader::new(data, Part::Train, config).unwrap();
    let batch = loader.epoch(0, 0).next().unwrap().unwrap();
    assert_eq!(batch.shape, [7, 16, 16, 3]);
    assert_eq!(batch.skipped.len(), 1);
    assert_eq!(batch.skipped[0].0, gone);
    assert!(!batch.samples.contains(&gone));
}

#[test]
fn a_batch_larger_than_the_training_set_is_refused() {
    let config = DataConfig { limit: Some(0.01), ..DataConfig::default() };
    let data = Arc::new(Dataset::demo(&config).unwrap());
    let loader = LoaderConfig::train(&config, &AugmentConfig::default(), [28, 28], 64, 0);
    match Loader::new(data, Part::Train, loader) {
        Err(DataError::BatchTooLarge { batch_size: 64, len: 50, .. }) => {}
        other => panic!("{:?}", other.map(|loader| loader.len())),
    }
}

#[test]
fn mean_and_standard_deviation_of_the_demo_are_fashion_mnists() {
    let config = DataConfig::default();
    let data = Dataset::demo(&config).unwrap();
    let stats = channel_stats(&data, &LoaderConfig::evaluate(&config, [28, 28], 64)).unwrap();
    assert_eq!(stats.images, 4800);
    // The published 0.2860 and 0.3530 of the whole set.
    assert!((stats.mean[0] - 0.286).abs() < 0.005, "{:?}", stats.mean);
    assert!((stats.std[0] - 0.353).abs() < 0.005, "{:?}", stats.std);
}

#[test]
fn evaluation_on_other_data_uses_the_networks_classes() {
    let folder = tempfile::tempdir().unwrap();
    class_folders(folder.path(), &["b"], 3);
    let classes = ["a".to_owned(), "b".to_owned()];
    let data = Dataset::open_for_evaluation(folder.path(), &DataConfig::default(), &classes).unwrap();
    assert_eq!(data.test.len(), 3);
    assert!(data.test.samples.iter().all(|&sample| data.label(sample) == 1));
}

#[test]
fn values_out_of_range_are_named() {
    let config = DataConfig { val_fraction: 1.5, ..DataConfig::default() };
    let error = Dataset::demo(&config).unwrap_err().to_string();
    assert!(error.contains("`data.val_fraction` is 1.5"), "{error}");
}
