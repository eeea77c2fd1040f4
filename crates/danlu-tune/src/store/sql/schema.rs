//! The tables: Optuna 5's own twelve (schema 12, `v3.2.0.a`), so that Optuna and its dashboard open the same study, and
//! danlu's side tables for what Optuna does not know: leases, paused trials, checkpoints, seconds a step.

use super::{Dialect, Tx};
use crate::error::{Result, TuneError};

/// Optuna's `version_info.schema_version`.
const SCHEMA_VERSION: i64 = 12;
/// Optuna's `alembic_version.version_num`.
const ALEMBIC_VERSION: &str = "v3.2.0.a";

/// Checks the version of the tables, or makes them where there are none and `create` is set.
pub(super) fn prepare(tx: &mut dyn Tx, create: bool) -> Result<()> {
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
        for statement in statements(dialect) {
            tx.execute(&statement, &[])?;
        }
    } else {
        let version = tx.query("SELECT schema_version FROM version_info", &[])?;
        let alembic = tx.query("SELECT version_num FROM alembic_version", &[])?;
        let version = version.first().map_or(0, |row| row[0].int());
        let alembic = alembic.first().and_then(|row| row[0].text()).unwrap_or("none").to_owned();
        if version != SCHEMA_VERSION || alembic != ALEMBIC_VERSION {
            return Err(TuneError::Schema {
                found: format!("{version} ({alembic})"),
                expected: format!("{} ({})", SCHEMA_VERSION, ALEMBIC_VERSION),
            });
        }
    }
    if tables < 2 {
        for statement in side_tables(dialect) {
            tx.execute(&statement, &[])?;
        }
    }
    Ok(())
}

/// The statements that make all tables of an empty store; each may be repeated.
fn statements(dialect: Dialect) -> Vec<String> {
    let mut all = Vec::new();
    if dialect == Dialect::Postgres {
        for (name, values) in [
            ("studydirection", "'NOT_SET','MINIMIZE','MAXIMIZE'"),
            ("trialintermediatevaluetype", "'FINITE','INF_POS','INF_NEG','NAN'"),
            ("trialstate", "'RUNNING','COMPLETE','PRUNED','FAIL','WAITING'"),
            ("trialvaluetype", "'FINITE','INF_POS','INF_NEG'"),
        ] {
            all.push(format!("CREATE TYPE {name} AS ENUM ({values})"));
        }
    }
    all.extend(optuna_tables().iter().map(|table| dialect.types(table)));
    all.push("INSERT INTO version_info VALUES (1, 12, '5.0.0')".into());
    all.push("INSERT INTO alembic_version VALUES ('v3.2.0.a')".into());
    all
}

fn optuna_tables() -> [&'static str; 15] {
    [
        "CREATE TABLE studies (study_id {key}, study_name VARCHAR(512) NOT NULL)",
        "CREATE UNIQUE INDEX ix_studies_study_name ON studies (study_name)",
        "CREATE TABLE version_info (version_info_id INTEGER NOT NULL, schema_version INTEGER, library_version VARCHAR(256), \
         PRIMARY KEY (version_info_id), CHECK (version_info_id = 1))",
        "CREATE TABLE study_directions (study_direction_id {key}, direction {studydirection} NOT NULL, \
         study_id INTEGER NOT NULL REFERENCES studies (study_id), objective INTEGER NOT NULL, UNIQUE (study_id, objective))",
        "CREATE TABLE study_user_attributes (study_user_attribute_id {key}, \
         study_id INTEGER REFERENCES studies (study_id), key VARCHAR(512), value_json TEXT, UNIQUE (study_id, key))",
        "CREATE TABLE study_system_attributes (study_system_attribute_id {key}, \
         study_id INTEGER REFERENCES studies (study_id), key VARCHAR(512), value_json TEXT, UNIQUE (study_id, key))",
        "CREATE TABLE trials (trial_id {key}, number INTEGER, study_id INTEGER REFERENCES studies (study_id), \
         state {trialstate} NOT NULL, datetime_start {datetime}, datetime_complete {datetime})",
        "CREATE INDEX ix_trials_study_id ON trials (study_id)",
        "CREATE TABLE trial_user_attributes (trial_user_attribute_id {key}, \
         trial_id INTEGER REFERENCES trials (trial_id), key VARCHAR(512), value_json TEXT, UNIQUE (trial_id, key))",
        "CREATE TABLE trial_system_attributes (trial_system_attribute_id {key}, \
         trial_id INTEGER REFERENCES trials (trial_id), key VARCHAR(512), value_json TEXT, UNIQUE (trial_id, key))",
        "CREATE TABLE trial_params (param_id {key}, trial_id INTEGER REFERENCES trials (trial_id), \
         param_name VARCHAR(512), param_value {float}, distribution_json TEXT, UNIQUE (trial_id, param_name))",
        "CREATE TABLE trial_values (trial_value_id {key}, trial_id INTEGER NOT NULL REFERENCES trials (trial_id), \
         objective INTEGER NOT NULL, value {float}, value_type {trialvaluetype} NOT NULL, UNIQUE (trial_id, objective))",
        "CREATE TABLE trial_intermediate_values (trial_intermediate_value_id {key}, \
         trial_id INTEGER NOT NULL REFERENCES trials (trial_id), step INTEGER NOT NULL, intermediate_value {float}, \
         intermediate_value_type {trialintermediatevaluetype} NOT NULL, UNIQUE (trial_id, step))",
        "CREATE TABLE trial_heartbeats (trial_heartbeat_id {key}, \
         trial_id INTEGER NOT NULL REFERENCES trials (trial_id), heartbeat {datetime} NOT NULL, UNIQUE (trial_id))",
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))",
    ]
}

/// danlu's own tables. They go with the study or trial that they belong to, whoever deletes it: by the foreign key on
/// PostgreSQL, by a trigger on SQLite, where foreign keys hold only for connections that ask for them.
fn side_tables(dialect: Dialect) -> Vec<String> {
    let mut all: Vec<String> = [
        "CREATE TABLE IF NOT EXISTS danlu_studies (study_id INTEGER PRIMARY KEY REFERENCES studies (study_id) ON DELETE CASCADE, \
         spec TEXT NOT NULL)",
        // `changed` is the transaction that last touched the trial: readers ask for what is newer than what they know.
        "CREATE TABLE IF NOT EXISTS danlu_trials (trial_id INTEGER PRIMARY KEY REFERENCES trials (trial_id) ON DELETE CASCADE, \
         study_id INTEGER NOT NULL, changed BIGINT NOT NULL, epoch BIGINT NOT NULL, paused INTEGER NOT NULL, \
         worker TEXT, lease_until {float}, checkpoint TEXT, checkpoint_step BIGINT, error TEXT)",
        "CREATE INDEX IF NOT EXISTS danlu_trials_changed ON danlu_trials (study_id, changed)",
        "CREATE TABLE IF NOT EXISTS danlu_steps (trial_id INTEGER NOT NULL REFERENCES trials (trial_id) ON DELETE CASCADE, \
         step BIGINT NOT NULL, seconds {float} NOT NULL, PRIMARY KEY (trial_id, step))",
    ]
    .iter()
    .map(|table| dialect.types(table))
    .collect();
    if dialect == Dialect::Sqlite {
        all.push(
            "CREATE TRIGGER IF NOT EXISTS danlu_trial_deleted AFTER DELETE ON trials BEGIN \
             DELETE FROM danlu_trials WHERE trial_id = OLD.trial_id; \
             DELETE FROM danlu_steps WHERE trial_id = OLD.trial_id; END"
                .into(),
        );
        all.push(
            "CREATE TRIGGER IF NOT EXISTS danlu_study_deleted AFTER DELETE ON studies BEGIN \
             DELETE FROM danlu_studies WHERE study_id = OLD.study_id; END"
                .into(),
        );
    }
    all
}
