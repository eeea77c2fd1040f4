//! What a trial reports, and how it ends.

use super::claims::{fence, lost};
use super::{Cell, Tx};
use crate::error::Result;
use crate::store::{Claim, Outcome, Owner};
use crate::trial::{Checkpoint, Report};

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

/// Writes a report and the checkpoint that holds it; renews the lease.
pub(super) fn record(
    tx: &mut dyn Tx,
    claim: &Claim,
    owner: &Owner,
    report: &Report,
    checkpoint: Option<&Checkpoint>,
) -> Result<()> {
    let (value, kind) = stored(report.value);
    if !fence(tx, claim)? {
        return Err(lost(claim));
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
}

/// Ends a trial.
pub(super) fn finish(tx: &mut dyn Tx, claim: &Claim, outcome: &Outcome) -> Result<()> {
    if !fence(tx, claim)? {
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
}

/// Marks the trial as changed, keeps its checkpoint, and renews the lease of the owner who stays.
pub(super) fn touch(
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
