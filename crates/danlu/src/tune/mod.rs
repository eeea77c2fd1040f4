//! Studies of recipes: what `danlu tune` and `danlu worker` do.
//!
//! A trial is a run folder (`runs/<study>/trial-<n>`) with its exact checkpoint: pausing a trial is stopping its run, thawing it is
//! a resume. Trials see the training and validation sets only. What a worker on another machine needs beside the space
//! (data, preset, pinned choices) stands in the study itself.

mod confirm;
mod drive;
mod outcome;
mod parallel;
mod runs;

pub use confirm::{Confirmed, confirm};
pub use drive::{Control, DEFAULT_POLICY, Limits, drive};
pub use outcome::{Best, Report, best, trials_of, verdicts, write_report};
pub use parallel::best_workers;
pub use runs::Runs;

use std::path::{Path, PathBuf};

use danlu_data::Part;
use danlu_recipe::{Choice, Layer, Origin, Preset, Recipe, RecipeError, SearchSpace, Select};
use danlu_train::{Prepared, TrainError, TrainRequest};
use danlu_tune::{Direction, Space, Store, StudySpec, TuneError};
use serde::{Deserialize, Serialize};

/// What can go wrong in a study of recipes.
#[derive(Debug, thiserror::Error)]
pub enum StudyError {
    /// The tuner or its store.
    #[error(transparent)]
    Tune(#[from] TuneError),
    /// The data, a recipe or a training.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The space fits neither recipe nor study.
    #[error("{0}")]
    Space(String, Option<String>),
    /// A page of the report could not be written.
    #[error("cannot write `{}`: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl From<RecipeError> for StudyError {
    fn from(error: RecipeError) -> Self {
        StudyError::Train(error.into())
    }
}

impl StudyError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            StudyError::Tune(error) => error.hint(),
            StudyError::Train(error) => error.hint(),
            StudyError::Space(_, hint) => hint.clone(),
            StudyError::Io { .. } => None,
        }
    }

    /// Whether the request was wrong, as opposed to work that failed.
    pub fn is_request_error(&self) -> bool {
        match self {
            StudyError::Tune(error) => {
                !matches!(error, TuneError::Store { transient: true, .. } | TuneError::LeaseLost { .. })
            }
            StudyError::Train(error) => error.is_request_error(),
            StudyError::Space(..) => true,
            StudyError::Io { .. } => false,
        }
    }
}

/// What a study is about, as it stands in the store: enough for a worker on another machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The space file, whole.
    pub space: String,
    /// How messages name the space file.
    pub file: String,
    /// Where the data lie; every worker must find them there.
    pub data: String,
    /// Fingerprint of data and split: a worker with other data is refused.
    pub fingerprint: String,
    /// How long a person would wait; what the advisor goes by.
    pub preset: String,
    /// `--set` of the command line.
    pub set: Vec<String>,
    /// The advisor's choices that hold for all trials, so that machines of different speed train the same thing.
    pub pinned: Vec<Pinned>,
    /// The validation metric that is optimised: `top1`, `macro_f1` or `loss`.
    pub metric: Metric,
}

/// A choice of the advisor that holds for all trials.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pinned {
    key: String,
    value: serde_json::Value,
    reason: String,
    source: String,
}

/// What a study optimises; always on the validation set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Share of images whose most probable class is right.
    Top1,
    /// Mean of the classes' F1.
    MacroF1,
    /// Cross-entropy.
    Loss,
}

impl Metric {
    /// Its value in an epoch.
    pub fn of(self, val: &danlu_train::Metrics) -> f64 {
        match self {
            Metric::Top1 => val.top1,
            Metric::MacroF1 => val.macro_f1,
            Metric::Loss => val.loss,
        }
    }

    /// Which way is better.
    pub fn direction(self) -> Direction {
        if self == Metric::Loss { Direction::Minimize } else { Direction::Maximize }
    }

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Metric::Top1 => "validation top-1",
            Metric::MacroF1 => "validation macro-F1",
            Metric::Loss => "validation loss",
        }
    }

    /// The value for people.
    pub fn show(self, value: f64) -> String {
        match self {
            Metric::Top1 => format!("{:.2} %", 100.0 * value),
            _ => format!("{value:.4}"),
        }
    }
}

impl Plan {
    /// Reads a space and checks it against the recipe and the data, before anything is trained. Gives the plan and what the
    /// store calls the study.
    ///
    /// # Errors
    /// An empty or contradictory space, every choice that the recipe refuses, data that cannot be opened, a network that
    /// does not fit.
    pub fn new(
        space: &Path,
        data: &Path,
        name: &str,
        preset: Preset,
        set: Vec<String>,
    ) -> Result<(Plan, StudySpec), StudyError> {
        drive::check_name(name)?;
        let file = space.display().to_string();
        let text = std::fs::read_to_string(space)
            .map_err(|error| RecipeError::Read { file: file.clone(), error })?;
        let search = SearchSpace::from_toml::<Recipe>(&text, &file)?;
        if search.is_empty() {
            return Err(StudyError::Space(
                format!("search space `{file}`: no field holds a distribution: there is nothing to search"),
                Some(
                    "for example `lr = { log = [1e-3, 1.0] }` under `[optimizer]`; see docs/guide/tuning.md"
                        .into(),
                ),
            ));
        }
        for parameter in search.parameters() {
            let reason = match parameter.name.as_str() {
                "train.epochs" => {
                    "epochs are the steps of a trial, and the study decides how many each is worth"
                }
                "train.seed" | "data.split_seed" => "a seed is not better or worse, only luckier",
                _ => continue,
            };
            return Err(StudyError::Space(
                format!("search space `{file}`: `{}` cannot be searched: {reason}", parameter.name),
                Some(format!("give `{}` a plain value", parameter.name)),
            ));
        }
        let mut flags = Layer::new();
        for text in &set {
            flags.set_flag(text)?;
        }
        search.check::<Recipe>(std::slice::from_ref(&flags))?;
        let corner = corner(&search)?;
        let layers = vec![search.layer(&corner, 0)?, flags];
        let request = TrainRequest { data: data.to_owned(), preset, layers, command: String::new() };
        let prepared = Prepared::new(&request)?;
        let recipe = &prepared.recipe.recipe;
        let searched = |key: &str| {
            let section = key.split('.').next().unwrap_or_default();
            search.parameters().iter().any(|p| p.name == key || p.name == format!("{section}.name"))
        };
        let pinned =
            prepared.choices.iter().filter(|choice| !searched(&choice.key)).map(Pinned::from).collect();
        let metric = match recipe.train.select {
            Select::Top1 => Metric::Top1,
            Select::MacroF1 => Metric::MacroF1,
            Select::Loss => Metric::Loss,
            Select::Auto => {
                let counts = prepared.dataset.class_counts(Part::Train);
                let (least, most) = (counts.iter().min(), counts.iter().max());
                // The rule of `train.select = "auto"`.
                if most.copied().unwrap_or(0) > 3 * least.copied().unwrap_or(0) {
                    Metric::MacroF1
                } else {
                    Metric::Top1
                }
            }
        };
        let parameters = serde_json::to_value(search.parameters()).and_then(serde_json::from_value);
        let space: Space = parameters.map_err(|error| StudyError::Space(error.to_string(), None))?;
        let absolute = if data == Path::new("demo") && !data.exists() {
            "demo".to_owned()
        } else {
            std::fs::canonicalize(data).unwrap_or_else(|_| data.to_owned()).display().to_string()
        };
        let plan = Plan {
            space: text,
            file,
            data: absolute,
            fingerprint: prepared.dataset.fingerprint.clone(),
            preset: preset.to_string(),
            set,
            pinned,
            metric,
        };
        let spec = StudySpec {
            name: name.to_owned(),
            direction: metric.direction(),
            space,
            max_steps: u64::from(recipe.train.epochs),
            context: serde_json::to_value(&plan).unwrap_or_default(),
        };
        Ok((plan, spec))
    }

    /// The plan of a study in a store.
    ///
    /// # Errors
    /// No such study, or one that was not made by `danlu tune`.
    pub fn load(store: &mut dyn Store, name: &str) -> Result<(Plan, StudySpec), StudyError> {
        let (_, spec) = store.load_study(name)?;
        let plan = spec.as_ref().and_then(|spec| serde_json::from_value(spec.context.clone()).ok());
        match (spec, plan) {
            (Some(spec), Some(plan)) => Ok((plan, spec)),
            _ => Err(StudyError::Space(
                format!("study `{name}` was not made by `danlu tune`, so it says nothing of data and recipe"),
                Some("start it with `danlu tune SPACE.toml DATA --store ...`".into()),
            )),
        }
    }

    /// The recipe layers of a trial, the weaker first; `threads` for trials side by side.
    ///
    /// # Errors
    /// An assignment that the space or the recipe refuses.
    pub fn layers(
        &self,
        search: &SearchSpace,
        values: &danlu_recipe::Assignment,
        trial: u64,
        threads: Option<usize>,
    ) -> Result<Vec<Layer>, StudyError> {
        let pinned: Vec<Choice> = self.pinned.iter().map(Pinned::choice).collect();
        let mut layers = vec![Layer::from_choices(&pinned)?, search.layer(values, trial)?];
        let mut flags = Layer::new();
        for text in &self.set {
            flags.set_flag(text)?;
        }
        if let Some(threads) = threads {
            flags.set(
                "train.threads".parse().map_err(RecipeError::from)?,
                threads.into(),
                Origin::Trial { number: trial },
            );
        }
        layers.push(flags);
        Ok(layers)
    }

    /// The space as a recipe file.
    ///
    /// # Errors
    /// Never for a plan that [`Plan::new`] made.
    pub fn search(&self) -> Result<SearchSpace, StudyError> {
        Ok(SearchSpace::from_toml::<Recipe>(&self.space, &self.file)?)
    }

    /// The request of a training with these layers.
    pub fn request(&self, layers: Vec<Layer>, command: String) -> Result<TrainRequest, StudyError> {
        Ok(TrainRequest { data: self.data.clone().into(), preset: self.preset.parse()?, layers, command })
    }
}

impl From<&Choice> for Pinned {
    fn from(choice: &Choice) -> Self {
        let Choice { key, value, reason, source } = choice.clone();
        Pinned { key, value, reason, source }
    }
}

impl Pinned {
    fn choice(&self) -> Choice {
        let Pinned { key, value, reason, source } = self.clone();
        Choice { key, value, reason, source }
    }
}

/// Some assignment of the space: advised values where there are any, else the middle.
fn corner(search: &SearchSpace) -> Result<danlu_recipe::Assignment, StudyError> {
    let parameters = serde_json::to_value(search.parameters()).and_then(serde_json::from_value);
    let space: Space = parameters.map_err(|error| StudyError::Space(error.to_string(), None))?;
    let values = space.complete(&Default::default(), |i, domain| {
        let p = &space.parameters()[i];
        let advised = p.advised.as_ref().and_then(|v| domain.to_internal(&p.name, v).ok());
        advised.unwrap_or_else(|| domain.from_unit(0.5))
    })?;
    Ok(space.to_external(&values))
}
