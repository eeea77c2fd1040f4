//! The transforms in one dimension: polynomials at the points 0, ±A, ±B and infinity, and back.

use crate::conv::simd::Simd;

/// The points ±A and ±B.
const A: f32 = 0.65;
const B: f32 = 1.5;
const A2: f32 = A * A;
const B2: f32 = B * B;
/// One over the product of the distances of 0, ±A and ±B to the other points.
const ZERO: f32 = 1.0 / (A2 * B2);
const NEAR: f32 = 1.0 / (2.0 * A2 * (A2 - B2));
const FAR: f32 = 1.0 / (2.0 * B2 * (B2 - A2));

/// `a * s + b * t`.
///
/// # Safety
/// `S` is available.
#[inline(always)]
pub(super) unsafe fn mix<S: Simd>(a: S::V, s: f32, b: S::V, t: f32) -> S::V {
    // SAFETY: by the caller's promise.
    unsafe { S::fma(a, S::splat(s), S::mul(b, S::splat(t))) }
}

/// `a + b * t`.
///
/// # Safety
/// `S` is available.
#[inline(always)]
pub(super) unsafe fn plus<S: Simd>(a: S::V, b: S::V, t: f32) -> S::V {
    // SAFETY: by the caller's promise.
    unsafe { S::fma(b, S::splat(t), a) }
}

/// `g0 + g1 p + g2 p^2` at the points, divided by the product of the distances to the other points.
///
/// # Safety
/// `S` is available.
#[inline(always)]
pub(super) unsafe fn at_points<S: Simd>(g: [S::V; 3]) -> [S::V; 6] {
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
pub(super) unsafe fn forward_points<S: Simd>(d: [S::V; 6]) -> [S::V; 6] {
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
pub(super) unsafe fn backward_points<S: Simd>(m: [S::V; 6]) -> [S::V; 4] {
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

/// `y0 + y1 p + y2 p^2 + y3 p^3` at the points: the transpose of [`backward_points`].
///
/// # Safety
/// `S` is available.
#[inline(always)]
pub(super) unsafe fn gradient_points<S: Simd>(y: [S::V; 4]) -> [S::V; 6] {
    // SAFETY: by the caller's promise.
    unsafe {
        let (near, near_odd) = (plus::<S>(y[0], y[2], A2), mix::<S>(y[1], A, y[3], A * A2));
        let (far, far_odd) = (plus::<S>(y[0], y[2], B2), mix::<S>(y[1], B, y[3], B * B2));
        [
            y[0],
            S::add(near, near_odd),
            S::sub(near, near_odd),
            S::add(far, far_odd),
            S::sub(far, far_odd),
            y[3],
        ]
    }
}

/// The sums at the points back to the taps: the transpose of [`at_points`].
///
/// # Safety
/// `S` is available.
#[inline(always)]
pub(super) unsafe fn taps<S: Simd>(u: [S::V; 6]) -> [S::V; 3] {
    // SAFETY: by the caller's promise.
    unsafe {
        let (near, near_odd) = (S::add(u[1], u[2]), S::sub(u[1], u[2]));
        let (far, far_odd) = (S::add(u[3], u[4]), S::sub(u[3], u[4]));
        [
            S::fma(u[0], S::splat(ZERO), mix::<S>(near, NEAR, far, FAR)),
            mix::<S>(near_odd, A * NEAR, far_odd, B * FAR),
            S::add(u[5], mix::<S>(near, A2 * NEAR, far, B2 * FAR)),
        ]
    }
}
