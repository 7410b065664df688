//! What can be done to a bucket, and under which condition.

use std::time::Duration;

use super::{Entry, Key, StoreError, Version};

/// What must be true for a write to happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    #[default]
    Always,
    /// There is no entry.
    IfAbsent,
    /// There is one.
    IfPresent,
    /// There is one, of this version.
    IfVersion(Version),
}

/// How an entry is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetOptions {
    /// Under which condition.
    pub when: Condition,
    /// How long it is to live from now on, 1 ms to [`MAX_TTL`](super::MAX_TTL); for good without.
    pub ttl: Option<Duration>,
}

/// One of several that happen together or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Writes an entry.
    Set {
        /// Its key.
        key: Key,
        /// Its value.
        value: Vec<u8>,
        /// How.
        options: SetOptions,
    },
    /// Deletes an entry. One that is not there stays so.
    Delete {
        /// Its key.
        key: Key,
        /// Under which condition.
        when: Condition,
    },
    /// Writes nothing.
    Check {
        /// Which entry.
        key: Key,
        /// What must be true of it.
        when: Condition,
    },
}

impl Operation {
    /// The key that it is about.
    pub fn key(&self) -> &Key {
        match self {
            Self::Set { key, .. } | Self::Delete { key, .. } | Self::Check { key, .. } => key,
        }
    }

    /// Its condition.
    pub fn when(&self) -> Condition {
        match self {
            Self::Set { options, .. } => options.when,
            Self::Delete { when, .. } | Self::Check { when, .. } => *when,
        }
    }
}

/// What a condition looks at: the version of the entry that stands, if one does.
pub(crate) type Held = Option<Version>;

impl Condition {
    /// Whether it is true of what stands.
    pub(crate) fn holds(self, held: Held) -> bool {
        match self {
            Self::Always => true,
            Self::IfAbsent => held.is_none(),
            Self::IfPresent => held.is_some(),
            Self::IfVersion(version) => held == Some(version),
        }
    }
}

/// The number that an `increment` leaves: values are decimal numbers of 64 bits with sign, as they are written shortest.
///
/// # Errors
/// When the value is no such number, or the sum is beyond 64 bits.
pub(crate) fn count_after(before: Option<&Entry>, delta: i64) -> Result<i64, StoreError> {
    let Some(entry) = before else { return Ok(delta) };
    let text = std::str::from_utf8(&entry.value).ok();
    let number = text.and_then(|text| Some((text, text.parse::<i64>().ok()?)));
    let Some((_, number)) = number.filter(|(text, number)| number.to_string() == *text) else {
        return Err(StoreError::not_a_number());
    };
    number.checked_add(delta).ok_or_else(StoreError::beyond_64_bits)
}
