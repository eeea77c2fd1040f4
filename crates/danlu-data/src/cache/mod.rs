//! Where decoded images are kept between epochs, between the trials of a study and between runs.
//!
//! An image is kept as the loader needs it before augmentation: at the network's input size, or whole (shrunk to `data.shrink`) where random
//! windows are cut out of it. So the cache changes no pixel of any batch: what comes out of it is what decoding gives.

mod file;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use crate::{Cache, DataError, Pixels};
pub(crate) use file::CacheFile;

/// Sets of at most this many decoded bytes are decoded in seconds: `auto` does not write them to the disk.
const SMALL: u64 = 64 << 20;
/// `auto` leaves this much of a disk free.
const SPARE: u64 = 1 << 30;
const ENDING: &str = "cache";

/// Where the decoded images of a loader are kept, in words and numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheReport {
    /// `off`, `ram` or `disk`.
    pub place: &'static str,
    /// The file, where it is on disk.
    pub path: Option<PathBuf>,
    /// Bytes that all images take.
    pub bytes: u64,
    /// Images that are there.
    pub filled: usize,
    /// Images in the file whose checksum did not fit; they were decoded again.
    pub damaged: usize,
    /// Why the images are not kept where they were meant to be.
    pub problem: Option<String>,
}

impl CacheReport {
    /// Where the images are kept, for people; `None` where there is nothing to say (off, or a small set in memory).
    pub fn line(&self) -> Option<String> {
        let size = format!("{:.2} GB", self.bytes as f64 / 1e9);
        let place = match (self.place, &self.path) {
            ("disk", Some(path)) if self.filled > 0 => {
                format!(
                    "decoded images: {} from an earlier run in `{}` ({size})",
                    self.filled,
                    path.display()
                )
            }
            ("disk", Some(path)) => format!("decoded images are kept in `{}` ({size})", path.display()),
            ("ram", _) if self.bytes > SMALL => format!("decoded images are kept in memory ({size})"),
            _ => String::new(),
        };
        match &self.problem {
            Some(problem) if place.is_empty() => Some(format!("decoded images are not kept: {problem}")),
            Some(problem) => Some(format!("{place}; not on disk: {problem}")),
            None => (!place.is_empty()).then_some(place),
        }
    }
}

/// The kept images of a part of a data set.
#[derive(Debug)]
pub(crate) enum Kept {
    Nothing,
    /// By place in the part.
    Ram(Vec<OnceLock<Pixels>>),
    /// By number in the data set.
    Disk(CacheFile),
}

/// What is to be kept.
pub(crate) struct Plan<'a> {
    pub(crate) cache: Cache,
    pub(crate) ram_bytes: u64,
    pub(crate) disk_bytes: u64,
    /// The folder of the cache files; `None`: the user's.
    pub(crate) folder: Option<&'a Path>,
    /// Names the images and how they are kept.
    pub(crate) key: [u8; 32],
    /// Bytes of each image of the part, and of the whole data set.
    pub(crate) part: Vec<u64>,
    pub(crate) all: Vec<u64>,
}

impl Plan<'_> {
    /// Decides, opens the file and makes room for it.
    ///
    /// # Errors
    /// [`DataError::Config`] where `ram` or `disk` is asked for and does not fit; [`DataError::Io`] or [`DataError::Write`] where `disk` is
    /// asked for and the folder cannot be used.
    pub(crate) fn open(self) -> Result<(Kept, CacheReport), DataError> {
        let ram: u64 = self.part.iter().sum();
        let report =
            |place, bytes, path, problem| CacheReport { place, path, bytes, filled: 0, damaged: 0, problem };
        let in_ram = |problem| {
            let kept = Kept::Ram(self.part.iter().map(|_| OnceLock::new()).collect());
            Ok((kept, report("ram", ram, None, problem)))
        };
        match self.cache {
            Cache::Off => Ok((Kept::Nothing, report("off", 0, None, None))),
            Cache::Ram if ram > self.ram_bytes => {
                let expected =
                    format!("at least {ram} (bytes of the decoded images), or `data.cache` = `auto`");
                Err(DataError::config("data.cache_bytes", self.ram_bytes, expected))
            }
            Cache::Ram => in_ram(None),
            Cache::Auto if ram <= SMALL.min(self.ram_bytes) => in_ram(None),
            Cache::Disk | Cache::Auto => match self.on_disk() {
                Ok((file, bytes)) => {
                    let path = file.path().to_owned();
                    Ok((Kept::Disk(file), report("disk", bytes, Some(path), None)))
                }
                Err(error) if self.cache == Cache::Disk => Err(error),
                Err(error) if ram <= self.ram_bytes => in_ram(Some(error.to_string())),
                Err(error) => Ok((Kept::Nothing, report("off", 0, None, Some(error.to_string())))),
            },
        }
    }

    fn on_disk(&self) -> Result<(CacheFile, u64), DataError> {
        let lengths: Option<Vec<u32>> = self.all.iter().map(|&bytes| u32::try_from(bytes).ok()).collect();
        let bytes: u64 = self.all.iter().sum();
        let (Some(lengths), true) = (lengths, bytes <= self.disk_bytes) else {
            let expected = format!(
                "at least {bytes} (bytes of the decoded images; `data.shrink` makes them fewer), or `data.cache` = `off`"
            );
            return Err(DataError::config("data.cache_disk_bytes", self.disk_bytes, expected));
        };
        let length = file::file_length(&lengths);
        let folder = self.folder.map_or_else(user_folder, Path::to_path_buf);
        fs::create_dir_all(&folder).map_err(|source| DataError::Write { path: folder.clone(), source })?;
        let name: String = self.key[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        let path = folder.join(format!("{name}.{ENDING}"));
        // One process at a time makes room and files; a lock of a killed one is gone with it.
        let lock = File::create(folder.join("lock"));
        let _locked = lock.as_ref().map(File::lock);
        match CacheFile::open(&path, &self.key, lengths.clone()) {
            Ok(file) => {
                let _ =
                    File::options().append(true).open(&path).and_then(|f| f.set_modified(SystemTime::now())); // only who is oldest
                return Ok((file, length));
            }
            Err(DataError::NotFound { .. }) => {}
            // Not a cache file any more: made again. Whoever has the old one open keeps it.
            Err(DataError::Format { .. }) => {
                fs::remove_file(&path).map_err(|source| DataError::Write { path: path.clone(), source })?;
            }
            Err(other) => return Err(other),
        }
        make_room(&folder, self.disk_bytes.saturating_sub(length));
        if let Some(free) = free_bytes(&folder)
            && free < length.saturating_add(SPARE)
        {
            let source = std::io::Error::other(format!(
                "the disk has {free} bytes free, and the decoded images take {length}"
            ));
            return Err(DataError::Write { path: folder, source });
        }
        CacheFile::create(&path, &self.key, &lengths)
            .map_err(|source| DataError::Write { path: path.clone(), source })?;
        Ok((CacheFile::open(&path, &self.key, lengths)?, length))
    }
}

/// `$DANLU_HOME/cache`, else `$XDG_CACHE_HOME/danlu`, else `~/.cache/danlu`.
fn user_folder() -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    match (variable("DANLU_HOME"), variable("XDG_CACHE_HOME"), variable("HOME")) {
        (Some(home), ..) => home.join("cache"),
        (_, Some(cache), _) => cache.join("danlu"),
        (.., Some(home)) => home.join(".cache/danlu"),
        _ => std::env::temp_dir().join("danlu-cache"),
    }
}

/// Removes the files that were not opened for the longest time until at most `bytes` are left; those in use stay.
fn make_room(folder: &Path, bytes: u64) {
    let mut files: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(meta) = entry.metadata() else { continue };
        let modified = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        match path.extension().and_then(|ending| ending.to_str()) {
            Some(ENDING) => files.push((modified, meta.len(), path)),
            // What a process left that was killed while it made a file.
            Some("tmp") if modified.elapsed().is_ok_and(|age| age > Duration::from_secs(3600)) => {
                let _ = fs::remove_file(path);
            }
            _ => {}
        }
    }
    files.sort();
    let mut total: u64 = files.iter().map(|(_, length, _)| length).sum();
    for (_, length, path) in files {
        if total <= bytes {
            return;
        }
        let unused = File::open(&path).is_ok_and(|file| file.try_lock().is_ok());
        if unused && fs::remove_file(&path).is_ok() {
            total -= length;
        }
    }
}

#[cfg(unix)]
fn free_bytes(folder: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(folder).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(not(unix))]
fn free_bytes(_: &Path) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(folder: &Path, cache: Cache, key: u8, images: usize, each: u64) -> Plan<'_> {
        Plan {
            cache,
            ram_bytes: 1 << 30,
            disk_bytes: 1 << 30,
            folder: Some(folder),
            key: [key; 32],
            part: vec![each; images],
            all: vec![each; images],
        }
    }

    #[test]
    fn small_sets_stay_in_memory_large_ones_go_to_the_disk_and_what_does_not_fit_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let place = |plan: Plan| plan.open().map(|(_, report)| (report.place, report.problem.is_some()));
        let f = folder.path();
        assert_eq!(place(plan(f, Cache::Auto, 1, 10, 1 << 20)).unwrap(), ("ram", false));
        assert_eq!(place(plan(f, Cache::Auto, 1, 100, 1 << 20)).unwrap(), ("disk", false));
        assert_eq!(place(plan(f, Cache::Off, 1, 100, 1 << 20)).unwrap(), ("off", false));
        let tight =
            |cache, ram_bytes, disk_bytes| Plan { ram_bytes, disk_bytes, ..plan(f, cache, 2, 100, 1 << 20) };
        assert_eq!(place(tight(Cache::Auto, 1 << 30, 1 << 20)).unwrap(), ("ram", true));
        assert_eq!(place(tight(Cache::Auto, 1 << 20, 1 << 20)).unwrap(), ("off", true));
        assert!(
            place(tight(Cache::Disk, 1 << 30, 1 << 20)).unwrap_err().to_string().contains("cache_disk_bytes")
        );
        assert!(place(tight(Cache::Ram, 1 << 20, 1 << 30)).unwrap_err().to_string().contains("cache_bytes"));
        // A folder that cannot be made.
        fs::write(f.join("file"), "").unwrap();
        let nowhere = f.join("file/cache");
        assert!(place(plan(&nowhere, Cache::Disk, 3, 100, 1 << 20)).is_err());
        assert_eq!(place(plan(&nowhere, Cache::Auto, 3, 100, 1 << 20)).unwrap(), ("ram", true));
    }

    #[test]
    fn the_oldest_files_make_room_and_one_in_use_stays() {
        let folder = tempfile::tempdir().unwrap();
        let limited = |key| Plan { disk_bytes: 3 << 20, ..plan(folder.path(), Cache::Disk, key, 4, 250_000) };
        let there = || {
            let mut names: Vec<String> = fs::read_dir(folder.path())
                .unwrap()
                .map(|entry| entry.unwrap().file_name().to_string_lossy()[..2].to_owned())
                .filter(|name| name != "lo")
                .collect();
            names.sort();
            names
        };
        let (held, _) = limited(1).open().unwrap();
        drop(limited(2).open().unwrap());
        drop(limited(3).open().unwrap());
        // The clock of a file system may be coarser than this test.
        for (name, seconds) in [("02", 10), ("01", 20), ("03", 5)] {
            let path = folder.path().join(format!("{}.cache", name.repeat(16)));
            let time = SystemTime::now() - Duration::from_secs(seconds);
            File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
        }
        drop(limited(4).open().unwrap());
        assert_eq!(there(), ["01", "03", "04"], "2 is the oldest that is not in use");
        drop(held);
        fs::write(folder.path().join(format!("{}.cache", "03".repeat(16))), "torn").unwrap();
        let (kept, report) = limited(3).open().unwrap();
        assert!(matches!(kept, Kept::Disk(_)) && report.place == "disk", "a damaged file is made again");
    }
}
