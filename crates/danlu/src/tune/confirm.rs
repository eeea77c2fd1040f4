//! The best trials again with other seeds: luck or merit.

use std::path::Path;

use danlu_recipe::{Layer, Origin, RecipeError};
use danlu_train::{Destination, Observer, RunFolder, StopFlag, TrainError, read_result, resume, train};
use danlu_tune::{State, StudySpec, Trial, View};

use super::drive::study_folder;
use super::{Metric, Plan, StudyError};
use crate::tensorboard::TensorBoard;

/// Runs of one trial's recipe with different seeds.
#[derive(Clone, Debug, PartialEq)]
pub struct Confirmed {
    /// The trial.
    pub number: u64,
    /// The best validation value of each run.
    pub values: Vec<f64>,
}

impl Confirmed {
    /// Mean over the seeds.
    pub fn mean(&self) -> f64 {
        self.values.iter().sum::<f64>() / self.values.len().max(1) as f64
    }

    /// Standard deviation over the seeds (n - 1).
    pub fn deviation(&self) -> f64 {
        let mean = self.mean();
        let squares: f64 = self.values.iter().map(|v| (v - mean) * (v - mean)).sum();
        (squares / (self.values.len() as f64 - 1.0).max(1.0)).sqrt()
    }
}

/// Recipes that are trained again.
const TOP: usize = 3;
/// Seeds of each.
const SEEDS: u64 = 3;

/// Trains the best 3 recipes with 3 other seeds each, in run folders of the study; what a stop interrupts is resumed by the next
/// call. The best mean comes first.
///
/// # Errors
/// [`TrainError::Interrupted`] on Ctrl-C; whatever stops a training.
pub fn confirm(
    plan: &Plan,
    spec: &StudySpec,
    view: &View,
    runs: &Path,
    observer: &mut dyn Observer,
    stop: &StopFlag,
) -> Result<Vec<Confirmed>, StudyError> {
    let metric = plan.metric;
    let folder = study_folder(runs, &spec.name);
    let search = plan.search()?;
    let loss = |trial: &Trial| trial.curve.iter().map(|r| view.loss(r.value)).fold(f64::INFINITY, f64::min);
    let mut order: Vec<&Trial> =
        view.trials().iter().filter(|t| t.state != State::Failed && loss(t).is_finite()).collect();
    order.sort_by(|a, b| loss(a).total_cmp(&loss(b)));
    let mut all = Vec::new();
    for trial in order.into_iter().take(TOP) {
        let mut values = Vec::new();
        for seed in 1..=SEEDS {
            let name = format!("confirm-{}-seed-{seed}", trial.number);
            observer.say(&format!("trial {} again with seed {seed}", trial.number));
            let path = folder.join(&name);
            let result = if path.join("recipe.toml").exists() {
                let run = RunFolder::open(&path)?;
                match resume(run.clone(), &mut TensorBoard::new(observer), stop) {
                    Err(TrainError::Finished { .. }) => read_result(&run)?,
                    other => other?.1,
                }
            } else {
                let mut layers =
                    plan.layers(&search, &view.space.to_external(&trial.values), trial.number, None)?;
                let mut other = Layer::new();
                let key = "train.seed".parse().map_err(RecipeError::from)?;
                // Far from any seed that a person would have given.
                other.set(key, (1000 + seed).into(), Origin::Trial { number: trial.number });
                layers.push(other);
                let request =
                    plan.request(layers, format!("danlu tune --confirm (trial {})", trial.number))?;
                let destination = Destination { runs: folder.clone(), name: Some(name) };
                train(&request, &destination, &mut TensorBoard::new(observer), stop)?.1
            };
            values.push(metric.of(&result.val));
        }
        all.push(Confirmed { number: trial.number, values });
    }
    all.sort_by(|a, b| metric.direction().loss(a.mean()).total_cmp(&metric.direction().loss(b.mean())));
    Ok(all)
}

/// Whether the first is better than the second by more than seeds explain: Welch's t, two-sided 95 % at about 4 degrees of
/// freedom. Seeds that made no difference at all (a tiny validation set on which every run gets the same images right) say nothing of their noise,
/// so then no gap is called real; where only one of the two shows no spread, the other's stands for both.
pub(super) fn verdict(first: &Confirmed, second: &Confirmed, metric: Metric) -> String {
    let n = first.values.len().min(second.values.len());
    let (a, b) = (metric.show(first.mean()), metric.show(second.mean()));
    let head = format!("over {n} seeds trial {} has {a} and trial {} has {b}", first.number, second.number);
    let (one, other) = (first.deviation(), second.deviation());
    let (one, other) = (if one > 0.0 { one } else { other }, if other > 0.0 { other } else { one });
    // Also where a loss is not a number.
    if n < 2 || !(one > 0.0 && other > 0.0) {
        return format!(
            "{head}; the seeds made no difference to either, so their noise is not known and the gap proves nothing: a larger validation set would tell"
        );
    }
    let gap = (first.mean() - second.mean()).abs();
    if gap > 2.776 * ((one.powi(2) + other.powi(2)) / n as f64).sqrt() {
        format!("{head}: more than seed noise explains")
    } else {
        format!("{head}: no more than seed noise explains, so choose by cost")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_within_the_noise_of_seeds_is_called_noise() {
        let of = |number, values: &[f64]| Confirmed { number, values: values.to_vec() };
        let clear = verdict(&of(3, &[0.91, 0.912, 0.911]), &of(5, &[0.88, 0.882, 0.881]), Metric::Top1);
        assert_eq!(
            clear,
            "over 3 seeds trial 3 has 91.10 % and trial 5 has 88.10 %: more than seed noise explains"
        );
        let noise = verdict(&of(3, &[0.91, 0.90, 0.92]), &of(5, &[0.909, 0.899, 0.919]), Metric::Top1);
        assert!(noise.ends_with("no more than seed noise explains, so choose by cost"), "{noise}");
    }

    #[test]
    fn without_any_spread_no_gap_is_called_real() {
        let of = |number, values: &[f64]| Confirmed { number, values: values.to_vec() };
        for (first, second) in [
            (of(3, &[0.91, 0.91, 0.91]), of(5, &[0.88, 0.88, 0.88])),
            (of(3, &[0.91]), of(5, &[0.88])),
            (of(3, &[f64::NAN, 0.9, 0.9]), of(5, &[f64::NAN, 0.8, 0.8])),
        ] {
            let said = verdict(&first, &second, Metric::Top1);
            assert!(said.contains("the gap proves nothing"), "{said}");
        }
        // One recipe without spread does not make the other's noise vanish.
        let said = verdict(&of(3, &[0.91, 0.91, 0.91]), &of(5, &[0.905, 0.88, 0.93]), Metric::Top1);
        assert!(said.ends_with("no more than seed noise explains, so choose by cost"), "{said}");
    }
}
