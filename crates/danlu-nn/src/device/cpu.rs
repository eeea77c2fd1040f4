//! The cpu device: the kernels of `danlu-kernels` on this engine's own threads.

use danlu_kernels as kernels;
use kernels::elementwise::Columns;
use kernels::{Activation, Conv2d, Conv2dShape, Epilogue, Isa, Pass, Prologue, Threads};

use crate::activation::Act;
use crate::device::{After, Device, NormSaved};
use crate::error::{NnError, Result};
use crate::input::{Images, Input};
use crate::plan::{ConvShape, PoolShape, Workspaces};

#[derive(Debug)]
pub(crate) struct Cpu {
    threads: Threads,
}

impl Cpu {
    pub(crate) fn new(threads: usize, isa: Option<Isa>) -> Result<Cpu> {
        let threads = match isa {
            Some(isa) => Threads::with_isa(threads, isa),
            None => Threads::new(threads),
        };
        Ok(Cpu { threads: threads.map_err(unsupported)? })
    }

    fn conv(&self, s: &ConvShape) -> Result<Conv2d> {
        let shape = Conv2dShape {
            n: s.n,
            h: s.h,
            w: s.w,
            c: s.c,
            k: s.k,
            kernel: s.kernel,
            stride: s.stride,
            padding: s.padding,
            dilation: s.dilation,
            groups: s.groups,
        };
        Conv2d::new(shape, self.threads.isa()).map_err(unsupported)
    }

    fn workspace(&self, s: &ConvShape, pass: Pass) -> Result<usize> {
        Ok(self.conv(s)?.workspace(pass, self.threads.count()))
    }
}

fn unsupported(error: kernels::KernelError) -> NnError {
    NnError::Unsupported { what: error.to_string(), hint: None }
}

/// The kernels' name of an activation; the sigmoid, which only gates need, is computed here.
fn activation(act: Act) -> Option<Activation> {
    Some(match act {
        Act::None => Activation::None,
        Act::Relu => Activation::Relu,
        Act::Relu6 => Activation::Relu6,
        Act::Gelu => Activation::Gelu,
        Act::Silu => Activation::Silu,
        Act::Sigmoid => return None,
    })
}

fn pool_shape(s: &PoolShape) -> kernels::pool::Pool2dShape {
    kernels::pool::Pool2dShape {
        n: s.n,
        h: s.h,
        w: s.w,
        c: s.c,
        kernel: s.size,
        stride: s.stride,
        padding: s.padding,
        dilation: [1, 1],
        ceil_mode: false,
        count_include_pad: true,
    }
}

fn adaptive_shape(s: &PoolShape) -> kernels::pool::AdaptiveShape {
    kernels::pool::AdaptiveShape { n: s.n, h: s.h, w: s.w, c: s.c, out_h: s.out[0], out_w: s.out[1] }
}

fn saved<'a>(s: NormSaved<'a, f32>) -> kernels::batch_norm::Saved<'a> {
    kernels::batch_norm::Saved { mean: s.mean, invstd: s.invstd, scale: s.scale, shift: s.shift }
}

fn act_input(residual: Option<&[f32]>) -> kernels::batch_norm::ActivationInput<'_> {
    match residual {
        None => kernels::batch_norm::ActivationInput::FromX,
        Some(r) => kernels::batch_norm::ActivationInput::FromXAndResidual(r),
    }
}

impl Workspaces for Cpu {
    fn conv_forward_space(&self, conv: &ConvShape) -> Result<usize> {
        self.workspace(conv, Pass::Forward)
    }
    fn conv_backward_input_space(&self, conv: &ConvShape) -> Result<usize> {
        self.workspace(conv, Pass::BackwardInput)
    }
    fn conv_backward_weight_space(&self, conv: &ConvShape) -> Result<usize> {
        self.workspace(conv, Pass::BackwardWeight)
    }
    fn norm_space(&self, rows: usize, channels: usize) -> usize {
        kernels::batch_norm::workspace(rows, channels).max(2 * channels)
    }
    fn bias_space(&self, rows: usize, channels: usize) -> usize {
        kernels::reduce::column_sums_workspace(rows, channels)
    }
}

impl Device<f32> for Cpu {
    fn pool(&self) -> Option<&rayon::ThreadPool> {
        self.threads.rayon_pool()
    }

    fn algorithm(&self, conv: &ConvShape, pass: Pass) -> String {
        self.conv(conv).map_or_else(|error| error.to_string(), |conv| conv.algorithm(pass).to_string())
    }

    fn input(&self, input: &Input<'_>, out: &mut [f32]) {
        let (Images::U8 { data, mean, std }, None) = (input.images, input.mix) else {
            return input.write(out);
        };
        let (mean, std) = (mean.iter().map(|&m| f64::from(m)), std.iter().map(|&s| f64::from(s)));
        let (scale, shift): (Vec<f32>, Vec<f32>) =
            mean.zip(std).map(|(mean, std)| ((1.0 / (255.0 * std)) as f32, (-mean / std) as f32)).unzip();
        kernels::images::normalize_u8(&self.threads, data, &scale, &shift, out);
    }

    fn conv_forward(
        &self,
        conv: &ConvShape,
        x: &[f32],
        w: &[f32],
        y: &mut [f32],
        after: After<'_, f32>,
        ws: &mut [f32],
    ) -> Result<()> {
        let plan = self.conv(conv)?;
        match after {
            After::BiasAct { bias: None, residual: None, act: Act::None } => {
                plan.forward(&self.threads, x, w, y, Prologue::None, Epilogue::None, ws);
            }
            After::BiasAct { bias, residual, act } => {
                let fused = activation(act);
                let activation = fused.unwrap_or_default();
                let epilogue = Epilogue::BiasAct { bias, residual, activation };
                plan.forward(&self.threads, x, w, y, Prologue::None, epilogue, ws);
                if fused.is_none() {
                    y.iter_mut().for_each(|v| *v = act.forward(*v));
                }
            }
            After::Stats { mean, var } => {
                let rows = y.len() / mean.len();
                let (mut sum, mut sum_sq) = (vec![0.0; mean.len()], vec![0.0; mean.len()]);
                let epilogue = Epilogue::Stats { sum: &mut sum, sum_sq: &mut sum_sq };
                plan.forward(&self.threads, x, w, y, Prologue::None, epilogue, ws);
                kernels::batch_norm::moments(rows, &sum, &sum_sq, mean, var);
            }
        }
        Ok(())
    }

    fn conv_backward_input(
        &self,
        conv: &ConvShape,
        dy: &[f32],
        w: &[f32],
        dx: &mut [f32],
        accumulate: bool,
        ws: &mut [f32],
    ) -> Result<()> {
        self.conv(conv)?.backward_input(&self.threads, dy, w, dx, accumulate, ws);
        Ok(())
    }

    fn conv_backward_weight(
        &self,
        conv: &ConvShape,
        x: &[f32],
        dy: &[f32],
        dw: &mut [f32],
        accumulate: bool,
        ws: &mut [f32],
    ) -> Result<()> {
        self.conv(conv)?.backward_weight(&self.threads, x, dy, dw, Prologue::None, accumulate, ws);
        Ok(())
    }

    fn norm_apply(
        &self,
        x: &[f32],
        scale: &[f32],
        shift: &[f32],
        act: Act,
        residual: Option<&[f32]>,
        y: &mut [f32],
    ) {
        let fused = activation(act);
        kernels::batch_norm::apply(&self.threads, x, scale, shift, fused.unwrap_or_default(), residual, y);
        if fused.is_none() {
            y.iter_mut().for_each(|v| *v = act.forward(*v));
        }
    }

    fn norm_backward_sums(
        &self,
        dy: &[f32],
        x: &[f32],
        residual: Option<&[f32]>,
        act: Act,
        s: NormSaved<'_, f32>,
        sum_dz: &mut [f64],
        sum_dz_xhat: &mut [f64],
        ws: &mut [f32],
    ) {
        let act = activation(act).unwrap_or_default();
        let input = act_input(residual);
        kernels::batch_norm::backward_sums(
            &self.threads,
            dy,
            x,
            input,
            act,
            saved(s),
            sum_dz,
            sum_dz_xhat,
            ws,
        );
    }

    fn norm_backward_apply(
        &self,
        dy: &mut [f32],
        x: &[f32],
        residual: Option<&[f32]>,
        act: Act,
        s: NormSaved<'_, f32>,
        sums: Option<(&[f64], &[f64])>,
        dres: Option<(&mut [f32], bool)>,
        ws: &mut [f32],
    ) {
        let act = activation(act).unwrap_or_default();
        let branch = dres.map(|(out, accumulate)| kernels::batch_norm::ResidualGradient { out, accumulate });
        kernels::batch_norm::backward_apply(
            &self.threads,
            None,
            x,
            act_input(residual),
            act,
            saved(s),
            sums,
            dy,
            branch,
            ws,
        );
    }

    fn act_forward(&self, act: Act, x: &[f32], y: &mut [f32]) {
        match activation(act) {
            Some(act) => kernels::activation::forward(&self.threads, act, x, y),
            None => y.iter_mut().zip(x).for_each(|(y, &x)| *y = act.forward(x)),
        }
    }

    fn act_backward(&self, act: Act, x: &[f32], dx: &mut [f32]) {
        match activation(act) {
            Some(act) => kernels::activation::backward(&self.threads, act, x, None, dx),
            None => dx.iter_mut().zip(x).for_each(|(dx, &x)| *dx *= act.derivative(x)),
        }
    }

    fn column_sums(&self, x: &[f32], out: &mut [f32], accumulate: bool, ws: &mut [f32]) {
        kernels::reduce::column_sums(&self.threads, x, out, accumulate, ws);
    }

    fn add(&self, a: &[f32], b: &[f32], act: Act, y: &mut [f32]) {
        if act == Act::None {
            kernels::elementwise::add(&self.threads, a, b, y);
        } else {
            // One channel of scale 1: a row is a value, so any length fits.
            self.norm_apply_flat(a, b, act, y);
        }
    }

    fn accumulate(&self, src: &[f32], dst: &mut [f32], accumulate: bool) {
        if accumulate {
            kernels::elementwise::add_assign(&self.threads, src, dst);
        } else {
            dst.copy_from_slice(src);
        }
    }

    fn max_forward(&self, shape: &PoolShape, x: &[f32], y: &mut [f32], argmax: Option<&mut [u8]>) {
        kernels::pool::max_forward(&self.threads, &pool_shape(shape), x, y, argmax);
    }

    fn max_backward(&self, shape: &PoolShape, dy: &[f32], argmax: &[u8], dx: &mut [f32], accumulate: bool) {
        kernels::pool::max_backward(&self.threads, &pool_shape(shape), dy, argmax, dx, accumulate);
    }

    fn average_forward(&self, shape: &PoolShape, x: &[f32], y: &mut [f32]) {
        kernels::pool::avg_forward(&self.threads, &pool_shape(shape), x, y);
    }

    fn average_backward(&self, shape: &PoolShape, dy: &[f32], dx: &mut [f32], accumulate: bool) {
        kernels::pool::avg_backward(&self.threads, &pool_shape(shape), dy, dx, accumulate);
    }

    fn adaptive_forward(&self, shape: &PoolShape, x: &[f32], y: &mut [f32]) {
        kernels::pool::adaptive_avg_forward(&self.threads, &adaptive_shape(shape), x, y);
    }

    fn adaptive_backward(&self, shape: &PoolShape, dy: &[f32], dx: &mut [f32], accumulate: bool) {
        kernels::pool::adaptive_avg_backward(&self.threads, &adaptive_shape(shape), dy, dx, accumulate);
    }

    fn mask(&self, x: Option<&[f32]>, mask: &[u8], group: usize, scale: f64, y: &mut [f32]) {
        if group == 1 {
            kernels::elementwise::apply_mask(&self.threads, x, mask, scale as f32, y);
        } else {
            let factors: Vec<f32> = mask.iter().map(|&m| if m != 0 { scale as f32 } else { 0.0 }).collect();
            kernels::elementwise::scale_samples(&self.threads, x, &factors, y);
        }
    }

    fn copy_columns(
        &self,
        rows: usize,
        width: usize,
        x: &[f32],
        from: (usize, usize),
        y: &mut [f32],
        to: (usize, usize),
        accumulate: bool,
    ) {
        let columns = |(stride, offset): (usize, usize)| Columns { stride, offset };
        let (from, to) = (columns(from), columns(to));
        kernels::elementwise::copy_columns(&self.threads, rows, width, x, from, y, to, accumulate);
    }

    fn gate(&self, n: usize, c: usize, x: &[f32], gate: &[f32], y: &mut [f32]) {
        kernels::elementwise::gate_channels(&self.threads, x, gate, n, c, y);
    }

    fn gate_backward(&self, n: usize, c: usize, x: &[f32], dy: &[f32], dgate: &mut [f32]) {
        kernels::elementwise::gate_channels_backward(&self.threads, x, dy, n, c, dgate);
    }

    fn ema(&self, decay: f64, x: &[f32], average: &mut [f32]) {
        kernels::elementwise::ema_lerp(&self.threads, decay as f32, x, average);
    }

    fn scale(&self, factor: f64, x: &mut [f32]) {
        kernels::elementwise::scale(&self.threads, factor as f32, x);
    }

    fn sum_of_squares(&self, x: &[f32]) -> f64 {
        let mut ws = vec![0.0; kernels::reduce::workspace(x.len())];
        kernels::reduce::sum_of_squares(&self.threads, x, &mut ws)
    }
}

impl Cpu {
    fn norm_apply_flat(&self, a: &[f32], b: &[f32], act: Act, y: &mut [f32]) {
        // Wide rows keep the inner loop long; the width must divide the length.
        let width = [64, 32, 16, 8, 4, 2].into_iter().find(|w| a.len().is_multiple_of(*w)).unwrap_or(1);
        self.norm_apply(a, &[1.0; 64][..width], &[0.0; 64][..width], act, Some(b), y);
    }
}
