//! Filling tensors.

use danlu_rng::{Purpose, Stream};

use crate::error::{NnError, Result};
use crate::graph::{Graph, ParamInfo, ParamKind};
use crate::init::{Fans, InitConfig, InitMethod, Mode, Nonlinearity, orthogonal};
use crate::state_dict::Tensor;

/// `torch.nn.init.kaiming_normal_` with a = 0: normal, standard deviation gain / sqrt(fan).
///
/// ```
/// use danlu_nn::{Tensor, init};
/// use danlu_rng::{Purpose, Stream};
/// let mut weight = Tensor { shape: vec![16, 3, 3, 3], data: vec![0.0; 16 * 3 * 9] };
/// let mut stream = Stream::new(42, Purpose::Init, 0, 0);
/// init::kaiming_normal(&mut weight, init::Mode::FanOut, init::Nonlinearity::Relu, &mut stream);
/// ```
pub fn kaiming_normal(tensor: &mut Tensor, mode: Mode, nonlinearity: Nonlinearity, stream: &mut Stream) {
    let std = nonlinearity.gain(0.0) / (Fans::of(&tensor.shape).get(mode) as f64).sqrt();
    normal(tensor, 0.0, std, stream);
}

/// `torch.nn.init.kaiming_uniform_` with a = 0: uniform in +-gain * sqrt(3 / fan).
pub fn kaiming_uniform(tensor: &mut Tensor, mode: Mode, nonlinearity: Nonlinearity, stream: &mut Stream) {
    let bound = nonlinearity.gain(0.0) * (3.0 / Fans::of(&tensor.shape).get(mode) as f64).sqrt();
    uniform(tensor, -bound, bound, stream);
}

/// `torch.nn.init.xavier_normal_`: normal, standard deviation gain * sqrt(2 / (fan_in + fan_out)).
pub fn xavier_normal(tensor: &mut Tensor, gain: f64, stream: &mut Stream) {
    normal(tensor, 0.0, gain * (2.0 / fan_sum(&tensor.shape)).sqrt(), stream);
}

/// `torch.nn.init.xavier_uniform_`: uniform in +-gain * sqrt(6 / (fan_in + fan_out)).
pub fn xavier_uniform(tensor: &mut Tensor, gain: f64, stream: &mut Stream) {
    let bound = gain * (6.0 / fan_sum(&tensor.shape)).sqrt();
    uniform(tensor, -bound, bound, stream);
}

/// PyTorch's default of `Conv2d` and `Linear` weights: `kaiming_uniform_(a=sqrt(5))`, uniform in +-1 / sqrt(fan_in).
pub fn pytorch_default(tensor: &mut Tensor, stream: &mut Stream) {
    let bound = 1.0 / (Fans::of(&tensor.shape).get(Mode::FanIn) as f64).sqrt();
    uniform(tensor, -bound, bound, stream);
}

/// Normal.
pub fn normal(tensor: &mut Tensor, mean: f64, std: f64, stream: &mut Stream) {
    tensor.data.iter_mut().for_each(|v| *v = (mean + std * stream.normal()) as f32);
}

/// Uniform in `[a, b)`.
pub fn uniform(tensor: &mut Tensor, a: f64, b: f64, stream: &mut Stream) {
    tensor.data.iter_mut().for_each(|v| *v = stream.uniform_in(a, b) as f32);
}

/// Normal, drawn again until within `[a, b]` (the distribution of `torch.nn.init.trunc_normal_`).
pub fn trunc_normal(tensor: &mut Tensor, mean: f64, std: f64, a: f64, b: f64, stream: &mut Stream) {
    for v in &mut tensor.data {
        // The bound on the number of draws only matters for intervals that `validate` refuses.
        let mut x = mean + std * stream.normal();
        for _ in 0..1_000_000 {
            if (a..=b).contains(&x) {
                break;
            }
            x = mean + std * stream.normal();
        }
        *v = x.clamp(a.min(b), b.max(a)) as f32;
    }
}

/// One value everywhere.
pub fn constant(tensor: &mut Tensor, value: f64) {
    tensor.data.fill(value as f32);
}

/// `torch.nn.init.dirac_`: output channel i of each group passes input channel i.
pub fn dirac(tensor: &mut Tensor, groups: usize) {
    tensor.data.fill(0.0);
    let [out, input, rows, columns] = tensor.shape[..] else { return };
    let per_group = out / groups.max(1);
    for o in 0..out.min(per_group * groups) {
        let i = o % per_group.max(1);
        if i < input {
            tensor.data[((o * input + i) * rows + rows / 2) * columns + columns / 2] = 1.0;
        }
    }
}

fn fan_sum(shape: &[usize]) -> f64 {
    let fans = Fans::of(shape);
    ((fans.fan_in + fans.fan_out) as f64).max(1.0)
}

/// The initial values of every parameter of a graph, in order.
pub(crate) fn initial_values(graph: &Graph, config: &InitConfig, seed: u64) -> Result<Vec<Tensor>> {
    config.validate()?;
    for (i, group) in config.groups.iter().enumerate() {
        if !graph.params.iter().any(|p| matches(&group.pattern, &p.name)) {
            return Err(NnError::config(
                format!("init.groups[{i}].match"),
                format!("`{}`", group.pattern),
                "must match at least one parameter of the network",
            ));
        }
    }
    Ok(graph.params.iter().map(|param| initial_value(graph, param, config, seed)).collect())
}

fn initial_value(graph: &Graph, param: &ParamInfo, config: &InitConfig, seed: u64) -> Tensor {
    let own = graph_method(param, &config.weights);
    let group = config.groups.iter().rev().find(|g| matches(&g.pattern, &param.name));
    let method = match group.map(|g| &g.weights) {
        Some(InitMethod::Default) => param.init.clone(),
        Some(method) => method.clone(),
        None => own,
    };
    let mut tensor = Tensor { shape: param.shape.clone(), data: vec![0.0; param.elements()] };
    let mut stream = Stream::new(seed, Purpose::Init, 0, name_hash(&param.name));
    if config.zero_last_bn && param.last_of_residual && group.is_none() {
        return tensor;
    }
    fill(graph, param, &mut tensor, &method, &mut stream);
    tensor
}

/// The method that the recipe's `init.weights` means for this parameter.
fn graph_method(param: &ParamInfo, weights: &InitMethod) -> InitMethod {
    match (weights, param.kind) {
        (InitMethod::Default, _) => param.init.clone(),
        (_, ParamKind::NormWeight | ParamKind::NormBias) => param.init.clone(),
        (InitMethod::Pytorch, _) => InitMethod::Pytorch,
        (_, ParamKind::Bias) => InitMethod::Constant { value: 0.0 },
        (method, _) => method.clone(),
    }
}

fn fill(graph: &Graph, param: &ParamInfo, t: &mut Tensor, method: &InitMethod, stream: &mut Stream) {
    match *method {
        InitMethod::Default | InitMethod::Pytorch => match param.kind {
            ParamKind::Bias => {
                let bound = 1.0 / (bias_fan_in(graph, param) as f64).sqrt();
                uniform(t, -bound, bound, stream);
            }
            ParamKind::NormWeight => constant(t, 1.0),
            ParamKind::NormBias => constant(t, 0.0),
            ParamKind::ConvWeight | ParamKind::LinearWeight => pytorch_default(t, stream),
        },
        InitMethod::KaimingUniform { mode, nonlinearity, a } => {
            let bound = nonlinearity.gain(a) * (3.0 / Fans::of(&t.shape).get(mode) as f64).sqrt();
            uniform(t, -bound, bound, stream);
        }
        InitMethod::KaimingNormal { mode, nonlinearity, a } => {
            let std = nonlinearity.gain(a) / (Fans::of(&t.shape).get(mode) as f64).sqrt();
            normal(t, 0.0, std, stream);
        }
        InitMethod::XavierUniform { gain } => xavier_uniform(t, gain, stream),
        InitMethod::XavierNormal { gain } => xavier_normal(t, gain, stream),
        InitMethod::Orthogonal { gain } => orthogonal(t, gain, stream),
        InitMethod::TruncNormal { mean, std, a, b } => trunc_normal(t, mean, std, a, b, stream),
        InitMethod::Normal { mean, std } => normal(t, mean, std, stream),
        InitMethod::Uniform { a, b } => uniform(t, a, b, stream),
        InitMethod::Dirac { groups } => {
            if param.kind == ParamKind::ConvWeight {
                dirac(t, groups);
            } else {
                pytorch_default(t, stream);
            }
        }
        InitMethod::Constant { value } => constant(t, value),
    }
}

/// PyTorch draws a bias from the fan of the weight it belongs to, which is declared just before it.
fn bias_fan_in(graph: &Graph, bias: &ParamInfo) -> usize {
    let at = graph.params.iter().position(|p| p.name == bias.name).unwrap_or(0);
    at.checked_sub(1).map_or(1, |i| Fans::of(&graph.params[i].shape).get(Mode::FanIn))
}

/// FNV-1a, 64 bits: fixed for ever, because it decides the initial weights of a name.
fn name_hash(name: &str) -> u64 {
    name.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Whether `name` matches `pattern`, where `*` stands for any characters.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((head, rest)) => name.strip_prefix(head).is_some_and(|tail| {
            (0..=tail.len()).filter(|&i| tail.is_char_boundary(i)).any(|i| matches(rest, &tail[i..]))
        }),
    }
}
