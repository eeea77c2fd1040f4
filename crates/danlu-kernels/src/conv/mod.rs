//! Two-dimensional convolution and its two gradients.

mod depthwise;
mod gemm;
mod implicit;
mod linear;
mod pack;
mod plain;
mod region;
mod shape;
pub(crate) mod simd;
mod weight;
mod winograd;

pub use shape::Conv2dShape;

use crate::{Activation, Isa, KernelError, Threads};

/// One of the three convolutions of a training step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pass {
    /// Input and weights give the output.
    Forward,
    /// The output's gradient and the weights give the input's gradient.
    BackwardInput,
    /// The input and the output's gradient give the weights' gradient.
    BackwardWeight,
}

impl Pass {
    /// The three, in the order of a training step.
    pub const ALL: [Pass; 3] = [Pass::Forward, Pass::BackwardInput, Pass::BackwardWeight];
}

/// How a pass is computed; a pure function of shape, pass and instruction set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Loops over taps, vectorised over channels; any shape.
    Plain,
    /// Matrix products that read the input in place of its unfolded copy; without groups.
    ImplicitGemm,
    /// Matrix products that read the weights where they lie: kernels that cover their whole input.
    Linear,
    /// One kernel a channel, vectorised over channels.
    Depthwise,
    /// Winograd's F(4x4, 3x3): 3x3 kernels of stride 1 with a quarter of the multiplications.
    Winograd,
}

impl std::fmt::Display for Algorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Algorithm::Plain => "plain",
            Algorithm::ImplicitGemm => "implicit gemm",
            Algorithm::Linear => "linear",
            Algorithm::Depthwise => "depthwise",
            Algorithm::Winograd => "winograd",
        })
    }
}

/// What is done to the input as it is loaded: the batch normalisation and activation before this convolution.
#[derive(Clone, Copy, Debug, Default)]
pub enum Prologue<'a> {
    /// The input as it is.
    #[default]
    None,
    /// `activation(x * scale[c] + shift[c])`; the border stays zero.
    ScaleShift {
        /// A factor for each input channel.
        scale: &'a [f32],
        /// A summand for each input channel.
        shift: &'a [f32],
        /// Applied last.
        activation: Activation,
    },
}

/// What is done to the output as it is stored.
#[derive(Debug, Default)]
pub enum Epilogue<'a> {
    /// Nothing.
    #[default]
    None,
    /// `activation(y + bias[k] + residual)`: folded inference, and convolutions without batch normalisation.
    BiasAct {
        /// A summand for each output channel.
        bias: Option<&'a [f32]>,
        /// A tensor of the output's shape.
        residual: Option<&'a [f32]>,
        /// Applied last.
        activation: Activation,
    },
    /// Sum and sum of squares of each output channel over N, H and W, for [`crate::batch_norm::moments`]; what was there is
    /// replaced.
    Stats {
        /// `[k]`
        sum: &'a mut [f64],
        /// `[k]`
        sum_sq: &'a mut [f64],
    },
}

/// A convolution of one shape, planned for one instruction set.
///
/// Activations are NHWC; `w` and `dw` are OIHW, `[k, c / groups, kernel_h, kernel_w]`. A linear layer is a convolution whose kernel
/// covers its whole input. `ws` is scratch of at least [`Conv2d::workspace`] elements; its contents do not matter.
#[derive(Clone, Debug)]
pub struct Conv2d {
    shape: Conv2dShape,
    isa: Isa,
}

impl Conv2d {
    /// Checks the shape and chooses an algorithm for each pass.
    ///
    /// # Errors
    /// When the shape has no output or the machine lacks `isa`.
    pub fn new(shape: Conv2dShape, isa: Isa) -> Result<Conv2d, KernelError> {
        shape.validate()?;
        if !isa.is_available() {
            let reason = "is not supported by this machine".into();
            return Err(KernelError::Isa { asked: isa.name().into(), reason });
        }
        Ok(Conv2d { shape, isa })
    }

    /// The shape it was made for.
    pub fn shape(&self) -> &Conv2dShape {
        &self.shape
    }

    /// The algorithm of `pass`.
    pub fn algorithm(&self, pass: Pass) -> Algorithm {
        if depthwise::suits(&self.shape) {
            Algorithm::Depthwise
        } else if self.shape.groups > 1 {
            Algorithm::Plain
        } else if linear::suits(&self.shape) {
            Algorithm::Linear
        } else if winograd::suits(&self.shape, pass) {
            Algorithm::Winograd
        } else {
            Algorithm::ImplicitGemm
        }
    }

    /// Elements of f32 scratch that `pass` needs when run on `threads` threads.
    pub fn workspace(&self, pass: Pass, threads: usize) -> usize {
        match (self.algorithm(pass), pass) {
            (Algorithm::Plain, _) => plain::workspace(&self.shape, pass, threads),
            (Algorithm::ImplicitGemm, Pass::BackwardWeight) => {
                weight::workspace(&self.shape, self.isa, threads)
            }
            (Algorithm::Linear, _) => linear::workspace(&self.shape, self.isa, pass, threads),
            (Algorithm::Depthwise, _) => depthwise::workspace(&self.shape, pass, threads),
            (Algorithm::Winograd, _) => winograd::workspace(&self.shape, self.isa, pass, threads),
            (Algorithm::ImplicitGemm, _) => implicit::workspace(&self.shape, self.isa, pass, threads),
        }
    }

    /// `y = epilogue(conv(prologue(x), w))`.
    pub fn forward(
        &self,
        threads: &Threads,
        x: &[f32],
        w: &[f32],
        y: &mut [f32],
        prologue: Prologue<'_>,
        epilogue: Epilogue<'_>,
        ws: &mut [f32],
    ) {
        let s = &self.shape;
        assert!(x.len() == s.x_len() && w.len() == s.w_len() && y.len() == s.y_len());
        let words = self.workspace(Pass::Forward, threads.count());
        let ws = &mut ws[..words];
        match self.algorithm(Pass::Forward) {
            Algorithm::Plain => plain::forward(s, self.isa, threads, x, w, y, prologue, epilogue, ws),
            Algorithm::Depthwise => depthwise::forward(s, self.isa, threads, x, w, y, prologue, epilogue, ws),
            Algorithm::Linear => linear::forward(s, self.isa, threads, x, w, y, prologue, epilogue, ws),
            Algorithm::ImplicitGemm => {
                implicit::forward(s, self.isa, threads, x, w, y, prologue, epilogue, ws);
            }
            Algorithm::Winograd => {
                winograd::forward(s, self.isa, threads, x, w, y, prologue, epilogue, ws);
            }
        }
    }

    /// `dx (+)=` the gradient of the loss to the input that the kernel saw (after the prologue).
    pub fn backward_input(
        &self,
        threads: &Threads,
        dy: &[f32],
        w: &[f32],
        dx: &mut [f32],
        accumulate: bool,
        ws: &mut [f32],
    ) {
        let s = &self.shape;
        assert!(dy.len() == s.y_len() && w.len() == s.w_len() && dx.len() == s.x_len());
        let words = self.workspace(Pass::BackwardInput, threads.count());
        let ws = &mut ws[..words];
        match self.algorithm(Pass::BackwardInput) {
            Algorithm::Plain => plain::backward_input(s, self.isa, threads, dy, w, dx, accumulate, ws),
            Algorithm::Linear => linear::backward_input(s, self.isa, threads, dy, w, dx, accumulate, ws),
            Algorithm::Depthwise => {
                depthwise::backward_input(s, self.isa, threads, dy, w, dx, accumulate, ws)
            }
            Algorithm::ImplicitGemm => {
                implicit::backward_input(s, self.isa, threads, dy, w, dx, accumulate, ws);
            }
            Algorithm::Winograd => {
                winograd::backward_input(s, self.isa, threads, dy, w, dx, accumulate, ws);
            }
        }
    }

    /// `dw (+)=` the gradient of the loss to the weights; `x` and `prologue` are those of the forward pass.
    pub fn backward_weight(
        &self,
        threads: &Threads,
        x: &[f32],
        dy: &[f32],
        dw: &mut [f32],
        prologue: Prologue<'_>,
        accumulate: bool,
        ws: &mut [f32],
    ) {
        let s = &self.shape;
        assert!(x.len() == s.x_len() && dy.len() == s.y_len() && dw.len() == s.w_len());
        let words = self.workspace(Pass::BackwardWeight, threads.count());
        let ws = &mut ws[..words];
        match self.algorithm(Pass::BackwardWeight) {
            Algorithm::Plain => {
                plain::backward_weight(s, self.isa, threads, x, dy, dw, prologue, accumulate, ws)
            }
            Algorithm::Depthwise => {
                depthwise::backward_weight(s, self.isa, threads, x, dy, dw, prologue, accumulate, ws)
            }
            Algorithm::Linear => {
                linear::backward_weight(s, self.isa, threads, x, dy, dw, prologue, accumulate, ws);
            }
            Algorithm::ImplicitGemm => {
                weight::backward_weight(s, self.isa, threads, x, dy, dw, prologue, accumulate, ws);
            }
            Algorithm::Winograd => {
                winograd::backward_weight(s, self.isa, threads, x, dy, dw, prologue, accumulate, ws);
            }
        }
    }
}
