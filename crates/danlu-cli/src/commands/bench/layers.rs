//! The time of a pass, kernel by kernel.

use std::fmt::Write;

use danlu::nn::{EngineConfig, KernelTime, Machine};
use danlu::train::TrainError;

use super::median;

/// The kernels of several passes of one plan.
#[derive(Default)]
pub(super) struct Layers {
    kernels: Vec<KernelTime>,
    /// Of each kernel, its time in each pass.
    seconds: Vec<Vec<f64>>,
}

impl Layers {
    /// Adds a pass, and what came after it.
    pub(super) fn add(&mut self, kernels: &[KernelTime], last: &'static str, seconds: f64) {
        if kernels.is_empty() {
            return;
        }
        if self.kernels.is_empty() {
            self.kernels = kernels.to_vec();
            self.kernels.push(KernelTime {
                layer: String::new(),
                kernel: last,
                backward: true,
                algorithm: String::new(),
                seconds: 0.0,
                flops: 0.0,
                bytes: 0,
            });
            self.seconds = vec![Vec::new(); self.kernels.len()];
        }
        let times = kernels.iter().map(|kernel| kernel.seconds).chain([seconds]);
        self.seconds.iter_mut().zip(times).for_each(|(all, time)| all.push(time));
    }

    /// Adds the table to both forms of a report; measures the machine for the shares of its peak.
    pub(super) fn report(
        mut self,
        config: &EngineConfig,
        report: &mut serde_json::Value,
        text: &mut String,
    ) -> Result<(), TrainError> {
        let machine = Machine::measure(config)?;
        for (kernel, times) in self.kernels.iter_mut().zip(&mut self.seconds) {
            kernel.seconds = median(times);
        }
        let total: f64 = self.kernels.iter().map(|kernel| kernel.seconds).sum();
        let peak = machine.peak_flops;
        let _ = write!(
            text,
            "\n\n{}, {} threads: peak {:.0} GFLOP/s, copy {:.1} GB/s\n\n",
            machine.isa,
            machine.threads,
            peak / 1e9,
            machine.bandwidth / 1e9
        );
        let width = |of: fn(&KernelTime) -> usize| self.kernels.iter().map(of).max().unwrap_or(0);
        let (layer, algorithm) = (width(|k| k.layer.len()).max(5), width(|k| k.algorithm.len()).max(9));
        let _ = writeln!(
            text,
            "{:layer$}  {:19}  {:algorithm$}  {:>9}  {:>6}  {:>7}  {:>6}  {:>8}  {:>6}",
            "layer", "kernel", "algorithm", "ms", "share", "GF/s", "peak", "MiB", "GB/s"
        );
        for kernel in &self.kernels {
            let _ = write!(
                text,
                "{:layer$}  {:19}  {:algorithm$}  {:9.3}  {:5.1}%",
                kernel.layer,
                kernel.kernel,
                kernel.algorithm,
                1e3 * kernel.seconds,
                100.0 * kernel.seconds / total
            );
            let speed = kernel.flops / kernel.seconds;
            let bytes = kernel.bytes as f64;
            if kernel.flops > 0.0 {
                let _ = write!(text, "  {:7.1}  {:5.0}%", speed / 1e9, 100.0 * speed / peak);
            } else {
                let _ = write!(text, "  {:7}  {:6}", "", "");
            }
            let _ = if kernel.bytes > 0 {
                let rate = bytes / kernel.seconds / 1e9;
                writeln!(text, "  {:8.2}  {rate:6.1}", bytes / f64::from(1 << 20))
            } else {
                writeln!(text)
            };
        }
        let _ = write!(text, "\nby kind:");
        for (name, seconds) in self.kinds() {
            let _ = write!(text, "\n  {name:19}  {:9.3} ms  {:5.1}%", 1e3 * seconds, 100.0 * seconds / total);
        }
        let _ = write!(
            text,
            "\n\nGF/s are those of a direct convolution, so an algorithm with fewer multiplications can pass the peak; bytes are those of\n\
             the tensors, each counted once (what the caches keep is faster than memory)."
        );
        report["machine"] = serde_json::json!({
            "isa": machine.isa,
            "threads": machine.threads,
            "peak_gflops": peak / 1e9,
            "bandwidth_gb_per_second": machine.bandwidth / 1e9,
        });
        report["layers"] = self
            .kernels
            .iter()
            .map(|kernel| {
                serde_json::json!({
                    "layer": kernel.layer,
                    "kernel": kernel.kernel,
                    "backward": kernel.backward,
                    "algorithm": kernel.algorithm,
                    "ms": 1e3 * kernel.seconds,
                    "gflops": kernel.flops / kernel.seconds / 1e9,
                    "share_of_peak": kernel.flops / kernel.seconds / peak,
                    "bytes": kernel.bytes,
                })
            })
            .collect();
        Ok(())
    }

    /// The time of each kind of kernel, the longest first.
    fn kinds(&self) -> Vec<(&'static str, f64)> {
        let mut kinds: Vec<(&'static str, f64)> = Vec::new();
        for kernel in &self.kernels {
            match kinds.iter_mut().find(|(name, _)| *name == kernel.kernel) {
                Some((_, seconds)) => *seconds += kernel.seconds,
                None => kinds.push((kernel.kernel, kernel.seconds)),
            }
        }
        kinds.sort_by(|a, b| b.1.total_cmp(&a.1));
        kinds
    }
}
