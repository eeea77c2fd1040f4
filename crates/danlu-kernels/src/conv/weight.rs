//! The weights' gradient as a matrix product: (taps x input channels) x output pixels by output pixels x output channels.

use super::gemm::{Runs, chain, tile, with_tile};
use super::implicit::store;
use super::pack::{self, Panels, View};
use super::region::{Block, Blocks, Region};
use super::simd::{Simd, lanes, with_simd};
use super::{Conv2dShape, Prologue};
use crate::shared::SharedMut;
use crate::{Isa, Threads};

/// Elements of a band.
const BAND: usize = 64 * 1024;
/// Elements of all partial sums: 2 MiB, which the L3 cache holds.
const PARTS: usize = 512 * 1024;
/// Tasks that are enough for the threads to finish together.
const TASKS: usize = 16;

/// How the work is cut: `parts` sums over contiguous ranges of blocks, each in `groups` of panels of output channels.
struct Plan {
    region: Region,
    blocks: Blocks,
    panels: Panels,
    parts: usize,
    groups: usize,
    group_panels: usize,
    /// Elements of a pixel in the band.
    pixel: usize,
    lanes: usize,
}

impl Plan {
    fn new(s: &Conv2dShape, isa: Isa) -> Plan {
        let region = Region::forward(s);
        // Pixels an even number of cache lines apart would fall into the same few sets of the L1 cache.
        let pixel = if s.c < 32 { s.c } else { s.c.next_multiple_of(32) + 16 };
        let blocks = Blocks::new(&region, (region.pixels() / 32).clamp(32, 256), BAND, pixel);
        let panels = Panels::new(s.k, isa);
        let parts = (PARTS / (region.depth() * panels.padded())).clamp(1, TASKS).min(blocks.count);
        let group_panels = panels.count().div_ceil(TASKS.div_ceil(parts));
        let groups = panels.count().div_ceil(group_panels);
        Plan { region, blocks, panels, parts, groups, group_panels, pixel, lanes: lanes(isa) }
    }

    /// Elements of the sums of one task.
    fn sums_len(&self) -> usize {
        let columns = 2 * self.lanes * self.group_panels;
        self.region.depth() * columns.min(self.panels.padded())
    }

    /// Elements of a worker's packed gradient of the output.
    fn dy_len(&self) -> usize {
        self.blocks.pixels(&self.region) * 2 * self.lanes
    }

    fn is_direct(&self, prologue: Prologue<'_>) -> bool {
        self.region.is_inside() && matches!(prologue, Prologue::None)
    }
}

pub(super) fn workspace(s: &Conv2dShape, isa: Isa, threads: usize) -> usize {
    let plan = Plan::new(s, isa);
    let sums = if plan.parts == 1 { threads } else { plan.parts * plan.groups } * plan.sums_len();
    sums + threads * (plan.dy_len() + plan.blocks.band_len(&plan.region, plan.pixel))
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
    let plan = Plan::new(s, isa);
    let (region, blocks, panels) = (&plan.region, &plan.blocks, &plan.panels);
    let depth = region.depth();
    let direct = plan.is_direct(prologue);
    let band_len = if direct { 0 } else { blocks.band_len(region, plan.pixel) };
    let (bands, ws) = ws.split_at_mut(threads.count() * band_len);
    let (packed, sums) = ws.split_at_mut(threads.count() * plan.dy_len());
    let (bands, packed, sums) = (SharedMut::new(bands), SharedMut::new(packed), SharedMut::new(sums));
    let out = SharedMut::new(dw);
    threads.for_each(plan.parts * plan.groups, |task, worker| {
        let (part, group) = (task / plan.groups, task % plan.groups);
        let slot = if plan.parts == 1 { worker } else { task };
        // SAFETY: buffers are a worker's, or a task's.
        let (band, packed, sums) = unsafe {
            (
                bands.slice(worker * band_len, band_len),
                packed.slice(worker * plan.dy_len(), plan.dy_len()),
                sums.slice(slot * plan.sums_len(), plan.sums_len()),
            )
        };
        let first_panel = group * plan.group_panels;
        let group_panels = first_panel..panels.count().min(first_panel + plan.group_panels);
        with_simd!(isa, S => {
            let first = part * blocks.count / plan.parts;
            for index in first..(part + 1) * blocks.count / plan.parts {
                let block = blocks.get(region, index);
                let (view, x) = if direct {
                    (pack::direct(region, &block), x)
                } else {
                    (pack::band(region, &block, x, prologue, plan.pixel, band), &*band)
                };
                for panel in group_panels.clone() {
                    let sums = &mut sums[panels.first(panel - first_panel) * depth..];
                    pack_gradient(region, &block, panels, panel, plan.lanes, dy, packed);
                    // SAFETY: `S` is available and the view lies inside `x`.
                    unsafe {
                        product::<S>(region, &block, &view, x, packed, panels.vectors(panel), sums, index > first);
                    }
                }
            }
        });
        if plan.parts == 1 {
            for panel in group_panels {
                let sums = &sums[panels.first(panel - first_panel) * depth..];
                unpack(&plan, panel, sums, out, accumulate);
            }
        }
    });
    if plan.parts > 1 {
        let (groups, sums_len) = (plan.groups, plan.sums_len());
        threads.for_each(panels.count(), |panel, _| {
            let group = panel / plan.group_panels;
            let start = group * sums_len + panels.first(panel - group * plan.group_panels) * depth;
            let len = panels.vectors(panel) * plan.lanes * depth;
            // SAFETY: all products are done, and a panel's sums in every part are this task's.
            let part = |part: usize| unsafe { sums.slice(part * groups * sums_len + start, len) };
            let total = part(0);
            for other in (1..plan.parts).map(part) {
                for (total, value) in total.iter_mut().zip(other) {
                    *total += *value;
                }
            }
            unpack(&plan, panel, total, out, accumulate);
        });
    }
}

/// The columns of one panel of the output's gradient in a block, `[pixel][column]`, zero in the tail.
#[inline(always)]
fn pack_gradient(
    region: &Region,
    block: &Block,
    panels: &Panels,
    panel: usize,
    lanes: usize,
    dy: &[f32],
    packed: &mut [f32],
) {
    let (first, width) = (panels.first(panel), panels.width(panel));
    let padded = panels.vectors(panel) * lanes;
    let row = region.out[1] * region.k;
    let dy = &dy[(block.image * region.out[0] + block.row) * row..][..block.images * block.rows * row];
    for (pixel, out) in dy.chunks_exact(region.k).zip(packed.chunks_exact_mut(padded)) {
        out[..width].copy_from_slice(&pixel[first..first + width]);
        out[width..].fill(0.0);
    }
}

/// Adds (or stores, unless `add`) the sums of one block and panel to `sums`, `[tap][input channel][column]`.
///
/// # Safety
/// `S` is available and `view` is inside `x`.
#[inline(always)]
unsafe fn product<S: Simd>(
    region: &Region,
    block: &Block,
    view: &View,
    x: &[f32],
    packed: &[f32],
    vectors: usize,
    sums: &mut [f32],
    add: bool,
) {
    let [vertical, horizontal] = &region.axes;
    let columns = horizontal.outs;
    let runs = Runs {
        outer: block.images,
        outer_stride: view.image,
        inner: block.rows,
        inner_stride: view.row,
        len: columns,
        step: view.column,
    }
    .merged();
    let (pixels, depth, padded) = (runs.total(), region.depth(), vectors * S::LANES);
    let chunk_len = pixels.div_ceil(pixels.div_ceil(chain::<S>()));
    for chunk in (0..pixels).step_by(chunk_len) {
        let count = chunk_len.min(pixels - chunk);
        let b = &packed[chunk * padded..][..count * padded];
        let cursor = runs.cursor(chunk);
        let (mut channel, mut column, mut row) = (0, 0, 0);
        let mut done = 0;
        while done < depth {
            let rows = S::ROWS.min(depth - done);
            let mut a_at = [0; 12];
            for at in &mut a_at[..rows] {
                *at = view.start + row * view.tap_row + column * view.tap_column + channel;
                channel += 1;
                if channel == region.c {
                    channel = 0;
                    column += 1;
                    if column == horizontal.taps {
                        column = 0;
                        row += 1;
                    }
                }
            }
            with_tile!(S, rows, vectors, MR, NV => {
                let sums = &mut sums[done * padded..][..MR * padded];
                // SAFETY: the caller's view covers every tap of every pixel of the block.
                unsafe {
                    let a: [*const f32; MR] = std::array::from_fn(|i| x.as_ptr().add(a_at[i]));
                    let acc = tile::<S, MR, NV>(a, &runs, cursor, count, b.as_ptr());
                    for (acc, sums) in acc.into_iter().zip(sums.chunks_exact_mut(padded)) {
                        store::<S, NV>(sums, acc, add || chunk > 0);
                    }
                }
            });
            done += rows;
            debug_assert!(row < vertical.taps || done == depth);
        }
    }
}

/// Writes the sums of one panel, `[tap][input channel][column]`, to the weights' gradient.
fn unpack(plan: &Plan, panel: usize, sums: &[f32], out: SharedMut<'_, f32>, accumulate: bool) {
    let region = &plan.region;
    let (taps, padded) = (region.taps(), plan.panels.vectors(panel) * plan.lanes);
    for column in 0..plan.panels.width(panel) {
        let k = plan.panels.first(panel) + column;
        // SAFETY: every output channel belongs to one panel, and every panel to one task.
        let dw = unsafe { out.slice(k * region.depth(), region.depth()) };
        for (c, dw) in dw.chunks_exact_mut(taps).enumerate() {
            for (tap, dw) in dw.iter_mut().enumerate() {
                let value = sums[(tap * region.c + c) * padded + column];
                *dw = if accumulate { *dw + value } else { value };
            }
        }
    }
}
