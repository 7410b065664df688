//! The body of a request of a route: JSON, or nothing.

use std::fmt;

use axum::{
    body::Bytes,
    http::{
        HeaderMap,
        header::{CONTENT_ENCODING, CONTENT_TYPE},
    },
};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::{Map, Value};

/// Why a body is none. The text is for the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadBody {
    /// There is one where none means anything.
    #[error("a request of this method has no body here")]
    Unwanted,
    /// It is said to be something else than JSON, or not said to be anything.
    #[error("the body must be JSON, sent with `Content-Type: application/json` and no `Content-Encoding`")]
    OtherType,
    /// It is not JSON.
    #[error("the body is not JSON: {0}")]
    Malformed(String),
    /// It is JSON, but no object.
    #[error("the body must be a JSON object")]
    NoObject,
}

/// Whether there is something in it, and it is said to be JSON.
///
/// # Errors
/// When it is said to be something else.
pub(super) fn is_there(headers: &HeaderMap, body: &Bytes) -> Result<bool, BadBody> {
    if body.is_empty() {
        return Ok(false);
    }
    let mut kinds = headers.get_all(CONTENT_TYPE).iter();
    let kind = kinds.next().and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    let plain =
        headers.get_all(CONTENT_ENCODING).iter().all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    if !essence.eq_ignore_ascii_case("application/json") || kinds.next().is_some() || !plain {
        return Err(BadBody::OtherType);
    }
    Ok(true)
}

/// The fields of a body.
///
/// # Errors
/// When it is no JSON object, or has a field twice.
pub(super) fn fields(body: &[u8]) -> Result<Map<String, Value>, BadBody> {
    let object = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    match serde_json::from_slice::<Once>(body) {
        Ok(Once(fields)) => Ok(fields),
        Err(_) if !object && serde_json::from_slice::<Value>(body).is_ok() => Err(BadBody::NoObject),
        Err(error) => Err(BadBody::Malformed(error.to_string())),
    }
}

/// The whole body, and its text.
///
/// # Errors
/// When it is no JSON.
pub(super) fn whole(body: &[u8]) -> Result<(Value, String), BadBody> {
    let value = serde_json::from_slice(body).map_err(|error| BadBody::Malformed(error.to_string()))?;
    let text = std::str::from_utf8(body).map_err(|error| BadBody::Malformed(error.to_string()))?;
    Ok((value, text.trim().to_owned()))
}

/// An object that has no field twice: of two, whoever else reads the body could take the other.
struct Once(Map<String, Value>);

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields)
    }
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Once;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Once, A::Error> {
        let mut fields = Map::new();
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            if fields.contains_key(&name) {
                let shown: String = name.chars().take(64).flat_map(char::escape_debug).collect();
                return Err(A::Error::custom(format!("the field `{shown}` is there twice")));
            }
            fields.insert(name, value);
        }
        Ok(Once(fields))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_body_is_an_object_without_doubles() {
        let check = |body: &[u8], expected: &str| {
            let found = match fields(body) {
                Ok(fields) => Value::Object(fields).to_string(),
                Err(error) => error.to_string(),
            };
            assert!(found.contains(expected), "{}: {found}", String::from_utf8_lossy(body));
        };
        check(b" {\"a\":1} ", "{\"a\":1}");
        check(b"{}", "{}");
        check(b"{\"a\":1,\"a\":1}", "the field `a` is there twice");
        check(b"{\"a\":1,\"\\u0061\":1}", "the field `a` is there twice");
        check(b"[]", "must be a JSON object");
        check(b"null", "must be a JSON object");
        check(b"\"{\"", "must be a JSON object");
        check(b"{", "not JSON");
        check(b"[", "not JSON");
        check(b"{} {}", "not JSON");
        check(b"{\"a\":\xff}", "not JSON");
        check(b"{\"a\":NaN}", "not JSON");
        check(&b"{\"a\":".repeat(100_000), "not JSON");
        assert_eq!(whole(b" [1, 2] "), Ok((json!([1, 2]), "[1, 2]".to_owned())));
        assert!(whole(b"").is_err() && whole(b"\"\xff\"").is_err());
    }

    #[test]
    fn a_body_says_that_it_is_json() {
        let check = |headers: &[(&'static str, &'static str)], body: &'static [u8], expected: Option<bool>| {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(*name, HeaderValue::from_static(value));
            }
            assert_eq!(is_there(&map, &Bytes::from_static(body)).ok(), expected, "{headers:?}");
        };
        check(&[], b"", Some(false));
        check(&[("content-type", "text/plain")], b"", Some(false));
        check(&[("content-type", "application/json")], b"{}", Some(true));
        check(&[("content-type", "Application/JSON; charset=utf-8")], b"{}", Some(true));
        check(&[], b"{}", None);
        check(&[("content-type", "text/plain")], b"{}", None);
        check(&[("content-type", "application/x-www-form-urlencoded")], b"a=1", None);
        check(&[("content-type", "application/jsonx")], b"{}", None);
        check(&[("content-type", "application/json"), ("content-type", "text/plain")], b"{}", None);
        check(&[("content-type", "application/json"), ("content-encoding", "gzip")], b"{}", None);
        check(&[("content-type", "application/json"), ("content-encoding", "identity")], b"{}", Some(true));
    }
}
