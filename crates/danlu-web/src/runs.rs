//! The runs of a folder: found by name, listed with the last row of their metrics.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use danlu::train::{Event, RunFolder};
use serde::Serialize;

use crate::error::{Refusal, WebError};
use crate::status::{Locks, Status, status};

/// A folder of runs.
#[derive(Debug)]
pub struct Runs {
    root: PathBuf,
    /// What never changes of a run once it trains, so that a thousand runs are listed without reading their first lines again.
    fixed: Mutex<HashMap<String, Fixed>>,
    /// Lines of finished runs, good as long as their files keep their times.
    settled: Mutex<HashMap<String, (Times, RunRow)>>,
}

/// When the result and the metrics of a run were last written.
type Times = [Option<SystemTime>; 2];

#[derive(Clone, Debug)]
struct Fixed {
    data: String,
    network: String,
    epochs: usize,
}

/// What is read of a run.
const FILES: [&str; 13] = [
    "recipe.toml",
    "run.json",
    "events.jsonl",
    "metrics.csv",
    "journal.jsonl",
    "result.json",
    "test.json",
    "initial_weights.json",
    "checkpoint",
    "pictures",
    "weights",
    "weights/best.safetensors",
    "weights/last.safetensors",
];

/// One path component that is no way up, and not hidden.
pub(crate) fn is_plain(part: &str) -> bool {
    !part.is_empty() && !part.starts_with('.') && !part.contains(['/', '\\', '\0'])
}

/// One run in a list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunRow {
    /// Name of its folder.
    pub name: String,
    /// How it stands.
    pub status: Status,
    /// Its data: a path, or `demo`.
    pub data: String,
    /// Its network.
    pub network: String,
    /// Epochs planned.
    pub epochs: usize,
    /// Epochs completed.
    pub epoch: usize,
    /// Training objective of the last epoch, in nats.
    pub train_loss: Option<f64>,
    /// Validation loss of the last epoch, in nats.
    pub val_loss: Option<f64>,
    /// Validation top-1 of the last epoch, 0 to 1.
    pub val_top1: Option<f64>,
    /// Seconds since 1970 when its metrics were last written.
    pub changed: u64,
}

impl Runs {
    /// The runs in a folder; a folder that is a run itself stands for its parent.
    ///
    /// # Errors
    /// [`WebError::NoRuns`].
    pub fn open(path: &Path) -> Result<Self, WebError> {
        let no_runs = |_| WebError::NoRuns { path: path.to_path_buf() };
        let mut root = path.canonicalize().map_err(no_runs)?;
        if !root.is_dir() {
            return Err(WebError::NoRuns { path: path.to_path_buf() });
        }
        if root.join("run.json").is_file() {
            root.pop();
        }
        Ok(Runs { root, fixed: Mutex::default(), settled: Mutex::default() })
    }

    /// Where they lie.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The run of that name: a folder here, or (`study/trial-3`) one in a folder here. A link may lead anywhere on the
    /// machine: a run that is one, or holds one where its files should be, is no run.
    pub(crate) fn find(&self, name: &str) -> Result<RunFolder, Refusal> {
        let missing = || Refusal::not_found(&format!("run `{name}`"));
        let parts: Vec<&str> = name.split('/').collect();
        if parts.len() > 2 || !parts.iter().all(|part| is_plain(part)) {
            return Err(missing());
        }
        let path = parts.iter().fold(self.root.clone(), |path, part| path.join(part));
        if !path.canonicalize().is_ok_and(|truly| truly == path) {
            return Err(missing());
        }
        let is_link = |file: &&str| path.join(file).symlink_metadata().is_ok_and(|found| found.is_symlink());
        if FILES.iter().any(is_link) {
            return Err(missing());
        }
        RunFolder::open(&path).map_err(|_| missing())
    }

    /// A file of a run; one that a link leads out of the folder is refused.
    pub(crate) fn file(&self, run: &RunFolder, name: &str) -> Result<Vec<u8>, Refusal> {
        let missing = || Refusal::not_found(&format!("`{name}` in this run"));
        let path = run.path().join(name).canonicalize().map_err(|_| missing())?;
        if !path.starts_with(run.path()) || !path.is_file() {
            return Err(missing());
        }
        std::fs::read(&path).map_err(|_| missing())
    }

    /// Every run, the last one changed first.
    pub fn list(&self) -> Vec<RunRow> {
        let locks = Locks::read();
        let entries = std::fs::read_dir(&self.root).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut rows: Vec<RunRow> = names
            .filter_map(|name| {
                let times = self.times(&name);
                if let Some((then, row)) = locked(&self.settled).get(&name)
                    && *then == times
                {
                    return Some(row.clone());
                }
                let run = self.find(&name).ok()?;
                let row = self.row(&name, &run, &locks)?;
                if row.status == Status::Finished {
                    locked(&self.settled).insert(name, (times, row.clone()));
                }
                Some(row)
            })
            .collect();
        rows.sort_by(|a, b| b.changed.cmp(&a.changed).then_with(|| a.name.cmp(&b.name)));
        rows
    }

    fn times(&self, name: &str) -> Times {
        let folder = self.root.join(name);
        ["result.json", "metrics.csv"]
            .map(|file| folder.join(file).symlink_metadata().and_then(|file| file.modified()).ok())
    }

    /// One run as in the list.
    pub(crate) fn one(&self, name: &str) -> Result<(RunFolder, RunRow), Refusal> {
        let run = self.find(name)?;
        let row = self.row(name, &run, &Locks::read());
        let row = row.ok_or_else(|| Refusal::not_found(&format!("readable run `{name}`")))?;
        Ok((run, row))
    }

    fn row(&self, name: &str, run: &RunFolder, locks: &Locks) -> Option<RunRow> {
        let fixed = self.fixed(name, run)?;
        let last = last_row(&run.metrics()).unwrap_or_default();
        let changed = [run.metrics(), run.journal(), run.recipe()]
            .iter()
            .find_map(|path| std::fs::metadata(path).and_then(|file| file.modified()).ok())
            .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
            .map_or(0, |since| since.as_secs());
        let number = |column: &str| last.get(column).and_then(|text| text.parse::<f64>().ok());
        Some(RunRow {
            name: name.to_owned(),
            status: status(run, locks),
            data: fixed.data,
            network: fixed.network,
            epochs: fixed.epochs,
            epoch: number("epoch").unwrap_or(0.0) as usize,
            train_loss: number("train_loss"),
            val_loss: number("val_loss"),
            val_top1: number("val_top1"),
            changed,
        })
    }

    fn fixed(&self, name: &str, run: &RunFolder) -> Option<Fixed> {
        let mut known = locked(&self.fixed);
        if let Some(fixed) = known.get(name) {
            return Some(fixed.clone());
        }
        let data = run.info().ok()?.data;
        let Some((network, epochs)) = first_event(&run.events()) else {
            // Its first event is not written yet: look again next time.
            return Some(Fixed { data, network: String::new(), epochs: 0 });
        };
        let fixed = Fixed { data, network, epochs };
        known.insert(name.to_owned(), fixed.clone());
        Some(fixed)
    }
}

fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

fn first_event(path: &Path) -> Option<(String, usize)> {
    let mut line = String::new();
    // Class names make the line long; a file of another kind must not make it endless.
    BufReader::new(File::open(path).ok()?).take(4 << 20).read_line(&mut line).ok()?;
    match serde_json::from_str(&line).ok()? {
        Event::Start { network, epochs, .. } => Some((network, epochs)),
        _ => None,
    }
}

/// The last whole row of a CSV file by column, read from its end.
fn last_row(path: &Path) -> Option<HashMap<String, String>> {
    const TAIL: u64 = 4096;
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    let mut head = String::new();
    BufReader::new(&file).take(TAIL).read_line(&mut head).ok()?;
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail).ok()?;
    let tail = String::from_utf8_lossy(&tail).into_owned();
    // What follows the last line feed is still being written.
    let whole = &tail[..tail.rfind('\n')?];
    let row = whole.rsplit('\n').next()?;
    if row.trim() == head.trim() {
        return None;
    }
    Some(head.trim().split(',').map(str::to_owned).zip(row.trim().split(',').map(str::to_owned)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_row_is_found_from_the_end_and_a_torn_one_is_not_taken() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("metrics.csv");
        let mut text = String::from("epoch,val_top1\n");
        std::fs::write(&path, &text).expect("writes");
        assert_eq!(last_row(&path), None, "a head is no row");
        (1..2000).for_each(|epoch| text += &format!("{epoch},0.{epoch:04}\n"));
        std::fs::write(&path, format!("{text}2000,0.")).expect("writes");
        let row = last_row(&path).expect("a row");
        assert_eq!((row["epoch"].as_str(), row["val_top1"].as_str()), ("1999", "0.1999"));
    }

    #[test]
    fn no_name_leads_out_of_the_folder() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (runs, secret) = (folder.path().join("runs"), folder.path().join("secret"));
        for path in [&runs, &secret] {
            std::fs::create_dir(path).expect("creates");
            std::fs::write(path.join("recipe.toml"), "").expect("writes");
            std::fs::write(path.join("run.json"), "{}").expect("writes");
        }
        std::os::unix::fs::symlink(&secret, runs.join("link")).expect("links");
        let trial = runs.join("study").join("trial-0");
        std::fs::create_dir_all(&trial).expect("creates");
        for file in ["recipe.toml", "run.json"] {
            std::fs::write(trial.join(file), "{}").expect("writes");
        }
        std::os::unix::fs::symlink(&secret, runs.join("study").join("link")).expect("links");
        std::fs::create_dir(runs.join("inner")).expect("creates");
        let here = Runs::open(&folder.path().join("runs").join("inner")).expect("a folder");
        assert!(here.root().ends_with("inner"));
        let runs = Runs {
            root: runs.canonicalize().expect("is there"),
            fixed: Mutex::default(),
            settled: Mutex::default(),
        };
        for name in [
            "../secret",
            "..",
            ".",
            "",
            "link",
            "/etc",
            "a/../../secret",
            "secret\0",
            "study/link",
            "study/../link",
            "study//trial-0",
            "study/trial-0/.",
            "./study/trial-0",
            "study\\trial-0",
        ] {
            assert!(runs.find(name).is_err(), "{name:?}");
        }
        assert!(runs.find("study/trial-0").is_ok(), "a trial of a study is a run");
        // A file of a run that is a link is read by nobody.
        std::os::unix::fs::symlink(secret.join("run.json"), trial.join("events.jsonl")).expect("links");
        assert!(runs.find("study/trial-0").is_err());
    }
}
