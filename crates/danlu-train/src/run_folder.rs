//! The run folder: where everything of one training lies, and nothing else is state.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::TrainError;

/// Paths of a run folder (`runs/<name>/`).
#[derive(Clone, Debug)]
pub struct RunFolder {
    path: PathBuf,
}

/// Facts about a run that are no hyper-parameters: what it was made with and from (`run.json`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// danlu's version.
    pub danlu: String,
    /// Where the data lay; `demo` for the embedded set.
    pub data: String,
    /// Fingerprint of data and split.
    pub fingerprint: String,
    /// Class names, in the order of the network's outputs.
    pub classes: Vec<String>,
    /// Channels of an image: 1 or 3.
    pub channels: usize,
    /// Mean of each channel that is subtracted, in `0..=1`.
    pub mean: Vec<f32>,
    /// Standard deviation of each channel that is divided by, in `0..=1`.
    pub std: Vec<f32>,
    /// Instruction set and precision that the bits of the run depend on.
    pub arithmetic: String,
    /// The command as it was typed.
    #[serde(default)]
    pub command: String,
    /// Every value that is not the default: key, value, and the reason of the automatic ones.
    pub choices: Vec<ChoiceInfo>,
}

/// A value that is not the default, for the report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChoiceInfo {
    /// Recipe key.
    pub key: String,
    /// The value as TOML.
    pub value: String,
    /// Why, in a sentence; empty for what the user asked for.
    pub reason: String,
    /// What the reason rests on; may be empty.
    #[serde(default)]
    pub source: String,
    /// Whether the user asked for the value (recipe file or command line).
    #[serde(default)]
    pub asked: bool,
}

impl RunFolder {
    /// Creates `runs/<name>` with its `recipe.toml` and `run.json`; either all of it or nothing. Without a name the first
    /// free `<stem>-N` is taken.
    pub fn create(
        runs: &Path,
        name: Option<&str>,
        stem: &str,
        recipe_toml: &str,
        info: &RunInfo,
    ) -> Result<Self, TrainError> {
        fs::create_dir_all(runs).map_err(|source| TrainError::io("create", runs, source))?;
        let staging = tempfile_in(runs)?;
        let made = (|| {
            for folder in ["weights", "checkpoint", "pictures"] {
                let folder = staging.join(folder);
                fs::create_dir(&folder).map_err(|source| TrainError::io("create", &folder, source))?;
            }
            write_synced(&staging.join("recipe.toml"), recipe_toml.as_bytes())?;
            write_synced(&staging.join("run.json"), &to_json(info)?)?;
            claim_name(runs, name, stem, &staging)
        })();
        if made.is_err() {
            // The staging folder is ours alone; what cannot be removed is named in the error that made us give up.
            let _ = fs::remove_dir_all(&staging);
        }
        made
    }

    /// Opens an existing run; anything else is refused with what was expected.
    pub fn open(path: &Path) -> Result<Self, TrainError> {
        let folder = RunFolder { path: path.to_path_buf() };
        if !path.exists() {
            return Err(TrainError::NotARun {
                path: path.to_path_buf(),
                problem: "there is no such folder".into(),
            });
        }
        for needed in ["recipe.toml", "run.json"] {
            if !path.join(needed).is_file() {
                return Err(TrainError::NotARun {
                    path: path.to_path_buf(),
                    problem: format!("it has no `{needed}`"),
                });
            }
        }
        Ok(folder)
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The fully resolved recipe.
    pub fn recipe(&self) -> PathBuf {
        self.path.join("recipe.toml")
    }

    /// One line an event; see [`crate::events`].
    pub fn events(&self) -> PathBuf {
        self.path.join("events.jsonl")
    }

    /// One row an epoch.
    pub fn metrics(&self) -> PathBuf {
        self.path.join("metrics.csv")
    }

    /// What happened to the process: starts, resumes, speeds, clock times.
    pub fn journal(&self) -> PathBuf {
        self.path.join("journal.jsonl")
    }

    /// The outcome, written when the training ends.
    pub fn result(&self) -> PathBuf {
        self.path.join("result.json")
    }

    /// Everything an exact resume needs.
    pub fn checkpoint(&self) -> PathBuf {
        self.path.join("checkpoint").join("state.safetensors")
    }

    /// The state at the start of the running epoch, where a divergence goes back to it.
    pub fn rollback_point(&self) -> PathBuf {
        self.path.join("checkpoint").join("epoch.safetensors")
    }

    /// The weights with the best validation score.
    pub fn best_weights(&self) -> PathBuf {
        self.path.join("weights").join("best.safetensors")
    }

    /// The weights after the last epoch.
    pub fn last_weights(&self) -> PathBuf {
        self.path.join("weights").join("last.safetensors")
    }

    /// What the evaluation of a part of the run's own data found, image by image.
    pub fn evaluation(&self, part: danlu_data::Part) -> PathBuf {
        self.path.join(format!("evaluation-{}.json", part.name()))
    }

    /// Pictures made from the run.
    pub fn pictures(&self) -> PathBuf {
        self.path.join("pictures")
    }

    /// The report, one self-contained page.
    pub fn report(&self) -> PathBuf {
        self.path.join("report.html")
    }

    /// Reads `run.json`.
    pub fn info(&self) -> Result<RunInfo, TrainError> {
        let path = self.path.join("run.json");
        let text = fs::read(&path).map_err(|source| TrainError::io("read", &path, source))?;
        serde_json::from_slice(&text)
            .map_err(|error| TrainError::Damaged { path, problem: error.to_string() })
    }

    /// Asks whoever trains here to stop after its next update, with a checkpoint: from another process, as Ctrl-C from the same.
    ///
    /// # Errors
    /// Where the file `stop` cannot be written.
    pub fn request_stop(&self) -> Result<(), TrainError> {
        let path = self.path.join("stop");
        File::create(&path).map(drop).map_err(|source| TrainError::io("write", &path, source))
    }

    /// Whether someone asked by [`request_stop`](Self::request_stop). It is looked at after every update: one question to the
    /// system, some microseconds.
    pub(crate) fn stop_requested(&self) -> bool {
        self.path.join("stop").exists()
    }

    /// Forgets an earlier request: it was for a process that is gone.
    pub(crate) fn forget_stop(&self) -> Result<(), TrainError> {
        let path = self.path.join("stop");
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(TrainError::io("write", &path, error))
            }
            _ => Ok(()),
        }
    }

    /// Keeps others from training in this folder as long as the returned file lives.
    pub fn lock(&self) -> Result<File, TrainError> {
        let path = self.path.join("checkpoint").join("lock");
        let file = File::create(&path).map_err(|source| TrainError::io("create", &path, source))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(fs::TryLockError::WouldBlock) => Err(TrainError::Busy { path: self.path.clone() }),
            // A file system without locks (some network drives): going on is better than refusing.
            Err(fs::TryLockError::Error(error)) => {
                tracing::warn!("`{}` cannot be locked: {error}", path.display());
                Ok(file)
            }
        }
    }
}

/// Pretty JSON with a final line feed.
pub(crate) fn to_json<T: Serialize>(value: &T) -> Result<Vec<u8>, TrainError> {
    let mut text = serde_json::to_vec_pretty(value)
        .map_err(|error| TrainError::Internal { problem: format!("not serialisable: {error}") })?;
    text.push(b'\n');
    Ok(text)
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), TrainError> {
    use std::io::Write;
    let fail = |source| TrainError::io("write", path, source);
    let mut file = File::create(path).map_err(fail)?;
    file.write_all(bytes).map_err(fail)?;
    file.sync_all().map_err(fail)
}

fn tempfile_in(runs: &Path) -> Result<PathBuf, TrainError> {
    let path = runs.join(format!(".new-{}", std::process::id()));
    // A process of the same number that was killed may have left one.
    let _ = fs::remove_dir_all(&path);
    fs::create_dir(&path).map_err(|source| TrainError::io("create", &path, source))?;
    Ok(path)
}

fn claim_name(runs: &Path, name: Option<&str>, stem: &str, staging: &Path) -> Result<RunFolder, TrainError> {
    let taken = |path: &Path| path.symlink_metadata().is_ok();
    let fail = |path: &Path, source| TrainError::io("create", path, source);
    if let Some(name) = name {
        let path = runs.join(name);
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\']) {
            return Err(TrainError::BadName { name: name.to_owned() });
        }
        if taken(&path) {
            return Err(TrainError::Exists { path });
        }
        fs::rename(staging, &path).map_err(|source| fail(&path, source))?;
        return Ok(RunFolder { path });
    }
    for number in 1.. {
        let path = runs.join(format!("{stem}-{number}"));
        if taken(&path) {
            continue;
        }
        match fs::rename(staging, &path) {
            Ok(()) => return Ok(RunFolder { path }),
            // Another process took the name between the look and the rename.
            Err(_) if taken(&path) => continue,
            Err(source) => return Err(fail(&path, source)),
        }
    }
    unreachable!("there are infinitely many numbers")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> RunInfo {
        RunInfo {
            danlu: "0".into(),
            data: "demo".into(),
            fingerprint: "f".into(),
            classes: vec!["a".into(), "b".into()],
            channels: 1,
            mean: vec![0.5],
            std: vec![0.25],
            arithmetic: "avx2 f32".into(),
            command: "danlu train demo".into(),
            choices: vec![],
        }
    }

    #[test]
    fn runs_without_a_name_are_numbered() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let first = RunFolder::create(folder.path(), None, "demo", "x = 1\n", &info()).expect("creates");
        let second = RunFolder::create(folder.path(), None, "demo", "x = 1\n", &info()).expect("creates");
        assert_eq!(first.path().file_name(), Some("demo-1".as_ref()));
        assert_eq!(second.path().file_name(), Some("demo-2".as_ref()));
        assert_eq!(RunFolder::open(first.path()).and_then(|run| run.info()).expect("reads"), info());
    }

    #[test]
    fn an_existing_name_is_refused_and_nothing_is_left_behind() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        RunFolder::create(folder.path(), Some("a"), "demo", "", &info()).expect("creates");
        RunFolder::create(folder.path(), Some("a"), "demo", "", &info()).expect_err("is taken");
        RunFolder::create(folder.path(), Some("../b"), "demo", "", &info()).expect_err("leaves the folder");
        assert_eq!(fs::read_dir(folder.path()).expect("lists").count(), 1);
    }

    #[test]
    fn a_folder_that_is_no_run_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let error = RunFolder::open(folder.path()).expect_err("is empty").to_string();
        assert!(error.contains("recipe.toml"), "{error}");
    }

    #[test]
    fn a_run_is_trained_by_one_process_at_a_time() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let run = RunFolder::create(folder.path(), None, "demo", "", &info()).expect("creates");
        let held = run.lock().expect("is free");
        assert!(matches!(run.lock(), Err(TrainError::Busy { .. })));
        drop(held);
        run.lock().expect("is free again");
    }
}
