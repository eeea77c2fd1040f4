//! Winograd's F(4x4, 3x3): 3x3 convolutions of stride 1 with a quarter of the multiplications (Lavin and Gray, 2016,
//! <https://arxiv.org/abs/1509.09308>).
//!
//! Tiles of 6x6 inputs and the 3x3 weights are transformed, multiplied element by element (36 matrix products over the channels), and
//! transformed back to 4x4 outputs. The weights' gradient is the same bilinear form seen from its third side: 6x6 inputs and 4x4
//! gradients are transformed, multiplied and summed over the tiles, and the 36 sums transformed to 3x3 taps. The interpolation points 0,
//! ±0.65, ±1.5 and infinity have half the rounding error of the usual 0, ±1, ±2 at the same cost.

mod gradient;
mod points;
mod spatial;
mod tiles;

pub(super) use gradient::backward_weight;
pub(super) use spatial::{backward_input, forward};

use super::region::Region;
use super::{Conv2dShape, Pass};
use crate::Isa;

/// Elements of a transformed tile.
const POINTS: usize = 36;
/// Between the matrices of two points: a cache line, or all would fall into the same sets of the L1 cache.
const GAP: usize = 16;
/// Whether the shape has this form and gains by it: few enough tiles hang over the edge, and enough tiles share the transformed weights.
pub(super) fn suits(s: &Conv2dShape, pass: Pass) -> bool {
    let form = s.groups == 1
        && s.kernel == [3, 3]
        && s.stride == [1, 1]
        && s.dilation == [1, 1]
        && s.c.is_multiple_of(16)
        && s.k.is_multiple_of(16);
    if !form {
        return false;
    }
    let region = region(s, pass);
    let [height, width] = region.axes.map(|axis| axis.outs);
    let tiles = height.div_ceil(4) * width.div_ceil(4);
    2 * height * width >= 16 * tiles && region.n * tiles >= 16
}

/// The grid of output pixels that is cut into tiles; the weights' gradient reads the output's gradient in the place of the output.
fn region(s: &Conv2dShape, pass: Pass) -> Region {
    if pass == Pass::BackwardInput { Region::backward(s, [0, 0]) } else { Region::forward(s) }
}

pub(super) fn workspace(s: &Conv2dShape, isa: Isa, pass: Pass, threads: usize) -> usize {
    match pass {
        Pass::BackwardWeight => gradient::workspace(s, isa, threads),
        _ => spatial::workspace(s, isa, pass, threads),
    }
}
