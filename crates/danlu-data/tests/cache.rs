//! The cache of decoded images: no pixel depends on it, it outlives the process and what happens to it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use danlu_data::{
    AugmentConfig, Batch, Cache, ColorJitter, DataConfig, Dataset, Loader, LoaderConfig, Part,
    RandomResizedCrop,
};

/// 40 photos of two classes, of several sizes.
fn photos(root: &Path) {
    for i in 0..40u32 {
        let path = root.join(["a", "b"][i as usize % 2]).join(format!("{i}.jpg"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let (width, height) = (60 + i % 7 * 9, 50 + i % 5 * 11);
        let image = image::RgbImage::from_fn(width, height, |x, y| {
            image::Rgb([(x * 3 + i * 5) as u8, (y * 4) as u8, ((x + y) * 2 + i) as u8])
        });
        image.save(path).unwrap();
    }
}

fn loader(data: &Arc<Dataset>, cache: Cache, folder: &Path, windows: bool, shrink: Option<usize>) -> Loader {
    let config = DataConfig {
        cache,
        cache_folder: Some(folder.to_string_lossy().into_owned()),
        shrink,
        ..DataConfig::default()
    };
    let augment = AugmentConfig {
        random_resized_crop: windows.then(RandomResizedCrop::default),
        color_jitter: Some(ColorJitter {
            brightness: 0.4,
            contrast: 0.4,
            saturation: 0.4,
            ..Default::default()
        }),
        ..AugmentConfig::default()
    };
    let config = LoaderConfig { workers: 2, ..LoaderConfig::train(&config, &augment, [32, 32], 8, 5) };
    Loader::new(data.clone(), Part::Train, config).unwrap()
}

fn two_epochs(loader: &Loader) -> Vec<Batch> {
    (0..2).flat_map(|epoch| loader.epoch(epoch, 0)).collect::<Result<_, _>>().unwrap()
}

fn cache_files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "cache"));
    files.sort();
    files
}

#[test]
fn no_pixel_depends_on_the_cache_and_the_next_run_decodes_nothing() {
    for (windows, shrink) in [(false, None), (true, None), (true, Some(40))] {
        let [root, folder] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        photos(root.path());
        let data = Arc::new(Dataset::open(root.path(), &DataConfig::default()).unwrap());
        let plain = two_epochs(&loader(&data, Cache::Ram, folder.path(), windows, shrink));
        if !cfg!(feature = "turbo") || shrink.is_some() || !windows {
            assert_eq!(plain, two_epochs(&loader(&data, Cache::Off, folder.path(), windows, shrink)));
        }
        let first = loader(&data, Cache::Disk, folder.path(), windows, shrink);
        assert_eq!(plain, two_epochs(&first), "windows {windows}, shrink {shrink:?}");
        assert_eq!((first.cache().place, first.cache().filled), ("disk", data.train.len()));
        // Without a single image left, the same batches come out of the file.
        for &sample in &data.train.samples {
            fs::remove_file(data.file(sample).unwrap()).unwrap();
        }
        let second = loader(&data, Cache::Disk, folder.path(), windows, shrink);
        assert_eq!(second.cache().filled, data.train.len());
        assert_eq!(plain, two_epochs(&second));
        assert_eq!(second.cache().damaged, 0);
        assert_eq!(cache_files(folder.path()).len(), 1);
    }
}

#[test]
fn other_images_another_size_and_another_way_have_files_of_their_own() {
    let [root, folder] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    photos(root.path());
    let open = |config: &DataConfig| Arc::new(Dataset::open(root.path(), config).unwrap());
    let data = open(&DataConfig::default());
    drop(loader(&data, Cache::Disk, folder.path(), false, None));
    drop(loader(&data, Cache::Disk, folder.path(), true, None));
    drop(loader(&data, Cache::Disk, folder.path(), true, Some(40)));
    assert_eq!(cache_files(folder.path()).len(), 3);
    // Another split of the same images shares the file: folds, studies.
    let other = open(&DataConfig { split_seed: 9, folds: Some(4), fold: 1, ..DataConfig::default() });
    assert_ne!(other.fingerprint, data.fingerprint);
    drop(loader(&other, Cache::Disk, folder.path(), false, None));
    assert_eq!(cache_files(folder.path()).len(), 3);
    fs::copy(data.file(0).unwrap(), root.path().join("a/new.jpg")).unwrap();
    drop(loader(&open(&DataConfig::default()), Cache::Disk, folder.path(), false, None));
    assert_eq!(cache_files(folder.path()).len(), 4);
}

#[test]
fn a_damaged_file_costs_decoding_again_and_is_told() {
    let [root, folder] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    photos(root.path());
    let data = Arc::new(Dataset::open(root.path(), &DataConfig::default()).unwrap());
    let expected = two_epochs(&loader(&data, Cache::Disk, folder.path(), false, None));
    let path = cache_files(folder.path()).remove(0);
    let good = fs::read(&path).unwrap();
    // A byte in the pixels of one image; a lost checksum; a torn header; a file cut short; no file.
    let mut pixels = good.clone();
    *pixels.iter_mut().rev().find(|byte| **byte != 0).unwrap() ^= 1;
    let mut sums = good.clone();
    sums[4096..4096 + 64].fill(0);
    let mut header = good.clone();
    header[3] ^= 1;
    for (bytes, damaged) in
        [(pixels, 1), (sums, 0), (header, 0), (good[..good.len() / 2].to_vec(), 0), (Vec::new(), 0)]
    {
        fs::write(&path, bytes).unwrap();
        let loader = loader(&data, Cache::Disk, folder.path(), false, None);
        assert_eq!(expected, two_epochs(&loader));
        assert_eq!((loader.cache().damaged, loader.cache().filled), (damaged, data.train.len()));
    }
}

#[test]
fn several_loaders_fill_one_file_at_once() {
    let [root, folder] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    photos(root.path());
    let data = Arc::new(Dataset::open(root.path(), &DataConfig::default()).unwrap());
    let expected = two_epochs(&loader(&data, Cache::Off, folder.path(), false, None));
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let loader = loader(&data, Cache::Disk, folder.path(), false, None);
                assert_eq!(expected, two_epochs(&loader));
                assert_eq!(loader.cache().damaged, 0);
            });
        }
    });
    assert_eq!(cache_files(folder.path()).len(), 1);
}

#[test]
fn a_file_that_grows_after_the_data_set_was_opened_is_not_kept_in_another_shape() {
    let [root, folder] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    photos(root.path());
    let data = Arc::new(Dataset::open(root.path(), &DataConfig::default()).unwrap());
    let changed = data.train.samples[2];
    image::RgbImage::from_fn(200, 100, |x, y| image::Rgb([x as u8, y as u8, 7]))
        .save(data.file(changed).unwrap())
        .unwrap();
    let loader = loader(&data, Cache::Disk, folder.path(), true, None);
    assert_eq!(two_epochs(&loader).iter().map(|batch| batch.len()).sum::<usize>(), 2 * data.train.len());
    assert_eq!(loader.cache().filled, data.train.len() - 1);
}
