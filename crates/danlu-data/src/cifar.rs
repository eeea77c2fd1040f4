//! The binary files of CIFAR-10 and CIFAR-100: records of a label (CIFAR-100: coarse, then fine) and 3072 bytes, a 32 x 32 image as
//! planes of red, green and blue.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::DataError;
use crate::idx::{IdxPart, Open};

const SIDE: usize = 32;
const IMAGE: usize = 3 * SIDE * SIDE;
/// CIFAR-100's training file has 154 MB; what an archive unpacks to more than this is a bomb.
const LARGEST: u64 = 1 << 30;

/// The files of a folder.
#[derive(Default)]
pub(crate) struct CifarFiles {
    train: Vec<PathBuf>,
    test: Vec<PathBuf>,
    /// A class name a line.
    names: Option<PathBuf>,
    hundred: bool,
}

/// What they hold.
pub(crate) struct Cifar {
    pub(crate) train: Option<IdxPart>,
    pub(crate) test: Option<IdxPart>,
    /// Class names by label, where the file of names is there.
    pub(crate) names: Option<Vec<String>>,
}

impl CifarFiles {
    /// `None` where none of the names is one of CIFAR's.
    pub(crate) fn find(names: impl Iterator<Item = PathBuf>) -> Option<Self> {
        let mut files = CifarFiles::default();
        let mut plain = CifarFiles { hundred: true, ..CifarFiles::default() };
        for path in names {
            match path.file_name().and_then(|name| name.to_str()).unwrap_or_default() {
                "test_batch.bin" => files.test.push(path),
                "batches.meta.txt" => files.names = Some(path),
                "train.bin" => plain.train.push(path),
                "test.bin" => plain.test.push(path),
                "fine_label_names.txt" => plain.names = Some(path),
                name if name.starts_with("data_batch_") && name.ends_with(".bin") => files.train.push(path),
                _ => {}
            }
        }
        files.train.sort();
        // `train.bin` alone could be anybody's; the file of names says that it is CIFAR-100's.
        if !files.train.is_empty() || !files.test.is_empty() {
            Some(files)
        } else if plain.names.is_some() && (!plain.train.is_empty() || !plain.test.is_empty()) {
            Some(plain)
        } else {
            None
        }
    }

    pub(crate) fn read(&self, open: Open) -> Result<Cifar, DataError> {
        let all = |path: &Path| -> Result<Vec<u8>, DataError> {
            let mut bytes = Vec::new();
            open(path)?.take(LARGEST).read_to_end(&mut bytes).map_err(|e| DataError::io(path, e))?;
            Ok(bytes)
        };
        let part = |paths: &[PathBuf]| -> Result<Option<IdxPart>, DataError> {
            if paths.is_empty() {
                return Ok(None);
            }
            let (mut pixels, mut labels) = (Vec::new(), Vec::new());
            for path in paths {
                let bytes = all(path)?;
                records(path, &bytes, self.hundred, &mut pixels, &mut labels)?;
            }
            Ok(Some(IdxPart { pixels, labels, height: SIDE, width: SIDE, channels: 3 }))
        };
        let names = match &self.names {
            None => None,
            Some(path) => {
                let bytes = all(path)?;
                let text = String::from_utf8_lossy(&bytes);
                let names: Vec<String> =
                    text.lines().map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
                Some(names)
            }
        };
        Ok(Cifar { train: part(&self.train)?, test: part(&self.test)?, names })
    }
}

/// Appends the records of one file, as `[N, H, W, C]`.
pub(crate) fn records(
    path: &Path,
    bytes: &[u8],
    hundred: bool,
    pixels: &mut Vec<u8>,
    labels: &mut Vec<u8>,
) -> Result<(), DataError> {
    let bad = |reason| DataError::Format { path: path.to_owned(), format: "CIFAR", reason };
    let head = if hundred { 2 } else { 1 };
    let size = head + IMAGE;
    if bytes.is_empty() || !bytes.len().is_multiple_of(size) {
        return Err(bad(format!(
            "it has {} bytes; expected a multiple of {size} (a record of one image)",
            bytes.len()
        )));
    }
    let classes = if hundred { 100 } else { 10 };
    pixels.reserve(bytes.len() / size * IMAGE);
    for (number, record) in bytes.chunks_exact(size).enumerate() {
        let label = record[head - 1];
        if label >= classes {
            return Err(bad(format!("record {number} has the label {label}; expected 0 to {}", classes - 1)));
        }
        labels.push(label);
        let planes = &record[head..];
        for at in 0..SIDE * SIDE {
            pixels.extend([0, 1, 2].map(|plane| planes[plane * SIDE * SIDE + at]));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_become_pixels_and_what_does_not_fit_is_refused() {
        let mut record = vec![7];
        record.extend((0..IMAGE).map(|i| (i / 1024 * 100 + i % 1024 % 7) as u8));
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        records(Path::new("x.bin"), &record, false, &mut pixels, &mut labels).unwrap();
        assert_eq!((labels.as_slice(), &pixels[..6]), (&[7u8][..], &[0, 100, 200, 1, 101, 201][..]));
        let error = |bytes: &[u8], hundred| {
            records(Path::new("x.bin"), bytes, hundred, &mut Vec::new(), &mut Vec::new())
                .unwrap_err()
                .to_string()
        };
        assert!(error(&record[..3000], false).contains("3000 bytes; expected a multiple of 3073"));
        assert!(error(&[], false).contains("0 bytes"));
        assert!(error(&record, true).contains("multiple of 3074"));
        record[0] = 10;
        assert!(error(&record, false).contains("record 0 has the label 10; expected 0 to 9"));
    }
}
