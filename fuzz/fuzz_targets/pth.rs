//! Any bytes as `w.pth`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| danlu_fuzz::read("w.pth", data));
