//! Reading that does not come back: a network drive that has gone away blocks whoever asks it, for minutes or for ever.
//!
//! A blocked thread cannot be stopped. So whoever waits does not read: reading is done by another thread, which is left behind where nothing
//! has been read for too long.

use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crate::DataError;

/// Counts what has been read or computed by anybody in this process. Shared by all: a stall beside work that goes on is told late.
static STEPS: AtomicU64 = AtomicU64::new(0);

/// Something has been read.
pub(crate) fn step() {
    STEPS.fetch_add(1, Ordering::Relaxed);
}

pub(crate) fn steps() -> u64 {
    STEPS.load(Ordering::Relaxed)
}

/// A reader whose every read is a step.
pub(crate) struct Counted<R>(pub(crate) R);

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        step();
        self.0.read(buffer)
    }
}

/// Does the work on a thread of its own; an error where it makes no [`step`] for `limit`.
pub(crate) fn watched<T: Send + 'static>(
    path: &Path,
    limit: Duration,
    work: impl FnOnce() -> Result<T, DataError> + Send + 'static,
) -> Result<T, DataError> {
    let (sender, receiver) = mpsc::channel();
    let thread = thread::Builder::new().name("data".into()).spawn(move || {
        let _ = sender.send(work()); // fails only where nobody waits any more
    });
    let thread = thread.map_err(|source| DataError::Io { path: path.to_owned(), source })?;
    let mut before = steps();
    loop {
        match receiver.recv_timeout(limit) {
            Ok(result) => return result,
            Err(RecvTimeoutError::Timeout) if steps() != before => before = steps(),
            Err(RecvTimeoutError::Timeout) => {
                return Err(DataError::Stalled { path: path.to_owned(), seconds: limit.as_secs() });
            }
            // It ended without a result: a bug, which is not hidden.
            Err(RecvTimeoutError::Disconnected) => match thread.join() {
                Err(panic) => std::panic::resume_unwind(panic),
                Ok(()) => {
                    let source = std::io::Error::other("the reading thread has ended");
                    return Err(DataError::Io { path: path.to_owned(), source });
                }
            },
        }
    }
}
