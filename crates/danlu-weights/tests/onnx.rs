//! What an export writes, read back field by field and by danlu's own reader; running it is `tests/onnx_runtime.rs` (rten) and
//! `golden/weights/check_written.py` (ONNX Runtime).

mod thin;

use danlu_nn::{Engine, EngineConfig, WeightSet};
use danlu_weights::{
    ModelCard, OnnxOptions, StateDict, WeightsError, WeightsFormat, export_onnx, onnx_bytes, read_model_card,
    read_state_dict,
};
use std::collections::{BTreeMap, BTreeSet};

/// The fields of one protobuf message: number, and the bytes of length-delimited ones or the value of varints.
#[derive(Debug)]
enum Field<'a> {
    Bytes(&'a [u8]),
    Int(u64),
}

fn fields(mut bytes: &[u8]) -> Vec<(u64, Field<'_>)> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let (first, rest) = bytes.split_first().expect("a varint ends within its message");
            *bytes = rest;
            value |= u64::from(first & 0x7f) << shift;
            if first & 0x80 == 0 {
                return value;
            }
            shift += 7;
        }
    }
    let mut out = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        match key & 7 {
            0 => out.push((key >> 3, Field::Int(varint(&mut bytes)))),
            2 => {
                let length = varint(&mut bytes) as usize;
                let (value, rest) = bytes.split_at(length);
                out.push((key >> 3, Field::Bytes(value)));
                bytes = rest;
            }
            5 => bytes = &bytes[4..],
            wire => panic!("wire type {wire} is not written"),
        }
    }
    out
}

fn texts(bytes: &[u8], field: u64) -> Vec<String> {
    messages(bytes, field).into_iter().map(|text| String::from_utf8(text.to_vec()).unwrap()).collect()
}

fn messages(bytes: &[u8], field: u64) -> Vec<&[u8]> {
    fields(bytes)
        .into_iter()
        .filter_map(|(number, value)| match value {
            Field::Bytes(value) if number == field => Some(value),
            _ => None,
        })
        .collect()
}

fn card() -> ModelCard {
    ModelCard { classes: vec!["a".into()], mean: vec![0.5; 3], std: vec![0.25; 3], ..ModelCard::new() }
}

#[test]
fn every_value_of_the_graph_is_made_before_it_is_used_and_the_weights_are_inside() {
    for net in thin::all() {
        for preprocessing in [false, true] {
            let model = onnx_bytes(&net.graph, &net.state, &card(), &OnnxOptions { preprocessing }).unwrap();
            let graph = messages(&model, 7)[0];
            let initializers = messages(graph, 5);
            let mut known: BTreeSet<String> = initializers
                .iter()
                .flat_map(|tensor| texts(tensor, 8))
                .chain(["images".to_owned()])
                .collect();
            assert_eq!(known.len(), initializers.len() + 1, "no constant has another's name");
            for node in messages(graph, 1) {
                for input in texts(node, 1) {
                    assert!(known.contains(&input), "{}: `{input}` is not there yet", net.name);
                }
                for output in texts(node, 2) {
                    assert!(known.insert(output), "every value is made once");
                }
            }
            assert!(known.contains("logits"));
            for tensor in &initializers {
                let name = &texts(tensor, 8)[0];
                let Some(expected) = net.state.get(name) else { continue };
                let raw: Vec<u8> = expected.data.iter().flat_map(|value| value.to_le_bytes()).collect();
                assert_eq!(messages(tensor, 9)[0], raw, "{name}");
            }
            let stored = initializers.iter().filter(|t| net.state.get(&texts(t, 8)[0]).is_some()).count();
            let counters = net.state.keys().filter(|key| key.ends_with("num_batches_tracked")).count();
            assert_eq!(stored, net.state.len() - counters, "every tensor but the counters");
        }
    }
}

#[test]
fn a_folded_model_has_no_batch_norm_and_every_model_its_card_and_opset() {
    let net = thin::all().remove(0);
    let mut engine =
        Engine::new(net.graph.clone(), &EngineConfig { threads: 1, ..Default::default() }).unwrap();
    engine.load_state_dict(&net.state, WeightSet::Live).unwrap();
    let (graph, state) = engine.fold(WeightSet::Live).unwrap();
    let model = onnx_bytes(&graph, &state, &card(), &OnnxOptions::default()).unwrap();
    let ops: BTreeSet<String> =
        messages(messages(&model, 7)[0], 1).into_iter().flat_map(|node| texts(node, 4)).collect();
    let expected = ["Add", "Conv", "Flatten", "Gemm", "GlobalAveragePool", "Identity", "MaxPool", "Relu"];
    assert_eq!(ops.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    let metadata: BTreeMap<String, String> = messages(&model, 14)
        .into_iter()
        .map(|entry| (texts(entry, 1).remove(0), texts(entry, 2).remove(0)))
        .collect();
    assert_eq!(metadata, card().to_metadata());
    let opset = fields(messages(&model, 8)[0]);
    assert!(opset.iter().any(|(number, value)| *number == 2 && matches!(value, Field::Int(17))), "{opset:?}");
}

#[test]
fn an_export_that_cannot_be_is_an_error_in_words() {
    let net = thin::all().remove(0);
    let error = onnx_bytes(&net.graph, &StateDict::new(), &card(), &OnnxOptions::default()).unwrap_err();
    assert!(error.to_string().contains("lack `conv1.weight`"), "{error}");
    let preprocessing = OnnxOptions { preprocessing: true };
    let error = onnx_bytes(&net.graph, &net.state, &ModelCard::new(), &preprocessing).unwrap_err();
    assert!(error.to_string().contains("3 channels"), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing/model.onnx");
    let error = export_onnx(&path, &net.graph, &net.state, &card(), &OnnxOptions::default()).unwrap_err();
    assert!(matches!(error, WeightsError::Io { .. }) && error.to_string().contains("missing"), "{error}");
}

#[test]
fn the_weights_and_the_card_of_an_export_come_back_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    for net in thin::all() {
        let mut engine =
            Engine::new(net.graph.clone(), &EngineConfig { threads: 1, ..Default::default() }).unwrap();
        engine.load_state_dict(&net.state, WeightSet::Live).unwrap();
        let folded = engine.fold(WeightSet::Live).unwrap();
        for (graph, state) in [(&net.graph, &net.state), (&folded.0, &folded.1)] {
            for preprocessing in [false, true] {
                export_onnx(&path, graph, state, &card(), &OnnxOptions { preprocessing }).unwrap();
                let read = read_state_dict(&path).unwrap();
                assert_eq!((read.format, read.notes.len()), (WeightsFormat::Onnx, 0));
                assert_eq!(read.card, card());
                assert_eq!(read_model_card(&path).unwrap(), card());
                let expected: Vec<_> =
                    state.iter().filter(|(name, _)| !name.ends_with("num_batches_tracked")).collect();
                assert_eq!(read.state.len(), expected.len());
                for (name, tensor) in expected {
                    assert_eq!(read.state.get(name), Some(tensor), "{}: {name}", net.name);
                }
            }
        }
    }
}

#[test]
fn a_damaged_model_is_refused_in_words() {
    let net = thin::all().remove(0);
    let whole = onnx_bytes(&net.graph, &net.state, &card(), &OnnxOptions::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let read = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        read_state_dict(&path).unwrap_err().to_string()
    };
    assert!(read(&whole[..whole.len() / 2]).contains("bytes and"), "cut in the graph");
    assert!(read(b"").contains("an empty file"));
    assert!(read(b"no model").contains("not a weights file"));
    assert!(read(&[8, 0x80]).contains("ends within a number"));
    assert!(read(&[8, 8, 0x3f]).contains("unknown wire type 7"));
    // A tensor that promises more values than it has, and one that lies elsewhere.
    let model = |tensor: &[u8]| {
        let mut bytes = vec![8, 8, 0x3a, tensor.len() as u8 + 2, 0x2a, tensor.len() as u8];
        bytes.extend_from_slice(tensor);
        bytes
    };
    let error = read(&model(&[8, 9, 16, 1, 0x42, 1, b'w', 0x4a, 4, 0, 0, 0, 0]));
    assert!(error.contains("tensor `w` has the sizes [9] and 4 bytes"), "{error}");
    assert!(read(&model(&[8, 1, 16, 1, 0x42, 1, b'w', 0x70, 1])).contains("lies in another file"));
    assert!(read(&model(&[8, 1, 16, 17, 0x42, 1, b'w'])).contains("number 17 of ONNX"));
}
