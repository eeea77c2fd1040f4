//! Merging parallel convolutions into one, for inference: `conv_a(x) + conv_b(x)` is one convolution whose filter is the sum of the two,
//! the smaller one laid into the larger (ACNet, Ding et al. 2019, arXiv 1908.03930, figure 2).

use crate::activation::Act;
use crate::error::{NnError, Result};
use crate::graph::{Graph, NodeId, ParamKind};
use crate::ops::{Conv, Op};
use crate::state_dict::{StateDict, Tensor};

/// Merges until nothing is left to merge. The graph has no batch norms any more (folding comes first).
pub(crate) fn merge(mut graph: Graph, mut state: StateDict) -> Result<(Graph, StateDict)> {
    while let Some(pair) = parallel(&graph) {
        (graph, state) = join(graph, &state, pair)?;
    }
    Ok((graph, state))
}

/// Two convolutions of one input: the second adds the first's output, which nothing else uses.
#[derive(Clone, Copy)]
struct Pair {
    first: usize,
    second: usize,
    /// Whether the first has the larger filter, into which the other's is laid.
    first_is_larger: bool,
    /// Row and column of the smaller filter in the larger.
    at: [usize; 2],
}

fn parallel(graph: &Graph) -> Option<Pair> {
    (1..graph.nodes.len()).find_map(|second| {
        let node = &graph.nodes[second];
        let (Op::Conv(conv), &[x, NodeId(first)]) = (&node.op, &node.inputs[..]) else { return None };
        let before = &graph.nodes[first];
        let Op::Conv(other) = &before.op else { return None };
        let plain = node.norm.is_none() && before.norm.is_none() && other.act == Act::None;
        let used_once = graph.nodes.iter().filter(|n| n.inputs.contains(&NodeId(first))).count() == 1;
        let alike = (conv.stride, conv.dilation, conv.groups) == (other.stride, other.dilation, other.groups);
        if !(plain && used_once && alike && before.inputs.first() == Some(&x)) {
            return None;
        }
        let (inside, around) = (place(conv, other), place(other, conv));
        let pair = |first_is_larger, at| Pair { first, second, first_is_larger, at };
        inside.map(|at| pair(true, at)).or_else(|| around.map(|at| pair(false, at)))
    })
}

/// Where the taps of `small` lie in the filter of `large`, if all do.
fn place(small: &Conv, large: &Conv) -> Option<[usize; 2]> {
    let (small_padding, large_padding) = (small.resolved_padding(), large.resolved_padding());
    let mut at = [0; 2];
    for axis in 0..2 {
        let ahead = large_padding[axis].checked_sub(small_padding[axis])?;
        let step = large.dilation[axis].max(1);
        at[axis] = ahead / step;
        if !ahead.is_multiple_of(step) || at[axis] + small.kernel[axis] > large.kernel[axis] {
            return None;
        }
    }
    Some(at)
}

fn join(graph: Graph, state: &StateDict, pair: Pair) -> Result<(Graph, StateDict)> {
    let Pair { first, second, first_is_larger, at } = pair;
    let (large, small) = if first_is_larger { (first, second) } else { (second, first) };
    let (Op::Conv(conv), Op::Conv(last)) = (&graph.nodes[large].op, &graph.nodes[second].op) else {
        return Err(NnError::Internal("only convolutions are merged".into()));
    };
    let tensor = |node: usize, kind: ParamKind| {
        let info = graph.nodes[node].params.iter().map(|&p| &graph.params[p]).find(|info| info.kind == kind);
        info.and_then(|info| state.get(&info.name))
    };
    let lacking = |node: usize| NnError::Internal(format!("`{}` lacks its weight", graph.nodes[node].name));
    let mut weight = tensor(large, ParamKind::ConvWeight).ok_or_else(|| lacking(large))?.clone();
    let added = tensor(small, ParamKind::ConvWeight).ok_or_else(|| lacking(small))?;
    let ([.., rows, columns], [.., small_rows, small_columns]) = (&weight.shape[..], &added.shape[..]) else {
        return Err(lacking(large));
    };
    let (area, columns, small_columns) = (rows * columns, *columns, *small_columns);
    for (filter, taps) in
        weight.data.chunks_exact_mut(area).zip(added.data.chunks_exact(small_rows * small_columns))
    {
        for (i, tap) in taps.iter().enumerate() {
            let (row, column) = (at[0] + i / small_columns, at[1] + i % small_columns);
            filter[row * columns + column] += tap;
        }
    }
    let biases = [first, second].map(|node| tensor(node, ParamKind::Bias));
    let bias = match biases {
        [Some(a), Some(b)] => Some(Tensor {
            shape: a.shape.clone(),
            data: a.data.iter().zip(&b.data).map(|(a, b)| a + b).collect(),
        }),
        [one, other] => one.or(other).cloned(),
    };

    let mut node = graph.nodes[large].clone();
    node.op = Op::Conv(Conv { act: last.act, bias: bias.is_some(), last_of_residual: false, ..conv.clone() });
    node.inputs = graph.nodes[first].inputs.clone();
    let (mut merged, mut dict) =
        (Graph { nodes: Vec::new(), params: Vec::new(), ..graph.clone() }, StateDict::new());
    let renumbered = |id: NodeId| NodeId(id.0 - usize::from(id.0 > first));
    for (index, old) in graph.nodes.iter().enumerate().filter(|(index, _)| *index != first) {
        let is_merged = index == second;
        let mut new = if is_merged { node.clone() } else { old.clone() };
        new.inputs = new.inputs.into_iter().map(renumbered).collect();
        let mut params = Vec::new();
        let mut infos: Vec<_> = new.params.iter().map(|&p| graph.params[p].clone()).collect();
        if is_merged && bias.is_some() && !infos.iter().any(|info| info.kind == ParamKind::Bias) {
            let owner = if first_is_larger { second } else { first };
            let mut info = graph.nodes[owner].params.iter().map(|&p| &graph.params[p]);
            let info = info.rfind(|info| info.kind == ParamKind::Bias).cloned();
            infos.extend(
                info.map(|info| crate::graph::ParamInfo { name: format!("{}.bias", new.name), ..info }),
            );
        }
        for mut info in infos {
            let value = match (is_merged, info.kind, &bias) {
                (true, ParamKind::ConvWeight, _) => weight.clone(),
                (true, ParamKind::Bias, Some(bias)) => bias.clone(),
                _ => state.get(&info.name).cloned().ok_or_else(|| lacking(index))?,
            };
            info.layer = NodeId(merged.nodes.len());
            dict.insert(info.name.clone(), value);
            params.push(merged.params.len());
            merged.params.push(info);
        }
        new.params = params;
        merged.nodes.push(new);
    }
    Ok((merged, dict))
}
