//! What a device offers: the arithmetic of each kernel on plain slices.

mod cpu;
mod reference;

pub(crate) use cpu::Cpu;
pub(crate) use reference::Reference;

use danlu_kernels::Pass;

use crate::activation::Act;
use crate::error::Result;
use crate::input::Input;
use crate::plan::{ConvShape, PoolShape, Workspaces};
use crate::real::Real;

/// What follows a convolution in the same kernel.
pub(crate) enum After<'a, T> {
    /// `act(y + bias + residual)`.
    BiasAct { bias: Option<&'a [T]>, residual: Option<&'a [T]>, act: Act },
    /// Mean and biased variance of each output channel.
    Stats { mean: &'a mut [f64], var: &'a mut [f64] },
}

/// What a batch norm keeps from its forward pass, a value a channel.
#[derive(Clone, Copy)]
pub(crate) struct NormSaved<'a, T> {
    pub(crate) mean: &'a [f64],
    pub(crate) invstd: &'a [T],
    pub(crate) scale: &'a [T],
    pub(crate) shift: &'a [T],
}

/// Kernels of one device. All activations are `[N, H, W, C]`, convolution weights `[K, C / groups, kh, kw]`. `_ws` has
/// at least the length that [`Workspaces`] names. `accumulate` adds to the destination instead of replacing it.
pub(crate) trait Device<T: Real>: Workspaces + Send + std::fmt::Debug {
    fn pool(&self) -> Option<&rayon::ThreadPool>;

    /// How it computes one pass of a convolution, for tables.
    fn algorithm(&self, _conv: &ConvShape, _pass: Pass) -> String {
        "plain loops".into()
    }

    /// The normalised, mixed images of a batch.
    fn input(&self, input: &Input<'_>, out: &mut [T]) {
        input.write(out);
    }

    fn conv_forward(
        &self,
        conv: &ConvShape,
        x: &[T],
        w: &[T],
        y: &mut [T],
        after: After<'_, T>,
        ws: &mut [T],
    ) -> Result<()>;
    fn conv_backward_input(
        &self,
        conv: &ConvShape,
        dy: &[T],
        w: &[T],
        dx: &mut [T],
        accumulate: bool,
        ws: &mut [T],
    ) -> Result<()>;
    fn conv_backward_weight(
        &self,
        conv: &ConvShape,
        x: &[T],
        dy: &[T],
        dw: &mut [T],
        accumulate: bool,
        ws: &mut [T],
    ) -> Result<()>;

    /// `y = act(x * scale + shift + residual)`.
    fn norm_apply(&self, x: &[T], scale: &[T], shift: &[T], act: Act, residual: Option<&[T]>, y: &mut [T]);
    /// With `dz = dy * act'(z)`: `sum_dz` and `sum_dz_xhat` of each channel.
    fn norm_backward_sums(
        &self,
        dy: &[T],
        x: &[T],
        residual: Option<&[T]>,
        act: Act,
        saved: NormSaved<'_, T>,
        sum_dz: &mut [f64],
        sum_dz_xhat: &mut [f64],
        ws: &mut [T],
    );
    /// In place of `dy`: `dx = scale * (dz - sum_dz / rows - xhat * sum_dz_xhat / rows)`, without the sums `scale * dz`.
    /// The residual's gradient is `dz`.
    fn norm_backward_apply(
        &self,
        dy: &mut [T],
        x: &[T],
        residual: Option<&[T]>,
        act: Act,
        saved: NormSaved<'_, T>,
        sums: Option<(&[f64], &[f64])>,
        dres: Option<(&mut [T], bool)>,
        ws: &mut [T],
    );

    fn act_forward(&self, act: Act, x: &[T], y: &mut [T]);
    /// `dx *= act'(x)`.
    fn act_backward(&self, act: Act, x: &[T], dx: &mut [T]);
    fn column_sums(&self, x: &[T], out: &mut [T], accumulate: bool, ws: &mut [T]);
    fn add(&self, a: &[T], b: &[T], act: Act, y: &mut [T]);
    fn accumulate(&self, src: &[T], dst: &mut [T], accumulate: bool);

    fn max_forward(&self, shape: &PoolShape, x: &[T], y: &mut [T], argmax: Option<&mut [u8]>);
    fn max_backward(&self, shape: &PoolShape, dy: &[T], argmax: &[u8], dx: &mut [T], accumulate: bool);
    fn average_forward(&self, shape: &PoolShape, x: &[T], y: &mut [T]);
    fn average_backward(&self, shape: &PoolShape, dy: &[T], dx: &mut [T], accumulate: bool);
    fn adaptive_forward(&self, shape: &PoolShape, x: &[T], y: &mut [T]);
    fn adaptive_backward(&self, shape: &PoolShape, dy: &[T], dx: &mut [T], accumulate: bool);

    /// `y = x * scale` where the mask is not 0, else 0; each byte covers `group` values. Without `x` in place.
    fn mask(&self, x: Option<&[T]>, mask: &[u8], group: usize, scale: f64, y: &mut [T]);
    /// Copies or adds `width` columns of `rows` rows; `from` and `to` are (row length, first column).
    fn copy_columns(
        &self,
        rows: usize,
        width: usize,
        x: &[T],
        from: (usize, usize),
        y: &mut [T],
        to: (usize, usize),
        accumulate: bool,
    );
    fn gate(&self, n: usize, c: usize, x: &[T], gate: &[T], y: &mut [T]);
    fn gate_backward(&self, n: usize, c: usize, x: &[T], dy: &[T], dgate: &mut [T]);

    /// `average += (1 - decay) * (x - average)`.
    fn ema(&self, decay: f64, x: &[T], average: &mut [T]);
    fn scale(&self, factor: f64, x: &mut [T]);
    /// In f64, partitioned by length only.
    fn sum_of_squares(&self, x: &[T]) -> f64;
}
