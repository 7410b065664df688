//! Bytes that nobody meant: reading ends, with a description or an error.

use portcullis_runtime::component::{Description, describe};
use portcullis_runtime::wit::definitions;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;

use crate::made::interface;

/// Whatever comes out can be used.
fn read(bytes: &[u8]) {
    if let Ok(description) = describe(bytes) {
        let _ = definitions(&description, "p_", None).expect("no choice");
        let json = serde_json::to_vec(&description).expect("JSON");
        serde_json::from_slice::<Description>(&json).expect("a description");
    }
}

fn component() -> Vec<u8> {
    interface(
        "record r { a: string, b: list<u8>, c: option<option<s64>> } variant v { x, y(r) } flags g { p, q }
        resource h { m: func(); }
        f: func(x: r, y: v, z: g) -> result<tuple<r, v>, string>; k: func(h: borrow<h>) -> own<h>;",
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        read(&bytes);
        read(&[b"\0asm\x0d\0\x01\0", bytes.as_slice()].concat());
    }

    #[test]
    fn flipped_bits(flips in proptest::collection::vec((any::<proptest::sample::Index>(), 0..8_u8), 1..4)) {
        let mut bytes = component();
        for (at, bit) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        read(&bytes);
    }

    #[test]
    fn a_damaged_description(at in any::<proptest::sample::Index>(), with in "[0-9]{1,10}") {
        // What the confined process could write if it were taken over: other ids, in particular.
        let json = serde_json::to_string(&describe(&component()).expect("a component")).expect("JSON");
        let digits: Vec<usize> = json.match_indices(|c: char| c.is_ascii_digit()).map(|(i, _)| i).collect();
        let at = *at.get(&digits);
        let damaged = format!("{}{with}{}", &json[..at], &json[at + 1..]);
        if let Ok(description) = serde_json::from_str::<Description>(&damaged) {
            let _ = definitions(&description, "p_", None).expect("no choice");
        }
    }
}

#[test]
fn generated_components() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let seeds = proptest::collection::vec(any::<u8>(), 2048);
    for _ in 0..300 {
        let seed = seeds.new_tree(&mut runner).expect("bytes").current();
        let config = wasm_smith::Config::default();
        let mut unstructured = arbitrary::Unstructured::new(&seed);
        if let Ok(component) = wasm_smith::Component::new(config, &mut unstructured) {
            read(&component.to_bytes());
        }
    }
}
