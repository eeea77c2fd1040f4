//! The same promises on every store: memory, SQLite, PostgreSQL.

#[cfg(target_os = "linux")]
mod clocks;
mod optuna;
mod server;
mod trouble;

use danlu_tune::store::{self, LetGo, Outcome, Owner, Wanted};
use danlu_tune::worker::{Budget, Ended, Finish, Go, Job, Objective, Reporter, Worker};
use danlu_tune::*;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

fn spec(name: &str) -> StudySpec {
    let space = Space::new(vec![
        Parameter::new("x", Distribution::float(0.0, 1.0)),
        Parameter::new("kind", Distribution::choice(["a", "b"])),
        Parameter::new("n", Distribution::int(1, 9)).when("kind", ["b"]),
    ]);
    StudySpec {
        name: name.into(),
        direction: Direction::Minimize,
        space: space.expect("a space"),
        max_steps: 9,
        context: json!({"from": "test"}),
    }
}

fn owner(name: &str, milliseconds: u64) -> Owner {
    Owner { worker: name.into(), lease: Duration::from_millis(milliseconds) }
}

/// Everything a store promises, in one walk through the life of some trials.
fn keeps_its_promises(url: &str) {
    let open = || store::open(url, true).expect("opens");
    let spec = spec("walk");
    let mut first = Study::open(open(), spec.clone()).expect("creates");
    let mut second = Study::open(open(), spec.clone()).expect("opens what is there");
    let mut store = open();
    let (id, known) = store.load_study("walk").expect("is there");
    assert_eq!(known.as_ref(), Some(&spec), "the specification comes back whole");

    // All values in one commit, and seen by others as they were written.
    let long = owner("one", 60_000);
    let values = vec![Some(0.25), Some(1.0), Some(4.0)];
    let claim = store.create_trial(id, &spec.space, &values, &long).expect("creates a trial");
    assert_eq!((claim.number, claim.epoch), (0, 1));
    second.refresh().expect("reads");
    assert_eq!(second.view().trial(0).expect("the trial").values, values);

    // Reports replace one of the same step; values that are no numbers come back as what they were.
    for (step, value) in [(1, 0.5), (2, f64::INFINITY), (3, f64::NAN), (1, 0.75)] {
        let checkpoint = Checkpoint { path: format!("at-{step}"), step };
        store
            .record(&claim, &long, &Report { step, value, seconds: 1.5 }, Some(&checkpoint))
            .expect("records");
    }
    second.refresh().expect("reads");
    let trial = second.view().trial(0).expect("the trial").clone();
    assert_eq!(trial.curve[0], Report { step: 1, value: 0.75, seconds: 1.5 });
    assert!(trial.curve[1].value == f64::INFINITY && trial.curve[2].value.is_nan());
    assert_eq!(trial.checkpoint, Some(Checkpoint { path: "at-1".into(), step: 1 }));

    // A held trial is not for others; a paused one is for the first who asks, and its old claim is worth nothing.
    assert_eq!(store.claim(id, Wanted::Abandoned, &long).expect("asks"), None);
    store.let_go(&claim, LetGo::Pause, None).expect("pauses");
    store.let_go(&claim, LetGo::Pause, None).expect("may be said twice");
    first.refresh().expect("reads");
    assert_eq!(first.view().trial(0).expect("the trial").state, State::Paused);
    assert_eq!(
        store.claim(id, Wanted::Abandoned, &long).expect("asks"),
        None,
        "a paused trial is not abandoned"
    );
    let (thawed, _) = store.claim(id, Wanted::Paused(0), &owner("two", 30)).expect("asks").expect("is free");
    assert_eq!(thawed.epoch, 2);
    assert!(store.claim(id, Wanted::Paused(0), &long).expect("asks").is_none(), "claimed once");
    let late = store.record(&claim, &long, &Report { step: 4, value: 0.0, seconds: 0.0 }, None);
    assert!(matches!(late, Err(TuneError::LeaseLost { number: 0, epoch: 1 })), "{late:?}");

    // A worker that stops lets go of its trial: it is no one's, is shown as such, and goes on first.
    let (held, _) = {
        let values = vec![Some(0.75), Some(0.0), None];
        let claim = store.create_trial(id, &spec.space, &values, &long).expect("creates a trial");
        store.let_go(&claim, LetGo::Release, None).expect("releases");
        store.let_go(&claim, LetGo::Release, None).expect("may be said twice");
        first.refresh().expect("reads");
        assert_eq!(first.view().trial(claim.number).expect("the trial").state, State::Released);
        let late = store.record(&claim, &long, &Report { step: 1, value: 0.0, seconds: 0.0 }, None);
        assert!(matches!(late, Err(TuneError::LeaseLost { .. })), "{late:?}");
        store.claim(id, Wanted::Abandoned, &long).expect("asks").expect("is free")
    };
    assert_eq!((held.number, held.epoch), (1, 2));
    first.refresh().expect("reads");
    assert_eq!(first.view().trial(1).expect("the trial").state, State::Running);
    store.finish(&held, &Outcome::Pruned).expect("ends");

    // The lease of the second owner runs out; a third goes on from the checkpoint, and finishing twice is one finish.
    std::thread::sleep(Duration::from_millis(60));
    let (taken, _) = store.claim(id, Wanted::Abandoned, &long).expect("asks").expect("is abandoned");
    assert_eq!((taken.number, taken.epoch), (0, 3));
    assert!(matches!(store.renew(&thawed, &long), Err(TuneError::LeaseLost { .. })));
    store.finish(&taken, &Outcome::Complete(0.125)).expect("finishes");
    store.finish(&taken, &Outcome::Complete(0.125)).expect("may be said twice");
    second.refresh().expect("reads");
    let done = second.view().trial(0).expect("the trial");
    assert_eq!((done.state, done.value), (State::Complete, Some(0.125)));

    // Enqueued by hand: waits, is claimed once, and keeps what was fixed.
    let number = first.enqueue(&BTreeMap::from([("x".to_owned(), json!(0.5))])).expect("enqueues");
    assert_eq!(number, 2);
    let wrong = first.enqueue(&BTreeMap::from([("y".to_owned(), json!(0.5))]));
    assert!(matches!(wrong, Err(TuneError::Value { .. })), "{wrong:?}");
    let (waiting, fixed) = store.claim(id, Wanted::Waiting, &long).expect("asks").expect("waits");
    assert_eq!(fixed.expect("was fixed")["x"], json!(0.5));
    store.set_values(&waiting, &spec.space, &vec![Some(0.5), Some(0.0), None]).expect("sets");
    store.finish(&waiting, &Outcome::Failed("it broke".into())).expect("fails");
    second.refresh().expect("reads");
    let failed = second.view().trial(2).expect("the trial");
    assert_eq!((failed.state, failed.error.as_deref()), (State::Failed, Some("it broke")));
    assert_eq!(failed.values, [Some(0.5), Some(0.0), None]);

    // One name, another space.
    let mut other = spec.clone();
    other.max_steps = 10;
    let error = store.create_study(&other).expect_err("is another study").to_string();
    assert_eq!(error, "study `walk` exists in this store with another max_steps: 9 there, 10 here");
    let error = store.load_study("nobody").expect_err("is not there").to_string();
    assert_eq!(error, "no study `nobody` in this store; it has: walk");

    // Someone who comes late sees the same.
    let late = Study::open(open(), spec).expect("opens");
    // In words, since one of the values is not a number.
    assert_eq!(format!("{:?}", late.view().trials()), format!("{:?}", second.view().trials()));
}

#[test]
fn sqlite_keeps_its_promises() {
    let folder = tempfile::tempdir().expect("a folder");
    keeps_its_promises(&format!("sqlite:{}", folder.path().join("s.db").display()));
}

#[test]
fn postgres_keeps_its_promises() {
    let Some(server) = server::Server::start() else { return };
    keeps_its_promises(&server.url());
}

#[test]
fn a_postgres_server_that_restarts_in_the_middle_loses_nothing() {
    let Some(server) = server::Server::start() else { return };
    let spec = spec("restart");
    let mut study =
        Study::open(store::open(&server.url(), true).expect("opens"), spec.clone()).expect("creates");
    let long = owner("one", 60_000);
    let (id, _) = study.store_mut().load_study("restart").expect("is there");
    let values = vec![Some(0.5), Some(0.0), None];
    let claim = study.store_mut().create_trial(id, &spec.space, &values, &long).expect("creates");
    study.record(&claim, &long, &Report { step: 1, value: 1.0, seconds: 0.0 }, None).expect("records");
    server.restart();
    study
        .record(&claim, &long, &Report { step: 2, value: 0.5, seconds: 0.0 }, None)
        .expect("records after the restart");
    assert_eq!(study.view().trial(0).expect("the trial").steps(), 2);
}

#[test]
fn bad_stores_are_refused_in_words() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
    let message = |url: &str, create: bool| {
        let error = store::open(url, create).err().expect("is refused");
        format!("{error}\nhint: {}", error.hint().unwrap_or_default())
            .replace(&folder.path().display().to_string(), "DIR")
    };
    std::fs::write(folder.path().join("text.db"), "this is no database, but long enough to look at")
        .expect("writes");
    assert!(
        message(&at("text.db"), true).contains("it is not an SQLite file"),
        "{}",
        message(&at("text.db"), true)
    );
    assert!(
        message(&at("nowhere/s.db"), true).contains("there is no such file, or its folder cannot be written")
    );
    assert!(message(&at("missing.db"), false).contains("there is no such file"));
    assert!(message("mysql://x", true).contains("this kind of store is not known\nhint: use `sqlite:PATH`"));
    let refused = message("postgres://me:secret@host:notaport/db", true);
    assert!(refused.contains("postgres://me@host") && !refused.contains("secret"), "{refused}");

    // Tables of another version.
    drop(Study::open(store::open(&at("old.db"), true).expect("opens"), spec("old")).expect("creates"));
    let connection = rusqlite::Connection::open(folder.path().join("old.db")).expect("opens");
    connection.execute("UPDATE version_info SET schema_version = 11", []).expect("changes");
    let old = message(&at("old.db"), true);
    assert!(old.contains("tables are of schema 11 (v3.2.0.a), expected 12 (v3.2.0.a)"), "{old}");
    assert!(old.contains("optuna storage upgrade"), "{old}");
}

#[test]
fn a_locked_sqlite_file_is_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite:{}", folder.path().join("s.db").display());
    let mut study = Study::open(store::open(&url, true).expect("opens"), spec("locked")).expect("creates");
    let mut blocker = rusqlite::Connection::open(folder.path().join("s.db")).expect("opens");
    let transaction =
        blocker.transaction_with_behavior(rusqlite::TransactionBehavior::Exclusive).expect("locks");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| study.enqueue(&BTreeMap::from([("x".to_owned(), json!(0.5))])));
        std::thread::sleep(Duration::from_millis(300));
        transaction.commit().expect("unlocks");
        assert_eq!(waiting.join().expect("no panic").expect("enqueues in the end"), 0);
    });
}

#[test]
fn deleting_a_study_as_optuna_does_takes_the_side_tables_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("s.db");
    let spec = spec("gone");
    let mut store = store::open(&format!("sqlite:{}", path.display()), true).expect("opens");
    let id = store.create_study(&spec).expect("creates");
    let values = vec![Some(0.5), Some(0.0), None];
    store.create_trial(id, &spec.space, &values, &owner("one", 1000)).expect("creates");
    let connection = rusqlite::Connection::open(&path).expect("opens");
    connection
        .execute_batch(
            "DELETE FROM trial_params; DELETE FROM trials; DELETE FROM study_directions; DELETE FROM studies",
        )
        .expect("deletes");
    for table in ["danlu_trials", "danlu_studies", "danlu_steps"] {
        let rows: i64 =
            connection.query_row(&format!("SELECT COUNT(*) FROM {table}"), [], |r| r.get(0)).expect("counts");
        assert_eq!(rows, 0, "{table}");
    }
}

// ---- many workers, random kills ----

/// Runs what is enqueued; sets every trial aside once, at step 4.
struct Once;

impl Policy for Once {
    fn next(&mut self, view: &View, _: &mut danlu_rng::Stream) -> Action {
        let open = [State::Running, State::Waiting].iter().any(|&s| !view.in_state(s).is_empty());
        match view.in_state(State::Paused).first() {
            Some(&number) => Action::Thaw(number),
            None if open => Action::Wait,
            None => Action::Stop,
        }
    }
    fn verdict(&mut self, view: &View, number: u64) -> scheduler::Verdict {
        match view.trial(number).map_or(0, |t| t.steps()) {
            4 => scheduler::Verdict::Pause,
            _ => scheduler::Verdict::Continue,
        }
    }
}

/// Adds `x` at every step to a sum that lives in the checkpoint file alone, so that a step that was lost or done twice shows in
/// the final value. A lock held while the trial runs shows whether two workers run it at once.
struct Sum<'a>(&'a Path);

impl Objective for Sum<'_> {
    fn run(&mut self, job: &Job, reporter: &dyn Reporter) -> std::result::Result<Ended, String> {
        let text = |e: std::io::Error| e.to_string();
        let lock = std::fs::File::create(self.0.join(format!("{}.lock", job.number))).map_err(text)?;
        if lock.try_lock().is_err() {
            let mut log = std::fs::File::options()
                .append(true)
                .create(true)
                .open(self.0.join("twice"))
                .map_err(text)?;
            writeln!(log, "{}", job.number).map_err(text)?;
        }
        let x = job.values["x"].as_f64().ok_or("no x")?;
        let path = self.0.join(format!("{}.json", job.number));
        let (mut step, mut sum): (u64, f64) = match &job.checkpoint {
            Some(_) => {
                serde_json::from_slice(&std::fs::read(&path).map_err(text)?).map_err(|e| e.to_string())?
            }
            None => (0, 0.0),
        };
        // What the checkpoint holds and the study does not know yet.
        if step > job.steps {
            let checkpoint = Checkpoint { path: path.display().to_string(), step };
            reporter.report(Report { step, value: sum, seconds: 0.0 }, Some(checkpoint));
        }
        while step < job.max_steps {
            std::thread::sleep(Duration::from_millis(12));
            (step, sum) = (step + 1, sum + x);
            let temporary = self.0.join(format!("{}.{}.tmp", job.number, std::process::id()));
            std::fs::write(&temporary, json!([step, sum]).to_string()).map_err(text)?;
            std::fs::rename(&temporary, &path).map_err(text)?;
            let checkpoint = Checkpoint { path: path.display().to_string(), step };
            if reporter.report(Report { step, value: sum, seconds: 0.012 }, Some(checkpoint)) == Go::Stop {
                return Ok(Ended::Stopped(None));
            }
        }
        Ok(Ended::Complete(None))
    }
}

/// Not a test by itself: the worker process that the kill tests start and kill.
#[test]
#[ignore = "the worker process of the kill tests"]
fn worker_process() {
    let url = std::env::var("DANLU_TEST_STORE").expect("started by a kill test");
    let folder = std::env::var("DANLU_TEST_FOLDER").expect("started by a kill test");
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let path = Path::new(&folder).join(format!("clock-{}", std::process::id()));
    std::fs::write(path, clock.as_secs().to_string()).expect("writes");
    let study = Study::load(store::open(&url, false).expect("opens"), "kills").expect("loads");
    let worker = Worker {
        owner: owner(&std::process::id().to_string(), 2500),
        seed: std::process::id().into(),
        budget: Budget::default(),
        stop: Default::default(),
        observer: &|_, _| {},
    };
    let finish = worker.work(study, &mut Once, &mut Sum(Path::new(&folder))).expect("works");
    assert_eq!(finish, Finish::Exhausted);
}

fn worker_command(url: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command
        .args(["--exact", "worker_process", "--ignored", "--test-threads=1"])
        .env("DANLU_TEST_STORE", url)
        .env("DANLU_TEST_FOLDER", folder)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    command
}

fn start(url: &str, folder: &Path) -> Child {
    worker_command(url, folder).spawn().expect("starts a worker")
}

const TRIALS: u64 = 64;

/// A study whose trials wait for workers.
fn enqueue_trials(url: &str) -> Study<Box<dyn Store>> {
    let mut study = Study::open(store::open(url, true).expect("opens"), spec("kills")).expect("creates");
    for i in 0..TRIALS {
        let x = (i as f64 + 1.0) / 128.0;
        study.enqueue(&BTreeMap::from([("x".to_owned(), json!(x))])).expect("enqueues");
    }
    study
}

/// Every trial ran every step exactly once, and none by two workers at once.
fn check_all_complete(view: &View, folder: &Path) {
    assert_eq!(view.trials().len() as u64, TRIALS, "no trial is lost and none is counted twice");
    for trial in view.trials() {
        assert_eq!(trial.state, State::Complete, "{trial:?}");
        let steps: Vec<u64> = trial.curve.iter().map(|r| r.step).collect();
        assert_eq!(steps, (1..=9).collect::<Vec<u64>>(), "every step is reported once");
        let x = trial.values[0].expect("has x");
        let sum = (0..9).fold(0.0, |sum, _| sum + x);
        assert_eq!(trial.value, Some(sum), "no step was lost or done twice: {trial:?}");
    }
    assert!(!folder.join("twice").exists(), "no trial is run by two workers at once");
}

fn survives_random_kills(url: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut study = enqueue_trials(url);
    let mut workers: Vec<Child> = (0..16).map(|_| start(url, folder.path())).collect();
    let mut rng = danlu_rng::Stream::new(5, danlu_rng::Purpose::Other(1), 0, 0);
    let mut kills = 0;
    let begun = Instant::now();
    while kills < 24 {
        std::thread::sleep(Duration::from_millis(20 + rng.below(60)));
        let i = rng.below(16) as usize;
        if workers[i].try_wait().expect("asks").is_none() {
            workers[i].kill().expect("kills");
            workers[i].wait().expect("is dead");
            kills += 1;
        }
        workers[i] = start(url, folder.path());
        assert!(begun.elapsed() < Duration::from_secs(120), "the workers end by themselves: {kills} kills");
    }
    for worker in &mut workers {
        assert!(worker.wait().expect("ends").success(), "a worker that was not killed ends well");
    }
    study.refresh().expect("reads");
    let view = study.view();
    check_all_complete(view, folder.path());
    let handed_over: i64 = view.trials().iter().map(|t| t.epoch - 2).sum();
    assert!(handed_over > 0, "the kills hit running trials");
    eprintln!(
        "{kills} kills of 16 workers, {TRIALS} trials, {handed_over} taken over, {:?}",
        begun.elapsed()
    );
}

#[test]
fn sixteen_workers_and_random_kills_lose_nothing_on_sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    survives_random_kills(&format!("sqlite:{}", folder.path().join("s.db").display()));
}

#[test]
fn sixteen_workers_and_random_kills_lose_nothing_on_postgres() {
    let Some(server) = server::Server::start() else { return };
    survives_random_kills(&server.url());
}
