//! What the machine can do at most: the roofline that the kernels are measured against.

use crate::Threads;
use crate::conv::simd::{Simd, with_simd};
use crate::shared::SharedMut;
use std::hint::black_box;
use std::time::Instant;

/// Independent sums: enough of them to hide the latency of a multiply-add.
const CHAINS: usize = 10;
const STEPS: usize = 1_000_000;
/// Elements of each array of the copy: 64 MiB, more than a cache holds.
const COPY: usize = 16 << 20;
const RUNS: usize = 5;

/// Multiply-adds in registers on all threads of `threads`, in FLOP/s (a multiply-add is two); the fastest of a few runs of some milliseconds.
pub fn peak_flops(threads: &Threads) -> f64 {
    let mut lanes = 0;
    let seconds = fastest(|| {
        threads.for_each(threads.count(), |_, _| {
            // SAFETY: `S` is the instruction set of `threads`.
            with_simd!(threads.isa(), S => unsafe { chains::<S>(black_box(0.999)) });
        });
        with_simd!(threads.isa(), S => lanes = S::LANES);
    });
    (2 * CHAINS * lanes * STEPS * threads.count()) as f64 / seconds
}

/// # Safety
/// `S` is available.
#[inline(always)]
unsafe fn chains<S: Simd>(x: f32) {
    // SAFETY: by the caller's promise.
    unsafe {
        let (x, tiny) = (S::splat(x), S::splat(1e-9));
        let mut acc = [x; CHAINS];
        for _ in 0..STEPS {
            for chain in &mut acc {
                *chain = S::fma(*chain, x, tiny);
            }
        }
        let sum = acc.into_iter().fold(x, |sum, chain| S::add(sum, chain));
        let mut out = [0.0f32; 16];
        S::store(out.as_mut_ptr(), sum);
        black_box(out);
    }
}

/// Bytes a second, read and written together, of a copy between arrays that no cache holds, on all threads; the fastest of a few runs.
pub fn bandwidth(threads: &Threads) -> f64 {
    let x = vec![1.0f32; COPY];
    let mut y = vec![0.0f32; COPY];
    let part = COPY / threads.count();
    let seconds = fastest(|| {
        let out = SharedMut::new(&mut y);
        threads.for_each(threads.count(), |task, _| {
            // SAFETY: the parts are disjoint.
            unsafe { out.slice(task * part, part) }.copy_from_slice(&x[task * part..][..part]);
        });
    });
    black_box(&y);
    (2 * size_of::<f32>() * part * threads.count()) as f64 / seconds
}

fn fastest(mut f: impl FnMut()) -> f64 {
    (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            f();
            start.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min)
}
