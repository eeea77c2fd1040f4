//! The state of a running training: engine, optimizer, schedule, position, logs; and how it comes from and goes to a checkpoint.

use std::fs::File;
use std::path::Path;

use danlu_data::{ChannelStats, Loader, LoaderConfig, Part};
use danlu_kernels::Isa;
use danlu_nn::{Engine, PlanKey, RawTensor as EngineTensor, WeightSet};
use danlu_optim::{Dtype as OptimDtype, Horizon, Optimizer, Schedule, StateValue};
use danlu_recipe::{Precision, Recipe, Select};
use danlu_weights::{ModelCard, Resize};
use safetensors::Dtype;

use crate::averaging::keeps_average;
use crate::checkpoint::{Checkpoint, Position, RawTensor, Running};
use crate::doctor::Ward;
use crate::error::TrainError;
use crate::evidence::Collector;
use crate::features::FeatureCache;
use crate::finetune;
use crate::journal::Journal;
use crate::log_file::LogFile;
use crate::prepare::{Prepared, engine_config};
use crate::progressive;
use crate::run_folder::RunFolder;
use crate::selection;

pub(crate) struct Session {
    pub(crate) run: RunFolder,
    pub(crate) recipe: Recipe,
    pub(crate) stats: ChannelStats,
    pub(crate) train: Loader,
    /// The training images at a smaller size, while progressive resizing has them so.
    pub(crate) small: Option<Loader>,
    pub(crate) val: Loader,
    pub(crate) engine: Engine,
    pub(crate) optimizer: Optimizer,
    pub(crate) schedule: Schedule,
    pub(crate) select: Select,
    pub(crate) position: Position,
    pub(crate) events: LogFile,
    pub(crate) metrics: LogFile,
    pub(crate) journal: Journal,
    pub(crate) evidence: Collector,
    pub(crate) doctor: Ward,
    pub(crate) card: ModelCard,
    /// Features of the frozen prefix, while they are worth keeping.
    pub(crate) features: Option<FeatureCache>,
    /// The end of the frozen prefix for which that was decided.
    pub(crate) frozen_prefix: Option<danlu_nn::NodeId>,
    /// Held as long as the session trains in the folder.
    _lock: File,
}

/// What the bits of a run depend on beside recipe and data.
pub(crate) fn arithmetic() -> String {
    // Another decoder gives pixels that differ by a level.
    let decoder = match danlu_data::JPEG_DECODER {
        "zune" => String::new(),
        other => format!(" {other}"),
    };
    let isa = Isa::detect().map_or("portable", |isa| isa.name());
    format!("danlu {} {isa} f32{decoder}", env!("CARGO_PKG_VERSION"))
}

impl Session {
    /// A session at the start of the training, or at the checkpoint where the folder has one. The second value says which.
    pub(crate) fn open(run: RunFolder, prepared: &Prepared) -> Result<(Self, bool), TrainError> {
        let lock = run.lock()?;
        remove_leftovers(&run)?;
        let recipe = prepared.recipe.recipe.clone();
        let checkpoint = Checkpoint::read(&run.checkpoint())?;
        let seed = recipe.train.seed;
        let mut engine = Engine::new(prepared.graph()?, &engine_config(&recipe))?;
        engine.initialize(&recipe.init, seed)?;
        engine.set_bn_mode(finetune::bn_mode(&recipe));
        // A checkpoint holds every weight, those that came from a file included.
        if checkpoint.is_none()
            && let Some(initial) = prepared.initial_weights()?
        {
            engine.load_matching(&initial.state, WeightSet::Live)?;
            finetune::write_origin(run.path(), &initial.origin)?;
        }
        // Schedule-free and EMA average from the start; SWA begins later.
        if keeps_average(&recipe) && recipe.train.swa.is_none() {
            engine.ema_start();
        }
        let mut optimizer = optimizer(&recipe, &engine)?;
        let horizon = Horizon {
            epochs: u64::from(recipe.train.epochs),
            iterations_per_epoch: prepared.iterations_per_epoch() as u64,
        };
        let mut schedule = finetune::schedule(&recipe, &optimizer, horizon)?;

        let (data, batch_size) = (&recipe.data, recipe.train.batch_size);
        let mut train = LoaderConfig::train(data, &recipe.augment, prepared.size, batch_size, seed);
        let mut val = LoaderConfig::evaluate(data, prepared.size, batch_size);
        if let Some(threads) = recipe.train.threads {
            (train.workers, val.workers) = (threads, threads);
        }
        let train = Loader::new(prepared.dataset.clone(), Part::Train, train)?;
        let val = Loader::new(prepared.dataset.clone(), Part::Val, val)?;

        let position = match &checkpoint {
            Some(checkpoint) => {
                restore(checkpoint, &run, &mut engine, &mut optimizer, &mut schedule)?;
                checkpoint.position.clone()
            }
            None => start(&prepared.dataset.fingerprint),
        };
        let sizes = progressive::sizes(&recipe, prepared.size[0]);
        // The arena is made for the most that will ever train, so that an unfreezing later does not grow it.
        optimizer.set_epoch(u64::from(recipe.train.epochs));
        engine.set_trainable(&optimizer.trainable())?;
        reserve(&mut engine, &train, &val, &sizes)?;
        optimizer.set_epoch(position.epoch as u64);
        engine.set_trainable(&optimizer.trainable())?;
        reserve(&mut engine, &train, &val, &sizes)?;

        let session = Session {
            events: LogFile::open_at(&run.events(), position.events_offset)?,
            metrics: LogFile::open_at(&run.metrics(), position.metrics_offset)?,
            journal: Journal::new(&run.journal()),
            doctor: Ward::open(&run, &recipe, position.events_offset)?,
            evidence: Collector::new(
                horizon.epochs * horizon.iterations_per_epoch,
                batch_size,
                recipe.train.accumulate,
            ),
            select: selection::decide(recipe.train.select, &prepared.dataset.class_counts(Part::Train)),
            card: card(prepared, &recipe)?,
            stats: prepared.stats.clone(),
            run,
            recipe,
            train,
            small: None,
            val,
            engine,
            optimizer,
            schedule,
            position,
            features: None,
            frozen_prefix: None,
            _lock: lock,
        };
        Ok((session, checkpoint.is_some()))
    }

    /// Writes the judged weights with their card.
    pub(crate) fn write_weights(&self, path: &Path) -> Result<(), TrainError> {
        let state = self.engine.state_dict(self.judged_weights())?;
        Ok(danlu_weights::write_safetensors(path, &state, &self.card)?)
    }

    /// Makes everything up to here permanent: logs first, then the checkpoint that points into them.
    pub(crate) fn write_checkpoint(&mut self) -> Result<(), TrainError> {
        self.position.events_offset = self.events.sync()?;
        self.position.metrics_offset = self.metrics.sync()?;
        self.position.schedule = serde_json::to_value(self.schedule.state_dict())
            .map_err(|error| TrainError::Internal { problem: format!("schedule state: {error}") })?;
        let mut tensors: Vec<(String, RawTensor)> = Vec::new();
        for tensor in self.engine.export_state() {
            let dtype = match tensor.dtype {
                "f32" => Dtype::F32,
                "f64" => Dtype::F64,
                _ => Dtype::U64,
            };
            let raw = RawTensor { dtype, shape: tensor.shape, bytes: tensor.bytes };
            tensors.push((format!("engine/{}", tensor.name), raw));
        }
        for (name, value) in self.optimizer.state_dict() {
            let raw = match value {
                StateValue::F32(data) => RawTensor::f32(vec![data.len()], &data),
                StateValue::F64(data) => RawTensor::f64(vec![data.len()], &data),
                StateValue::U64(data) => RawTensor::u64(vec![data.len()], &data),
            };
            tensors.push((format!("optimizer/{name}"), raw));
        }
        let checkpoint = Checkpoint { position: self.position.clone(), tensors };
        // The rollback point first: the checkpoint that follows it commits both.
        if self.keeps_rollback_point() && self.position.iteration_in_epoch == 0 {
            checkpoint.write(&self.run.rollback_point())?;
        }
        checkpoint.write(&self.run.checkpoint())
    }
}

fn start(fingerprint: &str) -> Position {
    Position {
        format: Position::FORMAT,
        made_by: arithmetic(),
        fingerprint: fingerprint.to_owned(),
        epoch: 0,
        iteration_in_epoch: 0,
        iteration: 0,
        running: Running::default(),
        best: None,
        improved: None,
        swa: None,
        broken: Vec::new(),
        schedule: serde_json::Value::Null,
        events_offset: 0,
        metrics_offset: 0,
        rollbacks: 0,
        rate_scale: 1.0,
    }
}

/// The optimizer of a recipe, at its start.
pub(crate) fn optimizer(recipe: &Recipe, engine: &Engine) -> Result<Optimizer, TrainError> {
    Ok(Optimizer::with_grouping(
        &recipe.optimizer.rule,
        &finetune::grouping(recipe, engine.graph()),
        &engine.param_specs(),
        Some(&engine.param_depths()),
        match recipe.train.precision {
            Precision::F64 => OptimDtype::F64,
            Precision::F32 | Precision::Bf16 => OptimDtype::F32,
        },
    )?)
}

/// Takes the state of a checkpoint.
pub(crate) fn restore(
    checkpoint: &Checkpoint,
    run: &RunFolder,
    engine: &mut Engine,
    optimizer: &mut Optimizer,
    schedule: &mut Schedule,
) -> Result<(), TrainError> {
    let mut engine_state = Vec::new();
    let mut optimizer_state = Vec::new();
    for (name, tensor) in &checkpoint.tensors {
        if let Some(name) = name.strip_prefix("engine/") {
            let dtype = match tensor.dtype {
                Dtype::F32 => "f32",
                Dtype::F64 => "f64",
                _ => "u64",
            };
            let (name, shape, bytes) = (name.to_owned(), tensor.shape.clone(), tensor.bytes.clone());
            engine_state.push(EngineTensor { name, shape, dtype, bytes });
        } else if let Some(name) = name.strip_prefix("optimizer/") {
            let value = match tensor.dtype {
                Dtype::F32 => StateValue::F32(tensor.to_f32()),
                Dtype::F64 => StateValue::F64(tensor.to_f64()),
                _ => StateValue::U64(tensor.to_u64()),
            };
            optimizer_state.push((name.to_owned(), value));
        }
    }
    engine.import_state(&engine_state)?;
    optimizer.load_state_dict(&optimizer_state)?;
    let state = serde_json::from_value(checkpoint.position.schedule.clone()).map_err(|error| {
        TrainError::Damaged {
            path: run.checkpoint(),
            problem: format!("has an unreadable schedule: {error}"),
        }
    })?;
    Ok(schedule.load_state_dict(&state)?)
}

/// All plans that the run will need, so that the arena never grows in the middle.
fn reserve(engine: &mut Engine, train: &Loader, val: &Loader, sides: &[usize]) -> Result<(), TrainError> {
    let [h, w] = val.config().size;
    let sizes = |loader: &Loader| {
        let (batch, rest) = (loader.config().batch_size, loader.len() % loader.config().batch_size);
        [batch.min(loader.len()), rest].into_iter().filter(|&n| n > 0)
    };
    let mut keys: Vec<PlanKey> = Vec::new();
    for &side in sides {
        keys.extend(sizes(train).map(|n| PlanKey::train(n, side, side)));
    }
    keys.extend(sizes(val).map(|n| PlanKey::infer(n, h, w)));
    Ok(engine.reserve(&keys)?)
}

/// Temporary files of a process that was killed while it wrote; the lock says that nobody is writing now.
fn remove_leftovers(run: &RunFolder) -> Result<(), TrainError> {
    for folder in ["weights", "checkpoint"] {
        let folder = run.path().join(folder);
        let entries = std::fs::read_dir(&folder).map_err(|source| TrainError::io("read", &folder, source))?;
        for entry in entries.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with('.') && name.ends_with(".tmp") {
                std::fs::remove_file(entry.path())
                    .map_err(|source| TrainError::io("write", &entry.path(), source))?;
            }
        }
    }
    Ok(())
}

fn card(prepared: &Prepared, recipe: &Recipe) -> Result<ModelCard, TrainError> {
    let network = serde_json::to_value(&recipe.network)
        .map_err(|error| TrainError::Internal { problem: format!("network config: {error}") })?;
    let interpolation = serde_json::to_value(recipe.data.interpolation).ok();
    let resize = match recipe.data.fit {
        danlu_data::Fit::Crop => {
            Resize::ShortSide((prepared.size[0] as f64 / recipe.data.crop_ratio).round() as usize)
        }
        danlu_data::Fit::Squash => Resize::Exact(prepared.size),
        danlu_data::Fit::Pad => Resize::Pad { pad: prepared.size },
    };
    Ok(ModelCard {
        classes: prepared.dataset.classes.clone(),
        channels: Some(prepared.dataset.channels),
        mean: prepared.stats.mean.clone(),
        std: prepared.stats.std.clone(),
        resize: Some(resize),
        crop: Some(prepared.size),
        interpolation: interpolation.and_then(|value| value.as_str().map(str::to_owned)),
        network: Some(network),
        ..ModelCard::new()
    })
}
