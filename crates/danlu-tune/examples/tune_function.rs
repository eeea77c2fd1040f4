//! Tunes a plain function: no image, no network, no database.
//!
//!     cargo run -p danlu-tune --example tune_function [sqlite:study.db [NAME]]
//!
//! Where the store has a study of that name, from danlu or from Optuna, it goes on with it.

use danlu_tune::sampler::{Prior, Tpe};
use danlu_tune::scheduler::{Asha, Stop};
use danlu_tune::store::Owner;
use danlu_tune::worker::{Budget, Ended, Go, Job, Objective, Reporter, Worker};
use danlu_tune::{
    Direction, Distribution, MemoryStore, Pair, Parameter, Report, Space, Store, Study, StudySpec,
};
use std::time::Duration;

/// A curve that falls towards `(x - 0.3)^2 + (log10 lr + 2)^2` in 20 steps.
struct Valley;

impl Objective for Valley {
    fn run(&mut self, job: &Job, reporter: &dyn Reporter) -> Result<Ended, String> {
        let number = |name: &str| job.values.get(name).and_then(|v| v.as_f64()).ok_or(format!("no `{name}`"));
        let (x, lr) = (number("x")?, number("lr")?);
        let end = (x - 0.3).powi(2) + (lr.log10() + 2.0).powi(2);
        // Nothing but the step is needed to go on, so there is no checkpoint.
        for step in job.steps + 1..=job.max_steps {
            let value = end + 1.0 / step as f64;
            if reporter.report(Report { step, value, seconds: 0.0 }, None) == Go::Stop {
                return Ok(Ended::Stopped(None));
            }
        }
        Ok(Ended::Complete(None))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let space = Space::new(vec![
        Parameter::new("x", Distribution::float(0.0, 1.0)),
        Parameter::new("lr", Distribution::log(1e-4, 1.0)).advise(0.1),
    ])?;
    let spec = StudySpec {
        name: std::env::args().nth(2).unwrap_or_else(|| "valley".into()),
        direction: Direction::Minimize,
        space,
        max_steps: 20,
        context: serde_json::Value::Null,
    };
    let open = || -> danlu_tune::Result<Box<dyn Store>> {
        match std::env::args().nth(1) {
            Some(url) => danlu_tune::store::open(&url, true),
            None => Ok(Box::new(MemoryStore::default())),
        }
    };
    let store = open()?;
    let study = Study::open(store, spec)?;
    // The work of ten more full trials than there are.
    let done: u64 = study.view().trials().iter().map(|trial| trial.steps()).sum();
    let budget = done + 10 * 20;
    let best = std::sync::Mutex::new(None);
    let worker = Worker {
        owner: Owner { worker: "example".into(), lease: Duration::from_secs(60) },
        seed: 1,
        budget: Budget { steps: Some(budget), ..Budget::default() },
        stop: Default::default(),
        observer: &|_, view| {
            if let (Some(trial), Ok(mut best)) = (view.best_observed(), best.lock()) {
                *best =
                    Some((trial.number, view.space.to_external(&trial.values), view.best_observed_loss()));
            }
        },
    };
    let mut policy = Pair { sampler: Prior::new(Tpe::default()), scheduler: Asha::new(1, 3.0, Stop::Pause) };
    let finish = worker.work(study, &mut policy, &mut Valley)?;
    println!("{finish:?}");
    if let Ok(best) = best.into_inner() {
        println!("{best:?}");
    }
    Ok(())
}
