//! The time of a pass, kernel by kernel.

use std::fmt::Write;

use danlu::nn::{EngineConfig, KernelTime, Machine};
use danlu::train::TrainError;
use danlu::view::{BarUnit, LayerBars, Look, Roofline, RooflinePoint, Svg, ViewError, layer_bars, roofline};

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

    /// The median time of each kernel, beside what the machine can do.
    pub(super) fn measured(mut self, config: &EngineConfig) -> Result<Measured, TrainError> {
        for (kernel, times) in self.kernels.iter_mut().zip(&mut self.seconds) {
            kernel.seconds = median(times);
        }
        Ok(Measured { machine: Machine::measure(config)?, kernels: self.kernels })
    }
}

/// Kernels with their times, and the machine that they ran on.
pub(super) struct Measured {
    machine: Machine,
    kernels: Vec<KernelTime>,
}

impl Measured {
    fn total(&self) -> f64 {
        self.kernels.iter().map(|kernel| kernel.seconds).sum()
    }

    /// Adds the table to both forms of a report.
    pub(super) fn report(&self, report: &mut serde_json::Value, text: &mut String) {
        let (machine, total) = (&self.machine, self.total());
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
    }

    /// Every convolution under the machine's limits.
    pub(super) fn roofline(&self) -> Svg {
        let total = self.total();
        let convolutions = self.kernels.iter().filter(|kernel| kernel.flops > 0.0 && kernel.bytes > 0);
        let points = convolutions.map(|kernel| RooflinePoint {
            name: format!("{} {}", kernel.layer, kernel.kernel),
            intensity: kernel.flops / kernel.bytes as f64,
            flops: kernel.flops / kernel.seconds,
            share: kernel.seconds / total,
        });
        let (peak, bandwidth) = (self.machine.peak_flops, self.machine.bandwidth);
        roofline(&Roofline { peak, bandwidth, points: points.collect() }, &Look::default())
    }

    /// The time of each layer, forward and backward.
    pub(super) fn bars(&self, network: &str) -> Result<Svg, ViewError> {
        let mut layers: Vec<(String, Vec<f64>)> = Vec::new();
        for kernel in &self.kernels {
            let name = if kernel.layer.is_empty() { kernel.kernel } else { &kernel.layer };
            let at = layers.iter().position(|(layer, _)| layer == name).unwrap_or_else(|| {
                layers.push((name.to_owned(), vec![0.0; 2]));
                layers.len() - 1
            });
            layers[at].1[usize::from(kernel.backward)] += kernel.seconds;
        }
        let title = format!("time by layer: a step of {network}");
        let parts = vec!["forward".to_owned(), "backward and update".to_owned()];
        let bars = LayerBars { title, parts, layers, unit: BarUnit::Seconds };
        layer_bars(&bars, &Look::default())
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
