//! Machines whose clocks disagree: leases are the database's time.

use super::{TRIALS, check_all_complete, enqueue_trials, server, worker_command};
use std::process::{Child, Command};
use std::time::{SystemTime, UNIX_EPOCH};

/// Eleven hours, in seconds: more than any lease.
const SKEW: i64 = 11 * 3600;

#[test]
fn workers_whose_clocks_are_eleven_hours_apart_do_not_take_trials_from_one_another() {
    let Some(server) = server::Server::start() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let shim = folder.path().join("skew.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clocks/skew.c");
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&shim).arg(source).status();
    if !compiled.is_ok_and(|status| status.success()) {
        eprintln!("skipped: no C compiler for the clock's shim");
        return;
    }
    let mut study = enqueue_trials(&server.url());
    // Half of the workers live in the past, half in the future; the database in between.
    let skews = [-SKEW, SKEW, -SKEW, SKEW];
    let mut workers: Vec<Child> = skews
        .iter()
        .map(|skew| {
            let mut command = worker_command(&server.url(), folder.path());
            command.env("LD_PRELOAD", &shim).env("CLOCK_SKEW", skew.to_string());
            command.spawn().expect("starts a worker")
        })
        .collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() as i64;
    for (worker, skew) in workers.iter_mut().zip(skews) {
        let id = worker.id();
        assert!(worker.wait().expect("ends").success());
        let clock = std::fs::read_to_string(folder.path().join(format!("clock-{id}"))).expect("its clock");
        let off = clock.parse::<i64>().expect("seconds") - now;
        assert!((off - skew).abs() < 600, "the clock of the worker is {off} s off, not {skew}");
    }
    study.refresh().expect("reads");
    check_all_complete(study.view(), folder.path());
    // Claimed once from the queue and once after the pause; by the workers' own clocks every lease would have run out.
    let claims: i64 = study.view().trials().iter().map(|trial| trial.epoch).sum();
    assert_eq!(claims, 2 * TRIALS as i64, "no trial was taken from a worker that holds it");
}
