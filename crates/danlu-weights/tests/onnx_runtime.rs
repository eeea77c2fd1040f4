//! Exported models, run by a Rust runtime that shares no code with the engine, give PyTorch's logits.

mod thin;

use danlu_nn::{Engine, EngineConfig, Graph, Images, Input, WeightSet};
use danlu_weights::{ModelCard, OnnxOptions, Parity, StateDict, onnx_bytes};
use rten::{Model, Value, ValueOrView};
use rten_tensor::Tensor;
use rten_tensor::prelude::*;

/// The logits of an ONNX model on one input.
fn run<'a>(model: &[u8], input: impl Into<ValueOrView<'a>>) -> Vec<f32> {
    let model = Model::load(model.to_vec()).expect("rten loads it");
    let output: Value = model.run_one(input.into(), None).expect("rten runs it");
    let logits: Tensor<f32> = output.try_into().expect("its logits are f32");
    logits.to_vec()
}

fn folded(net: &thin::Thin) -> (Engine, Graph, StateDict) {
    let config = EngineConfig { threads: 1, ..Default::default() };
    let mut engine = Engine::new(net.graph.clone(), &config).unwrap();
    engine.load_state_dict(&net.state, WeightSet::Live).unwrap();
    let (graph, state) = engine.fold(WeightSet::Live).unwrap();
    (engine, graph, state)
}

#[test]
fn exported_models_give_pytorchs_logits_folded_or_not_for_any_batch() {
    for net in thin::all() {
        let (_, graph, state) = folded(&net);
        for (graph, state) in [(&net.graph, &net.state), (&graph, &state)] {
            let model = onnx_bytes(graph, state, &ModelCard::new(), &OnnxOptions::default()).unwrap();
            let [n, c, h, w] = net.images.shape[..] else { panic!("images have four sizes") };
            for batch in 1..=n {
                let images = net.images.data[..batch * c * h * w].to_vec();
                let found = run(&model, Tensor::from_data(&[batch, c, h, w], images));
                let reference = &net.logits.data[..batch * graph.classes()];
                let parity = Parity::compare(reference, &found, graph.classes());
                assert!(parity.holds(1e-4) && parity.images == batch, "{}: {parity:?}", net.name);
            }
        }
    }
}

#[test]
fn a_model_with_its_preprocessing_takes_the_pixels_as_they_are() {
    let (mean, std) = (vec![0.485, 0.456, 0.406], vec![0.229, 0.224, 0.225]);
    for net in thin::all() {
        let (mut engine, graph, state) = folded(&net);
        let card = ModelCard { mean: mean.clone(), std: std.clone(), ..ModelCard::new() };
        let model = onnx_bytes(&graph, &state, &card, &OnnxOptions { preprocessing: true }).unwrap();
        let input = graph.input();
        let shape = [2, input.h, input.w, input.c];
        let pixels: Vec<u8> = (0..shape.iter().product::<usize>()).map(|i| (i * 7919 % 256) as u8).collect();
        let images = Images::U8 { data: &pixels, mean: &mean, std: &std };
        let reference = engine.infer(&Input { images, shape, mix: None }, WeightSet::Live).unwrap();
        let parity = Parity::compare(reference, &run(&model, Tensor::from_data(&shape, pixels.clone())), 5);
        assert!(parity.holds(1e-4), "{}: {parity:?}", net.name);
    }
}
