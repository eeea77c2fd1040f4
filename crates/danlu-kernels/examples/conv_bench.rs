//! Speed of the convolutions: for each shape and pass the algorithm, milliseconds, effective GFLOP/s (those of a direct
//! convolution) and their share of the multiply-add peak measured beside it. The best of several runs counts.
//!
//! ```text
//! cargo run --release -p danlu-kernels --example conv_bench [-- FILTER [THREADS]]
//! ```

use danlu_kernels::{Conv2d, Conv2dShape, Epilogue, Pass, Prologue, Threads};
use std::time::{Duration, Instant};

fn shapes() -> Vec<(&'static str, Conv2dShape)> {
    let conv = |n, hw, c, k, kernel: usize, stride: usize, groups| Conv2dShape {
        n,
        h: hw,
        w: hw,
        c,
        k,
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: [kernel / 2; 2],
        dilation: [1; 2],
        groups,
    };
    let linear = Conv2dShape { padding: [0; 2], ..conv(128, 7, 32, 10, 7, 1, 1) };
    vec![
        ("small stem 1->16@28", conv(128, 28, 1, 16, 3, 1, 1)),
        ("small 16->16@28", conv(128, 28, 16, 16, 3, 1, 1)),
        ("small 16->32@28/2", conv(128, 28, 16, 32, 3, 2, 1)),
        ("small 1x1 16->32@28/2", conv(128, 28, 16, 32, 1, 2, 1)),
        ("small 32->32@14", conv(128, 14, 32, 32, 3, 1, 1)),
        ("small 32->64@14/2", conv(128, 14, 32, 64, 3, 2, 1)),
        ("small 1x1 32->64@14/2", conv(128, 14, 32, 64, 1, 2, 1)),
        ("small 64->64@7", conv(128, 7, 64, 64, 3, 1, 1)),
        ("small linear 1568->10", linear),
        ("resnet stem 3->64@32", conv(64, 32, 3, 64, 3, 1, 1)),
        ("resnet 64@32", conv(64, 32, 64, 64, 3, 1, 1)),
        ("resnet 64->128@32/2", conv(64, 32, 64, 128, 3, 2, 1)),
        ("resnet 128@16", conv(64, 16, 128, 128, 3, 1, 1)),
        ("resnet 256@8", conv(64, 8, 256, 256, 3, 1, 1)),
        ("resnet 512@4", conv(64, 4, 512, 512, 3, 1, 1)),
        ("bottleneck 1x1 64->256@32", conv(32, 32, 64, 256, 1, 1, 1)),
        ("bottleneck 1x1 1024->256@8", conv(32, 8, 1024, 256, 1, 1, 1)),
        ("depthwise 96@32", conv(32, 32, 96, 96, 3, 1, 96)),
    ]
}

fn numbers(len: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// Seconds of the fastest of at least five calls.
fn best(mut f: impl FnMut()) -> f64 {
    f();
    let (start, mut best) = (Instant::now(), f64::INFINITY);
    let mut calls = 0;
    while calls < 5 || (start.elapsed() < Duration::from_millis(250) && calls < 200) {
        let call = Instant::now();
        f();
        best = best.min(call.elapsed().as_secs_f64());
        calls += 1;
    }
    best
}

fn main() -> Result<(), danlu_kernels::KernelError> {
    let mut arguments = std::env::args().skip(1);
    let filter = arguments.next().unwrap_or_default();
    let threads = Threads::new(arguments.next().and_then(|n| n.parse().ok()).unwrap_or(0))?;
    let peak = danlu_kernels::machine::peak_flops(&threads) / 1e9;
    println!("{} on {} threads, peak {peak:.0} GF/s", threads.isa().name(), threads.count());
    for (name, s) in shapes().into_iter().filter(|(name, _)| name.contains(&filter)) {
        let conv = Conv2d::new(s, threads.isa())?;
        let (x, w, dy) = (numbers(s.x_len(), 1), numbers(s.w_len(), 2), numbers(s.y_len(), 3));
        let (mut y, mut dx, mut dw) = (dy.clone(), x.clone(), w.clone());
        let (mut sum, mut sum_sq) = (vec![0.0; s.k], vec![0.0; s.k]);
        for pass in Pass::ALL {
            let words = conv.workspace(pass, threads.count());
            let mut ws = vec![0.0; words];
            let seconds = match pass {
                Pass::Forward => best(|| {
                    let stats = Epilogue::Stats { sum: &mut sum, sum_sq: &mut sum_sq };
                    conv.forward(&threads, &x, &w, &mut y, Prologue::None, stats, &mut ws);
                }),
                Pass::BackwardInput => {
                    best(|| conv.backward_input(&threads, &dy, &w, &mut dx, false, &mut ws))
                }
                Pass::BackwardWeight => best(|| {
                    conv.backward_weight(&threads, &x, &dy, &mut dw, Prologue::None, false, &mut ws);
                }),
            };
            let speed = s.flops() / seconds / 1e9;
            println!(
                "{name:27} {:15} {:13} {:9.3} ms {speed:7.1} GF/s {:4.0} % {:7.2} MiB scratch",
                format!("{pass:?}"),
                conv.algorithm(pass),
                1e3 * seconds,
                100.0 * speed / peak,
                words as f64 * 4.0 / f64::from(1 << 20),
            );
        }
    }
    Ok(())
}
