//! Thousands of damaged files, the same in every run: each is read or refused in words; none panics, hangs, or gives tensors
//! whose values and sizes disagree. `fuzz/` looks further, for as long as one lets it.

mod thin;

use danlu_weights::{
    ModelCard, OnnxOptions, ReadOptions, WeightsError, inspect, onnx_bytes, read_model_card,
    read_state_dict_with,
};
use std::path::{Path, PathBuf};

/// Mutants of each file.
const MUTANTS: u64 = 400;

/// SplitMix64: a few lines, so that a mutant is known by its file and number.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

/// One to four changes, most of them near the start, where headers and pickles are.
fn mutate(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for _ in 0..=random.below(4) {
        let end = if random.below(3) > 0 { out.len().min(512) } else { out.len() };
        let at = random.below(end);
        match random.below(7) {
            0 if !out.is_empty() => out[at] ^= 1 << random.below(8),
            1 if !out.is_empty() => out[at] = [0, 1, 0x7f, 0x80, 0xff, b'(', b'.', b'{'][random.below(8)],
            2 => out.truncate(at),
            3 => {
                let number = [0, 1, u64::MAX, i64::MAX as u64, 1 << 32, 1 << 40][random.below(6)];
                let end = out.len().min(at + 8);
                let width = end - at;
                out[at..end].copy_from_slice(&number.to_le_bytes()[..width]);
            }
            4 => {
                let length = random.below(64).min(out.len() - at);
                let span = out[at..at + length].to_vec();
                let to = random.below(out.len() + 1);
                out.splice(to..to, span);
            }
            5 => {
                let length = random.below(64).min(out.len() - at);
                out.drain(at..at + length);
            }
            _ => {
                // A decimal digit of a header or of a text pickle.
                if let Some(digit) = out[at..].iter_mut().find(|byte| byte.is_ascii_digit()) {
                    *digit = b'0' + random.below(10) as u8;
                }
            }
        }
    }
    out
}

fn look_at(path: &Path) -> Result<(), WeightsError> {
    for raw_over_ema in [false, true] {
        let loaded = read_state_dict_with(path, &ReadOptions { raw_over_ema, top_level_key: None })?;
        for (name, tensor) in loaded.state.iter() {
            assert_eq!(tensor.shape.iter().product::<usize>(), tensor.data.len(), "{name}");
        }
        inspect(&loaded.state);
        danlu_weights::identify(&loaded.state);
    }
    read_model_card(path).map(|_| ())
}

/// Counts of mutants that were read and refused.
fn run(name: &str, bytes: &[u8], folder: &Path, file: &str) -> (usize, usize) {
    let path = folder.join(file);
    let (mut read, mut refused) = (0, 0);
    for number in 0..MUTANTS {
        let seed =
            name.bytes().fold(number, |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)));
        std::fs::write(&path, mutate(bytes, &mut Random(seed))).unwrap();
        let outcome = std::panic::catch_unwind(|| look_at(&path));
        match outcome.unwrap_or_else(|_| panic!("mutant {number} of {name} panics")) {
            Ok(()) => read += 1,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                refused += 1;
            }
        }
    }
    (read, refused)
}

#[test]
fn damaged_weights_files_are_read_or_refused_and_never_panic() {
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let folder = tempfile::tempdir().unwrap();
    let mut seeds: Vec<(String, Vec<u8>)> = [
        "vgg_thin.safetensors",
        "dtypes.safetensors",
        "dtypes.pth",
        "views.pth",
        "nested.pth",
        "legacy.pth",
        "tar.pth",
        "whole_module.pth",
    ]
    .iter()
    .map(|name| ((*name).to_owned(), std::fs::read(golden.join(name)).unwrap()))
    .collect();
    let net = thin::all().remove(0);
    let card = ModelCard { classes: vec!["a".into(), "b".into()], ..ModelCard::new() };
    let model = onnx_bytes(&net.graph, &net.state, &card, &OnnxOptions::default()).unwrap();
    seeds.push(("model.onnx".to_owned(), model));
    for (name, bytes) in &seeds {
        let (read, refused) = run(name, bytes, folder.path(), name);
        assert!(refused > 0 && read + refused == MUTANTS as usize, "{name}: {read} read, {refused} refused");
    }
}

#[test]
fn damaged_descriptions_of_hugging_face_folders_are_read_or_refused_and_never_panic() {
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/sharded");
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(&golden).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    for file in ["config.json", "model.safetensors.index.json"] {
        let bytes = std::fs::read(golden.join(file)).unwrap();
        for number in 0..MUTANTS {
            std::fs::write(folder.path().join(file), mutate(&bytes, &mut Random(number))).unwrap();
            let outcome = std::panic::catch_unwind(|| look_at(folder.path()));
            assert!(outcome.is_ok(), "mutant {number} of {file} panics");
        }
        std::fs::write(folder.path().join(file), &bytes).unwrap();
    }
}
