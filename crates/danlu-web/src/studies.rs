//! The studies beside the runs: read from their store, never written to.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use danlu::tune::{Metric, Plan};
use danlu::tuner::store::{self, Cursor, Store};
use danlu::tuner::{State, StudySpec, TuneError, View};
use serde::Serialize;

use crate::error::Refusal;

/// Name of the store that `danlu tune` makes beside its runs.
const BESIDE_THE_RUNS: &str = "studies.db";

/// Where studies are looked up.
pub(crate) struct Studies {
    /// Asked for by the user; else the file beside the runs, where there is one.
    url: Option<String>,
    file: PathBuf,
    open: Mutex<Option<Open>>,
}

struct Open {
    store: Box<dyn Store>,
    known: HashMap<String, Known>,
}

struct Known {
    id: i64,
    spec: Arc<StudySpec>,
    view: View,
    cursor: Cursor,
}

/// A study as of now.
#[derive(Clone)]
pub(crate) struct Study {
    pub(crate) spec: Arc<StudySpec>,
    pub(crate) view: View,
    /// What `danlu tune` noted; none of a study that another program made.
    pub(crate) plan: Option<Plan>,
}

/// One study in a list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct StudyRow {
    /// Its name.
    pub(crate) name: String,
    /// What is optimised.
    pub(crate) metric: String,
    /// Trials so far.
    pub(crate) trials: usize,
    /// Trials at their last epoch.
    pub(crate) complete: usize,
    /// Trials set aside.
    pub(crate) paused: usize,
    /// Trials that a worker holds.
    pub(crate) running: usize,
    /// Trials that failed.
    pub(crate) failed: usize,
    /// Epochs trained, of all trials.
    pub(crate) epochs: u64,
    /// The best value at any epoch.
    pub(crate) best: Option<f64>,
    /// The trial that reported it.
    pub(crate) best_trial: Option<u64>,
}

impl Study {
    /// What is optimised, for people.
    pub(crate) fn metric_name(&self) -> &'static str {
        self.plan.as_ref().map_or("objective", |plan| plan.metric.name())
    }

    /// A value for people.
    pub(crate) fn show(&self, value: f64) -> String {
        self.plan.as_ref().map_or_else(|| format!("{value:.4}"), |plan| plan.metric.show(value))
    }

    /// The metric; what says nothing of itself is shown as a plain number.
    pub(crate) fn metric(&self) -> Metric {
        self.plan.as_ref().map_or(Metric::Loss, |plan| plan.metric)
    }

    pub(crate) fn row(&self) -> StudyRow {
        let view = &self.view;
        let count = |state| view.in_state(state).len();
        let best = view.best_observed().and_then(|trial| {
            let values = trial.curve.iter().map(|report| report.value);
            let value = values.min_by(|a, b| view.loss(*a).total_cmp(&view.loss(*b)))?;
            Some((trial.number, value))
        });
        StudyRow {
            name: self.spec.name.clone(),
            metric: self.metric_name().to_owned(),
            trials: view.trials().len(),
            complete: count(State::Complete),
            paused: count(State::Paused) + count(State::Released),
            running: count(State::Running),
            failed: count(State::Failed),
            epochs: view.trials().iter().map(|trial| trial.steps()).sum(),
            best: best.map(|best| best.1),
            best_trial: best.map(|best| best.0),
        }
    }
}

impl Studies {
    pub(crate) fn new(runs: &Path, url: Option<String>) -> Self {
        Studies { url, file: runs.join(BESIDE_THE_RUNS), open: Mutex::default() }
    }

    /// Every study of the store, by name; none where there is no store.
    pub(crate) fn list(&self) -> Result<Vec<Study>, Refusal> {
        self.with(|open| {
            let names = open.store.study_names()?;
            open.known.retain(|name, _| names.contains(name));
            // One that another program made has no space that could be shown.
            names.iter().filter_map(|name| open.study(name).transpose()).collect()
        })
        .map(Option::unwrap_or_default)
    }

    /// The study of that name.
    pub(crate) fn find(&self, name: &str) -> Result<Study, Refusal> {
        let found = self.with(|open| {
            if open.store.study_names()?.iter().any(|known| known == name) {
                open.study(name)
            } else {
                Ok(None)
            }
        })?;
        found.flatten().ok_or_else(|| Refusal::not_found(&format!("study `{name}`")))
    }

    fn with<T>(&self, work: impl FnOnce(&mut Open) -> Result<T, TuneError>) -> Result<Option<T>, Refusal> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.is_none() {
            let url = match &self.url {
                Some(url) => url.clone(),
                // A link may lead anywhere on the machine.
                None if self.file.symlink_metadata().is_ok_and(|file| file.is_file()) => {
                    format!("sqlite:{}", self.file.display())
                }
                None => return Ok(None),
            };
            *open = Some(Open { store: store::open(&url, false)?, known: HashMap::new() });
        }
        let Some(now) = open.as_mut() else { return Ok(None) };
        let done = work(now);
        if done.is_err() {
            // A connection that broke is made anew by the next request.
            *open = None;
        }
        Ok(Some(done?))
    }
}

impl Open {
    fn study(&mut self, name: &str) -> Result<Option<Study>, TuneError> {
        let (id, spec) = self.store.load_study(name)?;
        let Some(spec) = spec else { return Ok(None) };
        // Deleted and made again under the same name it is another study.
        if self.known.get(name).is_none_or(|known| known.id != id) {
            let view = View::new(Arc::new(spec.space.clone()), spec.direction, spec.max_steps);
            let known = Known { id, spec: Arc::new(spec), view, cursor: Cursor::default() };
            self.known.insert(name.to_owned(), known);
        }
        let Some(known) = self.known.get_mut(name) else { return Ok(None) };
        for trial in self.store.changes(known.id, &known.spec.space, &mut known.cursor)? {
            known.view.put(trial);
        }
        let plan = serde_json::from_value(known.spec.context.clone()).ok();
        Ok(Some(Study { spec: known.spec.clone(), view: known.view.clone(), plan }))
    }
}
