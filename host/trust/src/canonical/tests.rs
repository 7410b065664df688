//! RFC 8785's own vectors, a second implementation, and what is not taken in.

use std::fmt::Write as _;

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn text(value: &Value) -> String {
    String::from_utf8(canonical(value).unwrap()).unwrap()
}

/// RFC 8785, appendix B.
#[test]
fn numbers_are_written_as_the_rfc_has_them() {
    let check = |bits: u64, expected: &str| assert_eq!(text(&json!(f64::from_bits(bits))), expected, "{bits:016x}");
    check(0x0000_0000_0000_0000, "0");
    check(0x8000_0000_0000_0000, "0");
    check(0x0000_0000_0000_0001, "5e-324");
    check(0x8000_0000_0000_0001, "-5e-324");
    check(0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308");
    check(0xffef_ffff_ffff_ffff, "-1.7976931348623157e+308");
    check(0x4340_0000_0000_0000, "9007199254740992");
    check(0xc340_0000_0000_0000, "-9007199254740992");
    check(0x4430_0000_0000_0000, "295147905179352830000");
    check(0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22");
    check(0x44b5_2d02_c7e1_4af6, "1e+23");
    check(0x44b5_2d02_c7e1_4af7, "1.0000000000000001e+23");
    check(0x444b_1ae4_d6e2_ef4e, "999999999999999700000");
    check(0x444b_1ae4_d6e2_ef4f, "999999999999999900000");
    check(0x444b_1ae4_d6e2_ef50, "1e+21");
    check(0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7");
    check(0x3eb0_c6f7_a0b5_ed8d, "0.000001");
    check(0x41b3_de43_5555_5553, "333333333.3333332");
    check(0x41b3_de43_5555_5554, "333333333.33333325");
    check(0x41b3_de43_5555_5555, "333333333.3333333");
    check(0x41b3_de43_5555_5556, "333333333.3333334");
    check(0x41b3_de43_5555_5557, "333333333.33333343");
    check(0xbecb_f647_612f_3696, "-0.0000033333333333333333");
    check(0x4314_3ff3_c1cb_0959, "1424953923781206.2");
}

/// RFC 8785, sections 3.2.2 and 3.2.3.
#[test]
fn samples_are_written_as_the_rfc_has_them() {
    let sample = r#"{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", "literals": [null, true, false]}"#;
    // 333333333.33333329 is not exact, so that `read_strict` refuses it.
    let sample: Value = serde_json::from_str(sample).unwrap();
    let expected = r#"{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}"#;
    assert_eq!(text(&sample), expected);
    let keys = r#"{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One",
        "\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}"#;
    let sorted: Value = serde_json::from_slice(&canonical(&read_strict(keys.as_bytes()).unwrap()).unwrap()).unwrap();
    let order: Vec<&str> = sorted.as_object().unwrap().values().map(|value| value.as_str().unwrap()).collect();
    assert_eq!(
        order,
        [
            "Carriage Return",
            "One",
            "Control",
            "Latin Small Letter O With Diaeresis",
            "Euro Sign",
            "Emoji: Grinning Face",
            "Hebrew Letter Dalet With Dagesh",
        ]
    );
}

/// The digest is part of every lock: it may not change by accident.
#[test]
fn the_digest_is_domain_separated_and_fixed() {
    let definition = json!({"name": "a", "inputSchema": {"type": "object"}});
    let bytes = b"portcullis definition v1\0{\"inputSchema\":{\"type\":\"object\"},\"name\":\"a\"}";
    assert_eq!(definition_digest(&definition), Ok(Digest::of(bytes)));
}

/// What is refused, by the name of the error.
#[test]
fn what_could_share_a_digest_is_refused() {
    let check = |bytes: &[u8], expected: &str| {
        let error = format!("{:?}", read_strict(bytes).expect_err("refused"));
        assert!(error.starts_with(expected), "{:?}: {error}", String::from_utf8_lossy(bytes));
    };
    check(br#"{"a":1,"a":1}"#, r#"DuplicateKey("a")"#);
    check(br#"[{"x":[{"b":1,"\u0062":2}]}]"#, r#"DuplicateKey("b")"#);
    check(br#"{"\ud83d\ude00":1,"\xf0\x9f\x98\x80":2}"#, "NotJson");
    check("{\"\\ud83d\\ude00\":1,\"😀\":2}".as_bytes(), "DuplicateKey(\"😀\")");
    check(br#"["\ud800"]"#, "NotJson");
    check(br#"["\udc00 x"]"#, "NotJson");
    check(br#"{"\ud800":1}"#, "NotJson");
    for number in [
        "9007199254740993",
        "-9007199254740993",
        "18446744073709551615",
        "18446744073709551617",
        "1e400",
        "-1e400",
        "1e-400",
        "1e99999999999999999999",
        "1e-99999999999999999999",
        "0.10000000000000001",
        "0.1000000000000000055511151231257827021181583404541015625",
        "333333333.33333329",
        "1.00000000000000000000000000000000001",
    ] {
        check(number.as_bytes(), "NotCanonical(Number");
        check(format!("{{\"a\":[{number}]}}").as_bytes(), "NotCanonical(Number");
    }
    for number in ["NaN", "Infinity", "-Infinity", "01", "+1", ".5", "1.", "0x10", "1e", "--1", "1_000"] {
        check(number.as_bytes(), "NotJson");
    }
    check(b"\xef\xbb\xbf{}", "ByteOrderMark");
    check(b"{\"a\":\"\xff\"}", "NotUtf8(6)");
    check(b"\xff\xfe{\0}\0", "NotUtf8(0)");
    check(b"{} {}", "NotJson");
    check(b"{}x", "NotJson");
    check(b"", "NotJson");
    check(b"{\"a\":\"\n\"}", "NotJson");
    check("[".repeat(10_000).as_bytes(), "NotCanonical(TooDeep)");
    check("{\"a\":".repeat(10_000).as_bytes(), "NotCanonical(TooDeep)");
    check(&vec![b' '; MAX_DEFINITION_BYTES + 1], "NotCanonical(TooLarge)");
}

#[test]
fn a_hundred_megabytes_are_not_read() {
    // Not UTF-8 at its end: the length is looked at first.
    let mut bytes = vec![b'['; 100 << 20];
    bytes.push(0xff);
    assert_eq!(read_strict(&bytes), Err(NotCanonical::TooLarge.into()));
}

#[test]
fn the_bounds_themselves_are_taken_in() {
    let deep = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
    let value = read_strict(deep(MAX_DEPTH).as_bytes()).unwrap();
    assert!(canonical(&value).is_ok());
    let deeper: Value = serde_json::from_str(&deep(MAX_DEPTH + 1)).unwrap();
    assert_eq!(check_value(&deeper), Err(NotCanonical::TooDeep));
    // Brackets in strings are no depth, digits in strings no numbers.
    assert!(read_strict(format!("[\"{}\\\"[ 1e400\"]", "[".repeat(100)).as_bytes()).is_ok());
    let long = json!("x".repeat(MAX_DEFINITION_BYTES));
    assert_eq!(canonical(&long), Err(NotCanonical::TooLarge));
    assert_eq!(check_value(&json!({"x".repeat(MAX_DEFINITION_BYTES): 1})), Err(NotCanonical::TooLarge));
    // Short as values, long as JSON.
    assert_eq!(canonical(&json!("\u{1}".repeat(MAX_DEFINITION_BYTES / 2))), Err(NotCanonical::TooLarge));
}

#[test]
fn numbers_of_values_are_checked_too() {
    let check = |value: Value, ok: bool| assert_eq!(check_value(&value).is_ok(), ok, "{value}");
    check(json!(9_007_199_254_740_992_u64), true);
    check(json!(9_007_199_254_740_993_u64), false);
    check(json!([{"a": u64::MAX}]), false);
    check(json!(i64::MAX), false);
    check(json!(i64::MIN), true);
    check(json!(i64::MIN + 1), false);
    check(json!(18_446_744_073_709_551_616.0), true);
    check(json!(-3.402_823_466_385_288_6e38), true);
}

/// The numbers that the mapping of WIT writes are the same after the store.
#[test]
fn what_is_stored_is_read_again() {
    let check = |value: Value| {
        let bytes = canonical(&value).unwrap();
        let again = read_strict(&bytes).unwrap();
        assert_eq!(definition_digest(&again), definition_digest(&value));
        assert_eq!(read_strict(value.to_string().as_bytes()).map(|value| canonical(&value)), Ok(Ok(bytes)));
    };
    check(json!({"minimum": i64::MIN, "exclusiveMaximum": 1_u64 << 63}));
    check(json!({"minimum": 0, "exclusiveMaximum": 18_446_744_073_709_551_616.0}));
    check(json!([f64::from(f32::MIN), f64::from(f32::MAX), f64::MAX, f64::MIN_POSITIVE, 5e-324]));
}

/// One number, spelled differently.
#[test]
fn spellings_of_a_number_are_one() {
    let check = |spellings: &[&str]| {
        let digests: Vec<_> = spellings
            .iter()
            .map(|spelling| definition_digest(&read_strict(spelling.as_bytes()).expect(spelling)).unwrap())
            .collect();
        assert!(digests.windows(2).all(|two| two[0] == two[1]), "{spellings:?}");
    };
    check(&["1", "1.0", "1e0", "10e-1", "0.1e1", "1.000", "1E+0", "0.0001e4"]);
    check(&["0", "-0", "0.0", "-0.0e5", "0e999999999999999999999"]);
    check(&["120", "12e1", "1.2E2", "0.12e3"]);
    check(&["-0.5", "-5e-1", "-0.50"]);
    check(&["1e21", "1000000000000000000000"]);
    check(&["18446744073709551616", "18446744073709552000", "1.8446744073709552e19"]);
}

/// A second canonicaliser, that shares no code with the first: recursive, over UTF-16 keys, with the digits
/// that serde_json finds for a double laid out by ECMA-262, section 6.1.6.1.20.
fn second(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => write!(out, "{value}").unwrap(),
        Value::Number(number) => second_number(number, out),
        Value::String(text) => second_string(text, out),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { "," });
                second(item, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(key, _)| key.encode_utf16().collect::<Vec<u16>>());
            out.push('{');
            for (index, (key, member)) in members.into_iter().enumerate() {
                out.push_str(if index == 0 { "" } else { "," });
                second_string(key, out);
                out.push(':');
                second(member, out);
            }
            out.push('}');
        }
    }
}

fn second_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            '\0'..='\u{1f}' => write!(out, "\\u{:04x}", u32::from(c)).unwrap(),
            c => out.push(c),
        }
    }
    out.push('"');
}

fn second_number(number: &Number, out: &mut String) {
    let (negative, digits, exponent) = decimal(&json!(number.as_f64()).to_string());
    if digits.is_empty() {
        return out.push('0');
    }
    if negative {
        out.push('-');
    }
    let k = digits.len() as i64;
    let n = exponent + k;
    if k <= n && n <= 21 {
        out.push_str(&digits);
        out.push_str(&"0".repeat((n - k) as usize));
    } else if 0 < n && n <= 21 {
        out.push_str(&digits[..n as usize]);
        out.push('.');
        out.push_str(&digits[n as usize..]);
    } else if -6 < n && n <= 0 {
        out.push_str("0.");
        out.push_str(&"0".repeat(-n as usize));
        out.push_str(&digits);
    } else {
        out.push_str(&digits[..1]);
        if k > 1 {
            out.push('.');
            out.push_str(&digits[1..]);
        }
        write!(out, "e{}{}", if n > 0 { '+' } else { '-' }, (n - 1).abs()).unwrap();
    }
}

pub(crate) fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-z]{0,8}", 2 => any::<String>(), 1 => "[\\x00-\\x20\"\\\\/\u{7f}-\u{a0}😀-😂\u{fb00}-\u{fb40}]{0,6}"]
}

pub(crate) fn any_value() -> impl Strategy<Value = Value> {
    let number = prop_oneof![
        any::<u64>().prop_map(f64::from_bits).prop_filter("finite", |number| number.is_finite()).prop_map(|n| json!(n)),
        (-(1_i64 << 53)..=1 << 53).prop_map(|n| json!(n)),
        // Here a double may have two shortest texts.
        (1_i64 << 52..1 << 53).prop_map(|n| json!(n as f64 / 4.0)),
        (-1000_i64..1000).prop_map(|n| json!(n)),
        (-1000_i64..1000).prop_map(|n| json!(n as f64 / 100.0)),
    ];
    let leaf =
        prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::Bool), number, any_text().prop_map(Value::String)];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            prop::collection::vec((any_text(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn two_implementations_agree(value in any_value()) {
        let mut expected = String::new();
        second(&value, &mut expected);
        prop_assert_eq!(text(&value), expected);
    }

    #[test]
    fn canonical_bytes_are_read_as_themselves(value in any_value()) {
        let bytes = canonical(&value).unwrap();
        let again = read_strict(&bytes).unwrap();
        prop_assert_eq!(canonical(&again).unwrap(), bytes);
        // Any other writing of the value gives the same.
        let pretty = read_strict(serde_json::to_string_pretty(&value).unwrap().as_bytes()).unwrap();
        prop_assert_eq!(canonical(&pretty).unwrap(), canonical(&value).unwrap());
    }

    #[test]
    fn no_bytes_panic(bytes in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        "[\\[\\]{}\",:0-9eE+.\\-a\\\\u]{0,60}".prop_map(String::into_bytes),
    ]) {
        if let Ok(value) = read_strict(&bytes) {
            let again = read_strict(&canonical(&value).unwrap()).unwrap();
            prop_assert_eq!(definition_digest(&again), definition_digest(&value));
        }
    }

    /// Two spellings that are both taken in and share a digest are one double, each as that double has it.
    #[test]
    fn no_two_decimals_share_a_double(digits in "[1-9][0-9]{0,24}", exponent in -30_i32..10) {
        let text = format!("{digits}e{exponent}");
        if let Ok(value) = read_strict(text.as_bytes()) {
            let double = value.as_f64().unwrap();
            let shortest = decimal(&json!(double).to_string());
            let exact = decimal(&format!("{double:.0}"));
            prop_assert!(decimal(&text) == shortest || (double.abs() > TWO_TO_53 && decimal(&text) == exact));
        } else {
            prop_assert!(digits.len() > 15, "{text} has a double of its own");
        }
    }
}
