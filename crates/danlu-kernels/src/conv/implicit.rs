//! Convolution and input gradient as matrix products whose left operand is the input itself: the rows of a tile are pointers to
//! pixels, and the sum runs over the taps beside them.

use super::gemm::{Runs, chain, tile, with_tile};
use super::pack::{self, Panels, View};
use super::region::{Block, Blocks, Region};
use super::simd::{Simd, with_simd};
use super::{Conv2dShape, Epilogue, Pass, Prologue};
use crate::activation::{Act, with_act};
use crate::columns;
use crate::shared::{SharedMut, as_f64, f64_words};
use crate::{Isa, Threads};

/// Elements of a band: 256 KiB, and twice that where pixels are padded; an L2 cache has 512 KiB or more.
const BAND: usize = 64 * 1024;

/// Some 64 tasks, so that threads finish together, of at least 64 pixels each: every block reads all weights.
fn blocks(region: &Region) -> Blocks {
    let band = if collides(region) { 2 * BAND } else { BAND };
    Blocks::new(region, (region.pixels() / 64).clamp(64, 1024), band, pixel(region))
}

/// Whether the rows of a tile, pixels next to each other, would all fall into one set of the L1 cache.
fn collides(region: &Region) -> bool {
    region.c.is_multiple_of(1024)
}

/// Elements of a pixel in the band.
fn pixel(region: &Region) -> usize {
    region.c + if collides(region) { 16 } else { 0 }
}

/// Whether the input can be read where it lies, whatever the prologue.
fn lies_well(region: &Region) -> bool {
    region.is_inside() && !collides(region)
}

fn is_direct(region: &Region, prologue: Prologue<'_>) -> bool {
    lies_well(region) && matches!(prologue, Prologue::None)
}

pub(super) fn workspace(s: &Conv2dShape, isa: Isa, pass: Pass, threads: usize) -> usize {
    match pass {
        Pass::Forward => {
            let region = Region::forward(s);
            let blocks = blocks(&region);
            let stats = f64_words(2 * s.k * blocks.count);
            pack::weights_len(&region, isa) + threads * blocks.band_len(&region, pixel(&region)) + stats
        }
        _ => Region::phases(s)
            .filter(|region| region.taps() > 0)
            .map(|region| {
                let band =
                    if lies_well(&region) { 0 } else { blocks(&region).band_len(&region, pixel(&region)) };
                pack::weights_len(&region, isa) + threads * band
            })
            .max()
            .unwrap_or(0),
    }
}

/// What is done to a block of output after its last sum, while it is in the cache.
#[derive(Clone, Copy)]
pub(super) enum Finish<'a> {
    None,
    BiasAct { bias: Option<&'a [f32]>, residual: Option<&'a [f32]>, activation: crate::Activation },
    Stats { parts: SharedMut<'a, f64> },
}

impl<'a> Finish<'a> {
    /// `parts` receives the sums of each task.
    pub(super) fn new(epilogue: &Epilogue<'a>, parts: &'a mut [f64]) -> Finish<'a> {
        match *epilogue {
            Epilogue::None => Finish::None,
            Epilogue::BiasAct { bias, residual, activation } => {
                Finish::BiasAct { bias, residual, activation }
            }
            Epilogue::Stats { .. } => Finish::Stats { parts: SharedMut::new(parts) },
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

/// Runs a forward pass of `tasks` tasks over `k` channels with the epilogue as its finish. Statistics are kept by task at the end
/// of `ws` and added in the order of the tasks, so that the number of threads does not change a bit.
pub(super) fn finished(
    k: usize,
    tasks: usize,
    epilogue: Epilogue<'_>,
    ws: &mut [f32],
    run: impl FnOnce(Finish<'_>, &mut [f32]),
) {
    let (ws, stats) = ws.split_at_mut(ws.len() - f64_words(2 * k * tasks));
    let parts = as_f64(stats, 2 * k * tasks);
    run(Finish::new(&epilogue, parts), ws);
    if let Epilogue::Stats { sum, sum_sq } = epilogue {
        columns::add_parts(parts, sum, sum_sq);
    }
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

/// Clears the pixels of a phase that no output sees.
pub(super) fn zero(region: &Region, threads: &Threads, y: &mut [f32]) {
    let [vertical, horizontal] = region.axes;
    let out = SharedMut::new(y);
    threads.for_each(region.n * vertical.outs, |task, _| {
        let (n, o) = (task / vertical.outs, task % vertical.outs);
        let row = n * region.out[0] + vertical.out_origin + o * vertical.out_step;
        for q in 0..horizontal.outs {
            let pixel = row * region.out[1] + horizontal.out_origin + q * horizontal.out_step;
            // SAFETY: every pixel of a phase belongs to one task.
            unsafe { out.slice(pixel * region.k, region.k) }.fill(0.0);
        }
    });
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
    let blocks = blocks(region);
    let (packed, bands) = ws.split_at_mut(pack::weights_len(region, isa));
    pack::weights(region, isa, threads, w, packed);
    let (packed, bands) = (&*packed, SharedMut::new(bands));
    let out = SharedMut::new(y);
    let direct = is_direct(region, prologue);
    let band_len = if direct { 0 } else { blocks.band_len(region, pixel(region)) };
    threads.for_each(blocks.count, |task, worker| {
        let block = blocks.get(region, task);
        // SAFETY: one buffer a worker.
        let band = unsafe { bands.slice(worker * band_len, band_len) };
        with_simd!(isa, S => {
            let (view, x) = if direct {
                (pack::direct(region, &block), x)
            } else {
                (pack::band(region, &block, x, prologue, pixel(region), band), &*band)
            };
            // SAFETY: `S` is available; the view lies inside `x`, and blocks write disjoint pixels.
            unsafe { product::<S>(region, isa, &block, &view, x, packed, out, accumulate) };
            finish_block::<S>(region, &block, task, out, finish);
        });
    });
}

/// The output pixels of a block in order, with where each reads and writes.
struct Walk {
    a: usize,
    y: usize,
    row: usize,
    column: usize,
}

/// All sums of one block.
///
/// # Safety
/// `S` is available, `view` is inside `x`, and no other task writes the block's pixels.
#[inline(always)]
unsafe fn product<S: Simd>(
    region: &Region,
    isa: Isa,
    block: &Block,
    view: &View,
    x: &[f32],
    packed: &[f32],
    out: SharedMut<'_, f32>,
    accumulate: bool,
) {
    let [vertical, horizontal] = &region.axes;
    let (columns, k, depth) = (horizontal.outs, region.k, region.depth());
    let runs = Runs {
        outer: vertical.taps,
        outer_stride: view.tap_row,
        inner: horizontal.taps,
        inner_stride: view.tap_column,
        len: region.c,
        step: 1,
    }
    .merged();
    let panels = Panels::new(k, isa);
    let pixels = block.images * block.rows * columns;
    let pixel_at = |image: usize, row: usize| {
        ((image * region.out[0] + vertical.out_origin + row * vertical.out_step) * region.out[1]
            + horizontal.out_origin)
            * k
    };
    let start = Walk { a: view.start, y: pixel_at(block.image, block.row), row: 0, column: 0 };
    let y_column = horizontal.out_step * k;
    let chunks = depth.div_ceil(chain::<S>());
    let chunk_len = depth.div_ceil(chunks);
    for panel in 0..panels.count() {
        let (vectors, width) = (panels.vectors(panel), panels.width(panel));
        for chunk in (0..depth).step_by(chunk_len) {
            let count = chunk_len.min(depth - chunk);
            let b = &packed[panels.first(panel) * depth + chunk * vectors * S::LANES..]
                [..count * vectors * S::LANES];
            let cursor = runs.cursor(chunk);
            let add = accumulate || chunk > 0;
            let mut walk = Walk { ..start };
            let mut image = 0;
            let mut done = 0;
            while done < pixels {
                let rows = S::ROWS.min(pixels - done);
                let (mut a_at, mut y_at) = ([0; 12], [0; 12]);
                for i in 0..rows {
                    (a_at[i], y_at[i]) = (walk.a, walk.y);
                    walk.column += 1;
                    walk.a += view.column;
                    walk.y += y_column;
                    if walk.column == columns {
                        walk.column = 0;
                        walk.row += 1;
                        if walk.row == block.rows {
                            walk.row = 0;
                            image += 1;
                        }
                        walk.a = view.start + image * view.image + walk.row * view.row;
                        walk.y = pixel_at(block.image + image, block.row + walk.row);
                    }
                }
                with_tile!(S, rows, vectors, MR, NV => {
                    // SAFETY: the caller's view covers every tap of every pixel of the block.
                    let acc = unsafe {
                        // The lines that are stored below are on their way while the tile is summed.
                        for at in &y_at[..MR] {
                            for j in 0..NV {
                                S::prefetch_to_write(out.as_mut_ptr().wrapping_add(at + panels.first(panel) + j * S::LANES));
                            }
                        }
                        let a: [*const f32; MR] = std::array::from_fn(|i| x.as_ptr().add(a_at[i]));
                        tile::<S, MR, NV>(a, &runs, cursor, count, b.as_ptr())
                    };
                    for i in 0..MR {
                        // SAFETY: the pixel belongs to this block.
                        unsafe { store::<S, NV>(out.slice(y_at[i] + panels.first(panel), width), acc[i], add) };
                    }
                });
                done += rows;
            }
        }
    }
}

/// Stores or adds the first elements of a row of a tile.
///
/// # Safety
/// `S` is available.
#[inline(always)]
pub(super) unsafe fn store<S: Simd, const NV: usize>(y: &mut [f32], row: [S::V; NV], add: bool) {
    // SAFETY: a full row has `NV` vectors, the buffer has the most that there can be.
    unsafe {
        if y.len() == NV * S::LANES {
            for j in 0..NV {
                let p = y.as_mut_ptr().add(j * S::LANES);
                S::store(p, if add { S::add(S::load(p), row[j]) } else { row[j] });
            }
        } else {
            let mut buffer = [0.0f32; 32];
            for j in 0..NV {
                S::store(buffer.as_mut_ptr().add(j * S::LANES), row[j]);
            }
            for (y, v) in y.iter_mut().zip(buffer) {
                *y = if add { *y + v } else { v };
            }
        }
    }
}

#[inline(always)]
pub(super) fn finish_block<S: Simd>(
    region: &Region,
    block: &Block,
    task: usize,
    out: SharedMut<'_, f32>,
    finish: Finish<'_>,
) {
    let (k, row) = (region.k, region.out[1] * region.k);
    let start = (block.image * region.out[0] + block.row) * row;
    // SAFETY: a forward block is some rows of an image or whole images, and no other task's.
    let y = unsafe {
        out.slice(start, if matches!(finish, Finish::None) { 0 } else { block.images * block.rows * row })
    };
    match finish {
        Finish::None => {}
        Finish::BiasAct { bias, residual, activation } => {
            let residual = residual.map(|residual| &residual[start..start + y.len()]);
            with_act!(activation, A => bias_act::<S, A>(y, k, bias, residual));
        }
        Finish::Stats { parts } => {
            // SAFETY: one part a task; `S` is available.
            unsafe {
                let part = parts.slice(2 * k * task, 2 * k);
                let (sum, sum_sq) = part.split_at_mut(k);
                columns::moments::<S>(y, sum, sum_sq);
            }
        }
    }
}

/// `y = activation(y + residual + bias)`, some rows at a time with a vector of the bias in a register; called compiled for `S`.
#[inline(always)]
fn bias_act<S: Simd, A: Act>(y: &mut [f32], k: usize, bias: Option<&[f32]>, residual: Option<&[f32]>) {
    assert!(y.len().is_multiple_of(k) && bias.is_none_or(|b| b.len() == k));
    assert!(residual.is_none_or(|r| r.len() == y.len()));
    let whole = k - k % S::LANES;
    let short = columns::together(k) * k;
    for first in (0..y.len()).step_by(short) {
        let end = y.len().min(first + short);
        for c in (0..whole).step_by(S::LANES) {
            // SAFETY: `S` is available; `c + LANES <= k`, and every row is inside the slices.
            unsafe {
                let bias = bias.map(|bias| S::load(bias.as_ptr().add(c)));
                for at in (first + c..end).step_by(k) {
                    let mut z = S::load(y.as_ptr().add(at));
                    if let Some(residual) = residual {
                        z = S::add(z, S::load(residual.as_ptr().add(at)));
                    }
                    if let Some(bias) = bias {
                        z = S::add(z, bias);
                    }
                    S::store(y.as_mut_ptr().add(at), A::values::<S>(z));
                }
            }
        }
        for c in whole..k {
            for at in (first + c..end).step_by(k) {
                let z = y[at] + residual.map_or(0.0, |r| r[at]);
                y[at] = A::value(bias.map_or(z, |bias| z + bias[c]));
            }
        }
    }
}
