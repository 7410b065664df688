//! A description against a component that is another one.

use portcullis_runtime::wit::{check, export_index};
use wasmtime::component::Component;

use crate::made::{described, interface};
use crate::random::engine;

/// What is found when `actual` was described as `told`.
fn differs(told: &str, actual: &str, expected: &str) {
    let description = described(&interface(told));
    let component = Component::new(engine(), interface(actual)).expect("a component");
    let error = check(&description, &component, engine()).expect_err(expected).to_string();
    let expected = format!("the function `test:made/tools@1.0.0.f` was described otherwise than it is: {expected}");
    assert_eq!(error, expected, "{told} for {actual}");
}

#[test]
fn what_was_described_is_what_runs() {
    for (told, actual, expected) in [
        ("f: func();", "g: func();", "it is not exported"),
        ("f: func();", "f: func(a: u8);", "it has 1 parameters, expected 0"),
        ("f: func(a: u8);", "f: func(b: u8);", "a parameter is called `b`, expected `a`"),
        ("f: func(a: u8);", "f: func(a: s8);", "parameter `a`: it is no u8"),
        ("f: func() -> u8;", "f: func();", "the number of its results differs"),
        ("f: func();", "f: func() -> u8;", "the number of its results differs"),
        ("f: func() -> list<u8>;", "f: func() -> list<s8>;", "result: it is no list<u8>"),
        ("f: func() -> list<string>;", "f: func() -> list<u8>;", "result: it is no string"),
        ("f: func() -> option<bool>;", "f: func() -> option<char>;", "result: it is no bool"),
        ("f: func() -> tuple<u8, u8>;", "f: func() -> tuple<u8>;", "result: it is no tuple"),
        ("f: func() -> tuple<u8, f32>;", "f: func() -> tuple<u8, f64>;", "result: it is no f32"),
        ("f: func() -> result<u8>;", "f: func() -> result<u8, u8>;", "result: one has a payload, the other has none"),
        (
            "record r { a: u8 } f: func() -> r;",
            "record r { b: u8 } f: func() -> r;",
            "result: a field is called `b`, expected `a`",
        ),
        ("record r { a: u8 } f: func() -> r;", "record r { a: u8, b: u8 } f: func() -> r;", "result: it is no record"),
        (
            "variant r { a(u8), b } f: func() -> r;",
            "variant r { a(u8), c } f: func() -> r;",
            "result: a case is called `c`, expected `b`",
        ),
        (
            "variant r { a(u8), b } f: func() -> r;",
            "variant r { a, b } f: func() -> r;",
            "result: one has a payload, the other has none",
        ),
        ("enum r { a, b } f: func() -> r;", "enum r { b, a } f: func() -> r;", "result: it is no enum"),
        ("flags r { a, b } f: func() -> r;", "flags r { a } f: func() -> r;", "result: it is no flags"),
    ] {
        differs(told, actual, expected);
    }
}

#[test]
fn functions_are_found_by_their_position() {
    let bytes = interface("f: func(); resource r; g: func(x: borrow<r>); h: func();");
    let description = described(&bytes);
    let component = Component::new(engine(), &bytes).expect("a component");
    check(&description, &component, engine()).expect("the same");
    for position in 0..description.functions.len() {
        assert!(export_index(&description, position, &component).is_some(), "{position}");
    }
    assert!(export_index(&description, description.functions.len(), &component).is_none());
}
