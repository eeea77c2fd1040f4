//! Reading what changed: rows that danlu stamped later than the reader's cursor, and whatever another tool did.

use super::{Cell, Row, Tx};
use crate::error::{Result, TuneError};
use crate::space::Space;
use crate::store::Cursor;
use crate::study::StudySpec;
use crate::trial::{Checkpoint, Report, State, Trial};
use std::collections::HashMap;

pub(super) fn spec(text: &str) -> Result<StudySpec> {
    serde_json::from_str(text).map_err(|error| TuneError::Schema {
        found: format!("a study that cannot be read: {error}"),
        expected: "danlu's own".into(),
    })
}

/// Trial ids a statement; a list of this length is still cheap to parse.
const CHUNK: usize = 500;

pub(super) fn changes(
    tx: &mut dyn Tx,
    study: i64,
    space: &Space,
    cursor: &Cursor,
) -> Result<(Vec<Trial>, Cursor)> {
    let mut after = cursor.clone();
    // First where the next read begins, then the rows: what is committed between the two is read twice, never missed.
    after.sequence = tx.query("SELECT {seen}", &[])?.first().map_or(0, |row| row[0].int());
    let open = list(&cursor.foreign);
    let rows = tx.query(
        &format!(
            "SELECT t.trial_id, t.number, CAST(t.state AS TEXT), d.paused, d.epoch, d.checkpoint, d.checkpoint_step, d.error \
             FROM trials t LEFT JOIN danlu_trials d ON d.trial_id = t.trial_id WHERE t.study_id = $1 AND t.trial_id IN \
             (SELECT trial_id FROM danlu_trials WHERE study_id = $1 AND changed >= $2 \
             UNION SELECT trial_id FROM trials WHERE study_id = $1 AND (trial_id > $3 OR trial_id IN ({open}))) ORDER BY t.number"
        ),
        &[study.into(), cursor.sequence.into(), cursor.last_trial.into()],
    )?;
    let mut foreign = Vec::new();
    let mut trials = Vec::with_capacity(rows.len());
    for row in &rows {
        let trial = head(row, space);
        after.last_trial = after.last_trial.max(trial.id);
        // A trial without a row of ours is another tool's (or enqueued): asked about until it has ended.
        if row[4] == Cell::Null && !trial.state.is_finished() {
            foreign.push(trial.id);
        }
        trials.push(trial);
    }
    after.foreign = foreign;
    for chunk in trials.chunks_mut(CHUNK) {
        fill(tx, chunk, space)?;
    }
    Ok((trials, after))
}

fn list(ids: &[i64]) -> String {
    if ids.is_empty() { "-1".into() } else { ids.iter().map(i64::to_string).collect::<Vec<_>>().join(",") }
}

fn head(row: &Row, space: &Space) -> Trial {
    let state = match (row[2].text().unwrap_or_default(), row[3].int()) {
        ("WAITING", _) => State::Waiting,
        ("RUNNING", 1) => State::Paused,
        ("RUNNING", 2) => State::Released,
        ("RUNNING", _) => State::Running,
        ("COMPLETE", _) => State::Complete,
        ("PRUNED", _) => State::Pruned,
        _ => State::Failed,
    };
    let checkpoint =
        row[5].text().map(|path| Checkpoint { path: path.to_owned(), step: row[6].int().max(0) as u64 });
    Trial {
        number: row[1].int().max(0) as u64,
        id: row[0].int(),
        state,
        values: vec![None; space.len()],
        curve: Vec::new(),
        value: None,
        checkpoint,
        error: row[7].text().map(str::to_owned),
        epoch: row[4].int(),
    }
}

/// Parameters, reports and final values of some trials, in three statements.
fn fill(tx: &mut dyn Tx, trials: &mut [Trial], space: &Space) -> Result<()> {
    let ids = list(&trials.iter().map(|t| t.id).collect::<Vec<_>>());
    let at: HashMap<i64, usize> = trials.iter().enumerate().map(|(i, t)| (t.id, i)).collect();
    let of = |row: &Row| at.get(&row[0].int()).copied();
    let params =
        format!("SELECT trial_id, param_name, param_value FROM trial_params WHERE trial_id IN ({ids})");
    for row in tx.query(&params, &[])? {
        let (Some(i), Some(name), Some(value)) = (of(&row), row[1].text(), row[2].float()) else { continue };
        // Another tool may have tried what this space does not have: left out, so that no model learns from it.
        if let Some(p) = space.position(name).filter(|&p| space.distribution(p).contains(value)) {
            trials[i].values[p] = Some(value);
        }
    }
    let reports = format!(
        "SELECT v.trial_id, v.step, v.intermediate_value, CAST(v.intermediate_value_type AS TEXT), s.seconds \
         FROM trial_intermediate_values v LEFT JOIN danlu_steps s ON s.trial_id = v.trial_id AND s.step = v.step \
         WHERE v.trial_id IN ({ids}) ORDER BY v.trial_id, v.step"
    );
    for row in tx.query(&reports, &[])? {
        let Some(i) = of(&row) else { continue };
        let value = number(&row[2], row[3].text());
        let seconds = row[4].float().unwrap_or(0.0);
        trials[i].curve.push(Report { step: row[1].int().max(0) as u64, value, seconds });
    }
    let values = format!(
        "SELECT trial_id, value, CAST(value_type AS TEXT) FROM trial_values WHERE objective = 0 AND trial_id IN ({ids})"
    );
    for row in tx.query(&values, &[])? {
        if let Some(i) = of(&row) {
            trials[i].value = Some(number(&row[1], row[2].text()));
        }
    }
    Ok(())
}

fn number(value: &Cell, kind: Option<&str>) -> f64 {
    match kind {
        Some("INF_POS") => f64::INFINITY,
        Some("INF_NEG") => f64::NEG_INFINITY,
        Some("NAN") => f64::NAN,
        _ => value.float().unwrap_or(f64::NAN),
    }
}
