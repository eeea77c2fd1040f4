//! What is in a weights file, how two differ, their average, and one format into another.

use crate::huggingface::write_huggingface;
use crate::identify::{Identified, identify};
use crate::pth_write::write_pth;
use crate::safetensors_file::is_counter;
use crate::{Loaded, Result, StateDict, Tensor, WeightsError, read_state_dict, write_safetensors};
use serde::Serialize;
use std::path::Path;

/// One tensor in numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TensorSummary {
    /// Its name.
    pub name: String,
    /// Its sizes.
    pub shape: Vec<usize>,
    /// How many values.
    pub elements: usize,
    /// Smallest finite value; 0 where there is none.
    pub min: f32,
    /// Largest finite value; 0 where there is none.
    pub max: f32,
    /// Mean of the finite values.
    pub mean: f64,
    /// Standard deviation of the finite values (of the population).
    pub std: f64,
    /// How many values are NaN or infinite.
    pub non_finite: usize,
}

/// A whole file in numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inspection {
    /// Each tensor, in the file's order.
    pub tensors: Vec<TensorSummary>,
    /// Values in all, buffers left out as PyTorch's parameter count does.
    pub parameters: usize,
    /// The nearest known architecture.
    pub looks_like: Option<Identified>,
}

/// Summarises every tensor of a state dict.
pub fn inspect(state: &StateDict) -> Inspection {
    let tensors: Vec<TensorSummary> = state.iter().map(|(name, tensor)| summarise(name, tensor)).collect();
    let is_buffer =
        |name: &str| is_counter(name) || name.ends_with("running_mean") || name.ends_with("running_var");
    let parameters =
        tensors.iter().filter(|tensor| !is_buffer(&tensor.name)).map(|tensor| tensor.elements).sum();
    Inspection { tensors, parameters, looks_like: identify(state) }
}

fn summarise(name: &str, tensor: &Tensor) -> TensorSummary {
    let finite = || tensor.data.iter().copied().filter(|value| value.is_finite());
    let count = finite().count();
    let mean = finite().map(f64::from).sum::<f64>() / count.max(1) as f64;
    let square = finite().map(|value| (f64::from(value) - mean).powi(2)).sum::<f64>() / count.max(1) as f64;
    TensorSummary {
        name: name.to_owned(),
        shape: tensor.shape.clone(),
        elements: tensor.data.len(),
        min: finite().reduce(f32::min).unwrap_or(0.0),
        max: finite().reduce(f32::max).unwrap_or(0.0),
        mean,
        std: square.sqrt(),
        non_finite: tensor.data.len() - count,
    }
}

/// Refuses weights that are NaN or infinite, each tensor named: a network of which one is says nothing of any image.
///
/// # Errors
/// [`WeightsError::NonFinite`].
pub fn check_finite(state: &StateDict) -> Result<()> {
    let tensors = non_finite(state);
    if tensors.is_empty() { Ok(()) } else { Err(WeightsError::NonFinite { path: None, tensors }) }
}

fn non_finite(state: &StateDict) -> Vec<(String, usize)> {
    let count = |tensor: &Tensor| tensor.data.iter().filter(|value| !value.is_finite()).count();
    let counts = state.iter().map(|(name, tensor)| (name.to_owned(), count(tensor)));
    counts.filter(|(_, count)| *count > 0).collect()
}

/// How one tensor differs between two files.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TensorDiff {
    /// Its name in both.
    pub name: String,
    /// Largest absolute difference; NaN against a number counts as infinite, NaN against NaN as none.
    pub max_abs: f64,
    /// `||a - b|| / ||a||` in L2; infinite where only `a` is zero.
    pub relative: f64,
}

/// How two state dicts differ.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct WeightsDiff {
    /// Only in the first.
    pub only_in_a: Vec<String>,
    /// Only in the second.
    pub only_in_b: Vec<String>,
    /// In both, of different sizes: name, sizes in the first, in the second.
    pub shapes: Vec<(String, Vec<usize>, Vec<usize>)>,
    /// In both, of different values; the largest relative difference first.
    pub values: Vec<TensorDiff>,
    /// How many tensors are the same to the bit (`-0` equals `0`, NaN equals NaN).
    pub equal: usize,
}

impl WeightsDiff {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.only_in_a.is_empty()
            && self.only_in_b.is_empty()
            && self.shapes.is_empty()
            && self.values.is_empty()
    }
}

/// Compares two state dicts key by key.
pub fn diff(a: &StateDict, b: &StateDict) -> WeightsDiff {
    let mut result = WeightsDiff::default();
    for (name, left) in a.iter() {
        match b.get(name) {
            None => result.only_in_a.push(name.to_owned()),
            Some(right) if left.shape != right.shape => {
                result.shapes.push((name.to_owned(), left.shape.clone(), right.shape.clone()));
            }
            Some(right) => match compare(name, left, right) {
                Some(difference) => result.values.push(difference),
                None => result.equal += 1,
            },
        }
    }
    result.only_in_b = b.keys().filter(|name| a.get(name).is_none()).map(str::to_owned).collect();
    result.values.sort_by(|x, y| y.relative.total_cmp(&x.relative));
    result
}

fn compare(name: &str, a: &Tensor, b: &Tensor) -> Option<TensorDiff> {
    let (mut max_abs, mut square, mut norm) = (0.0f64, 0.0f64, 0.0f64);
    for (&x, &y) in a.data.iter().zip(&b.data) {
        let difference = match (x == y || x.is_nan() && y.is_nan(), x.is_nan() || y.is_nan()) {
            (true, _) => 0.0,
            (false, true) => f64::INFINITY,
            (false, false) => (f64::from(x) - f64::from(y)).abs(),
        };
        max_abs = max_abs.max(difference);
        square += difference * difference;
        norm += if x.is_finite() { f64::from(x).powi(2) } else { 0.0 };
    }
    let relative = if norm > 0.0 { (square / norm).sqrt() } else { f64::INFINITY };
    (max_abs > 0.0).then(|| TensorDiff { name: name.to_owned(), max_abs, relative })
}

/// The mean of several checkpoints of one network, value by value (stochastic weight averaging, Izmailov et al. 2018,
/// and "model soups", Wortsman et al. 2022). Summed in f64. `num_batches_tracked` is the first's; running statistics are
/// averaged too, so batch norm should be re-estimated on training data afterwards (PyTorch's `update_bn`).
///
/// # Errors
/// [`WeightsError::NotAlike`] where keys or sizes differ, or nothing was given; [`WeightsError::NonFinite`] where one of them
/// would spoil the mean.
pub fn average(states: &[&StateDict]) -> Result<StateDict> {
    let not_alike = |what: String| WeightsError::NotAlike { what };
    let (first, others) =
        states.split_first().ok_or_else(|| not_alike("no checkpoint was given".to_owned()))?;
    states.iter().try_for_each(|state| check_finite(state))?;
    for (index, other) in others.iter().enumerate() {
        if let Some(key) = other.keys().find(|key| first.get(key).is_none()) {
            return Err(not_alike(format!("`{key}` is in checkpoint {} and not in the first", index + 2)));
        }
    }
    let mut result = StateDict::new();
    for (name, tensor) in first.iter() {
        if is_counter(name) {
            result.insert(name, tensor.clone());
            continue;
        }
        let mut sum: Vec<f64> = tensor.data.iter().map(|&value| f64::from(value)).collect();
        for (index, other) in others.iter().enumerate() {
            let other = other
                .get(name)
                .ok_or_else(|| not_alike(format!("`{name}` is missing in checkpoint {}", index + 2)))?;
            if other.shape != tensor.shape {
                let (a, b) = (&tensor.shape, &other.shape);
                return Err(not_alike(format!(
                    "`{name}` is {a:?} in the first and {b:?} in checkpoint {}",
                    index + 2
                )));
            }
            sum.iter_mut().zip(&other.data).for_each(|(sum, &value)| *sum += f64::from(value));
        }
        let data = sum.into_iter().map(|sum| (sum / states.len() as f64) as f32).collect();
        result.insert(name, Tensor { shape: tensor.shape.clone(), data });
    }
    Ok(result)
}

/// What to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteFormat {
    /// One `.safetensors` file with the model card.
    Safetensors,
    /// PyTorch's `.pth`; the model card is lost.
    Pth,
    /// A folder with `config.json` and `model.safetensors`, as timm's.
    HuggingFace,
}

impl WriteFormat {
    /// The format that a path's ending asks for: a path without an ending is a folder.
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("safetensors") => Some(WriteFormat::Safetensors),
            Some("pth" | "pt" | "bin") => Some(WriteFormat::Pth),
            None => Some(WriteFormat::HuggingFace),
            _ => None,
        }
    }
}

/// Reads weights of any known format and writes them in another; returns what was read, with its notes.
///
/// # Errors
/// As [`read_state_dict`] and the writers.
pub fn convert(from: &Path, to: &Path, format: WriteFormat) -> Result<Loaded> {
    let mut loaded = read_state_dict(from)?;
    let broken = non_finite(&loaded.state);
    if !broken.is_empty() {
        let tensors = crate::error::counted(&broken);
        loaded.notes.push(format!("weights that are NaN or infinite were kept as they are: {tensors}"));
    }
    match format {
        WriteFormat::Safetensors => write_safetensors(to, &loaded.state, &loaded.card)?,
        WriteFormat::Pth => write_pth(to, &loaded.state)?,
        WriteFormat::HuggingFace => write_huggingface(to, &loaded.state, &loaded.card)?,
    }
    Ok(loaded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(values: &[(&str, &[f32])]) -> StateDict {
        values
            .iter()
            .map(|(name, data)| ((*name).to_owned(), Tensor { shape: vec![data.len()], data: data.to_vec() }))
            .collect()
    }

    #[test]
    fn a_difference_is_measured_against_the_first() {
        let a = state(&[("same", &[1.0, f32::NAN]), ("w", &[3.0, 4.0]), ("gone", &[1.0]), ("size", &[1.0])]);
        let b =
            state(&[("same", &[1.0, f32::NAN]), ("w", &[3.0, 4.5]), ("new", &[1.0]), ("size", &[1.0, 2.0])]);
        let found = diff(&a, &b);
        assert_eq!(
            (found.equal, found.only_in_a, found.only_in_b),
            (1, vec!["gone".into()], vec!["new".into()])
        );
        assert_eq!(found.shapes, [("size".to_owned(), vec![1], vec![2])]);
        assert_eq!(found.values, [TensorDiff { name: "w".into(), max_abs: 0.5, relative: 0.1 }]);
        assert!(diff(&a, &a).is_empty());
        let broken = state(&[("w", &[f32::NAN, 4.0])]);
        assert_eq!(diff(&state(&[("w", &[3.0, 4.0])]), &broken).values[0].max_abs, f64::INFINITY);
    }

    #[test]
    fn an_average_with_a_value_that_is_no_number_names_its_tensor() {
        let good = state(&[("a", &[1.0]), ("w", &[1.0, 2.0])]);
        let bad = state(&[("a", &[f32::NAN]), ("w", &[f32::INFINITY, f32::NAN])]);
        let error = average(&[&good, &bad]).unwrap_err().of_file(Path::new("b.pth"));
        let expected = "`b.pth` has weights that are NaN or infinite: `a` (1 value), `w` (2 values)";
        assert_eq!(error.to_string(), expected);
        assert!(error.hint().is_some() && check_finite(&good).is_ok());
    }

    #[test]
    fn an_average_is_the_mean_and_refuses_other_networks() {
        let a = state(&[("w", &[1.0, 2.0]), ("bn.num_batches_tracked", &[7.0])]);
        let b = state(&[("w", &[2.0, 6.0]), ("bn.num_batches_tracked", &[9.0])]);
        let mean = average(&[&a, &b]).unwrap();
        assert_eq!(mean.get("w").unwrap().data, [1.5, 4.0]);
        assert_eq!(mean.get("bn.num_batches_tracked").unwrap().data, [7.0]);
        let other = state(&[("v", &[1.0])]);
        assert!(average(&[&a, &other]).unwrap_err().to_string().contains("`v`"));
        let short = state(&[("w", &[1.0]), ("bn.num_batches_tracked", &[7.0])]);
        assert!(average(&[&a, &short]).unwrap_err().to_string().contains("[2]"));
        assert!(average(&[]).is_err());
    }

    #[test]
    fn an_inspection_counts_parameters_without_buffers_and_names_what_is_not_finite() {
        let found = inspect(&state(&[("w", &[1.0, 3.0, f32::NAN]), ("bn.running_mean", &[5.0])]));
        assert_eq!(found.parameters, 3);
        let w = &found.tensors[0];
        assert_eq!((w.min, w.max, w.mean, w.std, w.non_finite), (1.0, 3.0, 2.0, 1.0, 1));
    }
}
