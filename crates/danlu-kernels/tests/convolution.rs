//! The three passes of every convolution against plain f64 loops, on every instruction set of the machine, with the same bits for
//! 1, 2 and 3 threads.

use danlu_kernels::{Activation, Algorithm, Conv2d, Conv2dShape, Epilogue, Isa, Pass, Prologue, Threads};
use proptest::prelude::*;

fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// Calls `f(index of x, index of w, index of y)` for every product of the convolution.
fn products(s: &Conv2dShape, mut f: impl FnMut(usize, usize, usize)) {
    let (oh, ow, cg, kg) = (s.out_h(), s.out_w(), s.c / s.groups, s.k / s.groups);
    let [kh, kw] = s.kernel;
    let inside = |axis: usize, o: usize, tap: usize, size: usize| {
        let i = (o * s.stride[axis] + tap * s.dilation[axis]) as isize - s.padding[axis] as isize;
        (i >= 0 && (i as usize) < size).then_some(i as usize)
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

/// Sums in f64, and the sums of their products' magnitudes, of which f32 must round.
#[derive(Clone)]
struct Exact {
    value: Vec<f64>,
    size: Vec<f64>,
}

impl Exact {
    fn zeros(len: usize) -> Exact {
        Exact { value: vec![0.0; len], size: vec![0.0; len] }
    }

    fn add(&mut self, at: usize, value: f64) {
        self.value[at] += value;
        self.size[at] += value.abs();
    }

    /// The same with `value` added to every sum.
    fn plus(&self, value: f64) -> Exact {
        let mut more = self.clone();
        (0..more.value.len()).for_each(|at| more.add(at, value));
        more
    }
}

/// Relative L2 error: Winograd's transforms cost digits, a bound of 5e-6 for the sums of a real network. Sums that cancel or are long may
/// lose some roundings (2^-24) of their products besides.
fn assert_close(what: &str, algorithm: Algorithm, got: &[f32], want: &Exact) {
    let bound = if algorithm == Algorithm::Winograd { 5e-6 } else { 1e-6 };
    let norm = |values: &[f64]| values.iter().map(|v| v * v).sum::<f64>().sqrt();
    let difference: Vec<f64> = got.iter().zip(&want.value).map(|(&g, w)| f64::from(g) - w).collect();
    let (error, size) = (norm(&difference), norm(&want.value));
    let allowed = bound * size + 2.0 * 2f64.powi(-24) * norm(&want.size);
    assert!(error <= allowed + 1e-30, "{what}: relative L2 {}, allowed {}", error / size, allowed / size);
}

/// The operands of a shape, and the results of all passes in f64.
struct Case {
    s: Conv2dShape,
    x: Vec<f32>,
    w: Vec<f32>,
    dy: Vec<f32>,
    scale: Vec<f32>,
    shift: Vec<f32>,
    bias: Vec<f32>,
    residual: Vec<f32>,
    y: Exact,
    fused: Exact,
    dx: Exact,
    dw: Exact,
}

impl Case {
    fn new(s: Conv2dShape) -> Case {
        let (x, w, dy) = (numbers(s.x_len(), 1), numbers(s.w_len(), 2), numbers(s.y_len(), 3));
        let (scale, shift) = (numbers(s.c, 4), numbers(s.c, 5));
        let (bias, residual) = (numbers(s.k, 6), numbers(s.y_len(), 7));
        let loaded = |(i, &x): (usize, &f32)| f64::from((x * scale[i % s.c] + shift[i % s.c]).max(0.0));
        let act: Vec<f64> = x.iter().enumerate().map(loaded).collect();
        let (mut y, mut fused) = (Exact::zeros(s.y_len()), Exact::zeros(s.y_len()));
        let (mut dx, mut dw) = (Exact::zeros(s.x_len()), Exact::zeros(s.w_len()));
        products(&s, |i, j, o| {
            let (weight, gradient) = (f64::from(w[j]), f64::from(dy[o]));
            y.add(o, f64::from(x[i]) * weight);
            fused.add(o, act[i] * weight);
            dx.add(i, gradient * weight);
            dw.add(j, act[i] * gradient);
        });
        for i in 0..s.y_len() {
            fused.add(i, f64::from(bias[i % s.k]));
            fused.add(i, f64::from(residual[i]));
            fused.value[i] = fused.value[i].max(0.0);
        }
        Case { s, x, w, dy, scale, shift, bias, residual, y, fused, dx, dw }
    }

    /// Checks every pass on `isa`, with the same bits for 1, 2 and 3 threads.
    fn check(&self, isa: Isa) {
        let one = self.run(isa, 1);
        assert!(one == self.run(isa, 2) && one == self.run(isa, 3), "threads change bits: {:?}", self.s);
    }

    /// The results of all passes on so many threads, each compared with f64.
    fn run(&self, isa: Isa, count: usize) -> Vec<Vec<f32>> {
        let (s, x, w, dy) = (&self.s, &self.x, &self.w, &self.dy);
        let threads = Threads::with_isa(count, isa).unwrap();
        let conv = Conv2d::new(*s, isa).unwrap();
        // Scratch holds garbage, with guard values behind what was asked for.
        let scratch = |pass| {
            let mut ws = vec![f32::NAN; conv.workspace(pass, count)];
            ws.extend([7.0; 64]);
            ws
        };
        let intact =
            |ws: &[f32]| assert!(ws[ws.len() - 64..].iter().all(|&g| g == 7.0), "scratch overrun: {s:?}");
        let close = |what: &str, pass, got: &[f32], want: &Exact| {
            assert_close(&format!("{what} of {s:?} on {}", isa.name()), conv.algorithm(pass), got, want);
        };
        let activation = Activation::Relu;
        let prologue = Prologue::ScaleShift { scale: &self.scale, shift: &self.shift, activation };

        let mut ws = scratch(Pass::Forward);
        let n = ws.len() - 64;
        let (mut y, mut sum, mut sum_sq) = (vec![f32::NAN; s.y_len()], vec![9.0; s.k], vec![9.0; s.k]);
        let stats = Epilogue::Stats { sum: &mut sum, sum_sq: &mut sum_sq };
        conv.forward(&threads, x, w, &mut y, Prologue::None, stats, &mut ws[..n]);
        close("forward", Pass::Forward, &y, &self.y);
        for k in 0..s.k {
            let column = || y.iter().skip(k).step_by(s.k).map(|&v| f64::from(v));
            let (squares, size) = (column().map(|v| v * v).sum::<f64>(), column().map(f64::abs).sum::<f64>());
            assert!((sum[k] - column().sum::<f64>()).abs() <= 1e-5 * size + 1e-30);
            assert!((sum_sq[k] - squares).abs() <= 1e-5 * squares + 1e-30);
        }
        let mut fused = vec![f32::NAN; s.y_len()];
        let (bias, residual) = (Some(&self.bias[..]), Some(&self.residual[..]));
        let epilogue = Epilogue::BiasAct { bias, residual, activation };
        conv.forward(&threads, x, w, &mut fused, prologue, epilogue, &mut ws[..n]);
        close("forward with prologue and epilogue", Pass::Forward, &fused, &self.fused);
        intact(&ws);

        let mut ws = scratch(Pass::BackwardInput);
        let n = ws.len() - 64;
        let mut dx = vec![0.25; s.x_len()];
        conv.backward_input(&threads, dy, w, &mut dx, true, &mut ws[..n]);
        close("input gradient, accumulated", Pass::BackwardInput, &dx, &self.dx.plus(0.25));
        let mut fresh = vec![f32::NAN; s.x_len()];
        conv.backward_input(&threads, dy, w, &mut fresh, false, &mut ws[..n]);
        close("input gradient", Pass::BackwardInput, &fresh, &self.dx);
        intact(&ws);

        let mut ws = scratch(Pass::BackwardWeight);
        let n = ws.len() - 64;
        let mut dw = vec![f32::NAN; s.w_len()];
        conv.backward_weight(&threads, x, dy, &mut dw, prologue, false, &mut ws[..n]);
        close("weight gradient", Pass::BackwardWeight, &dw, &self.dw);
        let mut added = vec![0.25; s.w_len()];
        conv.backward_weight(&threads, x, dy, &mut added, prologue, true, &mut ws[..n]);
        close("weight gradient, accumulated", Pass::BackwardWeight, &added, &self.dw.plus(0.25));
        intact(&ws);
        vec![y, fused, dx, fresh, dw, added]
    }
}

/// A shape of about a million products at most, of too large a one: first the images shrink, then the sizes, then the channels, as
/// long as an output is left.
fn affordable(mut s: Conv2dShape) -> Conv2dShape {
    while s.flops() > 2e6 {
        let mut smaller = s;
        if s.n > 1 {
            smaller.n = 1;
        } else if s.h.max(s.w) > 9 {
            (smaller.h, smaller.w) = (s.h.div_ceil(2), s.w.div_ceil(2));
        }
        if smaller == s || smaller.validate().is_err() {
            smaller = Conv2dShape { k: s.k.div_ceil(2).next_multiple_of(s.groups), ..s };
            // Depthwise, or one channel a group: nothing is left to shrink.
            if s.groups == s.c || smaller.k == s.k {
                break;
            }
        }
        s = smaller;
    }
    s
}

/// Odd sizes, channels that are no multiple of a vector, strides, dilation, groups, borders wider than the kernel needs.
fn shapes() -> impl Strategy<Value = Conv2dShape> {
    let groups = prop_oneof![3 => Just((1, false)), 1 => Just((2, false)), 1 => Just((3, false)), 2 => Just((1, true))];
    let channels = || prop_oneof![1..=17usize, 1..=130usize];
    let kernel =
        prop_oneof![3 => (1..=5usize, 1..=5usize), 1 => Just((7, 7)), 1 => Just((1, 1)), 2 => Just((3, 3))];
    (
        (1..=3usize, 1..=33usize, 1..=33usize),
        (channels(), channels()),
        groups,
        kernel,
        (1..=3usize, 1..=3usize),
    )
        .prop_flat_map(|((n, h, w), (c, k), (groups, depthwise), (kh, kw), (sh, sw))| {
            ((0..=kh, 0..=kw), (1..=3usize, 1..=3usize)).prop_map(move |((ph, pw), (dh, dw))| {
                let (groups, c, k) = if depthwise { (c, c, c) } else { (groups, c * groups, k * groups) };
                Conv2dShape {
                    n,
                    h,
                    w,
                    c,
                    k,
                    kernel: [kh, kw],
                    stride: [sh, sw],
                    padding: [ph, pw],
                    dilation: [dh, dw],
                    groups,
                }
            })
        })
        .prop_filter("has an output", |s| s.validate().is_ok())
        .prop_map(affordable)
}

/// Shapes of Winograd's form.
fn winograd_shapes() -> impl Strategy<Value = Conv2dShape> {
    ((1..=3usize, 8..=24usize, 8..=24usize), (1..=4usize, 1..=4usize), (0..=2usize, 0..=2usize)).prop_map(
        |((n, h, w), (c, k), (ph, pw))| Conv2dShape {
            n,
            h,
            w,
            c: 16 * c,
            k: 16 * k,
            kernel: [3, 3],
            stride: [1, 1],
            padding: [ph, pw],
            dilation: [1, 1],
            groups: 1,
        },
    )
}

/// Kernels that cover their whole input.
fn linear_shapes() -> impl Strategy<Value = Conv2dShape> {
    (prop_oneof![1..=17usize, 1..=70usize], (1..=3usize, 1..=3usize), 1..=70usize, 1..=130usize)
        .prop_map(|(n, (h, w), c, k)| linear([n, h, w, c, k]))
}

fn linear([n, h, w, c, k]: [usize; 5]) -> Conv2dShape {
    Conv2dShape {
        n,
        h,
        w,
        c,
        k,
        kernel: [h, w],
        stride: [1, 1],
        padding: [0, 0],
        dilation: [1, 1],
        groups: 1,
    }
}

fn assert_algorithm(s: Conv2dShape, isa: Isa, algorithm: Algorithm) {
    let conv = Conv2d::new(s, isa).unwrap();
    for pass in Pass::ALL {
        assert_eq!(conv.algorithm(pass), algorithm, "{pass:?} of {s:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_pass_equals_f64_loops_and_threads_do_not_change_a_bit(s in shapes()) {
        let case = Case::new(s);
        Isa::available().for_each(|isa| case.check(isa));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn three_by_three_kernels_of_stride_one_equal_f64_loops(s in winograd_shapes()) {
        let case = Case::new(s);
        Isa::available().for_each(|isa| case.check(isa));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn linear_layers_equal_f64_loops(s in linear_shapes()) {
        let case = Case::new(s);
        for isa in Isa::available() {
            assert_algorithm(s, isa, Algorithm::Linear);
            case.check(isa);
        }
    }
}

#[test]
fn linear_layers_whose_sums_are_cut_are_exact() {
    // More features, more images and more output channels than one tile, one panel or one pass sums.
    for shape in [[3, 1, 1, 1000, 29], [450, 1, 1, 33, 14], [5, 7, 7, 64, 140], [33, 2, 2, 20, 300]] {
        let case = Case::new(linear(shape));
        for isa in Isa::available() {
            assert_algorithm(case.s, isa, Algorithm::Linear);
            case.check(isa);
        }
    }
}

#[test]
fn the_layers_of_the_small_network_and_a_linear_layer_are_exact() {
    let conv = |hw, c, k, kernel: usize, padding| Conv2dShape {
        n: 2,
        h: hw,
        w: hw,
        c,
        k,
        kernel: [kernel, kernel],
        stride: [1, 1],
        padding: [padding, padding],
        dilation: [1, 1],
        groups: 1,
    };
    for s in [
        conv(28, 1, 16, 3, 1),
        conv(14, 16, 32, 3, 1),
        conv(7, 130, 65, 3, 1),
        conv(7, 33, 10, 7, 0),
        conv(3, 20, 20, 3, 0),
        Conv2dShape { groups: 20, ..conv(3, 20, 20, 3, 0) },
    ] {
        let case = Case::new(s);
        Isa::available().for_each(|isa| case.check(isa));
    }
}

#[test]
fn winograd_tiles_that_hang_over_the_edge_are_exact() {
    let conv = |n, h, w, c, k, padding| Conv2dShape {
        n,
        h,
        w,
        c,
        k,
        kernel: [3, 3],
        stride: [1, 1],
        padding,
        dilation: [1, 1],
        groups: 1,
    };
    let shapes = [
        conv(1, 28, 28, 16, 32, [1, 1]),
        conv(13, 7, 7, 48, 16, [1, 1]),
        conv(3, 17, 12, 32, 80, [0, 2]),
        conv(2, 30, 35, 16, 16, [2, 0]),
        conv(30, 4, 4, 64, 48, [1, 1]),
        conv(25, 6, 3, 16, 64, [0, 1]),
        // More channels than the transformed weights and the sums of the weights' gradient may have at the same time.
        conv(24, 4, 4, 288, 304, [1, 1]),
        // Few channels and many tiles: the weights' gradient is summed in parts.
        conv(18, 14, 13, 16, 48, [1, 1]),
        conv(66, 8, 7, 32, 16, [1, 1]),
    ];
    for s in shapes {
        let case = Case::new(s);
        for isa in Isa::available() {
            assert_algorithm(s, isa, Algorithm::Winograd);
            case.check(isa);
        }
    }
}

#[test]
fn a_shape_without_output_is_refused_with_the_field_named() {
    let s = Conv2dShape {
        n: 1,
        h: 4,
        w: 4,
        c: 3,
        k: 4,
        kernel: [7, 7],
        stride: [1, 1],
        padding: [0, 0],
        dilation: [1, 1],
        groups: 1,
    };
    let error = Conv2d::new(s, Isa::Portable).unwrap_err().to_string();
    assert!(error.contains("`kernel` is [7, 7]") && error.contains("spans 7 of 4"), "{error}");
    let grouped = Conv2dShape { kernel: [1, 1], groups: 2, ..s };
    assert!(Conv2d::new(grouped, Isa::Portable).unwrap_err().to_string().contains("`groups` is 2"));
}
