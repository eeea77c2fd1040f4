//! The default scheduler: successive halving in which a model of the learning curves says who is worth its cost.

use super::{Next, Scheduler, Verdict, rungs};
use crate::curve::Scale;
use crate::power_law::PowerLaws;
use crate::trial::{State, Trial};
use crate::view::View;

/// Pause and resume by forecast.
///
/// Trials stop at rungs, as in asynchronous successive halving, and of those that reached a rung one in `eta` goes on. Which ones is not a
/// matter of their value there: an ensemble of power laws, fitted to all partial curves, says how much each is expected to improve on the best
/// value of the study, and that is divided by the seconds that the trial needs (measured on its own steps). In the last stretch of a study with
/// a wall-clock budget, when no new trial could be completed, the trial goes on that is expected to improve most within what is left.
#[derive(Clone, Debug)]
pub struct Forecast {
    /// Steps of the first rung.
    pub first: u64,
    /// One in `eta` goes on from a rung.
    pub eta: f64,
    read: usize,
    rungs: Vec<u64>,
    /// For each rung the trials that reached it, by their worth there, the best first.
    reached: Vec<Vec<(f64, u64)>>,
    /// For each trial how many rungs it has been counted at.
    counted: Vec<usize>,
    model: Option<Model>,
}

/// The ensemble, with the scale on which it was fitted.
#[derive(Clone, Debug)]
struct Model {
    laws: PowerLaws,
    scale: Scale,
    target: f64,
    seconds: f64,
    trials: usize,
    points: usize,
}

/// At most so many curves are fitted: more of them change nothing but the time.
const FITTED: usize = 200;
/// What a promoted trial is to improve on, between the median trial (0) and the best (1). Several go on from a rung, so the best alone is the wrong
/// measure: against it, the least certain ones win.
const AMBITION: f64 = 0.5;
/// Curves that must stand beside one another before their model decides.
const STARTUP: usize = 4;

impl Forecast {
    /// Pause and resume from `first` steps on.
    pub fn new(first: u64, eta: f64) -> Self {
        let (read, rungs, reached, counted, model) = (0, Vec::new(), Vec::new(), Vec::new(), None);
        Forecast { first, eta, read, rungs, reached, counted, model }
    }

    fn ingest(&mut self, view: &View) {
        if self.rungs.is_empty() {
            self.rungs = rungs(self.first, self.eta, view.max_steps);
            self.reached = vec![Vec::new(); self.rungs.len()];
        }
        let mut new = Vec::new();
        for &number in &view.log()[self.read..] {
            let Some(trial) = view.trial(number) else { continue };
            if self.counted.len() <= number as usize {
                self.counted.resize(number as usize + 1, 0);
            }
            let counted = &mut self.counted[number as usize];
            while *counted < self.rungs.len() && trial.steps() >= self.rungs[*counted] {
                new.push((*counted, number));
                *counted += 1;
            }
        }
        self.read = view.log().len();
        if new.is_empty() {
            return;
        }
        if self.refit(view) {
            for rung in 0..self.reached.len() {
                let mut all = std::mem::take(&mut self.reached[rung]);
                all.extend(new.iter().filter(|n| n.0 == rung).map(|n| (0.0, n.1)));
                for entry in &mut all {
                    entry.0 = self.worth(view, entry.1, rung);
                }
                all.sort_by(|a, b| b.0.total_cmp(&a.0));
                self.reached[rung] = all;
            }
        } else {
            for (rung, number) in new {
                let worth = self.worth(view, number, rung);
                let at = self.reached[rung].partition_point(|e| e.0.total_cmp(&worth).is_gt());
                self.reached[rung].insert(at, (worth, number));
            }
        }
    }

    /// Fits the model anew where it saw much less than there is by now. Says whether it did.
    fn refit(&mut self, view: &View) -> bool {
        let points: usize = self.counted.iter().sum();
        let due = self.model.as_ref().is_none_or(|m| points as f64 >= 1.05 * m.points as f64);
        if !due {
            return false;
        }
        let known: Vec<&Trial> = view
            .trials()
            .iter()
            .filter(|t| t.last().is_some_and(|r| view.loss(r.value).is_finite()))
            .collect();
        let scale = Scale::new(known.iter().filter_map(|t| t.last()).map(|r| view.loss(r.value)));
        let stride = known.len().div_ceil(FITTED).max(1);
        let curves: Vec<Vec<(u64, f64)>> =
            known.iter().step_by(stride).map(|t| scores(view, &scale, t, u64::MAX)).collect();
        let laws = PowerLaws::fit(view.max_steps, &curves);
        let target = view.best_observed_loss().map_or(0.0, |loss| scale.score(loss));
        let seconds = view.seconds_per_step().unwrap_or(1.0);
        self.model = Some(Model { laws, scale, target, seconds, trials: known.len(), points });
        true
    }

    /// What going on from a rung is worth: the logarithm of the expected improvement at the end for each second.
    fn worth(&self, view: &View, number: u64, rung: usize) -> f64 {
        let (Some(model), Some(trial)) = (&self.model, view.trial(number)) else { return f64::NEG_INFINITY };
        let here = trial.value_at(self.rungs[rung]).map_or(f64::INFINITY, |v| view.loss(v));
        if !here.is_finite() {
            return f64::NEG_INFINITY;
        }
        let curve = scores(view, &model.scale, trial, self.rungs[rung]);
        let improvement =
            model.laws.forecast(&curve, view.max_steps).log_improvement(AMBITION * model.target);
        improvement - trial.seconds_per_step().unwrap_or(model.seconds).max(1e-9).ln()
    }

    fn keep(&self, rung: usize) -> usize {
        (self.reached[rung].len() as f64 / self.eta) as usize
    }

    /// The best paused trial that is among the best of its rung, the highest rung first.
    fn promotable(&self, view: &View) -> Option<u64> {
        let paused = view.in_state(State::Paused);
        (0..self.rungs.len().saturating_sub(1)).rev().find_map(|rung| {
            let top = self.reached[rung][..self.keep(rung)].iter();
            let at_this_rung = |n: u64| self.counted[n as usize] == rung + 1;
            top.filter(|e| e.0 > f64::NEG_INFINITY && at_this_rung(e.1) && paused.contains(&e.1))
                .map(|e| e.1)
                .next()
        })
    }

    /// What to do with the rest of a wall-clock budget that is too short for a whole trial; `None` before that.
    fn last_stretch(&self, view: &View, also: Option<u64>) -> Option<Next> {
        let (Some(model), Some(left)) = (&self.model, view.seconds_left) else { return None };
        let mean = view.seconds_per_step()?;
        if left >= mean * view.max_steps as f64 || model.trials < STARTUP {
            return None;
        }
        let reach = |from: u64, seconds: f64| (from + (left / seconds.max(1e-9)) as u64).min(view.max_steps);
        let fresh = reach(0, mean);
        let mut best = (f64::NEG_INFINITY, Next::Start);
        if fresh >= self.first {
            best.0 = model.laws.forecast(&[], fresh).log_improvement(model.target);
        }
        let paused = view.in_state(State::Paused).iter().copied().chain(also);
        for trial in paused.filter_map(|n| view.trial(n)) {
            let to = reach(trial.steps(), trial.seconds_per_step().unwrap_or(mean));
            let finite = trial.last().is_some_and(|r| view.loss(r.value).is_finite());
            if to > trial.steps() && finite {
                let curve = scores(view, &model.scale, trial, u64::MAX);
                let improvement = model.laws.forecast(&curve, to).log_improvement(model.target);
                if improvement > best.0 {
                    best = (improvement, Next::Thaw(trial.number));
                }
            }
        }
        Some(best.1)
    }
}

/// The curve of a trial up to a step, on a scale; what is not finite is left out.
fn scores(view: &View, scale: &Scale, trial: &Trial, up_to: u64) -> Vec<(u64, f64)> {
    let seen = trial.curve.iter().filter(|r| r.step <= up_to);
    seen.map(|r| (r.step, scale.score(view.loss(r.value)))).collect()
}

impl Scheduler for Forecast {
    fn next(&mut self, view: &View) -> Next {
        self.ingest(view);
        match self.last_stretch(view, None) {
            Some(next) => next,
            None => self.promotable(view).map_or(Next::Start, Next::Thaw),
        }
    }

    fn verdict(&mut self, view: &View, number: u64) -> Verdict {
        self.ingest(view);
        let steps = view.trial(number).map_or(0, |t| t.steps());
        let Some(rung) = self.rungs.iter().position(|&r| r == steps) else { return Verdict::Continue };
        if rung + 1 == self.rungs.len() {
            return Verdict::Continue;
        }
        let goes_on = match self.last_stretch(view, Some(number)) {
            Some(next) => next == Next::Thaw(number),
            None => self.reached[rung][..self.keep(rung)].iter().any(|e| e.1 == number),
        };
        if goes_on { Verdict::Continue } else { Verdict::Pause }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::Report;
    use crate::{Direction, Distribution, Parameter, Space};
    use std::sync::Arc;

    fn view(max_steps: u64) -> View {
        let space = Space::new(vec![Parameter::new("x", Distribution::float(0.0, 1.0))]);
        let space = space.unwrap_or_else(|error| panic!("{error}"));
        View::new(Arc::new(space), Direction::Maximize, max_steps)
    }

    /// A trial whose values are those of `curve` at steps 1, 2, ..., `seconds` a step.
    fn trial(number: u64, state: State, curve: &[f64], seconds: f64) -> Trial {
        let report = |(i, &value): (usize, &f64)| Report { step: i as u64 + 1, value, seconds };
        Trial {
            number,
            id: number as i64,
            state,
            values: vec![Some(0.5)],
            curve: curve.iter().enumerate().map(report).collect(),
            value: None,
            checkpoint: None,
            error: None,
            epoch: 1,
        }
    }

    /// `a - b t^-0.5` up to step `n`.
    fn law(a: f64, b: f64, n: u32) -> Vec<f64> {
        (1..=n).map(|t| a - b * f64::from(t).powf(-0.5)).collect()
    }

    #[test]
    fn of_two_equal_trials_the_cheaper_goes_on() {
        for cheap in [4, 5] {
            let mut view = view(27);
            for number in 0..4 {
                view.put(trial(number, State::Paused, &law(0.5 + 0.02 * number as f64, 0.3, 3), 1.0));
            }
            for number in 4..6 {
                let seconds = if number == cheap { 1.0 } else { 8.0 };
                view.put(trial(number, State::Paused, &law(0.62, 0.3, 3), seconds));
            }
            let mut scheduler = Forecast::new(3, 3.0);
            assert_eq!(scheduler.next(&view), Next::Thaw(cheap));
        }
    }

    #[test]
    fn a_curve_that_still_rises_goes_on_before_one_that_has_flattened_a_little_higher() {
        let mut view = view(81);
        // Long curves teach what becomes of steep and of flat ones.
        for number in 0..6 {
            view.put(trial(number, State::Complete, &law(0.60 + 0.01 * number as f64, 0.05, 81), 1.0));
            view.put(trial(number + 6, State::Complete, &law(0.70 + 0.01 * number as f64, 0.45, 81), 1.0));
        }
        view.put(trial(12, State::Paused, &law(0.665, 0.05, 9), 1.0));
        view.put(trial(13, State::Paused, &law(0.785, 0.45, 9), 1.0));
        let at = |n: u64| view.trial(n).and_then(|t| t.last()).map_or(0.0, |r| r.value);
        assert!(at(12) > at(13));
        let mut scheduler = Forecast::new(9, 3.0);
        scheduler.ingest(&view);
        assert!(scheduler.worth(&view, 13, 0) > scheduler.worth(&view, 12, 0));
        assert_eq!(scheduler.next(&view), Next::Thaw(13));
    }

    #[test]
    fn trials_that_are_not_numbers_never_go_on() {
        let mut view = view(9);
        for number in 0..9 {
            view.put(trial(number, State::Paused, &[f64::NAN], 1.0));
        }
        let mut scheduler = Forecast::new(1, 3.0);
        assert_eq!(scheduler.next(&view), Next::Start);
        assert_eq!(scheduler.verdict(&view, 3), Verdict::Pause);
    }

    #[test]
    fn what_cannot_be_completed_any_more_is_not_begun() {
        let mut view = view(27);
        for number in 0..8 {
            view.put(trial(number, State::Complete, &law(0.3 + 0.02 * number as f64, 0.3, 27), 1.0));
        }
        // Best of all when it was paused at step 9 of 27.
        view.put(trial(8, State::Paused, &law(0.8, 0.5, 9), 1.0));
        let mut scheduler = Forecast::new(9, 3.0);
        let next = |view: &View, scheduler: &mut Forecast, left| {
            let mut view = view.clone();
            view.seconds_left = left;
            scheduler.next(&view)
        };
        assert_eq!(next(&view, &mut scheduler, Some(10.0)), Next::Thaw(8));
        // While there is time the rungs decide: the promising trial went on, and a new one begins.
        let mut went_on = trial(8, State::Running, &law(0.8, 0.5, 9), 1.0);
        went_on.epoch = 2;
        view.put(went_on);
        assert_eq!(next(&view, &mut scheduler, Some(1000.0)), Next::Start);
        assert_eq!(next(&view, &mut scheduler, None), Next::Start);
    }
}
