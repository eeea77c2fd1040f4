//! Runs one policy on learning curves that another process supplies: the danlu side of `bench/tune/lcbench.py`.
//!
//! Standard input, first line: `{"space": [...], "max_steps": 52, "budget_steps": 1040, "seed": 1, "policy": "tpe+asha",
//! "direction": "maximize"}`. Then, for each line `{"values": {...}}` on standard output, one line with the whole curve as a JSON list.
//! The policy sees a step only after it has paid for it. At the end: `{"trace": [[steps spent, best value], ...]}`.

use danlu_tune::policy::FreezeThaw;
use danlu_tune::sampler::{Prior, Random, Sampler, Sobol, Tpe};
use danlu_tune::scheduler::{Asha, Forecast, Full, Hyperband, Median, Scheduler, Stop, Verdict, first_rung};
use danlu_tune::store::{LetGo, Outcome, Owner};
use danlu_tune::{Asked, Direction, MemoryStore, Pair, Policy, Report, Space, Study, StudySpec};
use serde::Deserialize;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::error::Error;
use std::io::{BufRead, Write};
use std::time::Duration;

#[derive(Deserialize)]
struct Job {
    space: Space,
    max_steps: u64,
    budget_steps: u64,
    seed: u64,
    policy: String,
    direction: Direction,
}

/// `freeze_thaw[:eta:first:startup]`, or a sampler and a scheduler such as `tpe+asha[:eta:first]`.
fn policy(job: &Job) -> Result<Box<dyn Policy>, Box<dyn Error>> {
    let (sampler, scheduler) = job.policy.split_once('+').unwrap_or(("", job.policy.as_str()));
    let mut words = scheduler.split(':');
    let kind = words.next().unwrap_or_default();
    let eta = words.next().map(str::parse::<f64>).transpose()?;
    let first = words.next().map(str::parse::<u64>).transpose()?;
    if kind == "freeze_thaw" {
        let mut policy = FreezeThaw::new(job.seed);
        policy.eta = eta.unwrap_or(policy.eta);
        policy.first = first.unwrap_or(policy.first);
        policy.startup = words.next().map(str::parse).transpose()?.unwrap_or(policy.startup);
        return Ok(Box::new(policy));
    }
    let (eta, first) = (eta.unwrap_or(3.0), first.unwrap_or_else(|| first_rung(job.max_steps)));
    let sampler: Box<dyn Sampler> = match sampler {
        "random" => Box::new(Random),
        "sobol" => Box::new(Sobol::new(job.seed)),
        "tpe" => Box::new(Tpe::default()),
        "prior" => Box::new(Prior::new(Tpe::default())),
        other => return Err(format!("unknown sampler `{other}` in `{}`", job.policy).into()),
    };
    let scheduler: Box<dyn Scheduler> = match kind {
        "none" => Box::new(Full),
        "median" => Box::new(Median::default()),
        "asha" => Box::new(Asha::new(first, eta, Stop::Pause)),
        "forecast" => Box::new(Forecast::new(first, eta)),
        "asha_prune" => Box::new(Asha::new(first, eta, Stop::Prune)),
        "hyperband" => Box::new(Hyperband::new(first, eta, job.max_steps, Stop::Pause)),
        "hyperband_prune" => Box::new(Hyperband::new(first, eta, job.max_steps, Stop::Prune)),
        other => return Err(format!("unknown scheduler `{other}` in `{}`", job.policy).into()),
    };
    Ok(Box::new(Pair { sampler, scheduler }))
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut lines = std::io::stdin().lock().lines();
    let job: Job = serde_json::from_str(&lines.next().ok_or("no job on standard input")??)?;
    let mut out = std::io::stdout().lock();
    let spec = StudySpec {
        name: "curves".into(),
        direction: job.direction,
        space: job.space.clone(),
        max_steps: job.max_steps,
        context: serde_json::Value::Null,
    };
    let mut study = Study::open(MemoryStore::default(), spec)?;
    let mut policy = policy(&job)?;
    let owner = Owner { worker: "example".into(), lease: Duration::from_secs(3600) };
    let mut curves: HashMap<u64, Vec<f64>> = HashMap::new();
    let (mut spent, mut best, mut trace) = (0, f64::INFINITY, Vec::new());
    while spent < job.budget_steps {
        let Asked::Run(claim, trial) = study.ask(policy.as_mut(), &owner, job.seed)? else { break };
        let curve = match curves.entry(claim.number) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let values = study.external(&trial.values);
                writeln!(out, "{}", serde_json::json!({ "values": values }))?;
                out.flush()?;
                let answer = lines.next().ok_or("the curves ended")??;
                new.insert(serde_json::from_str(&answer)?)
            }
        };
        let mut step = trial.steps();
        loop {
            let value = curve[step as usize];
            step += 1;
            spent += 1;
            study.record(&claim, &owner, &Report { step, value, seconds: 1.0 }, None)?;
            if job.direction.loss(value) < best {
                best = job.direction.loss(value);
                trace.push((spent, value));
            }
            if step == job.max_steps {
                study.finish(&claim, &Outcome::Complete(value))?;
                break;
            }
            match policy.verdict(study.view(), claim.number) {
                Verdict::Continue if spent < job.budget_steps => {}
                Verdict::Prune => {
                    study.finish(&claim, &Outcome::Pruned)?;
                    break;
                }
                _ => {
                    study.let_go(&claim, LetGo::Pause, None)?;
                    break;
                }
            }
        }
    }
    let steps: Vec<u64> = study.view().trials().iter().map(|t| t.steps()).collect();
    writeln!(out, "{}", serde_json::json!({ "trace": trace, "steps": steps }))?;
    Ok(())
}
