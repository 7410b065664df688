//! Definitions as canonical bytes (RFC 8785), their digest, and the strict reading of JSON text.
//!
//! Two definitions that differ must not share a digest, so whatever would make them do so is refused here: duplicate
//! keys, numbers that a double does not hold, lone surrogates. Says nothing of what a definition may mean.

use std::cell::RefCell;

use portcullis_policy::Digest;
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::show::escaped;

/// Most bytes of one definition as JSON: sixty-four of the longest descriptions. A model reads all of it.
pub const MAX_DEFINITION_BYTES: usize = 256 << 10;
/// Deepest nesting of objects and arrays in one definition: what every walk over it may recurse.
pub const MAX_DEPTH: usize = 32;
/// What keeps a definition's digest from being that of anything else.
const DOMAIN: &[u8] = b"portcullis definition v1\0";
/// How many characters of a bad key or number a message shows.
const SHOWN: usize = 40;
/// 2^53: from here on doubles are integers with gaps between them.
const TWO_TO_53: f64 = 9_007_199_254_740_992.0;

/// A value that has no canonical form here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotCanonical {
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// Longer than [`MAX_DEFINITION_BYTES`].
    #[error("longer than {MAX_DEFINITION_BYTES} bytes")]
    TooLarge,
    /// A number that a double does not hold exactly. The text is cut and escaped.
    #[error("a number that is not exact in a double: {0}")]
    Number(String),
    /// The serializer failed.
    #[error("cannot be written as canonical JSON: {0}")]
    Unwritable(String),
}

/// A text that is not taken in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IngestError {
    /// It has no canonical form.
    #[error(transparent)]
    NotCanonical(#[from] NotCanonical),
    /// It begins with a byte order mark (RFC 8259, section 8.1: must not be added).
    #[error("begins with a byte order mark")]
    ByteOrderMark,
    /// It is not UTF-8.
    #[error("is not UTF-8 from byte {0} on")]
    NotUtf8(usize),
    /// An object has a key twice, as it reads after unescaping. The key is cut and escaped.
    #[error("an object has a key twice: `{0}`")]
    DuplicateKey(String),
    /// It is not JSON, or something stands after it.
    #[error("is not JSON: {0}")]
    NotJson(String),
}

/// The canonical bytes of `value` by RFC 8785, after [`check_value`].
///
/// # Errors
/// What [`check_value`] refuses, and a result of more than [`MAX_DEFINITION_BYTES`].
pub fn canonical(value: &Value) -> Result<Vec<u8>, NotCanonical> {
    check_value(value)?;
    let bytes = serde_json_canonicalizer::to_vec(value).map_err(|error| NotCanonical::Unwritable(error.to_string()))?;
    if bytes.len() > MAX_DEFINITION_BYTES { Err(NotCanonical::TooLarge) } else { Ok(bytes) }
}

/// SHA-256 over `"portcullis definition v1\0"` and the canonical bytes of `definition`.
///
/// # Errors
/// As [`canonical`].
pub fn definition_digest(definition: &Value) -> Result<Digest, NotCanonical> {
    let mut bytes = DOMAIN.to_vec();
    bytes.extend(canonical(definition)?);
    Ok(Digest::of(&bytes))
}

/// Checks a value that did not come from [`read_strict`]: depth, size, numbers.
///
/// Numbers are exact as [`read_strict`] says, so that 2^53 + 1 is not, and 2^63 is.
///
/// # Errors
/// When it is deeper than [`MAX_DEPTH`], longer than [`MAX_DEFINITION_BYTES`] as far as can be told before it is
/// written, or holds a number that is not exact in a double.
pub fn check_value(value: &Value) -> Result<(), NotCanonical> {
    let mut left = MAX_DEFINITION_BYTES;
    check(value, MAX_DEPTH, &mut left)
}

fn check(value: &Value, depth: usize, left: &mut usize) -> Result<(), NotCanonical> {
    let mut take = |bytes: usize| match left.checked_sub(bytes) {
        Some(rest) => {
            *left = rest;
            Ok(())
        }
        None => Err(NotCanonical::TooLarge),
    };
    match value {
        Value::Null | Value::Bool(_) => take(1),
        Value::String(text) => take(text.len()),
        Value::Number(number) => {
            take(1)?;
            check_number(&number.to_string())
        }
        Value::Array(items) => {
            take(1)?;
            let below = depth.checked_sub(1).ok_or(NotCanonical::TooDeep)?;
            items.iter().try_for_each(|item| check(item, below, left))
        }
        Value::Object(members) => {
            take(1)?;
            let below = depth.checked_sub(1).ok_or(NotCanonical::TooDeep)?;
            members.iter().try_for_each(|(key, member)| {
                *left = left.checked_sub(key.len()).ok_or(NotCanonical::TooLarge)?;
                check(member, below, left)
            })
        }
    }
}

/// JSON text as a value, where every two texts that read differently give values with different canonical bytes.
///
/// A number is exact if its decimal value is that of the shortest text of its double (what RFC 8785 writes: `0.1`, `1`,
/// `1.0` and `10e-1` are, `0.10000000000000001` and `1e400` are not), or the double's very value where that is a larger
/// integer than 2^53 (`18446744073709551616` is, `9007199254740993` is not). Clients get what was stored, which is the
/// canonical form.
///
/// # Errors
/// When the text is longer than [`MAX_DEFINITION_BYTES`], which is looked at first; is not UTF-8 or begins with a byte
/// order mark; is nested deeper than [`MAX_DEPTH`]; has a key twice in an object, a number that is not exact, or a lone
/// surrogate; or is not exactly one JSON value.
pub fn read_strict(bytes: &[u8]) -> Result<Value, IngestError> {
    if bytes.len() > MAX_DEFINITION_BYTES {
        return Err(NotCanonical::TooLarge.into());
    }
    let text = std::str::from_utf8(bytes).map_err(|error| IngestError::NotUtf8(error.valid_up_to()))?;
    if text.starts_with('\u{feff}') {
        return Err(IngestError::ByteOrderMark);
    }
    prescan(text)?;
    let duplicate = RefCell::new(None);
    let mut json = serde_json::Deserializer::from_str(text);
    let value = Strict(&duplicate).deserialize(&mut json).and_then(|value| json.end().map(|()| value));
    match (value, duplicate.into_inner()) {
        (_, Some(key)) => Err(IngestError::DuplicateKey(key)),
        (Ok(value), None) => Ok(value),
        (Err(error), None) => Err(IngestError::NotJson(escaped(&error.to_string()).to_string())),
    }
}

/// Depth and numbers, which the parser does not tell: it recurses and rounds. Whatever is not JSON is left to it.
fn prescan(text: &str) -> Result<(), NotCanonical> {
    let (mut depth, mut in_string, mut escape) = (0_usize, false, false);
    let mut number: Option<usize> = None;
    for (at, byte) in text.bytes().enumerate() {
        if in_string {
            match byte {
                _ if escape => escape = false,
                b'\\' => escape = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        let digits = byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E');
        match number {
            Some(start) if !digits => {
                check_number(text.get(start..at).unwrap_or_default())?;
                number = None;
            }
            // `e` alone is part of `true` and `false`.
            None if byte.is_ascii_digit() || byte == b'-' => number = Some(at),
            _ => {}
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(NotCanonical::TooDeep);
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    match number {
        Some(start) => check_number(text.get(start..).unwrap_or_default()),
        None => Ok(()),
    }
}

fn check_number(text: &str) -> Result<(), NotCanonical> {
    // What does not parse here is no JSON number either: the parser says what is wrong with it.
    let Ok(double) = text.parse::<f64>() else { return Ok(()) };
    let written = decimal(text);
    // Where two shortest texts are as near, as of 1424953923781206.25, `format!` takes the other one than RFC 8785.
    let shortest = serde_json_canonicalizer::to_string(&double).ok().map(|text| decimal(&text));
    let exact = double.is_finite()
        && (shortest.as_ref() == Some(&written)
            || (double.abs() > TWO_TO_53 && written == decimal(&format!("{double:.0}"))));
    if exact { Ok(()) } else { Err(NotCanonical::Number(cut(text))) }
}

/// A decimal text's value in one form: the sign, the digits without zeros at either end, and the power of ten of the
/// last digit. Zero has no sign and no digits.
fn decimal(text: &str) -> (bool, String, i64) {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_end_matches('0');
    let dropped = digits.len() - significant.len();
    let significant = significant.trim_start_matches('0');
    if significant.is_empty() {
        return (false, String::new(), 0);
    }
    // An exponent beyond `i64` is that of no finite double but zero, so that its value does not matter.
    let exponent: i64 = exponent.parse().unwrap_or(i64::MAX);
    let shift = i64::try_from(dropped).unwrap_or(i64::MAX) - i64::try_from(fraction.len()).unwrap_or(i64::MAX);
    (negative, significant.to_owned(), exponent.saturating_add(shift))
}

fn cut(text: &str) -> String {
    let mut cut: String = text.chars().take(SHOWN).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    escaped(&cut).to_string()
}

/// Builds a value and notes the first key that an object has twice.
#[derive(Clone, Copy)]
struct Strict<'a>(&'a RefCell<Option<String>>);

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;
    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number that is not finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if members.contains_key(&key) {
                self.0.replace(Some(cut(&key)));
                return Err(A::Error::custom("a key twice"));
            }
            let member = map.next_value_seed(self)?;
            members.insert(key, member);
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
pub(crate) mod tests;
