//! How long one `ask` takes with 10 parameters: in memory with 1,000 and 10,000 trials, and durable with 1,000.
//!
//!     cargo run --release -p danlu-tune --example ask_latency [sqlite:new.db] [postgres://me@host/empty]
//!
//! Prints the median and the 95th percentile of 100 asks by the default policy's sampler (TPE), each with the creation of the trial.

use danlu_tune::sampler::Tpe;
use danlu_tune::scheduler::Full;
use danlu_tune::store::{self, Outcome, Owner};
use danlu_tune::{
    Asked, Direction, Distribution, MemoryStore, Pair, Parameter, Space, Store, Study, StudySpec,
};
use std::error::Error;
use std::time::{Duration, Instant};

const ASKS: usize = 100;

fn main() -> Result<(), Box<dyn Error>> {
    measure("memory", Box::new(MemoryStore::default()), 1_000)?;
    measure("memory", Box::new(MemoryStore::default()), 10_000)?;
    for url in std::env::args().skip(1) {
        let kind = url.split(':').next().unwrap_or_default().to_owned();
        measure(&kind, store::open(&url, true)?, 1_000)?;
    }
    Ok(())
}

fn measure(kind: &str, mut store: Box<dyn Store>, trials: u64) -> Result<(), Box<dyn Error>> {
    let parameters = (0..10).map(|i| Parameter::new(format!("x{i}"), Distribution::float(0.0, 1.0)));
    let spec = StudySpec {
        name: "latency".into(),
        direction: Direction::Minimize,
        space: Space::new(parameters.collect())?,
        max_steps: 1,
        context: serde_json::Value::Null,
    };
    let owner = Owner { worker: "latency".into(), lease: Duration::from_secs(600) };
    let id = store.create_study(&spec)?;
    let mut rng = danlu_rng::Stream::new(1, danlu_rng::Purpose::Sampler, 0, 0);
    for _ in 0..trials {
        let values = danlu_tune::sampler::Random::draw(&spec.space, &mut rng);
        let claim = store.create_trial(id, &spec.space, &values, &owner)?;
        let value = values.iter().flatten().map(|x| (x - 0.3) * (x - 0.3)).sum();
        store.finish(&claim, &Outcome::Complete(value))?;
    }
    let mut study = Study::open(store, spec)?;
    let mut policy = Pair { sampler: Tpe::default(), scheduler: Full };
    let mut times = Vec::new();
    for _ in 0..ASKS {
        let begun = Instant::now();
        let Asked::Run(claim, trial) = study.ask(&mut policy, &owner, 1)? else {
            return Err("nothing to run".into());
        };
        times.push(begun.elapsed());
        let value = trial.values.iter().flatten().map(|x| (x - 0.3) * (x - 0.3)).sum();
        study.finish(&claim, &Outcome::Complete(value))?;
    }
    times.sort();
    let ms = |i: usize| 1e3 * times[i].as_secs_f64();
    println!(
        "{kind:10} {trials:6} trials: median {:.2} ms, 95 % {:.2} ms",
        ms(ASKS / 2),
        ms(ASKS * 95 / 100)
    );
    Ok(())
}
