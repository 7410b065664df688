//! What a model is told of arguments that do not fit.

use portcullis_runtime::wit::decode_arguments;
use serde_json::{Value, json};
use wasmtime::component::Val;

use crate::made::{described, interface};

fn decode(body: &str, arguments: Value) -> Result<Vec<Val>, String> {
    let description = described(&interface(body));
    let function = description.functions.last().expect("a function");
    let Value::Object(arguments) = arguments else { panic!("an object") };
    decode_arguments(&description.types, function, &arguments).map_err(|error| error.to_string())
}

#[test]
fn errors_say_where_and_what() {
    let body = "
        enum unit { celsius, fahrenheit }
        flags parts { wind, rain }
        variant place { here, at(string), near(option<u8>) }
        record filter { tags: list<string>, min-age: option<u8> }
        f: func(
            age: u8, name: string, big: u64, low: s64, ratio: f32, c: char, data: list<u8>, pair: tuple<u8, bool>,
            unit: unit, parts: parts, place: place, filter: filter, deep: option<option<u8>>, res: result<u8>
        );";
    let right = json!({
        "age": 1, "name": "n", "big": 0, "low": 0, "ratio": 0.5, "c": "é", "data": "AAE=", "pair": [1, true],
        "unit": "celsius", "parts": ["rain"], "place": {"tag": "here"}, "filter": {"tags": []},
        "res": {"ok": 1},
    });
    assert!(decode(body, right.clone()).is_ok(), "{:?}", decode(body, right));
    let description = described(&interface(body));
    let function = &description.functions[0];
    for (key, value, expected) in [
        ("age", json!(256), "`$.age`: expected an integer from 0 to 255, found 256"),
        ("age", json!(1.5), "`$.age`: expected an integer from 0 to 255, found 1.5"),
        ("age", json!("1"), "`$.age`: expected an integer from 0 to 255, found \"1\""),
        ("age", json!(null), "`$.age`: expected an integer from 0 to 255, found null"),
        ("name", json!(["n"]), "`$.name`: expected a string, found an array of 1 elements"),
        ("name", json!({}), "`$.name`: expected a string, found an object"),
        (
            "big",
            json!(18446744073709551616.0),
            "`$.big`: expected an integer from 0 to 18446744073709551615, found 1.8446744073709552e+19",
        ),
        (
            "low",
            json!(9223372036854775808_u64),
            "`$.low`: expected an integer from -9223372036854775808 to 9223372036854775807, found 9223372036854775808",
        ),
        (
            "ratio",
            json!(1e39),
            "`$.ratio`: expected a number from -3.4028235e38 to 3.4028235e38, \"NaN\", \"Infinity\" or \"-Infinity\", \
             found 1e+39",
        ),
        ("c", json!("ab"), "`$.c`: expected a string of one character, found \"ab\""),
        ("c", json!(""), "`$.c`: expected a string of one character, found \"\""),
        ("data", json!("AAE"), "`$.data`: expected a string of base64 (standard alphabet, padded), found \"AAE\""),
        (
            "data",
            json!("A".repeat(1_398_108)),
            "`$.data`: expected at most 1398104 characters of base64, found 1398108 characters",
        ),
        ("pair", json!([1]), "`$.pair`: expected an array of exactly 2 elements, found an array of 1 elements"),
        ("pair", json!([1, 1]), "`$.pair[1]`: expected true or false, found 1"),
        ("unit", json!("kelvin"), "`$.unit`: expected one of \"celsius\", \"fahrenheit\", found \"kelvin\""),
        ("parts", json!(["wind", "wind"]), "`$.parts[1]`: expected each name once, found \"wind\" again"),
        ("parts", json!(["snow"]), "`$.parts[0]`: expected one of \"wind\", \"rain\", found \"snow\""),
        ("place", json!({}), "`$.place.tag`: required, expected one of \"here\", \"at\", \"near\""),
        ("place", json!({"tag": "at"}), "`$.place.value`: required, expected a string"),
        ("place", json!({"tag": "here", "value": 1}), "`$.place.value`: unknown, expected `tag`"),
        ("filter", json!({}), "`$.filter.tags`: required, expected an array"),
        ("filter", json!({"tags": ["a", "b", 3]}), "`$.filter.tags[2]`: expected a string, found 3"),
        ("filter", json!({"tags": [], "min-age": 3}), "`$.filter[\"min-age\"]`: unknown, expected `min_age`"),
        ("filter", json!({"tags": [], "zzzzzzzz": 3}), "`$.filter.zzzzzzzz`: unknown, expected `tags` or `min_age`"),
        ("deep", json!(3), "`$.deep`: expected null or an object with `some`, found 3"),
        ("deep", json!({"some": 300}), "`$.deep.some`: expected an integer from 0 to 255, found 300"),
        ("deep", json!({}), "`$.deep.some`: required, expected null or an integer from 0 to 255"),
        ("deep", json!({"some": 1, "more": 2}), "`$.deep.more`: unknown, expected `some`"),
        ("res", json!({}), "`$.res`: expected an object with either `ok` or `err`, found an object"),
        ("res", json!({"err": 1}), "`$.res.err`: expected null, found 1"),
        ("agee", json!(1), "`$.agee`: unknown, expected `age`"),
        ("a\u{1b}[2J", json!(1), "`$[\"a\\u{1b}[2J\"]`: unknown, expected `c`"),
    ] {
        let mut arguments = right.clone();
        arguments[key] = value;
        let Value::Object(arguments) = arguments else { unreachable!() };
        let error = decode_arguments(&description.types, function, &arguments).expect_err(expected);
        if key == "a\u{1b}[2J" {
            assert!(error.to_string().starts_with("`$[\"a\\u{1b}[2J\"]`: unknown, expected "), "{error}");
        } else {
            assert_eq!(error.to_string(), expected);
        }
    }
    let mut missing = right;
    missing.as_object_mut().expect("an object").remove("name");
    assert_eq!(decode(body, missing).unwrap_err(), "`$.name`: required, expected a string");
}

#[test]
fn excerpts_are_bounded() {
    let error = decode("f: func(x: u8);", json!({"x": "\u{1b}é".repeat(1000)})).unwrap_err();
    assert!(error.len() < 700 && !error.contains('\u{1b}'), "{error}");
    let error = decode("f: func(x: u8);", json!({"x": 1, "y".repeat(100_000): 1})).unwrap_err();
    assert!(error.len() < 700, "{error}");
}

#[test]
fn any_spelling_of_an_integer_is_one() {
    let body = "f: func(a: u64, b: s64, c: u8);";
    let read = |text: &str| decode(body, serde_json::from_str(text).expect("JSON"));
    for a in ["18446744073709551615", "5.0", "1e3", "-0", "-0.0", "0"] {
        assert!(read(&format!(r#"{{"a": {a}, "b": -9223372036854775808, "c": 2e2}}"#)).is_ok(), "{a}");
    }
    for a in ["18446744073709551616", "18446744073709551615.0", "-1", "0.5", "1e-1", "-5e0"] {
        assert!(read(&format!(r#"{{"a": {a}, "b": 0, "c": 0}}"#)).is_err(), "{a}");
    }
}

#[test]
fn none_may_be_absent_or_null() {
    let body = "f: func(a: option<u8>, b: option<option<u8>>);";
    let none = || Val::Option(None);
    let some = |v: Val| Val::Option(Some(Box::new(v)));
    for (arguments, a, b) in [
        (json!({}), none(), none()),
        (json!({"a": null, "b": null}), none(), none()),
        (json!({"a": 1, "b": {"some": null}}), some(Val::U8(1)), some(none())),
        (json!({"b": {"some": 2}}), none(), some(some(Val::U8(2)))),
    ] {
        assert_eq!(decode(body, arguments).unwrap(), [a, b]);
    }
}
