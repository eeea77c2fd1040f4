//! The kernels that a plan is made of. A device runs each on slices of the arena and on the engine's parameters.

use danlu_kernels::Pass;

use crate::activation::Act;
use crate::graph::NodeId;
use crate::ops::PoolKind;

/// A buffer of values in the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Buf(pub(crate) usize);

/// A buffer of bytes: places of maxima, dropout masks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ByteBuf(pub(crate) usize);

/// Sizes of a convolution; the batch is part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ConvShape {
    pub(crate) n: usize,
    pub(crate) h: usize,
    pub(crate) w: usize,
    pub(crate) c: usize,
    pub(crate) k: usize,
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) padding: [usize; 2],
    pub(crate) dilation: [usize; 2],
    pub(crate) groups: usize,
}

impl ConvShape {
    fn out(&self, i: usize, size: usize) -> usize {
        (size + 2 * self.padding[i] - self.dilation[i] * (self.kernel[i] - 1) - 1) / self.stride[i] + 1
    }

    /// Values of the filters.
    pub(crate) fn weights(&self) -> usize {
        self.k * self.c / self.groups * self.kernel[0] * self.kernel[1]
    }

    /// Floating-point operations of one pass of the direct convolution, border included; a multiply-add is two.
    pub(crate) fn flops(&self) -> f64 {
        2.0 * (self.n * self.out_h() * self.out_w()) as f64 * self.weights() as f64
    }

    pub(crate) fn out_h(&self) -> usize {
        self.out(0, self.h)
    }

    pub(crate) fn out_w(&self) -> usize {
        self.out(1, self.w)
    }
}

/// Sizes of a pooling layer; for adaptive pooling `size` and `stride` do not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PoolShape {
    pub(crate) n: usize,
    pub(crate) h: usize,
    pub(crate) w: usize,
    pub(crate) c: usize,
    pub(crate) out: [usize; 2],
    pub(crate) size: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) padding: [usize; 2],
}

/// One kernel. Numbers that are not buffers are indices of parameters (`w`, `bias`, `gamma`, `beta`) or norms.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kernel {
    /// The engine writes the normalised, mixed images.
    Input {
        out: Buf,
    },
    /// `y = act(conv(x, w) + bias + residual)`; with `stats` instead the plain convolution and the sums of its output.
    Conv {
        conv: ConvShape,
        x: Buf,
        w: usize,
        y: Buf,
        bias: Option<usize>,
        residual: Option<Buf>,
        act: Act,
        stats: Option<usize>,
        ws: Buf,
    },
    ConvBackwardInput {
        conv: ConvShape,
        dy: Buf,
        w: usize,
        dx: Buf,
        accumulate: bool,
        ws: Buf,
    },
    ConvBackwardWeight {
        conv: ConvShape,
        x: Buf,
        dy: Buf,
        w: usize,
        ws: Buf,
    },
    /// Scale and shift of a norm, from the sums of its convolution (and updates the running estimates) or from the
    /// running estimates. A bias of the convolution is not added to its output but to the mean here, which is the same.
    NormScale {
        norm: usize,
        rows: usize,
        batch: bool,
        gamma: usize,
        beta: usize,
        bias: Option<usize>,
    },
    /// `out = act(x * scale + shift + residual)`.
    NormApply {
        norm: usize,
        x: Buf,
        act: Act,
        residual: Option<Buf>,
        out: Buf,
    },
    /// Gradients of scale and shift and, in place of `dout`, of the convolution's output.
    NormBackward {
        norm: usize,
        dout: Buf,
        x: Buf,
        residual: Option<Buf>,
        act: Act,
        batch: bool,
        want_dx: bool,
        dres: Option<(Buf, bool)>,
        gamma: Option<usize>,
        beta: Option<usize>,
        bias: Option<usize>,
        ws: Buf,
    },
    Act {
        act: Act,
        x: Buf,
        y: Buf,
    },
    /// `dx *= act'(x)`; `x` is the input, or the output where that tells the slope.
    ActBackward {
        act: Act,
        x: Buf,
        dx: Buf,
    },
    BiasGrad {
        dy: Buf,
        bias: usize,
        ws: Buf,
    },
    Add {
        a: Buf,
        b: Buf,
        act: Act,
        y: Buf,
    },
    /// `dst = src` or `dst += src`.
    Accumulate {
        src: Buf,
        dst: Buf,
        accumulate: bool,
    },
    Pool {
        kind: PoolKind,
        shape: PoolShape,
        x: Buf,
        y: Buf,
        argmax: Option<ByteBuf>,
    },
    PoolBackward {
        kind: PoolKind,
        shape: PoolShape,
        dy: Buf,
        dx: Buf,
        accumulate: bool,
        argmax: Option<ByteBuf>,
    },
    /// Draws the mask of a dropout layer; one byte for `group` values.
    DropoutMask {
        node: NodeId,
        p: f64,
        mask: ByteBuf,
    },
    /// `y = x * mask / (1 - p)`.
    Mask {
        p: f64,
        group: usize,
        mask: ByteBuf,
        x: Buf,
        y: Buf,
    },
    MaskInPlace {
        p: f64,
        group: usize,
        mask: ByteBuf,
        y: Buf,
    },
    /// Copies `c` channels of `x` to channel `at` of `out`, which has `total`.
    ConcatPart {
        rows: usize,
        x: Buf,
        c: usize,
        out: Buf,
        total: usize,
        at: usize,
    },
    ConcatPartBackward {
        rows: usize,
        dout: Buf,
        total: usize,
        at: usize,
        dx: Buf,
        c: usize,
        accumulate: bool,
    },
    /// `out[n, p, c] = x[n, p, c] * gate[n, c]`.
    Gate {
        n: usize,
        c: usize,
        x: Buf,
        gate: Buf,
        out: Buf,
    },
    GateBackward {
        n: usize,
        c: usize,
        x: Buf,
        dout: Buf,
        dgate: Buf,
    },
    /// The loss: reads the logits, writes their gradient.
    Loss {
        logits: Buf,
        dlogits: Buf,
    },
}

impl Kernel {
    /// What it does, for tables.
    pub(crate) fn name(&self) -> &'static str {
        use Kernel as K;
        match self {
            K::Input { .. } => "input",
            K::Conv { .. } => "conv forward",
            K::ConvBackwardInput { .. } => "conv dx",
            K::ConvBackwardWeight { .. } => "conv dw",
            K::NormScale { .. } => "norm scale",
            K::NormApply { .. } => "norm apply",
            K::NormBackward { .. } => "norm backward",
            K::Act { .. } => "activation",
            K::ActBackward { .. } => "activation backward",
            K::BiasGrad { .. } => "bias gradient",
            K::Add { .. } => "add",
            K::Accumulate { .. } => "accumulate",
            K::Pool { .. } => "pool",
            K::PoolBackward { .. } => "pool backward",
            K::DropoutMask { .. } => "dropout mask",
            K::Mask { .. } | K::MaskInPlace { .. } => "mask",
            K::ConcatPart { .. } => "concat",
            K::ConcatPartBackward { .. } => "concat backward",
            K::Gate { .. } => "gate",
            K::GateBackward { .. } => "gate backward",
            K::Loss { .. } => "loss",
        }
    }

    /// The convolution and its pass, where it is one.
    pub(crate) fn conv(&self) -> Option<(&ConvShape, Pass)> {
        match self {
            Kernel::Conv { conv, .. } => Some((conv, Pass::Forward)),
            Kernel::ConvBackwardInput { conv, .. } => Some((conv, Pass::BackwardInput)),
            Kernel::ConvBackwardWeight { conv, .. } => Some((conv, Pass::BackwardWeight)),
            _ => None,
        }
    }

    /// Scratch, which need not reach memory.
    pub(crate) fn workspace(&self) -> Option<Buf> {
        match self {
            Kernel::Conv { ws, .. }
            | Kernel::ConvBackwardInput { ws, .. }
            | Kernel::ConvBackwardWeight { ws, .. }
            | Kernel::NormBackward { ws, .. }
            | Kernel::BiasGrad { ws, .. } => Some(*ws),
            _ => None,
        }
    }

    /// The buffers it touches.
    pub(crate) fn bufs(&self) -> Vec<Buf> {
        use Kernel as K;
        let mut bufs = Vec::new();
        match self {
            K::Input { out } => bufs.push(*out),
            K::Conv { x, y, residual, ws, .. } => {
                bufs.extend([*x, *y, *ws]);
                bufs.extend(residual);
            }
            K::ConvBackwardInput { dy, dx, ws, .. } => bufs.extend([*dy, *dx, *ws]),
            K::ConvBackwardWeight { x, dy, ws, .. } => bufs.extend([*x, *dy, *ws]),
            K::NormScale { .. } | K::DropoutMask { .. } => {}
            K::NormApply { x, residual, out, .. } => {
                bufs.extend([*x, *out]);
                bufs.extend(residual);
            }
            K::NormBackward { dout, x, residual, dres, ws, .. } => {
                bufs.extend([*dout, *x, *ws]);
                bufs.extend(residual);
                bufs.extend(dres.map(|(buf, _)| buf));
            }
            K::Act { x, y, .. } => bufs.extend([*x, *y]),
            K::ActBackward { x, dx, .. } => bufs.extend([*x, *dx]),
            K::BiasGrad { dy, ws, .. } => bufs.extend([*dy, *ws]),
            K::Add { a, b, y, .. } => bufs.extend([*a, *b, *y]),
            K::Accumulate { src, dst, .. } => bufs.extend([*src, *dst]),
            K::Pool { x, y, .. } => bufs.extend([*x, *y]),
            K::PoolBackward { dy, dx, .. } => bufs.extend([*dy, *dx]),
            K::Mask { x, y, .. } => bufs.extend([*x, *y]),
            K::MaskInPlace { y, .. } => bufs.push(*y),
            K::ConcatPart { x, out, .. } => bufs.extend([*x, *out]),
            K::ConcatPartBackward { dout, dx, .. } => bufs.extend([*dout, *dx]),
            K::Gate { x, gate, out, .. } => bufs.extend([*x, *gate, *out]),
            K::GateBackward { x, dout, dgate, .. } => bufs.extend([*x, *dout, *dgate]),
            K::Loss { logits, dlogits } => bufs.extend([*logits, *dlogits]),
        }
        bufs
    }

    /// The buffers it writes, scratch excepted.
    pub(crate) fn outputs(&self) -> Vec<Buf> {
        use Kernel as K;
        match self {
            K::Input { out } | K::NormApply { out, .. } | K::ConcatPart { out, .. } | K::Gate { out, .. } => {
                vec![*out]
            }
            K::Conv { y, .. }
            | K::Act { y, .. }
            | K::Add { y, .. }
            | K::Pool { y, .. }
            | K::Mask { y, .. }
            | K::MaskInPlace { y, .. } => vec![*y],
            K::ConvBackwardInput { dx, .. }
            | K::ActBackward { dx, .. }
            | K::PoolBackward { dx, .. }
            | K::ConcatPartBackward { dx, .. } => vec![*dx],
            K::NormBackward { dout, dres, .. } => {
                std::iter::once(*dout).chain(dres.map(|(buf, _)| buf)).collect()
            }
            K::Accumulate { dst, .. } => vec![*dst],
            K::GateBackward { dgate, .. } => vec![*dgate],
            K::Loss { dlogits, .. } => vec![*dlogits],
            K::ConvBackwardWeight { .. }
            | K::NormScale { .. }
            | K::BiasGrad { .. }
            | K::DropoutMask { .. } => Vec::new(),
        }
    }

    /// The parameters whose gradients it writes.
    pub(crate) fn param_outputs(&self) -> Vec<usize> {
        match self {
            Kernel::ConvBackwardWeight { w, .. } => vec![*w],
            Kernel::BiasGrad { bias, .. } => vec![*bias],
            Kernel::NormBackward { gamma, beta, bias, .. } => {
                gamma.iter().chain(beta).chain(bias).copied().collect()
            }
            _ => Vec::new(),
        }
    }

    /// The byte buffers it touches.
    pub(crate) fn byte_bufs(&self) -> Option<ByteBuf> {
        match self {
            Kernel::Pool { argmax, .. } | Kernel::PoolBackward { argmax, .. } => *argmax,
            Kernel::DropoutMask { mask, .. }
            | Kernel::Mask { mask, .. }
            | Kernel::MaskInPlace { mask, .. } => Some(*mask),
            _ => None,
        }
    }
}

/// A kernel and the layer it belongs to.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) node: NodeId,
    pub(crate) kernel: Kernel,
}
