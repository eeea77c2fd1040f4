//! u8 images to normalised f32.

use crate::Threads;
use crate::elementwise::CHUNK;
use crate::shared::SharedMut;

/// Pixels that are worked on side by side: whole vectors for 1, 3 and 4 channels.
const BLOCK: usize = 16;
/// Outputs of more elements than this (8 MiB) leave the caches before anybody reads them: they are written past the caches, which
/// spares reading what is overwritten.
const STREAMED: usize = 2 << 20;

/// u8 images `[pixels, channels]` to f32: `y = x * scale[c] + shift[c]`. For the usual normalisation of `x / 255` by mean and
/// standard deviation, `scale = 1 / (255 std)` and `shift = -mean / std`.
pub fn normalize_u8(threads: &Threads, x: &[u8], scale: &[f32], shift: &[f32], y: &mut [f32]) {
    let channels = scale.len();
    assert!(channels > 0 && shift.len() == channels);
    assert!(x.len() == y.len() && x.len().is_multiple_of(channels));
    let streamed = y.len() > STREAMED;
    let rows = (CHUNK / (channels * BLOCK)).max(1) * BLOCK;
    let out = SharedMut::new(y);
    threads.for_each(x.len().div_ceil(rows * channels), |task, _| {
        let start = task * rows * channels;
        let x = &x[start..x.len().min(start + rows * channels)];
        // SAFETY: chunks are disjoint.
        let y = unsafe { out.slice(start, x.len()) };
        threads.isa().run(
            #[inline(always)]
            || match channels {
                1 => blocks::<1, BLOCK>(x, scale, shift, y, streamed),
                3 => blocks::<3, { 3 * BLOCK }>(x, scale, shift, y, streamed),
                4 => blocks::<4, { 4 * BLOCK }>(x, scale, shift, y, streamed),
                _ => pixels(x, scale, shift, y),
            },
        );
        if streamed {
            finish_streams();
        }
    });
}

fn pixels(x: &[u8], scale: &[f32], shift: &[f32], y: &mut [f32]) {
    let channels = scale.len();
    for (x, y) in x.chunks_exact(channels).zip(y.chunks_exact_mut(channels)) {
        for c in 0..channels {
            y[c] = f32::from(x[c]) * scale[c] + shift[c];
        }
    }
}

/// `N` values, `BLOCK` pixels of `C` channels, at once.
#[inline(always)]
fn blocks<const C: usize, const N: usize>(
    x: &[u8],
    scale: &[f32],
    shift: &[f32],
    y: &mut [f32],
    streamed: bool,
) {
    let scales: [f32; N] = std::array::from_fn(|i| scale[i % C]);
    let shifts: [f32; N] = std::array::from_fn(|i| shift[i % C]);
    let (x_blocks, x_rest) = x.as_chunks::<N>();
    let (y_blocks, y_rest) = y.as_chunks_mut::<N>();
    for (x, y) in x_blocks.iter().zip(y_blocks) {
        let mut values = [0.0; N];
        for i in 0..N {
            values[i] = f32::from(x[i]) * scales[i] + shifts[i];
        }
        if streamed { stream(&values, y) } else { *y = values }
    }
    pixels(x_rest, scale, shift, y_rest);
}

/// Writes past the caches where the address allows it.
#[inline(always)]
fn stream<const N: usize>(values: &[f32; N], y: &mut [f32; N]) {
    #[cfg(target_arch = "x86_64")]
    if y.as_ptr().addr().is_multiple_of(16) {
        use std::arch::x86_64::{_mm_loadu_ps, _mm_stream_ps};
        for i in (0..N).step_by(4) {
            // SAFETY: N is a multiple of 4 (of BLOCK), so that four elements from `i` on lie in both arrays, and `y` lies on a multiple
            // of 16 bytes, as was just asked. SSE is part of x86-64.
            unsafe { _mm_stream_ps(y.as_mut_ptr().add(i), _mm_loadu_ps(values.as_ptr().add(i))) };
        }
        return;
    }
    *y = *values;
}

/// What was streamed is visible to other threads after this.
fn finish_streams() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: SSE is part of x86-64; the instruction has no operands.
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_normalised_channel_by_channel() {
        let threads = Threads::new(2).unwrap();
        // Small ones, and ones that are streamed, from an address that is no multiple of 16 bytes too.
        for (channels, pixels) in
            [(1, 9001), (2, 9001), (3, 9001), (4, 9001), (7, 9001), (1, 2_100_003), (3, 700_001)]
        {
            let x: Vec<u8> = (0..channels * pixels).map(|i| (i * 7 % 256) as u8).collect();
            let scale: Vec<f32> = (0..channels).map(|c| 0.01 + c as f32).collect();
            let shift: Vec<f32> = (0..channels).map(|c| c as f32 - 3.0).collect();
            let mut room = vec![f32::NAN; x.len() + 1];
            for offset in [0, 1] {
                let y = &mut room[offset..offset + x.len()];
                y.fill(f32::NAN);
                normalize_u8(&threads, &x, &scale, &shift, y);
                for i in 0..x.len() {
                    let c = i % channels;
                    assert!((y[i] - (f32::from(x[i]) * scale[c] + shift[c])).abs() < 1e-3);
                }
            }
        }
    }
}
