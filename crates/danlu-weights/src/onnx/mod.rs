//! ONNX: the network and its weights as other tools run them.
//!
//! Opset 17; input `images`, output `logits` `[batch, classes]`, any batch size; classes, preprocessing and danlu's version in
//! the metadata, under the names of [`ModelCard`]. Give a folded graph ([`danlu_nn::Engine::fold`]) for a model without batch
//! norm; an unfolded one exports with its `BatchNormalization`.

mod lower;
mod proto;
mod read;

pub(crate) use read::read;

use crate::{ModelCard, Result, StateDict, WeightsError, write_atomic};
use danlu_nn::Graph;
use lower::Lowering;
use proto::{Dim, Message, node, value_info};
use std::io::Write;
use std::path::Path;

/// The operator set of an export.
pub const ONNX_OPSET: i64 = 17;

/// What to export.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OnnxOptions {
    /// Put the normalisation into the graph: `images` is then uint8 `[batch, height, width, channels]` (pixels as decoded and
    /// resized), and the model needs no code around it. By default `images` is f32 `[batch, channels, height, width]`,
    /// normalised, as PyTorch's exports have it.
    pub preprocessing: bool,
}

/// Writes an ONNX model, whole or not at all.
///
/// # Errors
/// [`WeightsError::Export`] where the weights do not fit the network, `mean` and `std` are missing for the preprocessing, or
/// the model exceeds protobuf's 2 GiB; [`WeightsError::Io`] when the file cannot be written.
pub fn export_onnx(
    path: &Path,
    graph: &Graph,
    state: &StateDict,
    card: &ModelCard,
    options: &OnnxOptions,
) -> Result<()> {
    let bytes = onnx_bytes(graph, state, card, options)?;
    write_atomic(path, |writer| writer.write_all(&bytes))
}

/// The bytes of [`export_onnx`].
///
/// # Errors
/// [`WeightsError::Export`].
pub fn onnx_bytes(
    graph: &Graph,
    state: &StateDict,
    card: &ModelCard,
    options: &OnnxOptions,
) -> Result<Vec<u8>> {
    let size = graph.input();
    let mut lowering = Lowering::new(state);
    let (batch, h, w, c) = (Dim::Named("batch"), Dim::Fixed(size.h), Dim::Fixed(size.w), Dim::Fixed(size.c));
    let input = if options.preprocessing {
        let normalised = preprocess(&mut lowering, card, size.c)?;
        lowering.graph(graph, &normalised)?;
        value_info("images", UINT8, &[batch, h, w, c])
    } else {
        lowering.graph(graph, "images")?;
        value_info("images", FLOAT, &[batch, c, h, w])
    };
    let output = value_info("logits", FLOAT, &[Dim::Named("batch"), Dim::Fixed(graph.classes())]);
    let mut body = Message::default();
    for node in &lowering.nodes {
        body = body.message(1, node);
    }
    body = body.text(2, card.architecture().unwrap_or("danlu"));
    for initializer in &lowering.initializers {
        body = body.message(5, initializer);
    }
    body = body.message(11, &input).message(12, &output);
    if body.len() >= 1 << 31 {
        let what = format!("its {} bytes exceed protobuf's limit of 2 GiB", body.len());
        return Err(WeightsError::Export { what });
    }
    const IR_VERSION: i64 = 8;
    let mut model = Message::default()
        .int(1, IR_VERSION)
        .text(2, "danlu")
        .text(3, env!("CARGO_PKG_VERSION"))
        .message(7, &body)
        .message(8, &Message::default().text(1, "").int(2, ONNX_OPSET));
    for (key, value) in card.to_metadata() {
        model = model.message(14, &Message::default().text(1, &key).text(2, &value));
    }
    Ok(model.into_bytes())
}

/// ONNX's numbers of element types.
const FLOAT: i64 = 1;
const UINT8: i64 = 2;

/// `(images / 255 - mean) / std`, from uint8 NHWC to f32 NCHW: one multiplication and one addition.
fn preprocess(lowering: &mut Lowering<'_>, card: &ModelCard, channels: usize) -> Result<String> {
    if card.mean.len() != channels || card.std.len() != channels || card.std.contains(&0.0) {
        let what = format!(
            "preprocessing in the graph needs `mean` and a non-zero `std` of {channels} channels, the model has {:?} and {:?}",
            card.mean, card.std
        );
        return Err(WeightsError::Export { what });
    }
    let scale: Vec<f32> = card.std.iter().map(|&std| (1.0 / (255.0 * f64::from(std))) as f32).collect();
    let shift: Vec<f32> =
        card.mean.iter().zip(&card.std).map(|(&m, &s)| (-f64::from(m) / f64::from(s)) as f32).collect();
    let cast = [("to", proto::Attribute::Int(FLOAT))];
    lowering.nodes.push(node("Cast", "preprocess/cast", &["images"], "preprocess/cast", &cast));
    let scale = lowering.constant("preprocess/scale_by", &[channels], &scale);
    let shift = lowering.constant("preprocess/shift_by", &[channels], &shift);
    let x = lowering.op("Mul", "preprocess/scale", &["preprocess/cast", &scale], &[]);
    let x = lowering.op("Add", "preprocess/shift", &[&x, &shift], &[]);
    let order = [("perm", proto::Attribute::Ints(vec![0, 3, 1, 2]))];
    Ok(lowering.op("Transpose", "preprocess/nchw", &[&x], &order))
}

/// How well two sets of logits agree.
#[derive(Clone, Debug, PartialEq)]
pub struct Parity {
    /// Images compared.
    pub images: usize,
    /// Largest absolute difference.
    pub max_abs: f64,
    /// Largest absolute difference over the largest absolute logit of the reference.
    pub relative: f64,
    /// Images whose predicted class is the same.
    pub same_class: usize,
}

impl Parity {
    /// Compares logits `[images, classes]`, the reference first. A NaN on either side, or lengths that differ, count as
    /// infinitely far.
    pub fn compare(reference: &[f32], found: &[f32], classes: usize) -> Self {
        let images = reference.len().checked_div(classes).unwrap_or(0);
        let far = reference.len() != found.len() || reference.iter().chain(found).any(|value| value.is_nan());
        let differences = reference.iter().zip(found).map(|(&a, &b)| (f64::from(a) - f64::from(b)).abs());
        let max_abs = if far { f64::INFINITY } else { differences.fold(0.0, f64::max) };
        let scale = reference.iter().map(|value| f64::from(value.abs())).fold(f64::MIN_POSITIVE, f64::max);
        let best = |row: &[f32]| {
            // The first of equal maxima, as argmax everywhere.
            row.iter()
                .enumerate()
                .fold((0, f32::NEG_INFINITY), |best, (i, &v)| if v > best.1 { (i, v) } else { best })
                .0
        };
        let rows = reference.chunks_exact(classes.max(1)).zip(found.chunks_exact(classes.max(1)));
        let same_class = rows.filter(|(a, b)| best(a) == best(b)).count();
        Parity { images, max_abs, relative: max_abs / scale, same_class }
    }

    /// Whether the two agree: relative difference within `tolerance` (1e-4 is what danlu promises) and the same classes.
    pub fn holds(&self, tolerance: f64) -> bool {
        self.relative <= tolerance && self.same_class == self.images
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parity_tells_agreement_from_difference() {
        let same = Parity::compare(&[1.0, 2.0, 4.0, 3.0], &[1.0, 2.0001, 4.0, 3.0], 2);
        assert!(same.holds(1e-4) && !same.holds(1e-6), "{same:?}");
        assert_eq!((same.images, same.same_class), (2, 2));
        assert!(!Parity::compare(&[1.0, 1.00001], &[1.00001, 1.0], 2).holds(1e-4), "another class");
        assert!(!Parity::compare(&[1.0, 2.0], &[f32::NAN, 2.0], 2).holds(1e-4));
        assert!(!Parity::compare(&[1.0, 2.0], &[1.0], 2).holds(1e-4));
    }
}
