//! What a matrix product of a convolution reads and writes: a grid of output pixels, the taps that each sees, and the blocks
//! that the grid is cut into.

use super::Conv2dShape;

/// One axis (vertical or horizontal) of a grid of output pixels. Output `o` of the grid lies at `out_origin + o * out_step` of the output tensor
/// and sees the input at `o * step + origin + j * dilation` with the kernel's element `first_tap + j * tap_step`, for every `j` below `taps`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    pub(super) outs: usize,
    pub(super) ins: usize,
    pub(super) step: usize,
    pub(super) origin: isize,
    pub(super) taps: usize,
    pub(super) dilation: usize,
    pub(super) first_tap: usize,
    pub(super) tap_step: isize,
    pub(super) out_origin: usize,
    pub(super) out_step: usize,
}

impl Axis {
    fn forward(s: &Conv2dShape, axis: usize) -> Axis {
        Axis {
            outs: [s.out_h(), s.out_w()][axis],
            ins: [s.h, s.w][axis],
            step: s.stride[axis],
            origin: -(s.padding[axis] as isize),
            taps: s.kernel[axis],
            dilation: s.dilation[axis],
            first_tap: 0,
            tap_step: 1,
            out_origin: 0,
            out_step: 1,
        }
    }

    /// The input pixels `phase`, `phase + stride`, ...: input `stride * u + phase` receives output `u + (phase + padding - r * dilation) / stride`
    /// through each tap `r` for which that division is exact, a convolution of stride 1 over the output's gradient.
    fn backward(s: &Conv2dShape, axis: usize, phase: usize) -> Axis {
        let (stride, dilation) = (s.stride[axis], s.dilation[axis]);
        let reach = |r: usize| phase as isize + s.padding[axis] as isize - (r * dilation) as isize;
        let exact = |&r: &usize| reach(r).rem_euclid(stride as isize) == 0;
        let taps = (0..s.kernel[axis]).filter(exact).count();
        let last = (0..s.kernel[axis]).rev().find(exact).unwrap_or(0);
        let divisor = greatest_common_divisor(stride, dilation);
        Axis {
            outs: [s.h, s.w][axis].saturating_sub(phase).div_ceil(stride),
            ins: [s.out_h(), s.out_w()][axis],
            step: 1,
            // The last tap reaches the nearest output, so taps are walked from the last to the first.
            origin: reach(last).div_euclid(stride as isize),
            taps,
            dilation: dilation / divisor,
            first_tap: last,
            tap_step: -((stride / divisor) as isize),
            out_origin: phase,
            out_step: stride,
        }
    }

    /// A kernel of one element needs only the inputs that it lands on.
    fn is_compact(&self) -> bool {
        self.taps == 1
    }

    /// Distance of two outputs' windows in the band.
    pub(super) fn band_step(&self) -> usize {
        if self.is_compact() { 1 } else { self.step }
    }

    /// Band positions that `outs` outputs see.
    pub(super) fn band_span(&self, outs: usize) -> usize {
        (outs - 1) * self.band_step() + (self.taps - 1) * self.dilation + 1
    }

    /// Input position of band position `at` of a band that begins at output `first`.
    pub(super) fn source(&self, first: usize, at: usize) -> Option<usize> {
        let at = if self.is_compact() { at * self.step } else { at };
        usize::try_from((first * self.step + at) as isize + self.origin).ok().filter(|&i| i < self.ins)
    }

    fn is_inside(&self) -> bool {
        let last = ((self.outs - 1) * self.step + (self.taps - 1) * self.dilation) as isize + self.origin;
        self.origin >= 0 && last < self.ins as isize
    }

    pub(super) fn tap(&self, j: usize) -> usize {
        (self.first_tap as isize + j as isize * self.tap_step) as usize
    }
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// A convolution as a matrix product: output pixels x (taps x input channels) by (taps x input channels) x output channels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Region {
    pub(super) n: usize,
    /// Channels read.
    pub(super) c: usize,
    /// Channels written.
    pub(super) k: usize,
    pub(super) axes: [Axis; 2],
    /// Height and width of the output tensor.
    pub(super) out: [usize; 2],
    /// Elements of the weights between two output channels, and between two input channels.
    pub(super) w_strides: [usize; 2],
    pub(super) kernel_w: usize,
}

impl Region {
    pub(super) fn forward(s: &Conv2dShape) -> Region {
        let taps = s.kernel[0] * s.kernel[1];
        Region {
            n: s.n,
            c: s.c,
            k: s.k,
            axes: [Axis::forward(s, 0), Axis::forward(s, 1)],
            out: [s.out_h(), s.out_w()],
            w_strides: [s.c * taps, taps],
            kernel_w: s.kernel[1],
        }
    }

    /// The input gradient at the pixels of one residue of the stride.
    pub(super) fn backward(s: &Conv2dShape, phase: [usize; 2]) -> Region {
        let taps = s.kernel[0] * s.kernel[1];
        Region {
            n: s.n,
            c: s.k,
            k: s.c,
            axes: [Axis::backward(s, 0, phase[0]), Axis::backward(s, 1, phase[1])],
            out: [s.h, s.w],
            w_strides: [taps, s.c * taps],
            kernel_w: s.kernel[1],
        }
    }

    /// The products that make up the input gradient: one for each residue of the stride, without those beyond the input.
    pub(super) fn phases(s: &Conv2dShape) -> impl Iterator<Item = Region> + '_ {
        let [rows, columns] = [s.stride[0].min(s.h), s.stride[1].min(s.w)];
        (0..rows).flat_map(move |i| (0..columns).map(move |j| Region::backward(s, [i, j])))
    }

    pub(super) fn taps(&self) -> usize {
        self.axes[0].taps * self.axes[1].taps
    }

    /// Length of the sum of an output.
    pub(super) fn depth(&self) -> usize {
        self.taps() * self.c
    }

    pub(super) fn pixels(&self) -> usize {
        self.n * self.axes[0].outs * self.axes[1].outs
    }

    /// Whether no tap falls on the border, so that the input can be read where it lies.
    pub(super) fn is_inside(&self) -> bool {
        self.axes.iter().all(Axis::is_inside)
    }

    /// Elements of the input that one image of `rows` output rows sees, with the border, at `pixel` elements a pixel.
    pub(super) fn band_len(&self, rows: usize, pixel: usize) -> usize {
        self.axes[0].band_span(rows) * self.axes[1].band_span(self.axes[1].outs) * pixel
    }
}

/// How a grid of output pixels is cut into tasks: several whole images, or some rows of one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blocks {
    images: usize,
    rows: usize,
    bands: usize,
    pub(super) count: usize,
}

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub(super) image: usize,
    pub(super) images: usize,
    pub(super) row: usize,
    pub(super) rows: usize,
}

impl Blocks {
    /// Blocks of about `pixels` output pixels whose input has at most `band` elements (more only if a single row has more).
    pub(super) fn new(region: &Region, pixels: usize, band: usize, pixel: usize) -> Blocks {
        let [height, width] = region.axes.map(|axis| axis.outs);
        let mut rows = (pixels / width).max(1);
        let mut images = 1;
        if rows >= height {
            images = (rows / height).min(region.n);
            images = images.min(band / region.band_len(height, pixel).max(1)).max(1);
            rows = height;
        }
        while rows > 1 && region.band_len(rows, pixel) > band {
            rows -= 1;
        }
        let bands = height.div_ceil(rows);
        rows = height.div_ceil(bands);
        let bands = height.div_ceil(rows);
        Blocks { images, rows, bands, count: region.n.div_ceil(images) * bands }
    }

    pub(super) fn get(&self, region: &Region, index: usize) -> Block {
        let (image, row) = (index / self.bands * self.images, index % self.bands * self.rows);
        Block {
            image,
            images: self.images.min(region.n - image),
            row,
            rows: self.rows.min(region.axes[0].outs - row),
        }
    }

    /// Elements of the largest band.
    pub(super) fn band_len(&self, region: &Region, pixel: usize) -> usize {
        self.images * region.band_len(self.rows, pixel)
    }

    /// Output pixels of the largest block.
    pub(super) fn pixels(&self, region: &Region) -> usize {
        self.images * self.rows * region.axes[1].outs
    }
}
