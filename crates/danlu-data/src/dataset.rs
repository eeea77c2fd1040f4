//! A data set: found by looking, its classes mapped, its images split.

use std::path::{Path, PathBuf};

use crate::decode::decode;
use crate::listing::{self, Listing};
use crate::split::{self, Use};
use crate::store::Store;
use crate::{DataConfig, DataError, Pixels, SplitBy, packed};

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
        let mut listing = listing::find(path, config, None)?;
        listing.apply_split_file(path, config)?;
        listing.find_groups(config)?;
        Self::assemble(path.to_owned(), listing, config)
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
            split: SplitBy::Stratified,
            folds: None,
            fold: 0,
            ..config.clone()
        };
        config.validate()?;
        let mut listing = listing::find(path, &config, Some(classes))?;
        if listing.parts.iter().all(Option::is_none) {
            listing.parts.fill(Some(Part::Test));
        }
        Self::assemble(path.to_owned(), listing, &config)
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
        let Parts { mut train, mut val, mut test, mut found } = Parts::of(&path, &listing, config)?;
        let Listing { format, classes, labels, digests, store, sizes, broken, .. } = listing;
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
            found.push(format!("{} images cannot be read and are left out", broken.len()));
        }
        let leaks = leaks(&digests, &train.samples, &[&val.samples, &test.samples]);
        if leaks > 0 {
            found.push(format!(
                "{leaks} training images are in the validation or test set too (same content): see `danlu audit`"
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

    /// True where all images are in memory.
    pub fn is_packed(&self) -> bool {
        matches!(self.store, Store::Packed { .. })
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

/// The three parts and what was decided about them, in words.
struct Parts {
    train: Subset,
    val: Subset,
    test: Subset,
    found: Vec<String>,
}

impl Parts {
    /// The given parts; what is not given is held out of the training images.
    fn of(path: &Path, listing: &Listing, config: &DataConfig) -> Result<Self, DataError> {
        let Listing { classes, labels, parts, digests, store, left_out, groups, orders, .. } = listing;
        let mut found = listing.found.clone();
        let samples = |part: Option<Part>| -> Vec<u32> {
            let out = |i: u32| left_out.get(i as usize) == Some(&true);
            (0..labels.len() as u32).filter(|&i| parts[i as usize] == part && !out(i)).collect()
        };
        let mut train = samples(None);
        train.extend(samples(Some(Part::Train)));
        train.sort_unstable();
        let (mut val, mut test) = (samples(Some(Part::Val)), samples(Some(Part::Test)));
        let label = |sample: u32| labels[sample as usize];
        let origin = |given: &[u32]| if given.is_empty() { Origin::Absent } else { Origin::Given };
        let (mut val_origin, mut test_origin) = (origin(&val), origin(&test));
        let train_origin = origin(&train);
        let folds = config.folds.map(|folds| (folds, config.fold));
        for (part, held, origin, fraction, purpose) in [
            ("test", &mut test, &mut test_origin, config.test_fraction, Use::Test),
            ("validation", &mut val, &mut val_origin, config.val_fraction, Use::Validation),
        ] {
            let folds = folds.filter(|_| part == "validation");
            let wanted = fraction > 0.0 || folds.is_some();
            if *origin == Origin::Given || !wanted || train.is_empty() || config.split_file.is_some() {
                continue;
            }
            let mut count = vec![0usize; classes.len()];
            train.iter().for_each(|&sample| count[label(sample) as usize] += 1);
            if let Some(class) = count.iter().position(|&count| count == 1) {
                // Counted before anything was held out: that is what the person sees in the folder.
                let count = (0..labels.len())
                    .filter(|&i| labels[i] as usize == class && matches!(parts[i], None | Some(Part::Train)))
                    .count();
                let both = config.test_fraction > 0.0 && !parts.contains(&Some(Part::Test));
                let needed = if both { 3 } else { 2 };
                let class = classes[class].clone();
                return Err(DataError::ClassTooSmall { path: path.to_owned(), class, count, needed });
            }
            let before = train.len();
            let seed = config.split_seed;
            let units = || {
                let group = |sample: u32| groups.get(sample as usize)?.as_deref();
                split::units(&train, |sample| digests[sample as usize], group, |sample| store.name(sample))
            };
            let mut how = format!("stratified, split seed {seed}");
            let (kept, taken) = if let Some((folds, fold)) = folds {
                how = format!("fold {fold} of {folds}, {how}");
                split::take_fold(units(), label, classes.len(), folds, fold, seed)
            } else if config.split == SplitBy::Ordered {
                let by = config.order_by.as_deref().map_or("name".to_owned(), |column| format!("`{column}`"));
                how = format!("the last by {by}");
                let key = |sample: u32| match orders.get(sample as usize) {
                    Some(order) => order.clone().unwrap_or_default(),
                    None => store.name(sample),
                };
                split::take_last(&train, key, fraction)
            } else {
                let units = units();
                let together = train.len() - units.len();
                if together > 0 && part == "validation" {
                    let what = if groups.is_empty() { "copies of a file" } else { "images of a group" };
                    found.push(format!(
                        "{what} are kept in one part ({} units of {} images)",
                        units.len(),
                        train.len()
                    ));
                }
                split::hold_out(units, label, classes.len(), fraction, seed, purpose)
            };
            train = kept;
            *held = taken;
            // What was asked for where it is a share; a fold, and the end of an order, are what they are.
            let exact = folds.is_none() && config.split == SplitBy::Stratified;
            let share = if exact { fraction } else { held.len() as f64 / before as f64 };
            *origin = Origin::HeldOut(share);
            found.push(format!(
                "{part}: {} of {before} training images held out ({:.0} %, {how})",
                held.len(),
                share * 100.0,
            ));
        }
        let trained: std::collections::HashSet<u32> = train.iter().map(|&sample| label(sample)).collect();
        if train_origin == Origin::Given && config.split == SplitBy::Ordered && trained.len() < classes.len()
        {
            let absent = (0..classes.len() as u32).find(|class| !trained.contains(class)).unwrap_or(0);
            let found = format!(
                "ordered in time, no training image of the class `{}` is left",
                classes[absent as usize]
            );
            return Err(DataError::Empty { path: path.to_owned(), found });
        }
        Ok(Parts {
            train: Subset { samples: train, origin: train_origin },
            val: Subset { samples: val, origin: val_origin },
            test: Subset { samples: test, origin: test_origin },
            found,
        })
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
