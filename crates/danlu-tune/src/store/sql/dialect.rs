//! What differs between SQLite and PostgreSQL.

/// What differs between the two databases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

impl Dialect {
    pub(super) fn types(self, statement: &str) -> String {
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
