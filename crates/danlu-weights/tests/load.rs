//! Every key is accounted for when a state dict meets a network.

use danlu_weights::{
    LoadOptions, StateDict, Tensor, WeightsError, identify, match_state_dict, read_state_dict,
};
use std::path::PathBuf;

fn golden(name: &str) -> StateDict {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    read_state_dict(&path).unwrap().state
}

fn shapes(state: &StateDict) -> Vec<(String, Vec<usize>)> {
    state.iter().map(|(name, tensor)| (name.to_owned(), tensor.shape.clone())).collect()
}

/// The network's names and shapes, with some replaced.
fn with(mut targets: Vec<(String, Vec<usize>)>, changes: &[(&str, &[usize])]) -> Vec<(String, Vec<usize>)> {
    for (name, shape) in changes {
        targets.iter_mut().find(|(known, _)| known == name).unwrap().1 = shape.to_vec();
    }
    targets
}

#[test]
fn the_same_network_loads_strictly_and_whole() {
    let state = golden("resnet_thin.pth");
    let options = LoadOptions { strict: true, ..Default::default() };
    let matched = match_state_dict(&shapes(&state), &state, &options).unwrap();
    assert_eq!(matched.state, state);
    assert_eq!(matched.report.loaded.len(), state.len());
    assert!(matched.report.is_exact() && matched.report.renamed.is_empty());
}

#[test]
fn keys_that_do_not_exist_or_fit_are_left_out_and_listed() {
    let mut state = golden("resnet_thin.pth");
    state.insert("aux.weight", Tensor { shape: vec![1], data: vec![0.0] });
    let mut targets = with(shapes(&golden("resnet_thin.pth")), &[("layer1.0.conv1.weight", &[8, 8, 5, 5])]);
    targets.push(("layer3.0.conv1.weight".into(), vec![4, 4, 1, 1]));
    let matched = match_state_dict(&targets, &state, &LoadOptions::default()).unwrap();
    let report = &matched.report;
    assert_eq!(report.unexpected, ["aux.weight"]);
    assert_eq!(report.missing, ["layer3.0.conv1.weight"]);
    assert_eq!(report.shape_mismatch.len(), 1);
    assert_eq!(report.shape_mismatch[0].found, [8, 8, 3, 3]);
    // Every key of either side is in exactly one list.
    assert_eq!(report.loaded.len() + report.missing.len() + report.shape_mismatch.len(), targets.len());
    assert_eq!(report.loaded.len() + report.unexpected.len() + report.shape_mismatch.len(), state.len());
    let text = report.to_string();
    assert!(text.contains("`aux.weight`") && text.contains("[8, 8, 3, 3]"), "{text}");

    let strict = LoadOptions { strict: true, ..Default::default() };
    let error = match_state_dict(&targets, &state, &strict).unwrap_err();
    assert!(matches!(error, WeightsError::Mismatch(_)), "{error}");
}

#[test]
fn weights_for_other_classes_need_a_new_head() {
    let state = golden("resnet_thin.pth");
    let targets = with(shapes(&state), &[("fc.weight", &[10, 16]), ("fc.bias", &[10])]);
    let error = match_state_dict(&targets, &state, &LoadOptions::default()).unwrap_err();
    assert!(error.to_string().contains("5 classes, the task has 10"), "{error}");
    assert!(error.hint().unwrap().contains("new head"));
    let options = LoadOptions { replace_head: true, ..Default::default() };
    let matched = match_state_dict(&targets, &state, &options).unwrap();
    assert_eq!(matched.report.new_head, ["fc.weight", "fc.bias"]);
    assert!(matched.state.get("fc.weight").is_none());
    assert_eq!(matched.state.len(), state.len() - 2);
}

#[test]
fn grey_images_get_the_sum_of_the_colour_filters() {
    let state = golden("resnet_thin.pth");
    let targets = with(shapes(&state), &[("conv1.weight", &[8, 1, 7, 7])]);
    let error = match_state_dict(&targets, &state, &LoadOptions::default()).unwrap_err();
    assert!(error.to_string().contains("images of 3 channels, the network's have 1"), "{error}");
    let options = LoadOptions { adapt_input_channels: true, ..Default::default() };
    let matched = match_state_dict(&targets, &state, &options).unwrap();
    assert_eq!(
        matched.report.adapted,
        [("conv1.weight".to_owned(), "3 input channels summed to 1".to_owned())]
    );
    let (old, new) = (state.get("conv1.weight").unwrap(), matched.state.get("conv1.weight").unwrap());
    for (filter, tap) in [(0, 0), (3, 17), (7, 48)] {
        let sum: f64 = (0..3).map(|c| f64::from(old.data[(filter * 3 + c) * 49 + tap])).sum();
        assert!((f64::from(new.data[filter * 49 + tap]) - sum).abs() < 1e-7);
    }
    // And back: three equal shares excite the same on a grey image.
    let back = match_state_dict(&shapes(&state), &matched.state, &options).unwrap();
    let shared = back.state.get("conv1.weight").unwrap();
    assert_eq!(shared.data[0], shared.data[49]);
    assert!((3.0 * shared.data[0] - new.data[0]).abs() < 1e-6);
}

#[test]
fn another_architecture_is_named() {
    let state = golden("vgg_thin.pth");
    let error =
        match_state_dict(&shapes(&golden("resnet_thin.pth")), &state, &LoadOptions::default()).unwrap_err();
    assert!(error.to_string().contains("another architecture"), "{error}");
    let block = |stage: usize, block: usize| format!("layer{stage}.{block}.conv1.weight");
    let mut resnet = StateDict::new();
    let tensor = |shape: &[usize]| Tensor { shape: shape.to_vec(), data: vec![0.0; shape.iter().product()] };
    resnet.insert("conv1.weight", tensor(&[64, 3, 7, 7]));
    resnet.insert("layer1.0.conv2.weight", tensor(&[64, 64, 3, 3]));
    resnet.insert("layer1.0.conv3.weight", tensor(&[256, 64, 1, 1]));
    for (stage, blocks) in [(1, 3), (2, 4), (3, 6), (4, 3)] {
        (0..blocks).for_each(|index| resnet.insert(block(stage, index), tensor(&[1])));
    }
    resnet.insert("fc.weight", tensor(&[1000, 2048]));
    let found = identify(&resnet).unwrap();
    assert_eq!(
        (found.architecture.as_str(), found.classes, found.channels),
        ("resnet50", Some(1000), Some(3))
    );
    let error =
        match_state_dict(&shapes(&golden("vgg_thin.pth")), &resnet, &LoadOptions::default()).unwrap_err();
    assert!(error.to_string().contains("resnet50 (1000 classes)"), "{error}");
}

#[test]
fn weights_that_are_not_finite_are_named() {
    let mut state = golden("resnet_thin.pth");
    let mut broken = state.get("layer2.0.conv2.weight").unwrap().clone();
    (broken.data[3], broken.data[5]) = (f32::NAN, f32::INFINITY);
    state.insert("layer2.0.conv2.weight", broken);
    let error = match_state_dict(&shapes(&state), &state, &LoadOptions::default()).unwrap_err();
    assert!(error.to_string().contains("NaN or infinite: `layer2.0.conv2.weight` (2 values)"), "{error}");
}

#[test]
fn counters_that_old_files_lack_start_at_zero() {
    let whole = golden("resnet_thin.pth");
    let state: StateDict = whole
        .iter()
        .filter(|(name, _)| !name.ends_with("num_batches_tracked"))
        .map(|(name, tensor)| (name.to_owned(), tensor.clone()))
        .collect();
    let options = LoadOptions { strict: true, ..Default::default() };
    let matched = match_state_dict(&shapes(&whole), &state, &options).unwrap();
    assert_eq!(matched.report.defaulted.len(), whole.len() - state.len());
    assert_eq!(matched.state.get("bn1.num_batches_tracked").unwrap().data, [0.0]);
}

#[test]
fn timms_vgg_classifier_is_reshaped_from_its_convolution() {
    let torchvision = golden("vgg_thin.pth");
    let timm: StateDict = torchvision
        .iter()
        .map(|(name, tensor)| {
            let renamed = name
                .replace("classifier.0", "pre_logits.fc1")
                .replace("classifier.3", "pre_logits.fc2")
                .replace("classifier.6", "head.fc");
            let mut tensor = tensor.clone();
            match renamed.as_str() {
                "pre_logits.fc1.weight" => tensor.shape = vec![16, 12, 3, 2],
                "pre_logits.fc2.weight" => tensor.shape = vec![16, 16, 1, 1],
                _ => {}
            }
            (renamed, tensor)
        })
        .collect();
    let options = LoadOptions { strict: true, ..Default::default() };
    let matched = match_state_dict(&shapes(&torchvision), &timm, &options).unwrap();
    assert_eq!(matched.state, torchvision);
    assert_eq!((matched.report.renamed.len(), matched.report.adapted.len()), (6, 2));
}
