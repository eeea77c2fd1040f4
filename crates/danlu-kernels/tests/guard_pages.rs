//! Every kernel on buffers that end (and then begin) at a page that may not be touched: an element read or written beyond one ends the
//! test with a segmentation fault, where a bounds check would have missed what raw pointers do.
#![cfg(unix)]

use danlu_kernels::batch_norm::{self, ActivationInput, ResidualGradient, Saved};
use danlu_kernels::elementwise::{self, Columns};
use danlu_kernels::images;
use danlu_kernels::pool::{self, AdaptiveShape, Pool2dShape};
use danlu_kernels::{
    Activation, Algorithm, Conv2d, Conv2dShape, Epilogue, Isa, Pass, Prologue, Threads, activation, loss,
    reduce,
};
use std::ops::{Deref, DerefMut};

/// On which side of the buffer the forbidden page lies without a gap; the other side has one too, at most a page away.
#[derive(Clone, Copy)]
enum Guard {
    Before,
    Behind,
}

/// A slice between two pages that may not be touched.
struct Guarded<T> {
    map: *mut libc::c_void,
    map_len: usize,
    data: *mut T,
    len: usize,
}

impl<T: Copy> Guarded<T> {
    fn new(guard: Guard, len: usize, value: T) -> Guarded<T> {
        let bytes = len * size_of::<T>();
        // SAFETY: a new anonymous mapping, of which only the inner pages are made accessible; `data` is aligned, because pages and
        // `bytes` are multiples of the type's alignment.
        unsafe {
            let page = libc::sysconf(libc::_SC_PAGESIZE) as usize;
            let inner = bytes.next_multiple_of(page).max(page);
            let map_len = inner + 2 * page;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let map = libc::mmap(std::ptr::null_mut(), map_len, libc::PROT_NONE, flags, -1, 0);
            assert_ne!(map, libc::MAP_FAILED);
            let first = map.cast::<u8>().add(page);
            assert_eq!(libc::mprotect(first.cast(), inner, libc::PROT_READ | libc::PROT_WRITE), 0);
            let data = match guard {
                Guard::Before => first,
                Guard::Behind => first.add(inner - bytes),
            };
            let mut guarded = Guarded { map, map_len, data: data.cast::<T>(), len };
            guarded.fill(value);
            guarded
        }
    }
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping made by `new`, of which no slice is left.
        unsafe { libc::munmap(self.map, self.map_len) };
    }
}

impl<T> Deref for Guarded<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: `new` mapped and filled them.
        unsafe { std::slice::from_raw_parts(self.data, self.len) }
    }
}

impl<T> DerefMut for Guarded<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.data, self.len) }
    }
}

/// Runs `test` with makers of buffers of both guards, on every instruction set.
fn everywhere(test: impl Fn(&Threads, Guard)) {
    for isa in Isa::available() {
        let threads = Threads::with_isa(2, isa).unwrap();
        for guard in [Guard::Before, Guard::Behind] {
            test(&threads, guard);
        }
    }
}

fn floats(guard: Guard, len: usize) -> Guarded<f32> {
    let mut buffer = Guarded::new(guard, len, 0.0f32);
    for (i, value) in buffer.iter_mut().enumerate() {
        *value = (i * 37 % 101) as f32 / 50.0 - 1.0;
    }
    buffer
}

fn conv(
    n: usize,
    hw: [usize; 2],
    ck: [usize; 2],
    kernel: usize,
    stride: usize,
    groups: usize,
) -> Conv2dShape {
    Conv2dShape {
        n,
        h: hw[0],
        w: hw[1],
        c: ck[0],
        k: ck[1],
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: [kernel / 2; 2],
        dilation: [1; 2],
        groups,
    }
}

#[test]
fn convolutions_touch_nothing_beyond_their_operands_and_scratch() {
    let winograd = [
        conv(3, [13, 15], [16, 48], 3, 1, 1),
        conv(24, [4, 4], [64, 16], 3, 1, 1),
        conv(33, [12, 9], [16, 32], 3, 1, 1),
    ];
    let linear = Conv2dShape { padding: [0; 2], ..conv(5, [3, 5], [7, 10], 3, 1, 1) };
    let others = [
        conv(2, [7, 9], [3, 17], 3, 2, 1),
        conv(1, [5, 5], [33, 1], 1, 1, 1),
        conv(2, [9, 9], [1, 16], 7, 2, 1),
        conv(2, [6, 5], [10, 15], 3, 1, 5),
        conv(2, [7, 7], [19, 19], 3, 2, 19),
        Conv2dShape { dilation: [2, 3], padding: [5, 4], ..conv(1, [8, 6], [4, 9], 3, 1, 1) },
        Conv2dShape { kernel: [3, 5], ..linear },
        conv(19, [1, 1], [70, 53], 1, 1, 1),
    ];
    for s in &winograd {
        let plan = Conv2d::new(*s, Isa::best()).unwrap();
        assert!(Pass::ALL.into_iter().all(|pass| plan.algorithm(pass) == Algorithm::Winograd), "{s:?}");
    }
    everywhere(|threads, guard| {
        for s in winograd.iter().chain(&others) {
            let plan = Conv2d::new(*s, threads.isa()).unwrap();
            let (x, w, dy) = (floats(guard, s.x_len()), floats(guard, s.w_len()), floats(guard, s.y_len()));
            let (scale, shift, bias) = (floats(guard, s.c), floats(guard, s.c), floats(guard, s.k));
            let prologue =
                Prologue::ScaleShift { scale: &scale, shift: &shift, activation: Activation::Relu };
            let scratch = |pass| floats(guard, plan.workspace(pass, threads.count()));
            let (mut y, mut ws) = (floats(guard, s.y_len()), scratch(Pass::Forward));
            let (mut sum, mut sum_sq) = (Guarded::new(guard, s.k, 0.0), Guarded::new(guard, s.k, 0.0));
            let stats = Epilogue::Stats { sum: &mut sum, sum_sq: &mut sum_sq };
            plan.forward(threads, &x, &w, &mut y, Prologue::None, stats, &mut ws);
            let activation = Activation::Silu;
            let act = Epilogue::BiasAct { bias: Some(&bias), residual: Some(&dy), activation };
            plan.forward(threads, &x, &w, &mut y, prologue, act, &mut ws);
            let (mut dx, mut dw) = (floats(guard, s.x_len()), floats(guard, s.w_len()));
            let mut ws = scratch(Pass::BackwardInput);
            plan.backward_input(threads, &dy, &w, &mut dx, false, &mut ws);
            plan.backward_input(threads, &dy, &w, &mut dx, true, &mut ws);
            let mut ws = scratch(Pass::BackwardWeight);
            plan.backward_weight(threads, &x, &dy, &mut dw, Prologue::None, false, &mut ws);
            plan.backward_weight(threads, &x, &dy, &mut dw, prologue, true, &mut ws);
        }
    });
}

#[test]
fn batch_normalisation_touches_nothing_beyond_its_operands() {
    everywhere(|threads, guard| {
        for (rows, channels) in [(1, 1), (37, 3), (50, 16), (19, 33), (600, 70)] {
            let len = rows * channels;
            let (x, dy, residual) = (floats(guard, len), floats(guard, len), floats(guard, len));
            let (mut mean, mut var) =
                (Guarded::new(guard, channels, 0.0f64), Guarded::new(guard, channels, 0.0f64));
            let mut ws = floats(guard, batch_norm::workspace(rows, channels));
            batch_norm::stats(threads, &x, &mut mean, &mut var, &mut ws);
            let mut values = [(); 3].map(|()| floats(guard, channels));
            let [invstd, scale, shift] = &mut values;
            batch_norm::scale_shift(&mean, &var, 1e-5, None, None, invstd, scale, shift);
            let mut y = floats(guard, len);
            batch_norm::apply(threads, &x, scale, shift, Activation::Relu, None, &mut y);
            batch_norm::apply(threads, &x, scale, shift, Activation::Gelu, Some(&residual), &mut y);
            let saved = Saved { mean: &mean, invstd, scale, shift };
            let (mut sum, mut sum_x) =
                (Guarded::new(guard, channels, 0.0f64), Guarded::new(guard, channels, 0.0f64));
            let inputs = [
                ActivationInput::FromX,
                ActivationInput::FromXAndResidual(&residual),
                ActivationInput::Output(&y),
            ];
            for input in inputs {
                let act = Activation::Relu;
                batch_norm::backward_sums(threads, &dy, &x, input, act, saved, &mut sum, &mut sum_x, &mut ws);
                for accumulate in [false, true] {
                    let (mut dx, mut out) = (floats(guard, len), floats(guard, len));
                    let branch = Some(ResidualGradient { out: &mut out, accumulate });
                    let sums = Some((&*sum, &*sum_x));
                    batch_norm::backward_apply(
                        threads,
                        Some(&dy),
                        &x,
                        input,
                        act,
                        saved,
                        sums,
                        &mut dx,
                        branch,
                        &mut ws,
                    );
                }
            }
        }
    });
}

#[test]
fn pooling_touches_nothing_beyond_its_operands() {
    let shape = |h, w, c, kernel, stride, padding| Pool2dShape {
        n: 2,
        h,
        w,
        c,
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: [padding; 2],
        dilation: [1; 2],
        ceil_mode: false,
        count_include_pad: true,
    };
    everywhere(|threads, guard| {
        for s in [shape(7, 9, 5, 3, 2, 1), shape(6, 6, 33, 2, 2, 0), shape(5, 4, 1, 3, 1, 1)] {
            let (x, dy) = (floats(guard, s.x_len()), floats(guard, s.y_len()));
            let (mut y, mut dx) = (floats(guard, s.y_len()), floats(guard, s.x_len()));
            let mut argmax = Guarded::new(guard, s.y_len(), 0u8);
            pool::max_forward(threads, &s, &x, &mut y, Some(&mut argmax));
            pool::max_backward(threads, &s, &dy, &argmax, &mut dx, true);
            pool::avg_forward(threads, &s, &x, &mut y);
            pool::avg_backward(threads, &s, &dy, &mut dx, false);
            for (out_h, out_w) in [(1, 1), (3, 2), (9, 11)] {
                let adaptive = AdaptiveShape { n: s.n, h: s.h, w: s.w, c: s.c, out_h, out_w };
                let mut y = floats(guard, s.n * out_h * out_w * s.c);
                pool::adaptive_avg_forward(threads, &adaptive, &x, &mut y);
                pool::adaptive_avg_backward(threads, &adaptive, &y, &mut dx, true);
            }
        }
    });
}

#[test]
fn elementwise_kernels_reductions_and_losses_touch_nothing_beyond_their_operands() {
    everywhere(|threads, guard| {
        for len in [1, 7, 31, 130, 17_003] {
            let (a, b, mut y) = (floats(guard, len), floats(guard, len), floats(guard, len));
            let mask = Guarded::new(guard, len, 1u8);
            for act in [Activation::Relu, Activation::Relu6, Activation::Silu, Activation::Gelu] {
                activation::forward(threads, act, &a, &mut y);
                activation::backward(threads, act, &a, Some(&b), &mut y);
            }
            elementwise::add(threads, &a, &b, &mut y);
            elementwise::add_assign(threads, &a, &mut y);
            elementwise::axpy(threads, 0.5, &a, &mut y);
            elementwise::scale(threads, 0.5, &mut y);
            elementwise::fill(threads, 0.5, &mut y);
            elementwise::copy(threads, &a, &mut y);
            elementwise::ema_lerp(threads, 0.9, &a, &mut y);
            elementwise::apply_mask(threads, Some(&a), &mask, 2.0, &mut y);
            let mut ws = floats(guard, reduce::workspace(len));
            reduce::sum_of_squares(threads, &a, &mut ws);
            reduce::sum(threads, &a, &mut ws);
        }
        for (rows, columns) in [(1, 1), (5, 3), (9, 33), (300, 70)] {
            let len = rows * columns;
            let (x, mut y) = (floats(guard, len), floats(guard, len));
            let (scale, shift) = (floats(guard, columns), floats(guard, columns));
            let (bytes, factors) = (Guarded::new(guard, len, 7u8), floats(guard, rows));
            images::normalize_u8(threads, &bytes, &scale, &shift, &mut y);
            elementwise::scale_samples(threads, Some(&x), &factors, &mut y);
            let whole = Columns { stride: columns, offset: 0 };
            elementwise::copy_columns(threads, rows, columns, &x, whole, &mut y, whole, true);
            let (gate, mut dgate) = (floats(guard, columns), floats(guard, columns));
            elementwise::gate_channels(threads, &x, &gate, 1, columns, &mut y);
            elementwise::gate_channels_backward(threads, &x, &y, 1, columns, &mut dgate);
            let mut ws = floats(guard, reduce::column_sums_workspace(rows, columns));
            reduce::column_sums(threads, &x, &mut dgate, true, &mut ws);
            let mut row_loss = floats(guard, rows);
            loss::softmax(threads, &x, columns, &mut y);
            let mut dlogits = floats(guard, len);
            loss::softmax_cross_entropy(threads, &x, &y, columns, 1.0, &mut row_loss, Some(&mut dlogits));
        }
    });
}
