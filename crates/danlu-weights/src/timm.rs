//! The tensors of a network as timm's own models have them.
//!
//! ResNets and EfficientNet-Lite are called alike. timm builds MobileNetV2 from its EfficientNet blocks (`blocks.S.B.conv_dw`), and keeps
//! the classifier of a VGG as convolutions (`pre_logits.fc1` `[4096, 512, 7, 7]`). A file under torchvision's names would not load there.

use crate::names::{Scheme, neutral, timm_of_neutral};
use crate::{StateDict, Tensor, identify};

/// Blocks of each stage of timm's `mobilenetv2_100`.
const MOBILENET_STAGES: [usize; 7] = [1, 2, 3, 4, 3, 3, 1];

/// timm's name of an architecture that danlu calls by torchvision's.
pub(crate) fn architecture(name: &str) -> &str {
    match name {
        "mobilenet_v2" => "mobilenetv2_100",
        other => other,
    }
}

/// The state dict under timm's names; `None` where it has these already, or is of no network that timm names otherwise.
pub(crate) fn for_timm(state: &StateDict) -> Option<StateDict> {
    let names: Vec<&str> = state.keys().collect();
    let found = identify(state)?;
    match (Scheme::of(names.iter().copied()), found.architecture.as_str()) {
        (Scheme::TorchvisionMobileNet, "mobilenet_v2") => {
            let neutral = neutral(Scheme::TorchvisionMobileNet, &names);
            let renamed = neutral.iter().map(|name| timm_of_neutral(name, &MOBILENET_STAGES));
            let renamed: Vec<String> = renamed.collect::<Option<_>>()?;
            Some(renamed.into_iter().zip(state.iter()).map(|(name, (_, it))| (name, it.clone())).collect())
        }
        (Scheme::TorchvisionVgg, architecture) if architecture.starts_with("vgg") => {
            let tensors = state.iter().map(|(name, tensor)| {
                let (layer, field) = name.rsplit_once('.')?;
                let (layer, window) = match layer {
                    "classifier.0" => ("pre_logits.fc1", 7),
                    "classifier.3" => ("pre_logits.fc2", 1),
                    "classifier.6" => ("head.fc", 0),
                    _ => return Some((name.to_owned(), tensor.clone())),
                };
                let shape = match (&tensor.shape[..], window) {
                    (&[out, inputs], 1..) if inputs % (window * window) == 0 => {
                        vec![out, inputs / (window * window), window, window]
                    }
                    // Another size of image before the classifier than timm's.
                    (&[_, _], 1..) => return None,
                    (shape, _) => shape.to_vec(),
                };
                Some((format!("{layer}.{field}"), Tensor { shape, data: tensor.data.clone() }))
            });
            tensors.collect()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LoadOptions, match_state_dict};
    use danlu_nn::NetworkConfig;

    /// Shapes of a zoo network, all values 0 but one a tensor.
    fn zoo(name: &str) -> (Vec<(String, Vec<usize>)>, StateDict) {
        let graph = NetworkConfig::by_name(name).expect("is known").build(3, 7, [224, 224]).expect("builds");
        let params = graph.params().iter().map(|param| (param.name.clone(), param.shape.clone()));
        let buffers = graph.buffers().into_iter().map(|buffer| (buffer.name, buffer.shape));
        let targets: Vec<(String, Vec<usize>)> = params.chain(buffers).collect();
        let state = numbered(&targets);
        (targets, state)
    }

    fn numbered(targets: &[(String, Vec<usize>)]) -> StateDict {
        let tensor = |(i, (name, shape)): (usize, &(String, Vec<usize>))| {
            let mut data = vec![0.0; shape.iter().product()];
            data[0] = i as f32;
            (name.clone(), Tensor { shape: shape.clone(), data })
        };
        targets.iter().enumerate().map(tensor).collect()
    }

    #[test]
    fn mobilenet_is_written_as_timms_blocks_and_read_back() {
        let (targets, state) = zoo("mobilenet_v2");
        let timm = for_timm(&state).expect("is renamed");
        for (name, shape) in [
            ("conv_stem.weight", vec![32, 3, 3, 3]),
            ("blocks.0.0.conv_pw.weight", vec![16, 32, 1, 1]),
            ("blocks.1.1.conv_pwl.weight", vec![24, 144, 1, 1]),
            ("blocks.6.0.bn3.running_var", vec![320]),
            ("conv_head.weight", vec![1280, 320, 1, 1]),
            ("classifier.weight", vec![7, 1280]),
        ] {
            assert_eq!(timm.get(name).map(|tensor| &tensor.shape), Some(&shape), "{name}");
        }
        let strict = LoadOptions { strict: true, ..LoadOptions::default() };
        assert!(match_state_dict(&targets, &timm, &strict).expect("comes back").state == state);
        assert_eq!(identify(&timm).map(|it| it.architecture).as_deref(), Some("mobilenet_v2"));
        assert!(for_timm(&timm).is_none(), "it is timm's already");
    }

    #[test]
    fn the_classifier_of_a_vgg_is_written_as_convolutions_and_read_back() {
        // The names of vgg11, two channels wide: the real one has half a gigabyte.
        let mut targets: Vec<(String, Vec<usize>)> = [0, 3, 6, 8, 11, 13, 16, 18]
            .iter()
            .map(|index| (format!("features.{index}.weight"), vec![2, if *index == 0 { 3 } else { 2 }, 3, 3]))
            .collect();
        for (layer, inputs, outputs) in [(0, 98, 5), (3, 5, 5), (6, 5, 7)] {
            targets.push((format!("classifier.{layer}.weight"), vec![outputs, inputs]));
            targets.push((format!("classifier.{layer}.bias"), vec![outputs]));
        }
        let state = numbered(&targets);
        let timm = for_timm(&state).expect("is renamed");
        let shape = |name: &str| timm.get(name).map(|tensor| tensor.shape.clone());
        assert_eq!(shape("pre_logits.fc1.weight"), Some(vec![5, 2, 7, 7]));
        assert_eq!(shape("pre_logits.fc2.weight"), Some(vec![5, 5, 1, 1]));
        assert_eq!(shape("head.fc.weight"), Some(vec![7, 5]));
        let strict = LoadOptions { strict: true, ..LoadOptions::default() };
        assert!(match_state_dict(&targets, &timm, &strict).expect("comes back").state == state);
    }

    #[test]
    fn networks_that_timm_names_alike_are_left_alone() {
        assert!(for_timm(&zoo("resnet18").1).is_none());
        assert!(for_timm(&zoo("efficientnet_lite1").1).is_none());
    }
}
