//! Bytes that wasm-smith makes modules and components of; see `portcullis_fuzz::generated`.

#![no_main]

libfuzzer_sys::fuzz_target!(|seed: &[u8]| portcullis_fuzz::generated(seed));
