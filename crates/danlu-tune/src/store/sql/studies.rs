//! Studies: created once, found by name.

use super::{Tx, read};
use crate::error::{Result, TuneError};
use crate::study::{Direction, StudySpec};

fn direction_name(direction: Direction) -> &'static str {
    match direction {
        Direction::Minimize => "MINIMIZE",
        Direction::Maximize => "MAXIMIZE",
    }
}

/// Creates the study, or opens the same one.
pub(super) fn create(tx: &mut dyn Tx, spec: &StudySpec, json: &str) -> Result<i64> {
    tx.execute(
        "INSERT INTO studies (study_name) VALUES ($1) ON CONFLICT (study_name) DO NOTHING",
        &[spec.name.as_str().into()],
    )?;
    let study =
        tx.query("SELECT study_id FROM studies WHERE study_name = $1 {lock}", &[spec.name.as_str().into()])?;
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
    tx.execute("INSERT INTO danlu_studies (study_id, spec) VALUES ($1, $2)", &[id.into(), json.into()])?;
    Ok(id)
}

/// A study's key and specification, where there is one of this name.
pub(super) fn load(tx: &mut dyn Tx, name: &str) -> Result<Option<(i64, Option<StudySpec>)>> {
    let rows = tx.query(
        "SELECT s.study_id, d.spec FROM studies s LEFT JOIN danlu_studies d ON d.study_id = s.study_id \
         WHERE s.study_name = $1",
        &[name.into()],
    )?;
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(Some((row[0].int(), row[1].text().map(read::spec).transpose()?)))
}

/// All studies, by name.
pub(super) fn names(tx: &mut dyn Tx) -> Result<Vec<String>> {
    let rows = tx.query("SELECT study_name FROM studies ORDER BY study_id", &[])?;
    Ok(rows.iter().filter_map(|row| row[0].text().map(str::to_owned)).collect())
}
