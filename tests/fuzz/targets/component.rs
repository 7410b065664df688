//! Arbitrary bytes; see `portcullis_fuzz::inspected`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| portcullis_fuzz::inspected(bytes));
