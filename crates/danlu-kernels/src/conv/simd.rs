//! Vectors of `f32` of one instruction set, and the dispatch to it.

/// Vectors of one instruction set.
///
/// # Safety
/// The methods are inlined into code compiled for the instruction set (see [`with_simd`]) and must be called only there; pointers
/// must be valid for `LANES` elements.
pub(crate) trait Simd: Copy {
    type V: Copy;
    /// Elements of a vector.
    const LANES: usize;
    /// Rows of the micro-kernel's tile: as many as leave registers for two vectors and a broadcast.
    const ROWS: usize;
    unsafe fn splat(x: f32) -> Self::V;
    unsafe fn load(p: *const f32) -> Self::V;
    unsafe fn store(p: *mut f32, v: Self::V);
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    /// `then` where `a > b`, else `other`; a NaN is not greater.
    unsafe fn if_greater(a: Self::V, b: Self::V, then: Self::V, other: Self::V) -> Self::V;
    /// `a * b + c`, rounded once where the instruction set can.
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// Asks for the cache line of `p`, which is written soon; any address will do.
    #[inline(always)]
    fn prefetch_to_write(_: *const f32) {}
}

/// What every target has: four lanes that the compiler turns into SSE2 or NEON.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

impl Simd for Portable {
    type V = [f32; 4];
    const LANES: usize = 4;
    const ROWS: usize = 6;
    #[inline(always)]
    unsafe fn splat(x: f32) -> [f32; 4] {
        [x; 4]
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> [f32; 4] {
        // SAFETY: the caller's pointer is valid for 4 elements.
        unsafe { p.cast::<[f32; 4]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: [f32; 4]) {
        // SAFETY: as above.
        unsafe { p.cast::<[f32; 4]>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn add(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        [a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]]
    }
    #[inline(always)]
    unsafe fn sub(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        [a[0] - b[0], a[1] - b[1], a[2] - b[2], a[3] - b[3]]
    }
    #[inline(always)]
    unsafe fn mul(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        [a[0] * b[0], a[1] * b[1], a[2] * b[2], a[3] * b[3]]
    }
    #[inline(always)]
    unsafe fn if_greater(a: [f32; 4], b: [f32; 4], then: [f32; 4], other: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|i| if a[i] > b[i] { then[i] } else { other[i] })
    }
    #[inline(always)]
    unsafe fn fma(a: [f32; 4], b: [f32; 4], c: [f32; 4]) -> [f32; 4] {
        if cfg!(target_arch = "aarch64") {
            [
                a[0].mul_add(b[0], c[0]),
                a[1].mul_add(b[1], c[1]),
                a[2].mul_add(b[2], c[2]),
                a[3].mul_add(b[3], c[3]),
            ]
        } else {
            [a[0] * b[0] + c[0], a[1] * b[1] + c[1], a[2] * b[2] + c[2], a[3] * b[3] + c[3]]
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Simd;
    use std::arch::x86_64::*;

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn if_greater_avx2(a: __m256, b: __m256, then: __m256, other: __m256) -> __m256 {
        _mm256_blendv_ps(other, then, _mm256_cmp_ps::<_CMP_GT_OQ>(a, b))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw,avx2,fma")]
    fn if_greater_avx512(a: __m512, b: __m512, then: __m512, other: __m512) -> __m512 {
        _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b), other, then)
    }

    macro_rules! instance {
        ($name:ident, $doc:literal, $V:ty, $lanes:literal, $rows:literal,
         $splat:ident $load:ident $store:ident $add:ident $sub:ident $mul:ident $if_greater:ident $fma:ident) => {
            #[doc = $doc]
            #[derive(Clone, Copy)]
            pub(crate) struct $name;

            // SAFETY (every block): the trait's contract says that the instruction set is there and the pointers are valid.
            #[allow(clippy::undocumented_unsafe_blocks)]
            impl Simd for $name {
                type V = $V;
                const LANES: usize = $lanes;
                const ROWS: usize = $rows;
                #[inline(always)]
                unsafe fn splat(x: f32) -> $V {
                    unsafe { $splat(x) }
                }
                #[inline(always)]
                unsafe fn load(p: *const f32) -> $V {
                    unsafe { $load(p) }
                }
                #[inline(always)]
                unsafe fn store(p: *mut f32, v: $V) {
                    unsafe { $store(p, v) }
                }
                #[inline(always)]
                unsafe fn add(a: $V, b: $V) -> $V {
                    unsafe { $add(a, b) }
                }
                #[inline(always)]
                unsafe fn sub(a: $V, b: $V) -> $V {
                    unsafe { $sub(a, b) }
                }
                #[inline(always)]
                unsafe fn mul(a: $V, b: $V) -> $V {
                    unsafe { $mul(a, b) }
                }
                #[inline(always)]
                unsafe fn if_greater(a: $V, b: $V, then: $V, other: $V) -> $V {
                    unsafe { $if_greater(a, b, then, other) }
                }
                #[inline(always)]
                unsafe fn fma(a: $V, b: $V, c: $V) -> $V {
                    unsafe { $fma(a, b, c) }
                }
                #[inline(always)]
                fn prefetch_to_write(p: *const f32) {
                    // SAFETY: a prefetch touches no memory that the program can see.
                    unsafe { _mm_prefetch::<_MM_HINT_ET0>(p.cast()) }
                }
            }
        };
    }

    instance!(Avx2, "AVX2 with FMA.", __m256, 8, 6,
        _mm256_set1_ps _mm256_loadu_ps _mm256_storeu_ps _mm256_add_ps _mm256_sub_ps _mm256_mul_ps if_greater_avx2 _mm256_fmadd_ps);
    instance!(Avx512, "AVX-512.", __m512, 16, 12,
        _mm512_set1_ps _mm512_loadu_ps _mm512_storeu_ps _mm512_add_ps _mm512_sub_ps _mm512_mul_ps if_greater_avx512 _mm512_fmadd_ps);
}

/// `body`: a closure takes an attribute only as an argument.
pub(crate) fn inlined<R, F: FnOnce() -> R>(body: F) -> F {
    body
}

/// Evaluates `$body` compiled for `$isa`, with `$S` bound to its vectors.
macro_rules! with_simd {
    ($isa:expr, $S:ident => $body:expr) => {
        match $isa {
            #[cfg(target_arch = "x86_64")]
            $crate::Isa::Avx2 => {
                let body = $crate::conv::simd::inlined(#[inline(always)] || {
                    type $S = $crate::conv::simd::Avx2;
                    $body
                });
                // SAFETY: every `Isa` that reaches a kernel was checked by the constructor of `Threads` or `Conv2d`.
                unsafe { $crate::isa::run_avx2(body) }
            }
            #[cfg(target_arch = "x86_64")]
            $crate::Isa::Avx512 => {
                let body = $crate::conv::simd::inlined(#[inline(always)] || {
                    type $S = $crate::conv::simd::Avx512;
                    $body
                });
                // SAFETY: as above.
                unsafe { $crate::isa::run_avx512(body) }
            }
            _ => {
                type $S = $crate::conv::simd::Portable;
                $body
            }
        }
    };
}
pub(crate) use with_simd;

/// Rows of the micro-kernel's tile of `isa`.
pub(crate) fn rows(isa: crate::Isa) -> usize {
    match isa {
        #[cfg(target_arch = "x86_64")]
        crate::Isa::Avx2 => Avx2::ROWS,
        #[cfg(target_arch = "x86_64")]
        crate::Isa::Avx512 => Avx512::ROWS,
        _ => Portable::ROWS,
    }
}

/// Lanes of the vectors of `isa`.
pub(crate) fn lanes(isa: crate::Isa) -> usize {
    match isa {
        crate::Isa::Portable => 4,
        crate::Isa::Avx2 => 8,
        crate::Isa::Avx512 => 16,
    }
}
