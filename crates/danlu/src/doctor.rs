//! The doctor at a run folder: findings, the picture with the places marked, and the next recipe.

use danlu_recipe::{Change, Layer, Origin, Recipe, Resolved, diff, resolve};
use danlu_train::doctor::{LearningRate, diagnose, history, learning_rate, proposals};
use danlu_train::{RunFolder, TrainError, prepared_of};
use danlu_view::{Curves, Look, Svg, curves::Event};
use serde::Serialize;

pub use danlu_doctor::{Finding, Place, Proposal, RULES, Severity};

/// What was found in a run, and what to change.
#[derive(Clone, Debug, Serialize)]
pub struct Examination {
    /// Epochs completed.
    pub epochs: usize,
    /// Whether the training came to its end.
    pub finished: bool,
    /// What the loss curve says of the learning rate; none where it says nothing.
    pub learning_rate: Option<LearningRate>,
    /// The diagnoses, causes before symptoms.
    pub findings: Vec<Finding>,
    /// The next recipe as a difference to this one, a reason each.
    pub changes: Vec<ReasonedChange>,
    /// Proposals that the recipe does not take as they stand, with what it says.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<String>,
    /// The next recipe.
    #[serde(skip)]
    pub next: Resolved<Recipe>,
}

/// A key that changes, and why.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReasonedChange {
    /// The key and its values.
    #[serde(flatten)]
    pub change: Change,
    /// Why, in a line.
    pub reason: String,
}

/// Reads a run, finished or not, and changes nothing in it.
///
/// # Errors
/// Where the files of the run cannot be read.
pub fn examine(run: &RunFolder) -> Result<Examination, TrainError> {
    let history = history(run)?;
    let findings = diagnose(&history);
    let mut next: Resolved<Recipe> = resolve(&[Layer::from_file(&run.recipe())?])?;
    let (mut changes, mut refused) = (Vec::new(), Vec::new());
    for proposal in proposals(&findings) {
        let mut layer = Layer::new();
        let path = proposal.key.parse().map_err(danlu_recipe::RecipeError::from)?;
        layer.set(path, proposal.value.clone(), Origin::Finder { reason: proposal.reason.clone() });
        match next.with(&layer) {
            Ok(changed) => {
                for (index, change) in diff(&next.tree(), &changed.tree()).into_iter().enumerate() {
                    let reason =
                        if index == 0 { proposal.reason.clone() } else { "comes with it".to_owned() };
                    changes.push(ReasonedChange { change, reason });
                }
                next = changed;
            }
            Err(error) => refused.push(format!("{} = {}: {error}", proposal.key, proposal.value)),
        }
    }
    Ok(Examination {
        epochs: history.epochs.len(),
        finished: history.finished,
        learning_rate: learning_rate(&history),
        findings,
        changes,
        refused,
        next,
    })
}

/// The training images whose labels the network contradicts, worst first, as thumbnails; none where there are none.
///
/// # Errors
/// Where the run or its data cannot be read.
pub fn contradicted(run: &RunFolder, look: &Look) -> Result<Option<Svg>, TrainError> {
    let history = history(run)?;
    let prepared = prepared_of(run, &run.info()?)?;
    crate::pictures::outcome::contradicted(&prepared, history.worst_samples(), look)
}

/// The learning curves of the run with the places of the findings marked.
///
/// # Errors
/// Where the events of the run cannot be read.
pub fn picture(run: &RunFolder, findings: &[Finding]) -> Result<Curves, TrainError> {
    let mut curves = crate::curves::of_runs(std::slice::from_ref(run))?;
    for finding in findings {
        if let Some(place) = &finding.place {
            let warning = finding.severity == Severity::Fault;
            curves.events.push(Event { x: place.epoch, label: place.label.clone(), warning });
        }
    }
    Ok(curves)
}
