//! Where the frozen prefix of a network ends.

use crate::graph::{Graph, Node, NodeId};
use crate::ops::Op;
use crate::plan::{BnMode, Settings};

/// The deepest node whose value is a function of the image alone, and through which everything after it passes: nothing
/// before it trains, its batch norms use the running estimates, nothing is dropped at random. Its values can be computed
/// once an image.
pub(crate) fn frozen_cut(graph: &Graph, settings: &Settings) -> Option<NodeId> {
    let mut pure = vec![true; graph.nodes.len()];
    for (i, node) in graph.nodes.iter().enumerate().skip(1) {
        let trains = node.params.iter().any(|&param| settings.trainable[param]);
        let moves = node.norm.is_some() && batch_stats(node, settings);
        pure[i] = !trains && !moves && !is_random(&node.op) && node.inputs.iter().all(|id| pure[id.0]);
    }
    let last = graph.nodes.len() - 1;
    // The smallest input of all nodes from here on: a cut at `i` must not be jumped over.
    let mut reaches_back_to = usize::MAX;
    for i in (1..last).rev() {
        let inputs = graph.nodes[i + 1].inputs.iter().map(|id| id.0);
        reaches_back_to = inputs.fold(reaches_back_to, usize::min);
        if pure[i] && reaches_back_to >= i {
            return Some(NodeId(i));
        }
    }
    None
}

/// Whether a node's batch norm takes the statistics of the batch in training.
pub(crate) fn batch_stats(node: &Node, settings: &Settings) -> bool {
    match settings.bn {
        BnMode::Batch => true,
        BnMode::Running => false,
        BnMode::RunningWhereFrozen => node.params.iter().rev().take(2).any(|&p| settings.trainable[p]),
    }
}

fn is_random(op: &Op) -> bool {
    match op {
        Op::Dropout(dropout) => dropout.p > 0.0,
        Op::DropPath(path) => path.p > 0.0,
        _ => false,
    }
}
