//! `--tui`: a training as a full screen, with its curves. Ctrl-C stops it as ever, since the terminal stays in its usual mode.

use std::io::{IsTerminal, Stderr, Write};
use std::time::{Duration, Instant};

use danlu::train::{EpochEvent, IterationProgress, Observer, Speed};
use ratatui::backend::{Backend, CrosstermBackend};
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::Marker;
use ratatui::text::Line;
use ratatui::widgets::{Axis, Block, Chart, Dataset, Gauge, GraphType, Paragraph};
use ratatui::{Frame, Terminal};

use crate::terminal::{colour, duration, short};

/// Between two drawings: more is not seen, and drawing takes time from the training.
const EVERY: Duration = Duration::from_millis(200);
/// Lines of messages that are kept.
const KEPT: usize = 200;

/// What is on the screen.
#[derive(Default)]
struct Screen {
    now: Option<IterationProgress>,
    validating: Option<(usize, usize)>,
    /// `(epoch, value)`: training and validation loss, training and validation top-1 in percent.
    curves: [Vec<(f64, f64)>; 4],
    epochs: usize,
    best: Option<(usize, f64)>,
    messages: Vec<String>,
    plain: bool,
}

impl Screen {
    fn message(&mut self, text: String) {
        self.messages.extend(text.lines().map(str::to_owned));
        let surplus = self.messages.len().saturating_sub(KEPT);
        self.messages.drain(..surplus);
    }

    fn epoch(&mut self, epoch: &EpochEvent, epochs: usize) {
        let x = epoch.epoch as f64;
        self.epochs = epochs;
        self.validating = None;
        self.curves[0].push((x, epoch.train_loss));
        self.curves[1].push((x, epoch.val.loss));
        self.curves[2].extend(epoch.train_top1.map(|top1| (x, 100.0 * top1)));
        self.curves[3].push((x, 100.0 * epoch.val.top1));
        if epoch.best {
            self.best = Some((epoch.epoch, epoch.val.top1));
        }
    }

    fn color(&self, color: Color) -> Style {
        if self.plain { Style::default() } else { Style::default().fg(color) }
    }

    fn draw(&self, frame: &mut Frame<'_>) {
        let lines = if frame.area().height > 30 { 8 } else { 4 };
        let [head, gauge, curves, messages] = Layout::vertical([
            Constraint::Length(2),
            Constraint::Length(1),
            Constraint::Min(6),
            Constraint::Length(lines),
        ])
        .areas(frame.area());
        frame.render_widget(Paragraph::new(self.head()), head);
        let (ratio, label) = self.done();
        frame.render_widget(
            Gauge::default().ratio(ratio).label(label).gauge_style(self.color(Color::Blue)),
            gauge,
        );
        let [left, right] =
            Layout::horizontal([Constraint::Percentage(50), Constraint::Percentage(50)]).areas(curves);
        self.chart(frame, left, "loss (nats)", &self.curves[0], &self.curves[1]);
        self.chart(frame, right, "top-1 (%)", &self.curves[2], &self.curves[3]);
        let room = messages.height.saturating_sub(1) as usize;
        let last = self.messages.len().saturating_sub(room);
        let text: Vec<Line<'_>> =
            self.messages[last..].iter().map(|text| Line::from(text.as_str())).collect();
        frame.render_widget(Paragraph::new(text).block(Block::new().title("messages")), messages);
    }

    fn head(&self) -> Vec<Line<'static>> {
        let Some(now) = &self.now else { return vec![Line::from("danlu: looking at the data")] };
        let best = self
            .best
            .map_or(String::new(), |(epoch, top1)| format!("   best {:.2} % at epoch {epoch}", 100.0 * top1));
        let top1 = now.top1.map_or(String::new(), |top1| format!("   top-1 {:.1} %", 100.0 * top1));
        vec![
            Line::styled(
                format!(
                    "danlu   epoch {} of {}   ETA {}{best}",
                    now.epoch + 1,
                    now.epochs,
                    duration(now.eta)
                ),
                Style::default().add_modifier(Modifier::BOLD),
            ),
            Line::from(format!(
                "loss {:.4}{top1}   lr {}   {:.0} img/s   waiting for data {:.1} %   Ctrl-C stops with a checkpoint",
                now.loss,
                short(now.lr),
                now.speed.images_per_second,
                100.0 * now.speed.data_wait
            )),
        ]
    }

    fn done(&self) -> (f64, String) {
        let share = |done: usize, of: usize| (done as f64 / of.max(1) as f64).clamp(0.0, 1.0);
        if let Some((done, total)) = self.validating {
            return (share(done, total), format!("validating {done}/{total}"));
        }
        match &self.now {
            Some(now) => (
                share(now.iteration, now.iterations_per_epoch),
                format!("update {}/{}", now.iteration, now.iterations_per_epoch),
            ),
            None => (0.0, String::new()),
        }
    }

    fn chart(
        &self,
        frame: &mut Frame<'_>,
        area: Rect,
        title: &str,
        train: &[(f64, f64)],
        val: &[(f64, f64)],
    ) {
        let values = train.iter().chain(val).map(|point| point.1).filter(|value| value.is_finite());
        let (low, high) =
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
        // One value, or none, still needs an axis.
        let (low, high) = if low < high {
            (low, high)
        } else if low.is_finite() {
            (low - 0.5, high + 0.5)
        } else {
            (0.0, 1.0)
        };
        let line = |name: &'static str, color, points| {
            Dataset::default()
                .name(name)
                .marker(Marker::Braille)
                .graph_type(GraphType::Line)
                .style(self.color(color))
                .data(points)
        };
        let last = self.epochs.max(2);
        let chart =
            Chart::new(vec![line("train", Color::Blue, train), line("validation", Color::Yellow, val)])
                // By default the names of the lines vanish where they take a quarter of the width.
                .hidden_legend_constraints((Constraint::Ratio(1, 2), Constraint::Ratio(1, 2)))
                .block(Block::bordered().title(title.to_owned()))
                .x_axis(
                    Axis::default()
                        .title("epoch")
                        .bounds([1.0, last as f64])
                        .labels(["1".to_owned(), last.to_string()]),
                )
                .y_axis(Axis::default().bounds([low, high]).labels([short(low), short(high)]));
        frame.render_widget(chart, area);
    }
}

/// A training on the whole terminal.
pub(crate) struct Tui {
    screen: Screen,
    terminal: Terminal<CrosstermBackend<Stderr>>,
    drawn: Option<Instant>,
    warnings: Vec<String>,
}

impl Tui {
    /// Takes the terminal; none where stderr is none.
    ///
    /// # Errors
    /// What the terminal says.
    pub(crate) fn new() -> std::io::Result<Option<Self>> {
        if !std::io::stderr().is_terminal() {
            return Ok(None);
        }
        let terminal = Terminal::new(CrosstermBackend::new(std::io::stderr()))?;
        execute!(std::io::stderr(), EnterAlternateScreen, Hide)?;
        let screen = Screen { plain: !colour(), ..Screen::default() };
        let mut tui = Tui { screen, terminal, drawn: None, warnings: Vec::new() };
        tui.draw(true);
        Ok(Some(tui))
    }

    fn draw(&mut self, now: bool) {
        if now || self.drawn.is_none_or(|drawn| drawn.elapsed() >= EVERY) {
            show(&mut self.terminal, &self.screen);
            self.drawn = Some(Instant::now());
        }
    }
}

/// A terminal that cannot be written to must not end a training.
fn show<B: Backend>(terminal: &mut Terminal<B>, screen: &Screen) {
    let _ = terminal.draw(|frame| screen.draw(frame));
}

impl Observer for Tui {
    fn say(&mut self, message: &str) {
        self.screen.message(message.to_owned());
        self.draw(true);
    }

    fn warn(&mut self, message: &str) {
        self.warnings.push(message.to_owned());
        self.screen.message(format!("warning: {message}"));
        self.draw(true);
    }

    fn iteration(&mut self, progress: &IterationProgress) {
        self.screen.epochs = progress.epochs;
        self.screen.validating = None;
        self.screen.now = Some(progress.clone());
        self.draw(false);
    }

    fn validating(&mut self, done: usize, total: usize) {
        self.screen.validating = Some((done, total));
        self.draw(false);
    }

    fn epoch(&mut self, epoch: &EpochEvent, epochs: usize, _: &Speed) {
        self.screen.epoch(epoch, epochs);
        self.draw(true);
    }
}

impl Drop for Tui {
    fn drop(&mut self) {
        let mut err = std::io::stderr();
        let _ = execute!(err, LeaveAlternateScreen, Show);
        // The other screen is gone with what stood on it; a warning must not be.
        for warning in &self.warnings {
            let _ = writeln!(err, "warning: {warning}");
        }
    }
}

#[cfg(test)]
mod tests {
    use danlu::train::Metrics;
    use ratatui::backend::TestBackend;

    use super::*;

    fn shown(screen: &Screen, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal in memory");
        show(&mut terminal, screen);
        terminal.backend().to_string()
    }

    fn epoch(number: usize, loss: f64, top1: f64) -> EpochEvent {
        EpochEvent {
            epoch: number,
            iteration: 10 * number as u64,
            train_loss: loss,
            train_top1: Some(top1),
            val: Metrics {
                samples: 100,
                loss: loss + 0.1,
                top1,
                top5: None,
                macro_f1: top1,
                per_class: Vec::new(),
            },
            ema: false,
            lr: vec![0.1],
            best: true,
        }
    }

    #[test]
    fn a_screen_shows_where_the_training_stands_and_its_curves() {
        let mut screen = Screen { plain: true, ..Screen::default() };
        assert!(shown(&screen, 100, 30).contains("looking at the data"));
        screen.message("resnet18 on 10 classes".to_owned());
        (1..=4).for_each(|n| screen.epoch(&epoch(n, 2.0 / n as f64, 0.2 * n as f64), 5));
        screen.now = Some(IterationProgress {
            epoch: 4,
            epochs: 5,
            iteration: 3,
            iterations_per_epoch: 10,
            loss: 0.4321,
            top1: Some(0.85),
            lr: 0.05,
            speed: Speed { images_per_second: 1234.0, data_wait: 0.015 },
            eta: Duration::from_secs(185),
        });
        let text = shown(&screen, 100, 30);
        for part in [
            "epoch 5 of 5   ETA 3 min 5 s   best 80.00 % at epoch 4",
            "loss 0.4321   top-1 85.0 %   lr 0.05   1234 img/s   waiting for data 1.5 %",
            "update 3/10",
            "loss (nats)",
            "top-1 (%)",
            "validation",
            "resnet18 on 10 classes",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        let dots = text.chars().filter(|c| ('\u{2801}'..='\u{28ff}').contains(c)).count();
        assert!(dots > 40, "the curves are drawn: {dots} characters\n{text}");
        screen.validating = Some((20, 80));
        assert!(shown(&screen, 100, 30).contains("validating 20/80"));
    }

    #[test]
    fn no_size_and_no_value_breaks_the_screen() {
        let mut screen = Screen::default();
        screen.epoch(&epoch(1, f64::NAN, 0.1), 1);
        screen.epoch(&epoch(2, f64::INFINITY, 0.1), 1);
        for (width, height) in [(1, 1), (7, 3), (20, 8), (80, 24), (300, 90)] {
            shown(&screen, width, height);
        }
    }
}
