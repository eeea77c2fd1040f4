//! One door for every weights file: what it is, is told by its first bytes and not by its name.

use crate::dtype::Element;
use crate::names::Scheme;
use crate::{ModelCard, Result, StateDict, Tensor, WeightsError, huggingface, onnx, pth, safetensors_file};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// How the weights were stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WeightsFormat {
    /// One safetensors file.
    Safetensors,
    /// Several safetensors files and their index.
    SafetensorsSharded,
    /// `torch.save` since PyTorch 1.6.
    PthZip,
    /// `torch.save` of PyTorch 0.1.10 to 1.5.
    PthLegacy,
    /// `torch.save` before PyTorch 0.1.10.
    PthTar,
    /// A pickle without tensor storage.
    PlainPickle,
    /// An ONNX model: its weights and metadata.
    Onnx,
}

impl WeightsFormat {
    /// What to call it in a report.
    pub fn name(self) -> &'static str {
        match self {
            WeightsFormat::Safetensors => "safetensors",
            WeightsFormat::SafetensorsSharded => "safetensors (sharded)",
            WeightsFormat::PthZip => "PyTorch (zip)",
            WeightsFormat::PthLegacy => "PyTorch (legacy)",
            WeightsFormat::PthTar => "PyTorch (tar)",
            WeightsFormat::PlainPickle => "pickle",
            WeightsFormat::Onnx => "ONNX",
        }
    }
}

/// What to read of a checkpoint that holds more than one set of weights.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// The key of the checkpoint's dictionary that holds the weights; by default the first of `state_dict_ema`,
    /// `model_ema`, `state_dict`, `model` and their kin that is there.
    pub top_level_key: Option<String>,
    /// Prefer the raw weights to their moving average. The default (timm's too) takes the average, since that is what
    /// was evaluated.
    pub raw_over_ema: bool,
}

/// Weights that were read, and everything that was done to them on the way.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The tensors as f32 in PyTorch's layout, in the file's order, under the file's names (without `module.` and its like).
    pub state: StateDict,
    /// Classes, preprocessing and network, as far as the file or its folder tells.
    pub card: ModelCard,
    /// The metadata entries as they stand in the file.
    pub metadata: BTreeMap<String, String>,
    /// How they were stored.
    pub format: WeightsFormat,
    /// The file that was read: the one inside, where a folder was named.
    pub path: PathBuf,
    /// How many tensors had which element type (`f32`, `f16`, ...).
    pub dtypes: BTreeMap<&'static str, usize>,
    /// What was done and is worth telling: the part of the checkpoint taken, prefixes removed, types converted.
    pub notes: Vec<String>,
}

/// One tensor as read.
pub(crate) struct RawTensor {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Vec<f32>,
    pub(crate) element: Element,
}

/// The tensors of a file, before names are tidied.
#[derive(Default)]
pub(crate) struct RawTensors {
    pub(crate) tensors: Vec<RawTensor>,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) config: Option<ModelCard>,
    pub(crate) notes: Vec<String>,
}

/// Reads weights: `.safetensors`, a sharded index (`*.safetensors.index.json`), `.pth`/`.pt`/`.bin` of any PyTorch, a
/// Hugging Face folder (`config.json` beside `model.safetensors`), an `.onnx` model or a run folder of danlu. f16, bf16, f64 and integers become
/// f32. Nothing in a file is executed.
///
/// # Errors
/// Any [`WeightsError`] about reading: the path, what was found and what was expected.
pub fn read_state_dict(path: &Path) -> Result<Loaded> {
    read_state_dict_with(path, &ReadOptions::default())
}

/// [`read_state_dict`] with a choice among the parts of a checkpoint.
///
/// # Errors
/// As [`read_state_dict`], and [`WeightsError::NoSuchTopLevelKey`].
pub fn read_state_dict_with(path: &Path, options: &ReadOptions) -> Result<Loaded> {
    let (path, raw) = if path.is_dir() {
        huggingface::read_folder(path, options)?
    } else {
        (path.to_path_buf(), read_file(path, options)?)
    };
    let format = detect(&path)?;
    finish(path, format, raw)
}

/// The card of a weights file or folder, without reading the tensors. A `.pth` file has none: its card is empty.
///
/// # Errors
/// As [`read_state_dict`].
pub fn read_model_card(path: &Path) -> Result<ModelCard> {
    let (file, config) = if path.is_dir() {
        let config = path.join("config.json");
        let config = if config.is_file() { Some(huggingface::read_config(&config)?) } else { None };
        (huggingface::weights_of(path)?, config)
    } else {
        (path.to_path_buf(), None)
    };
    let metadata = match detect(&file)? {
        WeightsFormat::Safetensors => safetensors_file::read_metadata(&file)?,
        WeightsFormat::Onnx => onnx::read(&file)?.metadata,
        _ => BTreeMap::new(),
    };
    Ok(complete(ModelCard::from_metadata(&metadata).0, config))
}

/// Reads one file of any format.
pub(crate) fn read_file(path: &Path, options: &ReadOptions) -> Result<RawTensors> {
    match detect(path)? {
        WeightsFormat::Safetensors => safetensors_file::read(path),
        WeightsFormat::SafetensorsSharded => huggingface::read_sharded(path),
        WeightsFormat::Onnx => onnx::read(path),
        format => pth::read(path, format, options),
    }
}

fn detect(path: &Path) -> Result<WeightsFormat> {
    let mut start = Vec::new();
    let file = File::open(path).map_err(WeightsError::io("read", path))?;
    file.take(512).read_to_end(&mut start).map_err(WeightsError::io("read", path))?;
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let header_length = start.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes));
    let not_weights =
        |found: &str| WeightsError::NotWeights { path: path.to_path_buf(), found: found.to_owned() };
    Ok(match &start[..] {
        [] => return Err(not_weights("an empty file")),
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => WeightsFormat::PthZip,
        bytes if bytes.get(257..262) == Some(b"ustar") => WeightsFormat::PthTar,
        bytes if bytes.get(8) == Some(&b'{') && header_length.is_some_and(|n| n <= 100_000_000) => {
            WeightsFormat::Safetensors
        }
        [b'<', rest @ ..] if rest.starts_with(b"!") || rest.to_ascii_lowercase().starts_with(b"html") => {
            return Err(not_weights("an HTML page"));
        }
        bytes if bytes.starts_with(b"version https://git-lfs") => {
            return Err(not_weights("a Git LFS pointer"));
        }
        bytes if bytes.starts_with(b"\x89HDF") => return Err(not_weights("an HDF5 file (Keras)")),
        bytes if bytes.starts_with(b"\x1f\x8b") => return Err(not_weights("a gzip archive")),
        // Protobuf has no magic number: a model begins with field 1, its version.
        [8, ..] if extension == "onnx" => WeightsFormat::Onnx,
        [b'{', ..] if extension == "json" => WeightsFormat::SafetensorsSharded,
        // The file says by its name what it should be: let the reader say what is wrong with it.
        _ if extension == "safetensors" => WeightsFormat::Safetensors,
        bytes if is_legacy_magic(bytes) => WeightsFormat::PthLegacy,
        [0x80 | b'(' | b'}' | b']' | b'c', ..] => WeightsFormat::PlainPickle,
        bytes => {
            let shown: Vec<String> = bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
            return Err(not_weights(&format!("a file that begins with the bytes {}", shown.join(" "))));
        }
    })
}

/// The number 0x1950a86a20f9469cfc6c that opens a legacy file, in the binary and the text encoding of a pickle.
fn is_legacy_magic(bytes: &[u8]) -> bool {
    const BINARY: &[u8] = &[0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
    const TEXT: &[u8] = b"119547037146038801333356";
    let start = &bytes[..bytes.len().min(64)];
    start.windows(BINARY.len()).any(|w| w == BINARY) || start.windows(TEXT.len()).any(|w| w == TEXT)
}

fn finish(path: PathBuf, format: WeightsFormat, mut raw: RawTensors) -> Result<Loaded> {
    if raw.tensors.is_empty() {
        return Err(WeightsError::NoTensors { path, detail: String::new() });
    }
    let mut dtypes = BTreeMap::new();
    for tensor in &raw.tensors {
        *dtypes.entry(tensor.element.name()).or_insert(0) += 1;
    }
    for (dtype, count) in dtypes.iter().filter(|(dtype, _)| matches!(**dtype, "f16" | "bf16" | "f64")) {
        raw.notes.push(format!("{count} tensors converted from {dtype} to f32"));
    }
    strip_wrappers(&mut raw);
    if Scheme::of(raw.tensors.iter().map(|tensor| tensor.name.as_str())) == Scheme::Lukemelas {
        raw.notes.push(
            "names of EfficientNet-PyTorch: its own network pads like TensorFlow (uneven) with a batch-norm eps of 1e-3; here they run as timm's network does, with even padding and 1e-5"
                .to_owned(),
        );
    }
    let (card, card_notes) = ModelCard::from_metadata(&raw.metadata);
    raw.notes.extend(card_notes);
    let card = complete(card, raw.config);
    let state = raw
        .tensors
        .into_iter()
        .map(|tensor| (tensor.name, Tensor { shape: tensor.shape, data: tensor.data }))
        .collect();
    Ok(Loaded { state, card, metadata: raw.metadata, format, path, dtypes, notes: raw.notes })
}

/// Prefixes that wrappers put before every name: DataParallel, torch.compile, Lightning.
const WRAPPERS: &[&str] = &["module.", "_orig_mod.", "model.", "net.", "encoder."];

/// Removes a wrapper's prefix where every tensor has it, and AveragedModel's counter, which would hide that.
fn strip_wrappers(raw: &mut RawTensors) {
    let before = raw.tensors.len();
    let counter = |tensor: &RawTensor| tensor.name == "n_averaged" && tensor.shape.is_empty();
    raw.tensors.retain(|tensor| !counter(tensor));
    if raw.tensors.len() < before {
        raw.notes.push("left out `n_averaged`, the counter of PyTorch's AveragedModel".to_owned());
    }
    loop {
        let everywhere = WRAPPERS.iter().find(|prefix| {
            !raw.tensors.is_empty() && raw.tensors.iter().all(|tensor| tensor.name.starts_with(**prefix))
        });
        let Some(prefix) = everywhere else { break };
        for tensor in &mut raw.tensors {
            tensor.name.drain(..prefix.len());
        }
        raw.notes.push(format!("removed the prefix `{prefix}` from every key"));
    }
}

/// The card of the weights, completed by the folder's `config.json`.
fn complete(mut card: ModelCard, config: Option<ModelCard>) -> ModelCard {
    let Some(config) = config else { return card };
    if card.classes.is_empty() {
        card.classes = config.classes;
    }
    if card.mean.is_empty() {
        card.mean = config.mean;
    }
    if card.std.is_empty() {
        card.std = config.std;
    }
    card.channels = card.channels.or(config.channels);
    // Resize and crop belong together.
    if card.crop.is_none() {
        card.resize = card.resize.or(config.resize);
        card.crop = config.crop;
    }
    card.interpolation = card.interpolation.or(config.interpolation);
    card.network = card.network.or(config.network);
    card
}
