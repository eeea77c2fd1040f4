//! The weights' gradient: every tile of the input at the points times its tile of the output's gradient, summed over the tiles, then
//! back to the taps.
//!
//! All threads transform a chunk of tiles, then share out the 36 products, each of which adds to its own sums; of many channels, some
//! output channels are done after the others. Both cuts follow from the shape alone.

use super::points::taps;
use super::tiles::{Place, transform_gradient, transform_input};
use super::{GAP, POINTS, region};
use crate::conv::gemm::{Runs, tile, with_tile};
use crate::conv::implicit::store;
use crate::conv::pack::Panels;
use crate::conv::region::Region;
use crate::conv::simd::{Simd, with_simd};
use crate::conv::{Conv2dShape, Pass, Prologue};
use crate::shared::SharedMut;
use crate::{Isa, Threads};
use std::ops::Range;

/// Elements of the sums: 10 MiB, which one pass over the tiles adds to.
const SUMS: usize = 5 << 19;
/// Elements of the transformed tiles of a chunk, 4 MiB, and the bounds of its tiles: enough that a sum is loaded and stored seldom,
/// few enough that a panel stays in the L1 cache.
const CHUNK: usize = 1 << 20;
const TILES: [usize; 2] = [128, 384];
/// Tiles that a task transforms.
const TOGETHER: usize = 4;

struct Plan {
    region: Region,
    rows: usize,
    columns: usize,
    tiles: usize,
    inputs: Panels,
    outputs: Panels,
    /// Tiles of a chunk.
    chunk: usize,
    /// Panels of output channels that are summed together, and their channels.
    slab_panels: usize,
    slab: usize,
}

impl Plan {
    fn new(s: &Conv2dShape, isa: Isa) -> Plan {
        let region = region(s, Pass::BackwardWeight);
        let [rows, columns] = region.axes.map(|axis| axis.outs.div_ceil(4));
        let tiles = region.n * rows * columns;
        let (inputs, outputs) = (Panels::new(s.c, isa), Panels::new(s.k, isa));
        let panel = outputs.width(0);
        let slab_panels = (SUMS / (POINTS * s.c * panel)).clamp(1, outputs.count());
        let slab = (slab_panels * panel).min(s.k);
        let most = (CHUNK / (POINTS * (s.c + slab))).clamp(TILES[0], TILES[1]);
        // Chunks of one size.
        let chunk = tiles.div_ceil(tiles.div_ceil(most));
        Plan { region, rows, columns, tiles, inputs, outputs, chunk, slab_panels, slab }
    }

    fn place(&self, tile: usize) -> Place {
        Place {
            image: tile / (self.rows * self.columns),
            row: 4 * (tile / self.columns % self.rows),
            column: 4 * (tile % self.columns),
        }
    }

    /// Elements of a chunk's input at one point: `[panel][tile][channel]`.
    fn input_stride(&self) -> usize {
        self.chunk * self.region.c + GAP
    }

    /// Elements of a chunk's gradient at one point, likewise.
    fn gradient_stride(&self) -> usize {
        self.chunk * self.slab + GAP
    }

    /// Elements of the sums at one point: `[panel of outputs][input channel][column]`.
    fn sums_stride(&self) -> usize {
        self.region.c * self.slab + GAP
    }

    /// Where channel `at` of tile `slot` of a chunk that begins at panel `first` lies in `[panel][tile][channel]`.
    #[inline(always)]
    fn slot(&self, panels: &Panels, first: usize, slot: usize, at: usize) -> usize {
        let panel = panels.of(at);
        let start = panels.first(panel);
        (start - panels.first(first)) * self.chunk + slot * panels.width(panel) + at - start
    }

    fn zeros_len(&self) -> usize {
        self.region.c.max(self.region.k)
    }
}

pub(super) fn workspace(s: &Conv2dShape, isa: Isa) -> usize {
    let plan = Plan::new(s, isa);
    plan.zeros_len() + POINTS * (plan.sums_stride() + plan.input_stride() + plan.gradient_stride())
}

pub(in crate::conv) fn backward_weight(
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
    let plan = &Plan::new(s, isa);
    let (zeros, ws) = ws.split_at_mut(plan.zeros_len());
    let (sums, ws) = ws.split_at_mut(POINTS * plan.sums_stride());
    let (inputs, gradients) = ws.split_at_mut(POINTS * plan.input_stride());
    zeros.fill(0.0);
    for start in (0..plan.outputs.count()).step_by(plan.slab_panels) {
        let slab = start..plan.outputs.count().min(start + plan.slab_panels);
        for first in (0..plan.tiles).step_by(plan.chunk) {
            let tiles = first..plan.tiles.min(first + plan.chunk);
            transform(plan, isa, threads, tiles.clone(), &slab, x, dy, prologue, zeros, inputs, gradients);
            add_products(plan, isa, threads, tiles, &slab, inputs, gradients, sums);
        }
        finish(plan, isa, threads, &slab, sums, dw, accumulate);
    }
}

/// A chunk of tiles of the input, and of the output's gradient in the channels of `slab`, at the points.
fn transform(
    plan: &Plan,
    isa: Isa,
    threads: &Threads,
    tiles: Range<usize>,
    slab: &Range<usize>,
    x: &[f32],
    dy: &[f32],
    prologue: Prologue<'_>,
    zeros: &[f32],
    inputs: &mut [f32],
    gradients: &mut [f32],
) {
    let (inputs, gradients) = (SharedMut::new(inputs), SharedMut::new(gradients));
    let channels = plan.outputs.first(slab.start)..plan.outputs.end(slab.end - 1);
    threads.for_each(tiles.len().div_ceil(TOGETHER), |task, _| {
        with_simd!(isa, S => {
            for slot in task * TOGETHER..tiles.len().min((task + 1) * TOGETHER) {
                let (region, place) = (&plan.region, plan.place(tiles.start + slot));
                // SAFETY: `S` is available, and the tile is this task's.
                unsafe {
                    let (stride, to) = (plan.input_stride(), |at| plan.slot(&plan.inputs, 0, slot, at));
                    transform_input::<S>(region, stride, place, x, prologue, zeros, inputs, to);
                    let (stride, to) =
                        (plan.gradient_stride(), |at| plan.slot(&plan.outputs, slab.start, slot, at));
                    transform_gradient::<S>(region, stride, place, channels.clone(), dy, zeros, gradients, to);
                }
            }
        });
    });
}

/// Adds the products of a chunk to the sums, which the first chunk's replace.
fn add_products(
    plan: &Plan,
    isa: Isa,
    threads: &Threads,
    tiles: Range<usize>,
    slab: &Range<usize>,
    inputs: &[f32],
    gradients: &[f32],
    sums: &mut [f32],
) {
    let sums = SharedMut::new(sums);
    // A task has some panels of outputs at one point: two, or a quarter of them.
    let group = slab.len().div_ceil(4).max(2);
    let groups = slab.len().div_ceil(group);
    threads.for_each(POINTS * groups, |task, _| {
        let (point, start) = (task / groups, slab.start + task % groups * group);
        let input = &inputs[point * plan.input_stride()..];
        with_simd!(isa, S => {
            for panel in start..slab.end.min(start + group) {
                let (width, vectors) = (plan.outputs.width(panel), plan.outputs.vectors(panel));
                let column = plan.outputs.first(panel) - plan.outputs.first(slab.start);
                let gradient =
                    &gradients[point * plan.gradient_stride() + column * plan.chunk..][..tiles.len() * width];
                let at = point * plan.sums_stride() + column * plan.region.c;
                // SAFETY: `S` is available, and a panel's sums at a point are this task's.
                unsafe {
                    let sums = sums.slice(at, plan.region.c * width);
                    multiply::<S>(plan, tiles.len(), vectors, input, gradient, sums, tiles.start > 0);
                }
            }
        });
    });
}

/// Adds (or stores, unless `add`) the products of `count` tiles at one point for one panel of output channels to `sums`, `[input
/// channel][column]`.
///
/// # Safety
/// `S` is available.
#[inline(always)]
unsafe fn multiply<S: Simd>(
    plan: &Plan,
    count: usize,
    vectors: usize,
    input: &[f32],
    gradient: &[f32],
    sums: &mut [f32],
    add: bool,
) {
    let width = vectors * S::LANES;
    assert!(gradient.len() >= count * width);
    for panel in 0..plan.inputs.count() {
        let (first, channels) = (plan.inputs.first(panel), plan.inputs.width(panel));
        let a = &input[first * plan.chunk..][..count * channels];
        let sums = &mut sums[first * width..][..channels * width];
        let runs = Runs { outer: 1, outer_stride: 0, inner: 1, inner_stride: 0, len: count, step: channels };
        let mut done = 0;
        while done < channels {
            let rows = S::ROWS.min(channels - done);
            with_tile!(S, rows, vectors, MR, NV => {
                // SAFETY: each of `count` tiles has `channels` inputs and `width` gradients.
                unsafe {
                    let a: [*const f32; MR] = std::array::from_fn(|i| a.as_ptr().add(done + i));
                    let acc = tile::<S, MR, NV>(a, &runs, runs.cursor(0), count, gradient.as_ptr());
                    for (acc, sums) in acc.into_iter().zip(sums[done * width..].chunks_exact_mut(width)) {
                        store::<S, NV>(sums, acc, add);
                    }
                }
            });
            done += rows;
        }
    }
}

/// Takes the sums of the output channels of `slab` back to the taps of `dw`.
fn finish(
    plan: &Plan,
    isa: Isa,
    threads: &Threads,
    slab: &Range<usize>,
    sums: &[f32],
    dw: &mut [f32],
    accumulate: bool,
) {
    /// Input channels of a task: 4 KiB of a panel's sums at one point.
    const ROWS: usize = 64;
    let (c, out) = (plan.region.c, SharedMut::new(dw));
    let row_tasks = c.div_ceil(ROWS);
    threads.for_each(slab.len() * row_tasks, |task, _| {
        let (panel, first) = (slab.start + task / row_tasks, task % row_tasks * ROWS);
        let (k, width) = (plan.outputs.first(panel), plan.outputs.width(panel));
        let start = (k - plan.outputs.first(slab.start)) * c;
        with_simd!(isa, S => {
            for row in first..c.min(first + ROWS) {
                for j in (0..width).step_by(S::LANES) {
                    let at = start + row * width + j;
                    assert!((POINTS - 1) * plan.sums_stride() + at + S::LANES <= sums.len());
                    let mut values = [[0.0f32; 16]; 9];
                    // SAFETY: `S` is available and has at most 16 lanes; every sum has a vector by the assertion.
                    unsafe {
                        let mut half = [[S::splat(0.0); 6]; 3];
                        for column in 0..6 {
                            let u = [0, 1, 2, 3, 4, 5].map(|row| {
                                S::load(sums.as_ptr().add((6 * row + column) * plan.sums_stride() + at))
                            });
                            for (half, value) in half.iter_mut().zip(taps::<S>(u)) {
                                half[column] = value;
                            }
                        }
                        for (row, half) in half.into_iter().enumerate() {
                            for (column, value) in taps::<S>(half).into_iter().enumerate() {
                                S::store(values[3 * row + column].as_mut_ptr(), value);
                            }
                        }
                    }
                    for lane in 0..S::LANES {
                        // SAFETY: the taps of a pair of channels are one task's.
                        let dw = unsafe { out.slice(((k + j + lane) * c + row) * 9, 9) };
                        for (dw, values) in dw.iter_mut().zip(&values) {
                            *dw = if accumulate { *dw + values[lane] } else { values[lane] };
                        }
                    }
                }
            }
        });
    });
}
