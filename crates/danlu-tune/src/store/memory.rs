//! A store that lives as long as the process.

use super::{Claim, Cursor, Fixed, LetGo, Outcome, Owner, Store, Wanted};
use crate::error::{Result, TuneError};
use crate::space::{Space, Values};
use crate::study::StudySpec;
use crate::trial::{Checkpoint, Report, State, Trial};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

/// Studies in memory, shared by the clones of this handle: for tests, for a function that is tuned in one go, and as the
/// measure of what a policy costs without a database.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore(Arc<Mutex<Vec<Study>>>);

#[derive(Debug)]
struct Study {
    spec: StudySpec,
    trials: Vec<Entry>,
    /// Trial numbers in the order of their changes.
    log: Vec<u64>,
}

#[derive(Debug)]
struct Entry {
    trial: Trial,
    fixed: Option<Fixed>,
    lease: Option<Instant>,
}

impl MemoryStore {
    fn lock(&self) -> MutexGuard<'_, Vec<Study>> {
        // A panic of another thread cannot leave a study half-written: every method changes it in one step at its end.
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Changes the trial of a claim that is still good.
    fn with(&self, claim: &Claim, change: impl FnOnce(&mut Entry)) -> Result<()> {
        let mut studies = self.lock();
        let lost = TuneError::LeaseLost { number: claim.number, epoch: claim.epoch };
        let Some(study) = studies.get_mut(claim.study as usize) else { return Err(lost) };
        let Some(entry) = study.trials.get_mut(claim.number as usize) else { return Err(lost) };
        if entry.trial.epoch != claim.epoch || entry.trial.state != State::Running {
            return Err(lost);
        }
        change(entry);
        study.log.push(claim.number);
        Ok(())
    }
}

impl Store for MemoryStore {
    fn address(&self) -> String {
        "memory".into()
    }

    fn create_study(&mut self, spec: &StudySpec) -> Result<i64> {
        let mut studies = self.lock();
        if let Some(at) = studies.iter().position(|s| s.spec.name == spec.name) {
            studies[at].spec.check_same(spec)?;
            return Ok(at as i64);
        }
        studies.push(Study { spec: spec.clone(), trials: Vec::new(), log: Vec::new() });
        Ok(studies.len() as i64 - 1)
    }

    fn load_study(&mut self, name: &str) -> Result<(i64, Option<StudySpec>)> {
        let studies = self.lock();
        match studies.iter().position(|s| s.spec.name == name) {
            Some(at) => Ok((at as i64, Some(studies[at].spec.clone()))),
            None => {
                let known: Vec<&str> = studies.iter().map(|s| s.spec.name.as_str()).collect();
                Err(TuneError::NoStudy { name: name.into(), known: known.join(", ") })
            }
        }
    }

    fn study_names(&mut self) -> Result<Vec<String>> {
        Ok(self.lock().iter().map(|s| s.spec.name.clone()).collect())
    }

    fn changes(&mut self, study: i64, _: &Space, cursor: &mut Cursor) -> Result<Vec<Trial>> {
        let studies = self.lock();
        let Some(study) = studies.get(study as usize) else { return Ok(Vec::new()) };
        let mut changed: Vec<u64> = study.log[cursor.sequence as usize..].to_vec();
        cursor.sequence = study.log.len() as i64;
        changed.sort_unstable();
        changed.dedup();
        Ok(changed.into_iter().map(|n| study.trials[n as usize].trial.clone()).collect())
    }

    fn create_trial(&mut self, study: i64, _: &Space, values: &Values, owner: &Owner) -> Result<Claim> {
        let mut studies = self.lock();
        let at = study as usize;
        let number = studies[at].trials.len() as u64;
        let mut trial = blank(number, values.clone());
        (trial.state, trial.epoch) = (State::Running, 1);
        let lease = Some(Instant::now() + owner.lease);
        studies[at].trials.push(Entry { trial, fixed: None, lease });
        studies[at].log.push(number);
        Ok(Claim { study, trial: number as i64, number, epoch: 1 })
    }

    fn enqueue(&mut self, study: i64, fixed: &Fixed) -> Result<u64> {
        let mut studies = self.lock();
        let study = &mut studies[study as usize];
        let number = study.trials.len() as u64;
        let trial = blank(number, vec![None; study.spec.space.len()]);
        study.trials.push(Entry { trial, fixed: Some(fixed.clone()), lease: None });
        study.log.push(number);
        Ok(number)
    }

    fn claim(&mut self, id: i64, wanted: Wanted, owner: &Owner) -> Result<Option<(Claim, Option<Fixed>)>> {
        let mut studies = self.lock();
        let study = &mut studies[id as usize];
        let now = Instant::now();
        let found = match wanted {
            Wanted::Paused(n) => {
                study.trials.get(n as usize).filter(|e| e.trial.state == State::Paused).map(|_| n as usize)
            }
            Wanted::Waiting => study.trials.iter().position(|e| e.trial.state == State::Waiting),
            Wanted::Abandoned => study.trials.iter().position(|e| match e.trial.state {
                State::Released => true,
                State::Running => e.lease.is_none_or(|until| until < now),
                _ => false,
            }),
        };
        let Some(at) = found else { return Ok(None) };
        let entry = &mut study.trials[at];
        entry.trial.state = State::Running;
        entry.trial.epoch += 1;
        entry.lease = Some(now + owner.lease);
        study.log.push(at as u64);
        let claim = Claim { study: id, trial: at as i64, number: at as u64, epoch: entry.trial.epoch };
        Ok(Some((claim, entry.fixed.clone())))
    }

    fn set_values(&mut self, claim: &Claim, _: &Space, values: &Values) -> Result<()> {
        self.with(claim, |entry| {
            entry.trial.values = values.clone();
            entry.fixed = None;
        })
    }

    fn record(
        &mut self,
        claim: &Claim,
        owner: &Owner,
        report: &Report,
        checkpoint: Option<&Checkpoint>,
    ) -> Result<()> {
        self.with(claim, |entry| {
            entry.trial.record(*report);
            if let Some(checkpoint) = checkpoint {
                entry.trial.checkpoint = Some(checkpoint.clone());
            }
            entry.lease = Some(Instant::now() + owner.lease);
        })
    }

    fn renew(&mut self, claim: &Claim, owner: &Owner) -> Result<()> {
        self.with(claim, |entry| entry.lease = Some(Instant::now() + owner.lease))
    }

    fn let_go(&mut self, claim: &Claim, how: LetGo, checkpoint: Option<&Checkpoint>) -> Result<()> {
        self.with(claim, |entry| {
            entry.lease = None;
            entry.trial.state = if how == LetGo::Pause { State::Paused } else { State::Released };
            if let Some(checkpoint) = checkpoint {
                entry.trial.checkpoint = Some(checkpoint.clone());
            }
        })
    }

    fn finish(&mut self, claim: &Claim, outcome: &Outcome) -> Result<()> {
        self.with(claim, |entry| {
            entry.lease = None;
            match outcome {
                Outcome::Complete(value) => {
                    entry.trial.state = State::Complete;
                    entry.trial.value = Some(*value);
                }
                Outcome::Pruned => entry.trial.state = State::Pruned,
                Outcome::Failed(error) => {
                    entry.trial.state = State::Failed;
                    entry.trial.error = Some(error.clone());
                }
            }
        })
    }
}

fn blank(number: u64, values: Values) -> Trial {
    Trial {
        number,
        id: number as i64,
        state: State::Waiting,
        values,
        curve: Vec::new(),
        value: None,
        checkpoint: None,
        error: None,
        epoch: 0,
    }
}
