//! The weights' gradient: every tile of the input at the points times its tile of the output's gradient, summed over the tiles, then
//! back to the taps.
//!
//! Of few channels, a task transforms some of its tiles, adds their 36 products to sums of its own within the L2 cache, and goes on; the tasks'
//! sums are added in the end. Of many, all threads transform a chunk of tiles, then share out the 36 products, each of which adds to its own
//! sums; of very many, some output channels are done after the others. All cuts follow from the shape alone.

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
/// Pairs of channels whose sums, 288 KiB, stay in the L2 cache; the parts that then have sums of their own, and the tiles that such
/// a part must have at least.
const PAIRS: usize = 32 * 64;
const PARTS: usize = 16;
const PART_TILES: usize = 16;
/// Elements of the transformed tiles of a part: half of a cache of 1 MiB.
const BATCH: usize = 128 * 1024;

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
    /// Sums that are kept apart; 1 where all threads add to the same.
    parts: usize,
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
        let parts = if s.c * s.k <= PAIRS && tiles >= PARTS * PART_TILES { PARTS } else { 1 };
        let most = if parts > 1 {
            (BATCH / (POINTS * (s.c + s.k))).max(PART_TILES)
        } else {
            (CHUNK / (POINTS * (s.c + slab))).clamp(TILES[0], TILES[1])
        };
        // Chunks of one size.
        let together = tiles.div_ceil(parts);
        let chunk = together.div_ceil(together.div_ceil(most));
        Plan { region, rows, columns, tiles, inputs, outputs, chunk, slab_panels, slab, parts }
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

    /// Elements of the sums of one part.
    fn sums_len(&self) -> usize {
        POINTS * self.sums_stride()
    }

    /// Elements of a chunk's input and gradient at all points.
    fn chunk_len(&self) -> usize {
        POINTS * (self.input_stride() + self.gradient_stride())
    }

    fn zeros_len(&self) -> usize {
        self.region.c.max(self.region.k)
    }
}

pub(super) fn workspace(s: &Conv2dShape, isa: Isa, threads: usize) -> usize {
    let plan = Plan::new(s, isa);
    let chunks = if plan.parts > 1 { threads } else { 1 };
    plan.zeros_len() + plan.parts * plan.sums_len() + chunks * plan.chunk_len()
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
    let (sums, ws) = ws.split_at_mut(plan.parts * plan.sums_len());
    zeros.fill(0.0);
    let operands = &Operands { x, prologue, dy, zeros };
    if plan.parts > 1 {
        add_parts(plan, isa, threads, operands, sums, ws);
        return finish(plan, isa, threads, &(0..plan.outputs.count()), sums, dw, accumulate);
    }
    let (inputs, gradients) = ws.split_at_mut(POINTS * plan.input_stride());
    for start in (0..plan.outputs.count()).step_by(plan.slab_panels) {
        let slab = start..plan.outputs.count().min(start + plan.slab_panels);
        for first in (0..plan.tiles).step_by(plan.chunk) {
            let tiles = first..plan.tiles.min(first + plan.chunk);
            let (to_inputs, to_gradients) = (SharedMut::new(&mut *inputs), SharedMut::new(&mut *gradients));
            threads.for_each(tiles.len().div_ceil(TOGETHER), |task, _| {
                let slots = task * TOGETHER..tiles.len().min((task + 1) * TOGETHER);
                // SAFETY: the tiles are this task's.
                unsafe { transform(plan, isa, first, slots, &slab, operands, to_inputs, to_gradients) };
            });
            add_products(plan, isa, threads, tiles, &slab, inputs, gradients, sums);
        }
        finish(plan, isa, threads, &slab, sums, dw, accumulate);
    }
}

/// What the gradient is made of.
struct Operands<'a> {
    x: &'a [f32],
    prologue: Prologue<'a>,
    dy: &'a [f32],
    /// A pixel beyond the border.
    zeros: &'a [f32],
}

/// Some tiles of a chunk that begins at tile `first`: the input, and the output's gradient in the channels of `slab`, at the points.
///
/// # Safety
/// No other task writes these slots.
unsafe fn transform(
    plan: &Plan,
    isa: Isa,
    first: usize,
    slots: Range<usize>,
    slab: &Range<usize>,
    operands: &Operands<'_>,
    inputs: SharedMut<'_, f32>,
    gradients: SharedMut<'_, f32>,
) {
    let &Operands { x, prologue, dy, zeros } = operands;
    let channels = plan.outputs.first(slab.start)..plan.outputs.end(slab.end - 1);
    with_simd!(isa, S => {
        for slot in slots {
            let (region, place) = (&plan.region, plan.place(first + slot));
            // SAFETY: `S` is available, and the slot is the caller's.
            unsafe {
                let (stride, to) = (plan.input_stride(), |at| plan.slot(&plan.inputs, 0, slot, at));
                transform_input::<S>(region, stride, place, x, prologue, zeros, inputs, to);
                let (stride, to) =
                    (plan.gradient_stride(), |at| plan.slot(&plan.outputs, slab.start, slot, at));
                transform_gradient::<S>(region, stride, place, channels.clone(), dy, zeros, gradients, to);
            }
        }
    });
}

/// The sums of every part, added to those of the first.
fn add_parts(
    plan: &Plan,
    isa: Isa,
    threads: &Threads,
    operands: &Operands<'_>,
    sums: &mut [f32],
    scratch: &mut [f32],
) {
    let (sums, scratch) = (SharedMut::new(sums), SharedMut::new(scratch));
    let slab = 0..plan.outputs.count();
    threads.for_each(plan.parts, |part, worker| {
        // SAFETY: sums are a part's, scratch is a worker's.
        let (sums, scratch) = unsafe {
            (
                sums.slice(part * plan.sums_len(), plan.sums_len()),
                scratch.slice(worker * plan.chunk_len(), plan.chunk_len()),
            )
        };
        let (inputs, gradients) = scratch.split_at_mut(POINTS * plan.input_stride());
        let tiles = part * plan.tiles / plan.parts..(part + 1) * plan.tiles / plan.parts;
        for first in tiles.clone().step_by(plan.chunk) {
            let count = plan.chunk.min(tiles.end - first);
            let (to_inputs, to_gradients) = (SharedMut::new(&mut *inputs), SharedMut::new(&mut *gradients));
            // SAFETY: the scratch is this worker's.
            unsafe { transform(plan, isa, first, 0..count, &slab, operands, to_inputs, to_gradients) };
            let to = SharedMut::new(&mut *sums);
            for point in 0..POINTS {
                // SAFETY: the sums are this part's.
                unsafe {
                    add_point(
                        plan,
                        isa,
                        point,
                        slab.clone(),
                        &slab,
                        count,
                        inputs,
                        gradients,
                        to,
                        first > tiles.start,
                    );
                }
            }
        }
    });
    threads.for_each(POINTS, |point, _| {
        // SAFETY: all products are done, and a point's sums in every part are this task's.
        let part = |part: usize| unsafe {
            sums.slice(part * plan.sums_len() + point * plan.sums_stride(), plan.region.c * plan.slab)
        };
        let total = part(0);
        isa.run(
            #[inline(always)]
            || {
                for other in (1..plan.parts).map(part) {
                    for (total, value) in total.iter_mut().zip(other) {
                        *total += *value;
                    }
                }
            },
        );
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
        let panels = start..slab.end.min(start + group);
        // SAFETY: the sums of these panels at a point are this task's.
        unsafe {
            add_point(plan, isa, point, panels, slab, tiles.len(), inputs, gradients, sums, tiles.start > 0)
        };
    });
}

/// Adds (or stores, unless `add`) the products of `count` tiles at one point for some panels of output channels.
///
/// # Safety
/// No other task has the sums of these panels at this point.
unsafe fn add_point(
    plan: &Plan,
    isa: Isa,
    point: usize,
    panels: Range<usize>,
    slab: &Range<usize>,
    count: usize,
    inputs: &[f32],
    gradients: &[f32],
    sums: SharedMut<'_, f32>,
    add: bool,
) {
    let input = &inputs[point * plan.input_stride()..];
    with_simd!(isa, S => {
        for panel in panels {
            let (width, vectors) = (plan.outputs.width(panel), plan.outputs.vectors(panel));
            let column = plan.outputs.first(panel) - plan.outputs.first(slab.start);
            let gradient = &gradients[point * plan.gradient_stride() + column * plan.chunk..][..count * width];
            let at = point * plan.sums_stride() + column * plan.region.c;
            // SAFETY: `S` is available; by the caller's promise.
            unsafe {
                let sums = sums.slice(at, plan.region.c * width);
                multiply::<S>(plan, count, vectors, input, gradient, sums, add);
            }
        }
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
