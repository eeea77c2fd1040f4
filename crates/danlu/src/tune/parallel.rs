//! Trials side by side or one after the other: measured.

use std::time::Instant;

use danlu_nn::{
    Engine, EngineConfig, Images, InitConfig, Input, LossConfig, NetworkConfig, StepContext, Targets,
};
use danlu_train::TrainError;

/// As many workers as cores, one thread each, where that trains more images a second than one worker with all threads; else 1.
/// Measured in about a second on a small network, whose layers are too small for threads to share well; large networks gain less.
///
/// # Errors
/// An engine that cannot run (an unknown `DANLU_SIMD`).
pub fn best_workers() -> Result<(usize, String), TrainError> {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    if cores < 2 {
        return Ok((1, "this machine has one core".into()));
    }
    let together = speed(cores)?;
    let begun: Vec<Result<f64, TrainError>> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..cores).map(|_| scope.spawn(|| speed(1))).collect();
        handles.into_iter().filter_map(|handle| handle.join().ok()).collect()
    });
    let mut apart = 0.0;
    for speed in begun {
        apart += speed?;
    }
    let said = format!("{apart:.0} images a second with {cores} trials side by side, {together:.0} with one");
    Ok((if apart > 1.05 * together { cores } else { 1 }, said))
}

/// Images a second of training steps with so many threads.
fn speed(threads: usize) -> Result<f64, TrainError> {
    let (batch, side) = (32, 28);
    let graph = NetworkConfig::default().build(1, 10, [side, side])?;
    let mut engine = Engine::new(graph, &EngineConfig { threads, ..EngineConfig::default() })?;
    engine.initialize(&InitConfig::default(), 0)?;
    let pixels: Vec<u8> = (0..batch * side * side).map(|i| (i * 37 % 251) as u8).collect();
    let labels: Vec<u32> = (0..batch as u32).map(|i| i % 10).collect();
    let images = Images::U8 { data: &pixels, mean: &[0.5], std: &[0.25] };
    let input = Input { images, shape: [batch, side, side, 1], mix: None };
    let (mut steps, mut begun) = (0u32, Instant::now());
    loop {
        engine.forward_backward(
            &input,
            &Targets::Classes(&labels),
            &LossConfig::default(),
            &StepContext::default(),
        )?;
        if steps == 0 {
            // The first step plans and allocates.
            begun = Instant::now();
        }
        steps += 1;
        if begun.elapsed().as_secs_f64() > 0.4 && steps > 2 {
            return Ok(f64::from(steps - 1) * batch as f64 / begun.elapsed().as_secs_f64());
        }
    }
}
