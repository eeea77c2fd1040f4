//! What this machine can do, as measured now: a promise of minutes should not rest on an assumption.

use std::time::Instant;

use danlu_nn::{
    Engine, EngineConfig, Images, InitConfig, Input, LossConfig, NetworkConfig, SmallConfig, StepContext,
    Targets,
};
use danlu_recipe::MachineFacts;

use crate::error::TrainError;

/// Training steps of a small network: how many, how long the fastest took, and all of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepSpeed {
    /// Forward FLOPs an image.
    pub forward_flops: f64,
    /// Images a second in the fastest step: what the machine can do, whoever else was working.
    pub best: f64,
    /// Images a second over all steps: what it did.
    pub mean: f64,
}

/// Times training steps of the network that the advisor would give to Fashion-MNIST for about `seconds`, with `threads`
/// threads (0: all cores).
///
/// # Errors
/// An engine that cannot run (an unknown `DANLU_SIMD`).
pub fn measure_steps(threads: usize, seconds: f64) -> Result<StepSpeed, TrainError> {
    let (batch, side) = (64, 28);
    let network = NetworkConfig::Small(SmallConfig { width: 32, stride: 2, ..SmallConfig::default() });
    let graph = network.build(1, 10, [side, side])?;
    let forward_flops = graph.flops(side, side)? as f64;
    let mut engine = Engine::new(graph, &EngineConfig { threads, ..EngineConfig::default() })?;
    engine.initialize(&InitConfig::default(), 0)?;
    let pixels: Vec<u8> = (0..batch * side * side).map(|i| (i * 37 % 251) as u8).collect();
    let labels: Vec<u32> = (0..batch as u32).map(|i| i % 10).collect();
    let images = Images::U8 { data: &pixels, mean: &[0.5], std: &[0.25] };
    let input = Input { images, shape: [batch, side, side, 1], mix: None };
    let mut step = || {
        let start = Instant::now();
        let (targets, context) = (Targets::Classes(&labels), StepContext::default());
        engine.forward_backward(&input, &targets, &LossConfig::default(), &context)?;
        Ok::<f64, TrainError>(start.elapsed().as_secs_f64().max(1e-9))
    };
    // The first step plans and allocates.
    step()?;
    let (mut best, mut all, mut steps) = (f64::INFINITY, 0.0, 0);
    while all < seconds || steps < 3 {
        let took = step()?;
        best = best.min(took);
        all += took;
        steps += 1;
    }
    let images_a_second = |steps: f64, seconds: f64| steps * batch as f64 / seconds;
    Ok(StepSpeed {
        forward_flops,
        best: images_a_second(1.0, best),
        mean: images_a_second(f64::from(steps), all),
    })
}

/// Cores, memory and speed. Measured once a process, so that the trials of a study are advised alike and none waits for
/// it again.
pub(crate) fn machine_facts() -> Result<MachineFacts, TrainError> {
    static FACTS: std::sync::OnceLock<MachineFacts> = std::sync::OnceLock::new();
    if let Some(facts) = FACTS.get() {
        return Ok(facts.clone());
    }
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    // Where the system does not say, a small laptop is assumed.
    let memory_bytes = available_memory().unwrap_or(4 << 30);
    let speed = measure_steps(0, 0.5)?;
    let facts = MachineFacts { cores, memory_bytes, training_gflops: None };
    let facts = facts.measured(speed.forward_flops, speed.best);
    Ok(FACTS.get_or_init(|| facts).clone())
}

/// Bytes that programs may still take, on Linux.
pub fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemAvailable:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}
