//! Whether a run trains right now, from its files and the system's table of locks (Linux; elsewhere a run that trains reads as interrupted).

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use danlu::train::RunFolder;
use danlu::train::journal::JournalEntry;
use danlu::train::read_journal;
use serde::Serialize;

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// A process trains it.
    Training,
    /// It ended; there is a result.
    Finished,
    /// It was asked to stop, and can be resumed.
    Stopped,
    /// Its process is gone without a word; it can be resumed.
    Interrupted,
}

impl Status {
    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Status::Training => "training",
            Status::Finished => "finished",
            Status::Stopped => "stopped",
            Status::Interrupted => "interrupted",
        }
    }
}

/// The files that some process has locked.
///
/// Looked up in the system's table, since a probing lock of our own could for a moment keep a training from starting.
#[derive(Debug, Default)]
pub(crate) struct Locks(Vec<Lock>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Lock {
    device: u64,
    inode: u64,
    process: u32,
}

impl Locks {
    pub(crate) fn read() -> Self {
        let table = std::fs::read_to_string("/proc/locks").unwrap_or_default();
        Locks(table.lines().filter_map(lock_of).collect())
    }

    fn holds(&self, path: &Path) -> bool {
        let Ok(file) = std::fs::metadata(path) else { return false };
        // Some file systems (overlay, btrfs) show another device number here: then the process must be one of ours.
        let ours = |lock: &Lock| {
            let name = std::fs::read_to_string(format!("/proc/{}/comm", lock.process));
            name.is_ok_and(|name| name.starts_with("danlu"))
        };
        self.0.iter().any(|lock| lock.inode == file.ino() && (lock.device == file.dev() || ours(lock)))
    }
}

/// `1: FLOCK  ADVISORY  WRITE 4242 fe:01:123456 0 EOF`
fn lock_of(line: &str) -> Option<Lock> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let at = words.iter().position(|word| word.matches(':').count() == 2)?;
    let mut parts = words[at].split(':');
    let major = u64::from_str_radix(parts.next()?, 16).ok()?;
    let minor = u64::from_str_radix(parts.next()?, 16).ok()?;
    let inode = parts.next()?.parse().ok()?;
    let process = words.get(at.checked_sub(1)?)?.parse().ok()?;
    // As glibc's `makedev` puts a device number together.
    let device = ((major & 0xfff) << 8) | ((major & !0xfff) << 32) | (minor & 0xff) | ((minor & !0xff) << 12);
    Some(Lock { device, inode, process })
}

pub(crate) fn status(run: &RunFolder, locks: &Locks) -> Status {
    if run.result().is_file() {
        return Status::Finished;
    }
    if locks.holds(&run.path().join("checkpoint").join("lock")) {
        return Status::Training;
    }
    let journal = read_journal(&run.journal()).unwrap_or_default();
    match journal.last().map(|line| &line.entry) {
        Some(JournalEntry::Stop { .. }) => Status::Stopped,
        _ => Status::Interrupted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_lock_table_names_device_and_inode() {
        let line = "3: FLOCK  ADVISORY  WRITE 4242 fe:01:123456 0 EOF";
        assert_eq!(lock_of(line), Some(Lock { device: 0xfe01, inode: 123_456, process: 4242 }));
        assert_eq!(lock_of("4: -> POSIX ADVISORY READ"), None);
    }

    #[test]
    fn a_lock_that_is_held_is_seen_and_its_release_too() {
        if !Path::new("/proc/locks").exists() {
            eprintln!("skipped: this system has no /proc/locks");
            return;
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("lock");
        let file = std::fs::File::create(&path).expect("creates");
        assert!(!Locks::read().holds(&path));
        file.try_lock().expect("is free");
        assert!(Locks::read().holds(&path));
        drop(file);
        assert!(!Locks::read().holds(&path));
    }
}
