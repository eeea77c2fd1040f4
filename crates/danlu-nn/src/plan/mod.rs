//! A plan: the kernels of one pass over a graph, and the place of every buffer in one arena.
//!
//! It is a pure function of the graph, the key and the device's workspace sizes, so its bytes are known before
//! anything is allocated.

mod arena;
mod cut;
mod kernel;
mod lowering;

pub(crate) use arena::{Place, place};
pub(crate) use cut::{batch_stats, frozen_cut};
pub(crate) use kernel::{Buf, ByteBuf, ConvShape, Kernel, PoolShape, Step};
pub(crate) use lowering::{Lowering, Workspaces};

use crate::error::Result;
use crate::graph::{Graph, NodeId};

/// Which batch norms normalise with the running estimates in training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BnMode {
    /// None: batch statistics, and the running estimates are updated (PyTorch's `train()`).
    #[default]
    Batch,
    /// All (PyTorch's `eval()` on every batch norm): usual when fine-tuning with small batches.
    Running,
    /// Those whose scale and shift are both frozen: the usual choice for a frozen backbone.
    RunningWhereFrozen,
}

/// Training or inference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PlanMode {
    /// Forward and backward.
    Train,
    /// Forward with the running estimates, no dropout.
    Infer,
}

/// Which part of the network a plan computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Span {
    /// All of it.
    #[default]
    Whole,
    /// From the images to the end of the frozen prefix; inference only.
    Prefix,
    /// From the values at the end of the frozen prefix ([`Images::Features`](crate::Images::Features)) to the logits.
    Tail,
}

/// What a plan depends on beside the graph and the engine's settings (trainable parameters, BN mode, taps).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PlanKey {
    /// Images in a batch.
    pub batch: usize,
    /// Rows of an image.
    pub height: usize,
    /// Columns of an image.
    pub width: usize,
    /// Training or inference.
    pub mode: PlanMode,
    /// Which part of the network.
    pub span: Span,
}

impl PlanKey {
    /// A training step.
    pub fn train(batch: usize, height: usize, width: usize) -> Self {
        PlanKey { batch, height, width, mode: PlanMode::Train, span: Span::Whole }
    }

    /// Inference.
    pub fn infer(batch: usize, height: usize, width: usize) -> Self {
        PlanKey { batch, height, width, mode: PlanMode::Infer, span: Span::Whole }
    }

    /// The same for a part of the network.
    pub fn over(self, span: Span) -> Self {
        PlanKey { span, ..self }
    }
}

/// Settings of an engine that its plans depend on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Settings {
    pub(crate) trainable: Vec<bool>,
    pub(crate) bn: BnMode,
    pub(crate) taps: Vec<NodeId>,
    pub(crate) grad_taps: Vec<NodeId>,
}

/// A plan; see the module's page.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    /// Steps before this one are the forward pass.
    pub(crate) backward_from: usize,
    pub(crate) places: Vec<Place>,
    pub(crate) byte_places: Vec<Place>,
    /// Values and bytes of the arenas.
    pub(crate) arena: usize,
    pub(crate) byte_arena: usize,
    /// Largest kernel scratch, in values; it is part of the arena.
    pub(crate) workspace: usize,
    pub(crate) logits: Buf,
    pub(crate) dlogits: Option<Buf>,
    /// The value of each node, where it is still there at the end of the pass.
    pub(crate) taps: Vec<(NodeId, Buf)>,
    pub(crate) grad_taps: Vec<(NodeId, Buf)>,
    /// Values that each node keeps for the backward pass.
    pub(crate) kept: Vec<usize>,
    /// Bytes that each node keeps for the backward pass (places of maxima, dropout masks).
    pub(crate) kept_bytes: Vec<usize>,
    pub(crate) shapes: Vec<crate::shape::Shape>,
}

impl Plan {
    pub(crate) fn new(
        graph: &Graph,
        key: &PlanKey,
        settings: &Settings,
        workspaces: &dyn Workspaces,
    ) -> Result<Plan> {
        Lowering::lower(graph, key, settings, workspaces)
    }
}
