//! Trials side by side or one after the other: measured.

use danlu_train::{TrainError, measure_steps};

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
    let speed = |threads| measure_steps(threads, 0.4).map(|speed| speed.mean);
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
