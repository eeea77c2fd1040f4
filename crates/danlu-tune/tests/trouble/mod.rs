//! What users, files and networks do wrong.

use danlu_tune::store::{self, Owner};
use danlu_tune::*;
use std::time::Duration;

fn space(distribution: Distribution) -> Space {
    Space::new(vec![Parameter::new("lr", distribution)]).expect("a space")
}

fn spec(name: &str, space: Space) -> StudySpec {
    let context = serde_json::Value::Null;
    StudySpec { name: name.into(), direction: Direction::Minimize, space, max_steps: 3, context }
}

#[test]
fn a_space_that_cannot_be_searched_is_refused_in_words() {
    let one = |distribution| {
        Space::new(vec![Parameter::new("lr", distribution)]).expect_err("is refused").to_string()
    };
    for (distribution, expected) in [
        (Distribution::float(1.0, 0.0), "low = 1 is above high = 0"),
        (Distribution::int(5, 4), "low = 5 is above high = 4"),
        (Distribution::log(0.0, 1.0), "a log scale needs a number above 0"),
        (Distribution::float(0.0, f64::INFINITY), "expected finite numbers"),
        (Distribution::float(f64::NAN, 1.0), "expected finite numbers"),
        (Distribution::Int { log: false, step: 0, low: 1, high: 4 }, "step = 0: expected 1 or more"),
        (Distribution::Int { log: true, step: 2, low: 1, high: 4 }, "expected step = 1"),
        (Distribution::Float { step: Some(0.1), low: 0.1, high: 1.0, log: true }, "one of the two"),
        (Distribution::choice(Vec::<String>::new()), "no choices"),
        (Distribution::choice(["a", "a"]), "stands there twice"),
    ] {
        let said = one(distribution);
        assert!(said.starts_with("search space: `lr`: ") && said.contains(expected), "{said}");
    }
    let all = |parameters| Space::new(parameters).expect_err("is refused").to_string();
    assert!(all(vec![]).contains("there is nothing to search"));
    let a = || Parameter::new("a", Distribution::int(0, 1));
    assert!(all(vec![a(), a()]).contains("stands there twice"));
    assert!(all(vec![a().when("b", [1])]).contains("names `b`, which is not a parameter"));
    let b = Parameter::new("b", Distribution::int(0, 1)).when("a", [1]);
    assert!(all(vec![a().when("b", [1]), b]).contains("is a circle"));
    assert!(
        all(vec![a(), Parameter::new("c", Distribution::int(0, 1)).when("a", [7])]).contains("from 0 to 1")
    );
    assert!(all(vec![a().advise(9)]).contains("from 0 to 1"));
}

#[test]
fn two_studies_of_one_name_with_different_spaces_are_not_mixed() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite:{}", folder.path().join("s.db").display());
    let open = |spec| Study::open(store::open(&url, true).expect("opens"), spec).map(drop);
    open(spec("one", space(Distribution::log(1e-3, 1.0)))).expect("creates");
    open(spec("one", space(Distribution::log(1e-3, 1.0)))).expect("the same again is the same study");
    let error = open(spec("one", space(Distribution::log(1e-4, 1.0)))).expect_err("is refused");
    assert_eq!(
        error.to_string(),
        "study `one` exists in this store with another space: `lr` has another domain or condition"
    );
    assert!(error.hint().is_some_and(|hint| hint.contains("another name")));
    let momentum = Parameter::new("momentum", Distribution::float(0.0, 1.0));
    let more = Space::new(vec![Parameter::new("lr", Distribution::log(1e-3, 1.0)), momentum.clone()]);
    let error = open(spec("one", more.expect("a space"))).expect_err("is refused").to_string();
    assert!(error.ends_with("`momentum` is only here"), "{error}");
    let other = Space::new(vec![momentum]).expect("a space");
    let error = open(spec("one", other)).expect_err("is refused").to_string();
    assert!(error.ends_with("`lr` is only there"), "{error}");
}

#[test]
fn a_server_that_is_not_there_is_said_without_the_password() {
    // A port that was free a moment ago.
    let free =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    let url = format!("postgres://me:secret@127.0.0.1:{free}/studies");
    let error = store::open(&url, true).err().expect("is refused");
    let said = error.to_string();
    assert!(said.contains(&format!("postgres://me@127.0.0.1:{free}/studies")), "{said}");
    assert!(said.contains("connecting to the server") && !said.contains("secret"), "{said}");
    assert!(error.hint().is_some_and(|hint| hint.contains("try again")), "{error:?}");
}

#[test]
fn workers_whose_clocks_disagree_hold_leases_by_the_stores_clock() {
    // No time of a worker reaches the store: a lease is a duration, added by the database to its own clock.
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("s.db");
    let spec = spec("clocks", space(Distribution::float(0.0, 1.0)));
    let mut store = store::open(&format!("sqlite:{}", path.display()), true).expect("opens");
    let id = store.create_study(&spec).expect("creates");
    let owner = Owner { worker: "one".into(), lease: Duration::from_secs(60) };
    store.create_trial(id, &spec.space, &vec![Some(0.5)], &owner).expect("creates");
    let connection = rusqlite::Connection::open(&path).expect("opens");
    let left: f64 = connection
        .query_row("SELECT lease_until - unixepoch('subsec') FROM danlu_trials", [], |row| row.get(0))
        .expect("reads");
    assert!((0.0..=60.0).contains(&left), "{left}");
}
