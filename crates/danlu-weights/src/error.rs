//! What can go wrong with a weights file, in words that say which file, what was expected and what to do.

use crate::LoadReport;
use std::io;
use std::path::{Path, PathBuf};

/// The result of this crate's functions.
pub type Result<T, E = WeightsError> = std::result::Result<T, E>;

/// Why weights could not be read, matched or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The operating system refused.
    #[error("could not {action} `{}`: {source}", path.display())]
    Io {
        /// What was attempted: `read`, `write`, ...
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file is no weights file that danlu knows.
    #[error("`{}` is not a weights file: found {found}, expected safetensors or a PyTorch .pth/.pt file", path.display())]
    NotWeights {
        /// The file.
        path: PathBuf,
        /// What its first bytes look like.
        found: String,
    },
    /// The file ends before what it declares.
    #[error("`{}` is cut short: {what} needs {expected} bytes, the file has {actual}", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// What was declared: the header, the tensors.
        what: String,
        /// Bytes that the declaration needs.
        expected: u64,
        /// Bytes that there are.
        actual: u64,
    },
    /// The container is damaged or contradicts itself.
    #[error("`{}` is damaged: {what}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The pickle would have called functions that no weights need. Nothing was run.
    #[error(
        "`{}` is unsafe: its pickle calls {}, which no weights need (nothing was run)",
        path.display(), calls.iter().map(|call| format!("`{call}`")).collect::<Vec<_>>().join(", ")
    )]
    UnsafePickle {
        /// The file.
        path: PathBuf,
        /// The functions, as `module.name`.
        calls: Vec<String>,
    },
    /// The file is well-formed but holds nothing that could be weights.
    #[error("`{}` holds no tensors{detail}", path.display())]
    NoTensors {
        /// The file.
        path: PathBuf,
        /// What it holds instead; empty or ` (...)`.
        detail: String,
    },
    /// A tensor's element type has no meaning as f32.
    #[error("`{}`: tensor `{key}` has the element type {dtype}, expected f32, f16, bf16, f64 or an integer type", path.display())]
    UnsupportedDtype {
        /// The file.
        path: PathBuf,
        /// The tensor.
        key: String,
        /// Its type.
        dtype: String,
    },
    /// A folder holds none of the files that danlu looks for.
    #[error("`{}` is a folder without weights: expected {expected}", path.display())]
    NoWeightsInFolder {
        /// The folder.
        path: PathBuf,
        /// The names looked for.
        expected: String,
    },
    /// The wanted part of a checkpoint is not there.
    #[error("`{}` has no weights under the key `{key}`; its top-level keys are {available}", path.display())]
    NoSuchTopLevelKey {
        /// The file.
        path: PathBuf,
        /// The wanted key.
        key: String,
        /// What there is.
        available: String,
    },
    /// Under `strict`, the keys or sizes differ.
    #[error("the weights do not match the network exactly: {0}")]
    Mismatch(Box<LoadReport>),
    /// The file's last layer has another number of classes.
    #[error("`{key}` is for {found} classes, the task has {expected}")]
    HeadMismatch {
        /// The head's tensor.
        key: String,
        /// Classes of the file.
        found: usize,
        /// Classes of the network.
        expected: usize,
    },
    /// The file's first convolution sees other channels.
    #[error("`{key}` is for images of {found} channels, the network's have {expected}")]
    InputChannels {
        /// The first convolution.
        key: String,
        /// Channels of the file.
        found: usize,
        /// Channels of the network.
        expected: usize,
    },
    /// The file belongs to another network.
    #[error(
        "the weights are of another architecture: {fitting} of the network's {wanted} weight tensors fit{}",
        looks_like.as_ref().map(|name| format!("; the file looks like {name}")).unwrap_or_default()
    )]
    OtherArchitecture {
        /// Filters and matrices (head excepted) that fit.
        fitting: usize,
        /// How many the network has.
        wanted: usize,
        /// The nearest known architecture.
        looks_like: Option<String>,
    },
    /// Weights that are NaN or infinite.
    #[error(
        "{}weights that are NaN or infinite: {}",
        path.as_ref().map(|path| format!("`{}` has ", path.display())).unwrap_or_default(), counted(tensors)
    )]
    NonFinite {
        /// The file, where one is known.
        path: Option<PathBuf>,
        /// Tensors and how many of their values are NaN or infinite.
        tensors: Vec<(String, usize)>,
    },
    /// State dicts that cannot be compared or averaged value by value.
    #[error("cannot average the weights: {what}")]
    NotAlike {
        /// The key and what differs.
        what: String,
    },
    /// A file to write whose ending says nothing about the format.
    #[error("`{}` has no ending that tells a format, expected .safetensors, .pth, or a folder without an ending", path.display())]
    UnknownEnding {
        /// The file.
        path: PathBuf,
    },
    /// Nobody publishes ImageNet weights for that network at the address that danlu knows.
    #[error("there are no ImageNet weights for the network `{network}`")]
    NoPretrained {
        /// The network.
        network: String,
    },
    /// A download did not come to its end.
    #[error("could not download `{url}`: {problem}")]
    Download {
        /// The address.
        url: String,
        /// Where the file would lie.
        path: PathBuf,
        /// What went wrong.
        problem: String,
    },
    /// A downloaded file is not the one that was asked for; it was removed.
    #[error("`{url}` is not what it should be: its SHA-256 is {found}, expected {expected}...")]
    WrongSha256 {
        /// The address.
        url: String,
        /// The digest of what came.
        found: String,
        /// The first digits of what should have come.
        expected: String,
    },
    /// A network or a tensor that the export cannot express.
    #[error("cannot export the network: {what}")]
    Export {
        /// The layer and what is wrong.
        what: String,
    },
}

/// `a` (2 values), `b` (1 value) and 3 more tensors.
pub(crate) fn counted(tensors: &[(String, usize)]) -> String {
    const SHOWN: usize = 6;
    let one = |(key, count): &(String, usize)| match count {
        1 => format!("`{key}` (1 value)"),
        count => format!("`{key}` ({count} values)"),
    };
    let shown = tensors.iter().take(SHOWN).map(one).collect::<Vec<_>>().join(", ");
    match tensors.len().saturating_sub(SHOWN) {
        0 => shown,
        1 => format!("{shown} and 1 more tensor"),
        more => format!("{shown} and {more} more tensors"),
    }
}

impl WeightsError {
    /// What to do next, for the `hint:` line below the error.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            WeightsError::Io { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => "check the path; is it relative to another folder?",
                io::ErrorKind::PermissionDenied => "check the permissions of the file and its folder",
                io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidInput => {
                    "name a file, in a folder that exists"
                }
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    "free some space; nothing was left half-written"
                }
                io::ErrorKind::FileTooLarge => {
                    "the file system or a limit (`ulimit -f`) allows no larger file; nothing was left half-written"
                }
                _ => return None,
            },
            WeightsError::NotWeights { found, .. } if found.contains("HTML") => {
                "the download failed and saved the server's error page; download the file again"
            }
            WeightsError::NotWeights { found, .. } if found.contains("Git LFS") => {
                "fetch the real file with `git lfs pull`, or download it from the repository's page"
            }
            WeightsError::NotWeights { .. } => {
                "save the weights with `torch.save(model.state_dict(), \"w.pth\")` or as .safetensors"
            }
            WeightsError::Truncated { .. } => "the download or copy was interrupted; fetch the file again",
            WeightsError::Malformed { .. } => {
                "fetch the file again and compare its checksum with the publisher's"
            }
            WeightsError::UnsafePickle { .. } => {
                "do not load this file with torch.load either; ask its publisher for a .safetensors file"
            }
            WeightsError::NoTensors { .. } => {
                "save the state dict: `torch.save(model.state_dict(), \"w.pth\")`, not the optimizer or the script"
            }
            WeightsError::UnsupportedDtype { .. } => {
                "convert the weights to f32 first, in PyTorch: `{k: v.float() for k, v in state_dict.items()}`"
            }
            WeightsError::NoWeightsInFolder { .. } => "name the weights file itself",
            WeightsError::NoSuchTopLevelKey { .. } => "name one of the keys that the file has, or none",
            WeightsError::Mismatch(_) => "without `strict`, what does not fit is left out and listed",
            WeightsError::HeadMismatch { .. } => {
                "ask for a new head (`finetune.head = \"new\"`, without `--strict`): the last layer is then trained from scratch for your classes"
            }
            WeightsError::InputChannels { .. } => {
                "ask for the input channels to be adapted, or convert the images"
            }
            WeightsError::OtherArchitecture { looks_like: Some(name), .. } => {
                let name = name.split(' ').next().unwrap_or_default();
                return Some(format!(
                    "choose that network (`--network {name}`), or weights of the one you chose"
                ));
            }
            WeightsError::OtherArchitecture { .. } => "choose the network that the weights were trained with",
            WeightsError::NonFinite { .. } => {
                "the training that made them diverged; use an earlier checkpoint"
            }
            WeightsError::NotAlike { .. } => "average checkpoints of one and the same network",
            WeightsError::UnknownEnding { .. } => "ONNX is written by `danlu export RUN --to onnx`",
            WeightsError::Export { .. } => return None,
            WeightsError::NoPretrained { .. } => {
                let names: Vec<&str> = crate::PRETRAINED.iter().map(|row| row.network).collect();
                return Some(format!("there are for {}", names.join(", ")));
            }
            WeightsError::Download { url, path, .. } => {
                return Some(format!(
                    "run it again to go on, or download {url} elsewhere and put it at `{}` (or give it with `--weights FILE`)",
                    path.display()
                ));
            }
            WeightsError::WrongSha256 { .. } => {
                "something between here and the publisher changes files (a proxy, a login page, a wrong mirror)"
            }
        };
        Some(hint.to_owned())
    }

    /// Whether writing failed: work that did not come about, as opposed to a request that was wrong.
    pub fn is_write_error(&self) -> bool {
        matches!(self, WeightsError::Io { action: "write" | "create", source, .. }
            if !matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput))
    }

    /// The error with the file that it is about, where it says none yet.
    #[must_use]
    pub fn of_file(mut self, file: &Path) -> Self {
        if let WeightsError::NonFinite { path: path @ None, .. } = &mut self {
            *path = Some(file.to_path_buf());
        }
        self
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> WeightsError {
        let path = path.to_path_buf();
        move |source| WeightsError::Io { action, path, source }
    }

    pub(crate) fn malformed(path: &Path, what: impl Into<String>) -> WeightsError {
        WeightsError::Malformed { path: path.to_path_buf(), what: what.into() }
    }
}
