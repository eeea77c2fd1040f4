//! The micro-kernel of every matrix product: a tile of rows x two vectors, held in registers.

use super::simd::Simd;

/// Elements that one tile sums before it is added to memory: at most 24 KiB of a panel, which leaves room in a 32 KiB L1
/// cache, and short enough a chain for its rounding.
pub(super) fn chain<S: Simd>() -> usize {
    (24 * 1024 / (2 * S::LANES * size_of::<f32>())).min(384)
}

/// The steps of the reduction inside an operand: `outer` runs `outer_stride` apart of `inner` runs `inner_stride` apart of `len` steps
/// `step` apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Runs {
    pub(super) outer: usize,
    pub(super) outer_stride: usize,
    pub(super) inner: usize,
    pub(super) inner_stride: usize,
    pub(super) len: usize,
    pub(super) step: usize,
}

impl Runs {
    /// Joins runs that follow each other without a gap.
    pub(super) fn merged(mut self) -> Runs {
        if self.inner > 1 && self.inner_stride == self.len * self.step {
            self.len *= self.inner;
            self.inner = 1;
        }
        if self.inner == 1 {
            (self.inner, self.inner_stride, self.outer) = (self.outer, self.outer_stride, 1);
            if self.inner > 1 && self.inner_stride == self.len * self.step {
                self.len *= self.inner;
                self.inner = 1;
            }
        }
        self
    }

    pub(super) fn total(&self) -> usize {
        self.outer * self.inner * self.len
    }

    /// Where step `at` of the reduction lies.
    #[inline(always)]
    pub(super) fn cursor(&self, at: usize) -> Cursor {
        let (run, position) = (at / self.len, at % self.len);
        let (outer, inner) = (run / self.inner, run % self.inner);
        Cursor { inner, position, base: outer * self.outer_stride + inner * self.inner_stride }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Cursor {
    inner: usize,
    position: usize,
    base: usize,
}

/// `tile[i][j] = sum over the steps of a[i][step] * b[step][j]`, for `count` steps from `at` on; `b` is a packed panel of `NV` vectors a
/// step.
///
/// # Safety
/// `S` is available; every `a[i]` is valid at the offsets of the runs and `b` for `count * NV * LANES` elements.
#[inline(always)]
pub(super) unsafe fn tile<S: Simd, const MR: usize, const NV: usize>(
    a: [*const f32; MR],
    runs: &Runs,
    mut at: Cursor,
    mut count: usize,
    mut b: *const f32,
) -> [[S::V; NV]; MR] {
    // SAFETY: by the caller's promise.
    unsafe {
        let mut acc = [[S::splat(0.0); NV]; MR];
        let step = runs.step;
        loop {
            let len = (runs.len - at.position).min(count);
            let mut offset = at.base + at.position * step;
            for _ in 0..len {
                let mut v = [S::splat(0.0); NV];
                for j in 0..NV {
                    v[j] = S::load(b.add(j * S::LANES));
                }
                for i in 0..MR {
                    let x = S::splat(*a[i].add(offset));
                    for j in 0..NV {
                        acc[i][j] = S::fma(x, v[j], acc[i][j]);
                    }
                }
                offset += step;
                b = b.add(NV * S::LANES);
            }
            count -= len;
            if count == 0 {
                return acc;
            }
            at.position = 0;
            at.inner += 1;
            at.base += runs.inner_stride;
            if at.inner == runs.inner {
                at.inner = 0;
                at.base = at.base + runs.outer_stride - runs.inner * runs.inner_stride;
            }
        }
    }
}

/// Calls `$call` with the constants `$MR` and `$NV` bound to `$rows` (at most `S::ROWS`) and `$vectors` (1 or 2).
macro_rules! with_tile {
    ($S:ty, $rows:expr, $vectors:expr, $MR:ident, $NV:ident => $call:expr) => {
        with_tile!(@arms $S, $rows, $vectors, $MR, $NV, $call; 1 2 3 4 5 6 7 8 9 10 11 12)
    };
    (@arms $S:ty, $rows:expr, $vectors:expr, $MR:ident, $NV:ident, $call:expr; $($n:literal)*) => {
        match ($rows, $vectors) {
            $(
                // The first condition is a constant: wider tiles than the instruction set's are not compiled.
                ($n, 1) if $n <= <$S>::ROWS => {
                    const $MR: usize = $n;
                    const $NV: usize = 1;
                    $call
                }
                ($n, _) if $n <= <$S>::ROWS => {
                    const $MR: usize = $n;
                    const $NV: usize = 2;
                    $call
                }
            )*
            _ => unreachable!("a tile has 1 to ROWS rows"),
        }
    };
}
pub(super) use with_tile;
