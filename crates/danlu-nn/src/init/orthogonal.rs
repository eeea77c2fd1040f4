//! Random orthogonal matrices, as products of random Householder reflections.
//!
//! A QR decomposition of a matrix of normal numbers would spend half its time on finding the reflections; their vectors are
//! normal numbers themselves (Stewart 1980, "The efficient generation of random orthogonal matrices"), so they are drawn.
//! They are applied in blocks, as matrix products (compact WY form): one by one, the 4096 x 25088 weights of a VGG would be
//! read from memory 4096 times.

use danlu_optim::matrix::{Matrix, multiply};
use danlu_rng::Stream;

use crate::state_dict::Tensor;

/// Reflections that are applied together: enough for the matrix products to run at full speed.
const BLOCK: usize = 64;

/// `torch.nn.init.orthogonal_`: rows (or columns, where there are more rows) of `[out, rest]` are orthonormal, times
/// gain, and uniform over all such matrices. In f64.
pub fn orthogonal(tensor: &mut Tensor, gain: f64, stream: &mut Stream) {
    let rows = tensor.shape.first().copied().unwrap_or(1).max(1);
    let columns = (tensor.data.len() / rows).max(1);
    let (vectors, length) = (rows.min(columns), rows.max(columns));
    let basis = orthonormal_rows(vectors, length, stream);
    for (i, value) in tensor.data.iter_mut().enumerate() {
        let (r, c) = (i / columns, i % columns);
        let x = if rows <= columns { basis[r * length + c] } else { basis[c * length + r] };
        *value = (gain * x) as f32;
    }
}

/// `vectors` orthonormal rows of `length >= vectors` numbers each, uniformly distributed.
///
/// Row j is the j-th column of `H_0 H_1 ... H_{n-1}` with the sign that makes R's diagonal positive, where `A = Q R` would be
/// the decomposition of a normal A: without the sign the distribution would depend on how the reflections were chosen.
fn orthonormal_rows(vectors: usize, length: usize, stream: &mut Stream) -> Vec<f64> {
    let mut rows = vec![0.0; vectors * length];
    let mut signs = vec![1.0; vectors];
    (0..vectors).for_each(|j| rows[j * length + j] = 1.0);
    let blocks = vectors.div_ceil(BLOCK);
    for first in (0..blocks).rev().map(|block| block * BLOCK) {
        let count = BLOCK.min(vectors - first);
        let reflections = Reflections::draw(count, length - first, stream, &mut signs[first..]);
        // Rows before the block are unit vectors yet, outside of what it reflects.
        reflections.apply(&mut rows[first * length + first..], vectors - first, length);
    }
    for (row, sign) in rows.chunks_exact_mut(length).zip(signs) {
        row.iter_mut().for_each(|value| *value *= sign);
    }
    rows
}

/// `H_0 H_1 ... H_{count-1} = I - V T V'`, where H_k leaves the first k coordinates alone.
struct Reflections {
    count: usize,
    length: usize,
    /// `V'`, `[count, length]`.
    vectors: Vec<f64>,
    /// T, `[count, count]`, upper triangular.
    triangle: Vec<f64>,
}

impl Reflections {
    /// Draws `count` reflections of `length` coordinates; `signs` gets the sign of R's diagonal of each.
    fn draw(count: usize, length: usize, stream: &mut Stream, signs: &mut [f64]) -> Reflections {
        let mut vectors = vec![0.0; count * length];
        let mut triangle = vec![0.0; count * count];
        for k in 0..count {
            let (before, rest) = vectors.split_at_mut(k * length);
            let vector = &mut rest[..length];
            vector[k..].iter_mut().for_each(|x| *x = stream.normal());
            let norm = vector[k..].iter().map(|x| x * x).sum::<f64>().sqrt();
            // The reflection that takes the drawn vector to `-sign(x_k) |x|` along k: no cancellation that way.
            let end = if vector[k] < 0.0 { norm } else { -norm };
            signs[k] = end.signum();
            vector[k] -= end;
            let square = vector[k..].iter().map(|x| x * x).sum::<f64>();
            // The 0 vector, which a normal draw gives with probability 0, reflects nothing.
            let tau = if square > 0.0 { 2.0 / square } else { 0.0 };
            let dots: Vec<f64> = before
                .chunks_exact(length)
                .map(|v| v.iter().zip(&*vector).map(|(a, b)| a * b).sum())
                .collect();
            for i in 0..k {
                let sum: f64 = (i..k).map(|j| triangle[i * count + j] * dots[j]).sum();
                triangle[i * count + k] = -tau * sum;
            }
            triangle[k * count + k] = tau;
        }
        Reflections { count, length, vectors, triangle }
    }

    /// Multiplies `n` rows, `stride` apart, by the reflections from the right, the last one first: `B -= (B V) T' V'`.
    fn apply(&self, rows: &mut [f64], n: usize, stride: usize) {
        let (count, length) = (self.count, self.length);
        let vectors = Matrix::row_major(&self.vectors, count, length, length);
        let triangle = Matrix::row_major(&self.triangle, count, count, count);
        let mut along = vec![0.0; n * count];
        multiply(
            &mut along,
            [count, 1],
            0.0,
            1.0,
            Matrix::row_major(rows, n, length, stride),
            vectors.transposed(),
        );
        let mut weights = vec![0.0; n * count];
        let along = Matrix::row_major(&along, n, count, count);
        multiply(&mut weights, [count, 1], 0.0, 1.0, along, triangle.transposed());
        let weights = Matrix::row_major(&weights, n, count, count);
        multiply(rows, [stride, 1], 1.0, -1.0, weights, vectors);
    }
}
