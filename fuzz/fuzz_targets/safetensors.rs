//! Any bytes as `w.safetensors`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| danlu_fuzz::read("w.safetensors", data));
