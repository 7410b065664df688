//! From what a function returned to JSON, within a budget of bytes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Number, Value};
use wasmtime::component::Val;

use crate::component::{Case, Cases, Field, Function, Kind, TypeId, Types};
use crate::wit::schema::{RESULT, is_object};

/// The bytes that a float counts for: as many as the longest has.
const FLOAT: usize = 24;

/// What a function returned: a value, as its output schema describes it, or the `err` of its result.
pub type Outcome = Result<Map<String, Value>, GuestError>;

/// An error that a function returned.
#[derive(Clone, Debug, PartialEq)]
pub struct GuestError {
    /// The payload for people and models: what is text in JSON as that text, anything else as JSON.
    pub text: String,
    /// The payload; null where it has none.
    pub value: Value,
}

/// A result that does not become JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// It is larger than the budget.
    #[error("the result has more than {limit} bytes of JSON")]
    OutputTooLarge {
        /// The budget, in bytes.
        limit: u64,
    },
    /// It is not of the function's type. `check` at load rules it out.
    #[error("the result is not of the function's type, expected {expected}")]
    Mismatch {
        /// What the type is.
        expected: &'static str,
    },
}

/// Makes JSON of the values that a call returned, and takes the text in them out, so that it need not be copied.
///
/// `limit` bounds the compact JSON text in bytes (a float counts for 24, what it has at most); a result beyond it
/// ends early.
///
/// # Errors
/// When the result is beyond the limit or not of the function's type.
pub fn encode_result(
    types: &Types,
    function: &Function,
    results: &mut [Val],
    limit: u64,
) -> Result<Outcome, EncodeError> {
    let mut encoder = Encoder { types, left: limit, limit };
    let (id, value) = match (function.result, results) {
        (None, []) => {
            encoder.spend(2)?;
            return Ok(Ok(Map::new()));
        }
        (Some(id), [value]) => (id, value),
        _ => return Err(EncodeError::Mismatch { expected: "one value" }),
    };
    let (id, value) = match (types.kind(id), value) {
        (Kind::Result { ok, .. }, Val::Result(Ok(payload))) => match (ok, payload) {
            (Some(id), Some(value)) => (*id, value.as_mut()),
            (None, None) => {
                encoder.spend(2)?;
                return Ok(Ok(Map::new()));
            }
            _ => return Err(EncodeError::Mismatch { expected: "a result" }),
        },
        (Kind::Result { err, .. }, Val::Result(Err(payload))) => {
            return encoder.guest_error(*err, payload.as_deref_mut()).map(Err);
        }
        (_, value) => (id, value),
    };
    if is_object(types, id) {
        return match encoder.encode(id, value)? {
            Value::Object(map) => Ok(Ok(map)),
            _ => Err(EncodeError::Mismatch { expected: "an object" }),
        };
    }
    let mut wrapped = Map::with_capacity(1);
    encoder.spend(2)?;
    encoder.insert(&mut wrapped, RESULT, id, value)?;
    Ok(Ok(wrapped))
}

struct Encoder<'a> {
    types: &'a Types,
    left: u64,
    limit: u64,
}

impl Encoder<'_> {
    fn spend(&mut self, bytes: usize) -> Result<(), EncodeError> {
        match self.left.checked_sub(bytes as u64) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(EncodeError::OutputTooLarge { limit: self.limit }),
        }
    }

    fn guest_error(&mut self, id: Option<TypeId>, payload: Option<&mut Val>) -> Result<GuestError, EncodeError> {
        let value = match (id, payload) {
            (Some(id), Some(payload)) => self.encode(id, payload)?,
            (None, None) => {
                return Ok(GuestError {
                    text: "the function returned an error without saying which".to_owned(),
                    value: Value::Null,
                });
            }
            _ => return Err(EncodeError::Mismatch { expected: "a result" }),
        };
        let text = match &value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        Ok(GuestError { text, value })
    }

    /// Adds a member with its comma and colon to an object of which the braces are paid for.
    fn insert(
        &mut self,
        object: &mut Map<String, Value>,
        key: &str,
        id: TypeId,
        value: &mut Val,
    ) -> Result<(), EncodeError> {
        self.spend(key.len().saturating_add(4))?;
        let value = self.encode(id, value)?;
        object.insert(key.to_owned(), value);
        Ok(())
    }

    // The recursion is bounded by the nesting of the type.
    fn encode(&mut self, id: TypeId, value: &mut Val) -> Result<Value, EncodeError> {
        Ok(match (self.types.kind(id), value) {
            (Kind::Bool, Val::Bool(b)) => {
                self.spend(5)?;
                Value::Bool(*b)
            }
            (Kind::U8, Val::U8(n)) => self.unsigned((*n).into())?,
            (Kind::U16, Val::U16(n)) => self.unsigned((*n).into())?,
            (Kind::U32, Val::U32(n)) => self.unsigned((*n).into())?,
            (Kind::U64, Val::U64(n)) => self.unsigned(*n)?,
            (Kind::S8, Val::S8(n)) => self.signed((*n).into())?,
            (Kind::S16, Val::S16(n)) => self.signed((*n).into())?,
            (Kind::S32, Val::S32(n)) => self.signed((*n).into())?,
            (Kind::S64, Val::S64(n)) => self.signed(*n)?,
            (Kind::F32, Val::Float32(n)) => self.float(f64::from(*n))?,
            (Kind::F64, Val::Float64(n)) => self.float(*n)?,
            (Kind::Char, Val::Char(c)) => self.text(c.to_string())?,
            (Kind::String, Val::String(s)) => self.text(std::mem::take(s))?,
            (Kind::Bytes, Val::List(items)) => self.bytes(items)?,
            (Kind::List(element), Val::List(items)) => {
                let len = items.len();
                self.array(items.iter_mut().map(|item| (*element, item)), len)?
            }
            (Kind::Tuple(elements), Val::Tuple(items)) if elements.len() == items.len() => {
                self.array(elements.iter().copied().zip(items.iter_mut()), elements.len())?
            }
            (Kind::Record(fields), Val::Record(values)) if fields.len() == values.len() => {
                self.record(fields, values)?
            }
            (Kind::Variant(cases), Val::Variant(name, payload)) => self.variant(cases, name, payload.as_deref_mut())?,
            (Kind::Enum(_), Val::Enum(name)) => self.text(std::mem::take(name))?,
            (Kind::Flags(_), Val::Flags(names)) => {
                self.spend(2)?;
                let mut array = Vec::with_capacity(names.len());
                for name in names {
                    self.spend(1)?;
                    array.push(self.text(std::mem::take(name))?);
                }
                Value::Array(array)
            }
            (Kind::Option(_), Val::Option(None)) => self.null()?,
            (Kind::Option(some), Val::Option(Some(value))) => {
                if self.types.nullable(*some) {
                    self.single("some", Some(*some), Some(value))?
                } else {
                    self.encode(*some, value)?
                }
            }
            (Kind::Result { ok, .. }, Val::Result(Ok(payload))) => self.single("ok", *ok, payload.as_deref_mut())?,
            (Kind::Result { err, .. }, Val::Result(Err(payload))) => {
                self.single("err", *err, payload.as_deref_mut())?
            }
            (kind, _) => return Err(EncodeError::Mismatch { expected: kind.name() }),
        })
    }

    fn null(&mut self) -> Result<Value, EncodeError> {
        self.spend(4)?;
        Ok(Value::Null)
    }

    fn unsigned(&mut self, n: u64) -> Result<Value, EncodeError> {
        self.spend(digits(n))?;
        Ok(Value::Number(n.into()))
    }

    fn signed(&mut self, n: i64) -> Result<Value, EncodeError> {
        self.spend(digits(n.unsigned_abs()).saturating_add(usize::from(n < 0)))?;
        Ok(Value::Number(n.into()))
    }

    fn float(&mut self, n: f64) -> Result<Value, EncodeError> {
        self.spend(FLOAT)?;
        Ok(match Number::from_f64(n) {
            Some(number) => Value::Number(number),
            None if n.is_nan() => Value::from("NaN"),
            None if n > 0.0 => Value::from("Infinity"),
            None => Value::from("-Infinity"),
        })
    }

    fn text(&mut self, text: String) -> Result<Value, EncodeError> {
        // The length first, so that a giant text ends without a walk over it.
        self.spend(text.len().saturating_add(2))?;
        self.spend(escapes(text.as_bytes()))?;
        Ok(Value::String(text))
    }

    fn bytes(&mut self, items: &[Val]) -> Result<Value, EncodeError> {
        self.spend(items.len().div_ceil(3).saturating_mul(4).saturating_add(2))?;
        let mut bytes = Vec::with_capacity(items.len());
        for item in items {
            match item {
                Val::U8(byte) => bytes.push(*byte),
                _ => return Err(EncodeError::Mismatch { expected: "u8" }),
            }
        }
        Ok(Value::String(STANDARD.encode(bytes)))
    }

    fn array<'v>(
        &mut self,
        items: impl Iterator<Item = (TypeId, &'v mut Val)>,
        len: usize,
    ) -> Result<Value, EncodeError> {
        // Brackets and commas; an element has a byte at least. So this also bounds what is reserved.
        self.spend(len.saturating_add(2))?;
        let mut array = Vec::with_capacity(len);
        for (id, item) in items {
            array.push(self.encode(id, item)?);
        }
        Ok(Value::Array(array))
    }

    fn record(&mut self, fields: &[Field], values: &mut [(String, Val)]) -> Result<Value, EncodeError> {
        self.spend(2)?;
        let mut object = Map::with_capacity(fields.len());
        for (field, (_, value)) in fields.iter().zip(values) {
            self.insert(&mut object, field.name.json(), field.ty, value)?;
        }
        Ok(Value::Object(object))
    }

    fn variant(&mut self, cases: &Cases, name: &mut String, payload: Option<&mut Val>) -> Result<Value, EncodeError> {
        let Some((_, Case { ty, .. })) = cases.find(name) else {
            return Err(EncodeError::Mismatch { expected: "a case" });
        };
        self.spend("{'tag':,}".len())?;
        let mut object = Map::with_capacity(2);
        object.insert("tag".to_owned(), self.text(std::mem::take(name))?);
        match (ty, payload) {
            (Some(id), Some(value)) => self.insert(&mut object, "value", *id, value)?,
            (None, None) => {}
            _ => return Err(EncodeError::Mismatch { expected: "a variant" }),
        }
        Ok(Value::Object(object))
    }

    /// An object with one member, null where it has no type.
    fn single(&mut self, key: &str, id: Option<TypeId>, payload: Option<&mut Val>) -> Result<Value, EncodeError> {
        self.spend(2)?;
        let mut object = Map::with_capacity(1);
        match (id, payload) {
            (Some(id), Some(value)) => self.insert(&mut object, key, id, value)?,
            (None, None) => {
                self.spend(key.len().saturating_add(3))?;
                object.insert(key.to_owned(), self.null()?);
            }
            _ => return Err(EncodeError::Mismatch { expected: "a payload" }),
        }
        Ok(Value::Object(object))
    }
}

fn digits(n: u64) -> usize {
    n.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// The bytes that text takes in JSON beyond its own, for escapes.
fn escapes(text: &[u8]) -> usize {
    // Without a branch, and in sums that fit a byte (32 times 5), so that the compiler uses wide registers: a text of
    // a megabyte takes 0.2 ms instead of one.
    text.chunks(32).map(|chunk| usize::from(chunk.iter().fold(0_u8, |sum, byte| sum.wrapping_add(escape(*byte))))).sum()
}

/// 1 for what has an escape of one letter, 5 for any other control character (`\u0000`).
fn escape(byte: u8) -> u8 {
    let quoted = u8::from(byte == b'"') | u8::from(byte == b'\\');
    let control = u8::from(byte < 0x20);
    let short = u8::from((0x08..=0x0a).contains(&byte)) | u8::from(byte == 0x0c) | u8::from(byte == 0x0d);
    quoted | control.wrapping_mul(5).wrapping_sub(short.wrapping_mul(4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_as_long_as_serde_json_writes_them() {
        for length in [1, 31, 32, 33, 100] {
            for c in (0..=0x7f_u8).map(char::from).chain(['é', '\u{1f600}']) {
                let text = c.to_string().repeat(length);
                let written = Value::from(text.as_str()).to_string().len();
                assert_eq!(escapes(text.as_bytes()) + text.len() + 2, written, "{c:?}");
            }
        }
    }
}
