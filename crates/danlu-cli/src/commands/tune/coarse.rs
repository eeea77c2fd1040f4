//! A first search on a cheaper version of the training: fewer images, smaller ones, fewer epochs.

use danlu::recipe::Preset;
use danlu::train::StopFlag;
use danlu::tune::{Control, Limits, Plan, StudyError, drive};
use danlu::tuner::store;
use danlu::tuner::worker::Finish;

use super::{LEASE, TuneArgs};
use crate::study_table::StudyTable;

/// What the coarse search gets of the budget.
const SHARE: u32 = 4;

/// The budget of the coarse search and what is left for the study itself.
pub(super) fn split(limits: &Limits) -> Result<(Limits, Limits), StudyError> {
    let coarse = Limits {
        wall: limits.wall.map(|wall| wall / SHARE),
        cpu: limits.cpu.map(|cpu| cpu / SHARE),
        trials: limits.trials.map(|trials| trials.div_ceil(u64::from(SHARE))),
    };
    if coarse == Limits::default() {
        let problem = "`--coarse` takes a quarter of the budget, and there is none".to_owned();
        return Err(StudyError::Space(problem, Some("add `--budget 30m`, for example".into())));
    }
    let rest = Limits {
        wall: limits.wall.zip(coarse.wall).map(|(all, part)| all - part),
        cpu: limits.cpu.zip(coarse.cpu).map(|(all, part)| all - part),
        // Of another study, whose trainings are whole ones.
        trials: limits.trials,
    };
    Ok((coarse, rest))
}

/// The name of the coarse study of a study.
pub(super) fn name(study: &str) -> String {
    format!("{study}-coarse")
}

/// Searches the same space with `--coarse` set over everything else; a study of its own in the same store.
pub(super) fn search(
    args: &TuneArgs,
    url: &str,
    study: &str,
    preset: Preset,
    workers: usize,
    limits: Limits,
    stop: &StopFlag,
) -> Result<Finish, StudyError> {
    let name = name(study);
    let set = args.set.iter().chain(&args.coarse).cloned().collect();
    let (_, spec) = Plan::new(&args.space, &args.data, &name, preset, set)?;
    store::open(url, true)?.create_study(&spec)?;
    let (plan, spec) = Plan::load(store::open(url, false)?.as_mut(), &name)?;
    if !args.quiet {
        eprintln!("coarse search first ({}), in study `{name}`", args.coarse.join(", "));
    }
    let table = StudyTable::new(args.quiet, plan.metric, spec.max_steps);
    drive(
        &plan,
        &spec,
        &Control {
            store: url.to_owned(),
            runs: args.runs.clone(),
            workers,
            seed: args.seed,
            policy: args.policy.clone(),
            limits,
            lease: LEASE,
            stop: stop.clone(),
            observer: &|event, view| table.show(event, view),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_the_budget_is_coarse_and_without_one_it_is_refused() {
        let limits: Limits = "20m,cpu:40m,10trials".parse().expect("reads");
        let (coarse, rest) = split(&limits).expect("splits");
        assert_eq!(coarse, "5m,cpu:10m,3trials".parse().expect("reads"));
        assert_eq!(rest, "15m,cpu:30m,10trials".parse().expect("reads"));
        let error = split(&Limits::default()).expect_err("is refused");
        assert!(error.to_string().contains("there is none") && error.hint().is_some());
    }
}
