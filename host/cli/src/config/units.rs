//! Durations, sizes and fuel as people write them.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de::Error};

/// A duration: `"15s"`, `"1m 30s"`, `"200ms"`.
#[derive(Clone, Copy, Debug, JsonSchema)]
#[schemars(with = "String")]
pub(crate) struct Time(pub(crate) Duration);

/// A size in bytes: `"64MiB"`, `"512KiB"`, or a number of bytes.
#[derive(Clone, Copy, Debug, JsonSchema)]
#[schemars(with = "NumberOrText")]
pub(crate) struct Bytes(pub(crate) u64);

/// Units of fuel, or `"off"`.
#[derive(Clone, Copy, Debug, JsonSchema)]
#[schemars(with = "NumberOrText")]
pub(crate) struct Fuel(pub(crate) Option<u64>);

/// For the JSON Schema of the file.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum NumberOrText {
    Number(u64),
    Text(String),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(i64),
    Text(String),
    Other(serde::de::IgnoredAny),
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Written::deserialize(deserializer)? {
            Written::Text(text) => humantime::parse_duration(&text)
                .map(Self)
                .map_err(|error| D::Error::custom(format!("`{text}` is no duration, expected one as `15s`: {error}"))),
            Written::Number(number) => Err(D::Error::custom(format!("a duration has a unit, as `\"{number}s\"`"))),
            Written::Other(_) => Err(D::Error::custom("expected a duration, as `\"15s\"`")),
        }
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Written::deserialize(deserializer)? {
            Written::Text(text) => text
                .parse::<bytesize::ByteSize>()
                .map(|size| Self(size.as_u64()))
                .map_err(|error| D::Error::custom(format!("`{text}` is no size, expected one as `64MiB`: {error}"))),
            Written::Number(number) => u64::try_from(number)
                .map(Self)
                .map_err(|_| D::Error::custom(format!("a size is not negative: {number}"))),
            Written::Other(_) => Err(D::Error::custom("expected a size, as `\"64MiB\"`")),
        }
    }
}

impl<'de> Deserialize<'de> for Fuel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Written::deserialize(deserializer)? {
            Written::Text(text) if text == "off" => Ok(Self(None)),
            Written::Number(number) => u64::try_from(number)
                .map(|fuel| Self(Some(fuel)))
                .map_err(|_| D::Error::custom(format!("fuel is not negative: {number}"))),
            Written::Text(_) | Written::Other(_) => {
                Err(D::Error::custom("expected a number, as `50_000_000_000`, or `\"off\"`"))
            }
        }
    }
}
