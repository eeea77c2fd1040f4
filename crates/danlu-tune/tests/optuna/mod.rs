//! A study that Optuna 5 wrote (`golden/tune/make_optuna_study.py`), read and continued. The other direction, and PostgreSQL,
//! need Optuna itself: `golden/tune/check_optuna.py`.

use danlu_tune::policy::Pair;
use danlu_tune::sampler::Tpe;
use danlu_tune::scheduler::Full;
use danlu_tune::store::{self, Outcome, Owner};
use danlu_tune::*;
use std::path::Path;
use std::time::Duration;

fn spec() -> StudySpec {
    let integer = Distribution::Int { log: false, step: 16, low: 16, high: 128 };
    let space = Space::new(vec![
        Parameter::new("x", Distribution::float(0.0, 1.0)),
        Parameter::new("lr", Distribution::log(1e-4, 1.0)),
        Parameter::new("n", integer),
        Parameter::new("kind", Distribution::choice(["sgd", "adamw"])),
    ]);
    StudySpec {
        name: "from-optuna".into(),
        direction: Direction::Maximize,
        space: space.expect("a space"),
        max_steps: 3,
        context: serde_json::Value::Null,
    }
}

#[test]
fn a_study_that_optuna_wrote_is_read_whole_and_continued() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("optuna.db");
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/optuna.db");
    std::fs::copy(golden, &path).expect("copies");
    let url = format!("sqlite:{}", path.display());

    let mut opened = store::open(&url, false).expect("opens");
    assert_eq!(opened.study_names().expect("reads"), ["from-optuna"]);
    assert_eq!(opened.load_study("from-optuna").expect("is there").1, None, "Optuna keeps no space");
    let error = Study::load(opened, "from-optuna").err().expect("cannot be opened without a space");
    assert!(error.to_string().contains("another tool made this study"), "{error}");

    let mut wrong = spec();
    wrong.direction = Direction::Minimize;
    let error = Study::open(store::open(&url, false).expect("opens"), wrong).err().expect("is refused");
    assert!(error.to_string().contains("1 objective(s), MAXIMIZE there, Minimize here"), "{error}");

    let mut study = Study::open(store::open(&url, false).expect("opens"), spec()).expect("is taken over");
    let states: Vec<State> = study.view().trials().iter().map(|t| t.state).collect();
    use State::{Complete, Failed, Pruned, Running, Waiting};
    assert_eq!(states, [Complete, Pruned, Failed, Complete, Running, Waiting]);
    let first = study.view().trial(0).expect("the trial").clone();
    assert_eq!(first.values, [Some(0.25), Some(0.01), Some(48.0), Some(1.0)]);
    assert_eq!(
        first.curve.iter().map(|r| (r.step, r.value)).collect::<Vec<_>>(),
        [(1, 0.5), (2, 0.75), (3, 0.875)]
    );
    assert_eq!(first.value, Some(0.875));
    let pruned = &study.view().trial(1).expect("the trial").curve;
    assert!(pruned[1].value.is_nan() && pruned[2].value == f64::INFINITY);
    assert_eq!(study.view().trial(3).expect("the trial").value, Some(f64::INFINITY));

    // What Optuna enqueued comes first, with its values; what Optuna runs is left to Optuna.
    let owner = Owner { worker: "test".into(), lease: Duration::from_secs(60) };
    let mut policy = Pair { sampler: Tpe::default(), scheduler: Full };
    let Asked::Run(claim, trial) = study.ask(&mut policy, &owner, 1).expect("asks") else {
        panic!("nothing to run")
    };
    assert_eq!(claim.number, 5);
    assert_eq!((trial.values[0], trial.values[2]), (Some(0.75), Some(64.0)));
    assert!(trial.values[1].is_some() && trial.values[3].is_some(), "the rest is drawn");
    study.finish(&claim, &Outcome::Complete(0.9)).expect("finishes");
    let Asked::Run(claim, _) = study.ask(&mut policy, &owner, 1).expect("asks") else {
        panic!("nothing to run")
    };
    assert_eq!(claim.number, 6, "the trial that Optuna runs is not taken");
    assert_eq!(study.view().trial(0), Some(&first), "a finished trial does not change");
}
