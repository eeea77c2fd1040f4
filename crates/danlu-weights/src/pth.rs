//! PyTorch's own containers (`torch.save`): zip since 1.6, the legacy pickle stream before, tar before 0.1.10.
//!
//! Parsing is left to the `pytorch-reader` crate, which never executes a pickle. Around it: a walk over the pickle's
//! imports first, so that a hostile file is refused and named; the choice of the part that holds the weights; a limit on
//! what the tensors may add up to; and the key order of the file.

use crate::dtype::Element;
use crate::pickle_scan::PickleScan;
use crate::read::{RawTensor, RawTensors, ReadOptions, WeightsFormat};
use crate::{Result, WeightsError};
use pytorch_reader::{DType, PytorchError, PytorchReader};
use std::cmp::Ordering;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::Path;

/// Keys under which checkpoints keep their weights, best first: the averaged weights before the raw ones (as timm's
/// `use_ema`), since those are the ones that were evaluated.
const TOP_LEVEL_KEYS: &[&str] = &[
    "state_dict_ema",
    "model_ema",
    "ema_state_dict",
    "ema",
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "params",
    "weights",
];

/// Tensors may add up to this many times the file's size: room for tied weights and for a deflated archive, none for a
/// kilobyte that claims gigabytes through stride 0.
const MAX_EXPANSION: u64 = 32;

/// Reads a file that is known to be of `format`.
pub(crate) fn read(path: &Path, format: WeightsFormat, options: &ReadOptions) -> Result<RawTensors> {
    let length = std::fs::metadata(path).map_err(WeightsError::io("read", path))?.len();
    let scan = scan(path, format)?;
    let calls = scan.dangerous();
    if !calls.is_empty() {
        return Err(WeightsError::UnsafePickle { path: path.to_path_buf(), calls });
    }
    let mut raw = RawTensors::default();
    note_python_objects(&scan, &mut raw.notes);

    let reader = open(path, options, &mut raw.notes)?;
    let total: u64 = reader.tensors().values().map(|tensor| tensor.byte_len() as u64).sum();
    if total > length.saturating_mul(MAX_EXPANSION).saturating_add(1 << 20) {
        let what = format!("its tensors claim {total} bytes, the whole file has {length}");
        return Err(WeightsError::malformed(path, what));
    }
    let place: HashMap<&str, usize> =
        scan.strings.iter().enumerate().rev().map(|(place, name)| (name.as_str(), place)).collect();
    let mut tensors: Vec<_> = reader.into_tensors().into_iter().collect();
    tensors.sort_by(|(a, _), (b, _)| {
        let (x, y) = (place.get(a.as_str()), place.get(b.as_str()));
        x.unwrap_or(&usize::MAX).cmp(y.unwrap_or(&usize::MAX)).then_with(|| natural(a, b))
    });
    for (name, tensor) in tensors {
        let element = element(tensor.dtype());
        let bytes = tensor.read().map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                WeightsError::malformed(path, error.to_string())
            }
            _ => WeightsError::io("read", path)(error),
        })?;
        raw.tensors.push(RawTensor {
            name,
            shape: tensor.shape().to_vec(),
            data: element.to_f32(&bytes),
            element,
        });
    }
    Ok(raw)
}

/// Opens the part of the checkpoint that holds the weights.
fn open(path: &Path, options: &ReadOptions, notes: &mut Vec<String>) -> Result<PytorchReader> {
    if let Some(key) = &options.top_level_key {
        return PytorchReader::with_top_level_key(path, key).map_err(|error| match error {
            PytorchError::KeyNotFound(_) => WeightsError::NoSuchTopLevelKey {
                path: path.to_path_buf(),
                key: key.clone(),
                available: top_level_keys(path),
            },
            other => translate(path, other),
        });
    }
    let whole = PytorchReader::new(path).map_err(|error| translate(path, error))?;
    let mut candidates: Vec<&str> = TOP_LEVEL_KEYS
        .iter()
        .copied()
        .filter(|key| {
            whole
                .tensors()
                .keys()
                .any(|name| name.strip_prefix(key).is_some_and(|rest| rest.starts_with('.')))
        })
        .collect();
    if options.raw_over_ema {
        candidates.sort_by_key(|key| key.contains("ema"));
    }
    for (index, key) in candidates.iter().enumerate() {
        // A plain state dict whose module is called `model` has no such entry at its root.
        let Ok(part) = PytorchReader::with_top_level_key(path, key) else { continue };
        if part.is_empty() {
            continue;
        }
        let others = candidates[index + 1..].join("`, `");
        let others = if others.is_empty() { String::new() } else { format!(" (also there: `{others}`)") };
        notes.push(format!("took the {} tensors under `{key}`{others}", part.len()));
        return Ok(part);
    }
    Ok(whole)
}

fn top_level_keys(path: &Path) -> String {
    match PytorchReader::read_pickle_data(path, None) {
        Ok(pytorch_reader::PickleValue::Dict(dict)) => {
            let mut keys: Vec<_> = dict.into_keys().map(|key| format!("`{key}`")).collect();
            keys.sort_by(|a, b| natural(a, b));
            let more = keys.len().saturating_sub(12);
            keys.truncate(12);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            keys.join(", ") + &more
        }
        _ => "unknown".to_owned(),
    }
}

fn translate(path: &Path, error: PytorchError) -> WeightsError {
    match error {
        PytorchError::Io(error) | PytorchError::Tar(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => {
                WeightsError::io("read", path)(error)
            }
            _ => WeightsError::malformed(path, format!("the PyTorch container cannot be read ({error})")),
        },
        PytorchError::InvalidFormat(what) if what.contains("Expected a dictionary") => {
            WeightsError::NoTensors { path: path.to_path_buf(), detail: format!(" ({})", lower_first(&what)) }
        }
        // The directory of a zip archive is at its end.
        other if other.to_string().contains("EOCD") => {
            WeightsError::malformed(path, "its zip archive has no end: the file was cut short")
        }
        other => WeightsError::malformed(path, lower_first(&other.to_string())),
    }
}

fn lower_first(text: &str) -> String {
    let mut chars = text.trim_end_matches('.').chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

fn element(dtype: DType) -> Element {
    match dtype {
        DType::F64 => Element::F64,
        DType::F32 => Element::F32,
        DType::F16 => Element::F16,
        DType::BF16 => Element::BF16,
        DType::I64 => Element::I64,
        DType::I32 => Element::I32,
        DType::I16 => Element::I16,
        DType::I8 => Element::I8,
        DType::U64 => Element::U64,
        DType::U32 => Element::U32,
        DType::U16 => Element::U16,
        DType::U8 => Element::U8,
        DType::Bool => Element::Bool,
    }
}

/// Says which Python objects beside tensors the file holds: they are not read.
fn note_python_objects(scan: &PickleScan, notes: &mut Vec<String>) {
    let foreign: Vec<&str> = scan
        .globals
        .iter()
        .map(String::as_str)
        .filter(|name| {
            !(name.starts_with("torch.") || name.starts_with("collections.") || name.starts_with("numpy."))
        })
        .collect();
    if !foreign.is_empty() {
        let shown = foreign.iter().take(5).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let more = if foreign.len() > 5 { format!(" and {} more", foreign.len() - 5) } else { String::new() };
        notes.push(format!("Python objects beside the tensors were not built: {shown}{more}"));
    }
}

/// Walks the pickles of a container. A damaged one is left to the reader, whose errors say more.
fn scan(path: &Path, format: WeightsFormat) -> Result<PickleScan> {
    let mut scan = PickleScan::default();
    let file = File::open(path).map_err(WeightsError::io("read", path))?;
    let mut reader = BufReader::new(file);
    // The result is dropped on purpose: what was found before the damage is kept in `scan`.
    let _ = match format {
        WeightsFormat::PthZip => scan_zip(&mut scan, reader),
        WeightsFormat::PthTar => scan_tar(&mut scan, &mut reader),
        // Magic, protocol, system info, the object, the storage keys.
        WeightsFormat::PthLegacy => (0..5).try_for_each(|_| scan.walk(&mut reader)),
        _ => scan.walk(&mut reader),
    };
    Ok(scan)
}

fn scan_zip(scan: &mut PickleScan, reader: BufReader<File>) -> io::Result<()> {
    let mut archive = zip::ZipArchive::new(reader)?;
    for index in 0..archive.len() {
        let entry = archive.by_index(index)?;
        let is_pickle = entry.name().is_ok_and(|name| name.ends_with(".pkl"));
        if is_pickle {
            // Whatever a deflated entry claims, no more than the reader would accept is walked.
            scan.walk(&mut BufReader::new(entry.take(pytorch_reader::MAX_PICKLE_SIZE)))?;
        }
    }
    Ok(())
}

/// The entries of a tar archive that are pickles: `pickle` whole; the others begin with pickles that hold no names.
fn scan_tar(scan: &mut PickleScan, reader: &mut BufReader<File>) -> io::Result<()> {
    const BLOCK: u64 = 512;
    let mut header = [0; BLOCK as usize];
    loop {
        reader.read_exact(&mut header)?;
        let name = String::from_utf8_lossy(&header[..100]).trim_end_matches('\0').to_owned();
        let size = String::from_utf8_lossy(&header[124..136]);
        let size = u64::from_str_radix(size.trim_matches(['\0', ' ']), 8)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        if name.trim_start_matches("./") == "pickle" {
            let mut bytes = Vec::new();
            reader.by_ref().take(size.min(pytorch_reader::MAX_PICKLE_SIZE)).read_to_end(&mut bytes)?;
            return scan.walk(&mut Cursor::new(bytes));
        }
        let padded = size.checked_next_multiple_of(BLOCK).and_then(|padded| i64::try_from(padded).ok());
        let padded = padded.ok_or(io::ErrorKind::InvalidData)?;
        reader.seek(SeekFrom::Current(padded))?;
        if reader.fill_buf()?.is_empty() {
            return Ok(());
        }
    }
}

/// `layer.2` before `layer.10`.
pub(crate) fn natural(a: &str, b: &str) -> Ordering {
    for (x, y) in a.split('.').zip(b.split('.')) {
        let order = match (x.parse::<u64>(), y.parse::<u64>()) {
            (Ok(x), Ok(y)) => x.cmp(&y),
            _ => x.cmp(y),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}
