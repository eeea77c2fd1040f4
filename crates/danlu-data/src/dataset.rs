//! A data set: found by looking, its classes mapped, its images split.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::decode::{decode, decode_window};
use crate::listing::{self, Listing};
use crate::parts::Parts;
use crate::resize::Window;
use crate::split;
use crate::store::Store;
use crate::{DataConfig, DataError, Pixels, Sampling, SplitBy, packed, stall};

/// The three parts of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// Trains the weights.
    Train,
    /// Chooses the hyper-parameters; its error is optimistic.
    Val,
    /// Estimates the error on new images, once, at the end.
    Test,
}

impl Part {
    /// `training`, `validation` or `test`.
    pub fn name(self) -> &'static str {
        match self {
            Part::Train => "training",
            Part::Val => "validation",
            Part::Test => "test",
        }
    }
}

/// Where a part comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Origin {
    /// The data set brings it.
    Given,
    /// Held out of the training images: this share of them, stratified.
    HeldOut(f64),
    /// There is none.
    Absent,
}

/// One part of a data set.
#[derive(Clone, Debug, PartialEq)]
pub struct Subset {
    /// Numbers of its samples in the data set, ascending.
    pub samples: Vec<u32>,
    /// Where it comes from.
    pub origin: Origin,
}

impl Subset {
    /// How many images.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// True where the part has none.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }
}

/// What a data set was recognised as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The embedded demo.
    Demo,
    /// IDX files (MNIST and its kin).
    Idx,
    /// One folder a class.
    ClassFolders,
    /// `train/`, `val/`, `test/`, each with one folder a class.
    PartFolders,
    /// The binary files of CIFAR-10 or CIFAR-100.
    Cifar,
    /// A list of images (CSV, TSV, JSON lines).
    List,
    /// A zip or tar archive, or WebDataset's shards.
    Archive,
}

/// An image that was left out, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The file, relative to the data set where it lies in it.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// The sizes of the images, `[height, width]` in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Smallest height and smallest width.
    pub min: [usize; 2],
    /// Median of each.
    pub median: [usize; 2],
    /// Largest of each.
    pub max: [usize; 2],
}

/// A data set on disk or in memory.
#[derive(Debug)]
pub struct Dataset {
    /// Where it lies (`demo` for the demo).
    pub path: PathBuf,
    /// What it was recognised as.
    pub format: Format,
    /// The classes of the training set; the number of a class is its place here.
    pub classes: Vec<String>,
    /// 1 (grey) or 3 (RGB).
    pub channels: usize,
    /// The sizes of the images.
    pub sizes: Sizes,
    /// Training images.
    pub train: Subset,
    /// Validation images.
    pub val: Subset,
    /// Test images.
    pub test: Subset,
    /// What was found and decided, in words, a line each.
    pub found: Vec<String>,
    /// Images that were left out.
    pub broken: Vec<Broken>,
    /// Names data, classes and split (hexadecimal, 64 digits): a run may go on where it is the same. It covers the relative
    /// path, the class, the part, the size and the content of every image, before `limit`. Files over 128 KiB count
    /// with their first and last 64 KiB, so that opening a large set stays quick; times of files do not count.
    pub fingerprint: String,
    /// Names the contents of the test set; the key of its ledger.
    pub test_fingerprint: String,
    labels: Vec<u32>,
    /// Empty: all alike.
    weights: Vec<f64>,
    /// Empty: all of one size.
    shapes: Vec<[u32; 2]>,
    /// Of the digests of all images in their order.
    contents: [u8; 32],
    store: Store,
    config: DataConfig,
}

impl Dataset {
    /// Opens a data set, finding out its format by looking.
    ///
    /// # Errors
    /// Every variant of [`DataError`] but `Write` and `BatchTooLarge`; nothing is written in any case.
    pub fn open(path: &Path, config: &DataConfig) -> Result<Self, DataError> {
        config.validate()?;
        let (path, config) = (path.to_owned(), config.clone());
        stall::watched(&path.clone(), Duration::from_secs(config.read_timeout), move || {
            let mut listing = listing::find(&path, &config, None)?;
            listing.apply_split_file(&path, &config)?;
            listing.find_groups(&config)?;
            Self::assemble(path, listing, &config)
        })
    }

    /// Opens a data set to evaluate a trained network on it: the classes are the network's, matched by name, and where the
    /// data set has no parts, all of it is the test set.
    ///
    /// # Errors
    /// As [`Dataset::open`]; [`DataError::UnknownClass`] for a class that the network does not know.
    pub fn open_for_evaluation(
        path: &Path,
        config: &DataConfig,
        classes: &[String],
    ) -> Result<Self, DataError> {
        // Nothing is held out of what is only looked at, and columns of the training list need not be there.
        let config = DataConfig {
            val_fraction: 0.0,
            test_fraction: 0.0,
            split_file: None,
            group: None,
            order_by: None,
            weight_by: None,
            sampling: Sampling::Sequential,
            split: SplitBy::Stratified,
            folds: None,
            fold: 0,
            ..config.clone()
        };
        config.validate()?;
        let (path, classes) = (path.to_owned(), classes.to_vec());
        stall::watched(&path.clone(), Duration::from_secs(config.read_timeout), move || {
            let mut listing = listing::find(&path, &config, Some(&classes))?;
            if listing.parts.iter().all(Option::is_none) {
                listing.parts.fill(Some(Part::Test));
            }
            Self::assemble(path, listing, &config)
        })
    }

    /// The embedded demo: 6,000 training and 1,000 test images of Fashion-MNIST, 28x28, grey.
    ///
    /// # Errors
    /// [`DataError::Config`].
    pub fn demo(config: &DataConfig) -> Result<Self, DataError> {
        config.validate()?;
        let path = PathBuf::from("demo");
        let mut listing = packed::demo(&path, config)?;
        listing.found.push("the demo, a subset of Fashion-MNIST (MIT licence)".into());
        listing.apply_split_file(&path, config)?;
        listing.find_groups(config)?;
        Self::assemble(path, listing, config)
    }

    fn assemble(path: PathBuf, listing: Listing, config: &DataConfig) -> Result<Self, DataError> {
        let channels = config.channels.unwrap_or(listing.channels);
        for (key, column, values) in [
            ("data.order_by", &config.order_by, listing.orders.len()),
            ("data.weight_by", &config.weight_by, listing.weights.len()),
        ] {
            if let (Some(column), 0) = (column, values) {
                return Err(DataError::config(
                    key,
                    format!("`{column}`"),
                    "a list (CSV, TSV, JSON lines) as data set: only it has columns",
                ));
            }
        }
        let Parts { mut train, mut val, mut test, mut found } = Parts::of(&path, &listing, config)?;
        let Listing { format, classes, labels, digests, store, sizes, broken, weights, shapes, .. } = listing;
        if !weights.is_empty() && train.samples.iter().all(|&sample| weights[sample as usize] == 0.0) {
            let column = config.weight_by.as_deref().unwrap_or_default();
            let expected = "a column in which some training image has a weight above 0";
            return Err(DataError::config("data.weight_by", format!("`{column}`"), expected));
        }
        let contents = *blake3::hash(digests.as_flattened()).as_bytes();
        let name = |sample: u32| store.name(sample);
        let fingerprint =
            fingerprint(&classes, &digests, &labels, &[&train.samples, &val.samples, &test.samples], &name);
        let test_fingerprint = fingerprint_contents(&digests, &test.samples);
        if let Some(fraction) = config.limit
            && fraction < 1.0
        {
            for part in [&mut train, &mut val, &mut test] {
                let label = |sample: u32| labels[sample as usize];
                part.samples =
                    split::limit(&part.samples, classes.len(), label, name, config.split_seed, fraction);
            }
            found.push(format!(
                "limited to {:.3} % of every set (`data.limit`), stratified",
                fraction * 100.0
            ));
        }
        found.push(format!(
            "{} training, {} validation, {} test images of {} classes",
            train.len(),
            val.len(),
            test.len(),
            classes.len()
        ));
        if !broken.is_empty() {
            found.push(match broken.len() {
                1 => "1 image cannot be read and is left out".to_owned(),
                count => format!("{count} images cannot be read and are left out"),
            });
        }
        let leaks = leaks(&digests, &train.samples, &[&val.samples, &test.samples]);
        if leaks > 0 {
            let which = if leaks == 1 { "image is" } else { "images are" };
            found.push(format!(
                "{leaks} training {which} in the validation or test set too (same content): see `danlu audit`"
            ));
        }
        Ok(Dataset {
            path,
            format,
            classes,
            channels,
            sizes,
            train,
            val,
            test,
            found,
            broken,
            fingerprint,
            test_fingerprint,
            labels,
            weights,
            shapes,
            contents,
            store,
            config: config.clone(),
        })
    }

    /// All images, of all parts.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// True where the data set has no image (never: opening one is an error).
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// One of the three parts.
    pub fn part(&self, part: Part) -> &Subset {
        match part {
            Part::Train => &self.train,
            Part::Val => &self.val,
            Part::Test => &self.test,
        }
    }

    /// The class number of a sample.
    pub fn label(&self, sample: u32) -> u32 {
        self.labels[sample as usize]
    }

    /// What a sample is called: its path relative to the data set (with `/`), or `train[17]` in a file of many.
    pub fn name(&self, sample: u32) -> String {
        self.store.name(sample)
    }

    /// The file of a sample, where each has its own.
    pub fn file(&self, sample: u32) -> Option<PathBuf> {
        self.store.file(sample)
    }

    /// The encoded image of a sample, as it lies in its file or archive; `None` where the pixels are in memory.
    ///
    /// # Errors
    /// As [`Dataset::decode`].
    pub fn bytes(&self, sample: u32) -> Result<Option<Vec<u8>>, DataError> {
        self.store.bytes(sample, &self.config)
    }

    /// The whole image of a sample, decoded, with the data set's channels.
    ///
    /// # Errors
    /// [`DataError::Image`], [`DataError::NotFound`], [`DataError::Io`].
    pub fn decode(&self, sample: u32) -> Result<Pixels, DataError> {
        if let &Store::Packed { ref pixels, height, width, channels, .. } = &self.store {
            let size = height * width * channels;
            let at = sample as usize * size;
            let data = pixels[at..at + size].to_vec();
            return Ok(Pixels { data, height, width, channels }.with_channels(self.channels));
        }
        let bytes = self.store.bytes(sample, &self.config)?.unwrap_or_default();
        decode(&bytes, self.config.max_pixels)
            .map(|pixels| pixels.with_channels(self.channels))
            .map_err(|reason| DataError::Image { path: self.store.place(sample), reason })
    }

    /// A random window of a sample alone, decoded with as many pixels as `size` needs, where its decoder can: see [`decode_window`].
    pub(crate) fn decode_window(
        &self,
        sample: u32,
        size: [usize; 2],
        window: impl FnOnce([usize; 2]) -> Window,
    ) -> Option<(Pixels, Window)> {
        if !cfg!(feature = "turbo") {
            return None;
        }
        let bytes = self.store.bytes(sample, &self.config).ok()??;
        let (pixels, window) = decode_window(&bytes, self.config.max_pixels, size, window)?;
        Some((pixels.with_channels(self.channels), window))
    }

    /// True where all images are in memory.
    pub fn is_packed(&self) -> bool {
        matches!(self.store, Store::Packed { .. })
    }

    /// `[height, width]` of an image as its header says.
    pub(crate) fn shape(&self, sample: u32) -> [usize; 2] {
        self.shapes.get(sample as usize).map_or(self.sizes.median, |shape| shape.map(|side| side as usize))
    }

    /// The weight of an image (`data.weight_by`).
    pub(crate) fn weight(&self, sample: u32) -> f64 {
        self.weights.get(sample as usize).copied().unwrap_or(1.0)
    }

    /// Names the decoded images, kept as `how` says. The split has no part in it, so that folds and studies share a cache.
    pub(crate) fn cache_key(&self, how: &str) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.contents).update(&(self.len() as u64).to_le_bytes());
        // Another version may decode or resize otherwise.
        let version = env!("CARGO_PKG_VERSION");
        let text =
            format!("danlu {version} {} {} channels {how}", crate::decode::JPEG_DECODER, self.channels);
        *hasher.update(text.as_bytes()).finalize().as_bytes()
    }

    pub(crate) fn packed_size(&self) -> Option<[usize; 2]> {
        match self.store {
            Store::Packed { height, width, .. } => Some([height, width]),
            _ => None,
        }
    }

    /// Images of each class in a part.
    pub fn class_counts(&self, part: Part) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        for &sample in &self.part(part).samples {
            counts[self.label(sample) as usize] += 1;
        }
        counts
    }

    /// An image size for the network: `data.image_size` where it is set; the images' own where they are small (up to 64); else
    /// the largest multiple of 32 within the median shorter side, at most 224.
    pub fn suggested_image_size(&self) -> usize {
        if let Some(size) = self.config.image_size {
            return size;
        }
        let side = self.sizes.median[0].min(self.sizes.median[1]);
        if side <= 64 { side.max(8) } else { (side / 32 * 32).min(224) }
    }
}

/// Training images whose content is in another part too.
fn leaks(digests: &[[u8; 16]], train: &[u32], others: &[&[u32]]) -> usize {
    let held: std::collections::HashSet<[u8; 16]> =
        others.iter().flat_map(|part| part.iter()).map(|&sample| digests[sample as usize]).collect();
    train.iter().filter(|&&sample| held.contains(&digests[sample as usize])).count()
}

fn fingerprint(
    classes: &[String],
    digests: &[[u8; 16]],
    labels: &[u32],
    parts: &[&Vec<u32>; 3],
    name: &impl Fn(u32) -> String,
) -> String {
    let mut hasher = blake3::Hasher::new();
    for class in classes {
        hasher.update(class.as_bytes()).update(&[0]);
    }
    for (number, samples) in parts.iter().enumerate() {
        hasher.update(&[1, number as u8]);
        for &sample in *samples {
            hasher.update(name(sample).as_bytes()).update(&[0]);
            hasher.update(&labels[sample as usize].to_le_bytes()).update(&digests[sample as usize]);
        }
    }
    hasher.finalize().to_hex().to_string()
}

/// The same images in another order or under other names are the same test set.
fn fingerprint_contents(digests: &[[u8; 16]], samples: &[u32]) -> String {
    let mut sorted: Vec<[u8; 16]> = samples.iter().map(|&sample| digests[sample as usize]).collect();
    sorted.sort_unstable();
    blake3::hash(sorted.as_flattened()).to_hex().to_string()
}
