//! How long one `ask` takes with 10 parameters: in memory with 1,000 and 10,000 trials, and durable with 1,000.
//!
//!     cargo run --release -p danlu-tune --example ask_latency [sqlite:new.db] [postgres://me@host/empty]
//!
//! Prints the median and the 95th percentile of 100 asks, each with the creation or the claim of the trial: of TPE over complete trials, and of the
//! default policy (TPE with pause and resume by forecast) over trials of which most are paused.

use danlu_tune::sampler::{Random, Tpe};
use danlu_tune::scheduler::{Forecast, Full, first_rung, rungs};
use danlu_tune::store::{self, LetGo, Outcome, Owner};
use danlu_tune::{
    Asked, Direction, Distribution, MemoryStore, Pair, Parameter, Policy, Report, Space, Store, Study,
    StudySpec,
};
use std::error::Error;
use std::time::{Duration, Instant};

const ASKS: usize = 100;
const STEPS: u64 = 27;

type Outcomes<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcomes<()> {
    for paused in [false, true] {
        measure("memory", Box::new(MemoryStore::default()), 1_000, paused)?;
        measure("memory", Box::new(MemoryStore::default()), 10_000, paused)?;
        for url in std::env::args().skip(1) {
            let kind = url.split(':').next().unwrap_or_default().to_owned();
            measure(&kind, store::open(&url, true)?, 1_000, paused)?;
        }
    }
    Ok(())
}

fn loss(values: &[Option<f64>]) -> f64 {
    values.iter().flatten().map(|x| (x - 0.3) * (x - 0.3)).sum()
}

fn measure(kind: &str, mut store: Box<dyn Store>, trials: u64, paused: bool) -> Outcomes<()> {
    let parameters = (0..10).map(|i| Parameter::new(format!("x{i}"), Distribution::float(0.0, 1.0)));
    let spec = StudySpec {
        name: format!("latency-{paused}"),
        direction: Direction::Minimize,
        space: Space::new(parameters.collect())?,
        max_steps: STEPS,
        context: serde_json::Value::Null,
    };
    let owner = Owner { worker: "latency".into(), lease: Duration::from_secs(600) };
    let id = store.create_study(&spec)?;
    let mut rng = danlu_rng::Stream::new(1, danlu_rng::Purpose::Sampler, 0, 0);
    let first = first_rung(STEPS);
    let report = |values: &[Option<f64>], step: u64| Report {
        step,
        value: loss(values) + 1.0 / step as f64,
        seconds: 1.0 + values[0].unwrap_or(0.0),
    };
    for _ in 0..trials {
        let values = Random::draw(&spec.space, &mut rng);
        let claim = store.create_trial(id, &spec.space, &values, &owner)?;
        if paused {
            store.record(&claim, &owner, &report(&values, first), None)?;
            store.let_go(&claim, LetGo::Pause, None)?;
        } else {
            store.finish(&claim, &Outcome::Complete(loss(&values)))?;
        }
    }
    let mut study = Study::open(store, spec)?;
    let forecast = Forecast::new(first, 3.0);
    let mut policy: Box<dyn Policy> = match paused {
        true => Box::new(Pair { sampler: Tpe::default(), scheduler: forecast }),
        false => Box::new(Pair { sampler: Tpe::default(), scheduler: Full }),
    };
    let steps = rungs(first, 3.0, STEPS);
    let mut times = Vec::new();
    for _ in 0..ASKS {
        let begun = Instant::now();
        let Asked::Run(claim, trial) = study.ask(policy.as_mut(), &owner, 1)? else {
            return Err("nothing to run".into());
        };
        times.push(begun.elapsed());
        match steps.iter().find(|&&step| step > trial.steps()).filter(|&&step| paused && step < STEPS) {
            Some(&next) => {
                study.record(&claim, &owner, &report(&trial.values, next), None)?;
                study.let_go(&claim, LetGo::Pause, None)?;
            }
            None => study.finish(&claim, &Outcome::Complete(loss(&trial.values)))?,
        }
    }
    times.sort();
    let ms = |i: usize| 1e3 * times[i].as_secs_f64();
    println!(
        "{:9} {kind:10} {trials:6} trials: median {:.2} ms, 95 % {:.2} ms, slowest {:.1} ms",
        if paused { "forecast" } else { "tpe" },
        ms(ASKS / 2),
        ms(ASKS * 95 / 100),
        ms(ASKS - 1),
    );
    Ok(())
}
