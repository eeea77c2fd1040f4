//! Studies in a database, in Optuna's own tables.
//!
//! One set of statements serves SQLite and PostgreSQL; a [`Backend`] runs them and says what differs. Every method of the
//! store is one transaction. Whoever writes a trial checks its fencing epoch in the same transaction. All times are the
//! database's, so the clocks of the workers need not agree.

mod cell;
mod claims;
mod dialect;
mod read;
mod reports;
mod schema;
mod studies;

pub(crate) use cell::{Cell, Row};
pub(crate) use dialect::Dialect;

use crate::error::{Result, TuneError};
use crate::space::{Space, Values};
use crate::store::{Claim, Cursor, Fixed, LetGo, Outcome, Owner, Store, Wanted};
use crate::study::StudySpec;
use crate::trial::{Checkpoint, Report, Trial};
use std::time::{Duration, Instant};

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
        store.run(true, &mut |tx| schema::prepare(tx, create))?;
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
}

impl Store for SqlStore {
    fn address(&self) -> String {
        self.backend.address().to_owned()
    }

    fn create_study(&mut self, spec: &StudySpec) -> Result<i64> {
        let json = serde_json::to_string(spec)
            .map_err(|e| TuneError::Space { key: "space".into(), reason: e.to_string() })?;
        self.run(true, &mut |tx| studies::create(tx, spec, &json))
    }

    fn load_study(&mut self, name: &str) -> Result<(i64, Option<StudySpec>)> {
        match self.run(false, &mut |tx| studies::load(tx, name))? {
            Some(found) => Ok(found),
            None => Err(TuneError::NoStudy { name: name.into(), known: self.study_names()?.join(", ") }),
        }
    }

    fn study_names(&mut self) -> Result<Vec<String>> {
        self.run(false, &mut |tx| studies::names(tx))
    }

    fn changes(&mut self, study: i64, space: &Space, cursor: &mut Cursor) -> Result<Vec<Trial>> {
        let (trials, after) = self.run(false, &mut |tx| read::changes(tx, study, space, cursor))?;
        *cursor = after;
        Ok(trials)
    }

    fn create_trial(&mut self, study: i64, space: &Space, values: &Values, owner: &Owner) -> Result<Claim> {
        let created = self.run(true, &mut |tx| claims::create_trial(tx, study, space, values, owner))?;
        created.ok_or(TuneError::LeaseLost { number: 0, epoch: 0 })
    }

    fn enqueue(&mut self, study: i64, fixed: &Fixed) -> Result<u64> {
        let json = serde_json::to_string(fixed).unwrap_or_default();
        self.run(true, &mut |tx| claims::enqueue(tx, study, &json))
    }

    fn claim(&mut self, study: i64, wanted: Wanted, owner: &Owner) -> Result<Option<(Claim, Option<Fixed>)>> {
        self.run(true, &mut |tx| claims::claim(tx, study, wanted, owner))
    }

    fn set_values(&mut self, claim: &Claim, space: &Space, values: &Values) -> Result<()> {
        self.run(true, &mut |tx| claims::set_values(tx, claim, space, values))
    }

    fn record(
        &mut self,
        claim: &Claim,
        owner: &Owner,
        report: &Report,
        checkpoint: Option<&Checkpoint>,
    ) -> Result<()> {
        self.run(true, &mut |tx| reports::record(tx, claim, owner, report, checkpoint))
    }

    fn renew(&mut self, claim: &Claim, owner: &Owner) -> Result<()> {
        self.run(true, &mut |tx| claims::renew(tx, claim, owner))
    }

    fn let_go(&mut self, claim: &Claim, how: LetGo, checkpoint: Option<&Checkpoint>) -> Result<()> {
        self.run(true, &mut |tx| claims::let_go(tx, claim, how, checkpoint))
    }

    fn finish(&mut self, claim: &Claim, outcome: &Outcome) -> Result<()> {
        self.run(true, &mut |tx| reports::finish(tx, claim, outcome))
    }
}
