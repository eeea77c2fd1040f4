//! Kernels that go through memory once, element by element: add, scale, masks, EMA, copies of channels.

use crate::Threads;
use crate::shared::SharedMut;

/// Elements of one task: 64 KiB of f32, so that a task is longer than its dispatch and stays in the L2 cache.
pub(crate) const CHUNK: usize = 16 * 1024;

pub(crate) fn chunks(len: usize) -> usize {
    len.div_ceil(CHUNK)
}

/// Runs `f(start, part of y)` over chunks of `y`, compiled for the instruction set.
#[inline(always)]
fn over(threads: &Threads, y: &mut [f32], f: impl Fn(usize, &mut [f32]) + Sync) {
    let out = SharedMut::new(y);
    threads.for_each(chunks(out.len()), |task, _| {
        let start = task * CHUNK;
        // SAFETY: chunks are disjoint.
        let y = unsafe { out.slice(start, CHUNK.min(out.len() - start)) };
        threads.isa().run(
            #[inline(always)]
            || f(start, y),
        );
    });
}

/// `y = a + b`.
pub fn add(threads: &Threads, a: &[f32], b: &[f32], y: &mut [f32]) {
    assert!(a.len() == y.len() && b.len() == y.len());
    over(threads, y, |start, y| {
        let (a, b) = (&a[start..start + y.len()], &b[start..start + y.len()]);
        for i in 0..y.len() {
            y[i] = a[i] + b[i];
        }
    });
}

/// `y += x`.
pub fn add_assign(threads: &Threads, x: &[f32], y: &mut [f32]) {
    assert_eq!(x.len(), y.len());
    over(threads, y, |start, y| {
        let x = &x[start..start + y.len()];
        for i in 0..y.len() {
            y[i] += x[i];
        }
    });
}

/// `y += a * x`.
pub fn axpy(threads: &Threads, a: f32, x: &[f32], y: &mut [f32]) {
    assert_eq!(x.len(), y.len());
    over(threads, y, |start, y| {
        let x = &x[start..start + y.len()];
        for i in 0..y.len() {
            y[i] += a * x[i];
        }
    });
}

/// `y *= a`.
pub fn scale(threads: &Threads, a: f32, y: &mut [f32]) {
    over(threads, y, |_, y| y.iter_mut().for_each(|y| *y *= a));
}

/// `y = value`.
pub fn fill(threads: &Threads, value: f32, y: &mut [f32]) {
    over(threads, y, |_, y| y.fill(value));
}

/// `y = x`.
pub fn copy(threads: &Threads, x: &[f32], y: &mut [f32]) {
    assert_eq!(x.len(), y.len());
    over(threads, y, |start, y| y.copy_from_slice(&x[start..start + y.len()]));
}

/// `average = decay * average + (1 - decay) * x`, computed as `average + (1 - decay) * (x - average)` so that it stays put
/// where the two are equal.
pub fn ema_lerp(threads: &Threads, decay: f32, x: &[f32], average: &mut [f32]) {
    assert_eq!(x.len(), average.len());
    let weight = (1.0 - f64::from(decay)) as f32;
    over(threads, average, |start, average| {
        let x = &x[start..start + average.len()];
        for i in 0..average.len() {
            average[i] += weight * (x[i] - average[i]);
        }
    });
}

/// `y = x * scale` where `mask` is not 0, else 0: dropout with `scale = 1 / (1 - p)`, forward and (with `x` = dy) backward.
/// With `x` `None`, `y` is changed in place.
pub fn apply_mask(threads: &Threads, x: Option<&[f32]>, mask: &[u8], scale: f32, y: &mut [f32]) {
    assert_eq!(mask.len(), y.len());
    assert!(x.is_none_or(|x| x.len() == y.len()));
    over(threads, y, |start, y| {
        if let Some(x) = x {
            y.copy_from_slice(&x[start..start + y.len()]);
        }
        let mask = &mask[start..start + y.len()];
        for i in 0..y.len() {
            y[i] = if mask[i] != 0 { y[i] * scale } else { 0.0 };
        }
    });
}

/// Multiplies each sample of `y` (`[samples, per_sample]`) by its factor: drop-path (factor 0 or `1 / (1 - p)`). With `x`
/// `None`, `y` is changed in place.
pub fn scale_samples(threads: &Threads, x: Option<&[f32]>, factors: &[f32], y: &mut [f32]) {
    if factors.is_empty() {
        return;
    }
    let per_sample = y.len() / factors.len();
    assert_eq!(per_sample * factors.len(), y.len());
    assert!(x.is_none_or(|x| x.len() == y.len()));
    let out = SharedMut::new(y);
    threads.for_each(factors.len(), |sample, _| {
        let start = sample * per_sample;
        // SAFETY: samples are disjoint.
        let y = unsafe { out.slice(start, per_sample) };
        if let Some(x) = x {
            y.copy_from_slice(&x[start..start + per_sample]);
        }
        let factor = factors[sample];
        threads.isa().run(
            #[inline(always)]
            || y.iter_mut().for_each(|y| *y = if factor == 0.0 { 0.0 } else { *y * factor }),
        );
    });
}

/// Where the columns of [`copy_columns`] come from or go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Columns {
    /// Elements from one row to the next.
    pub stride: usize,
    /// First column.
    pub offset: usize,
}

/// Copies (or adds) `width` columns of `rows` rows from `x` to `y`: channel concatenation in NHWC and its backward.
pub fn copy_columns(
    threads: &Threads,
    rows: usize,
    width: usize,
    x: &[f32],
    from: Columns,
    y: &mut [f32],
    to: Columns,
    accumulate: bool,
) {
    if rows == 0 || width == 0 {
        return;
    }
    assert!(from.offset + width <= from.stride && x.len() >= rows * from.stride);
    assert!(to.offset + width <= to.stride && y.len() >= rows * to.stride);
    let block = (CHUNK / width).max(1);
    let out = SharedMut::new(y);
    threads.for_each(rows.div_ceil(block), |task, _| {
        for row in task * block..rows.min((task + 1) * block) {
            let x = &x[row * from.stride + from.offset..][..width];
            // SAFETY: rows are disjoint.
            let y = unsafe { out.slice(row * to.stride + to.offset, width) };
            if accumulate {
                y.iter_mut().zip(x).for_each(|(y, &x)| *y += x);
            } else {
                y.copy_from_slice(x);
            }
        }
    });
}

/// `y[n, p, c] = x[n, p, c] * gate[n, c]`: the excitation of squeeze-excite. `x` is `[samples, pixels, channels]`.
pub fn gate_channels(
    threads: &Threads,
    x: &[f32],
    gate: &[f32],
    samples: usize,
    channels: usize,
    y: &mut [f32],
) {
    assert!(samples > 0 && gate.len() == samples * channels && x.len() == y.len());
    let per_sample = x.len() / samples;
    assert_eq!(per_sample * samples, x.len());
    let out = SharedMut::new(y);
    threads.for_each(samples, |sample, _| {
        let x = &x[sample * per_sample..][..per_sample];
        let gate = &gate[sample * channels..][..channels];
        // SAFETY: samples are disjoint.
        let y = unsafe { out.slice(sample * per_sample, per_sample) };
        threads.isa().run(
            #[inline(always)]
            || {
                for (x, y) in x.chunks_exact(channels).zip(y.chunks_exact_mut(channels)) {
                    for c in 0..channels {
                        y[c] = x[c] * gate[c];
                    }
                }
            },
        );
    });
}

/// The gradient of [`gate_channels`] to its gate: `dgate[n, c] = sum over p of dy[n, p, c] * x[n, p, c]`.
pub fn gate_channels_backward(
    threads: &Threads,
    x: &[f32],
    dy: &[f32],
    samples: usize,
    channels: usize,
    dgate: &mut [f32],
) {
    assert!(samples > 0 && dgate.len() == samples * channels && x.len() == dy.len());
    let per_sample = x.len() / samples;
    assert_eq!(per_sample * samples, x.len());
    let out = SharedMut::new(dgate);
    threads.for_each(samples, |sample, _| {
        let x = &x[sample * per_sample..][..per_sample];
        let dy = &dy[sample * per_sample..][..per_sample];
        // SAFETY: samples are disjoint.
        let dgate = unsafe { out.slice(sample * channels, channels) };
        threads.isa().run(
            #[inline(always)]
            || {
                dgate.fill(0.0);
                for (x, dy) in x.chunks_exact(channels).zip(dy.chunks_exact(channels)) {
                    for c in 0..channels {
                        dgate[c] += x[c] * dy[c];
                    }
                }
            },
        );
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(len: usize, step: f32) -> Vec<f32> {
        (0..len).map(|i| (i % 101) as f32 * step - 1.0).collect()
    }

    #[test]
    fn every_elementwise_kernel_reaches_the_last_element_of_an_odd_length() {
        let threads = Threads::new(3).unwrap();
        let n = 2 * CHUNK + 5;
        let (a, b) = (ramp(n, 0.1), ramp(n, 0.3));
        let mut y = vec![f32::NAN; n];
        add(&threads, &a, &b, &mut y);
        assert!((0..n).all(|i| y[i] == a[i] + b[i]));
        add_assign(&threads, &a, &mut y);
        assert!((0..n).all(|i| y[i] == a[i] + b[i] + a[i]));
        y.copy_from_slice(&b);
        axpy(&threads, 0.5, &a, &mut y);
        scale(&threads, 2.0, &mut y);
        assert!((0..n).all(|i| (y[i] - 2.0 * (b[i] + 0.5 * a[i])).abs() < 1e-5));
        ema_lerp(&threads, 0.9, &a, &mut y);
        assert!((0..n).all(|i| (y[i] - (1.8 * b[i] + 1.0 * a[i])).abs() < 1e-4));
        let mask: Vec<u8> = (0..n).map(|i| (i % 3) as u8).collect();
        apply_mask(&threads, Some(&a), &mask, 1.25, &mut y);
        assert!((0..n).all(|i| y[i] == if i % 3 == 0 { 0.0 } else { a[i] * 1.25 }));
        fill(&threads, 3.0, &mut y);
        assert!(y.iter().all(|&y| y == 3.0));
        copy(&threads, &a, &mut y);
        assert_eq!(a, y);
    }

    #[test]
    fn columns_are_concatenated_and_split_again() {
        let threads = Threads::new(2).unwrap();
        let (rows, a, b) = (777, 3, 5);
        let (x, z) = (ramp(rows * a, 0.1), ramp(rows * b, 0.7));
        let mut y = vec![f32::NAN; rows * (a + b)];
        let whole = |offset| Columns { stride: a + b, offset };
        copy_columns(&threads, rows, a, &x, Columns { stride: a, offset: 0 }, &mut y, whole(0), false);
        copy_columns(&threads, rows, b, &z, Columns { stride: b, offset: 0 }, &mut y, whole(a), false);
        assert_eq!(y[a + b..][..3], x[a..][..3]);
        let mut back = z.clone();
        copy_columns(&threads, rows, b, &y, whole(a), &mut back, Columns { stride: b, offset: 0 }, true);
        assert!((0..back.len()).all(|i| back[i] == 2.0 * z[i]));
    }

    #[test]
    fn gates_multiply_channels_and_their_gradient_sums_over_pixels() {
        let threads = Threads::new(2).unwrap();
        let (n, p, c) = (3, 7, 5);
        let (x, gate, dy) = (ramp(n * p * c, 0.1), ramp(n * c, 0.2), ramp(n * p * c, 0.05));
        let (mut y, mut dgate) = (vec![0.0; x.len()], vec![9.0; gate.len()]);
        gate_channels(&threads, &x, &gate, n, c, &mut y);
        gate_channels_backward(&threads, &x, &dy, n, c, &mut dgate);
        assert!((y[(p + 2) * c + 1] - x[(p + 2) * c + 1] * gate[c + 1]).abs() < 1e-6);
        let want: f32 = (0..p).map(|q| x[(p + q) * c + 4] * dy[(p + q) * c + 4]).sum();
        assert!((dgate[c + 4] - want).abs() < 1e-4);
        let mut samples = x.clone();
        scale_samples(&threads, None, &[0.0, 2.0, 1.0], &mut samples);
        assert!(samples[..p * c].iter().all(|&v| v == 0.0) && samples[p * c + 3] == 2.0 * x[p * c + 3]);
    }
}
