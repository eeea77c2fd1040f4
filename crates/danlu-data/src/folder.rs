//! Folders of images: `class/*.jpg`, or `train/class/*.jpg` beside `val/` and `test/`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{DataError, stall, store};

/// How deep folders inside a class folder are followed; deeper ones are a loop of links or a mistake.
const MAX_DEPTH: usize = 16;

/// One class folder of one part.
pub(crate) struct ClassFolder {
    pub(crate) name: String,
    /// Its images, relative to the data set's root, sorted.
    pub(crate) files: Vec<PathBuf>,
}

/// What a walk leaves out, to be told.
#[derive(Default)]
pub(crate) struct LeftOut {
    pub(crate) hidden: usize,
    pub(crate) other_files: usize,
    pub(crate) unreadable: Vec<(PathBuf, String)>,
    pub(crate) notes: Vec<String>,
}

/// The entries of a folder without the hidden ones, sorted by name: (folders, files).
pub(crate) fn entries(
    folder: &Path,
    left_out: &mut LeftOut,
) -> Result<(Vec<PathBuf>, Vec<PathBuf>), DataError> {
    let (mut folders, mut files) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder).map_err(|e| DataError::io(folder, e))? {
        stall::step();
        let entry = entry.map_err(|e| DataError::io(folder, e))?;
        let name = entry.file_name();
        if is_hidden(&name.to_string_lossy()) {
            left_out.hidden += 1;
            continue;
        }
        let path = entry.path();
        let kind = match entry.file_type() {
            // A link is what it points to; one that points nowhere is an unreadable file.
            Ok(kind) if kind.is_symlink() => match fs::metadata(&path) {
                Ok(meta) => meta.file_type(),
                Err(e) => {
                    left_out.unreadable.push((path, format!("a link that leads nowhere ({e})")));
                    continue;
                }
            },
            Ok(kind) => kind,
            Err(e) => {
                left_out.unreadable.push((path, e.to_string()));
                continue;
            }
        };
        if kind.is_dir() {
            folders.push(path);
        } else if kind.is_file() {
            files.push(path);
        } else {
            left_out.other_files += 1; // a socket, a pipe: reading one might wait for ever
        }
    }
    folders.sort();
    files.sort();
    Ok((folders, files))
}

/// True for what is no data: hidden files, and the litter of systems.
pub(crate) fn is_hidden(name: &str) -> bool {
    // `.git`, `.ipynb_checkpoints`, `._x.jpg`; and the litter of Windows, macOS and NAS boxes.
    name.starts_with('.')
        || matches!(name, "__MACOSX" | "Thumbs.db" | "desktop.ini" | "@eaDir" | "__pycache__")
}

/// True where the name is that of an image of a supported format.
pub(crate) fn is_image_name(path: &Path) -> bool {
    const EXTENSIONS: [&str; 11] =
        ["jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "gif", "tif", "tiff", "dib"];
    path.extension()
        .and_then(|e| e.to_str())
        .is_some_and(|e| EXTENSIONS.iter().any(|known| e.eq_ignore_ascii_case(known)))
}

/// The class folders of a folder. Images are looked for in the folders of a class too.
pub(crate) fn classes(
    root: &Path,
    folder: &Path,
    left_out: &mut LeftOut,
) -> Result<Vec<ClassFolder>, DataError> {
    let (folders, files) = entries(folder, left_out)?;
    let direct = files.iter().filter(|path| is_image_name(path)).count();
    if direct > 0 && folders.is_empty() {
        return Err(DataError::NoClassFolders { path: folder.to_owned(), count: direct });
    }
    if direct > 0 {
        left_out
            .notes
            .push(format!("{direct} images directly in `{}` belong to no class: left out", folder.display()));
    }
    left_out.other_files += files.len() - direct;
    let mut classes = Vec::new();
    for path in folders {
        let name = store::text(path.file_name().unwrap_or_default());
        let mut images = Vec::new();
        // A link in a class to the folder of all classes would give the class every image.
        let mut stack: Vec<PathBuf> =
            [root, folder].iter().filter_map(|above| fs::canonicalize(above).ok()).collect();
        walk(&path, &mut stack, &mut images, left_out)?;
        if images.is_empty() {
            left_out.notes.push(format!("the folder `{}` holds no images: not a class", path.display()));
            continue;
        }
        let files =
            images.into_iter().map(|p| p.strip_prefix(root).map(Path::to_path_buf).unwrap_or(p)).collect();
        classes.push(ClassFolder { name, files });
    }
    // As torchvision's ImageFolder: by code point. Weights trained elsewhere bring their classes in this order.
    classes.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(classes)
}

fn walk(
    folder: &Path,
    stack: &mut Vec<PathBuf>,
    images: &mut Vec<PathBuf>,
    left_out: &mut LeftOut,
) -> Result<(), DataError> {
    let (folders, files) = entries(folder, left_out)?;
    for path in files {
        if is_image_name(&path) {
            images.push(path);
        } else {
            left_out.other_files += 1;
        }
    }
    if folders.is_empty() {
        return Ok(());
    }
    // Canonical paths are only needed where there is something to descend into.
    let real = fs::canonicalize(folder).map_err(|e| DataError::io(folder, e))?;
    stack.push(real);
    for inner in folders {
        let looped = fs::canonicalize(&inner).map(|real| stack.contains(&real)).unwrap_or(true);
        if looped || stack.len() > MAX_DEPTH + 2 {
            left_out.notes.push(format!("`{}` leads back to a folder above it: left out", inner.display()));
            continue;
        }
        walk(&inner, stack, images, left_out)?;
    }
    stack.pop();
    Ok(())
}

/// The folders of the given parts, where the folder is one of `train/`, `val/`, `test/`.
#[derive(Default)]
pub(crate) struct PartFolders {
    pub(crate) train: Option<PathBuf>,
    pub(crate) val: Option<PathBuf>,
    pub(crate) test: Option<PathBuf>,
    pub(crate) others: Vec<PathBuf>,
}

impl PartFolders {
    /// `None` where the folder is not divided into parts. A folder named `train` that holds images and no folders is a
    /// class (railway pictures), not a part.
    pub(crate) fn find(folders: &[PathBuf]) -> Option<Self> {
        let mut parts = PartFolders::default();
        for path in folders {
            let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
            let has_folders =
                || entries(path, &mut LeftOut::default()).is_ok_and(|(inner, _)| !inner.is_empty());
            let slot = match name.as_str() {
                "train" | "training" => &mut parts.train,
                "val" | "valid" | "validation" | "dev" => &mut parts.val,
                "test" | "testing" => &mut parts.test,
                _ => {
                    parts.others.push(path.clone());
                    continue;
                }
            };
            if slot.is_none() && has_folders() {
                *slot = Some(path.clone());
            } else {
                parts.others.push(path.clone());
            }
        }
        (parts.train.is_some() || parts.val.is_some() || parts.test.is_some()).then_some(parts)
    }
}
