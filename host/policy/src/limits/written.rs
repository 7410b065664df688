//! Limits as they stand in the lock: plain exact numbers in named units.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Limits, LimitsError, LimitsOverride};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Written {
    deadline_ms: u64,
    fuel: Fuel,
    memory: u64,
    output: u64,
    concurrency: u32,
}

impl TryFrom<Written> for Limits {
    type Error = LimitsError;

    fn try_from(written: Written) -> Result<Self, LimitsError> {
        Self::default().with(&LimitsOverride {
            deadline: Some(Duration::from_millis(written.deadline_ms)),
            fuel: Some(written.fuel.0),
            memory: Some(written.memory),
            output: Some(written.output),
            concurrency: Some(written.concurrency),
        })
    }
}

impl From<Limits> for Written {
    fn from(limits: Limits) -> Self {
        // A deadline past its range stays past it, and is refused when it is read.
        let deadline_ms = u64::try_from(limits.deadline.as_millis()).unwrap_or(u64::MAX);
        let Limits { deadline: _, fuel, memory, output, concurrency } = limits;
        Self { deadline_ms, fuel: Fuel(fuel), memory, output, concurrency }
    }
}

/// A number, or the word `off`. Nothing else, so that a lost value cannot pass for "no limit".
#[derive(Clone, Copy, Debug)]
struct Fuel(Option<u64>);

impl Serialize for Fuel {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(fuel) => serializer.serialize_u64(fuel),
            None => serializer.serialize_str("off"),
        }
    }
}

impl<'de> Deserialize<'de> for Fuel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Fuel;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number of units, or `\"off\"`")
            }

            fn visit_u64<E: de::Error>(self, fuel: u64) -> Result<Fuel, E> {
                Ok(Fuel(Some(fuel)))
            }

            fn visit_i64<E: de::Error>(self, fuel: i64) -> Result<Fuel, E> {
                let fuel = u64::try_from(fuel).map_err(|_| E::invalid_value(de::Unexpected::Signed(fuel), &self))?;
                Ok(Fuel(Some(fuel)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Fuel, E> {
                match text {
                    "off" => Ok(Fuel(None)),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}
