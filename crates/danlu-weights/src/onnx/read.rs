//! The weights and the metadata of an ONNX model: what an export wrote comes back, and what other exporters call by the
//! network's own names.
//!
//! The operators are not read: the network is the one that the metadata describe. Names with a `/` are constants of the
//! operators (the bounds of a ReLU6), which no network has as weights.

use crate::dtype::Element;
use crate::read::{RawTensor, RawTensors};
use crate::{Result, WeightsError};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Protobuf's own limit for a message.
const MOST: u64 = 1 << 31;

/// Reads the initializers as f32, in the file's order, and the metadata.
pub(crate) fn read(path: &Path) -> Result<RawTensors> {
    let file = File::open(path).map_err(WeightsError::io("read", path))?;
    let length = file.metadata().map_err(WeightsError::io("read", path))?.len();
    if length > MOST {
        return Err(WeightsError::malformed(
            path,
            format!("{length} bytes exceed protobuf's limit of 2 GiB"),
        ));
    }
    let mut bytes = Vec::new();
    file.take(MOST).read_to_end(&mut bytes).map_err(WeightsError::io("read", path))?;
    let damaged = |what: String| WeightsError::malformed(path, what);
    let mut raw = RawTensors::default();
    let mut constants = 0;
    for field in Fields(&bytes) {
        match field.map_err(damaged)? {
            (7, Value::Bytes(graph)) => {
                for field in Fields(graph) {
                    let (5, Value::Bytes(tensor)) = field.map_err(damaged)? else { continue };
                    let tensor = Initializer::of(tensor).map_err(damaged)?;
                    if tensor.name.contains('/') {
                        continue;
                    }
                    match tensor.values(path)? {
                        Some(tensor) => raw.tensors.push(tensor),
                        None => constants += 1,
                    }
                }
            }
            (14, Value::Bytes(entry)) => {
                let (mut key, mut value) = (String::new(), String::new());
                for field in Fields(entry) {
                    match field.map_err(damaged)? {
                        (1, Value::Bytes(text)) => key = String::from_utf8_lossy(text).into_owned(),
                        (2, Value::Bytes(text)) => value = String::from_utf8_lossy(text).into_owned(),
                        _ => {}
                    }
                }
                raw.metadata.insert(key, value);
            }
            _ => {}
        }
    }
    if constants > 0 {
        raw.notes.push(format!("left out {constants} integer constants of the model's operators"));
    }
    Ok(raw)
}

/// `TensorProto`, as far as weights need it.
#[derive(Default)]
struct Initializer<'a> {
    name: String,
    shape: Vec<usize>,
    element: u64,
    raw: Option<&'a [u8]>,
    /// `float_data`, little-endian.
    floats: Vec<u8>,
    external: bool,
}

impl<'a> Initializer<'a> {
    fn of(bytes: &'a [u8]) -> Result<Self, String> {
        let mut tensor = Initializer::default();
        let size = |value: u64| usize::try_from(value).map_err(|_| format!("a size of {value}"));
        for field in Fields(bytes) {
            match field? {
                (1, Value::Int(value)) => tensor.shape.push(size(value)?),
                (1, Value::Bytes(mut packed)) => {
                    while !packed.is_empty() {
                        tensor.shape.push(size(varint(&mut packed)?)?);
                    }
                }
                (2, Value::Int(element)) => tensor.element = element,
                (4, Value::Bytes(packed)) => tensor.floats.extend_from_slice(packed),
                (4, Value::Four(value)) => tensor.floats.extend_from_slice(&value),
                (8, Value::Bytes(name)) => tensor.name = String::from_utf8_lossy(name).into_owned(),
                (9, Value::Bytes(raw)) => tensor.raw = Some(raw),
                (14, Value::Int(place)) => tensor.external = place == 1,
                _ => {}
            }
        }
        Ok(tensor)
    }

    /// As f32; `None` for integers, which are no weights.
    fn values(self, path: &Path) -> Result<Option<RawTensor>> {
        let Initializer { name, shape, raw, floats, .. } = self;
        let bad = |what: String| WeightsError::malformed(path, format!("tensor `{name}` {what}"));
        if self.external {
            return Err(bad("lies in another file, and only models of one file are read".to_owned()));
        }
        let (element, width) = match self.element {
            1 => (Element::F32, 4),
            10 => (Element::F16, 2),
            11 => (Element::F64, 8),
            16 => (Element::BF16, 2),
            2..=9 | 12 | 13 => return Ok(None),
            other => {
                let dtype = format!("number {other} of ONNX");
                return Err(WeightsError::UnsupportedDtype { path: path.to_path_buf(), key: name, dtype });
            }
        };
        let bytes: &[u8] = match raw {
            Some(raw) => raw,
            None if element == Element::F32 => &floats,
            None => return Err(bad("holds no raw bytes".to_owned())),
        };
        let wanted = shape.iter().try_fold(width, |all: usize, &size| all.checked_mul(size));
        if wanted != Some(bytes.len()) {
            return Err(bad(format!("has the sizes {shape:?} and {} bytes", bytes.len())));
        }
        Ok(Some(RawTensor { data: element.to_f32(bytes), name, shape, element }))
    }
}

/// The value of a field of a protobuf message.
enum Value<'a> {
    Int(u64),
    Bytes(&'a [u8]),
    Four([u8; 4]),
    Eight,
}

/// The fields of a message in order: number and value.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            // Nothing after a broken field means anything.
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<(u64, Value<'a>), String> {
        let key = varint(&mut self.0)?;
        let value = match key & 7 {
            0 => Value::Int(varint(&mut self.0)?),
            1 => {
                self.take(8)?;
                Value::Eight
            }
            2 => {
                let length = varint(&mut self.0)?;
                Value::Bytes(self.take(length)?)
            }
            5 => {
                let bytes = self.take(4)?;
                Value::Four([bytes[0], bytes[1], bytes[2], bytes[3]])
            }
            wire => return Err(format!("a field of the unknown wire type {wire}: this is no ONNX model")),
        };
        Ok((key >> 3, value))
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], String> {
        let there = self.0.len();
        match usize::try_from(length).ok().and_then(|length| self.0.split_at_checked(length)) {
            Some((value, rest)) => {
                self.0 = rest;
                Ok(value)
            }
            None => Err(format!("a field needs {length} bytes and {there} are left")),
        }
    }
}

fn varint(bytes: &mut &[u8]) -> Result<u64, String> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let Some((first, rest)) = bytes.split_first() else {
            return Err("it ends within a number".to_owned());
        };
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err("a number of more than 64 bits".to_owned())
}
