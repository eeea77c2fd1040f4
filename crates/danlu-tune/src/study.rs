//! A study: a space, a direction, and the trials that have been made of it.

use crate::error::{Result, TuneError};
use crate::policy::{Action, Policy};
use crate::space::{Space, Values};
use crate::store::{Claim, Cursor, Fixed, LetGo, Outcome, Owner, Store, Wanted};
use crate::trial::{Checkpoint, Report, State, Trial};
use crate::view::View;
use danlu_rng::{Purpose, Stream};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Whether small or large values are good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Small values are good (a loss).
    Minimize,
    /// Large values are good (an accuracy).
    Maximize,
}

impl Direction {
    /// The value as something to minimise; infinite where it is not a number.
    pub fn loss(self, value: f64) -> f64 {
        match self {
            _ if value.is_nan() => f64::INFINITY,
            Direction::Minimize => value,
            Direction::Maximize => -value,
        }
    }
}

/// What makes a study the same study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StudySpec {
    /// Its name in the store.
    pub name: String,
    /// Whether small or large values are good.
    pub direction: Direction,
    /// Where values come from.
    pub space: Space,
    /// The steps (epochs, or whatever the objective reports by) of a complete trial.
    pub max_steps: u64,
    /// What a worker on another machine needs to know beside the space; opaque to the tuner, no part of the comparison.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub context: serde_json::Value,
}

impl StudySpec {
    /// Refuses to go on with a study as if it were another one.
    ///
    /// # Errors
    /// `StudyMismatch` with the first difference.
    pub fn check_same(&self, asked: &StudySpec) -> Result<()> {
        let fail =
            |what, difference| Err(TuneError::StudyMismatch { name: self.name.clone(), what, difference });
        if self.direction != asked.direction {
            return fail("direction", format!("{:?} there, {:?} here", self.direction, asked.direction));
        }
        if self.max_steps != asked.max_steps {
            return fail("max_steps", format!("{} there, {} here", self.max_steps, asked.max_steps));
        }
        for p in self.space.parameters() {
            match asked.space.position(&p.name) {
                None => return fail("space", format!("`{}` is only there", p.name)),
                Some(i) => {
                    let other = &asked.space.parameters()[i];
                    if (&p.distribution, &p.condition) != (&other.distribution, &other.condition) {
                        return fail("space", format!("`{}` has another domain or condition", p.name));
                    }
                }
            }
        }
        match asked.space.parameters().iter().find(|p| self.space.position(&p.name).is_none()) {
            Some(p) => fail("space", format!("`{}` is only here", p.name)),
            None => Ok(()),
        }
    }
}

/// What [`Study::ask`] found for a free worker.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    /// Run this trial, from its checkpoint where it has one.
    Run(Claim, Trial),
    /// Nothing to do until another worker reports.
    Wait,
    /// Nothing is left to do.
    Stop,
}

/// A study in a store, with its trials in memory.
pub struct Study<S> {
    store: S,
    id: i64,
    spec: StudySpec,
    view: View,
    cursor: Cursor,
    asks: u64,
}

impl<S: Store> Study<S> {
    /// Creates the study or goes on with it.
    pub fn open(mut store: S, spec: StudySpec) -> Result<Self> {
        if spec.max_steps == 0 {
            let expected = "1 or more: a trial reports after every step";
            return Err(TuneError::Setting { key: "max_steps", value: "0".into(), expected });
        }
        if spec.name.is_empty() || spec.name.len() > 512 {
            let expected = "1 to 512 bytes, which is what the tables hold";
            return Err(TuneError::Setting { key: "name", value: format!("{:?}", spec.name), expected });
        }
        let id = store.create_study(&spec)?;
        let view = View::new(Arc::new(spec.space.clone()), spec.direction, spec.max_steps);
        let mut study = Study { store, id, spec, view, cursor: Cursor::default(), asks: 0 };
        study.refresh()?;
        Ok(study)
    }

    /// Opens a study that danlu made, by name.
    pub fn load(mut store: S, name: &str) -> Result<Self> {
        match store.load_study(name)? {
            (_, Some(spec)) => Study::open(store, spec),
            (_, None) => Err(TuneError::StudyMismatch {
                name: name.into(),
                what: "space",
                difference: "another tool made this study, so its space is not known; open it with one"
                    .into(),
            }),
        }
    }

    /// What makes this study.
    pub fn spec(&self) -> &StudySpec {
        &self.spec
    }

    /// The trials as of the last refresh.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Tells policies how many seconds of the budget are left.
    pub fn set_seconds_left(&mut self, seconds: Option<f64>) {
        self.view.seconds_left = seconds;
    }

    /// The store.
    pub fn store_mut(&mut self) -> &mut S {
        &mut self.store
    }

    /// Reads what other workers wrote.
    pub fn refresh(&mut self) -> Result<()> {
        for trial in self.store.changes(self.id, &self.spec.space, &mut self.cursor)? {
            self.view.put(trial);
        }
        Ok(())
    }

    /// Puts a trial in the queue. Parameters that are not given are drawn when its turn comes.
    ///
    /// # Errors
    /// `TuneError::Value` where a name or value is not of this space, or not active.
    pub fn enqueue(&mut self, fixed: &Fixed) -> Result<u64> {
        self.spec.space.complete(fixed, |_, domain| domain.from_unit(0.5))?;
        let number = self.store.enqueue(self.id, fixed)?;
        self.refresh()?;
        Ok(number)
    }

    /// Enqueues the `count` best trials of an older study, complete ones first and then those that came furthest, as far as this space has
    /// their parameters. Returns how many were enqueued.
    pub fn warm_start(&mut self, older: &View, count: usize) -> Result<usize> {
        let mut scored: Vec<(u64, f64, &Trial)> = Vec::new();
        for trial in older.trials() {
            match (trial.state, trial.value, trial.last()) {
                (State::Complete, Some(value), _) => scored.push((u64::MAX, older.loss(value), trial)),
                (State::Paused | State::Released | State::Pruned, _, Some(last)) => {
                    scored.push((last.step, older.loss(last.value), trial));
                }
                _ => {}
            }
        }
        scored.retain(|s| s.1.is_finite());
        scored.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.total_cmp(&b.1)));
        let mut enqueued = 0;
        for (_, _, trial) in scored.into_iter().take(count) {
            let mut fixed = older.space.to_external(&trial.values);
            fixed.retain(|name, value| {
                let at = self.spec.space.position(name);
                at.is_some_and(|i| self.spec.space.distribution(i).to_internal(name, value).is_ok())
            });
            if !fixed.is_empty() && self.enqueue(&fixed).is_ok() {
                enqueued += 1;
            }
        }
        Ok(enqueued)
    }

    /// Finds something to do for a free worker: an abandoned trial first, then an enqueued one, then what the policy
    /// says. `seed` names the random numbers; two workers need two seeds.
    pub fn ask(&mut self, policy: &mut dyn Policy, owner: &Owner, seed: u64) -> Result<Asked> {
        // Another worker may be faster with the trial that the policy chose; each round then sees its change.
        for _ in 0..16 {
            self.refresh()?;
            if [State::Running, State::Released].iter().any(|&s| !self.view.in_state(s).is_empty())
                && let Some(found) = self.store.claim(self.id, Wanted::Abandoned, owner)?
            {
                return self.begin(found, seed);
            }
            if !self.view.in_state(State::Waiting).is_empty()
                && let Some(found) = self.store.claim(self.id, Wanted::Waiting, owner)?
            {
                return self.begin(found, seed);
            }
            let mut rng = self.stream(seed);
            match policy.next(&self.view, &mut rng) {
                Action::Start(values) => {
                    let claim = self.store.create_trial(self.id, &self.spec.space, &values, owner)?;
                    return self.begin((claim, None), seed);
                }
                Action::Thaw(number) => {
                    if let Some(found) = self.store.claim(self.id, Wanted::Paused(number), owner)? {
                        return self.begin(found, seed);
                    }
                }
                Action::Wait => return Ok(Asked::Wait),
                Action::Stop => return Ok(Asked::Stop),
            }
        }
        Ok(Asked::Wait)
    }

    fn stream(&mut self, seed: u64) -> Stream {
        self.asks += 1;
        Stream::new(seed, Purpose::Sampler, self.asks, self.view.trials().len() as u64)
    }

    fn begin(&mut self, (claim, fixed): (Claim, Option<Fixed>), seed: u64) -> Result<Asked> {
        self.refresh()?;
        let chosen = self.view.trial(claim.number).is_some_and(|t| t.values.iter().any(Option::is_some));
        if !chosen {
            let mut rng = self.stream(seed);
            let draw = |_: usize, domain: &crate::Distribution| domain.from_unit(rng.uniform());
            match self.spec.space.complete(&fixed.unwrap_or_default(), draw) {
                Ok(values) => self.store.set_values(&claim, &self.spec.space, &values)?,
                // Another tool enqueued what this space refuses: recorded, not run.
                Err(error) => self.store.finish(&claim, &Outcome::Failed(error.to_string()))?,
            }
            self.refresh()?;
        }
        match self.view.trial(claim.number) {
            Some(trial) if trial.state == State::Running => Ok(Asked::Run(claim, trial.clone())),
            _ => Ok(Asked::Wait),
        }
    }

    /// Writes a report; see [`Store::record`].
    pub fn record(
        &mut self,
        claim: &Claim,
        owner: &Owner,
        report: &Report,
        checkpoint: Option<&Checkpoint>,
    ) -> Result<()> {
        self.store.record(claim, owner, report, checkpoint)?;
        self.refresh()
    }

    /// Renews a lease.
    pub fn renew(&mut self, claim: &Claim, owner: &Owner) -> Result<()> {
        self.store.renew(claim, owner)
    }

    /// Pauses or releases a trial.
    pub fn let_go(&mut self, claim: &Claim, how: LetGo, checkpoint: Option<&Checkpoint>) -> Result<()> {
        self.store.let_go(claim, how, checkpoint)?;
        self.refresh()
    }

    /// Ends a trial.
    pub fn finish(&mut self, claim: &Claim, outcome: &Outcome) -> Result<()> {
        self.store.finish(claim, outcome)?;
        self.refresh()
    }

    /// The values of a trial as JSON by name.
    pub fn external(&self, values: &Values) -> Fixed {
        self.spec.space.to_external(values)
    }
}
