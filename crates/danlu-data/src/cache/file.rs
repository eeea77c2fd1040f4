//! The file of the cache on disk: a header, a checksum for each image, the pixels.
//!
//! | bytes | what |
//! |---|---|
//! | 0 to 4096 | `danlucac`, version, key (32 bytes), number of images, length of the file, checksum of all these |
//! | then 16 an image | the first half of BLAKE3 of (number, pixels); zeros where the image is not there yet |
//! | then, each on a multiple of 64 | the pixels of each image |
//!
//! Every place is known before anything is written, so that an image is written once and never moved, by whoever decodes it first. The
//! pixels are written before their checksum and the checksum is compared when an image is first read, so that a process that is
//! killed between the two, a power cut that loses one of them, two processes that write the same image (the same bytes, since decoding is
//! a pure function) and a bad sector are all seen, and cost no more than decoding that image again.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};

use memmap2::Mmap;

use crate::DataError;

const MAGIC: &[u8; 8] = b"danlucac";
const VERSION: u32 = 1;
const HEADER: u64 = 4096;
const SUM: u64 = 16;
/// Rows of pixels are read with vector instructions: a cache line's alignment.
const ALIGN: u64 = 64;

/// What is known of an image in this process.
const UNKNOWN: u8 = 0;
const GOOD: u8 = 1;
const DAMAGED: u8 = 2;

/// An open cache file.
#[derive(Debug)]
pub(crate) struct CacheFile {
    path: PathBuf,
    /// Holds a shared lock, which tells those who make room that the file is in use.
    file: File,
    map: Mmap,
    /// Where each image begins, and the end of the last.
    places: Vec<u64>,
    lengths: Vec<u32>,
    state: Vec<AtomicU8>,
    damaged: AtomicUsize,
    /// Writing has failed (a full disk): what is there stays readable, nothing more is kept.
    failed: AtomicBool,
}

/// Where each image begins, and the length of the file.
fn places(lengths: &[u32]) -> (Vec<u64>, u64) {
    let mut at = (HEADER + SUM * lengths.len() as u64).next_multiple_of(ALIGN);
    let places = lengths
        .iter()
        .map(|&length| {
            let place = at;
            at = (at + u64::from(length)).next_multiple_of(ALIGN);
            place
        })
        .collect();
    (places, at)
}

/// Bytes of a cache file of images of these lengths.
pub(crate) fn file_length(lengths: &[u32]) -> u64 {
    places(lengths).1
}

fn header(key: &[u8; 32], count: u64, length: u64) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend(key);
    bytes.extend(count.to_le_bytes());
    bytes.extend(length.to_le_bytes());
    let sum = blake3::hash(&bytes);
    bytes.extend(sum.as_bytes());
    bytes
}

fn checksum(number: usize, pixels: &[u8]) -> [u8; SUM as usize] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(number as u64).to_le_bytes()).update(pixels);
    let mut sum = [0; SUM as usize];
    sum.copy_from_slice(&hasher.finalize().as_bytes()[..SUM as usize]);
    sum
}

impl CacheFile {
    /// Makes an empty file: under a temporary name, synced, renamed.
    pub(crate) fn create(path: &Path, key: &[u8; 32], lengths: &[u32]) -> io::Result<()> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.tmp", std::process::id()));
        let temporary = path.with_file_name(name);
        let (_, length) = places(lengths);
        let result = File::create(&temporary)
            .and_then(|file| {
                write_at(&file, &header(key, lengths.len() as u64, length), 0)?;
                // The rest is a hole that takes no space until it is written.
                file.set_len(length)?;
                file.sync_all()
            })
            .and_then(|()| std::fs::rename(&temporary, path));
        if result.is_err() {
            let _ = std::fs::remove_file(&temporary); // the first error is the one to tell
        }
        result
    }

    /// The bytes of a file that holds these images.
    #[cfg(test)]
    pub(crate) fn bytes_of(key: &[u8; 32], images: &[Vec<u8>]) -> Vec<u8> {
        let lengths: Vec<u32> = images.iter().map(|image| image.len() as u32).collect();
        let (places, length) = places(&lengths);
        let mut bytes = header(key, images.len() as u64, length);
        bytes.resize(length as usize, 0);
        for (number, (image, place)) in images.iter().zip(places).enumerate() {
            let at = (HEADER + SUM * number as u64) as usize;
            bytes[at..at + SUM as usize].copy_from_slice(&checksum(number, image));
            bytes[place as usize..place as usize + image.len()].copy_from_slice(image);
        }
        bytes
    }

    /// Opens a file of this key.
    ///
    /// # Errors
    /// [`DataError::Format`] where it is not that file or is damaged: it may be removed and made again.
    pub(crate) fn open(path: &Path, key: &[u8; 32], lengths: Vec<u32>) -> Result<Self, DataError> {
        let io = |error| DataError::io(path, error);
        let bad = |reason: &str| DataError::Format {
            path: path.to_owned(),
            format: "cache",
            reason: reason.to_owned(),
        };
        let file = File::options().read(true).write(true).open(path).map_err(io)?;
        let (places, length) = places(&lengths);
        if file.metadata().map_err(io)?.len() != length {
            return Err(bad("its length is not the one of its images"));
        }
        let _ = file.lock_shared(); // a file system without locks: nobody makes room there either
        // SAFETY: the map is read only, and nobody shortens a cache file: it is made whole under another name, written in place by
        // this module, and removed as a whole (which leaves the map of whoever has it open as it is). Bytes that another process is
        // just writing are not trusted before their checksum has been compared; from then on they are only ever written as the same.
        let map = unsafe { Mmap::map(&file) }.map_err(io)?;
        let expected = header(key, lengths.len() as u64, length);
        if map.get(..expected.len()) != Some(&expected[..]) {
            return Err(bad("its header is damaged"));
        }
        let state = lengths.iter().map(|_| AtomicU8::new(UNKNOWN)).collect();
        Ok(CacheFile {
            path: path.to_owned(),
            file,
            map,
            places,
            lengths,
            state,
            damaged: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
        })
    }

    /// The pixels of image `number`; `None` where they are not there, or damaged.
    pub(crate) fn get(&self, number: usize) -> Option<&[u8]> {
        let start = *self.places.get(number)? as usize;
        let pixels = self.map.get(start..start + self.lengths[number] as usize)?;
        let state = &self.state[number];
        if state.load(Ordering::Acquire) == GOOD {
            return Some(pixels);
        }
        let at = (HEADER + SUM * number as u64) as usize;
        let stored = self.map.get(at..at + SUM as usize)?;
        if stored.iter().all(|&byte| byte == 0) {
            return None;
        }
        if stored == checksum(number, pixels) {
            state.store(GOOD, Ordering::Release);
            return Some(pixels);
        }
        if state.swap(DAMAGED, Ordering::AcqRel) != DAMAGED {
            self.damaged.fetch_add(1, Ordering::Relaxed);
        }
        None
    }

    /// Keeps the pixels of an image; other lengths than planned (a file that has changed) are not kept.
    pub(crate) fn put(&self, number: usize, pixels: &[u8]) {
        if self.lengths.get(number).is_none_or(|&length| length as usize != pixels.len())
            || self.failed.load(Ordering::Relaxed)
        {
            return;
        }
        let sum = checksum(number, pixels);
        let written = write_at(&self.file, pixels, self.places[number])
            .and_then(|()| write_at(&self.file, &sum, HEADER + SUM * number as u64));
        if written.is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Images whose checksum did not fit: they were decoded again.
    pub(crate) fn damaged(&self) -> usize {
        self.damaged.load(Ordering::Relaxed)
    }

    /// True where writing has failed.
    pub(crate) fn failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Images that are there (their checksums are not compared).
    pub(crate) fn filled(&self) -> usize {
        let sums = self.map.get(HEADER as usize..(HEADER + SUM * self.lengths.len() as u64) as usize);
        sums.map_or(0, |sums| sums.chunks(SUM as usize).filter(|sum| sum.iter().any(|&b| b != 0)).count())
    }
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, at)
}

#[cfg(windows)]
fn write_at(file: &File, mut bytes: &[u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = std::os::windows::fs::FileExt::seek_write(file, bytes, at)?;
        bytes = &bytes[written..];
        at += written as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];

    fn made(folder: &Path, lengths: &[u32]) -> CacheFile {
        let path = folder.join("x.cache");
        if !path.exists() {
            CacheFile::create(&path, &KEY, lengths).unwrap();
        }
        CacheFile::open(&path, &KEY, lengths.to_vec()).unwrap()
    }

    fn image(number: u8, length: u32) -> Vec<u8> {
        (0..length).map(|i| (i as u8).wrapping_mul(3).wrapping_add(number)).collect()
    }

    #[test]
    fn what_one_process_keeps_another_reads_while_both_write() {
        let folder = tempfile::tempdir().unwrap();
        let lengths = [100, 0, 5000, 64, 1];
        let (a, b) = (made(folder.path(), &lengths), made(folder.path(), &lengths));
        assert!((0..6).all(|i| a.get(i).is_none_or(<[u8]>::is_empty)));
        for (file, number) in [(&a, 0), (&b, 2), (&a, 3), (&b, 3), (&a, 4)] {
            file.put(number, &image(number as u8, lengths[number]));
        }
        for file in [&a, &b] {
            for number in [0, 2, 3, 4] {
                assert_eq!(file.get(number).unwrap(), image(number as u8, lengths[number]));
            }
            assert_eq!((file.filled(), file.damaged()), (4, 0));
        }
        a.put(0, &[1, 2, 3]);
        assert_eq!(a.get(0).unwrap().len(), 100, "another length is not kept");
    }

    #[test]
    fn a_changed_byte_anywhere_is_seen_and_the_image_can_be_kept_again() {
        let folder = tempfile::tempdir().unwrap();
        let lengths = [300, 300, 300];
        let file = made(folder.path(), &lengths);
        (0..3).for_each(|i| file.put(i, &image(i as u8, 300)));
        drop(file);
        let path = folder.path().join("x.cache");
        let good = std::fs::read(&path).unwrap();
        let places = places(&lengths).0;
        for at in [places[1] as usize, places[1] as usize + 299, (HEADER + SUM) as usize] {
            let mut bytes = good.clone();
            bytes[at] ^= 0x10;
            std::fs::write(&path, bytes).unwrap();
            let file = made(folder.path(), &lengths);
            assert!(file.get(0).is_some() && file.get(1).is_none() && file.get(2).is_some(), "byte {at}");
            assert!(file.get(1).is_none());
            assert_eq!(file.damaged(), 1);
            file.put(1, &image(1, 300));
            assert_eq!(file.get(1).unwrap(), image(1, 300));
        }
        for (bytes, why) in [
            (good[..good.len() - 1].to_vec(), "length"),
            ([&good[..9], &[9], &good[10..]].concat(), "header"),
            (Vec::new(), "length"),
        ] {
            std::fs::write(&path, bytes).unwrap();
            let error = CacheFile::open(&path, &KEY, lengths.to_vec()).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        std::fs::write(&path, &good).unwrap();
        assert!(CacheFile::open(&path, &[8; 32], lengths.to_vec()).is_err(), "another key");
    }
}
