//! Whole networks of the zoo give the logits of torchvision's and timm's own, at their full width and depth.
//!
//! The weights are too many to commit: value i of a tensor is a hash of i and of the tensor's name, here and in
//! `golden/nn/make_zoo_logits.py`.

use danlu_nn::{Engine, EngineConfig, Images, Input, NetworkConfig, ParamKind, StateDict, Tensor, WeightSet};

const SIDE: usize = 64;
const CLASSES: usize = 7;

/// Evenly spread over [-1, 1).
fn values(name: &str, count: usize) -> impl Iterator<Item = f64> {
    let start = crc32(name.as_bytes());
    (0..count as u32).map(move |i| {
        let mut x = i.wrapping_mul(2_654_435_761).wrapping_add(start);
        x ^= x >> 16;
        x = x.wrapping_mul(2_246_822_519);
        x ^= x >> 13;
        f64::from(x) / f64::from(1u32 << 31) - 1.0
    })
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), |crc, _| step(crc)))
}

fn tensor(name: &str, shape: &[usize], value: impl Fn(f64) -> f64) -> Tensor {
    let data = values(name, shape.iter().product()).map(|v| value(v) as f32).collect();
    Tensor { shape: shape.to_vec(), data }
}

#[test]
fn logits_of_whole_networks_equal_pytorchs() {
    let path = format!("{}/tests/golden/zoo_logits.json", env!("CARGO_MANIFEST_DIR"));
    let golden: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let images: Vec<f32> = values("images", 2 * SIDE * SIDE * 3).map(|v| v as f32).collect();
    for (name, expected) in golden["logits"].as_object().unwrap() {
        let graph = NetworkConfig::by_name(name).unwrap().build(3, CLASSES, [SIDE, SIDE]).unwrap();
        let mut state = StateDict::new();
        for param in graph.params() {
            let per_filter: usize = param.shape[1..].iter().product();
            let filled = match param.kind {
                ParamKind::NormWeight => tensor(&param.name, &param.shape, |v| 1.0 + 0.2 * v),
                kind if kind.is_weight() => {
                    tensor(&param.name, &param.shape, |v| v * (6.0 / per_filter as f64).sqrt())
                }
                _ => tensor(&param.name, &param.shape, |v| 0.1 * v),
            };
            state.insert(param.name.clone(), filled);
        }
        for buffer in graph.buffers().into_iter().filter(|b| !b.name.ends_with("num_batches_tracked")) {
            let variance = buffer.name.ends_with("running_var");
            let value = move |v: f64| if variance { 1.0 + 0.5 * v } else { 0.1 * v };
            let filled = tensor(&buffer.name, &buffer.shape, value);
            state.insert(buffer.name, filled);
        }
        let mut engine = Engine::new(graph, &EngineConfig { threads: 2, ..Default::default() }).unwrap();
        engine.load_state_dict(&state, WeightSet::Live).unwrap();
        let input = Input { images: Images::F32(&images), shape: [2, SIDE, SIDE, 3], mix: None };
        let found = engine.infer(&input, WeightSet::Live).unwrap();
        let expected: Vec<f64> =
            expected.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect();
        let largest = expected.iter().fold(0.0f64, |most, value| most.max(value.abs()));
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            let relative = (f64::from(*found) - expected).abs() / largest;
            assert!(relative < 1e-4, "{name}: {found} and {expected}");
        }
    }
}
