#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    danlu_data::fuzz::cifar(bytes);
});
