//! What can be wrong with a data set or a data configuration.

use std::path::{Path, PathBuf};

/// An error of this crate. The text says what was wrong, where, and what was expected; [`DataError::hint`] says
/// what to do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// Nothing is at the path.
    #[error("no such file or folder: `{}`", path.display())]
    NotFound {
        /// The path as given.
        path: PathBuf,
    },
    /// The path is a file, and its format is none that holds a data set.
    #[error("`{}` is a file; expected a folder of images, of IDX or CIFAR files, a list (.csv, .tsv, .jsonl), or a .zip or .tar of class folders", path.display())]
    NotADataset {
        /// The file.
        path: PathBuf,
    },
    /// The folder holds nothing that danlu can read as a data set.
    #[error("found no images in `{}`: expected `class/*.jpg`, `train/class/*.jpg` or IDX files ({found})", path.display())]
    Empty {
        /// The folder.
        path: PathBuf,
        /// What was there instead, in words.
        found: String,
    },
    /// Images lie in the folder itself and not in one folder a class.
    #[error("{count} images lie directly in `{}`; expected one folder for each class, as in `{}/cat/1.jpg`", path.display(), path.display())]
    NoClassFolders {
        /// The folder.
        path: PathBuf,
        /// How many images lie in it.
        count: usize,
    },
    /// Only one class was found.
    #[error("only one class, `{class}`, in the training set of `{}`; a classifier needs at least two", path.display())]
    OneClass {
        /// The data set.
        path: PathBuf,
        /// The name of that class.
        class: String,
    },
    /// A class is too small to be split.
    #[error(
        "class `{class}` of `{}` has {count} image{}; at least {needed} are needed to hold some out for validation and test",
        path.display(), if *.count == 1 { "" } else { "s" }
    )]
    ClassTooSmall {
        /// The data set.
        path: PathBuf,
        /// The class.
        class: String,
        /// Its images.
        count: usize,
        /// How many are needed.
        needed: usize,
    },
    /// A class of the validation or test set is not one of the training set's.
    #[error("class `{class}` of the {part} set (`{}`) is not in the training set; its classes are {known}", path.display())]
    UnknownClass {
        /// Where the class was found.
        path: PathBuf,
        /// `validation` or `test`.
        part: String,
        /// The unknown class.
        class: String,
        /// The classes of the training set, shortened.
        known: String,
        /// The known class whose name is nearest, where one is near.
        nearest: Option<String>,
    },
    /// No training images.
    #[error("`{}` has no training set: found only {found}", path.display())]
    NoTrainingSet {
        /// The data set.
        path: PathBuf,
        /// The parts that were found.
        found: String,
    },
    /// A part of the data set that was asked for has no images.
    #[error("the {part} set of `{}` is empty", path.display())]
    EmptyPart {
        /// The data set.
        path: PathBuf,
        /// `training`, `validation` or `test`.
        part: String,
    },
    /// More than the permitted share of the images cannot be read.
    #[error(
        "{broken} of {total} images of `{}` cannot be read (more than `data.max_broken` = {max}); the first is `{}`: {reason}",
        path.display(), first.display()
    )]
    TooManyBroken {
        /// The data set.
        path: PathBuf,
        /// Unreadable images.
        broken: usize,
        /// All images.
        total: usize,
        /// The permitted share, 0 to 1.
        max: f64,
        /// The first unreadable image.
        first: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An image cannot be decoded.
    #[error("cannot read the image `{}`: {reason}", path.display())]
    Image {
        /// The image.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file of a format of its own (IDX, CIFAR, a list, a split file) is not what it claims to be.
    #[error("`{}` is not a valid {format} file: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// `IDX`, `CIFAR binary`, ...
        format: &'static str,
        /// What was found and what was expected.
        reason: String,
    },
    /// Reading failed.
    #[error("cannot read `{}`: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// Writing failed.
    #[error("cannot write `{}`: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// Nothing could be read for a long time.
    #[error("nothing could be read from `{}` for {seconds} s", path.display())]
    Stalled {
        /// The data set.
        path: PathBuf,
        /// How long.
        seconds: u64,
    },
    /// A value of the configuration is out of its range.
    #[error("`{key}` is {value}; expected {expected}")]
    Config {
        /// The key of the recipe, as `data.val_fraction`.
        key: String,
        /// The value given.
        value: String,
        /// The range and the reason for it.
        expected: String,
    },
    /// The batch is larger than the set it is drawn from.
    #[error("`batch_size` is {batch_size}, but the {part} set has only {len} images")]
    BatchTooLarge {
        /// Images of a batch.
        batch_size: usize,
        /// Which set.
        part: String,
        /// Images of that set.
        len: usize,
    },
}

/// True for `.tar.gz` and its kin.
fn is_packed_tar(path: &Path) -> bool {
    let name = path.to_string_lossy().to_lowercase();
    [".tar.gz", ".tgz", ".tar.xz", ".txz"].iter().any(|ending| name.ends_with(ending))
}

impl DataError {
    /// What a person can do about it, for the `hint:` line.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            DataError::NotFound { .. } => "check the spelling, or try `danlu train demo`".into(),
            DataError::NotADataset { path } if is_packed_tar(path) => format!(
                "a packed tar cannot be read at random; `{} {}` makes a .tar of it, which is read in place",
                if path.to_string_lossy().ends_with("gz") { "gunzip -k" } else { "unxz -k" },
                path.display()
            ),
            DataError::NotADataset { .. } => {
                "give the folder that holds one folder for each class, as `photos/` for `photos/cat/1.jpg`"
                    .into()
            }
            DataError::Empty { .. } | DataError::NoClassFolders { .. } => {
                "put the images of each class into a folder named after the class".into()
            }
            DataError::OneClass { .. } => {
                "add a folder with images of another class (for `is it a cat?`: a class `other`)".into()
            }
            DataError::ClassTooSmall { .. } => "add images to the class, or remove the class".into(),
            DataError::UnknownClass { nearest: Some(name), .. } => {
                format!("did you mean `{name}`? folders of the same class need the same name in every set")
            }
            DataError::UnknownClass { .. } => {
                "add the class to the training set, or remove it from the other sets".into()
            }
            DataError::NoTrainingSet { .. } => "name the folder with the training images `train`".into(),
            DataError::EmptyPart { .. } => {
                "add images, or raise `data.val_fraction` or `data.test_fraction`".into()
            }
            DataError::TooManyBroken { .. } => "repair or remove them, or raise `data.max_broken`".into(),
            DataError::Image { .. } => {
                "open it in an image viewer; if that fails too, the file is damaged".into()
            }
            DataError::Format { .. } => {
                "the file may be damaged or cut short; download or copy it again".into()
            }
            DataError::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                "you have no permission to read it; see `ls -l`".into()
            }
            DataError::Stalled { .. } => {
                "is the drive still connected? a run goes on with `danlu resume`; `data.read_timeout` waits longer".into()
            }
            DataError::Write { .. } => "is there space, and may you write there?".into(),
            DataError::BatchTooLarge { len, .. } => format!("use `batch_size` = {len} or less"),
            DataError::Io { .. } | DataError::Config { .. } => return None,
        })
    }

    /// The path that the error is about, where there is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            DataError::NotFound { path }
            | DataError::NotADataset { path }
            | DataError::Empty { path, .. }
            | DataError::NoClassFolders { path, .. }
            | DataError::OneClass { path, .. }
            | DataError::ClassTooSmall { path, .. }
            | DataError::UnknownClass { path, .. }
            | DataError::NoTrainingSet { path, .. }
            | DataError::EmptyPart { path, .. }
            | DataError::TooManyBroken { path, .. }
            | DataError::Image { path, .. }
            | DataError::Format { path, .. }
            | DataError::Io { path, .. }
            | DataError::Stalled { path, .. }
            | DataError::Write { path, .. } => Some(path),
            DataError::Config { .. } | DataError::BatchTooLarge { .. } => None,
        }
    }

    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        if source.kind() == std::io::ErrorKind::NotFound {
            return DataError::NotFound { path: path.to_owned() };
        }
        DataError::Io { path: path.to_owned(), source }
    }

    pub(crate) fn config(key: &str, value: impl ToString, expected: impl Into<String>) -> Self {
        DataError::Config { key: key.into(), value: value.to_string(), expected: expected.into() }
    }
}
