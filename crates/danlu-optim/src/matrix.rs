//! A safe door to the `gemm` crate: matrices are slices with strides, and every access is checked to lie inside before the product runs.
//! Muon orthogonalises with it, and the orthogonal initialisation of `danlu-nn`.

use crate::real::Real;

/// A matrix in a slice: element `(i, j)` is `values[i * strides[0] + j * strides[1]]`.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a, T> {
    /// The slice that holds it.
    pub values: &'a [T],
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub columns: usize,
    /// How far apart neighbours in a column, and neighbours in a row, are.
    pub strides: [usize; 2],
}

impl<'a, T> Matrix<'a, T> {
    /// `values` as `[rows, columns]`, row by row, its rows `stride` apart.
    pub fn row_major(values: &'a [T], rows: usize, columns: usize, stride: usize) -> Self {
        Matrix { values, rows, columns, strides: [stride, 1] }
    }

    /// The same values with rows and columns exchanged.
    #[must_use]
    pub fn transposed(self) -> Self {
        let [rows, columns] = self.strides;
        Matrix { rows: self.columns, columns: self.rows, strides: [columns, rows], ..self }
    }
}

/// Elements that a non-empty matrix of these strides spans.
fn span(rows: usize, columns: usize, strides: [usize; 2]) -> usize {
    (rows - 1) * strides[0] + (columns - 1) * strides[1] + 1
}

/// `out = keep * out + scale * a b`, on one thread, so that the bits do not depend on the number of threads.
/// `out` has the rows of `a`, the columns of `b` and strides of its own, which must not make elements coincide.
///
/// # Panics
/// Where the inner sides differ or are 0, or a matrix reaches beyond its slice: mistakes of the caller, not of a user.
pub fn multiply<T: Real>(
    out: &mut [T],
    out_strides: [usize; 2],
    keep: T,
    scale: T,
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
) {
    let (m, n, k) = (a.rows, b.columns, a.columns);
    if m == 0 || n == 0 {
        return;
    }
    assert!(k > 0 && b.rows == k, "inner sides agree");
    assert!(span(m, n, out_strides) <= out.len(), "the product fits");
    assert!(
        span(m, k, a.strides) <= a.values.len() && span(k, n, b.strides) <= b.values.len(),
        "factors are whole"
    );
    // SAFETY: the spans checked above bound every address that gemm forms from these pointers, sides and strides; `out` is borrowed
    // mutably, so it overlaps neither factor; T is f32 or f64 (`Real` is sealed), both of which gemm computes in.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            out_strides[1] as isize,
            out_strides[0] as isize,
            true,
            a.values.as_ptr(),
            a.strides[1] as isize,
            a.strides[0] as isize,
            b.values.as_ptr(),
            b.strides[1] as isize,
            b.strides[0] as isize,
            keep,
            scale,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strided_product_equals_the_sum_over_its_inner_side() {
        let a: Vec<f64> = (0..15).map(|i| (i as f64 * 0.7).sin()).collect();
        let b: Vec<f64> = (0..20).map(|i| (i as f64 * 0.3).cos()).collect();
        let left = Matrix { values: &a, rows: 5, columns: 3, strides: [3, 1] };
        // 5 x 4 seen as 4 x 5, then multiplied by 5 x 3.
        let right = Matrix { values: &b, rows: 5, columns: 4, strides: [4, 1] }.transposed();
        let mut out = vec![1.0; 12];
        multiply(&mut out, [1, 4], 0.5, 2.0, right, left);
        for i in 0..4 {
            for j in 0..3 {
                let sum: f64 = (0..5).map(|l| b[l * 4 + i] * a[l * 3 + j]).sum();
                assert!((out[i + 4 * j] - (0.5 + 2.0 * sum)).abs() < 1e-12);
            }
        }
    }
}
