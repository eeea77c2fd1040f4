//! A state dict meets a network: what fits is loaded, and every key is accounted for.

use crate::identify::{head_of, identify, input_layer};
use crate::names::translate;
use crate::safetensors_file::is_counter;
use crate::{Result, StateDict, Tensor, WeightsError};
use serde::Serialize;
use std::collections::{HashMap, HashSet};
use std::fmt;

/// How to treat keys that do not fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// Any missing, unexpected or misshapen key is an error, as PyTorch's `load_state_dict(strict=True)`.
    pub strict: bool,
    /// Leave the last linear layer of the network as it is (a new head for other classes).
    pub replace_head: bool,
    /// Fit the first convolution to other input channels: RGB filters are summed for grey images, grey ones are shared out
    /// over the channels, so that the response to a grey image stays the same.
    pub adapt_input_channels: bool,
    /// Accept weights of which less than half fits. By default that is taken for another architecture.
    pub allow_partial: bool,
}

/// A key whose sizes differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShapeMismatch {
    /// The network's name of the tensor.
    pub key: String,
    /// The network's sizes.
    pub expected: Vec<usize>,
    /// The file's sizes.
    pub found: Vec<usize>,
}

/// What became of every key of the network and of the file. Names are the network's but for `unexpected`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LoadReport {
    /// Loaded, adapted ones included.
    pub loaded: Vec<String>,
    /// In the network and not in the file: they keep their values.
    pub missing: Vec<String>,
    /// In the file and not in the network: not used.
    pub unexpected: Vec<String>,
    /// In both, of different sizes: not used.
    pub shape_mismatch: Vec<ShapeMismatch>,
    /// Of the head, left out because a new head was asked for.
    pub new_head: Vec<String>,
    /// Changed on the way, and how: `conv1.weight`, `3 input channels summed to 1`.
    pub adapted: Vec<(String, String)>,
    /// The file's name and the network's, where they differ.
    pub renamed: Vec<(String, String)>,
    /// `num_batches_tracked` that the file (of PyTorch before 0.4.1, or stripped) does not have: set to 0, as PyTorch does.
    pub defaulted: Vec<String>,
    /// The architecture that the file looks like, where the network is not filled.
    pub looks_like: Option<String>,
}

impl LoadReport {
    /// Whether the file and the network hold the same keys and sizes.
    pub fn is_exact(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.shape_mismatch.is_empty()
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tensors loaded", self.loaded.len())?;
        if !self.renamed.is_empty() {
            let (from, to) = &self.renamed[0];
            write!(f, "\n{} renamed, as `{from}` to `{to}`", self.renamed.len())?;
        }
        for (key, how) in &self.adapted {
            write!(f, "\n`{key}` adapted: {how}")?;
        }
        for wrong in &self.shape_mismatch {
            write!(
                f,
                "\n`{}` left out: it is {:?}, the network's is {:?}",
                wrong.key, wrong.found, wrong.expected
            )?;
        }
        for (what, keys) in [
            ("new head", &self.new_head),
            ("missing in the file", &self.missing),
            ("unexpected in the file", &self.unexpected),
            ("set to 0", &self.defaulted),
        ] {
            if !keys.is_empty() {
                write!(f, "\n{what}: {}", shorten(keys))?;
            }
        }
        if let Some(name) = &self.looks_like {
            write!(f, "\nthe file looks like {name}")?;
        }
        Ok(())
    }
}

/// `a, b, c and 7 more`.
pub(crate) fn shorten(keys: &[String]) -> String {
    const SHOWN: usize = 6;
    let shown = keys.iter().take(SHOWN).map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
    if keys.len() > SHOWN { format!("{shown} and {} more", keys.len() - SHOWN) } else { shown }
}

/// What a network takes from a state dict.
#[derive(Clone, Debug)]
pub struct Matched {
    /// The tensors to load, under the network's names, in the network's order.
    pub state: StateDict,
    /// What became of every key.
    pub report: LoadReport,
}

/// Fits a state dict to a network given as names and shapes (parameters and buffers in PyTorch's order).
///
/// Names of timm and of EfficientNet-PyTorch are translated to the network's; keys that do not exist or do not fit are
/// left out and listed.
///
/// # Errors
/// [`WeightsError::Mismatch`] under `strict`; [`WeightsError::HeadMismatch`] where the file has other classes and no new
/// head was asked for; [`WeightsError::OtherArchitecture`] where less than half of the network's weights would be filled;
/// [`WeightsError::InputChannels`] where only the first convolution's input channels differ; [`WeightsError::NonFinite`] for
/// NaN or infinite weights.
pub fn match_state_dict(
    targets: &[(String, Vec<usize>)],
    source: &StateDict,
    options: &LoadOptions,
) -> Result<Matched> {
    let target_names: Vec<&str> = targets.iter().map(|(name, _)| name.as_str()).collect();
    let source_names: Vec<&str> = source.keys().collect();
    let to_target = translate(&source_names, &target_names);
    let wanted: HashSet<&str> = target_names.iter().copied().collect();
    let mut report = LoadReport::default();
    // By the network's name; a file whose names already are the network's needs no map.
    let mut offered: HashMap<&str, (&str, &Tensor)> = HashMap::new();
    for (name, tensor) in source.iter() {
        let target = to_target.get(name).map_or(name, String::as_str);
        if wanted.contains(target) {
            offered.insert(target, (name, tensor));
        } else {
            report.unexpected.push(name.to_owned());
        }
    }
    let head = head_of(target_names.iter().copied());
    let in_head =
        |name: &str| head.is_some_and(|head| name.rsplit_once('.').is_some_and(|(layer, _)| layer == head));
    let first = input_layer(targets.iter().map(|(name, shape)| (name.as_str(), shape.as_slice())));

    let mut state = Vec::with_capacity(targets.len());
    let mut bad = Vec::new();
    for (name, shape) in targets {
        let Some((source_name, tensor)) = offered.get(name.as_str()) else {
            match () {
                () if is_counter(name) => {
                    report.defaulted.push(name.clone());
                    state.push((name.clone(), Tensor { shape: shape.clone(), data: vec![0.0] }));
                }
                () if options.replace_head && in_head(name) => report.new_head.push(name.clone()),
                () => report.missing.push(name.clone()),
            }
            continue;
        };
        if options.replace_head && in_head(name) {
            report.new_head.push(name.clone());
            continue;
        }
        let adapt = options.adapt_input_channels && first == Some(name);
        let Some((tensor, how)) = fit(tensor, shape, adapt) else {
            let (expected, found) = (shape.clone(), tensor.shape.clone());
            report.shape_mismatch.push(ShapeMismatch { key: name.clone(), expected, found });
            continue;
        };
        let non_finite = tensor.data.iter().filter(|value| !value.is_finite()).count();
        if non_finite > 0 {
            bad.push((name.clone(), non_finite));
        }
        if *source_name != name {
            report.renamed.push(((*source_name).to_owned(), name.clone()));
        }
        if let Some(how) = how {
            report.adapted.push((name.clone(), how));
        }
        report.loaded.push(name.clone());
        state.push((name.clone(), tensor));
    }
    if !bad.is_empty() {
        return Err(WeightsError::NonFinite { path: None, tensors: bad });
    }
    if !report.is_exact() {
        report.looks_like = identify(source).map(|found| match found.classes {
            Some(classes) => format!("{} ({classes} classes)", found.architecture),
            None => found.architecture,
        });
    }
    judge(targets, &report, options, first, &in_head)?;
    Ok(Matched { state: state.into_iter().collect(), report })
}

/// Turns a report that cannot be meant into an error; the narrowest reason first.
fn judge(
    targets: &[(String, Vec<usize>)],
    report: &LoadReport,
    options: &LoadOptions,
    first: Option<&str>,
    in_head: &dyn Fn(&str) -> bool,
) -> Result<()> {
    // Filters and matrices outside the head: what makes an architecture.
    let body: HashSet<&str> = targets
        .iter()
        .filter(|(name, shape)| shape.len() >= 2 && !in_head(name))
        .map(|(name, _)| name.as_str())
        .collect();
    let loaded = report.loaded.iter().filter(|name| body.contains(name.as_str())).count();
    // The head and the first layer are told in their own words below; a network of little else has no body.
    let without_first = body.iter().filter(|name| Some(**name) != first).count();
    let half = if without_first == 0 { 0 } else { without_first.div_ceil(2) };
    if !options.allow_partial && (loaded < half || report.loaded.is_empty() && report.new_head.is_empty()) {
        return Err(WeightsError::OtherArchitecture {
            fitting: loaded,
            wanted: body.len(),
            looks_like: report.looks_like.clone(),
        });
    }
    if let Some(wrong) = report.shape_mismatch.iter().find(|wrong| Some(wrong.key.as_str()) == first)
        && differs_in_channels_only(&wrong.found, &wrong.expected)
    {
        return Err(WeightsError::InputChannels {
            key: wrong.key.clone(),
            found: wrong.found[1],
            expected: wrong.expected[1],
        });
    }
    if let Some(wrong) = report.shape_mismatch.iter().find(|wrong| in_head(&wrong.key)) {
        return Err(WeightsError::HeadMismatch {
            key: wrong.key.clone(),
            found: wrong.found.first().copied().unwrap_or(0),
            expected: wrong.expected.first().copied().unwrap_or(0),
        });
    }
    if options.strict && !report.is_exact() {
        return Err(WeightsError::Mismatch(Box::new(report.clone())));
    }
    Ok(())
}

fn differs_in_channels_only(a: &[usize], b: &[usize]) -> bool {
    a.len() == 4 && b.len() == 4 && a[0] == b[0] && a[1] != b[1] && a[2..] == b[2..]
}

/// The tensor in the wanted shape, and what was done to it.
fn fit(tensor: &Tensor, shape: &[usize], adapt: bool) -> Option<(Tensor, Option<String>)> {
    if tensor.shape == shape {
        return Some((tensor.clone(), None));
    }
    if adapt && differs_in_channels_only(&tensor.shape, shape) {
        return adapt_channels(tensor, shape);
    }
    // A matrix and the convolution that covers its whole input hold the same values in the same order (timm's VGG); a
    // scalar may be stored as one element.
    let ones = |shape: &[usize]| shape.iter().filter(|&&size| size != 1).copied().collect::<Vec<_>>();
    let matrix_as_conv = tensor.shape.len().min(shape.len()) == 2
        && tensor.shape.len().max(shape.len()) == 4
        && tensor.shape.first() == shape.first()
        && tensor.shape.iter().product::<usize>() == shape.iter().product::<usize>();
    if matrix_as_conv || tensor.shape.len().max(shape.len()) == 1 && ones(&tensor.shape) == ones(shape) {
        let how = format!("{:?} read as {shape:?}", tensor.shape);
        return Some((Tensor { shape: shape.to_vec(), data: tensor.data.clone() }, Some(how)));
    }
    None
}

fn adapt_channels(tensor: &Tensor, shape: &[usize]) -> Option<(Tensor, Option<String>)> {
    let (filters, have, want) = (shape[0], tensor.shape[1], shape[1]);
    let taps = shape[2] * shape[3];
    if have == 0 || want == 0 || tensor.data.len() != filters * have * taps {
        return None;
    }
    let mut data = vec![0.0f32; filters * want * taps];
    for filter in 0..filters {
        for tap in 0..taps {
            let at = |channel: usize| f64::from(tensor.data[(filter * have + channel) * taps + tap]);
            // The sum over channels is kept: what a grey image, the same in each channel, excites.
            let share = (0..have).map(at).sum::<f64>() / want as f64;
            for channel in 0..want {
                data[(filter * want + channel) * taps + tap] = share as f32;
            }
        }
    }
    let how = match want {
        1 => format!("{have} input channels summed to 1"),
        _ => format!("{have} input channels summed and shared out over {want}"),
    };
    Some((Tensor { shape: shape.to_vec(), data }, Some(how)))
}
