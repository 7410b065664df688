//! S12 to S14: results that lie about themselves. Each function returns what no compiler would write.

use std::fmt::Write as _;

use portcullis_audit::Outcome;
use portcullis_policy::Limits;
use serde_json::json;

use crate::house::{House, patient, wat};

/// Text in the guest's memory, and the start of it: no UTF-8, no UTF-16, then letters.
const NO_TEXT: &str = r"\ff\fe\c0\80\00\d8\00\d8abcdefgh";
const AT: u32 = 16;
/// Bytes that a 900-page memory holds.
const ALL: u32 = 900 << 16;

/// What the core function returns.
pub(crate) enum Returned {
    /// The value itself.
    Flat(u32),
    /// The address of these words.
    Area(&'static [u32]),
    /// An address that holds nothing good.
    Address(u32),
}
use Returned::{Address, Area, Flat};

/// Name, type, encoding of strings, what is returned, and what the error says.
pub(crate) type Case = (&'static str, &'static str, &'static str, Returned, &'static str);

pub(crate) const BAD: &[Case] = &[
    ("utf8", "string", "utf8", Area(&[AT, 8]), "invalid utf-8"),
    ("utf8-cut", "string", "utf8", Area(&[AT + 2, 1]), "invalid utf-8"),
    ("utf16", "string", "utf16", Area(&[AT + 4, 2]), "unpaired surrogate"),
    ("utf16-misaligned", "string", "utf16", Area(&[AT + 1, 2]), "aligned"),
    ("latin1-lone-surrogate", "string", "latin1+utf16", Area(&[AT + 4, 2 | 1 << 31]), "unpaired surrogate"),
    ("string-outside", "string", "utf8", Area(&[ALL - 4, 8]), "out of bounds"),
    ("string-far-outside", "string", "utf8", Area(&[u32::MAX, u32::MAX]), "out of bounds"),
    ("utf16-overflow", "string", "utf16", Area(&[AT, u32::MAX >> 1]), "out of bounds"),
    ("bytes-outside", "(list u8)", "utf8", Area(&[ALL - 4, 8]), "out of bounds"),
    ("list-overflow", "(list u64)", "utf8", Area(&[AT, 0x2000_0001]), "out of bounds"),
    ("list-misaligned", "(list u32)", "utf8", Area(&[AT + 2, 1]), "not aligned"),
    ("list-of-bad-text", "(list string)", "utf8", Area(&[1024, 2]), "invalid utf-8"),
    ("char-surrogate", "char", "utf8", Flat(0xd800), "char"),
    ("char-large", "char", "utf8", Flat(0x0011_0000), "char"),
    ("enum-flat", "$lamp", "utf8", Flat(2), "discriminant"),
    ("enum-far", "$lamp", "utf8", Flat(u32::MAX), "discriminant"),
    ("enum-in-list", "(list $lamp)", "utf8", Area(&[AT, 8]), "discriminant"),
    ("variant", "$shape", "utf8", Area(&[7, 0]), "discriminant"),
    ("option", "(option u32)", "utf8", Area(&[2, 0]), "discriminant"),
    ("result", "(result u32 (error string))", "utf8", Area(&[9, 0, 0]), "discriminant"),
    ("error-of-bad-text", "(result u32 (error string))", "utf8", Area(&[1, AT, 8]), "invalid utf-8"),
    ("area-misaligned", "string", "utf8", Address(AT + 1), "not aligned"),
    ("area-outside", "string", "utf8", Address(ALL - 4), "out of bounds"),
    ("area-far-outside", "(tuple u64 u64)", "utf8", Address(u32::MAX - 7), "out of bounds"),
];

/// Odd, and right by the Canonical ABI.
const GOOD: &[(Case, &str)] = &[
    (("truth", "bool", "utf8", Flat(u32::MAX), ""), "true"),
    (("flags", "$rights", "utf8", Flat(u32::MAX), ""), r#"["read","write"]"#),
    (("narrow", "u8", "utf8", Flat(0x1_ff), ""), "255"),
    (("empty-anywhere", "string", "utf8", Area(&[ALL, 0]), ""), r#""""#),
];

/// Results that are honest and large. The areas point at all of the memory, which is zeros for the most part.
const LARGE: &[Case] = &[
    ("text", "string", "utf8", Area(&[4096, 50 << 20]), ""),
    ("wide-text", "string", "utf16", Area(&[4096, 25 << 20]), ""),
    ("bytes", "(list u8)", "utf8", Area(&[4096, 50 << 20]), ""),
    ("numbers", "(list u32)", "utf8", Area(&[4096, 12 << 20]), ""),
    ("truths", "(list bool)", "utf8", Area(&[4096, 50 << 20]), ""),
    ("empty-texts", "(list string)", "utf8", Area(&[4096, 6 << 20]), ""),
    ("empty-lists", "(list (list (list u8)))", "utf8", Area(&[4096, 6 << 20]), ""),
    ("nothings", "(list (option u8))", "utf8", Area(&[4096, 25 << 20]), ""),
    ("pairs", "(list (tuple u8 u8))", "utf8", Area(&[4096, 25 << 20]), ""),
    ("error", "(result u32 (error string))", "utf8", Area(&[1, 4096, 50 << 20]), ""),
];

/// A component with one function a case.
pub(crate) fn component<'a>(cases: impl Iterator<Item = &'a Case>) -> String {
    let (mut core, mut lifted) = (String::new(), String::new());
    for (at, (name, ty, encoding, returned, _)) in cases.enumerate() {
        let value = match returned {
            Flat(value) | Address(value) => *value,
            Area(words) => {
                let area = 2048 + 32 * u32::try_from(at).expect("few cases");
                let bytes = words.iter().flat_map(|word| word.to_le_bytes());
                let data = bytes.fold(String::new(), |text, byte| text + &format!("\\{byte:02x}"));
                _ = write!(core, "(data (i32.const {area}) \"{data}\")");
                area
            }
        };
        _ = write!(core, "(func (export {name:?}) (result i32) i32.const {})", value.cast_signed());
        _ = write!(
            lifted,
            "(func (export {name:?}) (result {ty}) (canon lift (core func $i {name:?}) \
             (memory (core memory $i \"memory\")) string-encoding={encoding}))"
        );
    }
    // At 1024: a text that is one, and a text that is none.
    format!(
        r#"(component
             (type $lamp-type (enum "red" "green")) (export $lamp "lamp" (type $lamp-type))
             (type $rights-type (flags "read" "write")) (export $rights "rights" (type $rights-type))
             (type $shape-type (variant (case "dot") (case "disc" u32))) (export $shape "shape" (type $shape-type))
             (core module $m (memory (export "memory") 900)
               (data (i32.const {AT}) "{NO_TEXT}")
               (data (i32.const 1024) "\18\00\00\00\08\00\00\00\10\00\00\00\08\00\00\00")
               {core})
             (core instance $i (instantiate $m))
             {lifted})"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn results_that_lie_are_crashes() {
    let cases = BAD.iter().chain(GOOD.iter().map(|(case, _)| case));
    let house = House::open(2, vec![wat("abi", component(cases), patient())]).await;
    for (name, _, _, _, text) in BAD {
        let tool = format!("abi_{}", name.replace('-', "_"));
        house.check(&tool, json!({}), Outcome::Trapped, text).await;
    }
    for ((name, ..), expected) in GOOD {
        let answer = house.answer(&format!("abi_{}", name.replace('-', "_")), json!({})).await;
        assert_eq!(answer.to_string(), *expected, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn results_that_are_too_large_are_refused_by_name() {
    for (output, named) in [(1 << 20, "1048576"), (1, "larger than 1 bytes"), (64 << 10, "65536")] {
        let limits = Limits { output, ..patient() };
        let house = House::open(2, vec![wat("large", component(LARGE.iter()), limits)]).await;
        for (name, ..) in LARGE {
            let tool = format!("large_{}", name.replace('-', "_"));
            house.check(&tool, json!({}), Outcome::OutputTooLarge, named).await;
            house.check(&tool, json!({}), Outcome::OutputTooLarge, "(limit `output`)").await;
        }
    }
}
