//! Tiles of activations to the points and back, a vector of channels at a time.

use super::POINTS;
use super::points::{backward_points, forward_points, gradient_points};
use crate::activation::{Act, with_act};
use crate::conv::Prologue;
use crate::conv::region::Region;
use crate::conv::simd::Simd;
use crate::shared::SharedMut;
use std::marker::PhantomData;
use std::ops::Range;

/// The upper left output pixel of a tile.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) image: usize,
    pub(super) row: usize,
    pub(super) column: usize,
}

/// The 6x6 inputs of one tile at the points, `out[point * stride + to(channel)]`; `to` keeps the order and the vectors.
///
/// # Safety
/// `S` is available, and no other task writes these elements.
#[inline(always)]
pub(super) unsafe fn transform_input<S: Simd>(
    region: &Region,
    stride: usize,
    place: Place,
    x: &[f32],
    prologue: Prologue<'_>,
    zeros: &[f32],
    out: SharedMut<'_, f32>,
    to: impl Fn(usize) -> usize,
) {
    let [vertical, horizontal] = &region.axes;
    let c = region.c;
    assert!(zeros.len() >= c && out.len() >= (POINTS - 1) * stride + to(c - S::LANES) + S::LANES);
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
                    tile_to_points::<S>(&AsItIs { pixels: &pixels, at }, out.as_mut_ptr().add(to(at)), stride)
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
                        tile_to_points::<S>(&load, out.as_mut_ptr().add(to(at)), stride);
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

/// The products of one tile back to (up to) 4x4 outputs.
///
/// # Safety
/// `S` is available, and no other task writes the tile.
#[inline(always)]
pub(super) unsafe fn transform_output<S: Simd>(
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

/// The (up to) 4x4 output gradients of one tile at the points, `out[point * stride + to(channel)]` likewise, for some whole
/// vectors of channels.
///
/// # Safety
/// `S` is available, and no other task writes these elements.
#[inline(always)]
pub(super) unsafe fn transform_gradient<S: Simd>(
    region: &Region,
    stride: usize,
    place: Place,
    channels: Range<usize>,
    dy: &[f32],
    zeros: &[f32],
    out: SharedMut<'_, f32>,
    to: impl Fn(usize) -> usize,
) {
    let ([height, width], k) = (region.out, region.k);
    assert!(
        zeros.len() >= k
            && channels.end <= k
            && out.len() >= (POINTS - 1) * stride + to(channels.end - S::LANES) + S::LANES
    );
    assert!(dy.len() == region.n * height * width * k && place.image < region.n);
    // Pixels beyond the output point to zeros.
    let mut pixels = [zeros.as_ptr(); 16];
    for row in 0..4.min(height - place.row) {
        let line = (place.image * height + place.row + row) * width + place.column;
        for column in 0..4.min(width - place.column) {
            pixels[4 * row + column] = dy.as_ptr().wrapping_add((line + column) * k);
        }
    }
    for at in channels.step_by(S::LANES) {
        macro_rules! column {
            ($j:literal) => {
                gradient_points::<S>([
                    S::load(pixels[$j].add(at)),
                    S::load(pixels[$j + 4].add(at)),
                    S::load(pixels[$j + 8].add(at)),
                    S::load(pixels[$j + 12].add(at)),
                ])
            };
        }
        // SAFETY: `S` is available, the channels are whole vectors of the `k` of a pixel; `out` was asserted.
        unsafe {
            let half = [column!(0), column!(1), column!(2), column!(3)];
            let out = out.as_mut_ptr().add(to(at));
            macro_rules! row {
                ($i:literal) => {
                    let values = gradient_points::<S>([half[0][$i], half[1][$i], half[2][$i], half[3][$i]]);
                    let out = out.add(6 * $i * stride);
                    S::store(out, values[0]);
                    S::store(out.add(stride), values[1]);
                    S::store(out.add(2 * stride), values[2]);
                    S::store(out.add(3 * stride), values[3]);
                    S::store(out.add(4 * stride), values[4]);
                    S::store(out.add(5 * stride), values[5]);
                };
            }
            row!(0);
            row!(1);
            row!(2);
            row!(3);
            row!(4);
            row!(5);
        }
    }
}
