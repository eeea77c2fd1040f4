//! What happened to the process that trained: starts, resumes, speed, clock times (`journal.jsonl`).
//!
//! It is kept apart from the events, which are the same bytes however often a run was interrupted.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::error::TrainError;

/// A line of `journal.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JournalLine {
    /// Seconds since 1970.
    pub time: f64,
    /// What happened.
    #[serde(flatten)]
    pub entry: JournalEntry,
}

/// What happened to the process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum JournalEntry {
    /// A training was started.
    Start {
        /// Threads that compute.
        threads: usize,
        /// Seconds from the start of the process to the first update.
        seconds_to_first_step: f64,
    },
    /// A training was taken up again.
    Resume {
        /// Threads that compute.
        threads: usize,
        /// Updates completed at the checkpoint.
        iteration: u64,
        /// Whether the result is byte-exact: same version of danlu and same instruction set.
        exact: bool,
    },
    /// An epoch is complete.
    Epoch {
        /// Epochs completed.
        epoch: usize,
        /// Seconds that this process spent on it, validation included.
        seconds: f64,
        /// Speed of the training part.
        images_per_second: f64,
        /// Share of the training part spent waiting for data.
        data_wait: f64,
        /// Share of the training part spent on evidence for the doctor.
        #[serde(default)]
        evidence: f64,
    },
    /// The training was stopped and can be resumed.
    Stop {
        /// Updates completed.
        iteration: u64,
    },
    /// The training ended.
    End {
        /// Updates completed.
        iteration: u64,
    },
}

/// Appends to `journal.jsonl`; every line is on its way to the disk when `write` returns.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
}

impl Journal {
    pub(crate) fn new(path: &Path) -> Self {
        Journal { path: path.to_path_buf() }
    }

    pub(crate) fn write(&self, entry: JournalEntry) -> Result<(), TrainError> {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let mut line = serde_json::to_string(&JournalLine { time, entry })
            .map_err(|error| TrainError::Internal { problem: format!("not serialisable: {error}") })?;
        line.push('\n');
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.path)
            .and_then(|mut file| file.write_all(line.as_bytes()))
            .map_err(|source| TrainError::io("write", &self.path, source))
    }
}

/// Reads a journal; lines that are not whole are left out.
pub fn read_journal(path: &Path) -> Result<Vec<JournalLine>, TrainError> {
    let text = std::fs::read_to_string(path).map_err(|source| TrainError::io("read", path, source))?;
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}
