//! Winograd's F(4x4, 3x3): 3x3 convolutions of stride 1 with a quarter of the multiplications (Lavin and Gray, 2016,
//! <https://arxiv.org/abs/1509.09308>).
//!
//! Tiles of 6x6 inputs and the 3x3 weights are transformed, multiplied element by element (36 matrix products over the channels), and
//! transformed back to 4x4 outputs. The interpolation points 0, ±0.65, ±1.5 and infinity have half the rounding error of the usual 0, ±1,
//! ±2 at the same cost.

use super::gemm::{Runs, tile, with_tile};
use super::implicit::{Finish, finish_block, finished, store};
use super::pack::Panels;
use super::region::{Block, Region};
use super::simd::{Simd, lanes, with_simd};
use super::{Conv2dShape, Epilogue, Pass, Prologue};
use crate::activation::{Act, with_act};
use crate::shared::{SharedMut, f64_words};
use crate::{Isa, Threads};
use std::marker::PhantomData;

/// The points ±A and ±B.
const A: f32 = 0.65;
const B: f32 = 1.5;
const A2: f32 = A * A;
const B2: f32 = B * B;
/// Elements of a transformed tile.
const POINTS: usize = 36;
/// Most elements of the transformed weights: 12 MiB, of which every block reads all.
const WEIGHTS: usize = 3 << 20;
/// Elements of the transformed input of one block: half of a 1 MiB L2 cache.
const INPUT: usize = 128 * 1024;
/// Between the matrices of two points: a cache line, or all would fall into the same sets of the L1 cache.
const GAP: usize = 16;

/// Whether the shape has this form and gains by it: few enough tiles hang over the edge, and enough tiles share the transformed weights.
pub(super) fn suits(s: &Conv2dShape, pass: Pass) -> bool {
    let form = s.groups == 1
        && s.kernel == [3, 3]
        && s.stride == [1, 1]
        && s.dilation == [1, 1]
        && s.c.is_multiple_of(16)
        && s.k.is_multiple_of(16)
        && POINTS * s.c * s.k <= WEIGHTS;
    if !form || pass == Pass::BackwardWeight {
        return false;
    }
    let grid = Grid::new(&region(s, pass));
    let tiles = grid.rows * grid.columns;
    let pixels = grid.height * grid.width;
    2 * pixels >= 16 * tiles && grid.images * tiles >= 24
}

fn region(s: &Conv2dShape, pass: Pass) -> Region {
    if pass == Pass::Forward { Region::forward(s) } else { Region::backward(s, [0, 0]) }
}

/// The tiles of the output, and how they are cut into tasks: whole rows of tiles of one image, or whole images.
struct Grid {
    images: usize,
    height: usize,
    width: usize,
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
        let task_rows = if target >= rows * columns { rows } else { (target / columns).max(1) };
        let bands = rows.div_ceil(task_rows);
        let tiles = task_images * task_rows * columns;
        // Batches of one size, a multiple of the micro-kernel's rows.
        let most = (INPUT / (POINTS * region.c) / 12 * 12).clamp(12, 48);
        let batch = tiles.div_ceil(tiles.div_ceil(most)).next_multiple_of(6);
        Grid {
            images,
            height,
            width,
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

pub(super) fn workspace(s: &Conv2dShape, isa: Isa, pass: Pass, threads: usize) -> usize {
    let region = region(s, pass);
    let grid = Grid::new(&region);
    let stats = if pass == Pass::Forward { f64_words(2 * s.k * grid.tasks) } else { 0 };
    POINTS * region.c * region.k + threads * grid.worker_len(&region, isa) + stats
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
    let region = region(s, Pass::Forward);
    let grid = Grid::new(&region);
    finished(s.k, grid.tasks, epilogue, ws, |finish, ws| {
        run(&region, &grid, isa, threads, x, w, y, prologue, false, finish, ws);
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
    let (weights, scratch) = ws.split_at_mut(POINTS * region.c * region.k);
    transform_weights(region, isa, threads, w, weights);
    let (weights, scratch, out) = (&*weights, SharedMut::new(scratch), SharedMut::new(y));
    let worker_len = grid.worker_len(region, isa);
    let panels = Panels::new(region.k, isa);
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
                for tile in 0..count {
                    let input = &mut input[tile * region.c..];
                    // SAFETY: `S` is available.
                    unsafe {
                        transform_input::<S>(
                            region, grid.input_stride(region), place(first + tile), x, prologue, zeros, input,
                        );
                    }
                }
                for panel in 0..panels.count() {
                    // SAFETY: `S` is available, and the tiles of a task are its own.
                    unsafe {
                        multiply::<S>(region, grid, isa, panel, count, input, weights, products);
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

/// The upper left output pixel of a tile.
#[derive(Clone, Copy)]
struct Place {
    image: usize,
    row: usize,
    column: usize,
}

/// The weights at the six points, `[panel][point][input channel][column]`.
fn transform_weights(region: &Region, isa: Isa, threads: &Threads, w: &[f32], out: &mut [f32]) {
    /// Input channels of a task.
    const ROWS: usize = 16;
    let panels = Panels::new(region.k, isa);
    let [column_stride, row_stride] = region.w_strides;
    let shared = SharedMut::new(out);
    let row_tasks = region.c / ROWS;
    threads.for_each(panels.count() * row_tasks, |task, _| {
        let (panel, first) = (task / row_tasks, task % row_tasks * ROWS);
        let width = panels.vectors(panel) * lanes(isa);
        let start = panels.first(panel) * POINTS * region.c;
        with_simd!(isa, S => {
            for c in first..first + ROWS {
                let mut taps = [[0.0f32; 32]; 9];
                for (tap, values) in taps.iter_mut().enumerate() {
                    let element = region.axes[0].tap(tap / 3) * region.kernel_w + region.axes[1].tap(tap % 3);
                    let from = panels.first(panel) * column_stride + c * row_stride + element;
                    for (column, value) in values[..width].iter_mut().enumerate() {
                        *value = w[from + column * column_stride];
                    }
                }
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
                                let at = start + ((6 * row + column) * region.c + c) * width + j;
                                S::store(shared.slice(at, S::LANES).as_mut_ptr(), value);
                            }
                        }
                    }
                }
            }
        });
    });
}

/// `a * s + b * t`.
///
/// # Safety
/// `S` is available.
#[inline(always)]
unsafe fn mix<S: Simd>(a: S::V, s: f32, b: S::V, t: f32) -> S::V {
    // SAFETY: by the caller's promise.
    unsafe { S::fma(a, S::splat(s), S::mul(b, S::splat(t))) }
}

/// `a + b * t`.
///
/// # Safety
/// `S` is available.
#[inline(always)]
unsafe fn plus<S: Simd>(a: S::V, b: S::V, t: f32) -> S::V {
    // SAFETY: by the caller's promise.
    unsafe { S::fma(b, S::splat(t), a) }
}

/// `g0 + g1 p + g2 p^2` at the points, divided by the product of the distances to the other points.
///
/// # Safety
/// `S` is available.
#[inline(always)]
unsafe fn at_points<S: Simd>(g: [S::V; 3]) -> [S::V; 6] {
    const ZERO: f32 = 1.0 / (A2 * B2);
    const NEAR: f32 = 1.0 / (2.0 * A2 * (A2 - B2));
    const FAR: f32 = 1.0 / (2.0 * B2 * (B2 - A2));
    // SAFETY: by the caller's promise.
    unsafe {
        let near = mix::<S>(g[0], NEAR, g[2], A2 * NEAR);
        let far = mix::<S>(g[0], FAR, g[2], B2 * FAR);
        [
            S::mul(g[0], S::splat(ZERO)),
            plus::<S>(near, g[1], A * NEAR),
            plus::<S>(near, g[1], -A * NEAR),
            plus::<S>(far, g[1], B * FAR),
            plus::<S>(far, g[1], -B * FAR),
            g[2],
        ]
    }
}

/// One dimension of the input's transform.
///
/// # Safety
/// `S` is available.
#[inline(always)]
unsafe fn forward_points<S: Simd>(d: [S::V; 6]) -> [S::V; 6] {
    // SAFETY: by the caller's promise.
    unsafe {
        let (near, near_odd) = (plus::<S>(d[4], d[2], -B2), plus::<S>(d[3], d[1], -B2));
        let (far, far_odd) = (plus::<S>(d[4], d[2], -A2), plus::<S>(d[3], d[1], -A2));
        [
            plus::<S>(plus::<S>(d[4], d[2], -(A2 + B2)), d[0], A2 * B2),
            plus::<S>(near, near_odd, A),
            plus::<S>(near, near_odd, -A),
            plus::<S>(far, far_odd, B),
            plus::<S>(far, far_odd, -B),
            plus::<S>(plus::<S>(d[5], d[3], -(A2 + B2)), d[1], A2 * B2),
        ]
    }
}

/// One dimension of the output's transform.
///
/// # Safety
/// `S` is available.
#[inline(always)]
unsafe fn backward_points<S: Simd>(m: [S::V; 6]) -> [S::V; 4] {
    // SAFETY: by the caller's promise.
    unsafe {
        let (near, far) = (S::add(m[1], m[2]), S::add(m[3], m[4]));
        let (near_odd, far_odd) = (S::sub(m[1], m[2]), S::sub(m[3], m[4]));
        [
            S::add(m[0], S::add(near, far)),
            mix::<S>(near_odd, A, far_odd, B),
            mix::<S>(near, A2, far, B2),
            plus::<S>(plus::<S>(m[5], far_odd, B * B2), near_odd, A * A2),
        ]
    }
}

/// The 6x6 inputs of one tile at the points, `out[point * stride + channel]`.
///
/// # Safety
/// `S` is available.
#[inline(always)]
unsafe fn transform_input<S: Simd>(
    region: &Region,
    stride: usize,
    place: Place,
    x: &[f32],
    prologue: Prologue<'_>,
    zeros: &[f32],
    out: &mut [f32],
) {
    let [vertical, horizontal] = &region.axes;
    let c = region.c;
    assert!(zeros.len() == c && out.len() >= (POINTS - 1) * stride + c);
    assert!(x.len() == region.n * vertical.ins * horizontal.ins * c && place.image < region.n);
    // Pixels of the border point to zeros.
    let mut pixels = [zeros.as_ptr(); POINTS];
    let columns = [0, 1, 2, 3, 4, 5].map(|column| horizontal.source(place.column, column));
    for row in 0..6 {
        if let Some(i) = vertical.source(place.row, row) {
            let line = (place.image * vertical.ins + i) * horizontal.ins;
            for column in 0..6 {
                if let Some(j) = columns[column] {
                    pixels[6 * row + column] = x.as_ptr().wrapping_add((line + j) * c);
                }
            }
        }
    }
    match prologue {
        Prologue::None => {
            for at in (0..c).step_by(S::LANES) {
                // SAFETY: `S` is available, `c` is a multiple of its lanes, and a pixel has `c` elements.
                unsafe {
                    tile_to_points::<S>(&AsItIs { pixels: &pixels, at }, out.as_mut_ptr().add(at), stride)
                };
            }
        }
        Prologue::ScaleShift { scale, shift, activation } => {
            assert!(scale.len() == c && shift.len() == c);
            with_act!(activation, F => {
                for at in (0..c).step_by(S::LANES) {
                    // SAFETY: as above.
                    unsafe {
                        let (scale, shift) = (S::load(scale.as_ptr().add(at)), S::load(shift.as_ptr().add(at)));
                        let activation = PhantomData::<F>;
                        let load = Normalized { pixels: &pixels, at, zeros: zeros.as_ptr(), scale, shift, activation };
                        tile_to_points::<S>(&load, out.as_mut_ptr().add(at), stride);
                    }
                }
            });
        }
    }
}

/// Loads a vector of channels of one of the 36 pixels: a trait, because a closure is not inlined 36 times.
trait Load<S: Simd> {
    /// # Safety
    /// `S` is available and the pixel has its lanes.
    unsafe fn load(&self, pixel: usize) -> S::V;
}

struct AsItIs<'a> {
    pixels: &'a [*const f32; POINTS],
    at: usize,
}

impl<S: Simd> Load<S> for AsItIs<'_> {
    #[inline(always)]
    unsafe fn load(&self, pixel: usize) -> S::V {
        // SAFETY: by the caller's promise.
        unsafe { S::load(self.pixels[pixel].add(self.at)) }
    }
}

/// `activation(x * scale + shift)`, but zero on the border.
struct Normalized<'a, S: Simd, F> {
    pixels: &'a [*const f32; POINTS],
    at: usize,
    zeros: *const f32,
    scale: S::V,
    shift: S::V,
    activation: PhantomData<F>,
}

impl<S: Simd, F: Act> Load<S> for Normalized<'_, S, F> {
    #[inline(always)]
    unsafe fn load(&self, pixel: usize) -> S::V {
        // SAFETY: by the caller's promise.
        unsafe {
            let x = S::load(self.pixels[pixel].add(self.at));
            if self.pixels[pixel] == self.zeros {
                return x;
            }
            F::values::<S>(S::fma(x, self.scale, self.shift))
        }
    }
}

/// # Safety
/// `S` is available; `out` is valid for a vector at each multiple of `stride` below 36.
#[inline(always)]
unsafe fn tile_to_points<S: Simd>(x: &impl Load<S>, out: *mut f32, stride: usize) {
    // Written out: a loop over columns would keep the half-transformed tile in memory that is cleared first.
    macro_rules! column {
        ($j:literal) => {
            forward_points::<S>([
                x.load($j),
                x.load($j + 6),
                x.load($j + 12),
                x.load($j + 18),
                x.load($j + 24),
                x.load($j + 30),
            ])
        };
    }
    macro_rules! row {
        ($half:ident, $i:literal) => {
            let d = [$half[0][$i], $half[1][$i], $half[2][$i], $half[3][$i], $half[4][$i], $half[5][$i]];
            let values = forward_points::<S>(d);
            let out = out.add(6 * $i * stride);
            S::store(out, values[0]);
            S::store(out.add(stride), values[1]);
            S::store(out.add(2 * stride), values[2]);
            S::store(out.add(3 * stride), values[3]);
            S::store(out.add(4 * stride), values[4]);
            S::store(out.add(5 * stride), values[5]);
        };
    }
    // SAFETY: by the caller's promise.
    unsafe {
        let half = [column!(0), column!(1), column!(2), column!(3), column!(4), column!(5)];
        row!(half, 0);
        row!(half, 1);
        row!(half, 2);
        row!(half, 3);
        row!(half, 4);
        row!(half, 5);
    }
}

/// The 36 matrix products of one panel, `products[point * stride + tile * width + column]`.
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
        let b = &weights[(panels.first(panel) * POINTS + point * width) * c..][..c * width];
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

/// The products of one tile back to (up to) 4x4 outputs.
///
/// # Safety
/// `S` is available, and no other task writes the tile.
#[inline(always)]
unsafe fn transform_output<S: Simd>(
    region: &Region,
    stride: usize,
    place: Place,
    products: &[f32],
    first: usize,
    width: usize,
    out: SharedMut<'_, f32>,
    accumulate: bool,
) {
    let [height, wide] = region.out;
    let (rows, columns) = (4.min(height - place.row), 4.min(wide - place.column));
    assert!(products.len() >= (POINTS - 1) * stride + width);
    for j in (0..width).step_by(S::LANES) {
        let products = products[j..].as_ptr();
        macro_rules! column {
            ($j:literal) => {
                backward_points::<S>([
                    S::load(products.add($j * stride)),
                    S::load(products.add(($j + 6) * stride)),
                    S::load(products.add(($j + 12) * stride)),
                    S::load(products.add(($j + 18) * stride)),
                    S::load(products.add(($j + 24) * stride)),
                    S::load(products.add(($j + 30) * stride)),
                ])
            };
        }
        // SAFETY: the products have a vector at each point; the pixels belong to this task.
        unsafe {
            let half = [column!(0), column!(1), column!(2), column!(3), column!(4), column!(5)];
            if rows == 4 && columns == 4 {
                let pixel = (place.image * height + place.row) * wide + place.column;
                let (k, line) = (region.k, wide * region.k);
                let y = out.slice(pixel * k + first + j, 3 * (line + k) + S::LANES).as_mut_ptr();
                macro_rules! row {
                    ($i:literal) => {
                        let m =
                            [half[0][$i], half[1][$i], half[2][$i], half[3][$i], half[4][$i], half[5][$i]];
                        let values = backward_points::<S>(m);
                        let y = y.add($i * line);
                        put::<S>(y, values[0], accumulate);
                        put::<S>(y.add(k), values[1], accumulate);
                        put::<S>(y.add(2 * k), values[2], accumulate);
                        put::<S>(y.add(3 * k), values[3], accumulate);
                    };
                }
                row!(0);
                row!(1);
                row!(2);
                row!(3);
                continue;
            }
            for i in 0..rows {
                let m = [half[0][i], half[1][i], half[2][i], half[3][i], half[4][i], half[5][i]];
                let values = backward_points::<S>(m);
                let pixel = (place.image * height + place.row + i) * wide + place.column;
                let y = out.slice(pixel * region.k + first + j, (columns - 1) * region.k + S::LANES);
                for column in 0..columns {
                    let y = y.as_mut_ptr().add(column * region.k);
                    put::<S>(y, values[column], accumulate);
                }
            }
        }
    }
}

/// # Safety
/// `S` is available and `y` has its lanes.
#[inline(always)]
unsafe fn put<S: Simd>(y: *mut f32, value: S::V, accumulate: bool) {
    // SAFETY: by the caller's promise.
    unsafe { S::store(y, if accumulate { S::add(S::load(y), value) } else { value }) }
}
