//! IDX, the format of MNIST and its kin: four files with a short header, gzipped or not.
//!
//! `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and `t10k-...` (or `test-...`), each with or without `.gz`, with a
//! dot for the dash before `idx`, with a prefix (`emnist-letters-`). Images are `[N, H, W]` (grey) or `[N, H, W, C]`.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

use crate::{DataError, stall};

/// The images and labels of one part.
pub(crate) struct IdxPart {
    pub(crate) pixels: Vec<u8>,
    pub(crate) labels: Vec<u8>,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) channels: usize,
}

/// The IDX files of a folder: `[images, labels]` of the training and of the test set.
#[derive(Default)]
pub(crate) struct IdxFiles {
    pub(crate) train: [Option<PathBuf>; 2],
    pub(crate) test: [Option<PathBuf>; 2],
}

impl IdxFiles {
    /// Looks through the names of a folder's files; `None` where none of them is an IDX file's.
    pub(crate) fn find(names: impl Iterator<Item = PathBuf>) -> Option<Self> {
        let mut files = IdxFiles::default();
        let mut any = false;
        for path in names {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let lower = name.to_lowercase();
            let stem = lower.strip_suffix(".gz").unwrap_or(&lower).replace(".idx", "-idx");
            let parts = [("train", 0), ("t10k", 1), ("test", 1)];
            for (part, which) in parts {
                for (kind, slot) in
                    [("images-idx3-ubyte", 0), ("images-idx4-ubyte", 0), ("labels-idx1-ubyte", 1)]
                {
                    if stem.ends_with(&format!("{part}-{kind}")) {
                        let files = if which == 0 { &mut files.train } else { &mut files.test };
                        // The plain file is preferred over the packed one where both are there.
                        if files[slot].is_none() || !lower.ends_with(".gz") {
                            files[slot] = Some(path.clone());
                        }
                        any = true;
                    }
                }
            }
        }
        any.then_some(files)
    }
}

/// Opens a file by its name, on disk or in an archive.
pub(crate) type Open<'a> = &'a dyn Fn(&Path) -> Result<Box<dyn Read>, DataError>;

/// Reads a pair of files.
pub(crate) fn read_pair(
    images: &Path,
    labels: &Path,
    open: Open,
    max_pixels: u64,
) -> Result<IdxPart, DataError> {
    let unpacked = |path: &Path| -> Result<Box<dyn Read>, DataError> {
        let packed = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gz"));
        Ok(if packed { Box::new(GzDecoder::new(open(path)?)) } else { open(path)? })
    };
    parse_pair(unpacked(images)?, images, unpacked(labels)?, labels, max_pixels)
}

/// Parses a pair from any readers; the paths are for the errors.
pub(crate) fn parse_pair(
    mut image_reader: impl Read,
    images: &Path,
    mut label_reader: impl Read,
    labels: &Path,
    max_pixels: u64,
) -> Result<IdxPart, DataError> {
    let shape = dimensions(&mut image_reader, images)?;
    let (height, width, channels) = match shape[..] {
        [_, h, w] => (h, w, 1),
        [_, h, w, c @ (1 | 3)] => (h, w, c),
        _ => {
            let reason = format!(
                "images of shape {shape:?}; expected [count, height, width] or [count, height, width, 1 or 3]"
            );
            return Err(bad(images, reason));
        }
    };
    let size = u64::from(height) * u64::from(width);
    if size == 0 || size > max_pixels {
        return Err(bad(
            images,
            format!("images of {width} x {height} pixels; expected 1 to {max_pixels} pixels"),
        ));
    }
    let count = shape[0];
    let label_shape = dimensions(&mut label_reader, labels)?;
    if label_shape != [count] {
        let reason = format!("labels of shape {label_shape:?}; `{}` has {count} images", images.display());
        return Err(bad(labels, reason));
    }
    let labels = data(label_reader, u64::from(count), labels)?;
    let Some(total) = (size * u64::from(channels)).checked_mul(u64::from(count)) else {
        return Err(bad(images, format!("its header claims {count} images of {width} x {height} pixels")));
    };
    let pixels = data(image_reader, total, images)?;
    let [height, width, channels] = [height, width, channels].map(|v| v as usize);
    Ok(IdxPart { pixels, labels, height, width, channels })
}

/// A file on disk, which counts what is read.
pub(crate) fn open_file(path: &Path) -> Result<Box<dyn Read>, DataError> {
    let file = File::open(path).map_err(|e| DataError::io(path, e))?;
    Ok(Box::new(std::io::BufReader::with_capacity(1 << 18, stall::Counted(file))))
}

fn bad(path: &Path, reason: String) -> DataError {
    DataError::Format { path: path.to_owned(), format: "IDX", reason }
}

/// A read error of a packed file is a damaged file; of a plain one it is the system's.
fn failed(path: &Path, error: std::io::Error) -> DataError {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => bad(path, "it ends within its header".into()),
        std::io::ErrorKind::InvalidInput | std::io::ErrorKind::InvalidData => {
            bad(path, format!("damaged gzip data ({error})"))
        }
        _ => DataError::io(path, error),
    }
}

fn dimensions(reader: &mut impl Read, path: &Path) -> Result<Vec<u32>, DataError> {
    let mut magic = [0u8; 4];
    reader.read_exact(&mut magic).map_err(|e| failed(path, e))?;
    if magic[0] != 0 || magic[1] != 0 || magic[2] != 0x08 || !(1..=4).contains(&magic[3]) {
        let found = u32::from_be_bytes(magic);
        let reason =
            format!("its magic number is {found:#010x}; expected 0x00000803 (images) or 0x00000801 (labels)");
        return Err(bad(path, reason));
    }
    let mut shape = Vec::new();
    for _ in 0..magic[3] {
        let mut value = [0u8; 4];
        reader.read_exact(&mut value).map_err(|e| failed(path, e))?;
        shape.push(u32::from_be_bytes(value));
    }
    Ok(shape)
}

/// Reads exactly `expected` bytes. Memory grows with what is there, not with what the header claims.
fn data(reader: impl Read, expected: u64, path: &Path) -> Result<Vec<u8>, DataError> {
    let mut bytes = Vec::with_capacity(expected.min(64 << 20) as usize);
    match reader.take(expected.saturating_add(1)).read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {}
        Err(e) => return Err(failed(path, e)),
    }
    match (bytes.len() as u64).cmp(&expected) {
        std::cmp::Ordering::Less => {
            Err(bad(path, format!("it holds {} bytes of data; its header claims {expected}", bytes.len())))
        }
        std::cmp::Ordering::Greater => {
            Err(bad(path, format!("it holds more data than the {expected} bytes its header claims")))
        }
        std::cmp::Ordering::Equal => Ok(bytes),
    }
}
