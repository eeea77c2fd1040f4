//! PostgreSQL: one server, any number of machines.

use super::sql::{Backend, Cell, Dialect, Row, SqlStore, Tx};
use crate::error::{Result, TuneError};
use postgres::types::private::BytesMut;
use postgres::types::{FromSql, IsNull, Kind, ToSql, Type};
use postgres::{Client, Config, NoTls, Statement};
use std::collections::HashMap;
use std::error::Error;
use std::time::Duration;

struct Postgres {
    address: String,
    config: Config,
    session: Option<Session>,
}

struct Session {
    client: Client,
    prepared: HashMap<String, Statement>,
}

/// Opens the studies of a database; the tables are made where it has none and `create` is set. The connection is not
/// encrypted: over networks that are not trusted, use a tunnel.
pub fn open_postgres(url: &str, create: bool) -> Result<SqlStore> {
    let address = without_password(url);
    let mut config: Config = url.parse().map_err(|e: postgres::Error| TuneError::StoreUrl {
        url: address.clone(),
        reason: e.source().map_or_else(|| e.to_string(), ToString::to_string),
    })?;
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(Duration::from_secs(10));
    }
    config.application_name("danlu");
    SqlStore::new(Box::new(Postgres { address, config, session: None }), create)
}

/// The address as it may be shown.
pub(crate) fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let Some((user, host)) = rest.rsplit_once('@') else { return url.to_owned() };
    format!("{scheme}://{}@{host}", user.split(':').next().unwrap_or_default())
}

fn failure(address: &str, doing: &str, error: &postgres::Error) -> TuneError {
    // Without a code the connection is what failed; classes: 08 connection, 40 serialisation and deadlock, 53 resources,
    // 55P03 lock, 57P shutting down or starting.
    let transient = match error.code() {
        None => true,
        Some(code) => {
            ["08", "40", "53", "57P"].iter().any(|class| code.code().starts_with(class))
                || code.code() == "55P03"
        }
    };
    let reason = match error.as_db_error() {
        Some(db) => db.message().to_owned(),
        None => error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}")),
    };
    TuneError::Store { store: address.into(), doing: doing.into(), reason, transient }
}

impl Backend for Postgres {
    fn address(&self) -> &str {
        &self.address
    }

    fn transaction(&mut self, _: bool, work: &mut dyn FnMut(&mut dyn Tx) -> Result<()>) -> Result<()> {
        let address = self.address.clone();
        let mut session = match self.session.take() {
            Some(session) if !session.client.is_closed() => session,
            _ => {
                let client = self
                    .config
                    .connect(NoTls)
                    .map_err(|e| failure(&address, "connecting to the server", &e))?;
                Session { client, prepared: HashMap::new() }
            }
        };
        let Session { client, prepared } = &mut session;
        let mut transaction =
            client.transaction().map_err(|e| failure(&address, "beginning a transaction", &e))?;
        let worked = work(&mut PostgresTx { address: &address, transaction: &mut transaction, prepared });
        let done = match worked {
            Ok(()) => transaction.commit().map_err(|e| failure(&address, "committing", &e)),
            Err(error) => {
                // Where the connection is gone the server rolls back by itself.
                drop(transaction);
                Err(error)
            }
        };
        if !session.client.is_closed() {
            self.session = Some(session);
        }
        done
    }
}

struct PostgresTx<'a, 'b> {
    address: &'a str,
    transaction: &'a mut postgres::Transaction<'b>,
    prepared: &'a mut HashMap<String, Statement>,
}

impl PostgresTx<'_, '_> {
    fn prepare(&mut self, statement: &str) -> std::result::Result<Statement, postgres::Error> {
        if let Some(known) = self.prepared.get(statement) {
            return Ok(known.clone());
        }
        let prepared = self.transaction.prepare(&Dialect::Postgres.statement(statement))?;
        if self.prepared.len() < 128 {
            self.prepared.insert(statement.to_owned(), prepared.clone());
        }
        Ok(prepared)
    }
}

impl Tx for PostgresTx<'_, '_> {
    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    fn execute(&mut self, statement: &str, values: &[Cell]) -> Result<u64> {
        let prepared = self.prepare(statement).map_err(|e| failure(self.address, "writing", &e))?;
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|v| v as _).collect();
        self.transaction.execute(&prepared, &values).map_err(|e| failure(self.address, "writing", &e))
    }

    fn query(&mut self, statement: &str, values: &[Cell]) -> Result<Vec<Row>> {
        let address = self.address;
        let fail = |e: postgres::Error| failure(address, "reading", &e);
        let prepared = self.prepare(statement).map_err(fail)?;
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|v| v as _).collect();
        let rows = self.transaction.query(&prepared, &values).map_err(fail)?;
        rows.iter()
            .map(|row| {
                (0..row.len()).map(|i| row.try_get::<_, Cell>(i).map_err(fail)).collect::<Result<Row>>()
            })
            .collect()
    }
}

/// A cell takes the type that the server expects in its place: columns of Optuna's tables are `integer` or an enum, ours
/// `bigint` and `text`.
impl ToSql for Cell {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> std::result::Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Cell::Null => Ok(IsNull::Yes),
            Cell::Int(v) if *ty == Type::INT4 => i32::try_from(*v)?.to_sql(ty, out),
            Cell::Int(v) if *ty == Type::FLOAT8 => (*v as f64).to_sql(ty, out),
            Cell::Int(v) => v.to_sql(ty, out),
            Cell::Float(v) => v.to_sql(ty, out),
            Cell::Text(v) => {
                out.extend_from_slice(v.as_bytes());
                Ok(IsNull::No)
            }
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    postgres::types::to_sql_checked!();
}

impl<'a> FromSql<'a> for Cell {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> std::result::Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(match *ty {
            Type::INT4 => Cell::Int(i32::from_sql(ty, raw)?.into()),
            Type::INT8 => Cell::Int(i64::from_sql(ty, raw)?),
            Type::FLOAT8 => Cell::Float(f64::from_sql(ty, raw)?),
            Type::FLOAT4 => Cell::Float(f32::from_sql(ty, raw)?.into()),
            Type::TEXT | Type::VARCHAR => Cell::Text(String::from_sql(ty, raw)?),
            _ if matches!(ty.kind(), Kind::Enum(_)) => Cell::Text(std::str::from_utf8(raw)?.to_owned()),
            _ => return Err(format!("a column of type {ty}").into()),
        })
    }

    fn from_sql_null(_: &Type) -> std::result::Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Cell::Null)
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}
