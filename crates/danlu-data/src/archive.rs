//! Images in an archive, read in place: a `.zip` or `.tar` of class folders (with or without `train/`, `val/`, `test/`), of a list
//! and its images, of IDX or CIFAR files; or WebDataset's `.tar` shards (`0001.jpg` beside `0001.cls`), also stored in a `.zip`.
//!
//! The archive is walked once; afterwards each image is one seek and one read, so that batches are made at random and by many
//! threads. Nothing is unpacked to the disk.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use flate2::read::DeflateDecoder;

use crate::split_file::part_of;
use crate::{DataError, Part, folder, stall};

/// Where the bytes of an image lie.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Number of the archive.
    pub(crate) archive: u32,
    /// Its path in the archive; of a set of shards with the shard's name before it.
    pub(crate) name: String,
    offset: u64,
    stored: u64,
    packed: bool,
}

/// Archives and where in them the images are.
#[derive(Debug, Default)]
pub(crate) struct Archives {
    pub(crate) files: Vec<Shard>,
    pub(crate) entries: Vec<Entry>,
}

/// An archive: a file, or a `.tar` within a `.zip`.
#[derive(Clone, Debug)]
pub(crate) struct Shard {
    pub(crate) file: PathBuf,
    /// Its own name, without folders.
    pub(crate) name: String,
}

/// What an archive holds: its images with class and part, in the order of their names.
pub(crate) struct Contents {
    pub(crate) archives: Archives,
    pub(crate) labels: Vec<String>,
    pub(crate) parts: Vec<Option<Part>>,
    /// What was left out, in words.
    pub(crate) notes: Vec<String>,
    /// The labels come from files (WebDataset) and may be numbers.
    pub(crate) numbered: bool,
}

/// True where the name is that of an archive that is read.
pub(crate) fn is_archive_name(path: &Path) -> bool {
    is_tar(path) || ends(path, "zip")
}

/// True for `.tar`.
pub(crate) fn is_tar(path: &Path) -> bool {
    ends(path, "tar")
}

fn ends(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(ending))
}

impl Archives {
    /// The bytes of image `i`.
    pub(crate) fn read(&self, i: usize, max_bytes: u64) -> Result<Vec<u8>, DataError> {
        self.read_entry(&self.entries[i], max_bytes)
    }

    /// A reader of a file in the archive, unpacked.
    pub(crate) fn open(&self, entry: &Entry) -> Result<Box<dyn Read>, DataError> {
        let path = &self.files[entry.archive as usize].file;
        let mut file = File::open(path).map_err(|e| DataError::io(path, e))?;
        file.seek(SeekFrom::Start(entry.offset)).map_err(|e| DataError::io(path, e))?;
        let stored = file.take(entry.stored);
        Ok(if entry.packed { Box::new(DeflateDecoder::new(stored)) } else { Box::new(stored) })
    }

    /// The bytes of a file in the archive, at most `max_bytes`.
    pub(crate) fn read_entry(&self, entry: &Entry, max_bytes: u64) -> Result<Vec<u8>, DataError> {
        let path = &self.files[entry.archive as usize].file;
        let bad = |reason: String| DataError::Image { path: path.join(&entry.name), reason };
        // One byte more than is allowed: a small file that unpacks to more is a bomb, and is not unpacked to its end.
        let mut bytes = Vec::with_capacity(entry.stored.min(max_bytes).min(1 << 24) as usize);
        let read = self.open(entry)?.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(|error| bad(format!("damaged data in the archive ({error})")))?;
        if bytes.len() as u64 > max_bytes {
            return Err(bad(format!("it has more than `data.max_file_bytes` = {max_bytes} bytes")));
        }
        if !entry.packed && (bytes.len() as u64) < entry.stored {
            return Err(bad("the archive ends within it".into()));
        }
        Ok(bytes)
    }
}

/// A file in an archive, whatever it is.
pub(crate) struct Item {
    pub(crate) name: String,
    pub(crate) entry: Entry,
}

/// Walks archives: what they are, and every file in them that is not hidden.
pub(crate) fn walk(paths: &[PathBuf], notes: &mut Vec<String>) -> Result<(Archives, Vec<Item>), DataError> {
    let mut archives = Archives::default();
    let mut items = Vec::new();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let number = archives.files.len() as u32;
        archives.files.push(Shard { file: path.clone(), name });
        if is_tar(path) {
            let length = std::fs::metadata(path).map_err(|e| DataError::io(path, e))?.len();
            items.extend(tar_items(path, number, 0, length)?);
            continue;
        }
        let (shards, others): (Vec<Item>, Vec<Item>) =
            zip_items(path, number)?.into_iter().partition(|item| is_tar(Path::new(&item.name)));
        items.extend(others);
        for Item { name, entry } in shards {
            if entry.packed {
                return Err(bad(
                    path,
                    "zip",
                    format!("`{name}` in it is packed and cannot be read at random; store it (`zip -0`)"),
                ));
            }
            let number = archives.files.len() as u32;
            let name = name.rsplit('/').next().unwrap_or(&name).to_owned();
            archives.files.push(Shard { file: path.clone(), name });
            items.extend(tar_items(path, number, entry.offset, entry.stored)?);
        }
    }
    let hidden = items.len();
    let hides = |step: &str| step != "." && step != ".." && folder::is_hidden(step);
    items.retain(|item| !item.name.split('/').any(hides));
    if items.len() < hidden {
        notes.push(format!("{} hidden files in the archive: left out", hidden - items.len()));
    }
    Ok((archives, items))
}

/// Makes samples of the files. Several archives are the shards of one set, and then a shard whose name holds `train`, `val` or `test` is of
/// that part.
pub(crate) fn contents(
    path: &Path,
    mut archives: Archives,
    items: Vec<Item>,
    mut notes: Vec<String>,
) -> Result<Contents, DataError> {
    let numbered = items.iter().any(|item| ends(Path::new(&item.name), "cls"));
    let (labels, parts) = if numbered {
        samples(&mut archives, items, &mut notes)?
    } else {
        folders(&mut archives, items, path, &mut notes)?
    };
    Ok(Contents { archives, labels, parts, notes, numbered })
}

type Labelled = (Vec<String>, Vec<Option<Part>>);

/// `class/x.jpg` or `train/class/x.jpg`, perhaps all below one folder.
fn folders(
    archives: &mut Archives,
    items: Vec<Item>,
    path: &Path,
    notes: &mut Vec<String>,
) -> Result<Labelled, DataError> {
    let all = items.len();
    let mut images: Vec<(Vec<String>, Item)> = items
        .into_iter()
        .filter(|item| folder::is_image_name(Path::new(&item.name)))
        .map(|item| {
            (
                item.name
                    .split('/')
                    .filter(|part| !part.is_empty() && *part != ".")
                    .map(str::to_owned)
                    .collect(),
                item,
            )
        })
        .collect();
    if images.len() < all {
        notes.push(format!("{} files in the archive are not images: left out", all - images.len()));
    }
    // `photos.zip` usually holds `photos/cat/1.jpg`.
    while let Some(first) = images.first().and_then(|(steps, _)| steps.first()).cloned() {
        let shared = images.iter().all(|(steps, _)| steps.len() > 2 && steps[0] == first);
        if !shared || part_of(&first).is_some() {
            break;
        }
        images.iter_mut().for_each(|(steps, _)| drop(steps.remove(0)));
    }
    let flat = images.iter().filter(|(steps, _)| steps.len() < 2).count();
    if flat > 0 && flat == images.len() {
        return Err(DataError::NoClassFolders { path: path.to_owned(), count: flat });
    }
    if flat > 0 {
        notes.push(format!("{flat} images in no folder of the archive belong to no class: left out"));
        images.retain(|(steps, _)| steps.len() > 1);
    }
    let in_part = |steps: &[String]| (steps.len() > 2).then(|| part_of(&steps[0])).flatten();
    let divided = images.iter().any(|(steps, _)| in_part(steps).is_some());
    images.sort_by(|a, b| a.1.name.cmp(&b.1.name));
    let (mut labels, mut parts, mut outside) = (Vec::new(), Vec::new(), 0);
    for (steps, item) in images {
        let part = if divided { in_part(&steps) } else { None };
        if divided && part.is_none() {
            outside += 1;
            continue;
        }
        labels.push(steps[usize::from(divided)].clone());
        parts.push(part);
        archives.entries.push(item.entry);
    }
    if outside > 0 {
        notes.push(format!("{outside} images lie in none of `train`, `val`, `test`: left out"));
    }
    Ok((labels, parts))
}

/// WebDataset: the files of one sample share everything before the first dot of their name.
fn samples(
    archives: &mut Archives,
    items: Vec<Item>,
    notes: &mut Vec<String>,
) -> Result<Labelled, DataError> {
    let mut samples: BTreeMap<(u32, String), (Option<Item>, Option<Entry>)> = BTreeMap::new();
    for item in items {
        let base = item.name.rfind('/').map_or(0, |at| at + 1);
        let Some(dot) = item.name[base..].find('.') else { continue };
        let key = (item.entry.archive, item.name[..base + dot].to_owned());
        let slot = samples.entry(key).or_default();
        if folder::is_image_name(Path::new(&item.name)) {
            slot.0 = Some(item);
        } else if ends(Path::new(&item.name), "cls") {
            slot.1 = Some(item.entry);
        }
    }
    let shard_part: Vec<Option<Part>> = archives
        .files
        .iter()
        .map(|shard| {
            let name = Path::new(&shard.name).file_stem().unwrap_or_default();
            let name = name.to_string_lossy().to_lowercase();
            name.split(|c: char| !c.is_ascii_alphabetic()).find_map(part_of)
        })
        .collect();
    let (mut labels, mut parts, mut alone) = (Vec::new(), Vec::new(), 0);
    for ((archive, _), sample) in samples {
        let (Some(image), Some(label)) = sample else {
            alone += 1;
            continue;
        };
        // A label is a word or a number.
        let text = archives.read_entry(&label, 4096)?;
        labels.push(String::from_utf8_lossy(&text).trim().to_owned());
        parts.push(shard_part[archive as usize]);
        archives.entries.push(image.entry);
    }
    if alone > 0 {
        notes.push(format!("{alone} samples without an image or without a label (`.cls`): left out"));
    }
    Ok((labels, parts))
}

fn bad(path: &Path, format: &'static str, reason: impl ToString) -> DataError {
    DataError::Format { path: path.to_owned(), format, reason: reason.to_string() }
}

/// A part of a file, as if it were one of its own.
struct Section<R> {
    inner: R,
    start: u64,
    length: u64,
    at: u64,
}

impl<R: Read + Seek> Read for Section<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let left = self.length.saturating_sub(self.at).min(buffer.len() as u64) as usize;
        let read = self.inner.read(&mut buffer[..left])?;
        self.at += read as u64;
        Ok(read)
    }
}

impl<R: Read + Seek> Seek for Section<R> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let to = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.length.checked_add_signed(by),
        };
        let absolute = to.and_then(|at| self.start.checked_add(at));
        let (Some(to), Some(absolute)) = (to, absolute) else {
            return Err(std::io::Error::from(std::io::ErrorKind::InvalidInput));
        };
        self.inner.seek(SeekFrom::Start(absolute))?;
        self.at = to;
        Ok(to)
    }
}

/// The files in the tar archive that lies at `start` of a file and is `length` bytes long.
fn tar_items(path: &Path, archive: u32, start: u64, length: u64) -> Result<Vec<Item>, DataError> {
    let file = File::open(path).map_err(|e| DataError::io(path, e))?;
    tar_entries(BufReader::new(file), path, archive, start, length)
}

/// [`tar_items`] of any reader.
pub(crate) fn tar_entries(
    reader: impl Read + Seek,
    path: &Path,
    archive: u32,
    start: u64,
    length: u64,
) -> Result<Vec<Item>, DataError> {
    let mut section = Section { inner: reader, start, length, at: 0 };
    section.rewind().map_err(|e| DataError::io(path, e))?;
    let mut reader = tar::Archive::new(section);
    let mut items = Vec::new();
    for entry in reader.entries_with_seek().map_err(|e| bad(path, "tar", e))? {
        stall::step();
        let entry = entry.map_err(|e| bad(path, "tar", e))?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let (offset, stored) = (entry.raw_file_position(), entry.size());
        if offset.checked_add(stored).is_none_or(|end| end > length) {
            return Err(bad(path, "tar", format!("it ends within `{name}`")));
        }
        let name = name.trim_start_matches("./").to_owned();
        let offset = start + offset;
        items
            .push(Item { entry: Entry { archive, name: name.clone(), offset, stored, packed: false }, name });
    }
    Ok(items)
}

fn zip_items(path: &Path, archive: u32) -> Result<Vec<Item>, DataError> {
    let file = File::open(path).map_err(|e| DataError::io(path, e))?;
    zip_entries(BufReader::new(file), path, archive)
}

/// [`zip_items`] of any reader.
pub(crate) fn zip_entries(
    reader: impl Read + Seek,
    path: &Path,
    archive: u32,
) -> Result<Vec<Item>, DataError> {
    let mut reader = zip::ZipArchive::new(reader).map_err(|e| bad(path, "zip", e))?;
    let mut items = Vec::new();
    for number in 0..reader.len() {
        let file = reader.by_index_raw(number).map_err(|e| bad(path, "zip", e))?;
        if !file.is_file() {
            continue;
        }
        let name = String::from_utf8_lossy(file.name_raw()).replace('\\', "/");
        if file.encrypted() {
            return Err(bad(path, "zip", format!("`{name}` is encrypted")));
        }
        let packed = match file.compression() {
            zip::CompressionMethod::Stored => false,
            zip::CompressionMethod::Deflated => true,
            other => {
                return Err(bad(
                    path,
                    "zip",
                    format!("`{name}` is packed by {other}; expected stored or deflated"),
                ));
            }
        };
        let offset = file.data_start().ok_or_else(|| bad(path, "zip", format!("`{name}` has no data")))?;
        let stored = file.compressed_size();
        items.push(Item { entry: Entry { archive, name: name.clone(), offset, stored, packed }, name });
    }
    Ok(items)
}
