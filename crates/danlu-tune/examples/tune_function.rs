//! Tunes a plain function: no image, no network, no database.
//!
//!     cargo run -p danlu-tune --example tune_function [sqlite:study.db]

use danlu_tune::policy::FreezeThaw;
use danlu_tune::store::Owner;
use danlu_tune::worker::{Budget, Ended, Go, Job, Objective, Reporter, Worker};
use danlu_tune::{Direction, Distribution, MemoryStore, Parameter, Report, Space, Store, Study, StudySpec};
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
        name: "valley".into(),
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
    let best = std::sync::Mutex::new(None);
    let worker = Worker {
        owner: Owner { worker: "example".into(), lease: Duration::from_secs(60) },
        seed: 1,
        budget: Budget { steps: Some(20 * 20), ..Budget::default() },
        stop: Default::default(),
        observer: &|_, view| {
            if let (Some(trial), Ok(mut best)) = (view.best_observed(), best.lock()) {
                *best =
                    Some((trial.number, view.space.to_external(&trial.values), view.best_observed_loss()));
            }
        },
    };
    let finish = worker.work(study, &mut FreezeThaw::default(), &mut Valley)?;
    println!("{finish:?}");
    if let Ok(best) = best.into_inner() {
        println!("{best:?}");
    }
    Ok(())
}
