//! The names of one architecture in several libraries.
//!
//! ResNets are called alike in torchvision and timm. The others are translated through a neutral name per tensor
//! (`block.3.expand.conv.weight`), so that any of these can be read into any other: torchvision's MobileNetV2 and
//! EfficientNet, timm's `conv_stem`/`blocks.S.B` family (MobileNetV2, EfficientNet, EfficientNet-Lite), the `_conv_stem`
//! family of lukemelas' EfficientNet-PyTorch, and VGG's classifier, which timm keeps as convolutions.

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A library's way to name the tensors of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// No translation known: names are compared as they are.
    Plain,
    /// timm: `conv_stem`, `blocks.S.B.conv_pw`, `classifier`.
    TimmBlocks,
    /// lukemelas' EfficientNet-PyTorch: `_conv_stem`, `_blocks.N._expand_conv`, `_fc`.
    Lukemelas,
    /// torchvision MobileNetV2: `features.N.conv.K`.
    TorchvisionMobileNet,
    /// torchvision EfficientNet: `features.S.B.block.K`.
    TorchvisionEfficientNet,
    /// timm VGG: `pre_logits.fc1`, `head.fc`.
    TimmVgg,
    /// torchvision VGG: `classifier.0`, `.3`, `.6`.
    TorchvisionVgg,
}

impl Scheme {
    /// The scheme that tell-tale names give away.
    pub(crate) fn of<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let names: BTreeSet<&str> = names.collect();
        let has = |name: &str| names.contains(name);
        if has("_conv_stem.weight") {
            Scheme::Lukemelas
        } else if has("conv_stem.weight") {
            Scheme::TimmBlocks
        } else if has("features.0.0.weight") && has("features.1.conv.0.0.weight") {
            Scheme::TorchvisionMobileNet
        } else if has("features.0.0.weight") && has("features.1.0.block.0.0.weight") {
            Scheme::TorchvisionEfficientNet
        } else if has("features.0.weight") && has("pre_logits.fc1.weight") {
            Scheme::TimmVgg
        } else if has("features.0.weight") && has("classifier.6.weight") {
            Scheme::TorchvisionVgg
        } else {
            Scheme::Plain
        }
    }
}

/// The neutral name of each name, in order; a name outside its scheme keeps itself.
pub(crate) fn neutral(scheme: Scheme, names: &[&str]) -> Vec<String> {
    let blocks = Blocks::of(scheme, names);
    names
        .iter()
        .map(|name| neutral_name(scheme, &blocks, name).unwrap_or_else(|| (*name).to_owned()))
        .collect()
}

/// timm's name of a neutral one, for a network whose stages have so many blocks each; only the first block of all does not
/// expand. `None` for a name that is not neutral.
pub(crate) fn timm_of_neutral(name: &str, stages: &[usize]) -> Option<String> {
    let ends = [
        ("stem.conv", "conv_stem"),
        ("stem.bn", "bn1"),
        ("head.conv", "conv_head"),
        ("head.bn", "bn2"),
        ("classifier", "classifier"),
    ];
    if let Some((from, to)) = ends.iter().find(|(from, _)| under(name, from)) {
        return Some(format!("{to}{}", &name[from.len()..]));
    }
    let (place, rest) = name.strip_prefix("block.")?.split_once('.')?;
    let place: usize = place.parse().ok()?;
    let (mut stage, mut index) = (0, place);
    while index >= *stages.get(stage)? {
        index -= stages[stage];
        stage += 1;
    }
    let (to, from) = block_parts(Scheme::TimmBlocks, place > 0).iter().find(|(_, part)| under(rest, part))?;
    Some(format!("blocks.{stage}.{index}.{to}{}", &rest[from.len()..]))
}

/// From source names to target names, where the two follow different schemes; empty where they do not.
pub(crate) fn translate(sources: &[&str], targets: &[&str]) -> HashMap<String, String> {
    let (from, to) = (Scheme::of(sources.iter().copied()), Scheme::of(targets.iter().copied()));
    if from == to || from == Scheme::Plain || to == Scheme::Plain {
        return HashMap::new();
    }
    let by_neutral: HashMap<String, &str> =
        neutral(to, targets).into_iter().zip(targets.iter().copied()).collect();
    neutral(from, sources)
        .into_iter()
        .zip(sources)
        .filter_map(|(neutral, source)| Some(((*source).to_owned(), (*by_neutral.get(&neutral)?).to_owned())))
        .collect()
}

/// The blocks of a network in order, whatever the nesting: what follows depends on whether a block expands.
struct Blocks {
    /// Position and whether it expands, by the block's prefix (`blocks.1.0`).
    by_prefix: BTreeMap<String, (usize, bool)>,
    /// The last stage of `features`, which is the head.
    head_stage: Option<String>,
}

impl Blocks {
    fn of(scheme: Scheme, names: &[&str]) -> Self {
        let mut prefixes: Vec<String> = Vec::new();
        for name in names {
            if let Some((prefix, _)) = split_block(scheme, name)
                && !prefixes.iter().any(|known| known == prefix)
            {
                prefixes.push(prefix.to_owned());
            }
        }
        prefixes.sort_by(|a, b| crate::pth::natural(a, b));
        let expands = |prefix: &str| {
            let has = |rest: &str| names.iter().any(|name| name.strip_prefix(prefix) == Some(rest));
            match scheme {
                Scheme::TimmBlocks => has(".conv_pwl.weight"),
                Scheme::Lukemelas => has("._expand_conv.weight"),
                Scheme::TorchvisionMobileNet => has(".conv.1.0.weight"),
                Scheme::TorchvisionEfficientNet => {
                    has(".block.3.0.weight") || has(".block.2.0.weight") && !has(".block.1.fc1.weight")
                }
                _ => false,
            }
        };
        let by_prefix = prefixes
            .into_iter()
            .enumerate()
            .map(|(place, prefix)| (prefix.clone(), (place, expands(&prefix))))
            .collect();
        let stages = names.iter().filter_map(|name| name.strip_prefix("features.")?.split('.').next());
        let head_stage =
            stages.filter_map(|stage| stage.parse::<usize>().ok()).max().map(|stage| stage.to_string());
        Blocks { by_prefix, head_stage }
    }
}

/// `blocks.1.0.conv_pw.weight` is `blocks.1.0` and `conv_pw.weight`.
fn split_block(scheme: Scheme, name: &str) -> Option<(&str, &str)> {
    let segments = match scheme {
        Scheme::TimmBlocks => name.starts_with("blocks.").then_some(3)?,
        Scheme::Lukemelas => name.starts_with("_blocks.").then_some(2)?,
        Scheme::TorchvisionMobileNet => name.starts_with("features.").then_some(2)?,
        Scheme::TorchvisionEfficientNet => name.starts_with("features.").then_some(3)?,
        _ => return None,
    };
    let end = name.match_indices('.').nth(segments - 1)?.0;
    let (prefix, rest) = (&name[..end], &name[end + 1..]);
    match scheme {
        Scheme::TorchvisionMobileNet if !rest.starts_with("conv.") => None,
        Scheme::TorchvisionEfficientNet if !rest.starts_with("block.") => None,
        _ => Some((prefix, rest)),
    }
}

fn neutral_name(scheme: Scheme, blocks: &Blocks, name: &str) -> Option<String> {
    if let Some((prefix, rest)) = split_block(scheme, name) {
        let &(place, expands) = blocks.by_prefix.get(prefix)?;
        let parts = block_parts(scheme, expands);
        let (from, to) = parts.iter().find(|(from, _)| under(rest, from))?;
        return Some(format!("block.{place}.{to}{}", &rest[from.len()..]));
    }
    let head = blocks.head_stage.as_deref().unwrap_or_default();
    let (head_conv, head_norm) = (format!("features.{head}.0"), format!("features.{head}.1"));
    let ends: &[(&str, &str)] = match scheme {
        Scheme::TimmBlocks => &[
            ("conv_stem", "stem.conv"),
            ("bn1", "stem.bn"),
            ("conv_head", "head.conv"),
            ("bn2", "head.bn"),
            ("classifier", "classifier"),
        ],
        Scheme::Lukemelas => &[
            ("_conv_stem", "stem.conv"),
            ("_bn0", "stem.bn"),
            ("_conv_head", "head.conv"),
            ("_bn1", "head.bn"),
            ("_fc", "classifier"),
        ],
        Scheme::TorchvisionMobileNet | Scheme::TorchvisionEfficientNet => &[
            ("features.0.0", "stem.conv"),
            ("features.0.1", "stem.bn"),
            (&head_conv, "head.conv"),
            (&head_norm, "head.bn"),
            ("classifier.1", "classifier"),
        ],
        Scheme::TimmVgg => &[("pre_logits.fc1", "fc1"), ("pre_logits.fc2", "fc2"), ("head.fc", "classifier")],
        Scheme::TorchvisionVgg => {
            &[("classifier.0", "fc1"), ("classifier.3", "fc2"), ("classifier.6", "classifier")]
        }
        Scheme::Plain => &[],
    };
    let (from, to) = ends.iter().find(|(from, _)| under(name, from))?;
    Some(format!("{to}{}", &name[from.len()..]))
}

fn under(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.'))
}

/// The parts of a block and their neutral names.
fn block_parts(scheme: Scheme, expands: bool) -> &'static [(&'static str, &'static str)] {
    match (scheme, expands) {
        (Scheme::TimmBlocks, true) => &[
            ("conv_pwl", "project.conv"),
            ("conv_pw", "expand.conv"),
            ("bn1", "expand.bn"),
            ("conv_dw", "depthwise.conv"),
            ("bn2", "depthwise.bn"),
            ("se.conv_reduce", "se.reduce"),
            ("se.conv_expand", "se.expand"),
            ("bn3", "project.bn"),
        ],
        (Scheme::TimmBlocks, false) => &[
            ("conv_dw", "depthwise.conv"),
            ("bn1", "depthwise.bn"),
            ("se.conv_reduce", "se.reduce"),
            ("se.conv_expand", "se.expand"),
            ("conv_pw", "project.conv"),
            ("bn2", "project.bn"),
        ],
        (Scheme::Lukemelas, _) => &[
            ("_expand_conv", "expand.conv"),
            ("_bn0", "expand.bn"),
            ("_depthwise_conv", "depthwise.conv"),
            ("_bn1", "depthwise.bn"),
            ("_se_reduce", "se.reduce"),
            ("_se_expand", "se.expand"),
            ("_project_conv", "project.conv"),
            ("_bn2", "project.bn"),
        ],
        (Scheme::TorchvisionMobileNet, true) => &[
            ("conv.0.0", "expand.conv"),
            ("conv.0.1", "expand.bn"),
            ("conv.1.0", "depthwise.conv"),
            ("conv.1.1", "depthwise.bn"),
            ("conv.2", "project.conv"),
            ("conv.3", "project.bn"),
        ],
        (Scheme::TorchvisionMobileNet, false) => &[
            ("conv.0.0", "depthwise.conv"),
            ("conv.0.1", "depthwise.bn"),
            ("conv.1", "project.conv"),
            ("conv.2", "project.bn"),
        ],
        (Scheme::TorchvisionEfficientNet, true) => &[
            ("block.0.0", "expand.conv"),
            ("block.0.1", "expand.bn"),
            ("block.1.0", "depthwise.conv"),
            ("block.1.1", "depthwise.bn"),
            ("block.2.fc1", "se.reduce"),
            ("block.2.fc2", "se.expand"),
            ("block.3.0", "project.conv"),
            ("block.3.1", "project.bn"),
        ],
        (Scheme::TorchvisionEfficientNet, false) => &[
            ("block.0.0", "depthwise.conv"),
            ("block.0.1", "depthwise.bn"),
            ("block.1.fc1", "se.reduce"),
            ("block.1.fc2", "se.expand"),
            ("block.2.0", "project.conv"),
            ("block.2.1", "project.bn"),
        ],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TORCHVISION: &[&str] = &[
        "features.0.0.weight",
        "features.0.1.running_mean",
        "features.1.conv.0.0.weight",
        "features.1.conv.0.1.bias",
        "features.1.conv.1.weight",
        "features.1.conv.2.weight",
        "features.2.conv.0.0.weight",
        "features.2.conv.0.1.weight",
        "features.2.conv.1.0.weight",
        "features.2.conv.1.1.weight",
        "features.2.conv.2.weight",
        "features.2.conv.3.running_var",
        "features.18.0.weight",
        "features.18.1.weight",
        "classifier.1.weight",
    ];
    const TIMM: &[&str] = &[
        "conv_stem.weight",
        "bn1.running_mean",
        "blocks.0.0.conv_dw.weight",
        "blocks.0.0.bn1.bias",
        "blocks.0.0.conv_pw.weight",
        "blocks.0.0.bn2.weight",
        "blocks.1.0.conv_pw.weight",
        "blocks.1.0.bn1.weight",
        "blocks.1.0.conv_dw.weight",
        "blocks.1.0.bn2.weight",
        "blocks.1.0.conv_pwl.weight",
        "blocks.1.0.bn3.running_var",
        "conv_head.weight",
        "bn2.weight",
        "classifier.weight",
    ];
    const LUKEMELAS: &[&str] = &[
        "_conv_stem.weight",
        "_bn0.running_mean",
        "_blocks.0._depthwise_conv.weight",
        "_blocks.0._bn1.bias",
        "_blocks.0._project_conv.weight",
        "_blocks.0._bn2.weight",
        "_blocks.1._expand_conv.weight",
        "_blocks.1._bn0.weight",
        "_blocks.1._depthwise_conv.weight",
        "_blocks.1._bn1.weight",
        "_blocks.1._project_conv.weight",
        "_blocks.1._bn2.running_var",
        "_conv_head.weight",
        "_bn1.weight",
        "_fc.weight",
    ];

    #[test]
    fn three_libraries_name_the_same_tensors_of_the_mobile_family() {
        let all = [TORCHVISION, TIMM, LUKEMELAS];
        for (from, to) in all.iter().flat_map(|from| all.iter().map(move |to| (from, to))) {
            if from == to {
                continue;
            }
            let map = translate(from, to);
            for (source, target) in from.iter().zip(*to) {
                assert_eq!(map.get(*source).map(String::as_str), Some(*target), "{source}");
            }
        }
    }

    #[test]
    fn timm_keeps_the_classifier_of_vgg_as_convolutions() {
        let timm = ["features.0.weight", "pre_logits.fc1.weight", "pre_logits.fc2.bias", "head.fc.weight"];
        let torchvision =
            ["features.0.weight", "classifier.0.weight", "classifier.3.bias", "classifier.6.weight"];
        let map = translate(&timm, &torchvision);
        assert_eq!(map["pre_logits.fc1.weight"], "classifier.0.weight");
        assert_eq!(map["pre_logits.fc2.bias"], "classifier.3.bias");
        assert_eq!(map["features.0.weight"], "features.0.weight");
    }

    #[test]
    fn names_without_a_scheme_are_left_alone() {
        assert!(translate(&["conv1.weight", "fc.weight"], &["conv1.weight", "head.weight"]).is_empty());
    }
}
