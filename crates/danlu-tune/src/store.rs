//! Where a study lives: trials, curves, leases.
//!
//! A store is a set of small transactions. Whoever runs a trial holds a **lease** on it, with a **fencing epoch** that
//! grows each time the trial changes hands: a worker that was presumed dead and comes back is refused with
//! [`TuneError::LeaseLost`](crate::TuneError::LeaseLost) and can neither report nor finish. Time is the store's own.

mod memory;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod sql;
#[cfg(feature = "sqlite")]
mod sqlite;

pub use memory::MemoryStore;
#[cfg(feature = "postgres")]
pub use postgres::open_postgres;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub use sql::SqlStore;
#[cfg(feature = "sqlite")]
pub use sqlite::open_sqlite;

use crate::error::Result;
use crate::space::{Space, Values};
use crate::study::StudySpec;
use crate::trial::{Checkpoint, Report, Trial};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// Who runs a trial, and for how long without a sign of life.
#[derive(Clone, Debug, PartialEq)]
pub struct Owner {
    /// Name of the worker, for people: host and process.
    pub worker: String,
    /// After this time without a report or a renewal the trial belongs to whoever asks first.
    pub lease: Duration,
}

/// The right to run one trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The store's key of the study.
    pub study: i64,
    /// The store's key of the trial.
    pub trial: i64,
    /// Number of the trial in its study.
    pub number: u64,
    /// Fencing epoch: 1 for the first worker, one more for each later one.
    pub epoch: i64,
}

/// Which trial to claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// One whose worker's lease ran out, or that was released; the lowest number first.
    Abandoned,
    /// One that was enqueued; the lowest number first.
    Waiting,
    /// This paused one.
    Paused(u64),
}

/// How a trial ends.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// All steps done, with the final value.
    Complete(f64),
    /// Given up by the scheduler.
    Pruned,
    /// The objective failed, with its error.
    Failed(String),
}

/// How a worker lets go of an unfinished trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LetGo {
    /// The policy set it aside.
    Pause,
    /// The worker stops; the next free worker goes on with the trial at once.
    Release,
}

/// Values that someone fixed by hand for an enqueued trial, as JSON by parameter name.
pub type Fixed = BTreeMap<String, Value>;

/// A place for studies. All methods are atomic, and safe to repeat after an error that says `transient`.
pub trait Store: Send {
    /// The address, without a password.
    fn address(&self) -> String;

    /// Creates the study, or opens it where it exists with the same space, direction and `max_steps`.
    ///
    /// # Errors
    /// `StudyMismatch` where it exists and differs.
    fn create_study(&mut self, spec: &StudySpec) -> Result<i64>;

    /// Opens a study by name. One that Optuna made has no space: `None` then.
    fn load_study(&mut self, name: &str) -> Result<(i64, Option<StudySpec>)>;

    /// All studies, by name.
    fn study_names(&mut self) -> Result<Vec<String>>;

    /// The trials that changed since the last call with this `cursor`, whole. Finished trials come once.
    fn changes(&mut self, study: i64, space: &Space, cursor: &mut Cursor) -> Result<Vec<Trial>>;

    /// A new trial, all its parameters in one commit: run by `owner` from now on.
    fn create_trial(&mut self, study: i64, space: &Space, values: &Values, owner: &Owner) -> Result<Claim>;

    /// A new trial that waits for a worker, with some or all values fixed by hand.
    fn enqueue(&mut self, study: i64, fixed: &Fixed) -> Result<u64>;

    /// Takes a trial, if there is one. `fixed` holds the hand-set values of an enqueued trial whose parameters are
    /// not yet chosen; the caller completes them with [`Store::set_values`].
    fn claim(&mut self, study: i64, wanted: Wanted, owner: &Owner) -> Result<Option<(Claim, Option<Fixed>)>>;

    /// Sets the parameters of a claimed trial that had none.
    fn set_values(&mut self, claim: &Claim, space: &Space, values: &Values) -> Result<()>;

    /// Writes a report and, where the objective saved one, the checkpoint that holds it; renews the lease.
    fn record(
        &mut self,
        claim: &Claim,
        owner: &Owner,
        report: &Report,
        checkpoint: Option<&Checkpoint>,
    ) -> Result<()>;

    /// Renews the lease.
    fn renew(&mut self, claim: &Claim, owner: &Owner) -> Result<()>;

    /// Lets go of an unfinished trial.
    fn let_go(&mut self, claim: &Claim, how: LetGo, checkpoint: Option<&Checkpoint>) -> Result<()>;

    /// Ends a trial.
    fn finish(&mut self, claim: &Claim, outcome: &Outcome) -> Result<()>;
}

/// How far a reader has read a study's changes.
#[derive(Clone, Debug, Default)]
pub struct Cursor {
    /// Changes up to this one have been read.
    pub(crate) sequence: i64,
    /// The largest trial id seen.
    pub(crate) last_trial: i64,
    /// Unfinished trials that danlu does not run (enqueued, or another tool's): looked at again each time.
    pub(crate) foreign: Vec<i64>,
}

/// Opens a store by its address: `sqlite:PATH`, `sqlite:///PATH` (as Optuna writes it) or `postgres://USER@HOST:PORT/DATABASE`.
/// `create` makes the file and the tables where there are none.
///
/// # Errors
/// `StoreUrl` where the address cannot be read, `Schema` for tables of another version, `Store` for what the database says.
pub fn open(url: &str, create: bool) -> Result<Box<dyn Store>> {
    let refuse = |reason: &str| Err(crate::TuneError::StoreUrl { url: shown(url), reason: reason.into() });
    if let Some(path) = url.strip_prefix("sqlite:///").or_else(|| url.strip_prefix("sqlite:")) {
        if path.is_empty() || path.starts_with("//") {
            return refuse("expected a path after `sqlite:`");
        }
        #[cfg(feature = "sqlite")]
        return Ok(Box::new(open_sqlite(std::path::Path::new(path), create)?));
    }
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        #[cfg(feature = "postgres")]
        return Ok(Box::new(open_postgres(url, create)?));
    }
    let _ = create;
    refuse("this kind of store is not known")
}

fn shown(url: &str) -> String {
    #[cfg(feature = "postgres")]
    return postgres::without_password(url);
    #[cfg(not(feature = "postgres"))]
    url.to_owned()
}

impl<S: Store + ?Sized> Store for Box<S> {
    fn address(&self) -> String {
        (**self).address()
    }
    fn create_study(&mut self, spec: &StudySpec) -> Result<i64> {
        (**self).create_study(spec)
    }
    fn load_study(&mut self, name: &str) -> Result<(i64, Option<StudySpec>)> {
        (**self).load_study(name)
    }
    fn study_names(&mut self) -> Result<Vec<String>> {
        (**self).study_names()
    }
    fn changes(&mut self, study: i64, space: &Space, cursor: &mut Cursor) -> Result<Vec<Trial>> {
        (**self).changes(study, space, cursor)
    }
    fn create_trial(&mut self, study: i64, space: &Space, values: &Values, owner: &Owner) -> Result<Claim> {
        (**self).create_trial(study, space, values, owner)
    }
    fn enqueue(&mut self, study: i64, fixed: &Fixed) -> Result<u64> {
        (**self).enqueue(study, fixed)
    }
    fn claim(&mut self, study: i64, wanted: Wanted, owner: &Owner) -> Result<Option<(Claim, Option<Fixed>)>> {
        (**self).claim(study, wanted, owner)
    }
    fn set_values(&mut self, claim: &Claim, space: &Space, values: &Values) -> Result<()> {
        (**self).set_values(claim, space, values)
    }
    fn record(
        &mut self,
        claim: &Claim,
        owner: &Owner,
        report: &Report,
        checkpoint: Option<&Checkpoint>,
    ) -> Result<()> {
        (**self).record(claim, owner, report, checkpoint)
    }
    fn renew(&mut self, claim: &Claim, owner: &Owner) -> Result<()> {
        (**self).renew(claim, owner)
    }
    fn let_go(&mut self, claim: &Claim, how: LetGo, checkpoint: Option<&Checkpoint>) -> Result<()> {
        (**self).let_go(claim, how, checkpoint)
    }
    fn finish(&mut self, claim: &Claim, outcome: &Outcome) -> Result<()> {
        (**self).finish(claim, outcome)
    }
}
