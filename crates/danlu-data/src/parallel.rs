//! One result for each of many things, on all cores.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::stall;

/// `work(i)` for each `i` below `count`, in any order, `chunk` of them at a time; the results in order. `None` where a worker
/// failed (a panic of a decoder is caught further down, so that this is a bug and costs its chunk only).
pub(crate) fn each<T: Send>(count: usize, chunk: usize, work: impl Fn(usize) -> T + Sync) -> Vec<Option<T>> {
    let threads = thread::available_parallelism().map_or(1, |n| n.get()).clamp(1, 32);
    let next = AtomicUsize::new(0);
    let run = |results: &mut Vec<(usize, T)>| {
        loop {
            let start = next.fetch_add(chunk, Ordering::Relaxed);
            if start >= count {
                return;
            }
            results.extend((start..(start + chunk).min(count)).map(|i| {
                stall::step();
                (i, work(i))
            }));
        }
    };
    let mut results = Vec::new();
    thread::scope(|scope| {
        let workers: Vec<_> = (1..threads.min(count.div_ceil(chunk.max(1))))
            .map(|_| {
                scope.spawn(|| {
                    let mut results = Vec::new();
                    run(&mut results);
                    results
                })
            })
            .collect();
        run(&mut results);
        for worker in workers {
            results.extend(worker.join().unwrap_or_default());
        }
    });
    let mut out: Vec<Option<T>> = Vec::new();
    out.resize_with(count, || None);
    for (i, result) in results {
        out[i] = Some(result);
    }
    out
}
