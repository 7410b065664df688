//! Arbitrary bytes; see `portcullis_fuzz::lock`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| portcullis_fuzz::lock(bytes));
