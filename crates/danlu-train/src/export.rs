//! A run's model for other programs, compared with the run on real images before anyone trusts it.

use std::path::{Path, PathBuf};

use danlu_data::{Loader, LoaderConfig, Part};
use danlu_nn::{Engine, Images, Input, LayerOp, WeightSet};
use danlu_weights::{
    LoadOptions, OnnxOptions, Parity, export_onnx, match_state_dict, read_model_card, read_state_dict,
    write_huggingface, write_pth, write_safetensors,
};
use serde::Serialize;

use crate::error::TrainError;
use crate::finetune::targets_of;
use crate::predict::Predictor;
use crate::run_folder::{RunFolder, to_json};

/// What other programs read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ExportFormat {
    /// One `.onnx` file.
    Onnx,
    /// One `.safetensors` file.
    Safetensors,
    /// PyTorch's `.pth`; classes and preprocessing are lost.
    Pth,
    /// A folder with `config.json` and `model.safetensors`.
    HuggingFace,
}

/// How to export.
#[derive(Clone, Debug, PartialEq)]
pub struct ExportOptions {
    /// What to write.
    pub format: ExportFormat,
    /// Where; by default `export/model.*` in the run folder.
    pub out: Option<PathBuf>,
    /// Fold each batch norm into its convolution; `None`: in an ONNX model, unless the recipe says no.
    pub fold: Option<bool>,
    /// ONNX: put the normalisation into the graph, whose input is then uint8 `[batch, height, width, channels]`.
    pub preprocessing: bool,
    /// How many validation images the parity check sees.
    pub images: usize,
}

/// A convolution that took its batch norm in.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FoldedLayer {
    /// Name of the convolution.
    pub layer: String,
    /// Name of the batch norm that is gone.
    pub norm: String,
    /// Values that are gone: scale, shift and both running statistics, less the new bias.
    pub values_saved: usize,
}

/// What was written, and how well it agrees with the run (`export/*.json` in the run folder).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Exported {
    /// The file or folder.
    pub path: PathBuf,
    /// Its format.
    pub format: ExportFormat,
    /// What the images of the check were.
    pub checked_on: String,
    /// What was compared with the run's network.
    pub checked: &'static str,
    /// Images compared.
    pub images: usize,
    /// Largest difference of a logit over the largest logit.
    pub relative_difference: f64,
    /// Images whose predicted class is the same.
    pub same_class: usize,
    /// Layers folded.
    pub folded: Vec<FoldedLayer>,
}

/// Exported logits may differ this much, relative to the largest.
const TOLERANCE: f64 = 1e-4;

/// Exports a run's best weights. The parity check runs on validation images each time; where the data are no longer there
/// it runs on noise, and says so.
///
/// # Errors
/// [`TrainError::Parity`] where the export does not agree (it is removed again); unreadable weights; a path that cannot be
/// written.
pub fn export_run(run: &RunFolder, options: &ExportOptions) -> Result<Exported, TrainError> {
    let mut model = Predictor::open(run)?;
    // The network itself is compared, not the mean over views.
    model.set_test_views(danlu_data::TestViews::None);
    let card = read_model_card(&run.best_weights())?;
    let info = run.info()?;
    let input = model.engine.graph().input();
    let (images, checked_on) = match validation_images(run, options.images) {
        Ok(images) if !images.is_empty() => {
            let count = images.len() / input.elements();
            (images, format!("{count} validation images"))
        }
        Ok(_) | Err(_) => {
            let noise =
                (0..8 * input.elements()).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
            (noise, "noise: the validation images are not there".to_owned())
        }
    };
    let count = images.len() / input.elements();
    let reference = model.logits(&images, count)?;

    let mut folded = Vec::new();
    let fold = options.fold.unwrap_or(options.format == ExportFormat::Onnx && model.folds);
    let (graph, state) = if fold {
        folded = folded_layers(&model.engine);
        model.engine.fold(WeightSet::Live)?
    } else {
        (model.engine.graph().clone(), model.engine.state_dict(WeightSet::Live)?)
    };
    let mut card = card;
    if fold {
        card.other.insert("folded".to_owned(), "true".to_owned());
    }
    let path =
        options.out.clone().unwrap_or_else(|| run.path().join("export").join(default_name(options.format)));
    let records = run.path().join("export");
    std::fs::create_dir_all(&records).map_err(|source| TrainError::io("create", &records, source))?;
    match options.format {
        ExportFormat::Onnx => {
            let onnx = OnnxOptions { preprocessing: options.preprocessing };
            export_onnx(&path, &graph, &state, &card, &onnx)?;
        }
        ExportFormat::Safetensors => write_safetensors(&path, &state, &card)?,
        ExportFormat::Pth => write_pth(&path, &state)?,
        ExportFormat::HuggingFace => write_huggingface(&path, &state, &card)?,
    }
    // What lies on the disk is what is checked.
    let strictly = LoadOptions { strict: true, ..LoadOptions::default() };
    let read = read_state_dict(&path)?;
    let state = match_state_dict(&targets_of(&graph), &read.state, &strictly)?.state;
    let checked = match options.format {
        ExportFormat::Onnx => "the file's weights and the network, read back",
        _ => "the file, read back",
    };
    let classes = graph.classes();
    let mut engine = Engine::new(graph, model.engine.config())?;
    engine.load_state_dict(&state, WeightSet::Live)?;
    let pixels = Images::U8 { data: &images, mean: &info.mean, std: &info.std };
    let input = Input { images: pixels, shape: [count, input.h, input.w, input.c], mix: None };
    let parity = Parity::compare(&reference, engine.infer(&input, WeightSet::Live)?, classes);
    if !parity.holds(TOLERANCE) {
        remove(&path);
        return Err(TrainError::Parity {
            path,
            relative: parity.relative,
            same: parity.same_class,
            images: count,
        });
    }
    let exported = Exported {
        format: options.format,
        checked_on,
        checked,
        images: parity.images,
        relative_difference: parity.relative,
        same_class: parity.same_class,
        folded,
        path,
    };
    let name =
        exported.path.file_name().map_or_else(Default::default, |name| name.to_string_lossy().into_owned());
    let record = records.join(format!("{name}.json"));
    let bytes = to_json(&exported)?;
    danlu_weights::write_atomic(&record, |writer| std::io::Write::write_all(writer, &bytes))?;
    Ok(exported)
}

fn default_name(format: ExportFormat) -> &'static str {
    match format {
        ExportFormat::Onnx => "model.onnx",
        ExportFormat::Safetensors => "model.safetensors",
        ExportFormat::Pth => "model.pth",
        ExportFormat::HuggingFace => "huggingface",
    }
}

/// Takes away what must not be trusted; the error that follows is the one worth telling.
fn remove(path: &Path) {
    let _ = if path.is_dir() {
        std::fs::remove_file(path.join("model.safetensors"))
    } else {
        std::fs::remove_file(path)
    };
}

/// The layers that folding changes.
pub(crate) fn folded_layers(engine: &Engine) -> Vec<FoldedLayer> {
    let layers = engine.graph().nodes();
    let fold = layers.filter_map(|layer| {
        let (LayerOp::Conv(conv), Some((norm, _))) = (layer.op, layer.norm) else { return None };
        let weight = layer.params.first()?.name.as_str();
        let (layer, norm) = (weight.trim_end_matches(".weight").to_owned(), norm.to_owned());
        Some(FoldedLayer { layer, norm, values_saved: 3 * conv.out_channels })
    });
    fold.collect()
}

/// The first validation images `[N, H, W, C]` as training saw them.
fn validation_images(run: &RunFolder, count: usize) -> Result<Vec<u8>, TrainError> {
    let prepared = crate::training::prepared_of(run, &run.info()?)?;
    let recipe = &prepared.recipe.recipe;
    let config = LoaderConfig::evaluate(&recipe.data, prepared.size, count.max(1));
    let loader = Loader::new(prepared.dataset.clone(), Part::Val, config)?;
    Ok(loader.batch(0, 0)?.images)
}
