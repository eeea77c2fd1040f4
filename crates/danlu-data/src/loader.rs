//! The batches of an epoch, made ahead on the loader's own threads.
//!
//! Every batch is a pure function of (data set, configuration, seed, epoch, batch): neither the number of threads nor
//! where an epoch was taken up again changes a pixel.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::cache::{Kept, Plan};
use crate::decode::View;
use crate::epoch::Epoch;
use crate::resize::{fit_image, resize_window, shrink, shrunk};
use crate::sampling::{self, Draw};
use crate::{
    AugmentConfig, Batch, Cache, CacheReport, DataConfig, DataError, Dataset, Fit, Interpolation, Part,
    Pixels, Sampling, TestViews, stall,
};

/// How a [`Loader`] draws, augments and batches.
#[derive(Clone, Debug, PartialEq)]
pub struct LoaderConfig {
    /// Height and width of the network's input.
    pub size: [usize; 2],
    /// Images of a batch; the last one of an epoch may have fewer.
    pub batch_size: usize,
    /// How an epoch is drawn.
    pub sampling: Sampling,
    /// Draws of each image that an epoch draws, next to one another; see [`DataConfig::repeats`].
    pub repeats: usize,
    /// Leave out the last batch where it is not full. Default false: an epoch is every training image once.
    pub drop_last: bool,
    /// Seed of order and augmentation.
    pub seed: u64,
    /// The augmentations; `None` for evaluation.
    pub augment: Option<AugmentConfig>,
    /// How an image becomes `size`.
    pub fit: Fit,
    /// See [`DataConfig::crop_ratio`].
    pub crop_ratio: f64,
    /// Filter of the resize.
    pub interpolation: Interpolation,
    /// See [`DataConfig::shrink`].
    pub shrink: Option<usize>,
    /// The views that an evaluation averages over; the loader gives the image alone, whoever runs the network makes them.
    pub test_views: TestViews,
    /// Threads that make batches. 0: one where the images are in memory, else as many as there are cores.
    pub workers: usize,
    /// Batches made ahead. Default 4.
    pub prefetch: usize,
    /// Where decoded images are kept between epochs.
    pub cache: Cache,
    /// Most bytes that they may take in memory.
    pub cache_bytes: u64,
    /// Most bytes that all cache files together may take.
    pub cache_disk_bytes: u64,
    /// The folder of the cache files; `None`: `$DANLU_HOME/cache`, else the user's cache folder.
    pub cache_folder: Option<PathBuf>,
    /// Seconds without any image read after which waiting for a batch is an error.
    pub read_timeout: u64,
}

impl LoaderConfig {
    /// For the training set: drawn as `data.sampling` says, augmented.
    pub fn train(
        data: &DataConfig,
        augment: &AugmentConfig,
        size: [usize; 2],
        batch_size: usize,
        seed: u64,
    ) -> Self {
        LoaderConfig {
            size,
            batch_size,
            sampling: data.sampling,
            repeats: data.repeats,
            drop_last: data.drop_last,
            seed,
            augment: Some(augment.clone()),
            fit: data.fit,
            crop_ratio: data.crop_ratio,
            interpolation: data.interpolation,
            shrink: data.shrink,
            test_views: data.test_views,
            workers: 0,
            prefetch: 4,
            cache: data.cache,
            cache_bytes: data.cache_bytes,
            cache_disk_bytes: data.cache_disk_bytes,
            cache_folder: data.cache_folder.as_ref().map(PathBuf::from),
            read_timeout: data.read_timeout,
        }
    }

    /// For evaluation: every image once, in order, not augmented.
    pub fn evaluate(data: &DataConfig, size: [usize; 2], batch_size: usize) -> Self {
        LoaderConfig {
            sampling: Sampling::Sequential,
            repeats: 1,
            drop_last: false,
            augment: None,
            ..LoaderConfig::train(data, &AugmentConfig::default(), size, batch_size, 0)
        }
    }
}

/// Makes the batches of one part of a data set.
#[derive(Debug)]
pub struct Loader {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) data: Arc<Dataset>,
    samples: Vec<u32>,
    pub(crate) config: LoaderConfig,
    /// The images as they are before augmentation, filled as they are first needed.
    kept: Kept,
    /// Random windows may be decoded alone (feature `turbo`).
    windows: bool,
    report: CacheReport,
    /// Pixel buffers of batches that were given back.
    spare: Mutex<Vec<Vec<u8>>>,
}

impl Loader {
    /// A loader of one part.
    ///
    /// # Errors
    /// [`DataError::EmptyPart`]; [`DataError::BatchTooLarge`] for the training set; [`DataError::Config`] for a size or
    /// batch size of 0, for augmentation values out of range, and where `cache` is `ram` or `disk` and the images do not fit;
    /// [`DataError::Io`] and [`DataError::Write`] where it is `disk` and the folder cannot be used.
    pub fn new(data: Arc<Dataset>, part: Part, config: LoaderConfig) -> Result<Self, DataError> {
        let samples = data.part(part).samples.clone();
        if samples.is_empty() {
            return Err(DataError::EmptyPart { path: data.path.clone(), part: part.name().into() });
        }
        if config.batch_size == 0 {
            return Err(DataError::config("batch_size", 0, "at least 1 (images of a batch)"));
        }
        if part == Part::Train && config.batch_size > samples.len() {
            return Err(DataError::BatchTooLarge {
                batch_size: config.batch_size,
                part: part.name().into(),
                len: samples.len(),
            });
        }
        if config.size.contains(&0) {
            return Err(DataError::config("data.image_size", 0, "at least 1 (pixels)"));
        }
        if let Some(augment) = &config.augment {
            augment.validate_for(config.size)?;
        }
        let (kept, windows, report) = keep(&data, &samples, &config)?;
        Ok(Loader {
            inner: Arc::new(Inner { data, samples, config, kept, windows, report, spare: Mutex::default() }),
        })
    }

    /// Where decoded images are kept, and how many are there now.
    pub fn cache(&self) -> CacheReport {
        let mut report = self.inner.report.clone();
        match &self.inner.kept {
            Kept::Nothing => {}
            Kept::Ram(slots) => report.filled = slots.iter().filter(|slot| slot.get().is_some()).count(),
            Kept::Disk(file) => {
                (report.filled, report.damaged) = (file.filled(), file.damaged());
                if file.failed() {
                    report.problem =
                        Some(format!("cannot write `{}`: is the disk full?", file.path().display()));
                }
            }
        }
        report
    }

    /// Images of an epoch.
    pub fn len(&self) -> usize {
        self.inner.samples.len()
    }

    /// Never true: a loader of an empty part cannot be made.
    pub fn is_empty(&self) -> bool {
        self.inner.samples.is_empty()
    }

    /// Iterations of an epoch.
    pub fn batches_per_epoch(&self) -> usize {
        let (len, batch) = (self.len(), self.inner.config.batch_size);
        if self.inner.config.drop_last { len / batch } else { len.div_ceil(batch) }
    }

    /// The configuration.
    pub fn config(&self) -> &LoaderConfig {
        &self.inner.config
    }

    /// The data set.
    pub fn dataset(&self) -> &Arc<Dataset> {
        &self.inner.data
    }

    /// The batches of an epoch from `first_batch` on (0, or where a resumed run goes on), in order, made ahead.
    pub fn epoch(&self, epoch: u64, first_batch: usize) -> Epoch {
        Epoch::start(self.inner.clone(), epoch, first_batch, self.batches_per_epoch())
    }

    /// One batch, made on this thread; the same as the one of [`Loader::epoch`].
    ///
    /// # Errors
    /// [`DataError::Image`] where no image of the batch can be read.
    pub fn batch(&self, epoch: u64, index: usize) -> Result<Batch, DataError> {
        self.inner.batch(&self.inner.order(epoch), epoch, index)
    }
}

/// Opens the place where the images are kept; true where random windows may be decoded alone.
fn keep(
    data: &Dataset,
    samples: &[u32],
    config: &LoaderConfig,
) -> Result<(Kept, bool, CacheReport), DataError> {
    let whole = config.augment.as_ref().is_some_and(AugmentConfig::needs_whole);
    // Images in memory already need no second copy.
    let ready =
        data.is_packed() && (whole || data.packed_size() == Some(config.size) && config.crop_ratio >= 1.0);
    let bytes = |sample: u32| -> u64 {
        let [height, width] = match whole {
            true => shrunk(data.shape(sample), config.shrink),
            false => config.size,
        };
        height as u64 * width as u64 * data.channels as u64
    };
    let part: Vec<u64> = samples.iter().map(|&sample| bytes(sample)).collect();
    let cache = match config.cache {
        _ if ready => Cache::Off,
        // Resizing what is in memory costs less than reading a file.
        Cache::Auto if data.is_packed() && part.iter().sum::<u64>() <= config.cache_bytes => Cache::Ram,
        Cache::Auto if data.is_packed() => Cache::Off,
        other => other,
    };
    let how = if whole {
        format!("whole, shrunk to {:?}", config.shrink)
    } else {
        format!("{:?} {:?} {} {:?}", config.size, config.fit, config.crop_ratio, config.interpolation)
    };
    let plan = Plan {
        cache,
        ram_bytes: config.cache_bytes,
        disk_bytes: config.cache_disk_bytes,
        folder: config.cache_folder.as_deref(),
        key: data.cache_key(&how),
        part,
        all: match cache {
            Cache::Auto | Cache::Disk => (0..data.len() as u32).map(bytes).collect(),
            Cache::Off | Cache::Ram => Vec::new(),
        },
    };
    // A function of the configuration alone, and not of the room that a disk happens to have: both ways give a batch other pixels.
    let room = match cache {
        Cache::Off => false,
        Cache::Ram | Cache::Disk => true,
        Cache::Auto => {
            plan.part.iter().sum::<u64>() <= config.cache_bytes
                || plan.all.iter().sum::<u64>() <= config.cache_disk_bytes
        }
    };
    let windows = cfg!(feature = "turbo") && whole && !room && config.shrink.is_none();
    let (kept, report) = plan.open()?;
    Ok((kept, windows, report))
}

impl Inner {
    /// The draws of an epoch, a pure function of (seed, epoch).
    pub(crate) fn order(&self, epoch: u64) -> Vec<Draw> {
        let config = &self.config;
        sampling::order(
            config.sampling,
            config.repeats,
            self.samples.len() as u32,
            |place| self.data.label(self.samples[place as usize]),
            |place| self.data.weight(self.samples[place as usize]),
            config.seed,
            epoch,
        )
    }

    pub(crate) fn batch(&self, order: &[Draw], epoch: u64, index: usize) -> Result<Batch, DataError> {
        let start = (index * self.config.batch_size).min(order.len());
        let draws = &order[start..(start + self.config.batch_size).min(order.len())];
        let [h, w] = self.config.size;
        let c = self.data.channels;
        let images = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        let mut batch = Batch { index, images, shape: [0, h, w, c], ..Batch::default() };
        batch.images.reserve_exact(draws.len() * h * w * c);
        for &(place, repeat) in draws {
            let sample = self.samples[place as usize];
            let key = u64::from(sample) | u64::from(repeat) << 32;
            stall::step();
            let mut image = match self.input(place as usize, sample, epoch, key) {
                Ok(image) => image,
                Err(error) => {
                    batch.skipped.push((sample, error.to_string()));
                    continue;
                }
            };
            if let Some(augment) = &self.config.augment {
                image = augment.apply(image, self.config.seed, epoch, key);
            }
            debug_assert_eq!([image.height, image.width, image.channels], [h, w, c]);
            batch.images.extend_from_slice(&image.data);
            batch.labels.push(self.data.label(sample));
            batch.samples.push(sample);
        }
        batch.shape[0] = batch.labels.len();
        if let (true, Some((sample, reason))) = (batch.is_empty(), batch.skipped.first()) {
            let path = self.data.name(*sample).into();
            return Err(DataError::Image {
                path,
                reason: format!("no image of its batch can be read: {reason}"),
            });
        }
        if let Some(augment) = &self.config.augment {
            batch.mix = augment.mix(self.config.seed, epoch, index as u64, [batch.len(), h, w]);
        }
        Ok(batch)
    }

    /// The image at input size, cut at random where the augmentation asks for it.
    fn input(&self, place: usize, sample: u32, epoch: u64, key: u64) -> Result<Pixels, DataError> {
        let config = &self.config;
        match &config.augment {
            Some(augment) if augment.needs_whole() => {
                let shape = shrunk(self.data.shape(sample), config.shrink);
                let make = || Ok(shrink(self.data.decode(sample)?, config.shrink, config.interpolation));
                let cut = |image: View| {
                    augment.cut(image, config.size, config.interpolation, config.seed, epoch, key)
                };
                // Where images are kept, the first epoch must see what later ones see.
                if self.windows {
                    let window = |shape| augment.window(shape, config.seed, epoch, key);
                    if let Some((image, window)) = self.data.decode_window(sample, config.size, window) {
                        return Ok(resize_window(&image, window, config.size, config.interpolation));
                    }
                }
                self.kept(place, sample, shape, make, cut)
            }
            _ => {
                let make = || {
                    let image = self.data.decode(sample)?;
                    Ok(fit_image(&image, config.size, config.fit, config.crop_ratio, config.interpolation))
                };
                self.kept(place, sample, config.size, make, |image: View<'_>| image.to_pixels())
            }
        }
    }

    /// Uses the kept image, of `shape`; makes and keeps it where it is not there yet.
    fn kept(
        &self,
        place: usize,
        sample: u32,
        [height, width]: [usize; 2],
        make: impl FnOnce() -> Result<Pixels, DataError>,
        then: impl FnOnce(View) -> Pixels,
    ) -> Result<Pixels, DataError> {
        match &self.kept {
            Kept::Nothing => Ok(then((&make()?).into())),
            Kept::Ram(slots) => {
                if let Some(image) = slots[place].get() {
                    return Ok(then(image.into()));
                }
                let image = make()?;
                let out = then((&image).into());
                let _ = slots[place].set(image); // another thread was first, with the same pixels
                Ok(out)
            }
            Kept::Disk(file) => {
                let channels = self.data.channels;
                if let Some(data) = file.get(sample as usize)
                    && data.len() == height * width * channels
                {
                    return Ok(then(View { data, height, width, channels }));
                }
                let image = make()?;
                // A file that has changed since the data set was opened has another shape.
                if [image.height, image.width] == [height, width] {
                    file.put(sample as usize, &image.data);
                }
                Ok(then((&image).into()))
            }
        }
    }

    /// Takes back the memory of a batch, at most for as many as are made ahead.
    pub(crate) fn recycle(&self, mut batch: Batch) {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() <= self.config.prefetch {
            batch.images.clear();
            spare.push(batch.images);
        }
    }

    pub(crate) fn workers(&self) -> usize {
        match self.config.workers {
            0 if self.data.is_packed() => 1,
            0 => thread::available_parallelism().map_or(1, |n| n.get()),
            n => n,
        }
    }
}
