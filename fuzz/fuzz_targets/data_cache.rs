#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let path = std::env::temp_dir().join(format!("danlu-fuzz-{}.cache", std::process::id()));
    danlu_data::fuzz::cache(&path, bytes, &[100, 700, 256]);
});
