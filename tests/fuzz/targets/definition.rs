//! Arbitrary bytes; see `portcullis_fuzz::definition`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| portcullis_fuzz::definition(bytes));
