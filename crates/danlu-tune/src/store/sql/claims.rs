//! Who may run a trial: creation, claims, leases and fencing.

use super::Tx;
use super::reports::touch;
use crate::error::{Result, TuneError};
use crate::space::{Space, Values};
use crate::store::{Claim, Fixed, LetGo, Owner, Wanted};
use crate::trial::Checkpoint;

/// Whether the claim is still good; `Ok(false)` where this very worker ended or let go of the trial already (a call
/// that is repeated because its answer was lost).
pub(super) fn fence(tx: &mut dyn Tx, claim: &Claim) -> Result<bool> {
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

pub(super) fn lost(claim: &Claim) -> TuneError {
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
        cells.extend([trial.into(), parameter.name.as_str().into(), (*value).into(), json.as_str().into()]);
    }
    if !rows.is_empty() {
        let all = rows.join(", ");
        let head = "INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json) VALUES";
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

/// A new trial, run by `owner`.
pub(super) fn create_trial(
    tx: &mut dyn Tx,
    study: i64,
    space: &Space,
    values: &Values,
    owner: &Owner,
) -> Result<Option<Claim>> {
    let number = next_number(tx, study)?;
    let rows = tx.query(
        "INSERT INTO trials (number, study_id, state, datetime_start) VALUES ($1, $2, 'RUNNING', {utc}) RETURNING trial_id",
        &[number.into(), study.into()],
    )?;
    let trial = rows.first().map_or(0, |row| row[0].int());
    insert_values(tx, trial, space, values)?;
    tx.execute(
        "INSERT INTO danlu_trials (trial_id, study_id, changed, epoch, paused, worker, lease_until) \
         VALUES ($1, $2, {stamp}, 1, 0, $3, {now} + $4)",
        &[trial.into(), study.into(), owner.worker.as_str().into(), owner.lease.as_secs_f64().into()],
    )?;
    Ok(Some(Claim { study, trial, number: number as u64, epoch: 1 }))
}

/// A new trial that waits for a worker.
pub(super) fn enqueue(tx: &mut dyn Tx, study: i64, json: &str) -> Result<u64> {
    let number = next_number(tx, study)?;
    let rows = tx.query(
        "INSERT INTO trials (number, study_id, state) VALUES ($1, $2, 'WAITING') RETURNING trial_id",
        &[number.into(), study.into()],
    )?;
    let trial = rows.first().map_or(0, |row| row[0].int());
    tx.execute(
        "INSERT INTO trial_system_attributes (trial_id, key, value_json) VALUES ($1, 'fixed_params', $2)",
        &[trial.into(), json.into()],
    )?;
    Ok(number as u64)
}

/// Takes a trial, if there is one.
pub(super) fn claim(
    tx: &mut dyn Tx,
    study: i64,
    wanted: Wanted,
    owner: &Owner,
) -> Result<Option<(Claim, Option<Fixed>)>> {
    // Only what danlu itself ran is ever taken over: a trial that Optuna runs has no row in danlu_trials.
    let found = match wanted {
        Wanted::Abandoned => tx.query(
            "SELECT t.trial_id, t.number FROM trials t JOIN danlu_trials d ON d.trial_id = t.trial_id \
             WHERE t.study_id = $1 AND t.state = 'RUNNING' AND (d.paused = 2 OR (d.paused = 0 \
             AND (d.lease_until IS NULL OR d.lease_until < {now}))) ORDER BY t.number LIMIT 1 {skip}",
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
}

/// Sets the parameters of a claimed trial that had none.
pub(super) fn set_values(tx: &mut dyn Tx, claim: &Claim, space: &Space, values: &Values) -> Result<()> {
    if !fence(tx, claim)? {
        return Err(lost(claim));
    }
    tx.execute("DELETE FROM trial_params WHERE trial_id = $1", &[claim.trial.into()])?;
    insert_values(tx, claim.trial, space, values)?;
    tx.execute("UPDATE danlu_trials SET changed = {stamp} WHERE trial_id = $1", &[claim.trial.into()])?;
    Ok(())
}

/// Renews the lease.
pub(super) fn renew(tx: &mut dyn Tx, claim: &Claim, owner: &Owner) -> Result<()> {
    if !fence(tx, claim)? {
        return Err(lost(claim));
    }
    // Not a change that others must read.
    tx.execute(
        "UPDATE danlu_trials SET lease_until = {now} + $2 WHERE trial_id = $1",
        &[claim.trial.into(), owner.lease.as_secs_f64().into()],
    )?;
    Ok(())
}

/// Lets go of an unfinished trial.
pub(super) fn let_go(
    tx: &mut dyn Tx,
    claim: &Claim,
    how: LetGo,
    checkpoint: Option<&Checkpoint>,
) -> Result<()> {
    if !fence(tx, claim)? {
        return Ok(());
    }
    // 1: set aside by the policy; 2: let go of by a worker that stops.
    let paused: i64 = if how == LetGo::Pause { 1 } else { 2 };
    touch(tx, claim, None, checkpoint)?;
    tx.execute(
        "UPDATE danlu_trials SET paused = $2, lease_until = NULL, worker = NULL WHERE trial_id = $1",
        &[claim.trial.into(), paused.into()],
    )?;
    Ok(())
}
