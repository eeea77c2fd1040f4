//! Where the pixels of a data set are.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::archive::Archives;
use crate::decode::read_file;
use crate::{DataConfig, DataError};

#[derive(Debug)]
pub(crate) enum Store {
    /// All in memory, of one size, `[N, H, W, C]`; the first `train` of them are of the training file.
    Packed { pixels: Vec<u8>, height: usize, width: usize, channels: usize, train: usize },
    /// One file each, relative to `root`.
    Files { root: PathBuf, paths: Vec<PathBuf> },
    /// In archives.
    Archived(Archives),
}

impl Store {
    /// What a sample is called: its path relative to the data set (with `/`), or `train[17]` in a file of many.
    pub(crate) fn name(&self, sample: u32) -> String {
        match self {
            Store::Packed { train, .. } if (sample as usize) < *train => format!("train[{sample}]"),
            Store::Packed { train, .. } => format!("test[{}]", sample as usize - train),
            Store::Files { paths, .. } => {
                let path = &paths[sample as usize];
                let parts: Vec<String> = path.iter().map(text).collect();
                if path.is_absolute() { text(path.as_os_str()) } else { parts.join("/") }
            }
            Store::Archived(archives) => {
                let entry = &archives.entries[sample as usize];
                if archives.files.len() == 1 {
                    return entry.name.clone();
                }
                format!("{}/{}", archives.files[entry.archive as usize].name, entry.name)
            }
        }
    }

    /// Where a sample lies, for messages.
    pub(crate) fn place(&self, sample: u32) -> PathBuf {
        match self {
            Store::Packed { .. } => self.name(sample).into(),
            Store::Files { root, paths } => root.join(&paths[sample as usize]),
            Store::Archived(archives) => {
                let entry = &archives.entries[sample as usize];
                archives.files[entry.archive as usize].file.join(&entry.name)
            }
        }
    }

    /// The file of a sample, where each has its own.
    pub(crate) fn file(&self, sample: u32) -> Option<PathBuf> {
        matches!(self, Store::Files { .. }).then(|| self.place(sample))
    }

    /// The encoded image of a sample; `None` where the pixels are in memory.
    pub(crate) fn bytes(&self, sample: u32, config: &DataConfig) -> Result<Option<Vec<u8>>, DataError> {
        match self {
            Store::Packed { .. } => Ok(None),
            Store::Files { .. } => read_file(&self.place(sample), config.max_file_bytes).map(Some),
            Store::Archived(archives) => archives.read(sample as usize, config.max_file_bytes).map(Some),
        }
    }

    /// Keeps the samples that `keep` says.
    pub(crate) fn retain(&mut self, keep: &[bool]) {
        match self {
            Store::Packed { .. } => {}
            Store::Files { paths, .. } => retain(paths, keep),
            Store::Archived(archives) => retain(&mut archives.entries, keep),
        }
    }
}

/// A name as text. Bytes that are no UTF-8 (names of an old system) become `\xe9`, so that two names never become the same.
pub(crate) fn text(name: &OsStr) -> String {
    let mut out = String::new();
    for chunk in name.as_encoded_bytes().utf8_chunks() {
        out.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|byte| out.push_str(&format!("\\x{byte:02x}")));
    }
    out
}

/// Keeps the elements that `keep` says.
pub(crate) fn retain<T>(list: &mut Vec<T>, keep: &[bool]) {
    let mut kept = keep.iter();
    list.retain(|_| kept.next() == Some(&true));
}

/// `path` relative to `root` where it lies in it.
pub(crate) fn relative(root: &Path, path: PathBuf) -> PathBuf {
    path.strip_prefix(root).map(Path::to_path_buf).unwrap_or(path)
}
