//! CPU kernels for CNN training: convolution, batch normalisation, pooling, activations, loss; forward and backward.
//!
//! The crate knows plain slices of `f32`, shapes, threads and instruction sets. It must never know graphs, parameters by
//! name, files or recipes: the engine (`danlu-nn`) calls it.
//!
//! - Activations are NHWC (`[N, H, W, C]`), weights OIHW (`[out, in / groups, kh, kw]`, PyTorch's layout).
//! - A [`Threads`] is the pool of one engine and knows the instruction set ([`Isa`]) that its kernels run with.
//! - Scratch memory is the caller's: a `workspace` function beside each kernel tells how many `f32` it needs, and no
//!   kernel allocates.
//! - Every reduction is partitioned by shape and never by the number of threads, so the bits of a result depend on the
//!   operands, the shape and the instruction set only.
//!
//! Slices of a wrong length are a bug of the caller and panic; a shape that makes no sense is a [`KernelError`].

pub mod activation;
pub mod batch_norm;
mod columns;
mod conv;
pub mod elementwise;
mod error;
pub mod images;
mod isa;
pub mod loss;
pub mod machine;
pub mod pool;
pub mod reduce;
mod shared;
mod threads;

pub use activation::Activation;
pub use conv::{Algorithm, Conv2d, Conv2dShape, Epilogue, Pass, Prologue};
pub use error::KernelError;
pub use isa::Isa;
pub use threads::Threads;
