//! How long each kernel of a pass takes.

use std::time::Instant;

use crate::device::Device;
use crate::graph::Graph;
use crate::plan::{Plan, Step};
use crate::real::Real;

/// One kernel of a pass, timed ([`Engine::set_profiling`](crate::Engine::set_profiling)).
#[derive(Clone, Debug, PartialEq)]
pub struct KernelTime {
    /// The layer it belongs to.
    pub layer: String,
    /// What it does: `conv forward`, `norm apply`, ...
    pub kernel: &'static str,
    /// Whether it runs after the loss.
    pub backward: bool,
    /// How a convolution is computed; empty for all else.
    pub algorithm: String,
    /// Wall time.
    pub seconds: f64,
    /// Floating-point operations of the direct convolution; 0 for all else.
    pub flops: f64,
    /// Bytes of the tensors that it reads and writes, each counted once, scratch excepted.
    pub bytes: usize,
}

/// Collects the times of one pass.
#[derive(Debug, Default)]
pub(crate) struct Profile {
    pub(crate) times: Vec<KernelTime>,
    start: Option<Instant>,
}

impl Profile {
    /// Forgets the pass before.
    pub(crate) fn begin(&mut self) {
        self.times.clear();
        self.start = Some(Instant::now());
    }

    /// Step `index` of the plan has ended now.
    pub(crate) fn end<T: Real>(&mut self, graph: &Graph, device: &dyn Device<T>, plan: &Plan, index: usize) {
        let now = Instant::now();
        let seconds = self.start.map_or(0.0, |start| now.duration_since(start).as_secs_f64());
        let Step { node, kernel } = &plan.steps[index];
        let workspace = kernel.workspace();
        let values: usize = kernel
            .bufs()
            .into_iter()
            .filter(|&buf| Some(buf) != workspace)
            .map(|buf| plan.places[buf.0].len)
            .sum();
        let conv = kernel.conv();
        self.times.push(KernelTime {
            layer: graph.nodes[node.0].name.clone(),
            kernel: kernel.name(),
            backward: index >= plan.backward_from,
            algorithm: conv.map_or_else(String::new, |(conv, pass)| device.algorithm(conv, pass)),
            seconds,
            flops: conv.map_or(0.0, |(conv, _)| conv.flops()),
            bytes: (values + conv.map_or(0, |(conv, _)| conv.weights())) * T::BYTES,
        });
        // What this function took belongs to no kernel.
        self.start = Some(Instant::now());
    }
}
