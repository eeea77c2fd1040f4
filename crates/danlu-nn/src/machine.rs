//! What the machine can do at most, for tables of shares of the peak.

use danlu_kernels::{Threads, machine};

use crate::engine::EngineConfig;
use crate::error::{NnError, Result};

/// The roofline of the cpu device.
#[derive(Clone, Debug, PartialEq)]
pub struct Machine {
    /// Instruction set of the kernels: `portable`, `avx2` or `avx512`.
    pub isa: &'static str,
    /// Threads that worked.
    pub threads: usize,
    /// Multiply-adds in registers, FLOP/s.
    pub peak_flops: f64,
    /// Copying between arrays that no cache holds, bytes read and written a second.
    pub bandwidth: f64,
}

impl Machine {
    /// Measures it with the threads and instruction set of `config`, in some tenths of a second; needs 128 MiB.
    ///
    /// # Errors
    /// Where the machine lacks the instruction set or refuses the threads.
    pub fn measure(config: &EngineConfig) -> Result<Machine> {
        let threads = match config.isa {
            Some(isa) => Threads::with_isa(config.threads, isa),
            None => Threads::new(config.threads),
        };
        let threads =
            threads.map_err(|error| NnError::Unsupported { what: error.to_string(), hint: None })?;
        Ok(Machine {
            isa: threads.isa().name(),
            threads: threads.count(),
            peak_flops: machine::peak_flops(&threads),
            bandwidth: machine::bandwidth(&threads),
        })
    }
}
