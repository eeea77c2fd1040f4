//! Every schedule against PyTorch's: golden/optim/make_schedules.py.

use danlu_optim::schedule::{LinearConfig, PolynomialConfig};
use danlu_optim::{
    Dtype, Group, GroupBase, GroupConfig, Horizon, LeadIn, OptimError, Optimizer, OptimizerConfig, ParamSpec,
    Preview, Schedule, ScheduleConfig, ScheduleKind, SgdConfig, TensorMut, Unit, Warmup,
};
use serde::Deserialize;
use std::collections::BTreeSet;

#[derive(Deserialize)]
struct Golden {
    base: Vec<f64>,
    momentum: f64,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    config: ScheduleConfig,
    lrs: Vec<Vec<f64>>,
    momenta: Option<Vec<Vec<f64>>>,
    metrics: Option<Vec<f64>>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/schedules.json")).expect("the golden file parses")
}

fn bases(golden: &Golden) -> Vec<GroupBase> {
    golden.base.iter().map(|&lr| GroupBase { lr, momentum: Some(golden.momentum) }).collect()
}

const BY_EPOCH: Horizon = Horizon { epochs: 200, iterations_per_epoch: 1 };
const BY_ITERATION: Horizon = Horizon { epochs: 1, iterations_per_epoch: 200 };

fn advance(schedule: &mut Schedule, case: &Case, t: usize, unit: Unit) {
    match unit {
        Unit::Epoch => {
            schedule.step_iteration();
            schedule.step_epoch(case.metrics.as_ref().map(|m| m[t])).unwrap();
        }
        Unit::Iteration => schedule.step_iteration(),
    }
}

/// 1e-12 of the value, or of the base where the value is near 0.
fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-12 * b.abs().max(0.07)
}

fn compare(case: &Case, golden: &Golden, unit: Unit, horizon: Horizon) {
    let mut config = case.config.clone();
    config.unit = unit;
    if let Some(warmup) = &mut config.warmup {
        warmup.unit = unit;
    }
    let mut schedule = Schedule::new(&config, &bases(golden), horizon).unwrap();
    for t in 0..200 {
        if t == 77 {
            // A resume: the state through JSON, into a schedule made afresh.
            let state = serde_json::to_string(&schedule.state_dict()).unwrap();
            let mut other = Schedule::new(&config, &bases(golden), horizon).unwrap();
            other.load_state_dict(&serde_json::from_str(&state).unwrap()).unwrap();
            assert_eq!(other.lrs(), schedule.lrs());
            schedule = other;
        }
        for g in 0..2 {
            let (ours, theirs) = (schedule.lrs()[g], case.lrs[t][g]);
            assert!(close(ours, theirs), "{:?} group {g} step {t}: {ours} {theirs}", config.kind);
            let momentum = schedule.momenta()[g].unwrap_or(golden.momentum);
            let expected = case.momenta.as_ref().map_or(golden.momentum, |m| m[t][g]);
            assert!(close(momentum, expected), "{:?} step {t}: momentum {momentum} {expected}", config.kind);
        }
        advance(&mut schedule, case, t, unit);
    }
}

#[test]
fn two_hundred_values_by_epoch_agree_with_pytorch_across_a_resume() {
    let golden = golden();
    golden.cases.iter().for_each(|case| compare(case, &golden, Unit::Epoch, BY_EPOCH));
}

#[test]
fn two_hundred_values_by_iteration_agree_with_pytorch_across_a_resume() {
    let golden = golden();
    // The metric of ReduceLROnPlateau and the word `epoch` in an expression mean epochs.
    let by_epoch_only = |case: &&Case| match &case.config.kind {
        ScheduleKind::LambdaLR(c) => c.lambda.contains("epoch"),
        ScheduleKind::MultiplicativeLR(c) => c.lambda.contains("epoch"),
        ScheduleKind::SequentialLR(c) => format!("{c:?}").contains("epoch"),
        _ => case.metrics.is_some(),
    };
    let cases: Vec<&Case> = golden.cases.iter().filter(|case| !by_epoch_only(case)).collect();
    assert!(cases.len() > 20);
    cases.iter().for_each(|case| compare(case, &golden, Unit::Iteration, BY_ITERATION));
}

#[test]
fn every_schedule_of_pytorch_has_a_golden_case() {
    let names: BTreeSet<&str> = golden().cases.iter().map(|case| case.config.kind.name()).collect();
    assert_eq!(names.len(), 16, "15 of PyTorch's and the constant one: {names:?}");
}

fn constant(lr: f64) -> [GroupBase; 1] {
    [GroupBase { lr, momentum: None }]
}

#[test]
fn a_closure_is_a_lambda() {
    let horizon = Horizon { epochs: 5, iterations_per_epoch: 2 };
    let lambda: danlu_optim::schedule::Lambda = std::sync::Arc::new(|t| 1.0 / (1.0 + t as f64));
    let mut schedule = Schedule::lambda(lambda.clone(), Unit::Epoch, &constant(0.5), horizon).unwrap();
    let mut product = Schedule::multiplicative(lambda, Unit::Iteration, &constant(0.5), horizon).unwrap();
    let (mut lrs, mut products) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        lrs.push(schedule.lrs()[0]);
        products.push(product.lrs()[0]);
        schedule.step_iteration();
        product.step_iteration();
        schedule.step_epoch(None).unwrap();
    }
    assert_eq!(lrs, [0.5, 0.25, 0.5 / 3.0]);
    assert_eq!(products, [0.5, 0.25, 0.25 * (1.0 / 3.0)]);
}

#[test]
fn a_warm_up_by_iteration_before_a_schedule_by_epoch_starts_the_schedule_at_its_first_value() {
    let config = ScheduleConfig {
        kind: ScheduleKind::PolynomialLR(PolynomialConfig::default()),
        unit: Unit::Epoch,
        warmup: Some(Warmup { length: 6, unit: Unit::Iteration, start_factor: 0.4 }),
    };
    let horizon = Horizon { epochs: 4, iterations_per_epoch: 4 };
    let mut schedule = Schedule::new(&config, &constant(1.0), horizon).unwrap();
    let mut lrs = Vec::new();
    for _ in 0..4 {
        for _ in 0..4 {
            lrs.push((schedule.lrs()[0] * 1e9).round() / 1e9);
            schedule.step_iteration();
        }
        schedule.step_epoch(None).unwrap();
    }
    // The 6 iterations take up 2 of the 4 epochs; the schedule falls over what is left.
    assert_eq!(lrs, [0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0]);
}

#[test]
fn a_group_follows_its_own_schedule() {
    let specs = [ParamSpec::new("body.weight", [2, 2]), ParamSpec::new("head.weight", [2, 2])];
    let own = ScheduleConfig {
        kind: ScheduleKind::LinearLR(LinearConfig { start_factor: 0.5, end_factor: 1.0, total_iters: 2 }),
        ..Default::default()
    };
    let group = GroupConfig { pattern: "head.*".into(), schedule: Some(own), ..Default::default() };
    let config = OptimizerConfig::Sgd(SgdConfig { lr: 1.0, ..Default::default() });
    let mut optimizer = Optimizer::new(&config, &[group], &specs, Dtype::F64).unwrap();
    let horizon = Horizon { epochs: 3, iterations_per_epoch: 1 };
    let preview = Preview::new(&ScheduleConfig::default(), optimizer.groups(), horizon).unwrap();
    assert_eq!(preview.unit, Unit::Epoch);
    assert_eq!(preview.lrs, [[1.0, 1.0, 1.0], [0.5, 0.75, 1.0]]);
    let mut schedule = Schedule::per_group(&ScheduleConfig::default(), optimizer.groups(), horizon).unwrap();
    schedule.step_epoch(None).unwrap();
    optimizer.apply(&schedule);
    assert_eq!(optimizer.groups().iter().map(|g: &Group| g.lr).collect::<Vec<_>>(), [1.0, 0.75]);
}

#[test]
fn after_a_lead_in_the_schedule_has_the_rest_of_the_training_for_itself() {
    let specs = [ParamSpec::new("w", [1, 1])];
    let rule = OptimizerConfig::Sgd(SgdConfig { lr: 1.0, momentum: 0.9, ..Default::default() });
    let mut optimizer = Optimizer::new(&rule, &[], &specs, Dtype::F64).unwrap();
    let lead_in = LeadIn { epochs: 2, then: 0.5 };
    for name in ["CosineAnnealingLR", "OneCycleLR", "ReduceLROnPlateau"] {
        let kind: ScheduleKind = serde_json::from_value(serde_json::json!({ "name": name })).unwrap();
        let unit = if name == "ReduceLROnPlateau" { Unit::Epoch } else { Unit::Iteration };
        let config = ScheduleConfig { kind, unit, warmup: None };
        let horizon = |epochs| Horizon { epochs, iterations_per_epoch: 3 };
        let bases = [GroupBase { lr: 0.5, momentum: Some(0.9) }];
        let mut alone = Schedule::new(&config, &bases, horizon(4)).unwrap();
        let mut schedule = Schedule::after(&config, optimizer.groups(), horizon(6), lead_in).unwrap();
        for epoch in 0..6 {
            for _ in 0..3 {
                // A resume in any place goes on alike.
                let state = serde_json::to_string(&schedule.state_dict()).unwrap();
                schedule = Schedule::after(&config, optimizer.groups(), horizon(6), lead_in).unwrap();
                schedule.load_state_dict(&serde_json::from_str(&state).unwrap()).unwrap();
                optimizer.apply(&schedule);
                let now = (schedule.lrs(), schedule.momenta());
                if epoch < 2 {
                    assert_eq!(now, (&[1.0][..], &[None][..]), "{name}");
                } else {
                    assert_eq!(now, (alone.lrs(), alone.momenta()), "{name}, epoch {epoch}");
                    alone.step_iteration();
                }
                schedule.step_iteration();
            }
            schedule.step_epoch(Some(1.0)).unwrap();
            if epoch >= 2 {
                alone.step_epoch(Some(1.0)).unwrap();
            }
        }
    }
    // A training that ends in the lead-in sees nothing of the schedule.
    let preview = Preview::after(
        &ScheduleConfig::default(),
        optimizer.groups(),
        Horizon { epochs: 1, iterations_per_epoch: 1 },
        lead_in,
    );
    assert_eq!(preview.unwrap().lrs, [[1.0]]);
}

#[test]
fn the_first_step_has_the_schedules_first_value() {
    let specs = [ParamSpec::new("w", [1, 1])];
    let config = OptimizerConfig::Sgd(SgdConfig { lr: 1.0, ..Default::default() });
    let mut optimizer = Optimizer::new(&config, &[], &specs, Dtype::F64).unwrap();
    let kind: ScheduleKind = serde_json::from_str(r#"{ "name": "ExponentialLR", "gamma": 0.5 }"#).unwrap();
    let config = ScheduleConfig { kind, unit: Unit::Iteration, warmup: None };
    let horizon = Horizon { epochs: 1, iterations_per_epoch: 3 };
    let mut schedule = Schedule::new(&config, &optimizer.group_bases(), horizon).unwrap();
    let mut w = [0.0];
    let mut moved = Vec::new();
    for _ in 0..3 {
        let before = w[0];
        let mut tensors = [TensorMut { param: &mut w, grad: &[1.0] }];
        optimizer.step_scheduled(&mut schedule, &mut tensors, None).unwrap();
        moved.push(before - w[0]);
    }
    assert_eq!(moved, [1.0, 0.5, 0.25]);
}

#[test]
fn a_preview_by_iteration_has_a_value_for_every_iteration() {
    let kind: ScheduleKind = serde_json::from_str(r#"{ "name": "OneCycleLR" }"#).unwrap();
    let config = ScheduleConfig { kind, unit: Unit::Iteration, warmup: None };
    let specs = [ParamSpec::new("w", [1, 1])];
    let optimizer =
        Optimizer::new(&OptimizerConfig::by_name("adamw").unwrap(), &[], &specs, Dtype::F32).unwrap();
    let preview =
        Preview::new(&config, optimizer.groups(), Horizon { epochs: 3, iterations_per_epoch: 7 }).unwrap();
    assert_eq!((preview.unit, preview.lrs[0].len(), preview.momenta[0].len()), (Unit::Iteration, 21, 21));
    assert_eq!(preview.momenta[0][0], Some(0.95));
    let most = preview.lrs[0].iter().copied().fold(0.0, f64::max);
    assert!(most > 0.9e-3 && most <= 1e-3, "the optimizer's lr is the peak: {most}");
}

#[test]
fn a_plateau_needs_its_metric_and_says_so() {
    let kind: ScheduleKind = serde_json::from_str(r#"{ "name": "ReduceLROnPlateau" }"#).unwrap();
    let config = ScheduleConfig { kind, ..Default::default() };
    let mut schedule = Schedule::new(&config, &constant(0.1), BY_EPOCH).unwrap();
    assert_eq!(schedule.step_epoch(None), Err(OptimError::MissingMetric));
    assert_eq!(schedule.step_epoch(Some(f64::NAN)), Ok(()));
}

#[test]
fn a_state_of_another_schedule_is_refused() {
    let of = |json: &str| {
        let config: ScheduleConfig = serde_json::from_str(json).unwrap();
        Schedule::new(&config, &constant(0.1), BY_EPOCH).unwrap()
    };
    let cosine = of(r#"{ "name": "CosineAnnealingLR" }"#);
    let mut chained = of(r#"{ "name": "ChainedScheduler", "schedulers": [{ "name": "constant" }] }"#);
    assert!(matches!(chained.load_state_dict(&cosine.state_dict()), Err(OptimError::BadState { .. })));
}
