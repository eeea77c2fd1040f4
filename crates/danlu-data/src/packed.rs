//! Files of many images of one size: IDX, CIFAR, the demo. All of them are read into memory.

use std::path::{Path, PathBuf};

use crate::cifar::{Cifar, CifarFiles};
use crate::dataset::{Format, Part, Sizes};
use crate::idx::{IdxFiles, IdxPart, Open, read_pair};
use crate::listing::{Listing, unknown_class};
use crate::store::Store;
use crate::{DataConfig, DataError, demo, scan};

/// The listing of a folder of IDX or CIFAR files; `None` where it is none.
pub(crate) fn find(
    path: &Path,
    files: &[PathBuf],
    open: Open,
    config: &DataConfig,
    known: Option<&[String]>,
) -> Result<Option<Listing>, DataError> {
    if let Some(idx) = IdxFiles::find(files.iter().cloned()) {
        return list_idx(path, idx, open, config, known).map(Some);
    }
    if let Some(cifar) = CifarFiles::find(files.iter().cloned()) {
        let Cifar { train, test, names } = cifar.read(open)?;
        let name = |label: u8| {
            let named = names.as_ref().and_then(|names| names.get(usize::from(label)));
            named.cloned().unwrap_or_else(|| label.to_string())
        };
        let mut listing = packed(Format::Cifar, path, train, test, name, known)?;
        describe(&mut listing, "CIFAR files");
        return Ok(Some(listing));
    }
    Ok(None)
}

fn list_idx(
    path: &Path,
    idx: IdxFiles,
    open: Open,
    config: &DataConfig,
    known: Option<&[String]>,
) -> Result<Listing, DataError> {
    let read = |pair: [Option<PathBuf>; 2], part: &str| match pair {
        [Some(images), Some(labels)] => read_pair(&images, &labels, open, config.max_pixels).map(Some),
        [None, None] => Ok(None),
        [images, labels] => {
            let there = images.or(labels).unwrap_or_default();
            let reason = format!(
                "its partner is missing: the {part} set needs `...-images-idx3-ubyte` and `...-labels-idx1-ubyte`"
            );
            Err(DataError::Format { path: there, format: "IDX", reason })
        }
    };
    let train = read(idx.train, "training")?;
    let test = read(idx.test, "test")?;
    let folder = path.file_stem().unwrap_or_default().to_string_lossy().to_lowercase().replace('_', "-");
    let fashion = folder.contains("fashion-mnist") || folder.contains("fashionmnist");
    let mut listing = packed(Format::Idx, path, train, test, |label| label_name(label, fashion), known)?;
    describe(&mut listing, "IDX files");
    Ok(listing)
}

fn describe(listing: &mut Listing, what: &str) {
    if let &Store::Packed { height, width, train, .. } = &listing.store {
        let test = listing.labels.len() - train;
        listing.found.push(format!("{what}: {train} training and {test} test images, {width} x {height}"));
    }
}

/// The embedded demo.
pub(crate) fn demo(path: &Path, config: &DataConfig) -> Result<Listing, DataError> {
    let [train, test] = demo::parts(config)?;
    packed(Format::Demo, path, Some(train), Some(test), |label| label_name(label, true), None)
}

fn label_name(label: u8, fashion: bool) -> String {
    match demo::FASHION_MNIST.get(usize::from(label)) {
        Some(name) if fashion => (*name).to_owned(),
        _ => label.to_string(),
    }
}

fn packed(
    format: Format,
    path: &Path,
    train: Option<IdxPart>,
    test: Option<IdxPart>,
    label_name: impl Fn(u8) -> String,
    known: Option<&[String]>,
) -> Result<Listing, DataError> {
    if train.is_none() && known.is_none() {
        return Err(DataError::NoTrainingSet { path: path.to_owned(), found: "a test set".into() });
    }
    let mut present = [false; 256];
    if let Some(part) = &train {
        part.labels.iter().for_each(|&label| present[usize::from(label)] = true);
    }
    let classes: Vec<String> = match known {
        Some(known) => known.to_vec(),
        None => (0..=255u8).filter(|&label| present[usize::from(label)]).map(&label_name).collect(),
    };
    if let ([class], None) = (&classes[..], known) {
        return Err(DataError::OneClass { path: path.to_owned(), class: class.clone() });
    }
    let (train_count, shape) = match (&train, &test) {
        (Some(part), _) => (part.labels.len(), [part.height, part.width, part.channels]),
        (None, Some(part)) => (0, [part.height, part.width, part.channels]),
        (None, None) => return Err(DataError::Empty { path: path.to_owned(), found: "no IDX pair".into() }),
    };
    let mut pixels = Vec::new();
    let (mut labels, mut parts) = (Vec::new(), Vec::new());
    for (part, which) in [(train, Part::Train), (test, Part::Test)] {
        let Some(part) = part else { continue };
        if [part.height, part.width, part.channels] != shape {
            let reason = format!(
                "the test images are {} x {} with {} channels; the training images are {} x {} with {}",
                part.width, part.height, part.channels, shape[1], shape[0], shape[2]
            );
            return Err(DataError::Format { path: path.to_owned(), format: "IDX", reason });
        }
        for &label in &part.labels {
            let name = label_name(label);
            let class = classes.iter().position(|class| *class == name);
            let class = class.ok_or_else(|| unknown_class(path, which, &name, &classes))?;
            labels.push(class as u32);
            parts.push(Some(which));
        }
        if pixels.is_empty() { pixels = part.pixels } else { pixels.extend_from_slice(&part.pixels) }
    }
    let [height, width, channels] = shape;
    let digests = scan::digest_each(&pixels, height * width * channels);
    let sizes = Sizes { min: [height, width], median: [height, width], max: [height, width] };
    let store = Store::Packed { pixels, height, width, channels, train: train_count };
    if labels.is_empty() {
        return Err(DataError::Empty { path: path.to_owned(), found: "files without images".into() });
    }
    Ok(Listing {
        format,
        classes,
        labels,
        parts,
        digests,
        store,
        channels,
        sizes,
        found: Vec::new(),
        broken: Vec::new(),
        left_out: Vec::new(),
        groups: Vec::new(),
        orders: Vec::new(),
        weights: Vec::new(),
        shapes: Vec::new(),
    })
}
