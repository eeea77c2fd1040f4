//! Hugging Face folders in timm's layout: `config.json` beside `model.safetensors`, and sharded safetensors.
//!
//! Sources: <https://huggingface.co/docs/hub/timm>, timm's `push_to_hf_hub`, and the index file of transformers.

use crate::read::{RawTensors, ReadOptions, read_file};
use crate::{
    ModelCard, Resize, Result, StateDict, WeightsError, safetensors_file, timm, write_atomic,
    write_safetensors,
};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Where a folder's weights are looked for, in this order; the last two are a run folder of danlu.
const CANDIDATES: &[&str] = &[
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "weights/best.safetensors",
    "weights/last.safetensors",
];

/// JSON files beside weights are small; a larger one is not what it claims to be.
const MAX_JSON: u64 = 64 << 20;

/// The weights file of a folder.
pub(crate) fn weights_of(folder: &Path) -> Result<PathBuf> {
    CANDIDATES.iter().map(|name| folder.join(name)).find(|path| path.is_file()).ok_or_else(|| {
        WeightsError::NoWeightsInFolder {
            path: folder.to_path_buf(),
            expected: CANDIDATES.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
        }
    })
}

/// Reads a folder: its weights, and what its `config.json` tells where the weights' own metadata does not.
pub(crate) fn read_folder(folder: &Path, options: &ReadOptions) -> Result<(PathBuf, RawTensors)> {
    let path = weights_of(folder)?;
    let mut raw = read_file(&path, options)?;
    let config = folder.join("config.json");
    if config.is_file() {
        raw.config = Some(read_config(&config)?);
    }
    Ok((path, raw))
}

/// Reads `*.safetensors.index.json`: the shards lie in the same folder, and nowhere else.
pub(crate) fn read_sharded(path: &Path) -> Result<RawTensors> {
    let index = read_json(path)?;
    let map = index.get("weight_map").and_then(Value::as_object).ok_or_else(|| {
        WeightsError::malformed(path, "it has no `weight_map` that says which shard holds which tensor")
    })?;
    let mut shards = BTreeSet::new();
    for (key, shard) in map {
        let shard = shard.as_str().unwrap_or_default();
        let plain = !shard.is_empty() && !shard.contains(['/', '\\']) && shard != "." && shard != "..";
        if !plain {
            let what =
                format!("`weight_map` places `{key}` in {shard:?}, expected a file name in the same folder");
            return Err(WeightsError::malformed(path, what));
        }
        shards.insert(shard.to_owned());
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut whole = RawTensors::default();
    for shard in &shards {
        let part = safetensors_file::read(&folder.join(shard))?;
        for tensor in part.tensors {
            // A shard may hold more than the index gives it; the index decides.
            if map.get(&tensor.name).and_then(Value::as_str) == Some(shard) {
                whole.tensors.push(tensor);
            }
        }
        whole.metadata.extend(part.metadata);
    }
    if whole.tensors.len() != map.len() {
        let have: BTreeSet<&str> = whole.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        let missing = map.keys().find(|key| !have.contains(key.as_str())).cloned().unwrap_or_default();
        let what = format!("its shards lack the tensor `{missing}` that `weight_map` lists");
        return Err(WeightsError::malformed(path, what));
    }
    // The index lists tensors in the model's order more often than the shards do.
    let place: std::collections::HashMap<&str, usize> =
        map.keys().enumerate().map(|(place, key)| (key.as_str(), place)).collect();
    whole.tensors.sort_by_key(|tensor| place.get(tensor.name.as_str()).copied());
    whole.notes.push(format!("{} shards", shards.len()));
    Ok(whole)
}

/// What timm's `config.json` says, as a card.
pub(crate) fn read_config(path: &Path) -> Result<ModelCard> {
    let config = read_json(path)?;
    let pretrained = config.get("pretrained_cfg").unwrap_or(&Value::Null);
    // Newer files nest the preprocessing, older ones have it at the top.
    let find = |key: &str| pretrained.get(key).or_else(|| config.get(key)).filter(|value| !value.is_null());
    let floats = |key: &str| -> Vec<f32> {
        let values = find(key).and_then(Value::as_array);
        values.into_iter().flatten().filter_map(|value| value.as_f64().map(|value| value as f32)).collect()
    };
    let mut card = ModelCard { mean: floats("mean"), std: floats("std"), ..ModelCard::default() };
    if let Some(names) = find("label_names").and_then(Value::as_array) {
        card.classes = names.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect();
    }
    let size: Vec<usize> = find("input_size")
        .and_then(Value::as_array)
        .map(|sizes| {
            sizes.iter().filter_map(|size| size.as_u64().and_then(|size| size.try_into().ok())).collect()
        })
        .unwrap_or_default();
    if let [channels, height, width] = size[..] {
        card.channels = Some(channels);
        card.crop = Some([height, width]);
        // timm resizes the short side to floor(size / crop_pct), then crops.
        if let Some(crop_pct) =
            find("crop_pct").and_then(Value::as_f64).filter(|&pct| pct > 0.0 && pct <= 1.0)
        {
            // The small term undoes the rounding of crop_pct itself (224 / 256 = 0.875 is exact, 224 / 235 is not).
            let side = (height.min(width) as f64 / crop_pct + 1e-6).floor();
            card.resize = Some(Resize::ShortSide(side as usize));
        }
    }
    card.interpolation = find("interpolation").and_then(Value::as_str).map(str::to_owned);
    if let Some(name) = config.get("architecture").and_then(Value::as_str) {
        card.network = Some(json!({ "name": name }));
    }
    Ok(card)
}

fn read_json(path: &Path) -> Result<Value> {
    let length = std::fs::metadata(path).map_err(WeightsError::io("read", path))?.len();
    if length > MAX_JSON {
        return Err(WeightsError::malformed(
            path,
            format!("{length} bytes are too many for a JSON description"),
        ));
    }
    let text = std::fs::read(path).map_err(WeightsError::io("read", path))?;
    serde_json::from_slice(&text)
        .map_err(|error| WeightsError::malformed(path, format!("not valid JSON ({error})")))
}

/// Writes a folder that timm reads: `create_model(NAME, checkpoint_path=".../model.safetensors")`, or
/// `create_model("local-dir:FOLDER", pretrained=True)` where the architecture is one of timm's. A MobileNetV2 and a VGG get
/// timm's names, which differ from torchvision's.
///
/// # Errors
/// [`WeightsError::Io`] when the folder or a file cannot be written.
pub fn write_huggingface(folder: &Path, state: &StateDict, card: &ModelCard) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(WeightsError::io("create", folder))?;
    let renamed = timm::for_timm(state);
    let state = renamed.as_ref().unwrap_or(state);
    let identified = crate::identify(state);
    let architecture =
        card.architecture().map(str::to_owned).or(identified.as_ref().map(|it| it.architecture.clone()));
    let classes = match card.classes.len() {
        0 => identified.as_ref().and_then(|it| it.classes),
        count => Some(count),
    };
    let channels = card.channels.or(identified.as_ref().and_then(|it| it.channels)).unwrap_or(3);
    let mut preprocessing = Map::new();
    if let Some([height, width]) = card.crop {
        preprocessing.insert("input_size".to_owned(), json!([channels, height, width]));
        if let Some(Resize::ShortSide(side)) = card.resize.filter(|_| height == width) {
            preprocessing.insert("crop_pct".to_owned(), json!(height as f64 / side as f64));
        }
    }
    if let Some(interpolation) = &card.interpolation {
        preprocessing.insert("interpolation".to_owned(), json!(interpolation));
    }
    for (key, values) in [("mean", &card.mean), ("std", &card.std)] {
        if !values.is_empty() {
            preprocessing.insert(key.to_owned(), json!(values));
        }
    }
    // timm's name of the first layer and the head, which its own loader adapts to other channels and classes.
    let names = |name: Option<&str>| name.map(|name| name.trim_end_matches(".weight").to_owned());
    let first =
        crate::identify::input_layer(state.iter().map(|(name, tensor)| (name, tensor.shape.as_slice())));
    preprocessing.insert("first_conv".to_owned(), json!(names(first)));
    preprocessing.insert("classifier".to_owned(), json!(names(crate::identify::head_of(state.keys()))));
    if let Some(classes) = classes {
        preprocessing.insert("num_classes".to_owned(), json!(classes));
    }
    let mut config = Map::new();
    let architecture = architecture.as_deref().map(timm::architecture);
    config.insert("architecture".to_owned(), json!(architecture));
    config.insert("num_classes".to_owned(), json!(classes));
    if !card.classes.is_empty() {
        config.insert("label_names".to_owned(), json!(card.classes));
    }
    if channels != 3 {
        config.insert("model_args".to_owned(), json!({ "in_chans": channels }));
    }
    config.insert("pretrained_cfg".to_owned(), Value::Object(preprocessing));
    let text = serde_json::to_vec_pretty(&config).map_err(|error| WeightsError::Io {
        action: "write",
        path: folder.join("config.json"),
        source: error.into(),
    })?;
    write_safetensors(&folder.join("model.safetensors"), state, card)?;
    write_atomic(&folder.join("config.json"), |writer| writer.write_all(&text))
}
