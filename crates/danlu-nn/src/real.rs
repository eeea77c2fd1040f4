//! The number types that the reference device computes in.

use std::fmt::Debug;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Mul, MulAssign, Sub};

use danlu_optim::{OptimError, Optimizer, TensorMut};

/// f32 or f64.
pub(crate) trait Real:
    Copy
    + Debug
    + Default
    + PartialOrd
    + Send
    + Sync
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + AddAssign
    + MulAssign
    + Sum
    + 'static
{
    const ZERO: Self;
    const ONE: Self;
    const BYTES: usize;
    const NAME: &'static str;
    fn from_f64(x: f64) -> Self;
    fn to_f64(self) -> f64;
    fn is_finite(self) -> bool;
    fn push_bytes(self, out: &mut Vec<u8>);
    /// From exactly `Self::BYTES` little-endian bytes; zero where the length is another.
    fn from_bytes(bytes: &[u8]) -> Self;
    /// `Optimizer::step` in this type.
    fn optimizer_step(
        optimizer: &mut Optimizer,
        tensors: &mut [TensorMut<'_, Self>],
        pool: Option<&rayon::ThreadPool>,
    ) -> Result<(), OptimError>;
    /// `Optimizer::averaged` in this type.
    fn optimizer_average(
        optimizer: &Optimizer,
        now: &[&[Self]],
        out: &mut [&mut [Self]],
    ) -> Result<bool, OptimError>;
}

macro_rules! real {
    ($t:ty, $name:literal) => {
        impl Real for $t {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const BYTES: usize = size_of::<$t>();
            const NAME: &'static str = $name;
            fn from_f64(x: f64) -> Self {
                x as $t
            }
            fn to_f64(self) -> f64 {
                self as f64
            }
            fn is_finite(self) -> bool {
                <$t>::is_finite(self)
            }
            fn push_bytes(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn from_bytes(bytes: &[u8]) -> Self {
                bytes.try_into().map_or(0.0, <$t>::from_le_bytes)
            }
            fn optimizer_step(
                optimizer: &mut Optimizer,
                tensors: &mut [TensorMut<'_, Self>],
                pool: Option<&rayon::ThreadPool>,
            ) -> Result<(), OptimError> {
                optimizer.step::<$t>(tensors, pool)
            }
            fn optimizer_average(
                optimizer: &Optimizer,
                now: &[&[Self]],
                out: &mut [&mut [Self]],
            ) -> Result<bool, OptimError> {
                optimizer.averaged::<$t>(now, out)
            }
        }
    };
}

real!(f32, "f32");
real!(f64, "f64");
