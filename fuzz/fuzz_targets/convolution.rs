//! A convolution's shape drawn from the bytes: every pass on every instruction set of the machine against plain f64 loops. The address
//! sanitizer sees what is read or written beside the buffers, of which none has an element to spare.
#![no_main]

use danlu_kernels::{Algorithm, Conv2d, Conv2dShape, Epilogue, Isa, Pass, Prologue, Threads};

fn numbers(len: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// Sums in f64, and of their products' magnitudes, of which f32 must round.
#[derive(Clone, Default)]
struct Sum {
    value: f64,
    size: f64,
}

impl Sum {
    fn add(&mut self, value: f64) {
        self.value += value;
        self.size += value.abs();
    }
}

/// Calls `f(index of x, index of w, index of y)` for every product of the convolution.
fn products(s: &Conv2dShape, mut f: impl FnMut(usize, usize, usize)) {
    let (oh, ow, cg, kg) = (s.out_h(), s.out_w(), s.c / s.groups, s.k / s.groups);
    let [kh, kw] = s.kernel;
    let inside = |axis: usize, o: usize, tap: usize, size: usize| {
        let i = (o * s.stride[axis] + tap * s.dilation[axis]).checked_sub(s.padding[axis])?;
        (i < size).then_some(i)
    };
    for (n, o, q) in (0..s.n * oh * ow).map(|i| (i / (oh * ow), i / ow % oh, i % ow)) {
        for (r, t) in (0..kh * kw).map(|i| (i / kw, i % kw)) {
            let (Some(ih), Some(iw)) = (inside(0, o, r, s.h), inside(1, q, t, s.w)) else { continue };
            for k in 0..s.k {
                for c in 0..cg {
                    let x = ((n * s.h + ih) * s.w + iw) * s.c + k / kg * cg + c;
                    f(x, ((k * cg + c) * kh + r) * kw + t, ((n * oh + o) * ow + q) * s.k + k);
                }
            }
        }
    }
}

fn shape(bytes: &[u8]) -> Option<Conv2dShape> {
    let mut bytes = bytes.iter().map(|&byte| usize::from(byte));
    let mut next = |range: usize| bytes.next().map(|byte| byte % range);
    let groups = [1, 1, 1, 2, 3, 0][next(6)?];
    let (c, k) = (1 + next(130)?, 1 + next(130)?);
    let (groups, c, k) = if groups == 0 { (c, c, c) } else { (groups, c * groups, k * groups) };
    let s = Conv2dShape {
        n: 1 + next(3)?,
        h: 1 + next(33)?,
        w: 1 + next(33)?,
        c,
        k,
        kernel: [1 + next(7)?, 1 + next(7)?],
        stride: [1 + next(3)?, 1 + next(3)?],
        padding: [next(9)?, next(9)?],
        dilation: [1 + next(3)?, 1 + next(3)?],
        groups,
    };
    (s.validate().is_ok() && s.flops() < 4e6).then_some(s)
}

fn compare(what: &str, s: &Conv2dShape, isa: Isa, algorithm: Algorithm, got: &[f32], want: &[Sum]) {
    let bound = if algorithm == Algorithm::Winograd { 5e-6 } else { 1e-6 };
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let error = norm(&mut got.iter().zip(want).map(|(&got, want)| f64::from(got) - want.value));
    let size = norm(&mut want.iter().map(|want| want.value));
    let allowed = bound * size + 2f64.powi(-23) * norm(&mut want.iter().map(|want| want.size)) + 1e-30;
    assert!(error <= allowed, "{what} of {s:?} on {}: {error} of at most {allowed}", isa.name());
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some(s) = shape(data) else { return };
    let (x, w, dy) = (numbers(s.x_len(), 1), numbers(s.w_len(), 2), numbers(s.y_len(), 3));
    let sums = |len: usize| vec![Sum::default(); len];
    let (mut y, mut dx, mut dw) = (sums(s.y_len()), sums(s.x_len()), sums(s.w_len()));
    products(&s, |i, j, o| {
        y[o].add(f64::from(x[i]) * f64::from(w[j]));
        dx[i].add(f64::from(dy[o]) * f64::from(w[j]));
        dw[j].add(f64::from(x[i]) * f64::from(dy[o]));
    });
    for isa in Isa::available() {
        let threads = Threads::with_isa(1, isa).expect("available");
        let conv = Conv2d::new(s, isa).expect("a valid shape");
        let scratch = |pass| vec![f32::NAN; conv.workspace(pass, 1)];
        let check = |what, pass, got: &[f32], want: &[Sum]| {
            compare(what, &s, isa, conv.algorithm(pass), got, want);
        };
        let mut out = vec![f32::NAN; s.y_len()];
        let (pass, mut ws) = (Pass::Forward, scratch(Pass::Forward));
        conv.forward(&threads, &x, &w, &mut out, Prologue::None, Epilogue::None, &mut ws);
        check("forward", pass, &out, &y);
        let mut out = vec![f32::NAN; s.x_len()];
        let (pass, mut ws) = (Pass::BackwardInput, scratch(Pass::BackwardInput));
        conv.backward_input(&threads, &dy, &w, &mut out, false, &mut ws);
        check("input gradient", pass, &out, &dx);
        let mut out = vec![f32::NAN; s.w_len()];
        let (pass, mut ws) = (Pass::BackwardWeight, scratch(Pass::BackwardWeight));
        conv.backward_weight(&threads, &x, &dy, &mut out, Prologue::None, false, &mut ws);
        check("weight gradient", pass, &out, &dw);
    }
});
