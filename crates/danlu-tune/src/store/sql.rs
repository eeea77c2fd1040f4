//! Studies in a database, in Optuna's own tables.
//!
//! One set of statements serves SQLite and PostgreSQL; a [`Backend`] runs them and says what differs. Every method of the
//! store is one transaction. Whoever writes a trial checks its fencing epoch in the same transaction. All times are the
//! database's, so the clocks of the workers need not agree.

mod read;
mod schema;

use crate::error::{Result, TuneError};
use crate::space::{Space, Values};
use crate::store::{Claim, Cursor, Fixed, LetGo, Outcome, Owner, Store, Wanted};
use crate::study::{Direction, StudySpec};
use crate::trial::{Checkpoint, Report, Trial};
use std::time::{Duration, Instant};

/// A value that goes into or comes out of a statement.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    Null,
    Int(i64),
    Float(f64),
    Text(String),
}

impl Cell {
    fn int(&self) -> i64 {
        match self {
            Cell::Int(v) => *v,
            Cell::Float(v) => *v as i64,
            _ => 0,
        }
    }
    fn float(&self) -> Option<f64> {
        match self {
            Cell::Int(v) => Some(*v as f64),
            Cell::Float(v) => Some(*v),
            _ => None,
        }
    }
    fn text(&self) -> Option<&str> {
        match self {
            Cell::Text(v) => Some(v),
            _ => None,
        }
    }
}

impl From<i64> for Cell {
    fn from(v: i64) -> Self {
        Cell::Int(v)
    }
}
impl From<u64> for Cell {
    fn from(v: u64) -> Self {
        Cell::Int(v as i64)
    }
}
impl From<f64> for Cell {
    fn from(v: f64) -> Self {
        Cell::Float(v)
    }
}
impl From<&str> for Cell {
    fn from(v: &str) -> Self {
        Cell::Text(v.into())
    }
}
impl From<Option<&str>> for Cell {
    fn from(v: Option<&str>) -> Self {
        v.map_or(Cell::Null, Cell::from)
    }
}

/// A row of an answer.
pub(crate) type Row = Vec<Cell>;

/// What differs between the two databases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

impl Dialect {
    fn types(self, statement: &str) -> String {
        let sqlite = self == Dialect::Sqlite;
        let mut text = statement.to_owned();
        for (name, lite, postgres) in [
            ("{key}", "INTEGER PRIMARY KEY", "SERIAL PRIMARY KEY"),
            ("{float}", "FLOAT", "DOUBLE PRECISION"),
            ("{datetime}", "DATETIME", "TIMESTAMP"),
            ("{studydirection}", "VARCHAR(8)", "studydirection"),
            ("{trialstate}", "VARCHAR(8)", "trialstate"),
            ("{trialvaluetype}", "VARCHAR(7)", "trialvaluetype"),
            ("{trialintermediatevaluetype}", "VARCHAR(7)", "trialintermediatevaluetype"),
        ] {
            text = text.replace(name, if sqlite { lite } else { postgres });
        }
        text
    }

    /// Fills in what differs in a statement: `{now}` seconds since 1970, `{utc}` a naive UTC time as Optuna writes it,
    /// `{stamp}` the number of this transaction, `{seen}` the first one that a later read must look at again, `{lock}`
    /// and `{skip}` row locks.
    pub(crate) fn statement(self, statement: &str) -> String {
        let sqlite = self == Dialect::Sqlite;
        let mut text = statement.to_owned();
        for (name, lite, postgres) in [
            (
                "{now}",
                "unixepoch('subsec')",
                "CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION)",
            ),
            (
                "{utc}",
                "strftime('%Y-%m-%d %H:%M:%f000', 'now')",
                "CAST(clock_timestamp() AT TIME ZONE 'utc' AS TIMESTAMP)",
            ),
            ("{stamp}", "(SELECT COALESCE(MAX(changed), 0) + 1 FROM danlu_trials)", "txid_current()"),
            (
                "{seen}",
                "(SELECT COALESCE(MAX(changed), 0) + 1 FROM danlu_trials)",
                "txid_snapshot_xmin(txid_current_snapshot())",
            ),
            ("{lock}", "", "FOR UPDATE"),
            // Both rows of the join are locked: with the trial's alone, a claim that waited for another one would be judged by
            // the lease as it was before.
            ("{skip}", "", "FOR UPDATE SKIP LOCKED"),
        ] {
            text = text.replace(name, if sqlite { lite } else { postgres });
        }
        if sqlite { text.replace('$', "?") } else { text }
    }
}

/// Runs statements inside a transaction.
pub(crate) trait Tx {
    fn dialect(&self) -> Dialect;
    /// Rows that were changed.
    fn execute(&mut self, statement: &str, values: &[Cell]) -> Result<u64>;
    fn query(&mut self, statement: &str, values: &[Cell]) -> Result<Vec<Row>>;
}

/// A connection to a database.
pub(crate) trait Backend: Send {
    fn address(&self) -> &str;
    /// Runs `work` in a transaction that is committed where it succeeds. Called again after a lost connection, it connects anew.
    fn transaction(&mut self, write: bool, work: &mut dyn FnMut(&mut dyn Tx) -> Result<()>) -> Result<()>;
}

/// A store in a database; [`open`](super::open) makes one from an address.
pub struct SqlStore {
    backend: Box<dyn Backend>,
    /// For how long a call that fails for a passing reason (server restarting, database locked) is tried again.
    pub patience: Duration,
}

impl SqlStore {
    /// Checks the schema, or creates it in an empty database.
    pub(crate) fn new(backend: Box<dyn Backend>, create: bool) -> Result<Self> {
        // Whoever begins may have mistyped the address: that is said soon. A study that is under way waits longer.
        let mut store = SqlStore { backend, patience: Duration::from_secs(5) };
        store.run(true, &mut |tx| prepare(tx, create))?;
        store.patience = Duration::from_secs(60);
        Ok(store)
    }

    fn run<T: Default>(&mut self, write: bool, work: &mut dyn FnMut(&mut dyn Tx) -> Result<T>) -> Result<T> {
        let begun = Instant::now();
        let mut pause = Duration::from_millis(20);
        loop {
            let mut out = T::default();
            let done = self.backend.transaction(write, &mut |tx| {
                out = work(tx)?;
                Ok(())
            });
            match done {
                Ok(()) => return Ok(out),
                Err(TuneError::Store { transient: true, .. }) if begun.elapsed() + pause < self.patience => {
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(Duration::from_secs(2));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether the claim is still good; `Ok(false)` where this very worker ended or let go of the trial already (a call
    /// that is repeated because its answer was lost).
    fn fence(tx: &mut dyn Tx, claim: &Claim) -> Result<bool> {
        let rows = tx.query(
            "SELECT d.epoch, CAST(t.state AS TEXT), d.paused FROM danlu_trials d JOIN trials t ON t.trial_id = d.trial_id \
             WHERE d.trial_id = $1 {lock}",
            &[claim.trial.into()],
        )?;
        let lost = TuneError::LeaseLost { number: claim.number, epoch: claim.epoch };
        let Some(row) = rows.first() else { return Err(lost) };
        if row[0].int() != claim.epoch {
            return Err(lost);
        }
        Ok(row[1].text() == Some("RUNNING") && row[2].int() == 0)
    }

    fn lost(claim: &Claim) -> TuneError {
        TuneError::LeaseLost { number: claim.number, epoch: claim.epoch }
    }

    fn insert_values(tx: &mut dyn Tx, trial: i64, space: &Space, values: &Values) -> Result<()> {
        let mut rows = Vec::new();
        let mut cells = Vec::new();
        for (parameter, value) in space.parameters().iter().zip(values) {
            let Some(value) = value else { continue };
            let json = serde_json::to_string(&parameter.distribution).unwrap_or_default();
            let n = cells.len();
            rows.push(format!("(${}, ${}, ${}, ${})", n + 1, n + 2, n + 3, n + 4));
            cells.extend([
                trial.into(),
                parameter.name.as_str().into(),
                (*value).into(),
                json.as_str().into(),
            ]);
        }
        if !rows.is_empty() {
            let all = rows.join(", ");
            let head =
                "INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json) VALUES";
            tx.execute(&format!("{head} {all}"), &cells)?;
        }
        Ok(())
    }

    /// The number of a new trial: the study's row is locked, so numbers have no gap and none comes twice (as in Optuna).
    fn next_number(tx: &mut dyn Tx, study: i64) -> Result<i64> {
        tx.query("SELECT study_id FROM studies WHERE study_id = $1 {lock}", &[study.into()])?;
        let last = tx.query(
            "SELECT number FROM trials WHERE study_id = $1 ORDER BY trial_id DESC LIMIT 1",
            &[study.into()],
        )?;
        Ok(last.first().map_or(0, |row| row[0].int() + 1))
    }
}

fn prepare(tx: &mut dyn Tx, create: bool) -> Result<()> {
    let dialect = tx.dialect();
    let exists = match dialect {
        Dialect::Sqlite => "SELECT COUNT(*) FROM sqlite_master WHERE name IN ('studies', 'danlu_trials')",
        Dialect::Postgres => {
            // Two workers that begin at once: the second waits for the first one's tables.
            tx.query("SELECT CAST(pg_advisory_xact_lock(7305) AS TEXT)", &[])?;
            "SELECT COUNT(*) FROM pg_tables WHERE schemaname = current_schema() AND tablename IN ('studies', 'danlu_trials')"
        }
    };
    let tables = tx.query(exists, &[])?.first().map_or(0, |row| row[0].int());
    if tables == 0 {
        if !create {
            return Err(TuneError::Schema {
                found: "no study at all".into(),
                expected: "danlu's or Optuna's".into(),
            });
        }
        for statement in schema::statements(dialect) {
            tx.execute(&statement, &[])?;
        }
    } else {
        let version = tx.query("SELECT schema_version FROM version_info", &[])?;
        let alembic = tx.query("SELECT version_num FROM alembic_version", &[])?;
        let version = version.first().map_or(0, |row| row[0].int());
        let alembic = alembic.first().and_then(|row| row[0].text()).unwrap_or("none").to_owned();
        if version != schema::SCHEMA_VERSION || alembic != schema::ALEMBIC_VERSION {
            return Err(TuneError::Schema {
                found: format!("{version} ({alembic})"),
                expected: format!("{} ({})", schema::SCHEMA_VERSION, schema::ALEMBIC_VERSION),
            });
        }
    }
    if tables < 2 {
        for statement in schema::side_tables(dialect) {
            tx.execute(&statement, &[])?;
        }
    }
    Ok(())
}

/// A number as Optuna stores it: the number where it is finite, and its kind.
fn stored(value: f64) -> (Cell, &'static str) {
    if value.is_finite() {
        (value.into(), "FINITE")
    } else if value.is_nan() {
        (Cell::Null, "NAN")
    } else {
        (Cell::Null, if value > 0.0 { "INF_POS" } else { "INF_NEG" })
    }
}

fn direction_name(direction: Direction) -> &'static str {
    match direction {
        Direction::Minimize => "MINIMIZE",
        Direction::Maximize => "MAXIMIZE",
    }
}

impl Store for SqlStore {
    fn address(&self) -> String {
        self.backend.address().to_owned()
    }

    fn create_study(&mut self, spec: &StudySpec) -> Result<i64> {
        let json = serde_json::to_string(spec)
            .map_err(|e| TuneError::Space { key: "space".into(), reason: e.to_string() })?;
        self.run(true, &mut |tx| {
            tx.execute(
                "INSERT INTO studies (study_name) VALUES ($1) ON CONFLICT (study_name) DO NOTHING",
                &[spec.name.as_str().into()],
            )?;
            let study = tx.query(
                "SELECT study_id FROM studies WHERE study_name = $1 {lock}",
                &[spec.name.as_str().into()],
            )?;
            let id = study.first().map_or(0, |row| row[0].int());
            let known = tx.query("SELECT spec FROM danlu_studies WHERE study_id = $1", &[id.into()])?;
            if let Some(text) = known.first().and_then(|row| row[0].text()) {
                read::spec(text)?.check_same(spec)?;
                return Ok(id);
            }
            let there = tx.query(
                "SELECT CAST(direction AS TEXT) FROM study_directions WHERE study_id = $1 ORDER BY objective",
                &[id.into()],
            )?;
            match there.first().and_then(|row| row[0].text()) {
                None => {
                    tx.execute(
                        "INSERT INTO study_directions (direction, study_id, objective) VALUES ($1, $2, 0)",
                        &[direction_name(spec.direction).into(), id.into()],
                    )?;
                }
                // A study that Optuna made: taken over where it asks for the same thing.
                Some(direction) if direction != direction_name(spec.direction) || there.len() > 1 => {
                    return Err(TuneError::StudyMismatch {
                        name: spec.name.clone(),
                        what: "direction",
                        difference: format!(
                            "{} objective(s), {direction} there, {:?} here",
                            there.len(),
                            spec.direction
                        ),
                    });
                }
                Some(_) => {}
            }
            tx.execute(
                "INSERT INTO danlu_studies (study_id, spec) VALUES ($1, $2)",
                &[id.into(), json.as_str().into()],
            )?;
            Ok(id)
        })
    }

    fn load_study(&mut self, name: &str) -> Result<(i64, Option<StudySpec>)> {
        let found = self.run(false, &mut |tx| {
            let rows = tx.query(
                "SELECT s.study_id, d.spec FROM studies s LEFT JOIN danlu_studies d ON d.study_id = s.study_id \
                 WHERE s.study_name = $1",
                &[name.into()],
            )?;
            let Some(row) = rows.first() else { return Ok(None) };
            Ok(Some((row[0].int(), row[1].text().map(read::spec).transpose()?)))
        })?;
        match found {
            Some(found) => Ok(found),
            None => Err(TuneError::NoStudy { name: name.into(), known: self.study_names()?.join(", ") }),
        }
    }

    fn study_names(&mut self) -> Result<Vec<String>> {
        self.run(false, &mut |tx| {
            let rows = tx.query("SELECT study_name FROM studies ORDER BY study_id", &[])?;
            Ok(rows.iter().filter_map(|row| row[0].text().map(str::to_owned)).collect())
        })
    }

    fn changes(&mut self, study: i64, space: &Space, cursor: &mut Cursor) -> Result<Vec<Trial>> {
        let (trials, after) = self.run(false, &mut |tx| read::changes(tx, study, space, cursor))?;
        *cursor = after;
        Ok(trials)
    }

    fn create_trial(&mut self, study: i64, space: &Space, values: &Values, owner: &Owner) -> Result<Claim> {
        let created = self.run(true, &mut |tx| {
            let number = Self::next_number(tx, study)?;
            let rows = tx.query(
                "INSERT INTO trials (number, study_id, state, datetime_start) VALUES ($1, $2, 'RUNNING', {utc}) RETURNING trial_id",
                &[number.into(), study.into()],
            )?;
            let trial = rows.first().map_or(0, |row| row[0].int());
            Self::insert_values(tx, trial, space, values)?;
            tx.execute(
                "INSERT INTO danlu_trials (trial_id, study_id, changed, epoch, paused, worker, lease_until) \
                 VALUES ($1, $2, {stamp}, 1, 0, $3, {now} + $4)",
                &[trial.into(), study.into(), owner.worker.as_str().into(), owner.lease.as_secs_f64().into()],
            )?;
            Ok(Some(Claim { study, trial, number: number as u64, epoch: 1 }))
        })?;
        created.ok_or(TuneError::LeaseLost { number: 0, epoch: 0 })
    }

    fn enqueue(&mut self, study: i64, fixed: &Fixed) -> Result<u64> {
        let json = serde_json::to_string(fixed).unwrap_or_default();
        self.run(true, &mut |tx| {
            let number = Self::next_number(tx, study)?;
            let rows = tx.query(
                "INSERT INTO trials (number, study_id, state) VALUES ($1, $2, 'WAITING') RETURNING trial_id",
                &[number.into(), study.into()],
            )?;
            let trial = rows.first().map_or(0, |row| row[0].int());
            tx.execute(
                "INSERT INTO trial_system_attributes (trial_id, key, value_json) VALUES ($1, 'fixed_params', $2)",
                &[trial.into(), json.as_str().into()],
            )?;
            Ok(number as u64)
        })
    }

    fn claim(&mut self, study: i64, wanted: Wanted, owner: &Owner) -> Result<Option<(Claim, Option<Fixed>)>> {
        self.run(true, &mut |tx| {
            // Only what danlu itself ran is ever taken over: a trial that Optuna runs has no row in danlu_trials.
            let found = match wanted {
                Wanted::Abandoned => tx.query(
                    "SELECT t.trial_id, t.number FROM trials t JOIN danlu_trials d ON d.trial_id = t.trial_id \
                     WHERE t.study_id = $1 AND t.state = 'RUNNING' AND d.paused = 0 \
                     AND (d.lease_until IS NULL OR d.lease_until < {now}) ORDER BY t.number LIMIT 1 {skip}",
                    &[study.into()],
                )?,
                Wanted::Paused(number) => tx.query(
                    "SELECT t.trial_id, t.number FROM trials t JOIN danlu_trials d ON d.trial_id = t.trial_id \
                     WHERE t.study_id = $1 AND t.number = $2 AND t.state = 'RUNNING' AND d.paused = 1 {skip}",
                    &[study.into(), number.into()],
                )?,
                Wanted::Waiting => tx.query(
                    "SELECT t.trial_id, t.number FROM trials t WHERE t.study_id = $1 AND t.state = 'WAITING' \
                     ORDER BY t.number LIMIT 1 {skip}",
                    &[study.into()],
                )?,
            };
            let Some(row) = found.first() else { return Ok(None) };
            let (trial, number) = (row[0].int(), row[1].int() as u64);
            let rows = tx.query(
                "INSERT INTO danlu_trials (trial_id, study_id, changed, epoch, paused, worker, lease_until) \
                 VALUES ($1, $2, {stamp}, 1, 0, $3, {now} + $4) ON CONFLICT (trial_id) DO UPDATE SET changed = {stamp}, \
                 epoch = danlu_trials.epoch + 1, paused = 0, worker = excluded.worker, lease_until = excluded.lease_until \
                 RETURNING epoch",
                &[trial.into(), study.into(), owner.worker.as_str().into(), owner.lease.as_secs_f64().into()],
            )?;
            let epoch = rows.first().map_or(1, |row| row[0].int());
            tx.execute(
                "UPDATE trials SET state = 'RUNNING', datetime_start = COALESCE(datetime_start, {utc}) WHERE trial_id = $1",
                &[trial.into()],
            )?;
            let fixed = tx.query(
                "SELECT value_json FROM trial_system_attributes WHERE trial_id = $1 AND key = 'fixed_params'",
                &[trial.into()],
            )?;
            let fixed = fixed.first().and_then(|row| row[0].text()).and_then(|t| serde_json::from_str(t).ok());
            Ok(Some((Claim { study, trial, number, epoch }, fixed)))
        })
    }

    fn set_values(&mut self, claim: &Claim, space: &Space, values: &Values) -> Result<()> {
        self.run(true, &mut |tx| {
            if !Self::fence(tx, claim)? {
                return Err(Self::lost(claim));
            }
            tx.execute("DELETE FROM trial_params WHERE trial_id = $1", &[claim.trial.into()])?;
            Self::insert_values(tx, claim.trial, space, values)?;
            tx.execute(
                "UPDATE danlu_trials SET changed = {stamp} WHERE trial_id = $1",
                &[claim.trial.into()],
            )?;
            Ok(())
        })
    }

    fn record(
        &mut self,
        claim: &Claim,
        owner: &Owner,
        report: &Report,
        checkpoint: Option<&Checkpoint>,
    ) -> Result<()> {
        let (value, kind) = stored(report.value);
        self.run(true, &mut |tx| {
            if !Self::fence(tx, claim)? {
                return Err(Self::lost(claim));
            }
            tx.execute(
                "INSERT INTO trial_intermediate_values (trial_id, step, intermediate_value, intermediate_value_type) \
                 VALUES ($1, $2, $3, $4) ON CONFLICT (trial_id, step) DO UPDATE SET \
                 intermediate_value = excluded.intermediate_value, intermediate_value_type = excluded.intermediate_value_type",
                &[claim.trial.into(), report.step.into(), value.clone(), kind.into()],
            )?;
            tx.execute(
                "INSERT INTO danlu_steps (trial_id, step, seconds) VALUES ($1, $2, $3) \
                 ON CONFLICT (trial_id, step) DO UPDATE SET seconds = excluded.seconds",
                &[claim.trial.into(), report.step.into(), report.seconds.into()],
            )?;
            touch(tx, claim, Some(owner), checkpoint)
        })
    }

    fn renew(&mut self, claim: &Claim, owner: &Owner) -> Result<()> {
        self.run(true, &mut |tx| {
            if !Self::fence(tx, claim)? {
                return Err(Self::lost(claim));
            }
            // Not a change that others must read.
            tx.execute(
                "UPDATE danlu_trials SET lease_until = {now} + $2 WHERE trial_id = $1",
                &[claim.trial.into(), owner.lease.as_secs_f64().into()],
            )?;
            Ok(())
        })
    }

    fn let_go(&mut self, claim: &Claim, how: LetGo, checkpoint: Option<&Checkpoint>) -> Result<()> {
        self.run(true, &mut |tx| {
            if !Self::fence(tx, claim)? {
                return Ok(());
            }
            touch(tx, claim, None, checkpoint)?;
            tx.execute(
                "UPDATE danlu_trials SET paused = $2, lease_until = NULL, worker = NULL WHERE trial_id = $1",
                &[claim.trial.into(), i64::from(how == LetGo::Pause).into()],
            )?;
            Ok(())
        })
    }

    fn finish(&mut self, claim: &Claim, outcome: &Outcome) -> Result<()> {
        self.run(true, &mut |tx| {
            if !Self::fence(tx, claim)? {
                return Ok(());
            }
            let trial = claim.trial;
            let (state, value, error) = match outcome {
                Outcome::Complete(value) if value.is_nan() => ("FAIL", None, Some("the final value is not a number")),
                Outcome::Complete(value) => ("COMPLETE", Some(*value), None),
                Outcome::Pruned => {
                    // As Optuna does: the last value that is a number stands for a pruned trial.
                    let last = tx.query(
                        "SELECT intermediate_value FROM trial_intermediate_values WHERE trial_id = $1 \
                         AND intermediate_value IS NOT NULL ORDER BY step DESC LIMIT 1",
                        &[trial.into()],
                    )?;
                    ("PRUNED", last.first().and_then(|row| row[0].float()), None)
                }
                Outcome::Failed(error) => ("FAIL", None, Some(error.as_str())),
            };
            if let Some(value) = value {
                let (value, kind) = stored(value);
                tx.execute(
                    "INSERT INTO trial_values (trial_id, objective, value, value_type) VALUES ($1, 0, $2, $3) \
                     ON CONFLICT (trial_id, objective) DO UPDATE SET value = excluded.value, value_type = excluded.value_type",
                    &[trial.into(), value, kind.into()],
                )?;
            }
            if let Some(error) = error {
                // Shown by optuna-dashboard beside the trial.
                let json = serde_json::Value::from(error).to_string();
                tx.execute(
                    "INSERT INTO trial_user_attributes (trial_id, key, value_json) VALUES ($1, 'error', $2) \
                     ON CONFLICT (trial_id, key) DO UPDATE SET value_json = excluded.value_json",
                    &[trial.into(), json.as_str().into()],
                )?;
            }
            tx.execute(
                &format!("UPDATE trials SET state = '{state}', datetime_complete = {{utc}} WHERE trial_id = $1"),
                &[trial.into()],
            )?;
            tx.execute(
                "UPDATE danlu_trials SET changed = {stamp}, lease_until = NULL, worker = NULL, error = $2 WHERE trial_id = $1",
                &[trial.into(), error.into()],
            )?;
            Ok(())
        })
    }
}

/// Marks the trial as changed, keeps its checkpoint, and renews the lease of the owner who stays.
fn touch(
    tx: &mut dyn Tx,
    claim: &Claim,
    owner: Option<&Owner>,
    checkpoint: Option<&Checkpoint>,
) -> Result<()> {
    tx.execute("UPDATE danlu_trials SET changed = {stamp} WHERE trial_id = $1", &[claim.trial.into()])?;
    if let Some(owner) = owner {
        tx.execute(
            "UPDATE danlu_trials SET lease_until = {now} + $2 WHERE trial_id = $1",
            &[claim.trial.into(), owner.lease.as_secs_f64().into()],
        )?;
    }
    if let Some(checkpoint) = checkpoint {
        tx.execute(
            "UPDATE danlu_trials SET checkpoint = $2, checkpoint_step = $3 WHERE trial_id = $1",
            &[claim.trial.into(), checkpoint.path.as_str().into(), checkpoint.step.into()],
        )?;
    }
    Ok(())
}
