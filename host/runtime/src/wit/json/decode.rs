//! From a client's arguments to component values.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Number, Value};
use wasmtime::component::Val;

use super::argument_error::{ArgumentError, Fault, quoted};
use crate::component::{Case, Cases, Field, Function, Kind, TypeId, Types};
use crate::wit::MAX_BASE64;

/// Most names of cases listed where one of them was expected.
const MAX_LISTED: usize = 16;
/// 2^63 and 2^64: floats from here on are no `s64`, no `u64`.
const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;
const TWO_TO_64: f64 = 18_446_744_073_709_551_616.0;

type Decoded = Result<Val, Box<Fault>>;

/// Makes the arguments of a function from a JSON object.
///
/// # Errors
/// When an argument is missing, unknown or not of its type: the first one that is.
pub fn decode_arguments(
    types: &Types,
    function: &Function,
    arguments: &Map<String, Value>,
) -> Result<Vec<Val>, ArgumentError> {
    let mut values = Vec::with_capacity(function.params.len());
    let mut met: usize = 0;
    for param in &function.params {
        let key = param.name.json();
        let value = member(types, param.ty, key, arguments, &mut met).map_err(|fault| fault.into_error())?;
        values.push(value);
    }
    let known = || function.params.iter().map(|p| p.name.json());
    no_others(arguments, met, known).map_err(|fault| fault.into_error())?;
    Ok(values)
}

/// The value under a key of an object, where an option that is none may be absent.
fn member(types: &Types, id: TypeId, key: &str, object: &Map<String, Value>, met: &mut usize) -> Decoded {
    match object.get(key) {
        Some(value) => {
            *met = met.saturating_add(1);
            decode(types, id, value).map_err(|fault| fault.at_key(key))
        }
        None if types.nullable(id) => Ok(Val::Option(None)),
        None => Err(Fault::missing(key, expected(types, id))),
    }
}

/// Refuses keys beyond the `met` known ones.
fn no_others<'a, I: Iterator<Item = &'a str>>(
    object: &Map<String, Value>,
    met: usize,
    known: impl Fn() -> I,
) -> Result<(), Box<Fault>> {
    if object.len() == met {
        return Ok(());
    }
    match object.keys().find(|key| !known().any(|k| k == key.as_str())) {
        Some(key) => Err(Fault::unknown(key, known())),
        None => Ok(()),
    }
}

// The recursion is bounded by the nesting of the type.
fn decode(types: &Types, id: TypeId, value: &Value) -> Decoded {
    let wrong = || Fault::unexpected(expected(types, id), value);
    match types.kind(id) {
        Kind::Bool => value.as_bool().map(Val::Bool),
        Kind::U8 => integer(value).map(Val::U8),
        Kind::S8 => integer(value).map(Val::S8),
        Kind::U16 => integer(value).map(Val::U16),
        Kind::S16 => integer(value).map(Val::S16),
        Kind::U32 => integer(value).map(Val::U32),
        Kind::S32 => integer(value).map(Val::S32),
        Kind::U64 => integer(value).map(Val::U64),
        Kind::S64 => integer(value).map(Val::S64),
        Kind::F32 => float32(value).map(Val::Float32),
        Kind::F64 => float64(value).map(Val::Float64),
        Kind::Char => value.as_str().and_then(only_char).map(Val::Char),
        Kind::String => value.as_str().map(|s| Val::String(s.to_owned())),
        Kind::Bytes => return bytes(value),
        Kind::List(element) => return list(types, *element, value),
        Kind::Tuple(elements) => return tuple(types, elements, value),
        Kind::Record(fields) => return record(types, fields, value),
        Kind::Variant(cases) => return variant(types, cases, value),
        Kind::Enum(cases) => {
            value.as_str().and_then(|name| cases.find(name)).map(|(_, case)| Val::Enum(case.name.clone()))
        }
        Kind::Flags(cases) => return flags(cases, value),
        Kind::Option(some) => return option(types, *some, value),
        Kind::Result { ok, err } => return result(types, *ok, *err, value),
        // `kind` looks behind aliases.
        Kind::Alias(_) => None,
    }
    .ok_or_else(wrong)
}

fn object(value: &Value) -> Result<&Map<String, Value>, Box<Fault>> {
    value.as_object().ok_or_else(|| Fault::unexpected("an object", value))
}

/// Any JSON number that is an integer: `5`, `5.0` and `5e0` are the same.
fn integer<T: TryFrom<i128>>(value: &Value) -> Option<T> {
    let Value::Number(number) = value else {
        return None;
    };
    T::try_from(whole(number)?).ok()
}

fn whole(number: &Number) -> Option<i128> {
    if let Some(n) = number.as_i64() {
        return Some(i128::from(n));
    }
    if let Some(n) = number.as_u64() {
        return Some(i128::from(n));
    }
    let float = number.as_f64()?;
    if float.fract() != 0.0 || !(-TWO_TO_63..TWO_TO_64).contains(&float) {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "it is whole and within the range of 64 bits, so the cast is exact"
    )]
    Some(float as i128)
}

fn float64(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(name) => match name.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The nearest `f32` of a number that is not beyond the largest.
fn float32(value: &Value) -> Option<f32> {
    let wide = float64(value)?;
    if wide.is_finite() && wide.abs() > f64::from(f32::MAX) {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "rounding is what is meant")]
    Some(wide as f32)
}

fn only_char(text: &str) -> Option<char> {
    let mut chars = text.chars();
    let first = chars.next()?;
    chars.next().is_none().then_some(first)
}

fn bytes(value: &Value) -> Decoded {
    const EXPECTED: &str = "a string of base64 (standard alphabet, padded)";
    let text = value.as_str().ok_or_else(|| Fault::unexpected(EXPECTED, value))?;
    if text.len() > MAX_BASE64 {
        let found = format!("{} characters", text.len());
        return Err(Fault::found(format!("at most {MAX_BASE64} characters of base64"), found));
    }
    // Strict: `STANDARD` takes padding and no trailing bits, so that each value has one spelling.
    let bytes = STANDARD.decode(text).map_err(|_| Fault::unexpected(EXPECTED, value))?;
    Ok(Val::List(bytes.into_iter().map(Val::U8).collect()))
}

fn list(types: &Types, element: TypeId, value: &Value) -> Decoded {
    let items = value.as_array().ok_or_else(|| Fault::unexpected("an array", value))?;
    let mut values = Vec::with_capacity(items.len());
    for (i, item) in items.iter().enumerate() {
        values.push(decode(types, element, item).map_err(|fault| fault.at_index(i))?);
    }
    Ok(Val::List(values))
}

fn tuple(types: &Types, elements: &[TypeId], value: &Value) -> Decoded {
    let items = match value.as_array() {
        Some(items) if items.len() == elements.len() => items,
        _ => {
            let expected = format!("an array of exactly {} elements", elements.len());
            return Err(Fault::unexpected(expected, value));
        }
    };
    let mut values = Vec::with_capacity(items.len());
    for (i, (item, element)) in items.iter().zip(elements).enumerate() {
        values.push(decode(types, *element, item).map_err(|fault| fault.at_index(i))?);
    }
    Ok(Val::Tuple(values))
}

fn record(types: &Types, fields: &[Field], value: &Value) -> Decoded {
    let object = object(value)?;
    let mut values = Vec::with_capacity(fields.len());
    let mut met: usize = 0;
    for field in fields {
        let value = member(types, field.ty, field.name.json(), object, &mut met)?;
        values.push((field.name.wit().to_owned(), value));
    }
    no_others(object, met, || fields.iter().map(|f| f.name.json()))?;
    Ok(Val::Record(values))
}

fn variant(types: &Types, cases: &Cases, value: &Value) -> Decoded {
    let object = object(value)?;
    let tag = object.get("tag").ok_or_else(|| Fault::missing("tag", one_of(cases)))?;
    let case = tag.as_str().and_then(|name| cases.find(name)).map(|(_, case)| case);
    let Some(Case { name, ty, .. }) = case else {
        return Err(Fault::unexpected(one_of(cases), tag).at_key("tag"));
    };
    let mut met: usize = 1;
    let payload = match ty {
        Some(id) => Some(Box::new(member(types, *id, "value", object, &mut met)?)),
        None => None,
    };
    let known: &[&str] = if ty.is_some() { &["tag", "value"] } else { &["tag"] };
    no_others(object, met, || known.iter().copied())?;
    Ok(Val::Variant(name.clone(), payload))
}

fn flags(cases: &Cases, value: &Value) -> Decoded {
    let items = value.as_array().ok_or_else(|| Fault::unexpected("an array of names", value))?;
    let mut set = vec![false; cases.iter().len()];
    for (i, item) in items.iter().enumerate() {
        let position = item.as_str().and_then(|name| cases.find(name)).map(|(position, _)| position);
        match position.and_then(|position| set.get_mut(position)) {
            Some(true) => {
                let twice = item.as_str().map_or_else(String::new, quoted);
                return Err(Fault::found("each name once", format!("{twice} again")).at_index(i));
            }
            Some(flag) => *flag = true,
            None => return Err(Fault::unexpected(one_of(cases), item).at_index(i)),
        }
    }
    let names = cases.iter().zip(set).filter(|(_, set)| *set);
    Ok(Val::Flags(names.map(|(case, _)| case.name.clone()).collect()))
}

fn option(types: &Types, some: TypeId, value: &Value) -> Decoded {
    if value.is_null() {
        return Ok(Val::Option(None));
    }
    let inner = if types.nullable(some) {
        let object = value.as_object().ok_or_else(|| Fault::unexpected("null or an object with `some`", value))?;
        let inner = required(types, some, "some", object)?;
        no_others(object, 1, || std::iter::once("some"))?;
        inner
    } else {
        decode(types, some, value)?
    };
    Ok(Val::Option(Some(Box::new(inner))))
}

fn result(types: &Types, ok: Option<TypeId>, err: Option<TypeId>, value: &Value) -> Decoded {
    let object = object(value)?;
    let expected = "an object with either `ok` or `err`";
    let (key, ty) = match (object.contains_key("ok"), object.contains_key("err")) {
        (true, false) => ("ok", ok),
        (false, true) => ("err", err),
        (false, false) | (true, true) => return Err(Fault::unexpected(expected, value)),
    };
    let payload = match (ty, object.get(key)) {
        (Some(id), _) => Some(Box::new(required(types, id, key, object)?)),
        (None, Some(Value::Null)) => None,
        (None, other) => return Err(Fault::unexpected("null", other.unwrap_or(value)).at_key(key)),
    };
    no_others(object, 1, || ["ok", "err"].into_iter())?;
    Ok(Val::Result(if key == "ok" { Ok(payload) } else { Err(payload) }))
}

/// The value under a key that has to be there, also for an option.
fn required(types: &Types, id: TypeId, key: &str, object: &Map<String, Value>) -> Decoded {
    match object.get(key) {
        Some(value) => decode(types, id, value).map_err(|fault| fault.at_key(key)),
        None => Err(Fault::missing(key, expected(types, id))),
    }
}

/// What a type allows, in words.
#[cold]
fn expected(types: &Types, id: TypeId) -> String {
    let fixed = match types.kind(id) {
        Kind::Bool => "true or false",
        Kind::U8 => "an integer from 0 to 255",
        Kind::S8 => "an integer from -128 to 127",
        Kind::U16 => "an integer from 0 to 65535",
        Kind::S16 => "an integer from -32768 to 32767",
        Kind::U32 => "an integer from 0 to 4294967295",
        Kind::S32 => "an integer from -2147483648 to 2147483647",
        Kind::U64 => "an integer from 0 to 18446744073709551615",
        Kind::S64 => "an integer from -9223372036854775808 to 9223372036854775807",
        Kind::F32 => "a number from -3.4028235e38 to 3.4028235e38, \"NaN\", \"Infinity\" or \"-Infinity\"",
        Kind::F64 => "a number, \"NaN\", \"Infinity\" or \"-Infinity\"",
        Kind::Char => "a string of one character",
        Kind::String => "a string",
        Kind::Bytes => "a string of base64",
        Kind::List(_) | Kind::Flags(_) => "an array",
        Kind::Tuple(elements) => return format!("an array of exactly {} elements", elements.len()),
        Kind::Record(_) | Kind::Variant(_) | Kind::Result { .. } => "an object",
        Kind::Enum(cases) => return one_of(cases),
        Kind::Option(some) if types.nullable(*some) => "null or an object with `some`",
        Kind::Option(some) => return format!("null or {}", expected(types, *some)),
        Kind::Alias(_) => "a value",
    };
    fixed.to_owned()
}

#[cold]
fn one_of(cases: &Cases) -> String {
    let listed: Vec<String> = cases.iter().take(MAX_LISTED).map(|case| quoted(&case.name)).collect();
    let more = if cases.iter().len() > MAX_LISTED { ", …" } else { "" };
    format!("one of {}{more}", listed.join(", "))
}
