//! Folding each batch norm into the convolution before it, for inference.

use crate::error::{NnError, Result};
use crate::graph::{Graph, ParamKind};
use crate::ops::Op;
use crate::state_dict::{StateDict, Tensor};

/// Then parallel convolutions become one ([`merge`](crate::merge)).
///
/// `w' = w * gamma / sqrt(var + eps)`, `b' = beta - mean * gamma / sqrt(var + eps)`, computed in f64. The folded
/// convolution keeps its name: `conv1.weight` gets a `conv1.bias`.
pub(crate) fn fold(graph: &Graph, state: &StateDict) -> Result<(Graph, StateDict)> {
    let get = |name: &str| {
        state.get(name).ok_or_else(|| NnError::State { what: format!("missing `{name}`"), hint: None })
    };
    let mut folded = Graph { norms: Vec::new(), params: Vec::new(), ..graph.clone() };
    let mut dict = StateDict::new();
    for node in &mut folded.nodes {
        let old: Vec<_> = node.params.iter().map(|&p| graph.params[p].clone()).collect();
        let mut push = |params: &mut Vec<crate::graph::ParamInfo>, info, tensor: Tensor| {
            let info: crate::graph::ParamInfo = info;
            dict.insert(info.name.clone(), tensor);
            params.push(info);
            params.len() - 1
        };
        let (Some(norm), Op::Conv(conv)) = (node.norm, &mut node.op) else {
            node.params = old
                .into_iter()
                .map(|info| {
                    let tensor = get(&info.name)?.clone();
                    Ok(push(&mut folded.params, info, tensor))
                })
                .collect::<Result<_>>()?;
            continue;
        };
        let info = &graph.norms[norm];
        let base = conv.conv_name(&node.name);
        let [.., gamma_info, beta_info] = &old[..] else {
            return Err(NnError::Internal(format!("`{}` lacks its batch norm", node.name)));
        };
        let (gamma, beta) = (get(&gamma_info.name)?, get(&beta_info.name)?);
        let own_bias = if conv.bias { Some(get(&old[1].name)?) } else { None };
        let mean = get(&format!("{}.running_mean", info.name))?;
        let var = get(&format!("{}.running_var", info.name))?;
        let mut weight = get(&old[0].name)?.clone();
        let mut bias = Tensor { shape: vec![info.channels], data: vec![0.0; info.channels] };
        let per_filter = weight.data.len() / info.channels.max(1);
        for k in 0..info.channels {
            let scale = f64::from(gamma.data[k]) / (f64::from(var.data[k]) + info.eps).sqrt();
            for w in &mut weight.data[k * per_filter..][..per_filter] {
                *w = (f64::from(*w) * scale) as f32;
            }
            let before = own_bias.map_or(0.0, |b| f64::from(b.data[k]));
            bias.data[k] = (f64::from(beta.data[k]) + (before - f64::from(mean.data[k])) * scale) as f32;
        }
        let mut bias_info = beta_info.clone();
        bias_info.name = format!("{base}.bias");
        bias_info.kind = ParamKind::Bias;
        let weight_info = old[0].clone();
        let weight = push(&mut folded.params, weight_info, weight);
        let bias = push(&mut folded.params, bias_info, bias);
        node.params = vec![weight, bias];
        node.norm = None;
        // The layer must go by the name that its parameters have had.
        node.name = base;
        conv.norm = None;
        conv.bias = true;
    }
    crate::merge::merge(folded, dict)
}
