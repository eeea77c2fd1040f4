//! Initial weights: PyTorch's `torch.nn.init` by name and formula.
//!
//! Every parameter draws from a stream of its own, keyed by the seed and its name: adding a layer does not change
//! the numbers of the others.

mod config;
mod fan;
mod fill;
mod orthogonal;

pub use config::{InitConfig, InitGroup, InitMethod};
pub use fan::{Fans, Mode, Nonlinearity};
pub use fill::{
    constant, dirac, kaiming_normal, kaiming_uniform, normal, pytorch_default, trunc_normal, uniform,
    xavier_normal, xavier_uniform,
};
pub use orthogonal::orthogonal;

pub(crate) use fill::initial_values;
