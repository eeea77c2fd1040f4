//! SQLite: one file, on one machine.

use super::sql::{Backend, Cell, Dialect, Row, SqlStore, Tx};
use crate::error::{Result, TuneError};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use std::path::Path;
use std::time::Duration;

struct Sqlite {
    address: String,
    connection: Connection,
}

/// Opens a study file; `create` makes it where it does not exist.
///
/// Write-ahead log, so that readers (a dashboard) never wait for the writer; `synchronous = NORMAL` loses nothing when
/// a process is killed, and at most the last commits at a power cut, which the trial's own checkpoint makes good.
pub fn open_sqlite(path: &Path, create: bool) -> Result<SqlStore> {
    let address = format!("sqlite:{}", path.display());
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if create {
        flags |= OpenFlags::SQLITE_OPEN_CREATE;
    }
    let connection =
        Connection::open_with_flags(path, flags).map_err(|e| failure(&address, "opening the file", &e))?;
    let setup = |connection: &Connection| -> rusqlite::Result<()> {
        connection.busy_timeout(Duration::from_secs(10))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.set_prepared_statement_cache_capacity(64);
        Ok(())
    };
    setup(&connection).map_err(|e| failure(&address, "opening the file", &e))?;
    SqlStore::new(Box::new(Sqlite { address, connection }), create)
}

fn failure(address: &str, doing: &str, error: &rusqlite::Error) -> TuneError {
    let code = error.sqlite_error_code();
    let transient = matches!(code, Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked));
    let reason = match code {
        Some(ErrorCode::NotADatabase) => "it is not an SQLite file".to_owned(),
        Some(ErrorCode::ReadOnly) => "it is read-only, for the file or its folder".to_owned(),
        Some(ErrorCode::DiskFull) => "the disk is full; what was reported before is safe".to_owned(),
        Some(ErrorCode::CannotOpen) => "there is no such file, or its folder cannot be written".to_owned(),
        _ => error.to_string(),
    };
    TuneError::Store { store: address.into(), doing: doing.into(), reason, transient }
}

impl Backend for Sqlite {
    fn address(&self) -> &str {
        &self.address
    }

    fn transaction(&mut self, write: bool, work: &mut dyn FnMut(&mut dyn Tx) -> Result<()>) -> Result<()> {
        // A writer that began as a reader could not be made to wait: it takes the write lock first.
        let behavior = if write { TransactionBehavior::Immediate } else { TransactionBehavior::Deferred };
        let address = &self.address;
        let transaction = self
            .connection
            .transaction_with_behavior(behavior)
            .map_err(|e| failure(address, "beginning a transaction", &e))?;
        work(&mut SqliteTx { address, transaction: &transaction })?;
        transaction.commit().map_err(|e| failure(address, "committing", &e))
    }
}

struct SqliteTx<'a> {
    address: &'a str,
    transaction: &'a rusqlite::Transaction<'a>,
}

impl SqliteTx<'_> {
    fn rows(&self, statement: &str, values: &[Cell]) -> rusqlite::Result<(Vec<Row>, u64)> {
        let text = Dialect::Sqlite.statement(statement);
        let mut prepared = self.transaction.prepare_cached(&text)?;
        for (i, value) in values.iter().enumerate() {
            match value {
                Cell::Null => prepared.raw_bind_parameter(i + 1, None::<i64>)?,
                Cell::Int(v) => prepared.raw_bind_parameter(i + 1, v)?,
                Cell::Float(v) => prepared.raw_bind_parameter(i + 1, v)?,
                Cell::Text(v) => prepared.raw_bind_parameter(i + 1, v)?,
            }
        }
        let columns = prepared.column_count();
        if columns == 0 {
            return Ok((Vec::new(), prepared.raw_execute()? as u64));
        }
        let mut rows = prepared.raw_query();
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            let cell = |i| -> rusqlite::Result<Cell> {
                Ok(match row.get_ref(i)? {
                    ValueRef::Integer(v) => Cell::Int(v),
                    ValueRef::Real(v) => Cell::Float(v),
                    ValueRef::Text(v) => Cell::Text(String::from_utf8_lossy(v).into_owned()),
                    ValueRef::Null | ValueRef::Blob(_) => Cell::Null,
                })
            };
            all.push((0..columns).map(cell).collect::<rusqlite::Result<Row>>()?);
        }
        Ok((all, 0))
    }
}

impl Tx for SqliteTx<'_> {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }
    fn execute(&mut self, statement: &str, values: &[Cell]) -> Result<u64> {
        self.rows(statement, values).map(|r| r.1).map_err(|e| failure(self.address, "writing", &e))
    }
    fn query(&mut self, statement: &str, values: &[Cell]) -> Result<Vec<Row>> {
        self.rows(statement, values).map(|r| r.0).map_err(|e| failure(self.address, "reading", &e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Owner, Store};
    use crate::{Direction, Distribution, Parameter, Report, Space, StudySpec};

    fn spec() -> StudySpec {
        let space = Space::new(vec![Parameter::new("x", Distribution::float(0.0, 1.0))]);
        StudySpec {
            name: "s".into(),
            direction: Direction::Minimize,
            space: space.unwrap_or_else(|error| panic!("{error}")),
            max_steps: 9,
            context: serde_json::Value::String("a study ".repeat(64)),
        }
    }

    /// A store on a file whose connection has this setting.
    fn with(path: &Path, setting: &str) -> Result<SqlStore> {
        drop(open_sqlite(path, true)?);
        let connection =
            Connection::open(path).map_err(|e| failure("sqlite:s.db", "opening the file", &e))?;
        let set = connection.execute_batch(setting);
        set.map_err(|e| failure("sqlite:s.db", "setting it up", &e))?;
        SqlStore::new(Box::new(Sqlite { address: "sqlite:s.db".into(), connection }), false)
    }

    #[test]
    fn a_full_disk_is_said_and_what_was_reported_before_is_safe() -> Result<()> {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
        let path = folder.path().join("s.db");
        let spec = spec();
        let owner = Owner { worker: "one".into(), lease: Duration::from_secs(60) };
        // As many pages as there are and a few more.
        let mut full = with(&path, "PRAGMA max_page_count = 1")?;
        let id = open_sqlite(&path, true)?.create_study(&spec)?;
        let claim = open_sqlite(&path, true)?.create_trial(id, &spec.space, &vec![Some(0.5)], &owner)?;
        let mut written = 0;
        let error = loop {
            let report = Report { step: written + 1, value: 0.5, seconds: 1.0 };
            match full.record(&claim, &owner, &report, None) {
                Ok(()) if written < 10_000 => written += 1,
                Ok(()) => panic!("never full"),
                Err(error) => break error,
            }
        };
        let TuneError::Store { reason, transient, .. } = &error else { panic!("{error}") };
        assert!(reason.starts_with("the disk is full") && !transient, "{error}");
        let mut later = open_sqlite(&path, false)?;
        let mut cursor = Default::default();
        let trials = later.changes(id, &spec.space, &mut cursor)?;
        assert_eq!(trials[0].steps(), written);
        // With room again the same worker goes on with its lease.
        later.record(&claim, &owner, &Report { step: written + 1, value: 0.5, seconds: 1.0 }, None)
    }

    #[test]
    fn a_read_only_file_is_said_as_such() -> Result<()> {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
        let opened = with(&folder.path().join("s.db"), "PRAGMA query_only = ON");
        let Err(TuneError::Store { reason, transient, .. }) = opened else { panic!("it was opened") };
        assert!(reason.starts_with("it is read-only") && !transient, "{reason}");
        Ok(())
    }

    #[test]
    fn a_file_that_stays_locked_is_given_up_with_a_hint() -> Result<()> {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
        let path = folder.path().join("s.db");
        let mut store = with(&path, "PRAGMA busy_timeout = 20")?;
        store.patience = Duration::from_millis(100);
        let blocker = Connection::open(&path).map_err(|e| failure("sqlite:s.db", "opening the file", &e))?;
        let locked = blocker.execute_batch("BEGIN IMMEDIATE");
        locked.map_err(|e| failure("sqlite:s.db", "locking", &e))?;
        let Err(error) = store.create_study(&spec()) else { panic!("it was written to") };
        assert!(matches!(error, TuneError::Store { transient: true, .. }), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("busy or unreachable")), "{error}");
        Ok(())
    }
}
