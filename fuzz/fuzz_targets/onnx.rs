//! Any bytes as `w.onnx`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| danlu_fuzz::read("w.onnx", data));
