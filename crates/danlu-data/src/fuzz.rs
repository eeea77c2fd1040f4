//! Every reader of this crate as a function of bytes, for `fuzz/` and the mutation test: whatever the bytes, they return.

use std::io::Cursor;
use std::path::Path;

use crate::cache::CacheFile;
use crate::group::Pattern;
use crate::{DataConfig, archive, cifar, decode, idx, jpeg_marks, list, split_file};

const MAX_PIXELS: u64 = 1 << 20;

/// IDX: the first two bytes say how many of the following are the images' file; the rest is the labels'.
pub fn idx(bytes: &[u8]) -> bool {
    let Some((&[high, low], rest)) = bytes.split_first_chunk::<2>() else { return false };
    let (images, labels) = rest.split_at(usize::from(u16::from_be_bytes([high, low])).min(rest.len()));
    let path = Path::new("x");
    match idx::parse_pair(images, path, labels, path, MAX_PIXELS) {
        Ok(part) => {
            assert_eq!(part.pixels.len(), part.labels.len() * part.height * part.width * part.channels);
            true
        }
        Err(_) => false,
    }
}

/// CIFAR-10 and CIFAR-100.
pub fn cifar(bytes: &[u8]) -> bool {
    [false, true].map(|hundred| {
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        let read = cifar::records(Path::new("x.bin"), bytes, hundred, &mut pixels, &mut labels).is_ok();
        assert_eq!(pixels.len(), labels.len() * 3072);
        read
    }) != [false, false]
}

/// The walk of a tar archive.
pub fn tar(bytes: &[u8]) -> bool {
    let length = bytes.len() as u64;
    archive::tar_entries(Cursor::new(bytes), Path::new("x.tar"), 0, 0, length).is_ok()
}

/// The walk of a zip archive.
pub fn zip(bytes: &[u8]) -> bool {
    archive::zip_entries(Cursor::new(bytes), Path::new("x.zip"), 0).is_ok()
}

/// Lists: CSV, TSV and JSON lines.
pub fn list(bytes: &[u8]) -> bool {
    let config = DataConfig { group: Some("g".into()), weight_by: Some("w".into()), ..DataConfig::default() };
    ["x.csv", "x.tsv", "x.jsonl"].map(|name| {
        let plain = list::parse(Path::new(name), bytes, &DataConfig::default(), None).is_ok();
        plain | list::parse(Path::new(name), bytes, &config, None).is_ok()
    }) != [false; 3]
}

/// Split files.
pub fn split(bytes: &[u8]) -> bool {
    split_file::parse(Path::new("split.csv"), bytes).is_ok()
}

/// The cache of decoded images, by way of a file; true where every one of `lengths` images is read.
pub fn cache(path: &Path, bytes: &[u8], lengths: &[u32]) -> bool {
    if std::fs::write(path, bytes).is_err() {
        return false;
    }
    match CacheFile::open(path, &[7; 32], lengths.to_vec()) {
        Ok(file) => (0..lengths.len()).filter(|&i| file.get(i).is_some()).count() == lengths.len(),
        Err(_) => false,
    }
}

/// Image files: the header, the pixels, the marks of a JPEG.
pub fn image(bytes: &[u8]) -> bool {
    let _ = (decode::header(bytes, MAX_PIXELS), jpeg_marks::check(bytes), jpeg_marks::first_scan(bytes));
    match decode::decode(bytes, MAX_PIXELS) {
        Ok(image) => {
            assert_eq!(image.data.len(), image.height * image.width * image.channels);
            true
        }
        Err(_) => false,
    }
}

/// Patterns of names: the first line is the pattern, the second the name.
pub fn pattern(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Some((pattern, name)) = text.split_once('\n') else { return false };
    Pattern::new(pattern).is_some_and(|pattern| pattern.group(name).is_some())
}
