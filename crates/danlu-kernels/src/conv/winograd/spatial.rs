//! The forward pass and the input gradient: batches of tiles are transformed, multiplied and transformed back within the L2 cache.

use super::points::at_points;
use super::tiles::{Place, transform_input, transform_output};
use super::{GAP, POINTS, region};
use crate::conv::gemm::{Runs, tile, with_tile};
use crate::conv::implicit::{Finish, finish_block, finished, store};
use crate::conv::pack::Panels;
use crate::conv::region::{Block, Region};
use crate::conv::simd::{Simd, lanes, with_simd};
use crate::conv::{Conv2dShape, Epilogue, Pass, Prologue};
use crate::shared::{SharedMut, f64_words};
use crate::{Isa, Threads};
use std::ops::Range;

/// Most elements of the transformed weights: 12 MiB, of which every task reads all. Of more than that, some output channels are done
/// after the others.
const WEIGHTS: usize = 3 << 20;
/// Elements of the transformed input of one block: half of a 1 MiB L2 cache.
const INPUT: usize = 128 * 1024;

/// The tiles of the output, and how they are cut into tasks: whole rows of tiles of one image, or whole images.
struct Grid {
    images: usize,
    height: usize,
    rows: usize,
    columns: usize,
    task_images: usize,
    task_rows: usize,
    bands: usize,
    tasks: usize,
    /// Tiles that are transformed together.
    batch: usize,
}

impl Grid {
    fn new(region: &Region) -> Grid {
        let [height, width] = region.axes.map(|axis| axis.outs);
        let (images, rows, columns) = (region.n, height.div_ceil(4), width.div_ceil(4));
        let target = (images * rows * columns / 32).clamp(12, 96);
        let task_images = (target / (rows * columns)).clamp(1, images);
        // Tasks of one size.
        let task_images = images.div_ceil(images.div_ceil(task_images));
        let task_rows = if target >= rows * columns { rows } else { (target / columns).max(1) };
        let bands = rows.div_ceil(task_rows);
        let tiles = task_images * task_rows * columns;
        // Batches of one size, a multiple of the micro-kernel's rows.
        let most = (INPUT / (POINTS * region.c) / 12 * 12).clamp(12, 48);
        let batch = tiles.div_ceil(tiles.div_ceil(most)).next_multiple_of(6);
        Grid {
            images,
            height,
            rows,
            columns,
            task_images,
            task_rows,
            bands,
            tasks: images.div_ceil(task_images) * bands,
            batch,
        }
    }

    /// First image, images, first row of tiles, rows of tiles.
    fn task(&self, index: usize) -> [usize; 4] {
        let (image, row) = (index / self.bands * self.task_images, index % self.bands * self.task_rows);
        [image, self.task_images.min(self.images - image), row, self.task_rows.min(self.rows - row)]
    }

    fn input_stride(&self, region: &Region) -> usize {
        self.batch * region.c + GAP
    }

    fn product_stride(&self, isa: Isa) -> usize {
        self.batch * 2 * lanes(isa) + GAP
    }

    /// Elements of a worker's scratch: transformed input, products of one panel, a pixel of zeros.
    fn worker_len(&self, region: &Region, isa: Isa) -> usize {
        POINTS * (self.input_stride(region) + self.product_stride(isa)) + region.c
    }
}

/// Output channels whose transformed weights are there at the same time, whole panels.
fn slab(region: &Region, isa: Isa) -> usize {
    let panel = 2 * lanes(isa);
    (WEIGHTS / (POINTS * region.c) / panel * panel).clamp(panel, region.k.max(panel)).min(region.k)
}

/// Elements of a panel's weights at one point.
fn weights_stride(region: &Region, width: usize) -> usize {
    region.c * width + GAP
}

/// Elements of the transformed weights of a slab.
fn weights_len(region: &Region, isa: Isa) -> usize {
    let panel = 2 * lanes(isa);
    slab(region, isa).div_ceil(panel) * POINTS * weights_stride(region, panel)
}

/// Where the weights of a panel of a slab begin.
fn weights_start(region: &Region, isa: Isa, panel: usize) -> usize {
    panel * POINTS * weights_stride(region, 2 * lanes(isa))
}

pub(super) fn workspace(s: &Conv2dShape, isa: Isa, pass: Pass, threads: usize) -> usize {
    let region = region(s, pass);
    let grid = Grid::new(&region);
    let stats = if pass == Pass::Forward { f64_words(2 * s.k * grid.tasks) } else { 0 };
    weights_len(&region, isa) + threads * grid.worker_len(&region, isa) + stats
}

pub(in crate::conv) fn forward(
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
    let region = region(s, Pass::Forward);
    let grid = Grid::new(&region);
    finished(s.k, grid.tasks, epilogue, ws, |finish, ws| {
        run(&region, &grid, isa, threads, x, w, y, prologue, false, finish, ws);
    });
}

pub(in crate::conv) fn backward_input(
    s: &Conv2dShape,
    isa: Isa,
    threads: &Threads,
    dy: &[f32],
    w: &[f32],
    dx: &mut [f32],
    accumulate: bool,
    ws: &mut [f32],
) {
    let region = region(s, Pass::BackwardInput);
    let grid = Grid::new(&region);
    run(&region, &grid, isa, threads, dy, w, dx, Prologue::None, accumulate, Finish::None, ws);
}

fn run(
    region: &Region,
    grid: &Grid,
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
    let panels = Panels::new(region.k, isa);
    let slab = slab(region, isa);
    let (weights, scratch) = ws.split_at_mut(weights_len(region, isa));
    let (scratch, out) = (SharedMut::new(scratch), SharedMut::new(y));
    let slab_panels = slab.div_ceil(2 * lanes(isa));
    for first in (0..panels.count()).step_by(slab_panels) {
        let slab = first..panels.count().min(first + slab_panels);
        transform_weights(region, isa, threads, w, slab.clone(), weights);
        let finish = if slab.end == panels.count() { finish } else { Finish::None };
        run_slab(region, grid, isa, threads, x, weights, slab, out, prologue, accumulate, finish, scratch);
    }
}

/// All tiles of the output channels of some panels.
fn run_slab(
    region: &Region,
    grid: &Grid,
    isa: Isa,
    threads: &Threads,
    x: &[f32],
    weights: &[f32],
    slab: Range<usize>,
    out: SharedMut<'_, f32>,
    prologue: Prologue<'_>,
    accumulate: bool,
    finish: Finish<'_>,
    scratch: SharedMut<'_, f32>,
) {
    let panels = Panels::new(region.k, isa);
    let worker_len = grid.worker_len(region, isa);
    threads.for_each(grid.tasks, |task, worker| {
        // SAFETY: one part a worker.
        let scratch = unsafe { scratch.slice(worker * worker_len, worker_len) };
        let (input, rest) = scratch.split_at_mut(POINTS * grid.input_stride(region));
        let (products, zeros) = rest.split_at_mut(POINTS * grid.product_stride(isa));
        zeros.fill(0.0);
        let [image, images, row, rows] = grid.task(task);
        let tiles = images * rows * grid.columns;
        let place = |tile: usize| Place {
            image: image + tile / (rows * grid.columns),
            row: 4 * (row + tile / grid.columns % rows),
            column: 4 * (tile % grid.columns),
        };
        with_simd!(isa, S => {
            for first in (0..tiles).step_by(grid.batch) {
                let count = grid.batch.min(tiles - first);
                let to = SharedMut::new(&mut *input);
                for tile in 0..count {
                    let (stride, place) = (grid.input_stride(region), place(first + tile));
                    // SAFETY: `S` is available, and the scratch is this worker's.
                    unsafe {
                        transform_input::<S>(
                            region, stride, place, x, prologue, zeros, to, |at| tile * region.c + at,
                        );
                    }
                }
                for panel in slab.clone() {
                    let at = weights_start(region, isa, panel - slab.start);
                    // SAFETY: `S` is available, and the tiles of a task are its own.
                    unsafe {
                        multiply::<S>(region, grid, isa, panel, count, input, &weights[at..], products);
                        for tile in 0..count {
                            let width = panels.vectors(panel) * S::LANES;
                            transform_output::<S>(
                                region,
                                grid.product_stride(isa),
                                place(first + tile),
                                &products[tile * width..],
                                panels.first(panel),
                                width,
                                out,
                                accumulate,
                            );
                        }
                    }
                }
            }
            let (row, rows) = (4 * row, (4 * rows).min(grid.height - 4 * row));
            finish_block::<S>(region, &Block { image, images, row, rows }, task, out, finish);
        });
    });
}

/// The weights of some panels at the points, `[panel][point][input channel][column]`.
fn transform_weights(
    region: &Region,
    isa: Isa,
    threads: &Threads,
    w: &[f32],
    slab: Range<usize>,
    out: &mut [f32],
) {
    /// Input channels of a task.
    const ROWS: usize = 16;
    let panels = Panels::new(region.k, isa);
    let [column_stride, row_stride] = region.w_strides;
    let shared = SharedMut::new(out);
    let row_tasks = region.c / ROWS;
    threads.for_each(slab.len() * row_tasks, |task, _| {
        let (panel, first) = (slab.start + task / row_tasks, task % row_tasks * ROWS);
        let width = panels.vectors(panel) * lanes(isa);
        let start = weights_start(region, isa, panel - slab.start);
        // Column by column: the weights of an output channel lie together.
        let mut taps = [[[0.0f32; 32]; 9]; ROWS];
        for column in 0..width {
            for (row, taps) in taps.iter_mut().enumerate() {
                let from = (panels.first(panel) + column) * column_stride + (first + row) * row_stride;
                for (tap, taps) in taps.iter_mut().enumerate() {
                    let row = region.axes[0].tap(tap / 3);
                    taps[column] = w[from + row * region.kernel_w + region.axes[1].tap(tap % 3)];
                }
            }
        }
        with_simd!(isa, S => {
            for (c, taps) in (first..).zip(&taps) {
                for j in (0..width).step_by(S::LANES) {
                    // SAFETY: `S` is available; the rows of the tasks are disjoint.
                    unsafe {
                        let mut half = [[S::splat(0.0); 3]; 6];
                        for column in 0..3 {
                            let g = [0, 1, 2].map(|row| S::load(taps[3 * row + column].as_ptr().add(j)));
                            for (row, value) in at_points::<S>(g).into_iter().enumerate() {
                                half[row][column] = value;
                            }
                        }
                        for (row, half) in half.iter().enumerate() {
                            for (column, value) in at_points::<S>(*half).into_iter().enumerate() {
                                let at = start + (6 * row + column) * weights_stride(region, width) + c * width + j;
                                S::store(shared.slice(at, S::LANES).as_mut_ptr(), value);
                            }
                        }
                    }
                }
            }
        });
    });
}

/// The 36 matrix products of one panel, whose weights are given, `products[point * stride + tile * width + column]`.
///
/// # Safety
/// `S` is available.
#[inline(always)]
unsafe fn multiply<S: Simd>(
    region: &Region,
    grid: &Grid,
    isa: Isa,
    panel: usize,
    tiles: usize,
    input: &[f32],
    weights: &[f32],
    products: &mut [f32],
) {
    let (c, panels) = (region.c, Panels::new(region.k, isa));
    let vectors = panels.vectors(panel);
    let width = vectors * S::LANES;
    let runs = Runs { outer: 1, outer_stride: 0, inner: 1, inner_stride: 0, len: c, step: 1 };
    for point in 0..POINTS {
        let b = &weights[point * weights_stride(region, width)..][..c * width];
        let a = &input[point * grid.input_stride(region)..][..tiles * c];
        let out = &mut products[point * grid.product_stride(isa)..][..tiles * width];
        let mut done = 0;
        while done < tiles {
            let rows = S::ROWS.min(tiles - done);
            with_tile!(S, rows, vectors, MR, NV => {
                // SAFETY: the rows of the tile are `MR` tiles of `c` elements.
                unsafe {
                    let a: [*const f32; MR] = std::array::from_fn(|i| a.as_ptr().add((done + i) * c));
                    let acc = tile::<S, MR, NV>(a, &runs, runs.cursor(0), c, b.as_ptr());
                    for (acc, out) in acc.into_iter().zip(out[done * width..].chunks_exact_mut(width)) {
                        store::<S, NV>(out, acc, false);
                    }
                }
            });
            done += rows;
        }
    }
}
