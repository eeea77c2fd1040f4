//! A split as a small text file: which image trains, which chooses hyper-parameters, which tests.
//!
//! A CSV table with the columns `path`, `label` and `split` (`train`, `val` or `test`). `path` is the image's name in the data set
//! (`cat/1.jpg`; `train[17]` in a file of many images). The label is for people; the data set's own counts. Images that the file
//! does not name are left out.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::{DataError, Dataset, Part};

/// The part of each image by its name.
pub(crate) fn read(path: &Path) -> Result<HashMap<String, Part>, DataError> {
    let bytes = std::fs::read(path).map_err(|e| DataError::io(path, e))?;
    parse(path, &bytes)
}

/// [`read`] from memory.
pub(crate) fn parse(path: &Path, bytes: &[u8]) -> Result<HashMap<String, Part>, DataError> {
    let bad = |reason: String| DataError::Format { path: path.to_owned(), format: "split", reason };
    let mut reader = csv::ReaderBuilder::new().comment(Some(b'#')).from_reader(bytes);
    let headers = reader.headers().map_err(|e| bad(e.to_string()))?.clone();
    let column = |name: &str| {
        headers
            .iter()
            .position(|header| header.trim() == name)
            .ok_or_else(|| bad(format!("its first line has no column `{name}`; expected `path,label,split`")))
    };
    let (name, split) = (column("path")?, column("split")?);
    let mut parts = HashMap::new();
    for record in reader.records() {
        let record = record.map_err(|e| bad(e.to_string()))?;
        let line = record.position().map_or(0, |position| position.line());
        let name = record.get(name).unwrap_or_default();
        let part = record.get(split).unwrap_or_default().trim();
        let Some(part) = part_of(part) else {
            return Err(bad(format!(
                "line {line}: the split is `{part}`; expected `train`, `val` or `test`"
            )));
        };
        if parts.insert(name.to_owned(), part).is_some_and(|before| before != part) {
            return Err(bad(format!("line {line}: `{name}` is in two parts")));
        }
    }
    Ok(parts)
}

/// `train`, `val`, `test` and the other names that folders of parts may have.
pub(crate) fn part_of(name: &str) -> Option<Part> {
    match name.to_lowercase().as_str() {
        "train" | "training" => Some(Part::Train),
        "val" | "valid" | "validation" | "dev" => Some(Part::Val),
        "test" | "testing" => Some(Part::Test),
        _ => None,
    }
}

/// The split of a data set as a text file, which the key `data.split_file` takes.
///
/// # Errors
/// [`DataError::Write`]; the file is then as it was before.
pub fn write_split(path: &Path, data: &Dataset) -> Result<(), DataError> {
    let rows = [Part::Train, Part::Val, Part::Test].into_iter().flat_map(|part| {
        data.part(part)
            .samples
            .iter()
            .map(move |&sample| (data.name(sample), data.classes[data.label(sample) as usize].clone(), part))
    });
    write_rows(path, rows)
}

/// [`write_split`] of rows of one's own: name, label, part.
///
/// # Errors
/// [`DataError::Write`]; the file is then as it was before.
pub fn write_rows(path: &Path, rows: impl Iterator<Item = (String, String, Part)>) -> Result<(), DataError> {
    let failed = |source| DataError::Write { path: path.to_owned(), source };
    let mut writer = csv::WriterBuilder::new().comment(Some(b'#')).from_writer(Vec::new());
    let write = || -> Result<(), csv::Error> {
        writer.write_record(["path", "label", "split"])?;
        for (name, label, part) in rows {
            let split = match part {
                Part::Train => "train",
                Part::Val => "val",
                Part::Test => "test",
            };
            writer.write_record([name.as_str(), label.as_str(), split])?;
        }
        Ok(())
    };
    write().map_err(|error| failed(std::io::Error::other(error)))?;
    let bytes = writer.into_inner().map_err(|error| failed(std::io::Error::other(error.to_string())))?;
    whole(path, &bytes).map_err(failed)
}

/// Writes a file as a whole or not at all.
pub(crate) fn whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary: PathBuf = path.with_file_name(name);
    let result = std::fs::File::create(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&temporary, path));
    if result.is_err() {
        let _ = std::fs::remove_file(&temporary); // the first error is the one to tell
    }
    result
}
