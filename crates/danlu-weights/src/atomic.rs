//! A file is there whole or not at all.

use crate::{Result, WeightsError};
use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Writes a file through a temporary name in the same folder, then fsync, rename, fsync of the folder: a reader, a
/// crash or a full disk never sees half a file, and an older file of that name survives until the new one is whole.
///
/// # Errors
/// [`WeightsError::Io`] with the final path; the temporary file is removed.
pub fn write_atomic(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> Result<()> {
    // Distinct for threads and processes that write the same file; the last rename wins.
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let fail = |source| WeightsError::io("write", path)(source);
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let name = path
        .file_name()
        .ok_or_else(|| fail(io::Error::new(io::ErrorKind::InvalidInput, "the path names no file")))?;
    // The rename would put a file in the place of a device or a pipe.
    match fs::metadata(path) {
        Ok(meta) if meta.is_dir() => return Err(fail(io::ErrorKind::IsADirectory.into())),
        Ok(meta) if !meta.is_file() => {
            return Err(fail(io::Error::new(io::ErrorKind::InvalidInput, "it is a device or a pipe")));
        }
        _ => {}
    }
    let unique = COUNTER.fetch_add(1, Ordering::Relaxed);
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}-{unique}.tmp", std::process::id()));
    let temporary = folder.join(temporary);

    let result = write_and_sync(&temporary, write).and_then(|()| fs::rename(&temporary, path));
    if result.is_err() {
        // The first error is the one worth telling.
        let _ = fs::remove_file(&temporary);
    }
    result.map_err(fail)?;
    sync_folder(folder).map_err(fail)
}

fn write_and_sync(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    let mut writer = BufWriter::with_capacity(1 << 20, File::create_new(path)?);
    write(&mut writer)?;
    writer.flush()?;
    // Some writers (zip) seek back; the length is whatever the last flush left.
    writer.seek(io::SeekFrom::End(0))?;
    writer.get_ref().sync_all()
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Other systems have no handle on a folder to sync; the rename itself is what they offer.
#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_temporary_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.bin");
        write_atomic(&path, |writer| writer.write_all(b"old")).unwrap();
        let error = write_atomic(&path, |writer| {
            writer.write_all(b"half of the new")?;
            Err(io::Error::other("disk on fire"))
        })
        .unwrap_err();
        assert!(error.to_string().contains("disk on fire"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_file_is_not_replaced_by_one() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("w.pth");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for path in [&socket, folder.path()] {
            let error = write_atomic(path, |_| Ok(())).unwrap_err();
            assert!(error.hint().is_some_and(|hint| hint.contains("a file")), "{error}");
        }
        assert!(!fs::metadata(&socket).unwrap().is_file());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_that_does_not_exist_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing").join("w.bin");
        let error = write_atomic(&path, |_| Ok(())).unwrap_err();
        assert!(error.to_string().contains("missing"), "{error}");
        assert!(error.hint().is_some());
    }
}
