//! Finding out what a data set is by looking, and listing its images with their classes and given parts.

use std::path::{Path, PathBuf};

use crate::archive_listing::from_archives;
use crate::dataset::{Broken, Format, Part, Sizes};
use crate::folder::{self, LeftOut, PartFolders};
use crate::group::Pattern;
use crate::list::{self, Row};
use crate::packed;
use crate::scan::{self, Scanned};
use crate::split_file::part_of;
use crate::store::{self, Store};
use crate::{DataConfig, DataError, archive, idx, split_file};

/// What a reader of a format hands over: every readable image with its class and given part.
pub(crate) struct Listing {
    pub(crate) format: Format,
    pub(crate) classes: Vec<String>,
    pub(crate) labels: Vec<u32>,
    pub(crate) parts: Vec<Option<Part>>,
    pub(crate) digests: Vec<[u8; 16]>,
    pub(crate) store: Store,
    pub(crate) channels: usize,
    pub(crate) sizes: Sizes,
    pub(crate) found: Vec<String>,
    pub(crate) broken: Vec<Broken>,
    /// Images in no part; empty where there are none.
    pub(crate) left_out: Vec<bool>,
    /// The group of each image (`data.group`); empty where none is asked for.
    pub(crate) groups: Vec<Option<String>>,
    /// What `data.order_by` orders by; empty: the names.
    pub(crate) orders: Vec<Option<String>>,
    /// The weights of `data.weight_by`; empty where none are asked for.
    pub(crate) weights: Vec<f64>,
    /// `[height, width]` of each image; empty where all are of one size.
    pub(crate) shapes: Vec<[u32; 2]>,
}

/// Images before they have been looked at.
pub(crate) struct Candidates {
    pub(crate) format: Format,
    pub(crate) classes: Vec<String>,
    pub(crate) labels: Vec<u32>,
    pub(crate) parts: Vec<Option<Part>>,
    pub(crate) groups: Vec<Option<String>>,
    pub(crate) orders: Vec<Option<String>>,
    pub(crate) weights: Vec<f64>,
    pub(crate) store: Store,
    pub(crate) found: Vec<String>,
    /// Found broken by the walk already.
    pub(crate) broken: Vec<Broken>,
}

impl Candidates {
    /// Keeps the images that `keep` says.
    pub(crate) fn retain(&mut self, keep: &[bool]) {
        self.store.retain(keep);
        store::retain(&mut self.labels, keep);
        store::retain(&mut self.parts, keep);
        store::retain(&mut self.groups, keep);
        store::retain(&mut self.orders, keep);
        store::retain(&mut self.weights, keep);
    }
}

/// Lists a data set. `known` are the classes of a trained network, where it is to be evaluated.
pub(crate) fn find(path: &Path, config: &DataConfig, known: Option<&[String]>) -> Result<Listing, DataError> {
    let meta = std::fs::metadata(path).map_err(|e| DataError::io(path, e))?;
    if !meta.is_dir() {
        if meta.is_file() && list::is_list_name(path) {
            let rows = list::read(path, config, None)?;
            return from_rows(path, vec![(path.to_owned(), rows)], config, known);
        }
        if meta.is_file() && archive::is_archive_name(path) {
            return from_archives(path, &[path.to_owned()], config, known);
        }
        return Err(DataError::NotADataset { path: path.to_owned() });
    }
    let mut left_out = LeftOut::default();
    let (folders, files) = folder::entries(path, &mut left_out)?;
    if let Some(listing) = packed::find(path, &files, &idx::open_file, config, known)? {
        return Ok(listing);
    }
    if folders.is_empty() && files.is_empty() {
        let found = if left_out.hidden > 0 { "only hidden files" } else { "the folder is empty" };
        return Err(DataError::Empty { path: path.to_owned(), found: found.into() });
    }
    // Lists named after the parts, beside the images they list.
    let lists: Vec<(PathBuf, Part)> = files
        .iter()
        .filter(|file| list::is_list_name(file))
        .filter_map(|file| Some((file.clone(), part_of(&file.file_stem()?.to_string_lossy())?)))
        .collect();
    if lists.iter().any(|(_, part)| *part == Part::Train) && PartFolders::find(&folders).is_none() {
        let read = lists.into_iter().map(|(file, part)| {
            let rows = list::read(&file, config, Some(part))?;
            Ok((file, rows))
        });
        let rows = read.collect::<Result<Vec<_>, DataError>>()?;
        return from_rows(path, rows, config, known);
    }
    let shards: Vec<PathBuf> = files.iter().filter(|file| archive::is_tar(file)).cloned().collect();
    if folders.is_empty() && !shards.is_empty() {
        return from_archives(path, &shards, config, known);
    }
    from_folders(path, &folders, config, known, left_out)
}

fn trains(part: Option<Part>) -> bool {
    matches!(part, None | Some(Part::Train))
}

/// The number of each label; classes that are not known are an error.
pub(crate) fn numbers(
    path: &Path,
    labels: &[String],
    parts: &[Option<Part>],
    classes: &[String],
) -> Result<Vec<u32>, DataError> {
    let number: std::collections::HashMap<&str, u32> =
        classes.iter().enumerate().map(|(i, class)| (class.as_str(), i as u32)).collect();
    labels
        .iter()
        .zip(parts)
        .map(|(label, part)| {
            number
                .get(label.as_str())
                .copied()
                .ok_or_else(|| unknown_class(path, part.unwrap_or(Part::Test), label, classes))
        })
        .collect()
}

/// The classes of the training images, or what is wrong with them.
pub(crate) fn training_classes(
    path: &Path,
    labels: &[String],
    parts: &[Option<Part>],
    numbered: bool,
    known: Option<&[String]>,
) -> Result<Vec<String>, DataError> {
    if let Some(known) = known {
        return Ok(known.to_vec());
    }
    let of_training =
        labels.iter().zip(parts).filter(|(_, part)| trains(**part)).map(|(label, _)| label.as_str());
    let classes = if numbered {
        list::class_order(of_training)
    } else {
        let mut names: Vec<String> = of_training.map(str::to_owned).collect();
        names.sort_unstable();
        names.dedup();
        names
    };
    match &classes[..] {
        [] => Err(DataError::NoTrainingSet { path: path.to_owned(), found: "images of other sets".into() }),
        [class] => Err(DataError::OneClass { path: path.to_owned(), class: class.clone() }),
        _ => Ok(classes),
    }
}

fn from_rows(
    path: &Path,
    lists: Vec<(PathBuf, Vec<Row>)>,
    config: &DataConfig,
    known: Option<&[String]>,
) -> Result<Listing, DataError> {
    let root = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new(".")) };
    look(path, listed(path, root, lists, class_names(root)?, config, known)?, config, known)
}

/// The images of lists; `names` are those of numbered classes, where they are known.
pub(crate) fn listed(
    path: &Path,
    root: &Path,
    lists: Vec<(PathBuf, Vec<Row>)>,
    class_names: Option<Vec<String>>,
    config: &DataConfig,
    known: Option<&[String]>,
) -> Result<Candidates, DataError> {
    let names: Vec<String> = lists
        .iter()
        .map(|(file, _)| file.file_name().unwrap_or_default().to_string_lossy().into_owned())
        .collect();
    let mut rows: Vec<Row> = lists.into_iter().flat_map(|(_, rows)| rows).collect();
    let listed = rows.len();
    rows.sort_by(|a, b| a.path.cmp(&b.path));
    for pair in rows.windows(2) {
        if pair[0].path == pair[1].path && (&pair[0].label, pair[0].part) != (&pair[1].label, pair[1].part) {
            let reason = format!(
                "`{}` is listed twice with different labels or splits; a classifier has one class an image",
                pair[0].path.display()
            );
            return Err(DataError::Format { path: path.to_owned(), format: "list", reason });
        }
    }
    rows.dedup_by(|a, b| a.path == b.path);
    let mut found = vec![format!("{} images listed in {}", rows.len(), names.join(", "))];
    if rows.len() < listed {
        found.push(format!("{} images are listed more than once: taken once", listed - rows.len()));
    }
    let mut labels: Vec<String> = rows.iter().map(|row| row.label.clone()).collect();
    let parts: Vec<Option<Part>> = rows.iter().map(|row| row.part).collect();
    let mut classes = training_classes(path, &labels, &parts, true, known)?;
    if let Some(names) = class_names {
        let name = |label: &mut String| {
            if let Some(name) = label.parse::<usize>().ok().and_then(|number| names.get(number)) {
                label.clone_from(name);
            }
        };
        labels.iter_mut().for_each(name);
        if known.is_none() {
            classes.iter_mut().for_each(name);
        }
        found.push("class names from `classes.txt`".into());
    }
    let column = config.group.as_ref().is_some_and(|group| !group.contains("{}"));
    Ok(Candidates {
        format: Format::List,
        labels: numbers(path, &labels, &parts, &classes)?,
        classes,
        parts,
        groups: if column { rows.iter().map(|row| row.group.clone()).collect() } else { Vec::new() },
        orders: if config.order_by.is_some() {
            rows.iter().map(|row| row.order.clone()).collect()
        } else {
            Vec::new()
        },
        weights: if config.weight_by.is_some() {
            rows.iter().map(|row| row.weight).collect()
        } else {
            Vec::new()
        },
        store: Store::Files { root: root.to_owned(), paths: rows.into_iter().map(|row| row.path).collect() },
        found,
        broken: Vec::new(),
    })
}

/// The lines that are not empty.
pub(crate) fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// The lines of `classes.txt`: the name of class 0, of class 1, and so on.
fn class_names(root: &Path) -> Result<Option<Vec<String>>, DataError> {
    let path = root.join("classes.txt");
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(lines(&text))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(DataError::io(&path, error)),
    }
}

fn from_folders(
    root: &Path,
    folders: &[PathBuf],
    config: &DataConfig,
    known: Option<&[String]>,
    mut left_out: LeftOut,
) -> Result<Listing, DataError> {
    let mut found = Vec::new();
    let part_folders = PartFolders::find(folders);
    let format = if part_folders.is_some() { Format::PartFolders } else { Format::ClassFolders };
    let mut groups: Vec<(Option<Part>, PathBuf, Vec<folder::ClassFolder>)> = Vec::new();
    match part_folders {
        None => groups.push((None, root.to_owned(), folder::classes(root, root, &mut left_out)?)),
        Some(parts) => {
            for (part, path) in [(Part::Train, parts.train), (Part::Val, parts.val), (Part::Test, parts.test)]
            {
                if let Some(path) = path {
                    let classes = folder::classes(root, &path, &mut left_out)?;
                    groups.push((Some(part), path, classes));
                }
            }
            for other in &parts.others {
                let other = other.file_name().unwrap_or_default().to_string_lossy().into_owned();
                found.push(format!(
                    "the folder `{other}` is none of `train`, `val`, `test` with class folders: left out"
                ));
            }
        }
    }
    let classes: Vec<String> = match known {
        Some(known) => known.to_vec(),
        None => match groups.iter().find(|group| trains(group.0)) {
            Some((_, _, classes)) => classes.iter().map(|class| class.name.clone()).collect(),
            None => {
                let names: Vec<&str> = groups.iter().filter_map(|group| group.0.map(Part::name)).collect();
                let found = format!("a {} set", names.join(" and a "));
                return Err(DataError::NoTrainingSet { path: root.to_owned(), found });
            }
        },
    };
    let total: usize = groups.iter().flat_map(|group| &group.2).map(|class| class.files.len()).sum();
    if total == 0 {
        let found = format!("{} folders and {} other files", folders.len(), left_out.other_files);
        return Err(DataError::Empty { path: root.to_owned(), found });
    }
    if let ([class], None) = (&classes[..], known) {
        return Err(DataError::OneClass { path: root.to_owned(), class: class.clone() });
    }
    let (mut paths, mut labels, mut parts) = (Vec::new(), Vec::new(), Vec::new());
    for (part, path, class_folders) in groups {
        for class in class_folders {
            let Some(label) = classes.iter().position(|name| *name == class.name) else {
                return Err(unknown_class(&path, part.unwrap_or(Part::Test), &class.name, &classes));
            };
            labels.extend(std::iter::repeat_n(label as u32, class.files.len()));
            parts.extend(std::iter::repeat_n(part, class.files.len()));
            paths.extend(class.files);
        }
    }
    found.insert(
        0,
        match format {
            Format::PartFolders => format!("{total} images in folders of parts and classes"),
            _ => format!("{total} images in folders of classes"),
        },
    );
    found.append(&mut left_out.notes);
    if left_out.other_files > 0 {
        found.push(format!("{} files are not images: left out", left_out.other_files));
    }
    if left_out.hidden > 0 {
        found.push(format!("{} hidden files or folders: left out", left_out.hidden));
    }
    let unreadable = left_out.unreadable.into_iter();
    let broken =
        unreadable.map(|(path, reason)| Broken { path: store::relative(root, path), reason }).collect();
    let candidates = Candidates {
        format,
        classes,
        labels,
        parts,
        groups: Vec::new(),
        orders: Vec::new(),
        weights: Vec::new(),
        store: Store::Files { root: root.to_owned(), paths },
        found,
        broken,
    };
    look(root, candidates, config, known)
}

/// A first look at every image: what cannot be read is left out.
pub(crate) fn look(
    path: &Path,
    mut candidates: Candidates,
    config: &DataConfig,
    known: Option<&[String]>,
) -> Result<Listing, DataError> {
    let total = candidates.labels.len() + candidates.broken.len();
    let Scanned { infos, mut broken } = match &candidates.store {
        Store::Files { root, paths } => scan::files(root, paths, config),
        store => scan::encoded(store, candidates.labels.len(), config),
    };
    broken.append(&mut candidates.broken);
    if broken.len() as f64 > config.max_broken * total as f64 {
        let first = &broken[0];
        let place = match &candidates.store {
            Store::Files { root, .. } => root.join(&first.path),
            _ => path.join(&first.path),
        };
        return Err(DataError::TooManyBroken {
            path: path.to_owned(),
            broken: broken.len(),
            total,
            max: config.max_broken,
            first: place,
            reason: first.reason.clone(),
        });
    }
    let keep: Vec<bool> = infos.iter().map(Option::is_some).collect();
    candidates.retain(&keep);
    let Candidates { format, classes, labels, parts, groups, orders, weights, store, found, .. } = candidates;
    let infos: Vec<scan::FileInfo> = infos.into_iter().flatten().collect();
    if infos.is_empty() {
        let found = format!("{total} files, none of them readable");
        return Err(DataError::Empty { path: path.to_owned(), found });
    }
    for (number, class) in classes.iter().enumerate() {
        let any = (0..labels.len()).any(|i| labels[i] as usize == number && trains(parts[i]));
        if !any && known.is_none() {
            let found = format!("no image of the class `{class}` can be read");
            return Err(DataError::Empty { path: path.to_owned(), found });
        }
    }
    let gray = infos.iter().all(|info| info.gray);
    let digests = infos.iter().map(|info| info.digest).collect();
    let shapes = infos.iter().map(|info| [info.height, info.width]).collect();
    Ok(Listing {
        format,
        classes,
        labels,
        parts,
        digests,
        store,
        channels: if gray { 1 } else { 3 },
        sizes: scan::sizes(&infos),
        found,
        broken,
        left_out: Vec::new(),
        groups,
        orders,
        weights,
        shapes,
    })
}

impl Listing {
    /// Gives every image the part that `data.split_file` says.
    pub(crate) fn apply_split_file(&mut self, path: &Path, config: &DataConfig) -> Result<(), DataError> {
        let Some(file) = &config.split_file else { return Ok(()) };
        let file = Path::new(file);
        let mut split = split_file::read(file)?;
        let mut unnamed = 0;
        self.left_out = vec![false; self.labels.len()];
        for sample in 0..self.labels.len() {
            match split.remove(&self.store.name(sample as u32)) {
                Some(part) => self.parts[sample] = Some(part),
                None => {
                    self.left_out[sample] = true;
                    unnamed += 1;
                }
            }
        }
        // Images that were readable when the split was written are told of as broken already.
        for broken in &self.broken {
            split.remove(broken.path.to_string_lossy().as_ref());
        }
        if let Some(missing) = split.keys().min() {
            let others =
                if split.len() > 1 { format!(" and {} others", split.len() - 1) } else { String::new() };
            let reason = format!("it names `{missing}`{others}, which `{}` does not hold", path.display());
            return Err(DataError::Format { path: file.to_owned(), format: "split", reason });
        }
        let mut trained = vec![false; self.classes.len()];
        for (i, &label) in self.labels.iter().enumerate() {
            trained[label as usize] |= !self.left_out[i] && self.parts[i] == Some(Part::Train);
        }
        if let Some(class) = trained.iter().position(|trained| !trained) {
            let reason = format!("it has no training image of the class `{}`", self.classes[class]);
            return Err(DataError::Format { path: file.to_owned(), format: "split", reason });
        }
        self.found.push(format!("split by `{}`; {unnamed} images are not in it: left out", file.display()));
        Ok(())
    }

    /// The group of each image, where `data.group` is a pattern of its name.
    pub(crate) fn find_groups(&mut self, config: &DataConfig) -> Result<(), DataError> {
        let Some(text) = &config.group else { return Ok(()) };
        if !self.groups.is_empty() {
            return Ok(()); // a column of the list
        }
        let wrong = |expected: &str| DataError::config("data.group", format!("`{text}`"), expected);
        let pattern = Pattern::new(text).ok_or_else(|| {
            wrong("a column of a list, or a pattern of the images' names with one `{}`, as `*/{}_*.jpg` for `cat/patient7_03.jpg`")
        })?;
        let names = (0..self.labels.len() as u32).map(|sample| self.store.name(sample));
        self.groups = names.map(|name| pattern.group(&name).map(str::to_owned)).collect();
        let matched = self.groups.iter().flatten().count();
        if matched == 0 {
            let first = self.store.name(0);
            return Err(wrong(&format!(
                "a pattern that fits the names of the images; the first is `{first}`"
            )));
        }
        if matched < self.labels.len() {
            self.found
                .push(format!("{} images fit no group: each is on its own", self.labels.len() - matched));
        }
        Ok(())
    }
}

/// The error for a class that the training set does not have.
pub(crate) fn unknown_class(path: &Path, part: Part, class: &str, known: &[String]) -> DataError {
    let mut shown: Vec<String> = known.iter().take(8).map(|name| format!("`{name}`")).collect();
    if known.len() > shown.len() {
        shown.push(format!("... ({} in all)", known.len()));
    }
    let nearest = known.iter().find(|name| name.to_lowercase().trim() == class.to_lowercase().trim());
    let nearest = nearest.or_else(|| known.iter().find(|name| scan::within_edits(name, class, 2)));
    DataError::UnknownClass {
        path: path.to_owned(),
        part: part.name().into(),
        class: class.into(),
        known: shown.join(", "),
        nearest: nearest.cloned(),
    }
}
