//! Which known architecture a state dict belongs to, told from its names and shapes.

use crate::StateDict;
use crate::names::{Scheme, neutral};
use std::collections::BTreeMap;

/// What a state dict looks like.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Identified {
    /// The architecture's name, torchvision's where it has one (`resnet50`), timm's else (`efficientnet_lite0`).
    pub architecture: String,
    /// Outputs of the last linear layer, if found.
    pub classes: Option<usize>,
    /// Channels of the input image, if the first convolution was found.
    pub channels: Option<usize>,
}

/// The nearest known architecture, from block counts, widths and tell-tale names; `None` where nothing is recognised.
pub fn identify(state: &StateDict) -> Option<Identified> {
    let shapes: BTreeMap<&str, &[usize]> =
        state.iter().map(|(name, tensor)| (name, tensor.shape.as_slice())).collect();
    let architecture = resnet(&shapes)
        .or_else(|| vgg(&shapes))
        .or_else(|| mobile(state, &shapes))
        .or_else(|| foreign(&shapes).map(str::to_owned))?;
    let classes = head_of(state.keys()).and_then(|head| {
        shapes.get(format!("{head}.weight").as_str()).and_then(|shape| shape.first().copied())
    });
    let channels = input_layer(state.iter().map(|(name, tensor)| (name, tensor.shape.as_slice())))
        .and_then(|name| shapes.get(name).and_then(|shape| shape.get(1).copied()));
    Some(Identified { architecture, classes, channels })
}

/// The last linear layer, by the names that libraries give it.
pub(crate) fn head_of<'a>(names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const HEADS: &[&str] = &["fc", "classifier.6", "classifier.1", "classifier", "head.fc", "head", "_fc"];
    let names: Vec<&str> = names.collect();
    let known = HEADS.iter().find_map(|head| {
        names.iter().find_map(|name| name.strip_suffix(".weight").filter(|layer| layer == head))
    });
    // A network of one's own ends with its head.
    known.or_else(|| names.iter().rev().find_map(|name| name.strip_suffix(".weight")))
}

/// The first convolution: the first 4-d weight.
pub(crate) fn input_layer<'a>(mut tensors: impl Iterator<Item = (&'a str, &'a [usize])>) -> Option<&'a str> {
    tensors.find(|(name, shape)| shape.len() == 4 && name.ends_with(".weight")).map(|(name, _)| name)
}

fn resnet(shapes: &BTreeMap<&str, &[usize]>) -> Option<String> {
    let stem = shapes.get("conv1.weight")?;
    let count = |stage: usize| {
        (0..)
            .take_while(|block| shapes.contains_key(format!("layer{stage}.{block}.conv1.weight").as_str()))
            .count()
    };
    let blocks: Vec<usize> = (1..=4).map(count).take_while(|&count| count > 0).collect();
    let bottleneck = shapes.contains_key("layer1.0.conv3.weight");
    let second = shapes.get("layer1.0.conv2.weight")?;
    let (width, per_group) = (*second.first()?, *second.get(1)?);
    let groups = width.checked_div(per_group).unwrap_or(1);
    let depth = match (&blocks[..], bottleneck) {
        ([2, 2, 2, 2], false) => 18,
        ([3, 4, 6, 3], false) => 34,
        ([3, 4, 6, 3], true) => 50,
        ([3, 4, 23, 3], true) => 101,
        ([3, 8, 36, 3], true) => 152,
        ([a, b, c], false) if a == b && b == c => return Some(format!("a CIFAR ResNet-{}", 6 * a + 2)),
        _ => return Some(format!("a ResNet with {blocks:?} blocks")),
    };
    let stem_width = *stem.first()?;
    let name = match (groups, bottleneck, width) {
        (1, true, width) if width == 2 * stem_width => format!("wide_resnet{depth}_2"),
        (1, ..) => format!("resnet{depth}"),
        (groups, ..) => format!("resnext{depth}_{groups}x{per_group}d"),
    };
    Some(name)
}

fn vgg(shapes: &BTreeMap<&str, &[usize]>) -> Option<String> {
    let is_vgg = ["classifier.6.weight", "head.fc.weight"].iter().any(|name| shapes.contains_key(name));
    let features = |rank: usize| {
        shapes.iter().filter(|(name, shape)| name.starts_with("features.") && shape.len() == rank).count()
    };
    let depth = match features(4) {
        8 => 11,
        10 => 13,
        13 => 16,
        16 => 19,
        5 if is_vgg => return Some("alexnet".to_owned()),
        _ => return None,
    };
    let norm = if shapes.keys().any(|name| name.starts_with("features.") && name.ends_with("running_mean")) {
        "_bn"
    } else {
        ""
    };
    is_vgg.then(|| format!("vgg{depth}{norm}"))
}

fn mobile(state: &StateDict, shapes: &BTreeMap<&str, &[usize]>) -> Option<String> {
    let scheme = Scheme::of(state.keys());
    if matches!(scheme, Scheme::Plain | Scheme::TimmVgg | Scheme::TorchvisionVgg) {
        return None;
    }
    let names: Vec<&str> = state.keys().collect();
    let neutral: BTreeMap<String, &[usize]> = neutral(scheme, &names)
        .into_iter()
        .zip(&names)
        .filter_map(|(neutral, name)| Some((neutral, *shapes.get(name)?)))
        .collect();
    let blocks =
        (0..).take_while(|i| neutral.contains_key(&format!("block.{i}.project.conv.weight"))).count();
    let last =
        neutral.get(&format!("block.{}.project.conv.weight", blocks.checked_sub(1)?))?.first().copied()?;
    let squeeze = neutral.keys().any(|name| name.contains(".se."));
    Some(match (blocks, last, squeeze) {
        (17, 320, false) => "mobilenet_v2".to_owned(),
        (17, _, false) => "a MobileNetV2 of another width".to_owned(),
        (16, 320, false) => "efficientnet_lite0".to_owned(),
        (21, 320, false) => "efficientnet_lite1".to_owned(),
        (21, 352, false) => "efficientnet_lite2".to_owned(),
        (24, 384, false) => "efficientnet_lite3".to_owned(),
        (30, 448, false) => "efficientnet_lite4".to_owned(),
        (16, 320, true) => "efficientnet_b0".to_owned(),
        (23, 320, true) => "efficientnet_b1".to_owned(),
        (_, _, true) => "an EfficientNet with squeeze-excite".to_owned(),
        _ => "a network of MobileNet blocks".to_owned(),
    })
}

/// Well-known architectures that danlu does not have: said by name rather than as a list of missing keys.
fn foreign(shapes: &BTreeMap<&str, &[usize]>) -> Option<&'static str> {
    const TELL_TALES: &[(&str, &str)] = &[
        ("features.denseblock1.denselayer1.conv1.weight", "a DenseNet"),
        ("features.denseblock1.denselayer1.conv.1.weight", "a DenseNet"),
        ("cls_token", "a vision transformer"),
        ("class_token", "a vision transformer"),
        ("stages.0.blocks.0.gamma", "a ConvNeXt"),
        ("features.1.0.layer_scale", "a ConvNeXt"),
        ("layers.0.blocks.0.attn.relative_position_bias_table", "a Swin transformer"),
        ("features.3.squeeze.weight", "a SqueezeNet"),
        ("Conv2d_1a_3x3.conv.weight", "an Inception network"),
        ("conv1.conv.weight", "a GoogLeNet"),
        ("0.conv.weight", "a YOLO detector"),
    ];
    TELL_TALES.iter().find(|(key, _)| shapes.contains_key(key)).map(|&(_, name)| name)
}
