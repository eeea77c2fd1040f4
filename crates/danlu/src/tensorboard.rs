//! TensorBoard event files of a training, for those who have TensorBoard open anyway (`train.tensorboard = true`).
//!
//! They are written at the end of every epoch from `events.jsonl` and the weights on the disk, so they cost the training nothing
//! in between, and hold the same numbers. A resume cuts them back to its checkpoint. The run never depends on them: where they
//! cannot be written that is said once, and the training goes on.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use danlu_recipe::Recipe;
use danlu_train::{EpochEvent, Event, IterationProgress, Observer, RunFolder, Speed, read_events};
use danlu_view::tensorboard::{EventWriter, HParam};
use danlu_view::{Histogram, Look, PngOptions, ViewError, filters};
use danlu_weights::read_state_dict;

type Writer = EventWriter<std::io::BufWriter<std::fs::File>>;

/// Bins of a histogram: TensorBoard itself shows 30.
const BINS: usize = 30;

/// Passes everything on to another observer, and writes TensorBoard's files where the recipe asks for them.
pub struct TensorBoard<'a> {
    inner: &'a mut dyn Observer,
    state: Option<State>,
}

#[derive(Debug)]
struct State {
    run: RunFolder,
    writer: Writer,
    /// Updates whose events are in the file.
    written: u64,
}

impl<'a> TensorBoard<'a> {
    /// Watches the same training as `inner`.
    pub fn new(inner: &'a mut dyn Observer) -> Self {
        TensorBoard { inner, state: None }
    }

    /// `write` is given the state; after a failure there is none, and the user knows.
    fn attempt(&mut self, write: impl FnOnce(&mut State) -> Result<(), String>) {
        if let Some(state) = &mut self.state
            && let Err(problem) = write(state)
        {
            self.inner.warn(&format!("TensorBoard's files end here: {problem}"));
            self.state = None;
        }
    }
}

impl Observer for TensorBoard<'_> {
    fn say(&mut self, message: &str) {
        self.inner.say(message);
    }

    fn warn(&mut self, message: &str) {
        self.inner.warn(message);
    }

    fn started(&mut self, run: &RunFolder, recipe: &Recipe, iteration: u64) {
        if recipe.train.tensorboard {
            match State::open(run, recipe, iteration) {
                Ok(state) => self.state = Some(state),
                Err(error) => self.inner.warn(&format!("no files for TensorBoard: {error}")),
            }
        }
        self.inner.started(run, recipe, iteration);
    }

    fn iteration(&mut self, progress: &IterationProgress) {
        self.inner.iteration(progress);
    }

    fn validating(&mut self, done: usize, total: usize) {
        self.inner.validating(done, total);
    }

    fn epoch(&mut self, epoch: &EpochEvent, epochs: usize, speed: &Speed) {
        self.attempt(|state| state.epoch());
        self.inner.epoch(epoch, epochs, speed);
    }
}

impl State {
    fn open(run: &RunFolder, recipe: &Recipe, iteration: u64) -> Result<Self, ViewError> {
        let (writer, written) = match event_file(run.path()) {
            Some(path) => {
                let (writer, last) = EventWriter::resume_after(&path, iteration as i64)?;
                (writer, last.unwrap_or(0).max(0) as u64)
            }
            None => {
                let (mut writer, _) = EventWriter::create(run.path(), now(), "danlu")?;
                writer.hparams(now(), &hparams(recipe))?;
                (writer, 0)
            }
        };
        Ok(State { run: run.clone(), writer, written })
    }

    fn epoch(&mut self) -> Result<(), String> {
        let events = read_events(&self.run.events()).map_err(|error| error.to_string())?;
        let (time, from) = (now(), self.written);
        for event in &events {
            self.event(event, from, time).map_err(|error| error.to_string())?;
        }
        let weights = read_state_dict(&self.run.last_weights()).map_err(|error| error.to_string())?;
        self.weights(&weights.state, time).map_err(|error| error.to_string())
    }

    /// Writes what comes after update `from`.
    fn event(&mut self, event: &Event, from: u64, time: f64) -> Result<(), ViewError> {
        match event {
            Event::Iteration { iteration, loss, top1, lr, grad_norm, .. } if *iteration > from => {
                let step = *iteration as i64;
                self.scalar("iteration/loss", step, time, *loss)?;
                if let Some(top1) = top1 {
                    self.scalar("iteration/top1", step, time, *top1)?;
                }
                self.scalar("iteration/grad_norm", step, time, *grad_norm)?;
                for (group, lr) in lr.iter().enumerate() {
                    self.scalar(&format!("lr/group_{group}"), step, time, *lr)?;
                }
                self.written = *iteration;
            }
            Event::Epoch(epoch) if epoch.iteration > from => {
                let step = epoch.iteration as i64;
                self.scalar("epoch/train_loss", step, time, epoch.train_loss)?;
                if let Some(top1) = epoch.train_top1 {
                    self.scalar("epoch/train_top1", step, time, top1)?;
                }
                self.scalar("epoch/val_loss", step, time, epoch.val.loss)?;
                self.scalar("epoch/val_top1", step, time, epoch.val.top1)?;
                self.scalar("epoch/val_macro_f1", step, time, epoch.val.macro_f1)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn scalar(&mut self, tag: &str, step: i64, time: f64, value: f64) -> Result<(), ViewError> {
        self.writer.scalar(tag, step, time, value as f32)
    }

    fn weights(&mut self, state: &danlu_nn::StateDict, time: f64) -> Result<(), ViewError> {
        let step = self.written as i64;
        let mut first = true;
        for (name, tensor) in state.iter().filter(|(_, tensor)| matches!(tensor.shape.len(), 2 | 4)) {
            if let Ok(histogram) = Histogram::new(&tensor.data, BINS) {
                self.writer.histogram(&format!("weights/{name}"), step, time, &histogram)?;
            }
            if let (true, &[o, i, h, w]) = (std::mem::take(&mut first), &tensor.shape[..]) {
                let svg = filters(name, &tensor.data, [o, i, h, w], 64, &Look::default())?;
                self.writer.image("filters", step, time, &svg.to_bitmap(&PngOptions::default())?)?;
            }
        }
        self.writer.flush()
    }
}

/// The event file of a run, if it has one.
fn event_file(run: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(run).ok()?;
    let is_one = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("events.out.tfevents."))
    };
    entries.flatten().map(|entry| entry.path()).find(is_one)
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |elapsed| elapsed.as_secs_f64())
}

/// Every single value of the recipe under its key.
fn hparams(recipe: &Recipe) -> Vec<(String, HParam)> {
    fn walk(prefix: &str, value: &serde_json::Value, out: &mut Vec<(String, HParam)>) {
        let found = match value {
            serde_json::Value::Object(map) => {
                for (key, value) in map {
                    let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                    walk(&path, value, out);
                }
                return;
            }
            serde_json::Value::Number(number) => HParam::Number(number.as_f64().unwrap_or(f64::NAN)),
            serde_json::Value::String(text) => HParam::Text(text.clone()),
            serde_json::Value::Bool(yes) => HParam::Bool(*yes),
            serde_json::Value::Array(_) | serde_json::Value::Null => return,
        };
        out.push((prefix.to_owned(), found));
    }
    let mut out = Vec::new();
    walk("", &serde_json::to_value(recipe).unwrap_or_default(), &mut out);
    out
}
