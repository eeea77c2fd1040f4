//! What danlu writes as safetensors comes back whole, in order, with its card, and the same every time.

use danlu_weights::{
    ModelCard, Resize, StateDict, Tensor, WeightsFormat, read_model_card, read_state_dict, write_safetensors,
};

fn sample() -> StateDict {
    let tensor = |shape: &[usize], data: Vec<f32>| Tensor { shape: shape.to_vec(), data };
    let mut state = StateDict::new();
    state.insert("z.weight", tensor(&[2, 1, 1, 3], vec![1.0, -2.5, f32::MIN_POSITIVE, 0.0, 1e30, -0.0]));
    state.insert("bn.weight", tensor(&[3], vec![0.1, 0.2, 0.3]));
    state.insert("bn.num_batches_tracked", tensor(&[], vec![12345.0]));
    state.insert("a.bias", tensor(&[1], vec![7.0]));
    state
}

fn card() -> ModelCard {
    ModelCard {
        classes: vec!["T恤".into(), "trouser".into()],
        channels: Some(1),
        mean: vec![0.286],
        std: vec![0.353],
        resize: Some(Resize::Exact([28, 28])),
        network: Some(serde_json::json!({ "name": "small", "width": 32 })),
        ..ModelCard::new()
    }
}

#[test]
fn every_way_of_resizing_survives_the_round_trip() {
    let folder = tempfile::tempdir().unwrap();
    for resize in [Resize::ShortSide(256), Resize::Exact([28, 30]), Resize::Pad { pad: [28, 30] }] {
        let path = folder.path().join("w.safetensors");
        write_safetensors(&path, &sample(), &ModelCard { resize: Some(resize), ..card() }).unwrap();
        assert_eq!(read_model_card(&path).unwrap().resize, Some(resize));
    }
}

#[test]
fn a_state_dict_survives_the_round_trip_in_order_with_its_card() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("best.safetensors");
    write_safetensors(&path, &sample(), &card()).unwrap();
    let loaded = read_state_dict(&path).unwrap();
    assert_eq!(loaded.state, sample());
    assert_eq!(loaded.format, WeightsFormat::Safetensors);
    assert_eq!(loaded.dtypes["i64"], 1);
    assert_eq!(loaded.metadata["format"], "pt");
    let read = read_model_card(&path).unwrap();
    assert_eq!(read, loaded.card);
    assert_eq!(ModelCard { other: Default::default(), ..read }, card());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
}

#[test]
fn equal_models_give_equal_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a.safetensors"), folder.path().join("b.safetensors"));
    write_safetensors(&a, &sample(), &card()).unwrap();
    write_safetensors(&b, &sample(), &card()).unwrap();
    assert_eq!(std::fs::read(a).unwrap(), std::fs::read(b).unwrap());
}
