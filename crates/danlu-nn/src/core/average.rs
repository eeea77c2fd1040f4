//! Averages other than the exponential one: weights that the optimizer means to be evaluated, and running estimates that fit them.

use danlu_optim::Optimizer;

use crate::core::exec::Bound;
use crate::core::{Core, WeightSet};
use crate::error::{NnError, Result};
use crate::graph::NormInfo;
use crate::input::{Input, StepContext};
use crate::plan::{Kernel, PlanKey};
use crate::real::Real;

/// Sets the averaged weights to those that the optimizer means to be evaluated; says whether these are others than the live ones.
pub(crate) fn average_from<T: Real>(core: &mut Core<T>, optimizer: &Optimizer) -> Result<bool> {
    let mut average = core.ema.take().unwrap_or_else(|| core.live.clone());
    let now: Vec<&[T]> = core.live.params.iter().map(Vec::as_slice).collect();
    let mut out: Vec<&mut [T]> = average.params.iter_mut().map(Vec::as_mut_slice).collect();
    let differs = T::optimizer_average(optimizer, &now, &mut out);
    average.norms.clone_from(&core.live.norms);
    core.ema = Some(average);
    differs.map_err(|error| NnError::Optimizer(error.to_string()))
}

/// A forward pass with the statistics of the batch, whose mean with those of the `seen` batches before becomes the running estimates
/// of `set` (PyTorch's `torch.optim.swa_utils.update_bn`). Batch norms that use their running estimates in training keep them.
pub(crate) fn estimate_norms<T: Real>(
    core: &mut Core<T>,
    input: &Input<'_>,
    set: WeightSet,
    context: &StepContext,
    seen: u64,
) -> Result<()> {
    core.check_input(input)?;
    let [n, h, w, _] = input.shape;
    let plan = core.plan(&PlanKey::train(n, h, w))?;
    core.grow(&plan);
    let before = core.weights(set)?.norms.clone();
    // With a momentum of 1 a running estimate is the batch's own.
    let norms: Vec<NormInfo> =
        core.graph.norms.iter().map(|norm| NormInfo { momentum: 1.0, ..norm.clone() }).collect();
    for step in &plan.steps[..plan.backward_from] {
        match step.kernel {
            Kernel::Input { out } => core.load_input(input, &plan, out),
            Kernel::Loss { .. } => break,
            _ => {
                let start = core.arena_start();
                let weights = match (set, &mut core.ema) {
                    (WeightSet::Ema, Some(average)) => average,
                    _ => &mut core.live,
                };
                let mut bound = Bound {
                    norms: &norms,
                    params: &weights.params,
                    grads: &mut core.grads,
                    states: &mut weights.norms,
                    work: &mut core.work,
                    arena: &mut core.arena[start..],
                    bytes: &mut core.bytes,
                    accumulate: false,
                    seed: context.seed,
                    iteration: context.iteration,
                };
                bound.run(&*core.device, &plan, &step.kernel)?;
            }
        }
    }
    core.last = None;
    let weights = match (set, &mut core.ema) {
        (WeightSet::Ema, Some(average)) => average,
        _ => &mut core.live,
    };
    let share = 1.0 / (seen as f64 + 1.0);
    for (state, old) in
        weights.norms.iter_mut().zip(before).filter(|(state, old)| state.batches != old.batches)
    {
        let mix = |new: &mut [T], old: &[T]| {
            for (new, old) in new.iter_mut().zip(old) {
                let (batch, mean) = (new.to_f64(), old.to_f64());
                *new = if seen == 0 { *new } else { T::from_f64(mean + share * (batch - mean)) };
            }
        };
        mix(&mut state.mean, &old.mean);
        mix(&mut state.var, &old.var);
        state.batches = seen + 1;
    }
    Ok(())
}
