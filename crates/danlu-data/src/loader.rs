//! The batches of an epoch, made ahead on the loader's own threads.
//!
//! Every batch is a pure function of (data set, configuration, seed, epoch, batch): neither the number of threads nor
//! where an epoch was taken up again changes a pixel.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use danlu_rng::{Purpose, Stream};

use crate::resize::fit_image;
use crate::{
    AugmentConfig, Batch, Cache, DataConfig, DataError, Dataset, Fit, Interpolation, Part, Pixels, Sampling,
    TestViews,
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
    /// The views that an evaluation averages over; the loader gives the image alone, whoever runs the network makes them.
    pub test_views: TestViews,
    /// Threads that make batches. 0: one where the images are in memory, else as many as there are cores.
    pub workers: usize,
    /// Batches made ahead. Default 4.
    pub prefetch: usize,
    /// Whether decoded images are kept between epochs.
    pub cache: Cache,
    /// Most bytes that they may take.
    pub cache_bytes: u64,
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
            drop_last: data.drop_last,
            seed,
            augment: Some(augment.clone()),
            fit: data.fit,
            crop_ratio: data.crop_ratio,
            interpolation: data.interpolation,
            test_views: data.test_views,
            workers: 0,
            prefetch: 4,
            cache: data.cache,
            cache_bytes: data.cache_bytes,
        }
    }

    /// For evaluation: every image once, in order, not augmented.
    pub fn evaluate(data: &DataConfig, size: [usize; 2], batch_size: usize) -> Self {
        LoaderConfig {
            sampling: Sampling::Sequential,
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
struct Inner {
    data: Arc<Dataset>,
    samples: Vec<u32>,
    config: LoaderConfig,
    /// The images at input size before augmentation, filled as they are first needed; empty where nothing is kept.
    kept: Vec<OnceLock<Box<[u8]>>>,
}

/// One draw of an epoch: the place of the sample in the part, and how often it has been drawn before in this epoch.
type Draw = (u32, u32);

impl Loader {
    /// A loader of one part.
    ///
    /// # Errors
    /// [`DataError::EmptyPart`]; [`DataError::BatchTooLarge`] for the training set; [`DataError::Config`] for a size or
    /// batch size of 0, for augmentation values out of range, and where `cache = "ram"` and the images do not fit.
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
        let bytes = (config.size[0] * config.size[1] * data.channels * samples.len()) as u64;
        let fits = bytes <= config.cache_bytes;
        if config.cache == Cache::Ram && !fits {
            let expected =
                format!("at least {bytes} (bytes of the decoded images), or `data.cache` = `auto`");
            return Err(DataError::config("data.cache_bytes", config.cache_bytes, expected));
        }
        // Images in memory already at input size need no second copy.
        let ready = data.is_packed() && data.packed_size() == Some(config.size) && config.crop_ratio >= 1.0;
        // Random windows need the whole image every time.
        let whole = config.augment.as_ref().is_some_and(AugmentConfig::needs_whole);
        let keep = config.cache != Cache::Off && fits && !ready && !whole;
        let kept = if keep { (0..samples.len()).map(|_| OnceLock::new()).collect() } else { Vec::new() };
        Ok(Loader { inner: Arc::new(Inner { data, samples, config, kept }) })
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

impl Inner {
    /// The draws of an epoch, a pure function of (seed, epoch).
    fn order(&self, epoch: u64) -> Vec<Draw> {
        let n = self.samples.len() as u32;
        let mut stream = Stream::new(self.config.seed, Purpose::Shuffle, epoch, 0);
        match self.config.sampling {
            Sampling::Sequential => (0..n).map(|i| (i, 0)).collect(),
            Sampling::Shuffle => {
                let mut order: Vec<Draw> = (0..n).map(|i| (i, 0)).collect();
                stream.shuffle(&mut order);
                order
            }
            sampling @ (Sampling::ClassBalanced | Sampling::SquareRoot) => {
                let mut by_class: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
                for (place, &sample) in self.samples.iter().enumerate() {
                    by_class.entry(self.data.label(sample)).or_default().push(place as u32);
                }
                let classes: Vec<Vec<u32>> = by_class.into_values().collect();
                // Sums of the weights, in 2^-16 of an image, so that a draw is one whole number.
                let weight = |class: &Vec<u32>| match sampling {
                    Sampling::SquareRoot => ((class.len() as f64).sqrt() * 65536.0).round() as u64,
                    _ => 1,
                };
                let mut sums: Vec<u64> = classes.iter().map(weight).collect();
                (1..sums.len()).for_each(|i| sums[i] += sums[i - 1]);
                let total = sums.last().copied().unwrap_or(1);
                let mut drawn = vec![0u32; n as usize];
                (0..n)
                    .map(|_| {
                        let at = stream.below(total);
                        let class = &classes[sums.partition_point(|&sum| sum <= at)];
                        let place = class[stream.below(class.len() as u64) as usize];
                        let before = drawn[place as usize];
                        drawn[place as usize] += 1;
                        (place, before)
                    })
                    .collect()
            }
        }
    }

    fn batch(&self, order: &[Draw], epoch: u64, index: usize) -> Result<Batch, DataError> {
        let start = (index * self.config.batch_size).min(order.len());
        let draws = &order[start..(start + self.config.batch_size).min(order.len())];
        let [h, w] = self.config.size;
        let c = self.data.channels;
        let mut batch = Batch { index, shape: [0, h, w, c], ..Batch::default() };
        batch.images.reserve_exact(draws.len() * h * w * c);
        for &(place, repeat) in draws {
            let sample = self.samples[place as usize];
            let key = u64::from(sample) | u64::from(repeat) << 32;
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
                let image = self.data.decode(sample)?;
                let cut = augment.window(&image, config.size, config.interpolation, config.seed, epoch, key);
                Ok(cut.unwrap_or(image))
            }
            _ => self.fitted(place, sample),
        }
    }

    /// The image at input size before augmentation.
    fn fitted(&self, place: usize, sample: u32) -> Result<Pixels, DataError> {
        let [height, width] = self.config.size;
        let channels = self.data.channels;
        let slot = self.kept.get(place);
        if let Some(data) = slot.and_then(OnceLock::get) {
            return Ok(Pixels { data: data.to_vec(), height, width, channels });
        }
        let image = self.data.decode(sample)?;
        let config = &self.config;
        let image = fit_image(&image, config.size, config.fit, config.crop_ratio, config.interpolation);
        if let Some(slot) = slot {
            slot.get_or_init(|| image.data.clone().into_boxed_slice());
        }
        Ok(image)
    }

    fn workers(&self) -> usize {
        match self.config.workers {
            0 if self.data.is_packed() => 1,
            0 => thread::available_parallelism().map_or(1, |n| n.get()),
            n => n,
        }
    }
}

/// The batches of one epoch, in order. Dropping it stops its threads.
#[derive(Debug)]
pub struct Epoch {
    next: usize,
    end: usize,
    asked: usize,
    tickets: Option<Sender<usize>>,
    made: Receiver<(usize, Result<Batch, DataError>)>,
    early: BTreeMap<usize, Result<Batch, DataError>>,
    threads: Vec<JoinHandle<()>>,
    waited: Duration,
    path: std::path::PathBuf,
}

impl Epoch {
    fn start(inner: Arc<Inner>, epoch: u64, first: usize, end: usize) -> Self {
        let (tickets, queue) = unbounded::<usize>();
        let (finished, made) = unbounded();
        let path = inner.data.path.clone();
        let ahead = inner.config.prefetch.max(1);
        let mut iterator = Epoch {
            next: first,
            end,
            asked: first,
            tickets: Some(tickets),
            made,
            early: BTreeMap::new(),
            threads: Vec::new(),
            waited: Duration::ZERO,
            path,
        };
        if first >= end {
            return iterator;
        }
        let order = Arc::new(inner.order(epoch));
        for number in 0..inner.workers().min(end - first) {
            let (inner, order, queue, finished) =
                (inner.clone(), order.clone(), queue.clone(), finished.clone());
            let work = move || {
                for index in queue {
                    if finished.send((index, inner.batch(&order, epoch, index))).is_err() {
                        return;
                    }
                }
            };
            // Without a thread (a limit of the system) the batches come from the others, or as an error below.
            if let Ok(thread) = thread::Builder::new().name(format!("loader-{number}")).spawn(work) {
                iterator.threads.push(thread);
            }
        }
        for _ in 0..ahead {
            iterator.ask();
        }
        iterator
    }

    fn ask(&mut self) {
        if self.asked < self.end
            && let Some(tickets) = &self.tickets
        {
            let _ = tickets.send(self.asked); // fails only where every thread has ended; `next` reports that
            self.asked += 1;
        }
    }

    /// How long the iterator has waited for data so far; the trainer's idle time.
    pub fn waited(&self) -> Duration {
        self.waited
    }
}

impl Iterator for Epoch {
    type Item = Result<Batch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.end {
            return None;
        }
        let start = Instant::now();
        let batch = loop {
            if let Some(batch) = self.early.remove(&self.next) {
                break batch;
            }
            match self.made.recv() {
                Ok((index, batch)) => self.early.insert(index, batch),
                Err(_) => {
                    self.end = self.next;
                    let source = std::io::Error::other("the loader's threads have ended");
                    return Some(Err(DataError::Io { path: self.path.clone(), source }));
                }
            };
        };
        self.waited += start.elapsed();
        self.next += 1;
        self.ask();
        Some(batch)
    }
}

impl Drop for Epoch {
    fn drop(&mut self) {
        self.tickets = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join(); // a panic of the thread has been reported as an error already
        }
    }
}
