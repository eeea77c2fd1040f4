//! What can go wrong in a training, in words for the person who started it.

use std::io;
use std::path::{Path, PathBuf};

use danlu_data::{DataError, Part};
use danlu_nn::NnError;
use danlu_optim::OptimError;
use danlu_recipe::RecipeError;
use danlu_weights::WeightsError;

/// Why a training, evaluation or prediction did not come about.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The data.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The network or the engine.
    #[error(transparent)]
    Nn(#[from] NnError),
    /// The optimizer, its groups or the schedule.
    #[error(transparent)]
    Optim(#[from] OptimError),
    /// The recipe.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// A weights file.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The system refused a file or folder.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// `read`, `write` or `create`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The folder is no run.
    #[error("`{}` is not a run folder: {problem}", path.display())]
    NotARun {
        /// The folder.
        path: PathBuf,
        /// What is missing.
        problem: String,
    },
    /// A name that cannot be the name of a run.
    #[error("`{name}` cannot be the name of a run; expected a plain folder name")]
    BadName {
        /// The name as given.
        name: String,
    },
    /// The run's name is taken.
    #[error("a run named `{}` exists already", path.display())]
    Exists {
        /// The run folder.
        path: PathBuf,
    },
    /// Another process is training in the folder.
    #[error("another process is training in `{}`", path.display())]
    Busy {
        /// The run folder.
        path: PathBuf,
    },
    /// The training is complete; there is nothing to resume.
    #[error("`{}` is finished: {epochs} epochs are trained", path.display())]
    Finished {
        /// The run folder.
        path: PathBuf,
        /// Epochs trained.
        epochs: usize,
    },
    /// A file of the run is not what danlu wrote.
    #[error("`{}` is damaged: it {problem}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong, as the end of the sentence "it ...".
        problem: String,
    },
    /// The data are not those that the run was trained on.
    #[error("the data in `{data}` changed since the run `{}` was started: fingerprint {found}, expected {expected}", run.display())]
    DataChanged {
        /// Where the data lie.
        data: String,
        /// The run folder.
        run: PathBuf,
        /// Fingerprint found.
        found: String,
        /// Fingerprint recorded in the run.
        expected: String,
    },
    /// The classes of a data set are not those of the model.
    #[error("`{data}` has the class `{class}`, which the model does not know")]
    UnknownClass {
        /// Where the data lie.
        data: String,
        /// The class.
        class: String,
    },
    /// A class or layer that the model does not have.
    #[error("the model has no {what} `{name}`")]
    NotInModel {
        /// `class` or `layer`.
        what: &'static str,
        /// What was asked for.
        name: String,
        /// What it has.
        known: Vec<String>,
    },
    /// A network whose layers all end in one place: there is no map to draw.
    #[error("the network has no layer whose output is larger than 1 x 1: there is nothing to locate in")]
    NoFeatureMaps,
    /// A map of too few or too many images.
    #[error("t-SNE takes {least} to {most} images, not {found}")]
    ImageCount {
        /// Images given.
        found: usize,
        /// The fewest it takes.
        least: usize,
        /// The most it takes.
        most: usize,
    },
    /// Weights of no network that danlu has.
    #[error("`{}` holds weights of no network that danlu has{}", path.display(),
        looks_like.as_ref().map(|name| format!(": they look like {name}")).unwrap_or_default())]
    UnknownNetwork {
        /// The file.
        path: PathBuf,
        /// What the weights look like.
        looks_like: Option<String>,
    },
    /// An export that does not agree with the run; it was removed.
    #[error(
        "the export to `{}` does not agree with the run: relative difference {relative:.1e}, the same class for {same} of {images} images; it was removed",
        path.display()
    )]
    Parity {
        /// The file.
        path: PathBuf,
        /// Largest difference of a logit over the largest logit.
        relative: f64,
        /// Images of the same class.
        same: usize,
        /// Images compared.
        images: usize,
    },
    /// Every parameter is frozen.
    #[error("every parameter is frozen: nothing would train")]
    NothingTrains,
    /// `finetune.mean` or `std` of another number of channels.
    #[error("`finetune.mean` and `finetune.std` hold {found} values, the images have {channels} channels")]
    Normalisation {
        /// Values given.
        found: usize,
        /// Channels of the images.
        channels: usize,
    },
    /// The data set lacks the part that is asked for.
    #[error("`{data}` has no {} set", part.name())]
    NoSuchPart {
        /// Where the data lie.
        data: String,
        /// What was asked for.
        part: Part,
    },
    /// The schema knows the value and the trainer does not yet.
    #[error("`{key}` = `{value}` cannot be trained yet")]
    Unsupported {
        /// The key.
        key: String,
        /// Its value.
        value: String,
        /// What can be used in its place.
        instead: String,
    },
    /// A batch larger than the training set.
    #[error("`train.batch_size` is {batch_size}: expected at most {samples}, the number of training samples")]
    BatchTooLarge {
        /// The batch size.
        batch_size: usize,
        /// Number of training samples.
        samples: usize,
    },
    /// Too many training images turned out to be broken while they were read.
    #[error(
        "{broken} of {total} training images cannot be decoded, more than `data.max_broken` allows; the first: {first}"
    )]
    TooManyBroken {
        /// Number of broken images.
        broken: usize,
        /// Number of training images.
        total: usize,
        /// Name and problem of one.
        first: String,
    },
    /// The loss or a gradient is NaN or infinite; the weights were not touched by that step.
    #[error(
        "training diverged: the {what} is {value} at iteration {iteration} (epoch {epoch}, lr {lr:e}); {}\n  batch: {}",
        layer.as_ref().map_or("no layer could be named".to_owned(), |layer| format!("the first layer that is not finite is {layer}")),
        batch.join(", ")
    )]
    Diverged {
        /// `loss` or `gradient norm`.
        what: &'static str,
        /// Its value.
        value: f64,
        /// The update that did not happen, counted from 1.
        iteration: u64,
        /// The epoch, counted from 1.
        epoch: usize,
        /// Learning rate of the first group.
        lr: f64,
        /// The first layer that is not finite, and what of it.
        layer: Option<String>,
        /// Names of the first samples of the batch.
        batch: Vec<String>,
    },
    /// Training stopped because someone asked; it can be resumed.
    #[error("stopped at iteration {iteration}; the checkpoint is saved")]
    Interrupted {
        /// The run folder.
        run: PathBuf,
        /// Updates completed.
        iteration: u64,
    },
    /// Not even one image fits into the memory.
    #[error("a training step with one image takes {} MiB, and {} MiB may be used", bytes >> 20, budget >> 20)]
    DoesNotFit {
        /// Bytes of the step.
        bytes: usize,
        /// Bytes that may be used.
        budget: u64,
    },
    /// A bug of danlu.
    #[error("internal error: {problem}")]
    Internal {
        /// What happened.
        problem: String,
    },
}

impl TrainError {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        TrainError::Io { action, path: path.to_path_buf(), source }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            TrainError::Data(error) => return error.hint(),
            TrainError::Nn(error) => return error.hint(),
            TrainError::Optim(error) => return error.hint(),
            TrainError::Recipe(error) => return error.hint(),
            TrainError::Weights(error) => return error.hint(),
            TrainError::Io { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied => {
                    "check the permissions of the folder, or choose another with `--runs DIR`".to_owned()
                }
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    "free some space; a run goes on from its last checkpoint with `danlu resume RUN`"
                        .to_owned()
                }
                io::ErrorKind::NotFound => "check the path".to_owned(),
                io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
                    "a file is where a folder should be; choose another folder with `--runs DIR`".to_owned()
                }
                io::ErrorKind::FileTooLarge => {
                    "the file system or a limit (`ulimit -f`) allows no larger file; raise it, then `danlu resume RUN`"
                        .to_owned()
                }
                io::ErrorKind::ReadOnlyFilesystem => "choose a folder that can be written with `--runs DIR`".to_owned(),
                _ => return None,
            },
            TrainError::NotARun { .. } => {
                "a run folder is what `danlu train` wrote, as in `runs/demo-1`".to_owned()
            }
            TrainError::BadName { .. } => {
                "`--runs DIR` chooses the folder in which the run is created".to_owned()
            }
            TrainError::Exists { path } => {
                format!("choose another `--name`, or go on with it: `danlu resume {}`", path.display())
            }
            TrainError::Busy { .. } => "wait until it is done, or stop it".to_owned(),
            TrainError::Finished { path, .. } => format!(
                "evaluate it with `danlu test {0}`, or train longer from its weights: `danlu train DATA --recipe {0}/recipe.toml --epochs N`",
                path.display()
            ),
            TrainError::Damaged { path, .. } => {
                if path.ends_with("checkpoint/state.safetensors") {
                    "remove the checkpoint to start this run over from its recipe".to_owned()
                } else {
                    return None;
                }
            }
            TrainError::DataChanged { data, run, .. } => format!(
                "a resume must see the same samples; start a new run: `danlu train {data} --recipe {}`",
                run.join("recipe.toml").display()
            ),
            TrainError::UnknownClass { .. } => {
                "classes are matched by name; name the folders as the training set did".to_owned()
            }
            TrainError::NotInModel { what, known, .. } if *what == "validation image" => {
                format!("expected a file, or {}", known.join(" to "))
            }
            TrainError::NotInModel { what, name, known } => match danlu_recipe::nearest(name, known.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None if known.len() <= 20 => format!("expected a {what} of: {}", known.join(", ")),
                None => format!("it has {}, from `{}` to `{}`", known.len(), known[0], known[known.len() - 1]),
            },
            TrainError::NoFeatureMaps => {
                "a network with convolutions has such layers, `--network small` for one".to_owned()
            }
            TrainError::ImageCount { .. } => {
                "`--images N` takes that many of the validation set; principal components take any number".to_owned()
            }
            TrainError::UnknownNetwork { .. } => {
                "`danlu show network` has the names; a file that danlu wrote tells its network itself"
                    .to_owned()
            }
            TrainError::Parity { .. } => "please report this with the run folder".to_owned(),
            TrainError::NothingTrains => {
                "`--freeze backbone` leaves the last layer to train; see also `optimizer.groups`".to_owned()
            }
            TrainError::Normalisation { .. } => {
                "leave both out to take those of the weights, or of the training images".to_owned()
            }
            TrainError::NoSuchPart { part, .. } => match part {
                Part::Test => {
                    "add a `test` folder, or train with some held out: `--set data.test_fraction=0.15`".to_owned()
                }
                part => format!(
                    "add a `{}` folder; a folder of class folders without parts is judged as a whole",
                    if *part == Part::Val { "val" } else { "train" }
                ),
            },
            TrainError::BatchTooLarge { samples, .. } => {
                // The largest power of two that leaves at least four updates an epoch.
                let fitting = 1 << (samples / 4).max(1).ilog2();
                format!("`--batch-size {fitting}` gives at least four updates an epoch")
            }
            TrainError::Unsupported { key, instead, .. } => format!("use `{key}` = `{instead}`"),
            TrainError::TooManyBroken { .. } => {
                "remove or repair the files, or allow more with `--set data.max_broken=0.2`".to_owned()
            }
            TrainError::Diverged { lr, .. } => format!(
                "try a smaller learning rate (`--lr {:e}`), warm-up (`--set schedule.warmup.length=1`) or clipping (`--set train.clip_norm=1`)",
                lr / 10.0
            ),
            TrainError::Interrupted { run, .. } => format!("go on with `danlu resume {}`", run.display()),
            TrainError::DoesNotFit { .. } => {
                "use a smaller network (`--set network.width=8`) or smaller images (`--image-size`)"
                    .to_owned()
            }
            TrainError::Internal { .. } => "please report this with the run folder".to_owned(),
        };
        Some(hint)
    }

    /// Whether the request was wrong (exit code 2), as opposed to work that failed (exit code 1).
    pub fn is_request_error(&self) -> bool {
        match self {
            TrainError::Diverged { .. }
            | TrainError::TooManyBroken { .. }
            | TrainError::Interrupted { .. }
            | TrainError::Parity { .. }
            | TrainError::Internal { .. } => false,
            TrainError::Weights(WeightsError::Download { .. } | WeightsError::WrongSha256 { .. }) => false,
            // Whatever cannot be read or created before anything has begun is a matter of the request; a write that fails
            // later is not.
            TrainError::Io { action, .. } => *action != "write",
            _ => true,
        }
    }
}
