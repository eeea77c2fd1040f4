//! Turning a graph into kernels: forward in order, backward in reverse.
//!
//! What is kept for the backward pass: the output of a convolution before its batch norm, and little else. The
//! activation after the batch norm is one cheap pass over it and is computed again where a weight gradient needs it,
//! unless that would need a chain of more than [`MAX_CHAIN`] residual additions.

use crate::activation::Act;
use crate::error::{NnError, Result};
use crate::graph::{Graph, Node, NodeId};
use crate::ops::Op;
use crate::plan::arena::Lifetime;
use crate::plan::{
    Buf, ByteBuf, ConvShape, Kernel, Plan, PlanKey, PlanMode, Settings, Span, Step, batch_stats, frozen_cut,
    place,
};
use crate::shape::Shape;

/// Longest chain of values computed again one from another: 2 lets a stage keep every third block's output; the chain
/// is alive at once in the backward pass, so longer ones gain nothing.
const MAX_CHAIN: usize = 2;

/// Scratch that a device's kernels need, in values.
pub(crate) trait Workspaces {
    fn conv_forward_space(&self, conv: &ConvShape) -> Result<usize>;
    fn conv_backward_input_space(&self, conv: &ConvShape) -> Result<usize>;
    fn conv_backward_weight_space(&self, conv: &ConvShape) -> Result<usize>;
    fn norm_space(&self, rows: usize, channels: usize) -> usize;
    fn bias_space(&self, rows: usize, channels: usize) -> usize;
}

/// What a node keeps between its forward and backward kernels.
#[derive(Clone, Debug, Default)]
pub(crate) struct Saved {
    /// Output before the norm or activation.
    pub(crate) raw: Option<Buf>,
    /// Whether the value can be computed again from `raw`.
    pub(crate) recomputable: bool,
    pub(crate) bytes: Option<ByteBuf>,
    pub(crate) extra: Vec<Buf>,
}

pub(crate) struct Lowering<'a> {
    graph: &'a Graph,
    settings: &'a Settings,
    workspaces: &'a dyn Workspaces,
    key: PlanKey,
    shapes: Vec<Shape>,
    steps: Vec<Step>,
    /// Length and owner of each buffer.
    bufs: Vec<(usize, NodeId)>,
    byte_bufs: Vec<(usize, NodeId)>,
    current: NodeId,
    value: Vec<Option<Buf>>,
    alias: Vec<Option<NodeId>>,
    saved: Vec<Saved>,
    grad: Vec<Option<Buf>>,
    /// Whether the backward pass goes through the node.
    backward: Vec<bool>,
    /// Values dropped after the forward pass; those computed again.
    dropped: Vec<bool>,
    again: Vec<Option<Buf>>,
    workspace: usize,
}

impl<'a> Lowering<'a> {
    pub(crate) fn lower(
        graph: &'a Graph,
        key: &PlanKey,
        settings: &'a Settings,
        workspaces: &'a dyn Workspaces,
    ) -> Result<Plan> {
        if key.batch == 0 {
            return Err(NnError::Input("a batch must hold at least one image".into()));
        }
        let shapes = graph.shapes(key.height, key.width)?;
        let count = graph.nodes.len();
        let mut backward = vec![false; count];
        if key.mode == PlanMode::Train {
            for (i, node) in graph.nodes.iter().enumerate() {
                backward[i] = node.params.iter().any(|&p| settings.trainable[p])
                    || node.inputs.iter().any(|id| backward[id.0]);
            }
        }
        // What is computed: the nodes of `from..to`; `start`'s value comes from outside.
        let (start, to) = match key.span {
            Span::Whole => (NodeId(0), count),
            span => {
                let cut = frozen_cut(graph, settings).ok_or_else(|| {
                    NnError::Input("no prefix of the network is frozen, so it has no features to keep".into())
                })?;
                if span == Span::Prefix { (NodeId(0), cut.0 + 1) } else { (cut, count) }
            }
        };
        let output = NodeId(to - 1);
        let mut cx = Lowering {
            graph,
            settings,
            workspaces,
            key: *key,
            shapes,
            steps: Vec::new(),
            bufs: Vec::new(),
            byte_bufs: Vec::new(),
            current: NodeId(0),
            value: vec![None; count],
            alias: vec![None; count],
            saved: vec![Saved::default(); count],
            grad: vec![None; count],
            backward,
            dropped: vec![false; count],
            again: vec![None; count],
            workspace: 0,
        };
        cx.current = start;
        let input = cx.value_buf(start);
        cx.emit(Kernel::Input { out: input });
        cx.set_value(start, input);
        for i in start.0 + 1..to {
            cx.current = NodeId(i);
            if let Some(op) = graph.nodes[i].op.operation() {
                op.forward(&mut cx, NodeId(i), &graph.nodes[i])?;
            }
        }
        let logits = cx.value(output);
        cx.check_norms()?;
        let backward_from = cx.steps.len();
        let mut dlogits = None;
        let mut grad_taps = Vec::new();
        if key.mode == PlanMode::Train {
            cx.drop_values();
            cx.current = graph.output();
            let d = cx.value_buf(graph.output());
            cx.emit(Kernel::Loss { logits, dlogits: d });
            dlogits = Some(d);
            let output = cx.resolve(graph.output());
            cx.grad[output.0] = Some(d);
            for i in (1..count).rev() {
                cx.current = NodeId(i);
                if settings.grad_taps.contains(&NodeId(i))
                    && let Some(src) = cx.grad[i]
                {
                    let dst = cx.value_buf(NodeId(i));
                    cx.emit(Kernel::Accumulate { src, dst, accumulate: false });
                    grad_taps.push((NodeId(i), dst));
                }
                if !cx.backward[i] || cx.grad[i].is_none() {
                    continue;
                }
                if let Some(op) = graph.nodes[i].op.operation() {
                    op.backward(&mut cx, NodeId(i), &graph.nodes[i])?;
                }
            }
        }
        let there = |id: &&NodeId| (start.0..to).contains(&id.0);
        let taps = settings.taps.iter().filter(there).map(|&id| (id, cx.value(id))).collect();
        Ok(cx.finish(backward_from, logits, dlogits, taps, grad_taps))
    }

    fn finish(
        self,
        backward_from: usize,
        logits: Buf,
        dlogits: Option<Buf>,
        taps: Vec<(NodeId, Buf)>,
        grad_taps: Vec<(NodeId, Buf)>,
    ) -> Plan {
        let mut lives: Vec<Option<Lifetime>> = vec![None; self.bufs.len()];
        let mut byte_lives: Vec<Option<Lifetime>> = vec![None; self.byte_bufs.len()];
        let touch = |life: &mut Option<Lifetime>, len: usize, at: usize| {
            let (first, last) = life.map_or((at, at), |l| (l.first, l.last.max(at)));
            *life = Some(Lifetime { len, first, last });
        };
        for (at, step) in self.steps.iter().enumerate() {
            for buf in step.kernel.bufs() {
                touch(&mut lives[buf.0], self.bufs[buf.0].0, at);
            }
            if let Some(buf) = step.kernel.byte_bufs() {
                touch(&mut byte_lives[buf.0], self.byte_bufs[buf.0].0, at);
            }
        }
        let end = self.steps.len();
        for &(_, buf) in taps.iter().chain(&grad_taps) {
            touch(&mut lives[buf.0], self.bufs[buf.0].0, end);
        }
        // The host reads the logits after a forward pass and the loss is computed between the passes.
        touch(
            &mut lives[logits.0],
            self.bufs[logits.0].0,
            if dlogits.is_some() { backward_from } else { end },
        );
        let count = self.graph.nodes.len();
        let mut kept = vec![0; count];
        let mut kept_bytes = vec![0; count];
        let crosses = |l: &Lifetime| dlogits.is_some() && l.first < backward_from && l.last > backward_from;
        for (i, life) in lives.iter().enumerate() {
            if life.as_ref().is_some_and(crosses) {
                kept[self.bufs[i].1.0] += self.bufs[i].0;
            }
        }
        for (i, life) in byte_lives.iter().enumerate() {
            if life.as_ref().is_some_and(crosses) {
                kept_bytes[self.byte_bufs[i].1.0] += self.byte_bufs[i].0;
            }
        }
        let (places, arena) = place(&lives);
        let (byte_places, byte_arena) = place(&byte_lives);
        Plan {
            steps: self.steps,
            backward_from,
            places,
            byte_places,
            arena,
            byte_arena,
            workspace: self.workspace,
            logits,
            dlogits,
            taps,
            grad_taps,
            kept,
            kept_bytes,
            shapes: self.shapes,
        }
    }

    /// A batch norm over a single value has no variance; PyTorch refuses too.
    fn check_norms(&self) -> Result<()> {
        for step in &self.steps {
            if let Kernel::NormScale { rows: 1, batch: true, .. } = step.kernel {
                return Err(NnError::shape(
                    &self.graph.nodes[step.node.0].name,
                    "its batch norm would see one value per channel (batch of 1 at 1x1)",
                    "train with a batch of at least 2, or with larger images",
                ));
            }
        }
        Ok(())
    }

    /// Decides which values are computed again instead of kept.
    fn drop_values(&mut self) {
        let mut chain = vec![0; self.graph.nodes.len()];
        for i in 0..self.graph.nodes.len() {
            if !self.saved[i].recomputable || self.settings.taps.contains(&NodeId(i)) {
                continue;
            }
            let before =
                self.graph.nodes[i].inputs.get(1).map_or(0, |&residual| chain[self.resolve(residual).0]);
            if before < MAX_CHAIN {
                chain[i] = before + 1;
                self.dropped[i] = true;
            }
        }
    }

    pub(crate) fn batch(&self) -> usize {
        self.key.batch
    }

    pub(crate) fn training(&self) -> bool {
        self.key.mode == PlanMode::Train
    }

    pub(crate) fn shape(&self, id: NodeId) -> Shape {
        self.shapes[id.0]
    }

    /// Pixels of the whole batch.
    pub(crate) fn rows(&self, id: NodeId) -> usize {
        self.key.batch * self.shapes[id.0].h * self.shapes[id.0].w
    }

    pub(crate) fn trainable(&self, param: usize) -> bool {
        self.settings.trainable[param]
    }

    /// Whether the backward pass goes through the node, so that what it needs must be kept.
    pub(crate) fn needs_backward(&self, id: NodeId) -> bool {
        self.backward[id.0]
    }

    /// Whether the gradient to a node's value is wanted.
    pub(crate) fn needs_grad(&self, id: NodeId) -> bool {
        self.backward[self.resolve(id).0]
    }

    /// Whether a node's batch norm takes the statistics of the batch.
    pub(crate) fn batch_stats(&self, node: &Node) -> bool {
        self.training() && batch_stats(node, self.settings)
    }

    pub(crate) fn emit(&mut self, kernel: Kernel) {
        self.steps.push(Step { node: self.current, kernel });
    }

    pub(crate) fn buf(&mut self, len: usize) -> Buf {
        self.bufs.push((len, self.current));
        Buf(self.bufs.len() - 1)
    }

    fn scratch(&mut self, len: usize) -> Buf {
        self.workspace = self.workspace.max(len);
        self.buf(len)
    }

    pub(crate) fn byte_buf(&mut self, len: usize) -> ByteBuf {
        self.byte_bufs.push((len, self.current));
        ByteBuf(self.byte_bufs.len() - 1)
    }

    /// A buffer of the size of a node's value.
    pub(crate) fn value_buf(&mut self, id: NodeId) -> Buf {
        self.buf(self.key.batch * self.shapes[id.0].elements())
    }

    pub(crate) fn value(&self, id: NodeId) -> Buf {
        // Nodes are lowered in order, so a value that is asked for exists; the input's is a harmless stand-in.
        self.value[self.resolve(id).0].unwrap_or(Buf(0))
    }

    pub(crate) fn set_value(&mut self, id: NodeId, buf: Buf) {
        self.value[id.0] = Some(buf);
    }

    /// The node's value is that of another.
    pub(crate) fn alias(&mut self, id: NodeId, of: NodeId) {
        self.alias[id.0] = Some(self.resolve(of));
    }

    fn resolve(&self, id: NodeId) -> NodeId {
        self.alias[id.0].unwrap_or(id)
    }

    pub(crate) fn saved(&self, id: NodeId) -> &Saved {
        &self.saved[id.0]
    }

    pub(crate) fn saved_mut(&mut self, id: NodeId) -> &mut Saved {
        &mut self.saved[id.0]
    }

    /// A node's value in the backward pass: kept, or computed again once.
    pub(crate) fn need(&mut self, id: NodeId) -> Result<Buf> {
        let id = self.resolve(id);
        if !self.dropped[id.0] {
            return Ok(self.value(id));
        }
        if let Some(buf) = self.again[id.0] {
            return Ok(buf);
        }
        let graph = self.graph;
        let node = &graph.nodes[id.0];
        let Op::Conv(conv) = &node.op else {
            return Err(NnError::Internal(format!("the value of `{}` was dropped", node.name)));
        };
        let buf = conv.recompute(self, id, node)?;
        self.again[id.0] = Some(buf);
        Ok(buf)
    }

    /// The complete gradient of a node's value, which the node may change in place.
    pub(crate) fn grad(&self, id: NodeId) -> Result<Buf> {
        self.grad[id.0]
            .ok_or_else(|| NnError::Internal(format!("`{}` has no gradient", self.graph.nodes[id.0].name)))
    }

    /// Where a gradient to a node's value goes, and whether it is added to what is there; `None` if it is not wanted.
    pub(crate) fn grad_into(&mut self, id: NodeId) -> Option<(Buf, bool)> {
        let id = self.resolve(id);
        if !self.backward[id.0] {
            return None;
        }
        if let Some(buf) = self.grad[id.0] {
            return Some((buf, true));
        }
        let buf = self.value_buf(id);
        self.grad[id.0] = Some(buf);
        Some((buf, false))
    }

    /// Hands a gradient buffer on to an input, without a copy where it is the first.
    pub(crate) fn pass_grad(&mut self, to: NodeId, buf: Buf) {
        let to = self.resolve(to);
        if !self.backward[to.0] {
            return;
        }
        match self.grad[to.0] {
            None => self.grad[to.0] = Some(buf),
            Some(dst) if dst == buf => {}
            Some(dst) => self.emit(Kernel::Accumulate { src: buf, dst, accumulate: true }),
        }
    }

    pub(crate) fn conv_forward(
        &mut self,
        conv: ConvShape,
        x: Buf,
        w: usize,
        y: Buf,
        bias: Option<usize>,
        residual: Option<Buf>,
        act: Act,
        stats: Option<usize>,
    ) -> Result<()> {
        let ws = self.scratch(self.workspaces.conv_forward_space(&conv)?);
        self.emit(Kernel::Conv { conv, x, w, y, bias, residual, act, stats, ws });
        Ok(())
    }

    pub(crate) fn conv_backward_input(
        &mut self,
        conv: ConvShape,
        dy: Buf,
        w: usize,
        dx: Buf,
        accumulate: bool,
    ) -> Result<()> {
        let ws = self.scratch(self.workspaces.conv_backward_input_space(&conv)?);
        self.emit(Kernel::ConvBackwardInput { conv, dy, w, dx, accumulate, ws });
        Ok(())
    }

    pub(crate) fn conv_backward_weight(&mut self, conv: ConvShape, x: Buf, dy: Buf, w: usize) -> Result<()> {
        let ws = self.scratch(self.workspaces.conv_backward_weight_space(&conv)?);
        self.emit(Kernel::ConvBackwardWeight { conv, x, dy, w, ws });
        Ok(())
    }

    pub(crate) fn norm_scratch(&mut self, rows: usize, channels: usize) -> Buf {
        self.scratch(self.workspaces.norm_space(rows, channels))
    }

    /// The gradient of a bias, if it trains.
    pub(crate) fn bias_grad(&mut self, rows: usize, channels: usize, dy: Buf, bias: usize) {
        if self.trainable(bias) {
            let ws = self.scratch(self.workspaces.bias_space(rows, channels));
            self.emit(Kernel::BiasGrad { dy, bias, ws });
        }
    }
}
