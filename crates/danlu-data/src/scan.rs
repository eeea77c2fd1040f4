//! A first look at every file: its header, its end, a digest of its content. Nothing is decoded unless it looks cut
//! short, so that tens of thousands of files are opened in seconds.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use image::ImageFormat;

use crate::dataset::{Broken, Sizes};
use crate::decode::{Header, decode, header};
use crate::store::Store;
use crate::{DataConfig, DataError, jpeg_marks, parallel};

/// Read from the beginning and from the end of a file that is larger than both together.
const EDGE: u64 = 64 << 10;

/// What a first look at a file tells.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileInfo {
    pub(crate) height: u32,
    pub(crate) width: u32,
    pub(crate) gray: bool,
    pub(crate) digest: [u8; 16],
}

pub(crate) struct Scanned {
    /// One for each path; `None` where the image cannot be read.
    pub(crate) infos: Vec<Option<FileInfo>>,
    pub(crate) broken: Vec<Broken>,
}

/// Looks at every file, on all cores.
pub(crate) fn files(root: &Path, paths: &[PathBuf], config: &DataConfig) -> Scanned {
    images(paths.len(), |i| paths[i].clone(), |i| file(&root.join(&paths[i]), config))
}

/// Looks at every image that lies in an archive, on all cores.
pub(crate) fn encoded(store: &Store, count: usize, config: &DataConfig) -> Scanned {
    let look = |i: usize| match store.bytes(i as u32, config) {
        Ok(bytes) => whole(&bytes.unwrap_or_default(), config),
        Err(DataError::Image { reason, .. }) => Err(reason),
        Err(other) => Err(other.to_string()),
    };
    images(count, |i| store.name(i as u32).into(), look)
}

fn images(
    count: usize,
    name: impl Fn(usize) -> PathBuf,
    look: impl Fn(usize) -> Result<FileInfo, String> + Sync,
) -> Scanned {
    let results = parallel::each(count, 64, look);
    let mut infos = vec![None; count];
    let mut reasons = vec![None; count];
    for (i, result) in results.into_iter().enumerate() {
        match result {
            Some(Ok(info)) => infos[i] = Some(info),
            Some(Err(reason)) => reasons[i] = Some(reason),
            None => {}
        }
    }
    let broken = (0..count)
        .filter(|&i| infos[i].is_none())
        .map(|i| Broken {
            path: name(i),
            reason: reasons[i].take().unwrap_or_else(|| "the decoder failed on it".into()),
        })
        .collect();
    Scanned { infos, broken }
}

fn file(path: &Path, config: &DataConfig) -> Result<FileInfo, String> {
    let text = |error: std::io::Error| DataError::io(path, error).to_string();
    // A list may name a pipe: opening one waits for somebody to write into it.
    if !std::fs::metadata(path).map_err(text)?.is_file() {
        return Err("it is not a file".into());
    }
    let mut file = File::open(path).map_err(text)?;
    let length = file.metadata().map_err(text)?.len();
    if length > config.max_file_bytes {
        return Err(format!(
            "the file has {length} bytes, more than `data.max_file_bytes` = {}",
            config.max_file_bytes
        ));
    }
    let whole = length <= 2 * EDGE;
    let mut bytes = Vec::with_capacity(if whole { length } else { 2 * EDGE } as usize + 1);
    if whole {
        file.by_ref().take(2 * EDGE + 1).read_to_end(&mut bytes).map_err(text)?;
    } else {
        file.by_ref().take(EDGE).read_to_end(&mut bytes).map_err(text)?;
        file.seek(SeekFrom::End(-(EDGE as i64))).map_err(text)?;
        file.by_ref().take(EDGE).read_to_end(&mut bytes).map_err(text)?;
    }
    let digest = digest(&[&length.to_le_bytes(), &bytes]);
    let mut rest = None;
    let mut all = || -> Result<Vec<u8>, String> {
        if whole {
            return Ok(bytes.clone());
        }
        file.rewind().map_err(text)?;
        let mut all = Vec::with_capacity(length as usize);
        file.by_ref().take(config.max_file_bytes).read_to_end(&mut all).map_err(text)?;
        Ok(all)
    };
    let edge = if whole { bytes.len() } else { EDGE as usize };
    let info: Header = match header(&bytes[..edge.min(bytes.len())], config.max_pixels) {
        Ok(info) => info,
        // A long preview picture or a TIFF may have what is needed further behind.
        Err(reason) if whole => return Err(reason),
        Err(_) => {
            let all = rest.insert(all()?);
            header(all, config.max_pixels)?
        }
    };
    let (head, tail) = bytes.split_at(if whole { bytes.len() } else { edge.min(bytes.len()) });
    if looks_cut(head, tail, info.format) {
        let all = match rest {
            Some(all) => all,
            None => all()?,
        };
        decode(&all, config.max_pixels)?;
    }
    Ok(FileInfo { height: info.height, width: info.width, gray: info.gray, digest })
}

/// The same of an image in memory.
fn whole(bytes: &[u8], config: &DataConfig) -> Result<FileInfo, String> {
    let info = header(bytes, config.max_pixels)?;
    if looks_cut(bytes, &[], info.format) {
        decode(bytes, config.max_pixels)?;
    }
    let edge = EDGE as usize;
    let length = (bytes.len() as u64).to_le_bytes();
    let digest = if bytes.len() <= 2 * edge {
        digest(&[&length, bytes])
    } else {
        digest(&[&length, &bytes[..edge], &bytes[bytes.len() - edge..]])
    };
    Ok(FileInfo { height: info.height, width: info.width, gray: info.gray, digest })
}

/// True where the mark that ends an image of this format is nowhere near the end of the file. `head` is the beginning of the
/// file (all of it where `tail` is empty), `tail` its end.
fn looks_cut(head: &[u8], tail: &[u8], format: ImageFormat) -> bool {
    let ends = |mark: &[u8], from: usize| {
        let near = &head[from.max(head.len().saturating_sub(EDGE as usize))..];
        let last = if tail.is_empty() { near } else { tail };
        last.windows(mark.len()).any(|window| window == mark)
    };
    match format {
        // The mark counts behind the start of the pixels only: the thumbnail in the header has one of its own.
        ImageFormat::Jpeg => jpeg_marks::first_scan(head).is_none_or(|scan| !ends(&[0xff, 0xd9], scan)),
        ImageFormat::Png => !ends(b"IEND", 0),
        // These are rare and small enough to be decoded at once.
        _ => true,
    }
}

fn digest(parts: &[&[u8]]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    let mut out = [0; 16];
    out.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    out
}

/// The digest of each image of `size` bytes.
pub(crate) fn digest_each(pixels: &[u8], size: usize) -> Vec<[u8; 16]> {
    pixels.chunks_exact(size.max(1)).map(|image| digest(&[image])).collect()
}

/// Smallest, median and largest height and width.
pub(crate) fn sizes(infos: &[FileInfo]) -> Sizes {
    let mut sorted =
        [infos.iter().map(|i| i.height).collect::<Vec<_>>(), infos.iter().map(|i| i.width).collect()];
    sorted.iter_mut().for_each(|side| side.sort_unstable());
    let at = |place: fn(usize) -> usize| {
        [0, 1].map(|side| sorted[side].get(place(sorted[side].len())).copied().unwrap_or(0) as usize)
    };
    Sizes { min: at(|_| 0), median: at(|n| n / 2), max: at(|n| n.saturating_sub(1)) }
}

/// True where at most `most` single-letter edits lie between the names.
pub(crate) fn within_edits(a: &str, b: &str, most: usize) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > most || a.len().max(b.len()) <= most {
        return false;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut corner = row[0];
        row[0] = i + 1;
        for j in 0..b.len() {
            let cost = if a[i] == b[j] { corner } else { 1 + corner.min(row[j]).min(row[j + 1]) };
            corner = row[j + 1];
            row[j + 1] = cost;
        }
    }
    row[b.len()] <= most
}
