//! The training loop: epochs of iterations, each one batch (or `accumulate` of them) and one update.

use std::time::{Duration, Instant};

use danlu_data::{Batch, Part};
use danlu_nn::{Images, Input, Mix, ParamKind, StepContext, Targets, WeightSet};
use danlu_recipe::Origin;
use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::evaluate::evaluate;
use crate::events::{EVENTS_FORMAT, EpochEvent, Event};
use crate::journal::JournalEntry;
use crate::metrics::{Metrics, argmax};
use crate::prepare::{Prepared, TrainRequest};
use crate::progress::{BestSoFar, IterationProgress, Observer, Speed, StopFlag};
use crate::run_folder::{RunFolder, RunInfo, to_json};
use crate::selection;
use crate::session::{Session, arithmetic};
use crate::suspects;

/// The outcome of a training (`result.json`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// Epochs completed.
    pub epochs: usize,
    /// Updates completed.
    pub iterations: u64,
    /// The epoch, counted from 1, whose weights are `weights/best.safetensors`.
    pub best_epoch: usize,
    /// Validation metrics of that epoch.
    pub val: Metrics,
    /// `finished` or `early_stop`.
    pub reason: String,
}

/// Where a run is created.
#[derive(Clone, Debug)]
pub struct Destination {
    /// Folder of the runs.
    pub runs: std::path::PathBuf,
    /// Name of the run; without one the data set's name and a number.
    pub name: Option<String>,
}

const METRICS_HEADER: &str =
    "epoch,iteration,train_loss,train_top1,val_loss,val_top1,val_top5,val_macro_f1,lr,best";

/// Trains from scratch in a new run folder.
///
/// # Errors
/// Whatever stops the training; [`TrainError::Interrupted`] when `stop` was set, after a checkpoint.
pub fn train(
    request: &TrainRequest,
    destination: &Destination,
    observer: &mut dyn Observer,
    stop: &StopFlag,
) -> Result<(RunFolder, RunResult), TrainError> {
    let started = Instant::now();
    let prepared = Prepared::observed(request, observer)?;
    tell(&prepared, observer);
    let stem =
        request.data.file_stem().and_then(|stem| stem.to_str()).unwrap_or("run").trim_start_matches('.');
    let stem = if stem.is_empty() { "run" } else { stem };
    let info = RunInfo {
        danlu: env!("CARGO_PKG_VERSION").to_owned(),
        data: absolute(&request.data),
        fingerprint: prepared.dataset.fingerprint.clone(),
        classes: prepared.dataset.classes.clone(),
        channels: prepared.dataset.channels,
        mean: prepared.stats.mean.clone(),
        std: prepared.stats.std.clone(),
        arithmetic: arithmetic(),
        command: request.command.clone(),
        choices: prepared.choice_infos(),
    };
    let name = destination.name.as_deref();
    let run = RunFolder::create(&destination.runs, name, stem, &prepared.recipe.to_toml(), &info)?;
    let folder = run.path().to_path_buf();
    let (mut session, _) = Session::open(run, &prepared).inspect_err(|_| {
        // A recipe that does not fit its data or network leaves no run behind: nothing of it was trained. What cannot be
        // removed is an empty run, which the error that is passed on explains.
        let _ = std::fs::remove_dir_all(&folder);
    })?;
    observer.say(&format!("run folder: {}", folder.display()));
    if prepared.initial.is_some() {
        // From here on a resume needs the file that the weights came from no more.
        session.write_checkpoint()?;
    }
    let seconds_to_first_step = started.elapsed().as_secs_f64();
    session.journal.write(JournalEntry::Start { threads: threads(&session), seconds_to_first_step })?;
    session.run_to_the_end(observer, stop)
}

/// Goes on with a run after Ctrl-C, a kill or a power cut.
///
/// # Errors
/// [`TrainError::Finished`]; [`TrainError::DataChanged`]; else as [`train`].
pub fn resume(
    run: RunFolder,
    observer: &mut dyn Observer,
    stop: &StopFlag,
) -> Result<(RunFolder, RunResult), TrainError> {
    if run.result().exists() {
        let result = read_result(&run)?;
        return Err(TrainError::Finished { path: run.path().to_path_buf(), epochs: result.epochs });
    }
    let info = run.info()?;
    let prepared = prepared_of(&run, &info)?;
    let (mut session, from_checkpoint) = Session::open(run, &prepared)?;
    let iteration = session.position.iteration;
    let exact = session.position.made_by == arithmetic();
    if from_checkpoint {
        observer.say(&format!("going on after iteration {iteration} (epoch {})", session.position.epoch + 1));
    } else {
        observer.say("no checkpoint was written yet: starting over");
    }
    if !exact {
        observer.warn(&format!(
            "the checkpoint was made by {} and this is {}: the result will not be byte-equal to an uninterrupted run",
            session.position.made_by,
            arithmetic()
        ));
        session.position.made_by = arithmetic();
    }
    session.journal.write(JournalEntry::Resume { threads: threads(&session), iteration, exact })?;
    session.run_to_the_end(observer, stop)
}

/// Opens the data of a run with the run's own recipe and checks that they are the same.
///
/// # Errors
/// [`TrainError::DataChanged`]; else whatever is wrong with data or recipe.
pub fn prepared_of(run: &RunFolder, info: &RunInfo) -> Result<Prepared, TrainError> {
    let recipe = danlu_recipe::resolve(&[danlu_recipe::Layer::from_file(&run.recipe())?])?;
    let prepared = Prepared::from_resolved(std::path::Path::new(&info.data), recipe)?;
    if prepared.dataset.fingerprint != info.fingerprint {
        return Err(TrainError::DataChanged {
            data: info.data.clone(),
            run: run.path().to_path_buf(),
            found: prepared.dataset.fingerprint.clone(),
            expected: info.fingerprint.clone(),
        });
    }
    Ok(prepared)
}

/// Reads `result.json`.
///
/// # Errors
/// Where it is not there or not readable.
pub fn read_result(run: &RunFolder) -> Result<RunResult, TrainError> {
    let path = run.result();
    let text = std::fs::read(&path).map_err(|source| TrainError::io("read", &path, source))?;
    serde_json::from_slice(&text).map_err(|error| TrainError::Damaged { path, problem: error.to_string() })
}

fn tell(prepared: &Prepared, observer: &mut dyn Observer) {
    for line in &prepared.dataset.found {
        observer.say(line);
    }
    for broken in &prepared.dataset.broken {
        observer.warn(&format!("left out `{}`: {}", broken.path.display(), broken.reason));
    }
    // A network that does not build is told by the error that follows.
    let graph = prepared.graph().ok();
    if let Some(warning) = graph.and_then(|graph| crate::finetune::late_thaw(&prepared.recipe.recipe, &graph))
    {
        observer.warn(&warning);
    }
    for note in &prepared.recipe.notes {
        observer.say(note);
    }
    for line in prepared.initial.iter().flat_map(crate::finetune::InitialWeights::summary) {
        observer.say(&line);
    }
    if let (Origin::Advisor { reason, .. }, true) =
        (prepared.recipe.origin("network.name"), prepared.initial.is_some())
    {
        observer.say(&format!("  network.name = \"{}\": {reason}", prepared.recipe.recipe.network.name()));
    }
    for choice in &prepared.choices {
        observer.say(&format!("  {} = {}: {}", choice.key, choice.value, choice.reason));
    }
}

fn absolute(path: &std::path::Path) -> String {
    if crate::prepare::is_demo(path) {
        return "demo".to_owned();
    }
    // A run is resumed from any folder; where the path cannot be made absolute it stays as it was given.
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf()).display().to_string()
}

fn threads(session: &Session) -> usize {
    session
        .recipe
        .train
        .threads
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |threads| threads.get()))
}

/// Time spent in this process, for speed and ETA.
struct Clock {
    train: Duration,
    wait: Duration,
    images: u64,
    iterations: u64,
    last_checkpoint: Instant,
    validation: Duration,
}

impl Session {
    fn epochs(&self) -> usize {
        self.recipe.train.epochs as usize
    }

    fn iterations_per_epoch(&self) -> usize {
        self.train.batches_per_epoch().div_ceil(self.recipe.train.accumulate)
    }

    pub(crate) fn event(&mut self, event: &Event) -> Result<(), TrainError> {
        let line = serde_json::to_string(event)
            .map_err(|error| TrainError::Internal { problem: format!("event: {error}") })?;
        self.events.line(&line)?;
        self.doctor.hear(event);
        Ok(())
    }

    fn note(&mut self, kind: &str, message: String, observer: &mut dyn Observer) -> Result<(), TrainError> {
        observer.warn(&message);
        let (epoch, iteration) = (self.position.epoch, self.position.iteration);
        self.event(&Event::Note { epoch, iteration, kind: kind.to_owned(), message })
    }

    /// What the class names say against an augmentation or view that is on.
    fn warn_of_orientation(&mut self, observer: &mut dyn Observer) -> Result<(), TrainError> {
        let classes = &self.card.classes;
        let mut warnings = self.recipe.augment.orientation_warnings(classes);
        warnings.extend(self.recipe.data.test_views.orientation_warning(classes));
        for warning in warnings {
            self.note(warning.name, warning.to_string(), observer)?;
        }
        Ok(())
    }

    fn run_to_the_end(
        mut self,
        observer: &mut dyn Observer,
        stop: &StopFlag,
    ) -> Result<(RunFolder, RunResult), TrainError> {
        if self.position.events_offset == 0 {
            self.event(&Event::Start {
                format: EVENTS_FORMAT,
                network: self.card.architecture().unwrap_or("network").to_owned(),
                parameters: self.engine.graph().param_count(),
                epochs: self.epochs(),
                iterations_per_epoch: self.iterations_per_epoch(),
                batch_size: self.recipe.train.images_per_iteration(),
                train_samples: self.train.len(),
                val_samples: self.val.len(),
                classes: self.card.classes.clone(),
                class_counts: self.train.dataset().class_counts(Part::Train),
                frozen: self.frozen_share(),
                norm_batch: self.norm_batch(),
            })?;
            self.metrics.line(METRICS_HEADER)?;
            self.warn_of_orientation(observer)?;
            if self.keeps_rollback_point() {
                // The first epoch can diverge, too.
                self.write_checkpoint()?;
            }
        }
        self.run.forget_stop()?;
        observer.started(&self.run, &self.recipe, self.position.iteration);
        if let Some(line) = self.train.cache().line() {
            observer.say(&line);
        }
        let mut clock = Clock {
            train: Duration::ZERO,
            wait: Duration::ZERO,
            images: 0,
            iterations: 0,
            last_checkpoint: Instant::now(),
            validation: Duration::ZERO,
        };
        let mut reason = "finished";
        let mut damaged = 0;
        while self.position.epoch < self.epochs() {
            if self.stops_early() {
                reason = "early_stop";
                break;
            }
            match self.train_epoch(&mut clock, observer, stop) {
                Ok(()) => {
                    self.finish_epoch(&mut clock, observer)?;
                    let cache = self.train.cache();
                    if cache.damaged > damaged {
                        damaged = cache.damaged;
                        observer.warn(&format!("{damaged} images of the cache were damaged: decoded again"));
                    }
                }
                Err(error @ TrainError::Diverged { .. }) => {
                    let message = match self.roll_back(error) {
                        Ok(message) => message,
                        Err(error) => return Err(self.write_divergence(error)?),
                    };
                    self.note("rollback", message, observer)?;
                    self.write_checkpoint()?;
                    continue;
                }
                Err(error) => return Err(error),
            }
            if self.must_stop(stop) && self.position.epoch < self.epochs() {
                // The epoch has just written its checkpoint.
                let iteration = self.position.iteration;
                self.journal.write(JournalEntry::Stop { iteration })?;
                return Err(TrainError::Interrupted { run: self.run.path().to_path_buf(), iteration });
            }
        }
        if reason == "early_stop" {
            let patience = self.recipe.train.early_stopping.as_ref().map_or(0, |stopping| stopping.patience);
            let message = format!(
                "stopped after epoch {}: {} did not improve for {patience} epochs",
                self.position.epoch,
                selection::metric_name(self.select)
            );
            self.note("early_stop", message, observer)?;
        }
        self.finish(reason)
    }

    fn must_stop(&self, stop: &StopFlag) -> bool {
        stop.is_set() || self.run.stop_requested()
    }

    /// Share of the parameters that do not train now.
    fn frozen_share(&self) -> f64 {
        let sizes = self.engine.params().iter().map(|info| info.shape.iter().product::<usize>());
        let (mut frozen, mut all) = (0, 0);
        for (size, trains) in sizes.zip(self.engine.trainable()) {
            all += size;
            frozen += if *trains { 0 } else { size };
        }
        frozen as f64 / all.max(1) as f64
    }

    fn norm_batch(&self) -> Option<usize> {
        let has_norm = self.engine.params().iter().any(|info| info.kind == ParamKind::NormWeight);
        has_norm.then_some(self.recipe.train.batch_size)
    }

    fn stops_early(&self) -> bool {
        let improved = self.position.improved.as_ref().map_or(0, |best| best.epoch);
        selection::should_stop(self.recipe.train.early_stopping.as_ref(), self.position.epoch, improved)
    }

    fn train_epoch(
        &mut self,
        clock: &mut Clock,
        observer: &mut dyn Observer,
        stop: &StopFlag,
    ) -> Result<(), TrainError> {
        let accumulate = self.recipe.train.accumulate;
        if self.optimizer.set_epoch(self.position.epoch as u64) {
            self.engine.set_trainable(&self.optimizer.trainable())?;
        }
        self.keep_features(observer)?;
        let first_batch = self.position.iteration_in_epoch * accumulate;
        let mut batches = self.training_batches(first_batch, observer)?;
        let per_epoch = self.iterations_per_epoch();
        while self.position.iteration_in_epoch < per_epoch {
            let begun = Instant::now();
            let waited = batches.waited();
            let group: Vec<Batch> = batches.by_ref().take(accumulate).collect::<Result<_, _>>()?;
            let lr = self.update(&group, observer)?;
            clock.wait += batches.waited() - waited;
            clock.train += begun.elapsed();
            clock.images += group.iter().map(|batch| batch.len() as u64).sum::<u64>();
            group.into_iter().for_each(|batch| batches.recycle(batch));
            clock.iterations += 1;
            observer.iteration(&self.progress(lr, clock));
            if self.must_stop(stop) {
                self.write_checkpoint()?;
                let iteration = self.position.iteration;
                self.journal.write(JournalEntry::Stop { iteration })?;
                return Err(TrainError::Interrupted { run: self.run.path().to_path_buf(), iteration });
            }
            let config = &self.recipe.train.checkpoint;
            let by_time = config
                .seconds
                .is_some_and(|seconds| clock.last_checkpoint.elapsed() >= Duration::from_secs(seconds));
            let by_count =
                config.iterations.is_some_and(|every| self.position.iteration.is_multiple_of(every));
            // The end of the epoch writes its own.
            if (by_time || by_count) && self.position.iteration_in_epoch < per_epoch {
                self.write_checkpoint()?;
                clock.last_checkpoint = Instant::now();
            }
        }
        Ok(())
    }

    /// One update of the weights; the learning rate of the first group.
    fn update(&mut self, group: &[Batch], observer: &mut dyn Observer) -> Result<f64, TrainError> {
        let total: usize = group.iter().map(Batch::len).sum();
        let classes = self.engine.graph().classes();
        let (mut loss, mut correct, mut judged) = (0.0, 0u64, 0u64);
        for (i, batch) in group.iter().enumerate() {
            self.report_broken(batch, observer)?;
            let share = batch.len() as f64 / total as f64;
            let context = StepContext {
                seed: self.recipe.train.seed,
                iteration: self.position.iteration * self.recipe.train.accumulate as u64 + i as u64,
                accumulate: i > 0,
                scale: share,
            };
            let features = match &mut self.features {
                Some(cache) => Some(cache.of(&mut self.engine, batch, &self.stats)?),
                None => None,
            };
            let input = match &features {
                Some(features) => Input { images: Images::Features(features), shape: batch.shape, mix: None },
                None => input_of(batch, &self.stats),
            };
            let targets = Targets::Classes(&batch.labels);
            let step = self.engine.forward_backward(&input, &targets, &self.recipe.loss, &context)?;
            if !step.loss.is_finite() {
                return Err(self.diverged("loss", step.loss, batch, &context));
            }
            loss += share * step.loss;
            if batch.mix.is_none() {
                judged += batch.len() as u64;
                let rows = step.logits().chunks_exact(classes).zip(&batch.labels);
                correct += rows.filter(|(row, label)| argmax(row) == **label as usize).count() as u64;
                let samples = self.train.len();
                suspects::add(&mut self.position.running.suspects, step.logits(), classes, batch, samples);
            }
        }
        let grad_norm = match self.recipe.train.clip_norm {
            Some(max) => self.engine.clip_grad_norm(max),
            None => self.engine.grad_norm(),
        };
        if !grad_norm.is_finite() {
            let context = StepContext {
                seed: self.recipe.train.seed,
                iteration: self.position.iteration,
                ..Default::default()
            };
            return Err(self.diverged("gradient norm", grad_norm, &group[0], &context));
        }
        let looking = Instant::now();
        let before = self.evidence_before(group)?;
        self.evidence.spent += looking.elapsed();
        self.optimizer.apply(&self.schedule);
        self.apply_swa_rates();
        let scale = self.position.rate_scale;
        if scale != 1.0 {
            self.optimizer.groups_mut().iter_mut().for_each(|group| group.lr *= scale);
        }
        let lr: Vec<f64> = self.optimizer.groups().iter().map(|group| group.lr).collect();
        let switched = self.optimizer.switch().is_some();
        self.engine.step(&mut self.optimizer)?;
        self.schedule.step_iteration();
        if let Some(decay) = self.recipe.train.ema {
            self.engine.ema_update(decay)?;
        }
        let position = &mut self.position;
        position.iteration += 1;
        position.iteration_in_epoch += 1;
        position.running.loss += loss * total as f64;
        position.running.samples += total as u64;
        position.running.correct += correct;
        position.running.judged += judged;
        let (epoch, iteration) = (position.epoch, position.iteration);
        let top1 = (judged > 0).then(|| correct as f64 / judged as f64);
        let first = lr.first().copied().unwrap_or_default();
        self.event(&Event::Iteration { epoch, iteration, loss, top1, lr, grad_norm })?;
        if let Some(before) = before {
            let looking = Instant::now();
            self.event(&Event::Evidence(before.after(&self.engine, epoch, iteration)))?;
            self.evidence.spent += looking.elapsed();
        }
        if let (false, Some(switch)) = (switched, self.optimizer.switch()) {
            let message =
                format!("SWATS switched to SGD at iteration {} with lr {:e}", switch.step, switch.lr);
            self.note("optimizer_switch", message, observer)?;
        }
        Ok(first)
    }

    /// What the doctor wants to know of this update, where it is one that is looked at.
    fn evidence_before(&mut self, group: &[Batch]) -> Result<Option<crate::evidence::Before>, TrainError> {
        if !self.evidence.is_due(self.position.iteration) {
            return Ok(None);
        }
        let context = StepContext {
            seed: self.recipe.train.seed,
            iteration: self.position.iteration * self.recipe.train.accumulate as u64,
            ..Default::default()
        };
        let config = crate::prepare::engine_config(&self.recipe);
        let (engine, stats, loss) = (&self.engine, &self.stats, &self.recipe.loss);
        self.evidence.before(engine, &config, group, stats, loss, &context).map(Some)
    }

    fn report_broken(&mut self, batch: &Batch, observer: &mut dyn Observer) -> Result<(), TrainError> {
        for (sample, reason) in &batch.skipped {
            let name = self.train.dataset().name(*sample);
            if self.position.broken.contains(&name) {
                continue;
            }
            self.position.broken.push(name.clone());
            let (broken, total) = (self.position.broken.len(), self.train.len());
            if broken as f64 > self.recipe.data.max_broken * total as f64 {
                return Err(TrainError::TooManyBroken { broken, total, first: format!("{name}: {reason}") });
            }
            self.note("broken_image", format!("left out `{name}`: {reason}"), observer)?;
        }
        Ok(())
    }

    fn diverged(
        &mut self,
        what: &'static str,
        value: f64,
        batch: &Batch,
        context: &StepContext,
    ) -> TrainError {
        let (input, targets) = (input_of(batch, &self.stats), Targets::Classes(&batch.labels));
        // Only the message would be poorer if the second look failed.
        let found =
            self.engine.diagnose_non_finite(&input, &targets, &self.recipe.loss, context).ok().flatten();
        TrainError::Diverged {
            what,
            value,
            iteration: self.position.iteration + 1,
            epoch: self.position.epoch + 1,
            lr: self.position.rate_scale * self.schedule.lrs().first().copied().unwrap_or_default(),
            layer: found.map(|found| found.to_string()),
            batch: batch.samples.iter().take(8).map(|&sample| self.train.dataset().name(sample)).collect(),
        }
    }

    /// Writes a divergence down for the doctor; gives the error back.
    fn write_divergence(&mut self, error: TrainError) -> Result<TrainError, TrainError> {
        if let TrainError::Diverged { what, value, iteration, lr, layer, .. } = &error {
            self.event(&Event::Divergence(danlu_doctor::Divergence {
                iteration: iteration.saturating_sub(1),
                what: format!("the {what} is {value}"),
                layer: layer.clone(),
                lr: *lr,
            }))?;
            self.events.sync()?;
        }
        Ok(error)
    }

    fn progress(&self, lr: f64, clock: &Clock) -> IterationProgress {
        let (position, per_epoch) = (&self.position, self.iterations_per_epoch());
        let running = &position.running;
        let left =
            (per_epoch - position.iteration_in_epoch) + (self.epochs() - position.epoch - 1) * per_epoch;
        let an_iteration = clock.train / clock.iterations.max(1) as u32;
        let validations = clock.validation * (self.epochs() - position.epoch) as u32;
        IterationProgress {
            epoch: position.epoch,
            epochs: self.epochs(),
            iteration: position.iteration_in_epoch,
            iterations_per_epoch: per_epoch,
            loss: running.loss / running.samples.max(1) as f64,
            top1: (running.judged > 0).then(|| running.correct as f64 / running.judged as f64),
            lr,
            speed: clock.speed(),
            eta: an_iteration * left as u32 + validations,
        }
    }

    fn finish_epoch(&mut self, clock: &mut Clock, observer: &mut dyn Observer) -> Result<(), TrainError> {
        let lr = self.optimizer.groups().iter().map(|group| group.lr).collect::<Vec<f64>>();
        let begun = Instant::now();
        self.average_weights()?;
        let set = self.judged_weights();
        let features = self.features.as_mut().filter(|_| set == WeightSet::Live);
        let val = evaluate(&mut self.engine, set, &self.val, &self.stats, features, observer)?.metrics();
        clock.validation = begun.elapsed();
        let running = std::mem::take(&mut self.position.running);
        self.position.epoch += 1;
        self.position.iteration_in_epoch = 0;
        let this = BestSoFar {
            epoch: self.position.epoch,
            score: selection::score(self.select, &val),
            loss: val.loss,
        };
        let best = selection::is_better(&this, self.position.best.as_ref());
        let min_delta = self.recipe.train.early_stopping.as_ref().map_or(0.0, |stopping| stopping.min_delta);
        if self.position.improved.as_ref().is_none_or(|before| this.score > before.score + min_delta) {
            self.position.improved = Some(this.clone());
        }
        self.schedule.step_epoch(Some(this.score))?;
        let event = EpochEvent {
            epoch: self.position.epoch,
            iteration: self.position.iteration,
            train_loss: running.loss / running.samples.max(1) as f64,
            train_top1: (running.judged > 0).then(|| running.correct as f64 / running.judged as f64),
            val,
            ema: set == WeightSet::Ema,
            lr,
            best,
        };
        let suspects = danlu_doctor::SuspectSamples { epoch: event.epoch, ..running.suspects };
        self.event(&Event::Suspects(suspects))?;
        let layers = crate::weight_histogram::weight_histograms(&self.engine.state_dict(WeightSet::Live)?);
        self.event(&Event::Weights { epoch: event.epoch, layers })?;
        self.event(&Event::Epoch(event.clone()))?;
        self.metrics.line(&csv_row(&event))?;
        if let Some(finding) = self.doctor.look() {
            let message = crate::doctor::warning(&finding);
            self.note(&format!("early_warning.{}", finding.rule), message, observer)?;
        }
        if best {
            self.position.best = Some(this);
            self.write_weights(&self.run.best_weights())?;
        }
        self.write_weights(&self.run.last_weights())?;
        self.write_checkpoint()?;
        clock.last_checkpoint = Instant::now();
        let speed = clock.speed();
        observer.epoch(&event, self.epochs(), &speed);
        self.journal.write(JournalEntry::Epoch {
            epoch: event.epoch,
            seconds: (clock.train + clock.validation).as_secs_f64(),
            images_per_second: speed.images_per_second,
            data_wait: speed.data_wait,
            evidence: self.evidence.spent.as_secs_f64() / clock.train.as_secs_f64().max(1e-9),
        })?;
        self.evidence.spent = Duration::ZERO;
        // Speed is that of one epoch, so that a machine that slows down is seen.
        (clock.train, clock.wait, clock.images, clock.iterations) = (Duration::ZERO, Duration::ZERO, 0, 0);
        Ok(())
    }

    fn finish(mut self, reason: &str) -> Result<(RunFolder, RunResult), TrainError> {
        let (epochs, iterations) = (self.position.epoch, self.position.iteration);
        let Some(best) = self.position.best.clone() else {
            return Err(TrainError::Internal { problem: "no epoch had a finite validation score".into() });
        };
        self.event(&Event::End { epochs, iterations, best_epoch: best.epoch, reason: reason.to_owned() })?;
        self.events.sync()?;
        let events = crate::events::read_events(&self.run.events())?;
        let val = events
            .into_iter()
            .find_map(|event| match event {
                Event::Epoch(event) if event.epoch == best.epoch => Some(event.val),
                _ => None,
            })
            .ok_or_else(|| TrainError::Internal { problem: "the best epoch has no event".into() })?;
        let result = RunResult { epochs, iterations, best_epoch: best.epoch, val, reason: reason.to_owned() };
        let bytes = to_json(&result)?;
        danlu_weights::write_atomic(&self.run.result(), |writer| std::io::Write::write_all(writer, &bytes))?;
        self.journal.write(JournalEntry::End { iteration: iterations })?;
        Ok((self.run, result))
    }
}

impl Clock {
    fn speed(&self) -> Speed {
        let seconds = self.train.as_secs_f64();
        if seconds == 0.0 {
            return Speed::default();
        }
        Speed {
            images_per_second: self.images as f64 / seconds,
            data_wait: self.wait.as_secs_f64() / seconds,
        }
    }
}

pub(crate) fn input_of<'a>(batch: &'a Batch, stats: &'a danlu_data::ChannelStats) -> Input<'a> {
    Input {
        images: Images::U8 { data: &batch.images, mean: &stats.mean, std: &stats.std },
        shape: batch.shape,
        mix: batch.mix.as_ref().map(|mix| Mix {
            partner: &mix.partner,
            lambda: f64::from(mix.lambda),
            cut: mix.cut,
        }),
    }
}

fn csv_row(event: &EpochEvent) -> String {
    let optional = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
    [
        event.epoch.to_string(),
        event.iteration.to_string(),
        event.train_loss.to_string(),
        optional(event.train_top1),
        event.val.loss.to_string(),
        event.val.top1.to_string(),
        optional(event.val.top5),
        event.val.macro_f1.to_string(),
        optional(event.lr.first().copied()),
        u8::from(event.best).to_string(),
    ]
    .join(",")
}
