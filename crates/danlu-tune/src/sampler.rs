//! Samplers: which values to try next.

mod grid;
mod prior;
#[cfg(test)]
mod properties;
mod random;
mod sobol;
mod tpe;

pub use grid::Grid;
pub use prior::Prior;
pub use random::Random;
pub use sobol::Sobol;
pub use tpe::Tpe;

use crate::space::Values;
use crate::view::View;
use danlu_rng::Stream;

/// Chooses the values of the next trial. All values must be of the space's domains, and active ones only.
pub trait Sampler: Send {
    /// The next trial, or `None` when the sampler has nothing left to try.
    fn sample(&mut self, view: &View, rng: &mut Stream) -> Option<Values>;
}

impl<S: Sampler + ?Sized> Sampler for Box<S> {
    fn sample(&mut self, view: &View, rng: &mut Stream) -> Option<Values> {
        (**self).sample(view, rng)
    }
}
