//! The frozen prefix: where it ends, that its features are those of the whole network to the bit, and that nothing is kept for it.

use danlu_nn::{
    BnMode, Conv, Engine, EngineConfig, Graph, GraphBuilder, Images, InitConfig, Input, LossConfig,
    NetworkConfig, PlanKey, Pool, Span, StepContext, Targets, WeightSet,
};

const SIDE: usize = 32;
const IMAGES: usize = 5;

fn zoo(name: &str, fields: serde_json::Value) -> Graph {
    let mut config = serde_json::json!({ "name": name });
    config.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let config: NetworkConfig = serde_json::from_value(config).unwrap();
    config.build(3, 4, [SIDE, SIDE]).unwrap()
}

/// An engine with random weights of which only those whose name `trains` accepts train.
fn engine(graph: Graph, bn: BnMode, trains: impl Fn(&str) -> bool) -> Engine {
    let mut engine = Engine::new(graph, &EngineConfig { threads: 2, ..Default::default() }).unwrap();
    engine.initialize(&InitConfig::default(), 3).unwrap();
    engine.set_bn_mode(bn);
    let trainable: Vec<bool> = engine.params().iter().map(|param| trains(&param.name)).collect();
    engine.set_trainable(&trainable).unwrap();
    engine
}

fn cut(engine: &Engine) -> Option<&str> {
    Some(engine.graph().name(engine.frozen_prefix()?))
}

fn pixels() -> Vec<u8> {
    (0..IMAGES * SIDE * SIDE * 3).map(|i| (i * 7919 % 251) as u8).collect()
}

fn input(data: &[u8]) -> Input<'_> {
    let images = Images::U8 { data, mean: &[0.4, 0.5, 0.6], std: &[0.2, 0.25, 0.3] };
    Input { images, shape: [data.len() / (SIDE * SIDE * 3), SIDE, SIDE, 3], mix: None }
}

#[test]
fn a_step_from_features_is_the_whole_step_to_the_bit() {
    let nets = [
        (zoo("resnet18", serde_json::json!({ "width": 16, "stem": "cifar" })), "fc."),
        (zoo("resnet50", serde_json::json!({ "width": 8 })), "fc."),
        (zoo("mobilenet_v2", serde_json::json!({})), "classifier.1."),
        (zoo("efficientnet_lite0", serde_json::json!({})), "classifier."),
    ];
    let pixels = pixels();
    let labels: Vec<u32> = (0..IMAGES as u32).map(|i| i % 4).collect();
    let targets = Targets::Classes(&labels);
    let (loss, context) = (LossConfig::default(), StepContext { seed: 5, ..Default::default() });
    for (graph, head) in nets {
        let mut engine = engine(graph, BnMode::RunningWhereFrozen, |name| name.starts_with(head));
        assert!(engine.frozen_prefix().is_some());
        let features = engine.features(&input(&pixels), WeightSet::Live).unwrap();
        // Each image's features are its own to the bit, wherever in a pass it lies and whatever is computed beside it.
        let (image, width) = (SIDE * SIDE * 3, features.len() / IMAGES);
        for shift in 1..IMAGES {
            let mut moved = pixels.clone();
            moved.rotate_left(shift * image);
            moved[..image].fill(shift as u8);
            let found = engine.features(&input(&moved), WeightSet::Live).unwrap();
            for at in 1..IMAGES {
                let from = (at + shift) % IMAGES;
                let same = found[at * width..][..width] == features[from * width..][..width];
                assert!(same, "{head}: image {from} at {at}");
            }
        }

        let whole = engine.forward_backward(&input(&pixels), &targets, &loss, &context).unwrap();
        let gradients: Vec<_> = (0..engine.params().len()).map(|i| engine.grad(i)).collect();
        engine.zero_grad();
        let kept = Input { images: Images::Features(&features), ..input(&pixels) };
        let tail = engine.forward_backward(&kept, &targets, &loss, &context).unwrap();
        assert_eq!(tail, whole);
        assert!(gradients == (0..engine.params().len()).map(|i| engine.grad(i)).collect::<Vec<_>>());
        let logits = engine.infer(&input(&pixels), WeightSet::Live).unwrap().to_vec();
        assert_eq!(engine.infer(&kept, WeightSet::Live).unwrap(), logits);
    }
}

#[test]
fn nothing_is_kept_for_the_backward_pass_of_a_frozen_prefix() {
    let graph = zoo("resnet18", serde_json::json!({ "width": 16 }));
    let mut engine = engine(graph, BnMode::RunningWhereFrozen, |name| {
        name.starts_with("fc.") || name.starts_with("layer4.")
    });
    assert_eq!(cut(&engine), Some("layer3.1.conv2"));
    let key = PlanKey::train(8, SIDE, SIDE);
    let whole = engine.memory(&key).unwrap();
    let frozen = |name: &str| !name.starts_with("fc") && !name.starts_with("layer4") && name != "avgpool";
    for layer in &whole.layers {
        // The features themselves are what the first layer that trains needs.
        let is_cut = layer.name == "layer3.1.conv2";
        assert!(!frozen(&layer.name) || is_cut || layer.kept == 0, "{}: {} bytes", layer.name, layer.kept);
    }
    let tail = engine.memory(&key.over(Span::Tail)).unwrap();
    assert!(tail.arena <= whole.arena && tail.kept <= whole.kept);
    engine.set_trainable(&vec![true; engine.params().len()]).unwrap();
    let all = engine.memory(&key).unwrap();
    assert!(all.kept > 3 * whole.kept, "{} and {}", all.kept, whole.kept);
}

#[test]
fn the_prefix_ends_before_what_trains_moves_or_is_random() {
    let small = |dropout: f64| zoo("resnet18", serde_json::json!({ "width": 8, "dropout": dropout }));
    let head = |name: &str| name.starts_with("fc.");
    assert_eq!(cut(&engine(small(0.0), BnMode::Running, head)), Some("avgpool"));
    assert_eq!(cut(&engine(small(0.5), BnMode::Running, head)), Some("avgpool"));
    assert_eq!(cut(&engine(small(0.0), BnMode::Running, |_| true)), None);
    // Batch statistics depend on the other images.
    assert_eq!(cut(&engine(small(0.0), BnMode::Batch, head)), None);
    // A norm that trains in a frozen convolution's layer.
    assert_eq!(
        cut(&engine(small(0.0), BnMode::RunningWhereFrozen, |name| head(name) || name == "layer1.1.bn2.bias")),
        Some("layer1.0.conv2"),
        "the block before it: a cut inside the block would be jumped over by its shortcut"
    );
    let paths = zoo("resnet18", serde_json::json!({ "width": 8, "drop_path": 0.5 }));
    assert_eq!(cut(&engine(paths, BnMode::Running, head)), Some("maxpool"));
    // Without a convolution that is frozen there is nothing to keep.
    let mut net = GraphBuilder::new(3, SIDE, SIDE);
    let x = net.conv("conv", net.input(), Conv::new(4, 3)).unwrap();
    let x = net.pool("gap", x, Pool::global()).unwrap();
    net.linear("fc", x, 4).unwrap();
    assert_eq!(cut(&engine(net.build().unwrap(), BnMode::Running, |_| true)), None);
}

#[test]
fn features_that_do_not_fit_are_refused_in_words() {
    let mut frozen = engine(zoo("resnet18", serde_json::json!({ "width": 8 })), BnMode::Running, |name| {
        name.starts_with("fc.")
    });
    let pixels = pixels();
    let short = [0.0f32; 3];
    let wrong = Input { images: Images::Features(&short), ..input(&pixels) };
    let error = frozen.infer(&wrong, WeightSet::Live).unwrap_err();
    assert!(error.to_string().contains("3 features were given, the batch needs 320"), "{error}");
    let error = frozen.features(&wrong, WeightSet::Live).unwrap_err();
    assert!(error.to_string().contains("features of features"), "{error}");
    frozen.set_bn_mode(BnMode::Batch);
    let error = frozen.features(&input(&pixels), WeightSet::Live).unwrap_err();
    assert!(error.to_string().contains("no prefix of the network is frozen"), "{error}");
}
