//! What a model needs beside its numbers: classes, preprocessing and the network's own description.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// How an image is brought to size before the crop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Resize {
    /// The shorter side becomes this many pixels and the aspect ratio is kept: torchvision's `Resize(256)`.
    ShortSide(usize),
    /// Exactly `[height, width]` pixels; the aspect ratio may change.
    Exact([usize; 2]),
    /// The longer side is resized and the rest filled with black, to `[height, width]` pixels.
    Pad {
        /// `[height, width]`.
        pad: [usize; 2],
    },
}

/// The description that travels inside every weights file that danlu writes (and inside an exported ONNX model), so
/// that preprocessing and class names never live elsewhere. A file from another tool fills what it knows; everything else
/// stays empty.
///
/// In the file each field is one metadata entry whose value is JSON, but for `interpolation` and `danlu_version`, which
/// are plain strings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelCard {
    /// Class names by index.
    pub classes: Vec<String>,
    /// Channels of the input image: 1 or 3.
    pub channels: Option<usize>,
    /// Mean of each channel, of pixel values scaled to `[0, 1]`; subtracted first.
    pub mean: Vec<f32>,
    /// Standard deviation of each channel, same scale; divided by afterwards.
    pub std: Vec<f32>,
    /// The resize before the crop; `None` leaves the image as it is.
    pub resize: Option<Resize>,
    /// The centre crop `[height, width]` after it: the network's input size.
    pub crop: Option<[usize; 2]>,
    /// The resize filter: `nearest`, `bilinear`, `bicubic` or `lanczos`.
    pub interpolation: Option<String>,
    /// The network's configuration (`NetworkConfig` of danlu-nn) as JSON; a Hugging Face folder gives `{"name": ...}`.
    pub network: Option<Value>,
    /// The version of danlu that wrote the file.
    pub danlu_version: Option<String>,
    /// Entries of the file's metadata that are not danlu's.
    pub other: BTreeMap<String, String>,
}

impl ModelCard {
    /// An empty card that carries this version of danlu.
    pub fn new() -> Self {
        ModelCard { danlu_version: Some(env!("CARGO_PKG_VERSION").to_owned()), ..Self::default() }
    }

    /// The architecture's name, from the network's configuration.
    pub fn architecture(&self) -> Option<&str> {
        self.network.as_ref()?.get("name")?.as_str()
    }

    /// The card as metadata entries, in a fixed order so that equal models give equal files.
    pub fn to_metadata(&self) -> BTreeMap<String, String> {
        let mut map = self.other.clone();
        let mut put = |key: &str, value: Option<String>| {
            if let Some(value) = value {
                map.insert(key.to_owned(), value);
            }
        };
        put("classes", (!self.classes.is_empty()).then(|| json(&self.classes)));
        put("channels", self.channels.map(|channels| channels.to_string()));
        put("mean", (!self.mean.is_empty()).then(|| json(&self.mean)));
        put("std", (!self.std.is_empty()).then(|| json(&self.std)));
        put("resize", self.resize.map(|resize| json(&resize)));
        put("crop", self.crop.map(|crop| json(&crop)));
        put("interpolation", self.interpolation.clone());
        put("network", self.network.as_ref().map(json));
        put("danlu_version", self.danlu_version.clone());
        map
    }

    /// The card in a file's metadata, and a note for each entry that has one of danlu's names but not its form (another
    /// tool's; it is kept in `other`).
    pub fn from_metadata(metadata: &BTreeMap<String, String>) -> (Self, Vec<String>) {
        let mut rest = metadata.clone();
        let mut notes = Vec::new();
        let mut card = ModelCard {
            classes: take(&mut rest, "classes", &mut notes).unwrap_or_default(),
            channels: take(&mut rest, "channels", &mut notes),
            mean: take(&mut rest, "mean", &mut notes).unwrap_or_default(),
            std: take(&mut rest, "std", &mut notes).unwrap_or_default(),
            resize: take(&mut rest, "resize", &mut notes),
            crop: take(&mut rest, "crop", &mut notes),
            interpolation: rest.remove("interpolation"),
            network: take(&mut rest, "network", &mut notes),
            danlu_version: rest.remove("danlu_version"),
            other: BTreeMap::new(),
        };
        card.other = rest;
        (card, notes)
    }
}

/// Serialising plain strings and numbers to a string cannot fail; a NaN becomes `null`.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned())
}

fn take<T: DeserializeOwned>(
    rest: &mut BTreeMap<String, String>,
    key: &str,
    notes: &mut Vec<String>,
) -> Option<T> {
    let text = rest.get(key)?;
    match serde_json::from_str(text) {
        Ok(value) => {
            rest.remove(key);
            Some(value)
        }
        Err(error) => {
            notes.push(format!("metadata `{key}` is not in danlu's form and was left aside: {error}"));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_survives_the_metadata_round_trip() {
        let card = ModelCard {
            classes: vec!["猫".into(), "dog, \"big\"".into()],
            channels: Some(3),
            mean: vec![0.485, 0.456, 0.406],
            std: vec![0.229, 0.224, 0.225],
            resize: Some(Resize::ShortSide(256)),
            crop: Some([224, 192]),
            interpolation: Some("bicubic".into()),
            network: Some(serde_json::json!({"name": "resnet18", "width": 64})),
            other: BTreeMap::from([("format".to_owned(), "pt".to_owned())]),
            ..ModelCard::new()
        };
        let (back, notes) = ModelCard::from_metadata(&card.to_metadata());
        assert_eq!(back, card);
        assert!(notes.is_empty());
        assert_eq!(back.architecture(), Some("resnet18"));
        let exact = ModelCard { resize: Some(Resize::Exact([28, 30])), ..ModelCard::default() };
        assert_eq!(ModelCard::from_metadata(&exact.to_metadata()).0, exact);
    }

    #[test]
    fn foreign_metadata_of_the_same_name_is_kept_and_said() {
        let metadata = BTreeMap::from([("classes".to_owned(), "ten of them".to_owned())]);
        let (card, notes) = ModelCard::from_metadata(&metadata);
        assert!(card.classes.is_empty());
        assert_eq!(card.other["classes"], "ten of them");
        assert_eq!(notes.len(), 1, "{notes:?}");
    }
}
