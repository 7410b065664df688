//! What a call returns as JSON, within its budget.

use portcullis_runtime::wit::{EncodeError, GuestError, encode_result};
use serde_json::{Value, json};
use wasmtime::component::Val;

use crate::made::{described, interface};

fn encode(body: &str, value: Option<Val>, limit: u64) -> Result<Result<Value, GuestError>, EncodeError> {
    let description = described(&interface(body));
    let function = description.functions.last().expect("a function");
    let mut results: Vec<Val> = value.into_iter().collect();
    encode_result(&description.types, function, &mut results, limit).map(|outcome| outcome.map(Value::Object))
}

fn some(value: Val) -> Option<Box<Val>> {
    Some(Box::new(value))
}

#[test]
fn a_result_is_an_object() {
    let ok = |body: &str, value: Option<Val>| encode(body, value, 1000).unwrap().unwrap();
    assert_eq!(ok("f: func();", None), json!({}));
    assert_eq!(ok("f: func() -> u64;", Some(Val::U64(u64::MAX))), json!({"result": u64::MAX}));
    assert_eq!(ok("f: func() -> f32;", Some(Val::Float32(0.1))), json!({"result": 0.10000000149011612}));
    assert_eq!(ok("f: func() -> f64;", Some(Val::Float64(f64::NAN))), json!({"result": "NaN"}));
    assert_eq!(ok("f: func() -> f64;", Some(Val::Float64(-0.0))).to_string(), r#"{"result":-0.0}"#);
    assert_eq!(
        ok("f: func() -> result<string>;", Some(Val::Result(Ok(some(Val::String("s".into())))))),
        json!({"result": "s"})
    );
    assert_eq!(ok("f: func() -> result;", Some(Val::Result(Ok(None)))), json!({}));
    assert_eq!(ok("f: func() -> option<u8>;", Some(Val::Option(None))), json!({"result": null}));
    assert_eq!(
        ok(
            "record r { some-thing: option<u8> } f: func() -> r;",
            Some(Val::Record(vec![("some-thing".into(), Val::Option(None))]))
        ),
        json!({"some_thing": null})
    );
}

#[test]
fn an_error_is_text() {
    let err = |body: &str, value: Option<Box<Val>>| {
        let error = encode(body, Some(Val::Result(Err(value))), 1000).unwrap().unwrap_err();
        (error.text, error.value)
    };
    assert_eq!(
        err("f: func() -> result<u8, string>;", some(Val::String("no such city".into()))),
        ("no such city".into(), json!("no such city"))
    );
    assert_eq!(
        err("record e { code: u8 } f: func() -> result<u8, e>;", some(Val::Record(vec![("code".into(), Val::U8(7))]))),
        (r#"{"code":7}"#.into(), json!({"code": 7}))
    );
    assert_eq!(
        err("f: func() -> result<u8>;", None),
        ("the function returned an error without saying which".into(), Value::Null)
    );
}

#[test]
fn the_budget_is_the_length_of_the_json() {
    let body = "
        record r { a: u8, b: list<s32>, c: option<string>, d: list<u8>, e: result<_, bool> }
        variant v { one, two(r) }
        flags g { x, y, z }
        f: func() -> tuple<r, v, g, char>;";
    let record = || {
        Val::Record(vec![
            ("a".into(), Val::U8(255)),
            ("b".into(), Val::List(vec![Val::S32(-10), Val::S32(0), Val::S32(i32::MIN)])),
            ("c".into(), Val::Option(some(Val::String("a\"\\\n\u{1}é".into())))),
            ("d".into(), Val::List(vec![Val::U8(1), Val::U8(2), Val::U8(3), Val::U8(4)])),
            ("e".into(), Val::Result(Err(some(Val::Bool(false))))),
        ])
    };
    let value = || {
        Val::Tuple(vec![
            record(),
            Val::Variant("two".into(), some(record())),
            Val::Flags(vec!["x".into(), "z".into()]),
            Val::Char('\u{1f600}'),
        ])
    };
    let length = encode(body, Some(value()), 1 << 20).unwrap().unwrap().to_string().len() as u64;
    // Each array and object counts a comma for its last element too, which it does not have: within a few bytes.
    let needed = (0..).find(|limit| encode_at(body, value(), *limit)).expect("enough");
    assert!(needed >= length && needed - length < 20, "{needed} for {length}");

    fn encode_at(body: &str, value: Val, limit: u64) -> bool {
        thread_local!(static DESCRIPTION: std::cell::RefCell<Option<portcullis_runtime::component::Description>> =
            const { std::cell::RefCell::new(None) });
        DESCRIPTION.with_borrow_mut(|description| {
            let description = description.get_or_insert_with(|| described(&interface(body)));
            let function = description.functions.last().expect("a function");
            match encode_result(&description.types, function, &mut [value], limit) {
                Ok(_) => true,
                Err(EncodeError::OutputTooLarge { limit: told }) => {
                    assert_eq!(told, limit);
                    false
                }
                Err(error) => panic!("{error}"),
            }
        })
    }
}

#[test]
fn a_value_of_another_type_is_no_panic() {
    for value in [Val::U8(1), Val::String("x".into()), Val::List(vec![Val::Bool(true)])] {
        let error = encode("f: func() -> tuple<u8, u8>;", Some(value), 100).unwrap_err();
        assert_eq!(error, EncodeError::Mismatch { expected: "tuple" });
    }
    assert!(encode("f: func() -> u8;", None, 100).is_err());
    assert!(encode("f: func();", Some(Val::U8(1)), 100).is_err());
}
