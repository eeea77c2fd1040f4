//! The recipe itself: the sections, each owned by the crate of its concept.

use danlu_data::{AugmentConfig, DataConfig, DataError};
use danlu_nn::init::InitConfig;
use danlu_nn::{LossConfig, NetworkConfig, NnError};
use danlu_optim::{GroupingConfig, OptimError, OptimizerConfig, ScheduleConfig};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::finetune::FinetuneConfig;
use crate::resolve::{Fault, Sections};
use crate::train::TrainConfig;

/// Every hyper-parameter of one training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Recipe {
    /// How the data set is split and how its images become the input of the network.
    pub data: DataConfig,
    /// Changes of the training images that keep their class.
    pub augment: AugmentConfig,
    /// The network and its layer parameters.
    pub network: NetworkConfig,
    /// The initial weights.
    pub init: InitConfig,
    /// Weights to start from instead, and what of them trains.
    pub finetune: FinetuneConfig,
    /// The update rule, its options, and which parameters get others.
    pub optimizer: OptimizerSection,
    /// How the learning rate changes over the training.
    pub schedule: ScheduleConfig,
    /// What the training minimises.
    pub loss: LossConfig,
    /// How long, in what batches, on what, and which weights are kept.
    pub train: TrainConfig,
    /// What a run wrote down about itself; absent in a recipe that a person writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RunFacts>,
}

/// The recipe section `optimizer`: the rule (chosen by `name`) and the parameter groups beside it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OptimizerSection {
    /// The update rule and its options.
    #[serde(flatten)]
    pub rule: OptimizerConfig,
    /// Which parameters get other options.
    #[serde(flatten)]
    pub grouping: GroupingConfig,
}

/// What a finished or running training says about itself, so that its recipe alone can be replayed and a resume can
/// see whether anything changed (recipe section `run`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RunFacts {
    /// The version of danlu that wrote it.
    pub danlu: String,
    /// The path of the data set, as it was given.
    pub data: String,
    /// The fingerprint of the data set: files, classes, split.
    pub fingerprint: String,
    /// The classes in the order of the network's outputs.
    pub classes: Vec<String>,
}

impl Sections for Recipe {
    const AUTO: &'static [&'static str] = &["train.batch_size", "optimizer.lr"];

    fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut data = |result: Result<(), DataError>| {
            if let Err(error) = result {
                let key = match &error {
                    DataError::Config { key, .. } => key.clone(),
                    _ => "data".to_owned(),
                };
                faults.push(Fault { key, message: error.to_string(), hint: error.hint() });
            }
        };
        data(self.data.validate());
        data(self.augment.validate());
        let mut optim = |section: &str, result: Result<(), OptimError>| {
            if let Err(error) = result {
                let key = match &error {
                    OptimError::BadValue { key, .. } | OptimError::BadExpression { key, .. } => key.clone(),
                    _ => section.to_owned(),
                };
                faults.push(Fault { key, message: error.to_string(), hint: error.hint() });
            }
        };
        optim("optimizer", self.optimizer.rule.validate());
        optim("optimizer.groups", self.optimizer.grouping.validate());
        optim("schedule", self.schedule.validate());
        let mut nn = |section: &str, result: Result<(), NnError>| {
            if let Err(error) = result {
                let key = match &error {
                    NnError::Config { key, .. } => key.clone(),
                    NnError::Block { index, .. } => format!("network.blocks[{index}]"),
                    _ => section.to_owned(),
                };
                faults.push(Fault { key, message: error.to_string(), hint: error.hint() });
            }
        };
        nn("network", self.network.validate());
        nn("init", self.init.validate());
        nn("loss", self.loss.validate());
        faults.extend(self.finetune.faults());
        faults.extend(self.train.faults());
        for (key, set) in [("train.ema", self.train.ema.is_some()), ("train.swa", self.train.swa.is_some())] {
            if set && self.optimizer.rule.evaluates_average() {
                let message = format!(
                    "`{key}` is set, expected \"none\" with `optimizer.name = \"{}\"`: a schedule-free optimizer keeps its own average",
                    self.optimizer.rule.name()
                );
                faults.push(Fault { key: key.to_owned(), message, hint: None });
            }
        }
        faults
    }
}
