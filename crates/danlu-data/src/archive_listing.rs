//! What an archive is: IDX or CIFAR files, a list with its images, class folders, WebDataset's samples.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use crate::archive::{self, Archives, Contents, Entry, Item};
use crate::dataset::{Broken, Format, Part};
use crate::list::{self, Row};
use crate::listing::{Candidates, Listing, lines, listed, look, numbers, training_classes};
use crate::split_file::part_of;
use crate::store::Store;
use crate::{DataConfig, DataError, folder, packed};

/// A list of more bytes than this is none.
const LARGEST_LIST: u64 = 1 << 30;

/// Lists, each with its name in the archive and its rows.
type Lists = Vec<(PathBuf, Vec<Row>)>;

pub(crate) fn from_archives(
    path: &Path,
    files: &[PathBuf],
    config: &DataConfig,
    known: Option<&[String]>,
) -> Result<Listing, DataError> {
    let mut notes = Vec::new();
    let (archives, items) = archive::walk(files, &mut notes)?;
    let images = items.iter().filter(|item| folder::is_image_name(Path::new(&item.name))).count();
    if images == 0 {
        let names: Vec<PathBuf> = items.iter().map(|item| PathBuf::from(&item.name)).collect();
        let open = |name: &Path| match items.iter().find(|item| Path::new(&item.name) == name) {
            Some(item) => archives.open(&item.entry),
            None => Err(DataError::NotFound { path: path.join(name) }),
        };
        if let Some(listing) = packed::find(path, &names, &open, config, known)? {
            return Ok(listing);
        }
    }
    if let Some(lists) = lists(path, &archives, &items, config)? {
        return from_lists(path, archives, items, lists, config, known);
    }
    let Contents { archives, labels, parts, notes, numbered } =
        archive::contents(path, archives, items, notes)?;
    if labels.is_empty() {
        return Err(DataError::Empty {
            path: path.to_owned(),
            found: "an archive without images in folders".into(),
        });
    }
    let classes = training_classes(path, &labels, &parts, numbered, known)?;
    let count = archives.files.len();
    let mut found =
        vec![format!("{} images in {count} archive{}", labels.len(), if count == 1 { "" } else { "s" })];
    found.extend(notes);
    let candidates = Candidates {
        format: Format::Archive,
        labels: numbers(path, &labels, &parts, &classes)?,
        classes,
        parts,
        groups: Vec::new(),
        orders: Vec::new(),
        weights: Vec::new(),
        store: Store::Archived(archives),
        found,
        broken: Vec::new(),
    };
    look(path, candidates, config, known)
}

/// The lists in an archive: those named after the parts where one is `train`, else the only list that names images of the archive.
fn lists(
    path: &Path,
    archives: &Archives,
    items: &[Item],
    config: &DataConfig,
) -> Result<Option<Lists>, DataError> {
    let all: Vec<&Item> = items.iter().filter(|item| list::is_list_name(Path::new(&item.name))).collect();
    let read = |item: &Item, part: Option<Part>| -> Result<(PathBuf, Vec<Row>), DataError> {
        let bytes = archives.read_entry(&item.entry, LARGEST_LIST)?;
        let name = PathBuf::from(&item.name);
        let mut rows = list::parse(&path.join(&name), &bytes, config, part)?;
        let beside = name.parent().unwrap_or(Path::new(""));
        rows.iter_mut().for_each(|row| row.path = within(&beside.join(&row.path)));
        Ok((name, rows))
    };
    let of_part = |item: &&Item| part_of(&Path::new(&item.name).file_stem()?.to_string_lossy());
    let parts: Vec<(&Item, Part)> = all.iter().filter_map(|item| Some((*item, of_part(item)?))).collect();
    if parts.iter().any(|(_, part)| *part == Part::Train) {
        return parts
            .into_iter()
            .map(|(item, part)| read(item, Some(part)))
            .collect::<Result<_, _>>()
            .map(Some);
    }
    let [only] = &all[..] else { return Ok(None) };
    // Any table may lie beside the images; one that names them is their list.
    let Ok((name, rows)) = read(only, None) else { return Ok(None) };
    let names_images = rows.iter().any(|row| items.iter().any(|item| Path::new(&item.name) == row.path));
    Ok(names_images.then(|| vec![(name, rows)]))
}

/// A path without `.` and `..`, as far as it has steps to go back.
fn within(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for step in path.components() {
        match step {
            Component::Normal(name) => out.push(name),
            Component::ParentDir => {
                out.pop();
            }
            _ => {}
        }
    }
    out
}

fn from_lists(
    path: &Path,
    mut archives: Archives,
    items: Vec<Item>,
    lists: Lists,
    config: &DataConfig,
    known: Option<&[String]>,
) -> Result<Listing, DataError> {
    let folder = lists[0].0.parent().unwrap_or(Path::new("")).to_path_buf();
    let mut entries: HashMap<PathBuf, Entry> =
        items.into_iter().map(|item| (PathBuf::from(item.name), item.entry)).collect();
    let class_names = match entries.get(&folder.join("classes.txt")) {
        Some(entry) => Some(lines(&String::from_utf8_lossy(&archives.read_entry(entry, 1 << 24)?))),
        None => None,
    };
    let mut candidates = listed(path, Path::new(""), lists, class_names, config, known)?;
    let Store::Files { paths, .. } = &candidates.store else {
        return Err(DataError::NotADataset { path: path.to_owned() });
    };
    let mut keep = Vec::with_capacity(paths.len());
    for name in paths {
        let entry = entries.remove(name);
        keep.push(entry.is_some());
        match entry {
            Some(entry) => archives.entries.push(entry),
            None => candidates.broken.push(Broken {
                path: name.clone(),
                reason: "the list names it, the archive does not hold it".into(),
            }),
        }
    }
    candidates.retain(&keep);
    candidates.store = Store::Archived(archives);
    look(path, candidates, config, known)
}
