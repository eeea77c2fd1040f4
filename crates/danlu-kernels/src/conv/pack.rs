//! Operands as the micro-kernel reads them: weights in panels of two vectors, the input with its border and prologue.

use super::Prologue;
use super::region::{Block, Region};
use super::simd::lanes;
use crate::activation::{Act, with_act};
use crate::shared::SharedMut;
use crate::{Isa, Threads};

/// Columns of a matrix cut into panels of two vectors, the last of one if that is enough.
#[derive(Clone, Copy, Debug)]
pub(super) struct Panels {
    columns: usize,
    lanes: usize,
}

impl Panels {
    pub(super) fn new(columns: usize, isa: Isa) -> Panels {
        Panels { columns, lanes: lanes(isa) }
    }

    pub(super) fn count(&self) -> usize {
        self.columns.div_ceil(2 * self.lanes)
    }

    /// Columns of all, with the tail's padding.
    pub(super) fn padded(&self) -> usize {
        self.columns.next_multiple_of(self.lanes)
    }

    /// The first column of a panel; times the rows, its place in a packed matrix.
    pub(super) fn first(&self, panel: usize) -> usize {
        2 * self.lanes * panel
    }

    /// The column behind a panel.
    pub(super) fn end(&self, panel: usize) -> usize {
        self.first(panel) + self.width(panel)
    }

    /// The panel of a column.
    pub(super) fn of(&self, column: usize) -> usize {
        column / (2 * self.lanes)
    }

    /// Columns that are there.
    pub(super) fn width(&self, panel: usize) -> usize {
        (self.columns - self.first(panel)).min(2 * self.lanes)
    }

    pub(super) fn vectors(&self, panel: usize) -> usize {
        self.width(panel).div_ceil(self.lanes)
    }
}

/// Elements of the packed weights.
pub(super) fn weights_len(region: &Region, isa: Isa) -> usize {
    region.depth() * Panels::new(region.k, isa).padded()
}

/// The weights of a region as `[panel][tap][input channel][column]`, zero in the tail.
pub(super) fn weights(region: &Region, isa: Isa, threads: &Threads, w: &[f32], packed: &mut [f32]) {
    let panels = Panels::new(region.k, isa);
    let [column_stride, row_stride] = region.w_strides;
    let shared = SharedMut::new(packed);
    threads.for_each(panels.count(), |panel, _| {
        let (width, padded) = (panels.width(panel), panels.vectors(panel) * lanes(isa));
        // SAFETY: one panel a task.
        let out = unsafe { shared.slice(panels.first(panel) * region.depth(), region.depth() * padded) };
        for c in 0..region.c {
            for i in 0..region.axes[0].taps {
                for j in 0..region.axes[1].taps {
                    let tap = region.axes[0].tap(i) * region.kernel_w + region.axes[1].tap(j);
                    let from = c * row_stride + tap;
                    let row = (i * region.axes[1].taps + j) * region.c + c;
                    let out = &mut out[row * padded..][..padded];
                    let from = from + panels.first(panel) * column_stride;
                    for (column, out) in out[..width].iter_mut().enumerate() {
                        *out = w[from + column * column_stride];
                    }
                    out[width..].fill(0.0);
                }
            }
        }
    });
}

/// Where the input of a block lies: distances between images, output rows, output columns and taps.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    pub(super) start: usize,
    pub(super) image: usize,
    pub(super) row: usize,
    pub(super) column: usize,
    pub(super) tap_row: usize,
    pub(super) tap_column: usize,
}

/// The view of an input that is read where it lies ([`Region::is_inside`]).
pub(super) fn direct(region: &Region, block: &Block) -> View {
    let [y, x] = &region.axes;
    let row = x.ins * region.c;
    View {
        start: (block.image * y.ins + block.row * y.step + y.origin as usize) * row
            + x.origin as usize * region.c,
        image: y.ins * row,
        row: y.step * row,
        column: x.step * region.c,
        tap_row: y.dilation * row,
        tap_column: x.dilation * region.c,
    }
}

/// Copies what a block sees into `band`, `pixel` elements a pixel, with a border of zeros.
#[inline(always)]
pub(super) fn band(
    region: &Region,
    block: &Block,
    x: &[f32],
    prologue: Prologue<'_>,
    pixel: usize,
    band: &mut [f32],
) -> View {
    let [vertical, horizontal] = &region.axes;
    let c = region.c;
    let (height, width) = (vertical.band_span(block.rows), horizontal.band_span(horizontal.outs));
    for (index, row) in band.chunks_exact_mut(width * pixel).take(block.images * height).enumerate() {
        let (image, at) = (block.image + index / height, index % height);
        let Some(i) = vertical.source(block.row, at) else {
            row.fill(0.0);
            continue;
        };
        let line = &x[(image * vertical.ins + i) * horizontal.ins * c..][..horizontal.ins * c];
        let plain = matches!(prologue, Prologue::None);
        if horizontal.band_step() == horizontal.step && pixel == c && plain {
            let first = ((-horizontal.origin).max(0) as usize).min(width);
            let end =
                (horizontal.ins as isize - horizontal.origin).clamp(first as isize, width as isize) as usize;
            row[..first * c].fill(0.0);
            row[end * c..].fill(0.0);
            if first < end {
                let from = (first as isize + horizontal.origin) as usize * c;
                row[first * c..end * c].copy_from_slice(&line[from..][..(end - first) * c]);
            }
            continue;
        }
        for (at, out) in row.chunks_exact_mut(pixel).enumerate() {
            let out = &mut out[..c];
            match horizontal.source(0, at) {
                None => out.fill(0.0),
                Some(j) => load(prologue, &line[j * c..][..c], out),
            }
        }
    }
    View {
        start: 0,
        image: height * width * pixel,
        row: vertical.band_step() * width * pixel,
        column: horizontal.band_step() * pixel,
        tap_row: vertical.dilation * width * pixel,
        tap_column: horizontal.dilation * pixel,
    }
}

#[inline(always)]
fn load(prologue: Prologue<'_>, x: &[f32], out: &mut [f32]) {
    match prologue {
        Prologue::None => out.copy_from_slice(x),
        Prologue::ScaleShift { scale, shift, activation } => {
            with_act!(activation, A => {
                for (((out, x), scale), shift) in out.iter_mut().zip(x).zip(scale).zip(shift) {
                    *out = A::value(x * scale + shift);
                }
            });
        }
    }
}
