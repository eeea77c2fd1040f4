//! Where the first value that is not finite comes from.

use std::fmt;

use crate::core::{Core, WeightSet};
use crate::error::Result;
use crate::input::{Input, StepContext, Targets};
use crate::loss::LossConfig;
use crate::plan::{Kernel, PlanKey};
use crate::real::Real;

/// What is not finite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NonFiniteKind {
    /// The images themselves.
    Input,
    /// A parameter, before the step.
    Weights,
    /// A running estimate of a batch norm, before the step.
    RunningEstimates,
    /// An activation in the forward pass.
    Activations,
    /// The loss, although the logits are finite.
    Loss,
    /// A gradient in the backward pass.
    Gradients,
}

impl fmt::Display for NonFiniteKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NonFiniteKind::Input => "input",
            NonFiniteKind::Weights => "weights",
            NonFiniteKind::RunningEstimates => "running estimates",
            NonFiniteKind::Activations => "activations",
            NonFiniteKind::Loss => "loss",
            NonFiniteKind::Gradients => "gradients",
        })
    }
}

/// The first NaN or infinity of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NonFinite {
    /// Name of the layer (or of the parameter).
    pub layer: String,
    /// What is not finite there.
    pub kind: NonFiniteKind,
    /// How many values, of how many.
    pub count: (usize, usize),
}

impl fmt::Display for NonFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bad, all) = self.count;
        write!(f, "{bad} of {all} values are not finite in the {} of `{}`", self.kind, self.layer)
    }
}

fn broken<T: Real>(values: &[T]) -> usize {
    values.iter().filter(|v| !v.is_finite()).count()
}

/// Runs the step again, kernel by kernel; weights, running estimates and gradients are as before afterwards.
pub(crate) fn diagnose<T: Real>(
    core: &mut Core<T>,
    input: &Input<'_>,
    targets: &Targets<'_>,
    loss: &LossConfig,
    context: &StepContext,
) -> Result<Option<NonFinite>> {
    let found = |layer: &str, kind, bad: usize, all: usize| {
        (bad > 0).then(|| NonFinite { layer: layer.to_string(), kind, count: (bad, all) })
    };
    for (info, values) in core.graph.params.iter().zip(&core.live.params) {
        if let Some(hit) = found(&info.name, NonFiniteKind::Weights, broken(values), values.len()) {
            return Ok(Some(hit));
        }
    }
    for (info, state) in core.graph.norms.iter().zip(&core.live.norms) {
        let bad = broken(&state.mean) + broken(&state.var);
        if let Some(hit) = found(&info.name, NonFiniteKind::RunningEstimates, bad, 2 * info.channels) {
            return Ok(Some(hit));
        }
    }
    let norms = core.live.norms.clone();
    let grads = core.grads.clone();
    let result = walk(core, input, targets, loss, &StepContext { accumulate: false, ..*context });
    core.live.norms = norms;
    core.grads = grads;
    result
}

fn walk<T: Real>(
    core: &mut Core<T>,
    input: &Input<'_>,
    targets: &Targets<'_>,
    loss: &LossConfig,
    context: &StepContext,
) -> Result<Option<NonFinite>> {
    core.check_input(input)?;
    let [n, h, w, _] = input.shape;
    let plan = core.plan(&PlanKey::train(n, h, w))?;
    core.grow(&plan);
    let graph = core.graph.clone();
    for (at, step) in plan.steps.iter().enumerate() {
        let layer = &graph.nodes[step.node.0].name;
        let hit = |kind, bad: usize, all: usize| {
            (bad > 0).then(|| NonFinite { layer: layer.clone(), kind, count: (bad, all) })
        };
        let forward = at < plan.backward_from;
        match step.kernel {
            Kernel::Input { out } => core.load_input(input, &plan, out),
            Kernel::Loss { .. } => {
                let value = core.loss(&plan, input, targets, loss, context.scale)?;
                if let Some(found) = hit(NonFiniteKind::Loss, usize::from(!value.is_finite()), 1) {
                    return Ok(Some(found));
                }
            }
            _ => core.run(&plan, at, WeightSet::Live, context)?,
        }
        let kind = match step.kernel {
            Kernel::Input { .. } => NonFiniteKind::Input,
            _ if forward => NonFiniteKind::Activations,
            _ => NonFiniteKind::Gradients,
        };
        for buf in step.kernel.outputs() {
            let values = core.slice(&plan, buf);
            if let Some(found) = hit(kind, broken(values), values.len()) {
                return Ok(Some(found));
            }
        }
        for param in step.kernel.param_outputs() {
            let values = &core.grads[param];
            if let Some(found) = hit(NonFiniteKind::Gradients, broken(values), values.len()) {
                return Ok(Some(found));
            }
        }
    }
    Ok(None)
}
