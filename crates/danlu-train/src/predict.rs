//! What a trained network says of an image.

use std::path::Path;

use danlu_data::{
    DataConfig, Fit, Interpolation, Pixels, TestViews, fit_image, load_image, load_image_bytes,
};
use danlu_nn::{Engine, EngineConfig, Graph, WeightSet};
use danlu_weights::{LoadOptions, Loaded, Resize, check_finite, identify, match_state_dict, read_state_dict};
use serde::Serialize;

use crate::error::TrainError;
use crate::export::{FoldedLayer, folded_layers};
use crate::finetune::{network_of, targets_of};
use crate::metrics::softmax;
use crate::prepare::engine_config;
use crate::run_folder::RunFolder;
use crate::views::infer_views;

/// A class and its probability.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Prediction {
    /// Name of the class.
    pub class: String,
    /// In `0..=1`; those of all classes sum to 1.
    pub probability: f64,
}

/// A trained network, ready to look at images.
#[derive(Debug)]
pub struct Predictor {
    pub(crate) engine: Engine,
    pub(crate) data: DataConfig,
    pub(crate) size: [usize; 2],
    classes: Vec<String>,
    pub(crate) channels: usize,
    pub(crate) mean: Vec<f32>,
    pub(crate) std: Vec<f32>,
    notes: Vec<String>,
    /// What the recipe says of folding.
    pub(crate) folds: bool,
}

impl Predictor {
    /// Loads `weights/best.safetensors` of a run. The preprocessing is the run's own; the training data are not needed.
    ///
    /// # Errors
    /// Where the folder is no run or its weights cannot be read.
    pub fn open(run: &RunFolder) -> Result<Self, TrainError> {
        let info = run.info()?;
        let recipe: danlu_recipe::Resolved<danlu_recipe::Recipe> =
            danlu_recipe::resolve(&[danlu_recipe::Layer::from_file(&run.recipe())?])?;
        let recipe = recipe.recipe;
        let side = recipe.data.image_size.ok_or_else(|| TrainError::Damaged {
            path: run.recipe(),
            problem: "has no `data.image_size`".into(),
        })?;
        let graph = recipe.network.build(info.channels, info.classes.len(), [side, side])?.without_dropout();
        let mut engine = Engine::new(graph, &engine_config(&recipe))?;
        let weights = read_state_dict(&run.best_weights())?;
        check_finite(&weights.state).map_err(|error| error.of_file(&weights.path))?;
        engine.load_state_dict(&weights.state, WeightSet::Live)?;
        Ok(Predictor {
            engine,
            data: recipe.data,
            size: [side, side],
            classes: info.classes,
            channels: info.channels,
            mean: info.mean,
            std: info.std,
            notes: Vec::new(),
            folds: recipe.train.fold_batch_norm,
        })
    }

    /// Loads a run folder, a `.safetensors` or `.pth` file, or a Hugging Face folder. The network, the classes and the
    /// preprocessing are those of the file's model card; what a file does not tell is told by its names and shapes or
    /// assumed to be ImageNet's, and said in [`notes`](Self::notes).
    ///
    /// # Errors
    /// Where the file cannot be read, is of no network that danlu knows, or does not fit it to the last key.
    pub fn load(path: &Path) -> Result<Self, TrainError> {
        if path.join("run.json").is_file() {
            return Self::open(&RunFolder::open(path)?);
        }
        if path.is_dir() && path.join("recipe.toml").is_file() || !path.exists() {
            // Says what is missing of a run, or that there is nothing.
            RunFolder::open(path)?;
        }
        Self::from_weights(read_state_dict(path)?)
    }

    fn from_weights(loaded: Loaded) -> Result<Self, TrainError> {
        let mut notes = loaded.notes.clone();
        let found = identify(&loaded.state);
        let Loaded { ref state, ref card, ref path, .. } = loaded;
        let config = network_of(&loaded).ok_or_else(|| TrainError::UnknownNetwork {
            path: path.clone(),
            looks_like: found.as_ref().map(|found| found.architecture.clone()),
        })?;
        let first =
            state.iter().find(|(_, tensor)| tensor.shape.len() == 4).map(|(_, tensor)| tensor.shape[1]);
        let channels = card.channels.or(first).unwrap_or(3);
        let mut classes = card.classes.clone();
        if classes.is_empty() {
            let last = state.iter().filter(|(_, tensor)| tensor.shape.len() == 2).last();
            let count = found.and_then(|found| found.classes).or(last.map(|(_, tensor)| tensor.shape[0]));
            classes = (0..count.unwrap_or(1000)).map(|index| format!("class {index}")).collect();
            notes.push("the file names no classes: they are numbered".to_owned());
        }
        let size = card.crop.unwrap_or([224, 224]);
        let mut data = DataConfig::default();
        match (card.resize, card.crop) {
            (Some(Resize::ShortSide(side)), Some(crop)) => {
                data.crop_ratio = (crop[0] as f64 / side as f64).min(1.0)
            }
            (Some(Resize::Exact(_)), _) => data.fit = Fit::Squash,
            (Some(Resize::Pad { .. }), _) => data.fit = Fit::Pad,
            (_, Some(_)) => {}
            _ => {
                data.crop_ratio = 0.875;
                notes.push(
                    "the file tells no image size: resized to 256, cropped to 224, as for ImageNet"
                        .to_owned(),
                );
            }
        }
        if let Some(name) = &card.interpolation {
            let known = serde_json::from_value::<Interpolation>(name.as_str().into());
            data.interpolation = known.unwrap_or_default();
        }
        let (mut mean, mut std) = (card.mean.clone(), card.std.clone());
        if mean.len() != channels || std.len() != channels {
            (mean, std) = match channels {
                1 => (vec![0.449], vec![0.226]),
                _ => (vec![0.485, 0.456, 0.406], vec![0.229, 0.224, 0.225]),
            };
            notes.push(format!("the file tells no normalisation: ImageNet's mean {mean:?} and std {std:?}"));
        }
        let graph = config.build(channels, classes.len(), size)?.without_dropout();
        let graph = fitting_graph(graph, state)?;
        let options = LoadOptions { strict: true, ..LoadOptions::default() };
        let matched =
            match_state_dict(&targets_of(&graph), state, &options).map_err(|error| error.of_file(path))?;
        let mut engine = Engine::new(graph, &EngineConfig::default())?;
        engine.load_state_dict(&matched.state, WeightSet::Live)?;
        Ok(Predictor { engine, data, size, classes, channels, mean, std, notes, folds: true })
    }

    /// What was assumed where the file did not tell.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Folds each batch norm into its convolution, in place, unless the run's recipe says no (`train.fold_batch_norm`): the
    /// same answers to 1e-5, faster. Gives the layers that changed; their names are then the convolutions'.
    ///
    /// # Errors
    /// Where a weight is missing, which a loaded network does not lack.
    pub fn fold(&mut self) -> Result<Vec<FoldedLayer>, TrainError> {
        let layers = folded_layers(&self.engine);
        if !self.folds || layers.is_empty() {
            return Ok(Vec::new());
        }
        let (graph, state) = self.engine.fold(WeightSet::Live)?;
        let mut engine = Engine::new(graph, self.engine.config())?;
        engine.load_state_dict(&state, WeightSet::Live)?;
        self.engine = engine;
        Ok(layers)
    }

    /// The views of an image that are averaged over, in place of the recipe's `data.test_views`.
    pub fn set_test_views(&mut self, views: TestViews) {
        self.data.test_views = views;
    }

    /// The classes, in the order of the network's outputs.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Reads an image file and brings it to the network's input size.
    ///
    /// # Errors
    /// Where the image cannot be read.
    pub fn read(&self, image: &Path) -> Result<Pixels, TrainError> {
        Ok(self.fit(&load_image(image, self.channels, &self.data)?))
    }

    /// [`read`](Self::read) from memory; `name` stands for the path in an error.
    ///
    /// # Errors
    /// Where the bytes are no image.
    pub fn read_bytes(&self, bytes: &[u8], name: &str) -> Result<Pixels, TrainError> {
        Ok(self.fit(&load_image_bytes(bytes, name, self.channels, &self.data)?))
    }

    /// A decoded image of any size and number of channels, brought to the network's input.
    pub fn fit(&self, pixels: &Pixels) -> Pixels {
        let DataConfig { fit, crop_ratio, interpolation, .. } = self.data;
        let pixels = pixels.clone().with_channels(self.channels);
        fit_image(&pixels, self.size, fit, crop_ratio, interpolation)
    }

    /// The classes of an image file, the most probable first.
    ///
    /// # Errors
    /// Where the image cannot be read.
    pub fn predict(&mut self, image: &Path) -> Result<Vec<Prediction>, TrainError> {
        let pixels = self.read(image)?;
        Ok(self.predict_batch(&[pixels])?.pop().unwrap_or_default())
    }

    /// The classes of several images that [`read`](Self::read) has read, in one pass: a row an image, the most probable
    /// class first.
    ///
    /// # Errors
    /// Where an image is not of the network's input size.
    pub fn predict_batch(&mut self, images: &[Pixels]) -> Result<Vec<Vec<Prediction>>, TrainError> {
        if images.is_empty() {
            return Ok(Vec::new());
        }
        let data: Vec<u8> = images.iter().flat_map(|image| image.data.iter().copied()).collect();
        let logits = self.logits(&data, images.len())?;
        let rows = logits.chunks_exact(self.classes.len()).map(|row| {
            let classes = self.classes.iter().zip(softmax(row));
            let mut row: Vec<Prediction> = classes
                .map(|(class, probability)| Prediction { class: class.clone(), probability })
                .collect();
            row.sort_by(|a, b| b.probability.total_cmp(&a.probability));
            row
        });
        Ok(rows.collect())
    }

    /// Logits `[images, classes]` of `images` whole images `[N, H, W, C]`.
    pub(crate) fn logits(&mut self, data: &[u8], images: usize) -> Result<Vec<f32>, TrainError> {
        let shape = [images, self.size[0], self.size[1], self.channels];
        infer_views(
            &mut self.engine,
            WeightSet::Live,
            self.data.test_views,
            data,
            shape,
            [&self.mean, &self.std],
        )
    }
}

/// The graph as the weights have it: with batch norms, or with these folded into the convolutions.
fn fitting_graph(graph: Graph, state: &danlu_weights::StateDict) -> Result<Graph, TrainError> {
    let has_norms = !graph.buffers().is_empty();
    if has_norms && !state.keys().any(|key| key.ends_with("running_mean")) {
        return Ok(Engine::new(graph, &EngineConfig::default())?.fold(WeightSet::Live)?.0);
    }
    Ok(graph)
}
