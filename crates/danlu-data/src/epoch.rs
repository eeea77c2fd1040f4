//! The batches of an epoch in order, made ahead by threads.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};

use crate::loader::Inner;
use crate::{Batch, DataError, stall};

/// The batches of one epoch, in order. Dropping it stops its threads.
#[derive(Debug)]
pub struct Epoch {
    inner: Arc<Inner>,
    next: usize,
    end: usize,
    asked: usize,
    tickets: Option<Sender<usize>>,
    made: Receiver<(usize, Result<Batch, DataError>)>,
    early: BTreeMap<usize, Result<Batch, DataError>>,
    threads: Vec<JoinHandle<()>>,
    waited: Duration,
    limit: Duration,
    path: PathBuf,
}

impl Epoch {
    pub(crate) fn start(inner: Arc<Inner>, epoch: u64, first: usize, end: usize) -> Self {
        let (tickets, queue) = unbounded::<usize>();
        let (finished, made) = unbounded();
        let ahead = inner.config.prefetch.max(1);
        let mut iterator = Epoch {
            inner: inner.clone(),
            next: first,
            end,
            asked: first,
            tickets: Some(tickets),
            made,
            early: BTreeMap::new(),
            threads: Vec::new(),
            waited: Duration::ZERO,
            limit: Duration::from_secs(inner.config.read_timeout.max(1)),
            path: inner.data.path.clone(),
        };
        if first >= end {
            return iterator;
        }
        let order = Arc::new(inner.order(epoch));
        for number in 0..inner.workers().min(end - first) {
            let (inner, order, queue, finished) =
                (inner.clone(), order.clone(), queue.clone(), finished.clone());
            let work = move || {
                for index in queue {
                    if finished.send((index, inner.batch(&order, epoch, index))).is_err() {
                        return;
                    }
                }
            };
            // Without a thread (a limit of the system) the batches come from the others, or as an error below.
            if let Ok(thread) = thread::Builder::new().name(format!("loader-{number}")).spawn(work) {
                iterator.threads.push(thread);
            }
        }
        for _ in 0..ahead {
            iterator.ask();
        }
        iterator
    }

    fn ask(&mut self) {
        if self.asked < self.end
            && let Some(tickets) = &self.tickets
        {
            let _ = tickets.send(self.asked); // fails only where every thread has ended; `next` reports that
            self.asked += 1;
        }
    }

    /// Takes back the memory of a batch that is done with, for the next ones: fresh memory of that size costs a page fault for every 4 KiB.
    pub fn recycle(&self, batch: Batch) {
        self.inner.recycle(batch);
    }

    /// How long the iterator has waited for data so far; the trainer's idle time.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// The next batch that any thread has made.
    fn receive(&mut self) -> Result<(usize, Result<Batch, DataError>), DataError> {
        let mut before = stall::steps();
        loop {
            match self.made.recv_timeout(self.limit) {
                Ok(made) => return Ok(made),
                // Images are being read, the batch is large.
                Err(RecvTimeoutError::Timeout) if stall::steps() != before => before = stall::steps(),
                Err(RecvTimeoutError::Timeout) => {
                    // Whoever waits for a drive that has gone cannot be joined: left behind.
                    self.threads.clear();
                    return Err(DataError::Stalled {
                        path: self.path.clone(),
                        seconds: self.limit.as_secs(),
                    });
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let source = std::io::Error::other("the loader's threads have ended");
                    return Err(DataError::Io { path: self.path.clone(), source });
                }
            }
        }
    }
}

impl Iterator for Epoch {
    type Item = Result<Batch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.end {
            return None;
        }
        let start = Instant::now();
        let batch = loop {
            if let Some(batch) = self.early.remove(&self.next) {
                break batch;
            }
            match self.receive() {
                Ok((index, batch)) => self.early.insert(index, batch),
                Err(error) => {
                    self.end = self.next;
                    return Some(Err(error));
                }
            };
        };
        self.waited += start.elapsed();
        self.next += 1;
        self.ask();
        Some(batch)
    }
}

impl Drop for Epoch {
    fn drop(&mut self) {
        self.tickets = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join(); // a panic of the thread has been reported as an error already
        }
    }
}
