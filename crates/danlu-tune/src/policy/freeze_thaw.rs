//! The default policy: every step goes where it is most likely to pay.

use super::{Action, Policy};
use crate::curve::{Belief, Curves, FLOOR, Partial, Scale};
use crate::gp::{Data, Gp, Kernel};
use crate::normal;
use crate::sampler::{Prior, Random, Sampler, Tpe};
use crate::scheduler::{Verdict, first_rung, rungs};
use crate::space::Values;
use crate::trial::{State, Trial};
use crate::view::View;
use danlu_rng::Stream;

/// Freeze and thaw (after Swersky et al. 2014, DyHPO 2022, ifBO 2024).
pub struct FreezeThaw {
    /// Steps of the first rung; 0 for [`first_rung`] of the study. First epochs mislead: with rungs of 1, 1.6, 2.6, ... steps the regret on LCBench
    /// was .37 after 20 full trainings (20 seeds), with 3, 6, 12, ... it was .07 (10 other seeds); see docs/guide/tuning.md.
    pub first: u64,
    /// Ratio of neighbouring rungs.
    pub eta: f64,
    /// Trials before the model decides.
    pub startup: usize,
    /// At most so many trials stand in the Gaussian process.
    pub limit: usize,
    /// Names the random numbers of verdicts; two workers need two.
    pub seed: u64,
    sampler: Prior<Tpe>,
    kernel: Option<Kernel>,
    fitted: usize,
    rungs: Vec<u64>,
    pending: Option<(usize, u64, Action)>,
    scratch: Vec<f64>,
}

impl Default for FreezeThaw {
    fn default() -> Self {
        FreezeThaw {
            first: 0,
            eta: 2.0,
            startup: 5,
            limit: 250,
            seed: 0,
            sampler: Prior::new(Tpe::default()),
            kernel: None,
            fitted: 0,
            rungs: Vec::new(),
            pending: None,
            scratch: Vec::new(),
        }
    }
}

impl FreezeThaw {
    /// The default settings, with a seed.
    pub fn new(seed: u64) -> Self {
        FreezeThaw { seed, ..FreezeThaw::default() }
    }
}

/// A paused trial and what is believed of it.
struct Candidate {
    number: u64,
    partial: Partial,
    last: Belief,
    steps: u64,
}

impl FreezeThaw {
    fn set_rungs(&mut self, view: &View) {
        if self.rungs.is_empty() {
            let first = if self.first == 0 { first_rung(view.max_steps) } else { self.first };
            self.rungs = rungs(first, self.eta, view.max_steps);
        }
    }

    fn decide(&mut self, view: &View, rng: &mut Stream, also: Option<u64>) -> Action {
        self.set_rungs(view);
        let started = view.trials().len() - view.in_state(State::Waiting).len();
        if started < self.startup {
            return self.start(view, rng);
        }
        let scale = Scale::new(view.trials().iter().filter_map(|t| t.last()).map(|r| view.loss(r.value)));
        let scores = |t: &Trial| -> Vec<f64> {
            let reached = self.rungs.iter().take_while(|&&r| t.steps() >= r);
            reached.map(|&r| scale.score(t.value_at(r).map_or(f64::INFINITY, |v| view.loss(v)))).collect()
        };
        let all: Vec<Vec<f64>> = view.trials().iter().map(scores).collect();
        let curves = Curves::fit(self.rungs.len(), &all);
        let last = self.rungs.len() - 1;
        let partial = |scores: &[f64]| {
            let rung = scores.len().checked_sub(1)?;
            let gain = if rung > 0 { scores[rung] - scores[rung - 1] } else { 0.0 };
            Some(Partial { rung, score: scores[rung], gain })
        };
        let mut order: Vec<(f64, usize, Option<Partial>, Belief)> = Vec::new();
        for (i, trial) in view.trials().iter().enumerate() {
            if trial.values.iter().all(Option::is_none) {
                continue;
            }
            let p = partial(&all[i]);
            let belief = match (trial.state, p) {
                (State::Waiting, _) => continue,
                (State::Failed, _) => Belief { mean: FLOOR, variance: 0.01 },
                (_, Some(p)) => curves.predict(p, last),
                (_, None) => Belief { mean: 0.0, variance: 0.25 },
            };
            order.push((belief.mean, i, p, belief));
        }
        order.sort_by(|a, b| b.0.total_cmp(&a.0));
        if order.len() > self.limit {
            // The better half of the limit whole, the rest thinned out evenly.
            let half = self.limit / 2;
            let rest = order.split_off(half);
            let stride = rest.len() as f64 / (self.limit - half) as f64;
            order.extend((0..self.limit - half).map(|k| rest[(k as f64 * stride) as usize]));
        }
        let mut data = Data { columns: view.space.columns().len(), ..Data::default() };
        let mut row = Vec::new();
        for &(_, i, _, belief) in &order {
            view.space.embed(&view.trials()[i].values, &mut row);
            data.x.extend_from_slice(&row);
            data.y.push(belief.mean);
            data.noise.push(belief.variance);
        }
        let kernel = self.kernel.get_or_insert_with(|| Kernel::start(data.columns));
        if self.fitted == 0 || order.len() as f64 > self.fitted as f64 * 1.15 {
            self.fitted = order.len();
            let mut some = data.clone();
            if some.len() > 120 {
                some.x.truncate(120 * some.columns);
                some.y.truncate(120);
                some.noise.truncate(120);
            }
            kernel.fit(&some, if order.len() < 10 { 15 } else { 25 });
        }
        let Some(gp) = Gp::new(data, kernel) else { return self.start(view, rng) };

        // The question of ifBO: which candidate most likely beats the best by a random margin within a random number of steps?
        let incumbent = view.best_observed_loss().map_or(0.0, |l| scale.score(l));
        let margin = 10f64.powf(rng.uniform_in(-3.0, -0.7));
        let target = incumbent + margin;
        let horizon = 1 + rng.below(view.max_steps);
        let rung_of = |steps: u64| self.rungs.iter().position(|&r| r >= steps).unwrap_or(last);

        let mut candidates = Vec::new();
        for &(_, i, p, belief) in &order {
            let trial = &view.trials()[i];
            if (trial.state == State::Paused || also == Some(trial.number))
                && trial.steps() < view.max_steps
                && let Some(partial) = p
            {
                candidates.push(Candidate {
                    number: trial.number,
                    partial,
                    last: belief,
                    steps: trial.steps(),
                });
            }
        }
        let mut best = (f64::NEG_INFINITY, None);
        for c in &candidates {
            view.space.embed(&view.trials()[c.number as usize].values, &mut row);
            let (mean, variance) = gp.predict(&row, &mut self.scratch);
            let to = rung_of((c.steps + horizon).min(view.max_steps)).max(c.partial.rung + 1).min(last);
            let there = curves.predict(c.partial, to);
            let share = (there.variance / c.last.variance.max(1e-9)).min(1.0);
            let mean = there.mean + share * (mean - c.last.mean);
            let shrunk = (variance / c.last.variance.max(1e-9)).min(1.0);
            let variance = there.variance * (1.0 - share * (1.0 - shrunk));
            let z = (mean - target) / variance.sqrt().max(1e-6);
            if z > best.0 {
                best = (z, Some(c.number));
            }
        }
        // How far below its end a good trial is at the horizon.
        let to = rung_of(horizon.min(view.max_steps));
        let (mut gap, mut gap_variance) = (0.0, 0.0);
        if to < last {
            let mut seen: Vec<f64> = Vec::new();
            let mut variances = 0.0;
            let mut top: Vec<(f64, Partial)> = order
                .iter()
                .filter(|o| all[o.1].len() > to)
                .map(|o| {
                    let s = &all[o.1];
                    let gain = if to > 0 { s[to] - s[to - 1] } else { 0.0 };
                    (s[to], Partial { rung: to, score: s[to], gain })
                })
                .collect();
            top.sort_by(|a, b| b.0.total_cmp(&a.0));
            top.truncate((top.len() / 2).max(1));
            for (score, p) in &top {
                let end = curves.predict(*p, last);
                seen.push(end.mean - score);
                variances += end.variance;
            }
            if seen.is_empty() {
                (gap, gap_variance) = (0.2, 0.1);
            } else {
                gap = seen.iter().sum::<f64>() / seen.len() as f64;
                gap_variance = variances / seen.len() as f64;
            }
        }
        let mut fresh: Option<(f64, Values)> = None;
        let leaders: Vec<usize> = order.iter().take(5).map(|o| o.1).collect();
        let noise_gap = gap_variance;
        let mut consider = |values: Values, scratch: &mut Vec<f64>, row: &mut Vec<f64>| {
            view.space.embed(&values, row);
            let (mean, variance) = gp.predict(row, scratch);
            let z = (mean - gap - target) / (variance + noise_gap).sqrt();
            if fresh.as_ref().is_none_or(|f| z > f.0) {
                fresh = Some((z, values));
            }
        };
        for _ in 0..150 {
            consider(Random::draw(&view.space, rng), &mut self.scratch, &mut row);
        }
        for &i in &leaders {
            for k in 0..24 {
                let width = [0.2, 0.1, 0.05][k % 3];
                let values = nearby(view, &view.trials()[i].values, width, rng);
                consider(values, &mut self.scratch, &mut row);
            }
        }
        match (best, fresh) {
            ((z, Some(number)), Some((f, _))) if z >= f => Action::Thaw(number),
            (_, Some((_, values))) => Action::Start(values),
            ((_, Some(number)), None) => Action::Thaw(number),
            _ => Action::Wait,
        }
    }

    fn start(&mut self, view: &View, rng: &mut Stream) -> Action {
        self.sampler.sample(view, rng).map_or(Action::Wait, Action::Start)
    }
}

/// Some parameters changed a little, the others kept.
fn nearby(view: &View, centre: &[Option<f64>], width: f64, rng: &mut Stream) -> Values {
    let active = centre.iter().flatten().count().max(1);
    let chance = (2.0 / active as f64).max(0.3);
    view.space.fill(|i, domain, _| match centre[i] {
        Some(value) if !rng.chance(chance) => value,
        Some(value) if !domain.is_categorical() => {
            domain.from_unit(normal::truncated(domain.to_unit(value), width, rng))
        }
        _ => domain.from_unit(rng.uniform()),
    })
}

impl Policy for FreezeThaw {
    fn next(&mut self, view: &View, rng: &mut Stream) -> Action {
        if let Some((length, number, action)) = self.pending.take() {
            let only_its_pause =
                view.log().len() <= length + 2 && view.log()[length..].iter().all(|&n| n == number);
            if only_its_pause {
                return action;
            }
        }
        self.decide(view, rng, None)
    }

    fn verdict(&mut self, view: &View, number: u64) -> Verdict {
        self.set_rungs(view);
        let Some(trial) = view.trial(number) else { return Verdict::Continue };
        if !self.rungs.contains(&trial.steps()) {
            return Verdict::Continue;
        }
        let mut rng = Stream::new(self.seed, danlu_rng::Purpose::Sampler, 1 << 40 | number, trial.steps());
        let action = self.decide(view, &mut rng, Some(number));
        if action == Action::Thaw(number) {
            return Verdict::Continue;
        }
        self.pending = Some((view.log().len(), number, action));
        Verdict::Pause
    }
}
