//! Arbitrary bytes; see `portcullis_fuzz::request`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| portcullis_fuzz::request(bytes));
