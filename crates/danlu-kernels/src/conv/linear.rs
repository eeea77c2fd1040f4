//! A kernel that covers its whole input (a linear layer): matrix products between the images and the weights. The weights, by far the
//! largest operand, are read where they lie; it is the images that are packed, in the weights' order of features.

use super::gemm::{Runs, chain, tile, with_tile};
use super::implicit::{Finish, finish_block, finished, store};
use super::pack::Panels;
use super::region::{Block, Region};
use super::simd::{self, Simd, lanes, with_simd};
use super::{Conv2dShape, Epilogue, Pass, Prologue};
use crate::activation::with_act;
use crate::shared::{SharedMut, f64_words};
use crate::{Isa, Threads};
use std::ops::Range;

/// Tasks that are enough for the threads to finish together.
const TASKS: usize = 16;
/// Weights' rows that share a part of the packed images before it leaves the cache, in tiles.
const TILES: usize = 4;
/// Weights' rows that the input gradient packs at a time, and the elements of what it packs and of what it sums: 128 KiB each.
const DEPTH: usize = 128;
const PACKED: usize = 32 * 1024;
/// Elements of the images' features that the weights' gradient keeps in the L2 cache: 256 KiB.
const FEATURES: usize = 64 * 1024;

pub(super) fn suits(s: &Conv2dShape) -> bool {
    s.groups == 1 && s.kernel == [s.h, s.w] && s.padding == [0, 0]
}

/// Features of an image: the weights of an output channel.
fn features(s: &Conv2dShape) -> usize {
    s.c * s.h * s.w
}

/// Output channels of a task.
fn rows(s: &Conv2dShape, isa: Isa, most_tiles: usize) -> usize {
    let tile = simd::rows(isa);
    s.k.div_ceil(TASKS).next_multiple_of(tile).clamp(tile, most_tiles * tile)
}

/// Features of a task of the input gradient.
fn columns(s: &Conv2dShape, isa: Isa) -> usize {
    let panel = 2 * lanes(isa);
    let most = (PACKED / s.n.max(DEPTH) / panel).max(1) * panel;
    features(s).div_ceil(TASKS).next_multiple_of(panel).clamp(panel, most)
}

/// Features of a task of the weights' gradient.
fn gradient_columns(s: &Conv2dShape, isa: Isa) -> usize {
    let panel = 2 * lanes(isa);
    (FEATURES / s.n / panel).clamp(1, 32) * panel
}

/// Images whose outputs are finished together.
const IMAGES: usize = 16;

pub(super) fn workspace(s: &Conv2dShape, isa: Isa, pass: Pass, threads: usize) -> usize {
    let images = Panels::new(s.n, isa).padded();
    match pass {
        Pass::Forward => {
            let stats = f64_words(2 * s.k * s.n.div_ceil(IMAGES));
            images * features(s) + threads * rows(s, isa, TILES) * images + stats
        }
        Pass::BackwardInput => threads * columns(s, isa) * (DEPTH + s.n),
        Pass::BackwardWeight => {
            let packed = Panels::new(features(s), isa).padded() * s.n;
            packed + threads * s.n * rows(s, isa, TILES * TILES)
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
    let tasks = s.n.div_ceil(IMAGES);
    finished(s.k, tasks, epilogue, ws, |finish, ws| {
        let (packed, scratch) = ws.split_at_mut(Panels::new(s.n, isa).padded() * features(s));
        pack_images(s, isa, threads, x, prologue, packed);
        multiply(s, isa, threads, packed, w, y, scratch);
        if matches!(finish, Finish::None) {
            return;
        }
        let (region, out) = (Region::forward(s), SharedMut::new(y));
        threads.for_each(tasks, |task, _| {
            let image = task * IMAGES;
            let block = Block { image, images: IMAGES.min(s.n - image), row: 0, rows: 1 };
            with_simd!(isa, S => finish_block::<S>(&region, &block, task, out, finish));
        });
    });
}

/// The images as columns: `[panel of images][feature][image]`, zero in the tail.
fn pack_images(
    s: &Conv2dShape,
    isa: Isa,
    threads: &Threads,
    x: &[f32],
    prologue: Prologue<'_>,
    packed: &mut [f32],
) {
    /// Channels of a task.
    const CHANNELS: usize = 64;
    let panels = Panels::new(s.n, isa);
    let (features, taps) = (features(s), s.h * s.w);
    let parts = s.c.div_ceil(CHANNELS);
    let out = SharedMut::new(packed);
    threads.for_each(panels.count() * parts, |task, _| {
        let (panel, first) = (task / parts, task % parts * CHANNELS);
        let channels = first..s.c.min(first + CHANNELS);
        let (images, width) = (panels.width(panel), panels.vectors(panel) * lanes(isa));
        // SAFETY: the channels of a panel are one task's.
        let out = unsafe {
            out.slice(panels.first(panel) * features + first * taps * width, channels.len() * taps * width)
        };
        let x = &x[panels.first(panel) * features..][..images * features];
        for (row, out) in out.chunks_exact_mut(width).enumerate() {
            let (channel, tap) = (first + row / taps, row % taps);
            let at = tap * s.c + channel;
            for (out, image) in out.iter_mut().zip(x.chunks_exact(features)) {
                *out = image[at];
            }
            normalize(prologue, channel, &mut out[..images]);
            out[images..].fill(0.0);
        }
    });
}

/// What the prologue makes of values of one channel.
#[inline(always)]
fn normalize(prologue: Prologue<'_>, channel: usize, values: &mut [f32]) {
    if let Prologue::ScaleShift { scale, shift, activation } = prologue {
        with_act!(activation, A => {
            for value in values {
                *value = <A as crate::activation::Act>::value(*value * scale[channel] + shift[channel]);
            }
        });
    }
}

/// `y = x w^T` as `w x^T`: the rows of a tile are output channels, its columns images.
fn multiply(
    s: &Conv2dShape,
    isa: Isa,
    threads: &Threads,
    packed: &[f32],
    w: &[f32],
    y: &mut [f32],
    scratch: &mut [f32],
) {
    let panels = Panels::new(s.n, isa);
    let (depth, rows, images) = (features(s), rows(s, isa, TILES), panels.padded());
    let (scratch, out) = (SharedMut::new(scratch), SharedMut::new(y));
    threads.for_each(s.k.div_ceil(rows), |task, worker| {
        let channels = task * rows..s.k.min((task + 1) * rows);
        // SAFETY: one part a worker.
        let sums = unsafe { scratch.slice(worker * rows * images, rows * images) };
        with_simd!(isa, S => {
            let chunk_len = depth.div_ceil(depth.div_ceil(chain::<S>()));
            let runs = Runs { outer: 1, outer_stride: 0, inner: 1, inner_stride: 0, len: depth, step: 1 };
            for chunk in (0..depth).step_by(chunk_len) {
                let count = chunk_len.min(depth - chunk);
                for panel in 0..panels.count() {
                    let (first, vectors) = (panels.first(panel), panels.vectors(panel));
                    let width = vectors * S::LANES;
                    let b = &packed[first * depth + chunk * width..][..count * width];
                    let sums = &mut sums[first * rows..][..rows * width];
                    let mut done = 0;
                    while done < channels.len() {
                        let tile_rows = S::ROWS.min(channels.len() - done);
                        with_tile!(S, tile_rows, vectors, MR, NV => {
                            // SAFETY: the rows of the tile are `MR` output channels of `depth` weights.
                            unsafe {
                                let a: [*const f32; MR] = std::array::from_fn(|i| {
                                    w[(channels.start + done + i) * depth..][..depth].as_ptr()
                                });
                                let acc = tile::<S, MR, NV>(a, &runs, runs.cursor(chunk), count, b.as_ptr());
                                for (acc, sums) in acc.into_iter().zip(sums[done * width..].chunks_exact_mut(width)) {
                                    store::<S, NV>(sums, acc, chunk > 0);
                                }
                            }
                        });
                        done += tile_rows;
                    }
                }
            }
        });
        for panel in 0..panels.count() {
            let width = panels.vectors(panel) * lanes(isa);
            let sums = &sums[panels.first(panel) * rows..];
            for image in 0..panels.width(panel) {
                let at = (panels.first(panel) + image) * s.k + channels.start;
                // SAFETY: the channels are this task's.
                let y = unsafe { out.slice(at, channels.len()) };
                for (row, y) in y.iter_mut().enumerate() {
                    *y = sums[row * width + image];
                }
            }
        }
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
    let (features, columns, taps) = (features(s), columns(s, isa), s.h * s.w);
    let (scratch, out) = (SharedMut::new(ws), SharedMut::new(dx));
    threads.for_each(features.div_ceil(columns), |task, worker| {
        let range = task * columns..features.min((task + 1) * columns);
        // SAFETY: one part a worker.
        let scratch = unsafe { scratch.slice(worker * columns * (DEPTH + s.n), columns * (DEPTH + s.n)) };
        let (packed, sums) = scratch.split_at_mut(columns * DEPTH);
        let panels = Panels::new(range.len(), isa);
        with_simd!(isa, S => {
            for first in (0..s.k).step_by(DEPTH) {
                let channels = first..s.k.min(first + DEPTH);
                pack_weights::<S>(features, &range, &channels, w, packed);
                // SAFETY: `S` is available.
                unsafe { add_to_input::<S>(s, &panels, &channels, dy, packed, sums) };
            }
        });
        for panel in 0..panels.count() {
            let width = panels.vectors(panel) * lanes(isa);
            let first = range.start + panels.first(panel);
            for (image, sums) in sums[panels.first(panel) * s.n..].chunks_exact(width).take(s.n).enumerate() {
                let sums = &sums[..panels.width(panel)];
                let put = |dx: &mut f32, value: f32| *dx = if accumulate { *dx + value } else { value };
                if taps == 1 {
                    // SAFETY: every feature is one task's.
                    let dx = unsafe { out.slice(image * features + first, sums.len()) };
                    dx.iter_mut().zip(sums).for_each(|(dx, value)| put(dx, *value));
                    continue;
                }
                for (feature, value) in (first..).zip(sums) {
                    let at = image * features + feature % taps * s.c + feature / taps;
                    // SAFETY: as above.
                    put(unsafe { &mut out.slice(at, 1)[0] }, *value);
                }
            }
        }
    });
}

/// Some features of some output channels as `[panel][channel][feature]`, zero in the tail.
#[inline(always)]
fn pack_weights<S: Simd>(
    features: usize,
    range: &Range<usize>,
    channels: &Range<usize>,
    w: &[f32],
    packed: &mut [f32],
) {
    for (row, channel) in channels.clone().enumerate() {
        let line = &w[channel * features..][range.clone()];
        for (panel, line) in line.chunks(2 * S::LANES).enumerate() {
            let width = line.len().next_multiple_of(S::LANES);
            let at = 2 * S::LANES * panel * channels.len() + row * width;
            let out = &mut packed[at..][..width];
            out[..line.len()].copy_from_slice(line);
            out[line.len()..].fill(0.0);
        }
    }
}

/// Adds what some output channels give to `sums`, `[panel][image][feature]`, which the first channels' replace.
///
/// # Safety
/// `S` is available.
#[inline(always)]
unsafe fn add_to_input<S: Simd>(
    s: &Conv2dShape,
    panels: &Panels,
    channels: &Range<usize>,
    dy: &[f32],
    packed: &[f32],
    sums: &mut [f32],
) {
    let count = channels.len();
    let runs = Runs { outer: 1, outer_stride: 0, inner: 1, inner_stride: 0, len: count, step: 1 };
    for panel in 0..panels.count() {
        let (first, vectors) = (panels.first(panel), panels.vectors(panel));
        let width = vectors * S::LANES;
        let b = &packed[first * count..][..count * width];
        let sums = &mut sums[first * s.n..][..s.n * width];
        let mut done = 0;
        while done < s.n {
            let rows = S::ROWS.min(s.n - done);
            with_tile!(S, rows, vectors, MR, NV => {
                // SAFETY: the rows of the tile are `MR` images of `count` gradients.
                unsafe {
                    let a: [*const f32; MR] = std::array::from_fn(|i| {
                        dy[(done + i) * s.k + channels.start..][..count].as_ptr()
                    });
                    let acc = tile::<S, MR, NV>(a, &runs, runs.cursor(0), count, b.as_ptr());
                    for (acc, sums) in acc.into_iter().zip(sums[done * width..].chunks_exact_mut(width)) {
                        store::<S, NV>(sums, acc, channels.start > 0);
                    }
                }
            });
            done += rows;
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
    let features = features(s);
    let panels = Panels::new(features, isa);
    let (packed, scratch) = ws.split_at_mut(panels.padded() * s.n);
    pack_features(s, isa, threads, x, prologue, packed);
    let (packed, scratch, out) = (&*packed, SharedMut::new(scratch), SharedMut::new(dw));
    let (rows, columns) = (rows(s, isa, TILES * TILES), gradient_columns(s, isa));
    let groups = s.k.div_ceil(rows);
    threads.for_each(groups * features.div_ceil(columns), |task, worker| {
        let channels = task % groups * rows..s.k.min((task % groups + 1) * rows);
        let columns = task / groups * columns..features.min((task / groups + 1) * columns);
        // SAFETY: one part a worker.
        let gradient = unsafe { scratch.slice(worker * s.n * rows, s.n * rows) };
        with_simd!(isa, S => {
            // `[tile][image][channel]`: a step of a tile reads its channels next to each other.
            for (at, tile) in channels.clone().step_by(S::ROWS).zip(gradient.chunks_mut(s.n * S::ROWS)) {
                let count = S::ROWS.min(channels.end - at);
                for (image, out) in tile.chunks_exact_mut(S::ROWS).enumerate() {
                    out[..count].copy_from_slice(&dy[image * s.k + at..][..count]);
                }
            }
            // SAFETY: `S` is available, and the channels at these columns are this task's.
            unsafe { weight_products::<S>(s, &panels, channels, columns, gradient, packed, out, accumulate) };
        });
    });
}

/// The images' features as `[panel of features][image][feature]`, zero in the tail.
fn pack_features(
    s: &Conv2dShape,
    isa: Isa,
    threads: &Threads,
    x: &[f32],
    prologue: Prologue<'_>,
    packed: &mut [f32],
) {
    let (features, taps) = (features(s), s.h * s.w);
    let panels = Panels::new(features, isa);
    let out = SharedMut::new(packed);
    threads.for_each(panels.count(), |panel, _| {
        let (first, width) = (panels.first(panel), panels.width(panel));
        let padded = panels.vectors(panel) * lanes(isa);
        // SAFETY: one panel a task.
        let out = unsafe { out.slice(first * s.n, padded * s.n) };
        for (out, image) in out.chunks_exact_mut(padded).zip(x.chunks_exact(features)) {
            if taps == 1 {
                out[..width].copy_from_slice(&image[first..first + width]);
            } else {
                for (feature, out) in (first..).zip(&mut out[..width]) {
                    *out = image[feature % taps * s.c + feature / taps];
                }
            }
            if !matches!(prologue, Prologue::None) {
                for (feature, out) in (first..).zip(&mut out[..width]) {
                    normalize(prologue, feature / taps, std::slice::from_mut(out));
                }
            }
            out[width..].fill(0.0);
        }
    });
}

/// Writes (or adds) the products of some output channels and some features to the weights' gradient.
///
/// # Safety
/// `S` is available and no other task writes these elements.
#[inline(always)]
unsafe fn weight_products<S: Simd>(
    s: &Conv2dShape,
    panels: &Panels,
    channels: Range<usize>,
    columns: Range<usize>,
    gradient: &[f32],
    packed: &[f32],
    out: SharedMut<'_, f32>,
    accumulate: bool,
) {
    let features = features(s);
    let chunk_len = s.n.div_ceil(s.n.div_ceil(chain::<S>()));
    let runs = Runs { outer: 1, outer_stride: 0, inner: 1, inner_stride: 0, len: s.n, step: S::ROWS };
    for (first, tile_of) in channels.clone().step_by(S::ROWS).zip(gradient.chunks(s.n * S::ROWS)) {
        let rows = S::ROWS.min(channels.end - first);
        for panel in panels.of(columns.start)..=panels.of(columns.end - 1) {
            let (column, width, vectors) = (panels.first(panel), panels.width(panel), panels.vectors(panel));
            let padded = vectors * S::LANES;
            for chunk in (0..s.n).step_by(chunk_len) {
                let count = chunk_len.min(s.n - chunk);
                let b = &packed[column * s.n + chunk * padded..][..count * padded];
                with_tile!(S, rows, vectors, MR, NV => {
                    // SAFETY: every image has `ROWS` gradients in the tile, of which `MR` are there.
                    let acc = unsafe {
                        let a: [*const f32; MR] = std::array::from_fn(|i| tile_of[i..][..(s.n - 1) * S::ROWS + 1].as_ptr());
                        tile::<S, MR, NV>(a, &runs, runs.cursor(chunk), count, b.as_ptr())
                    };
                    for (i, acc) in acc.into_iter().enumerate() {
                        // SAFETY: by the caller's promise.
                        unsafe {
                            let dw = out.slice((first + i) * features + column, width);
                            store::<S, NV>(dw, acc, accumulate || chunk > 0);
                        }
                    }
                });
            }
        }
    }
}
