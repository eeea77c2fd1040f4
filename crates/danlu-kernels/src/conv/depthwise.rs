//! Depthwise convolution: every channel has its own kernel, so the loops run over vectors of channels.

use super::implicit::{Finish, finish_block, finished, zero};
use super::pack::{self, View};
use super::region::{Block, Blocks, Region};
use super::simd::{Simd, with_simd};
use super::{Conv2dShape, Epilogue, Pass, Prologue};
use crate::shared::{SharedMut, f64_words};
use crate::{Isa, Threads};

/// Elements of a band: half of a small L2 cache.
const BAND: usize = 64 * 1024;
/// Partial sums of the weights' gradient.
const PARTS: usize = 32;
/// Outputs that are summed side by side, to hide the latency of an addition.
const SIDE: usize = 4;

/// One kernel a channel, and a whole vector of channels of any instruction set.
pub(super) fn suits(s: &Conv2dShape) -> bool {
    s.groups == s.c && s.k == s.c && s.c >= 16
}

fn blocks(region: &Region) -> Blocks {
    Blocks::new(region, (region.pixels() / 64).clamp(16, 1024), BAND, region.c)
}

fn is_direct(region: &Region, prologue: Prologue<'_>) -> bool {
    region.is_inside() && matches!(prologue, Prologue::None)
}

pub(super) fn workspace(s: &Conv2dShape, pass: Pass, threads: usize) -> usize {
    let forward = Region::forward(s);
    match pass {
        Pass::Forward => {
            let blocks = blocks(&forward);
            s.w_len() + threads * blocks.band_len(&forward, s.c) + f64_words(2 * s.k * blocks.count)
        }
        Pass::BackwardInput => {
            let band = |region: Region| blocks(&region).band_len(&region, region.c);
            let bands = Region::phases(s).filter(|region| region.taps() > 0).map(band);
            s.w_len() + threads * bands.max().unwrap_or(0)
        }
        Pass::BackwardWeight => {
            let blocks = blocks(&forward);
            PARTS.min(blocks.count) * s.w_len() + threads * blocks.band_len(&forward, s.c)
        }
    }
}

pub(super) fn forward(
    s: &Conv2dShape,
    isa: Isa,
    threads: &Threads,
    x: &[f32],
    w: &[f32],
    y: &mut [f32],
    prologue: Prologue<'_>,
    epilogue: Epilogue<'_>,
    ws: &mut [f32],
) {
    let region = Region::forward(s);
    finished(s.k, blocks(&region).count, epilogue, ws, |finish, ws| {
        run(&region, isa, threads, x, w, y, prologue, false, finish, ws);
    });
}

pub(super) fn backward_input(
    s: &Conv2dShape,
    isa: Isa,
    threads: &Threads,
    dy: &[f32],
    w: &[f32],
    dx: &mut [f32],
    accumulate: bool,
    ws: &mut [f32],
) {
    for region in Region::phases(s) {
        if region.taps() > 0 {
            run(&region, isa, threads, dy, w, dx, Prologue::None, accumulate, Finish::None, ws);
        } else if !accumulate {
            zero(&region, threads, dx);
        }
    }
}

fn run(
    region: &Region,
    isa: Isa,
    threads: &Threads,
    x: &[f32],
    w: &[f32],
    y: &mut [f32],
    prologue: Prologue<'_>,
    accumulate: bool,
    finish: Finish<'_>,
    ws: &mut [f32],
) {
    let (blocks, c) = (blocks(region), region.c);
    let (packed, bands) = ws.split_at_mut(region.depth());
    // [tap][channel]
    let elements = w.len() / c;
    for (tap, packed) in packed.chunks_exact_mut(c).enumerate() {
        let [row, column] = [tap / region.axes[1].taps, tap % region.axes[1].taps];
        let element = region.axes[0].tap(row) * region.kernel_w + region.axes[1].tap(column);
        for (c, packed) in packed.iter_mut().enumerate() {
            *packed = w[c * elements + element];
        }
    }
    let (packed, bands, out) = (&*packed, SharedMut::new(bands), SharedMut::new(y));
    let direct = is_direct(region, prologue);
    let band_len = if direct { 0 } else { blocks.band_len(region, c) };
    threads.for_each(blocks.count, |task, worker| {
        let block = blocks.get(region, task);
        // SAFETY: one buffer a worker.
        let band = unsafe { bands.slice(worker * band_len, band_len) };
        with_simd!(isa, S => {
            let (view, x) = if direct {
                (pack::direct(region, &block), x)
            } else {
                (pack::band(region, &block, x, prologue, c, band), &*band)
            };
            for row in 0..block.images * block.rows {
                let (image, row) = (row / block.rows, row % block.rows);
                let x = &x[view.start + image * view.image + row * view.row..];
                // SAFETY: `S` is available, the row's windows are inside `x`, and its outputs are this task's.
                unsafe { sum_row::<S>(region, &view, x, packed, block.image + image, block.row + row, out, accumulate) };
            }
            finish_block::<S>(region, &block, task, out, finish);
        });
    });
}

/// First channels of the vectors that cover `c` channels; the last vector overlaps the one before, and only from the second value on
/// are its channels new.
fn vectors(c: usize, lanes: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..c).step_by(lanes).map(move |first| (first.min(c - lanes), first))
}

/// One row of outputs.
///
/// # Safety
/// `S` is available, the row's windows lie inside `x`, and no other task writes its outputs.
#[inline(always)]
unsafe fn sum_row<S: Simd>(
    region: &Region,
    view: &View,
    x: &[f32],
    w: &[f32],
    image: usize,
    row: usize,
    out: SharedMut<'_, f32>,
    accumulate: bool,
) {
    let [vertical, horizontal] = &region.axes;
    let c = region.c;
    let line = (image * region.out[0] + vertical.out_origin + row * vertical.out_step) * region.out[1];
    for (at, new) in vectors(c, S::LANES) {
        for first in (0..horizontal.outs).step_by(SIDE) {
            let count = SIDE.min(horizontal.outs - first);
            // SAFETY: by the caller's promise; beyond the row's end its last window is read again.
            unsafe {
                let mut acc = [S::splat(0.0); SIDE];
                let mut windows = [x.as_ptr(); SIDE];
                for i in 0..SIDE {
                    windows[i] = x.as_ptr().add((first + i.min(count - 1)) * view.column + at);
                }
                let mut w = w.as_ptr().add(at);
                for r in 0..vertical.taps {
                    for t in 0..horizontal.taps {
                        let (weight, tap) = (S::load(w), r * view.tap_row + t * view.tap_column);
                        for i in 0..SIDE {
                            acc[i] = S::fma(S::load(windows[i].add(tap)), weight, acc[i]);
                        }
                        w = w.wrapping_add(c);
                    }
                }
                for i in 0..count {
                    let pixel = line + horizontal.out_origin + (first + i) * horizontal.out_step;
                    let y = out.slice(pixel * c + at, S::LANES);
                    if new == at {
                        let p = y.as_mut_ptr();
                        S::store(p, if accumulate { S::add(S::load(p), acc[i]) } else { acc[i] });
                    } else {
                        let mut lanes = [0.0f32; 16];
                        S::store(lanes.as_mut_ptr(), acc[i]);
                        for lane in new - at..S::LANES {
                            y[lane] = if accumulate { y[lane] + lanes[lane] } else { lanes[lane] };
                        }
                    }
                }
            }
        }
    }
}

pub(super) fn backward_weight(
    s: &Conv2dShape,
    isa: Isa,
    threads: &Threads,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
    prologue: Prologue<'_>,
    accumulate: bool,
    ws: &mut [f32],
) {
    let region = Region::forward(s);
    let (blocks, c) = (blocks(&region), s.c);
    let direct = is_direct(&region, prologue);
    let band_len = if direct { 0 } else { blocks.band_len(&region, c) };
    let parts = PARTS.min(blocks.count);
    let (sums, bands) = ws.split_at_mut(parts * s.w_len());
    let (shared, bands) = (SharedMut::new(sums), SharedMut::new(bands));
    threads.for_each(parts, |part, worker| {
        // SAFETY: one buffer a worker, one part a task.
        let (band, sums) =
            unsafe { (bands.slice(worker * band_len, band_len), shared.slice(part * s.w_len(), s.w_len())) };
        sums.fill(0.0);
        with_simd!(isa, S => {
            for index in part * blocks.count / parts..(part + 1) * blocks.count / parts {
                let block = blocks.get(&region, index);
                let (view, x) = if direct {
                    (pack::direct(&region, &block), x)
                } else {
                    (pack::band(&region, &block, x, prologue, c, band), &*band)
                };
                // SAFETY: `S` is available and the view lies inside `x`.
                unsafe { sum_products::<S>(&region, &block, &view, x, dy, sums) };
            }
        });
    });
    let taps = region.taps();
    for (channel, dw) in dw.chunks_exact_mut(taps).enumerate() {
        for (tap, dw) in dw.iter_mut().enumerate() {
            let sum: f32 = (0..parts).map(|part| sums[part * s.w_len() + tap * c + channel]).sum();
            *dw = if accumulate { *dw + sum } else { sum };
        }
    }
}

/// Adds the products of one block to `sums`, `[tap][channel]`.
///
/// # Safety
/// `S` is available and `view` is inside `x`.
#[inline(always)]
unsafe fn sum_products<S: Simd>(
    region: &Region,
    block: &Block,
    view: &View,
    x: &[f32],
    dy: &[f32],
    sums: &mut [f32],
) {
    let [vertical, horizontal] = &region.axes;
    let (c, outs) = (region.c, horizontal.outs);
    let first = (block.image * region.out[0] + block.row) * region.out[1] * c;
    let dy = &dy[first..][..block.images * block.rows * outs * c];
    for (at, new) in vectors(c, S::LANES) {
        for r in 0..vertical.taps {
            for t in 0..horizontal.taps {
                // SAFETY: by the caller's promise.
                unsafe {
                    let mut acc = [S::splat(0.0); SIDE];
                    let tap = view.start + r * view.tap_row + t * view.tap_column + at;
                    for row in 0..block.images * block.rows {
                        let start = tap + row / block.rows * view.image + row % block.rows * view.row;
                        let mut x = x.as_ptr().add(start);
                        let mut dy = dy.as_ptr().add(row * outs * c + at);
                        for _ in 0..outs / SIDE {
                            for i in 0..SIDE {
                                let (x, dy) = (x.add(i * view.column), dy.add(i * c));
                                acc[i] = S::fma(S::load(x), S::load(dy), acc[i]);
                            }
                            (x, dy) = (x.wrapping_add(SIDE * view.column), dy.wrapping_add(SIDE * c));
                        }
                        for _ in 0..outs % SIDE {
                            acc[0] = S::fma(S::load(x), S::load(dy), acc[0]);
                            (x, dy) = (x.wrapping_add(view.column), dy.wrapping_add(c));
                        }
                    }
                    let total = S::add(S::add(acc[0], acc[1]), S::add(acc[2], acc[3]));
                    let mut lanes = [0.0f32; 16];
                    S::store(lanes.as_mut_ptr(), total);
                    let sums = &mut sums[(r * horizontal.taps + t) * c + at..][..S::LANES];
                    for lane in new - at..S::LANES {
                        sums[lane] += lanes[lane];
                    }
                }
            }
        }
    }
}
