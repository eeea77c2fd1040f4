//! What a study is doing: a live table on a terminal, a line an event elsewhere. On stderr.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use danlu::tune::Metric;
use danlu::tuner::store::Outcome;
use danlu::tuner::worker::Event;
use danlu::tuner::{State, Trial, View};
use danlu::view::terminal::sparkline;

use crate::terminal::duration;

/// Rows of the live table.
const ROWS: usize = 8;

pub(crate) struct StudyTable {
    quiet: bool,
    metric: Metric,
    max_steps: u64,
    begun: Instant,
    /// Lines that stand on the terminal, and when they were drawn.
    drawn: Mutex<(usize, Option<Instant>)>,
}

impl StudyTable {
    pub(crate) fn new(quiet: bool, metric: Metric, max_steps: u64) -> Self {
        StudyTable { quiet, metric, max_steps, begun: Instant::now(), drawn: Mutex::new((0, None)) }
    }

    /// Shows what happened.
    pub(crate) fn show(&self, event: &Event, view: &View) {
        if self.quiet {
            return;
        }
        let mut drawn = self.drawn.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if std::io::stderr().is_terminal() {
            let due = drawn.1.is_none_or(|at| at.elapsed() > Duration::from_millis(150));
            if due || !matches!(event, Event::Reported(..)) {
                let lines = self.table(view);
                let up = if drawn.0 > 0 { format!("\x1b[{}A\x1b[J", drawn.0) } else { String::new() };
                eprintln!("{up}{}", lines.join("\n"));
                *drawn = (lines.len(), Some(Instant::now()));
            }
            return;
        }
        if let Some(line) = self.line(event, view) {
            eprintln!("{line}");
        }
    }

    fn line(&self, event: &Event, view: &View) -> Option<String> {
        let values = |trial: &Trial| {
            let all = view.space.to_external(&trial.values);
            all.iter().map(|(name, value)| format!("{name} = {value}")).collect::<Vec<_>>().join(", ")
        };
        Some(match event {
            Event::Run(trial) if trial.steps() == 0 => format!("trial {}: {}", trial.number, values(trial)),
            Event::Run(trial) => format!("trial {} goes on after epoch {}", trial.number, trial.steps()),
            Event::Reported(number, report) => format!(
                "trial {number}  epoch {}/{}  {} {}",
                report.step,
                self.max_steps,
                self.metric.name(),
                self.metric.show(report.value)
            ),
            Event::Paused(number) => format!("trial {number} is paused"),
            Event::Released(number) => format!("trial {number} is checkpointed"),
            Event::Ended(number, Outcome::Complete(value)) => {
                format!("trial {number} is complete: {}", self.metric.show(*value))
            }
            Event::Ended(number, Outcome::Pruned) => format!("trial {number} is given up"),
            Event::Ended(number, Outcome::Failed(error)) => format!("trial {number} failed: {error}"),
            Event::Lost(number) => format!("trial {number} was taken over by another worker"),
        })
    }

    fn table(&self, view: &View) -> Vec<String> {
        let count = |state| view.in_state(state).len();
        let epochs: u64 = view.trials().iter().map(Trial::steps).sum();
        let left = view.seconds_left.map_or(String::new(), |left| {
            format!(", {} left", duration(Duration::from_secs_f64(left.max(0.0))))
        });
        let mut lines = vec![format!(
            "{} trials: {} running, {} paused, {} complete, {} failed; {epochs} epochs in {}{left}",
            view.trials().len(),
            count(State::Running),
            count(State::Paused) + count(State::Released),
            count(State::Complete),
            count(State::Failed),
            duration(self.begun.elapsed())
        )];
        let best =
            |trial: &Trial| trial.curve.iter().map(|r| view.loss(r.value)).fold(f64::INFINITY, f64::min);
        let mut order: Vec<&Trial> = view.trials().iter().filter(|t| !t.curve.is_empty()).collect();
        order.sort_by(|a, b| best(a).total_cmp(&best(b)));
        for trial in order.into_iter().take(ROWS) {
            let curve: Vec<f64> = trial.curve.iter().map(|r| r.value).collect();
            let state = match trial.state {
                // Set aside by the end of a session: for a reader it is paused like the others.
                State::Released => "paused".to_owned(),
                state => format!("{state:?}").to_lowercase(),
            };
            let shown = curve
                .iter()
                .copied()
                .min_by(|a, b| view.loss(*a).total_cmp(&view.loss(*b)))
                .unwrap_or(f64::NAN);
            lines.push(format!(
                "  trial {:>4}  {:>10}  {:>3}/{}  {:<9} {}",
                trial.number,
                self.metric.show(shown),
                trial.steps(),
                self.max_steps,
                state,
                sparkline(&curve, 24, true)
            ));
        }
        lines
    }
}
