//! Any bytes as the `config.json` of a Hugging Face folder whose weights are whole.
#![no_main]

use std::io::Write;

use danlu_weights::{ModelCard, StateDict, Tensor, write_safetensors};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let tensor = Tensor { shape: vec![2, 1, 1, 1], data: vec![1.0, 2.0] };
    let state: StateDict = [("conv1.weight".to_owned(), tensor)].into_iter().collect();
    write_safetensors(&folder.path().join("model.safetensors"), &state, &ModelCard::new()).expect("writes");
    let mut config = std::fs::File::create(folder.path().join("config.json")).expect("creates");
    config.write_all(data).expect("writes");
    danlu_fuzz::look_at(folder.path());
});
