//! Lists of images: CSV, TSV or JSON lines of `path,label[,split]`, with any other columns.
//!
//! | column | names it may have |
//! |---|---|
//! | the image, relative to the list | `path`, `image`, `file`, `filename`, `file_name`, `filepath`, `image_path` |
//! | its class | `label`, `class`, `category`, `target`, `class_name` |
//! | its part (optional) | `split`, `part`, `subset`, `set`: `train`, `val` or `test` |
//!
//! A CSV or TSV file without such a first line is read as `path,label[,split]`. Other columns are for `data.group` and `data.order_by`.

use std::path::{Path, PathBuf};

use crate::split_file::part_of;
use crate::{DataConfig, DataError, Part, folder};

const PATH: [&str; 7] = ["path", "image", "file", "filename", "file_name", "filepath", "image_path"];
const LABEL: [&str; 5] = ["label", "class", "category", "target", "class_name"];
const SPLIT: [&str; 4] = ["split", "part", "subset", "set"];

/// One image of a list.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) path: PathBuf,
    pub(crate) label: String,
    pub(crate) part: Option<Part>,
    /// The value of the column `data.group`, and of `data.order_by`, where they are asked for.
    pub(crate) group: Option<String>,
    pub(crate) order: Option<String>,
    /// The value of the column `data.weight_by`; 1 where none is asked for.
    pub(crate) weight: f64,
}

/// True where the name is that of a list.
pub(crate) fn is_list_name(path: &Path) -> bool {
    kind(path).is_some()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Separated(u8),
    JsonLines,
}

fn kind(path: &Path) -> Option<Kind> {
    match path.extension()?.to_str()?.to_lowercase().as_str() {
        "csv" => Some(Kind::Separated(b',')),
        "tsv" => Some(Kind::Separated(b'\t')),
        "jsonl" | "ndjson" => Some(Kind::JsonLines),
        _ => None,
    }
}

/// Reads a list; `part` is that of rows that name none.
pub(crate) fn read(path: &Path, config: &DataConfig, part: Option<Part>) -> Result<Vec<Row>, DataError> {
    let bytes = std::fs::read(path).map_err(|e| DataError::io(path, e))?;
    parse(path, &bytes, config, part)
}

/// [`read`] from memory.
pub(crate) fn parse(
    path: &Path,
    bytes: &[u8],
    config: &DataConfig,
    part: Option<Part>,
) -> Result<Vec<Row>, DataError> {
    // A mark that spreadsheets put before UTF-8.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let list = List { path, config, part };
    let rows = match kind(path) {
        Some(Kind::Separated(separator)) => list.separated(bytes, separator)?,
        _ => list.json_lines(bytes)?,
    };
    if rows.is_empty() {
        return Err(list.bad("it lists no image".into()));
    }
    Ok(rows)
}

struct List<'a> {
    path: &'a Path,
    config: &'a DataConfig,
    part: Option<Part>,
}

impl List<'_> {
    fn bad(&self, reason: String) -> DataError {
        DataError::Format { path: self.path.to_owned(), format: "list", reason }
    }

    fn separated(&self, bytes: &[u8], separator: u8) -> Result<Vec<Row>, DataError> {
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(separator)
            .comment(Some(b'#'))
            .has_headers(false)
            .flexible(true)
            .from_reader(bytes);
        let mut columns: Option<Columns> = None;
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record.map_err(|e| self.bad(e.to_string()))?;
            let line = record.position().map_or(0, csv::Position::line);
            let columns = match &columns {
                Some(columns) => columns,
                None => {
                    let (found, header) = self.columns(&record)?;
                    let found = columns.insert(found);
                    if header {
                        continue;
                    }
                    found
                }
            };
            let cell = |column: usize| record.get(column).map(str::trim);
            let get = |column: Option<usize>| column.and_then(cell).map(str::to_owned);
            let missing = |what: &str| {
                self.bad(format!(
                    "line {line}: no {what}; it has {} of {} columns",
                    record.len(),
                    columns.count
                ))
            };
            let path = cell(columns.path).filter(|text| !text.is_empty()).ok_or_else(|| missing("path"))?;
            let label =
                cell(columns.label).filter(|text| !text.is_empty()).ok_or_else(|| missing("label"))?;
            rows.push(Row {
                path: PathBuf::from(path),
                label: label.to_owned(),
                part: self.part_of(get(columns.split), line)?,
                group: get(columns.group),
                order: get(columns.order),
                weight: self.weight(get(columns.weight), line)?,
            });
        }
        Ok(rows)
    }

    /// Where the columns are, and whether the line was their names.
    fn columns(&self, first: &csv::StringRecord) -> Result<(Columns, bool), DataError> {
        let names: Vec<String> = first.iter().map(|name| name.trim().to_lowercase()).collect();
        let find = |known: &[&str]| names.iter().position(|name| known.contains(&name.as_str()));
        let own = |key: &str, name: &Option<String>| match name {
            None => Ok(None),
            Some(wanted) => match first.iter().position(|name| name.trim() == wanted) {
                Some(column) => Ok(Some(column)),
                None => Err(self.bad(format!(
                    "it has no column `{wanted}` (`{key}`); its columns are {}",
                    first.iter().map(|name| format!("`{}`", name.trim())).collect::<Vec<_>>().join(", ")
                ))),
            },
        };
        match (find(&PATH), find(&LABEL)) {
            (Some(path), Some(label)) => {
                let group = own("data.group", &self.config.group)?;
                let order = own("data.order_by", &self.config.order_by)?;
                let weight = own("data.weight_by", &self.config.weight_by)?;
                let split = find(&SPLIT);
                Ok((Columns { path, label, split, group, order, weight, count: names.len() }, true))
            }
            _ if (2..=3).contains(&first.len()) && folder::is_image_name(Path::new(first[0].trim())) => {
                let split = (first.len() == 3).then_some(2);
                let (group, order, weight) = (None, None, None);
                Ok((Columns { path: 0, label: 1, split, group, order, weight, count: first.len() }, false))
            }
            _ => Err(self.bad(format!(
                "its first line is `{}`; expected columns named `path` and `label` (and `split`), or `path,label` of an image",
                first.iter().take(8).collect::<Vec<_>>().join(",")
            ))),
        }
    }

    fn json_lines(&self, bytes: &[u8]) -> Result<Vec<Row>, DataError> {
        let mut rows = Vec::new();
        for (number, text) in bytes.split(|&byte| byte == b'\n').enumerate() {
            if text.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let line = number as u64 + 1;
            let object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(text)
                .map_err(|error| self.bad(format!("line {line}: not a JSON object ({error})")))?;
            let text = |known: &[&str]| -> Option<String> {
                match known.iter().find_map(|name| object.get(*name))? {
                    serde_json::Value::String(text) => Some(text.clone()),
                    value @ (serde_json::Value::Number(_) | serde_json::Value::Bool(_)) => {
                        Some(value.to_string())
                    }
                    _ => None,
                }
            };
            let missing =
                |names: &[&str]| self.bad(format!("line {line}: no text under `{}`", names.join("`, `")));
            let own = |name: &Option<String>| name.as_deref().and_then(|name| text(&[name]));
            rows.push(Row {
                path: text(&PATH).filter(|path| !path.is_empty()).ok_or_else(|| missing(&PATH))?.into(),
                label: text(&LABEL).filter(|label| !label.is_empty()).ok_or_else(|| missing(&LABEL))?,
                part: self.part_of(text(&SPLIT), line)?,
                group: own(&self.config.group),
                order: own(&self.config.order_by),
                weight: self.weight(own(&self.config.weight_by), line)?,
            });
        }
        Ok(rows)
    }

    fn weight(&self, text: Option<String>, line: u64) -> Result<f64, DataError> {
        if self.config.weight_by.is_none() {
            return Ok(1.0);
        }
        let text = text.unwrap_or_default();
        match text.trim().parse::<f64>() {
            Ok(weight) if weight.is_finite() && weight >= 0.0 => Ok(weight),
            _ => Err(self.bad(format!("line {line}: the weight is `{text}`; expected a number, 0 or more"))),
        }
    }

    fn part_of(&self, text: Option<String>, line: u64) -> Result<Option<Part>, DataError> {
        match text.as_deref() {
            None | Some("") => Ok(self.part),
            Some(name) => part_of(name).map(Some).ok_or_else(|| {
                self.bad(format!("line {line}: the split is `{name}`; expected `train`, `val` or `test`"))
            }),
        }
    }
}

struct Columns {
    path: usize,
    label: usize,
    split: Option<usize>,
    group: Option<usize>,
    order: Option<usize>,
    weight: Option<usize>,
    count: usize,
}

/// The names of the classes in the order of their numbers: as numbers where all are numbers, else by code point.
pub(crate) fn class_order<'a>(labels: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut names: Vec<&str> = labels.collect();
    names.sort_unstable();
    names.dedup();
    let numbers: Option<Vec<u64>> = names.iter().map(|name| name.parse().ok()).collect();
    if let Some(numbers) = numbers {
        let mut both: Vec<(u64, &str)> = numbers.into_iter().zip(names).collect();
        both.sort_unstable();
        return both.into_iter().map(|(_, name)| name.to_owned()).collect();
    }
    names.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(name: &str, text: &str, config: &DataConfig) -> Result<Vec<Row>, String> {
        parse(Path::new(name), text.as_bytes(), config, None).map_err(|error| error.to_string())
    }

    #[test]
    fn columns_are_found_by_name_in_any_order_and_lists_without_names_are_read_too() {
        let config = DataConfig { group: Some("patient".into()), ..DataConfig::default() };
        let text = "\u{feff}patient,Label,file_name,split\n7,cat,\"a, b.jpg\",train\n8,dog,c.jpg,valid\n";
        let read = rows("x.csv", text, &config).unwrap();
        assert_eq!((read[0].path.as_path(), read[0].label.as_str()), (Path::new("a, b.jpg"), "cat"));
        assert_eq!((read[0].part, read[1].part), (Some(Part::Train), Some(Part::Val)));
        assert_eq!(read[1].group.as_deref(), Some("8"));
        let json = "{\"image\": \"a.png\", \"label\": 3, \"split\": \"test\"}\n\n{\"path\":\"b.png\",\"class\":\"x\"}\n";
        let read = rows("x.jsonl", json, &DataConfig::default()).unwrap();
        assert_eq!((read[0].label.as_str(), read[0].part), ("3", Some(Part::Test)));
        assert_eq!((read[1].label.as_str(), read[1].part), ("x", None));
        let read = rows("x.tsv", "a.jpg\tcat\nb.jpg\tdog\n", &DataConfig::default()).unwrap();
        assert_eq!((read.len(), read[1].label.as_str()), (2, "dog"));
    }

    #[test]
    fn a_bad_list_is_refused_with_its_line() {
        let plain = DataConfig::default();
        let group = DataConfig { group: Some("patient".into()), ..DataConfig::default() };
        for (name, text, config, expected) in [
            ("x.csv", "", &plain, "lists no image"),
            ("x.csv", "path,label\n", &plain, "lists no image"),
            ("x.csv", "name,kind\na.jpg,cat\n", &plain, "`name,kind`"),
            ("x.csv", "path,label\na.jpg\n", &plain, "line 2: no label; it has 1 of 2 columns"),
            ("x.csv", "path,label,split\na.jpg,cat,trian\n", &plain, "line 2: the split is `trian`"),
            ("x.csv", "path,label\na.jpg,cat\n", &group, "no column `patient`"),
            ("x.csv", "path,label\na.jpg,\u{0}\n,cat\n", &plain, "line 3: no path"),
            ("x.jsonl", "{\"path\": \"a.jpg\"\n", &plain, "line 1: not a JSON object"),
            ("x.jsonl", "{\"path\": \"a.jpg\", \"label\": null}\n", &plain, "line 1: no text under `label`"),
            ("x.jsonl", "[1, 2]\n", &plain, "line 1: not a JSON object"),
        ] {
            let error = rows(name, text, config).unwrap_err();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
        assert!(parse(Path::new("x.csv"), b"path,label\n\xff.jpg,cat\n", &plain, None).is_err(), "not UTF-8");
    }

    #[test]
    fn classes_are_ordered_as_numbers_where_all_are_numbers() {
        assert_eq!(class_order(["10", "9", "2", "9"].into_iter()), ["2", "9", "10"]);
        assert_eq!(class_order(["b", "10", "a"].into_iter()), ["10", "a", "b"]);
    }
}
