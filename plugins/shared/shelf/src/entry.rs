//! Entries and what is done with them, in plain types.

use serde::{Serialize, de::DeserializeOwned};

use crate::Fault;

/// An entry as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: Vec<u8>,
    /// The version of the write that left it so.
    pub version: u64,
    /// The principal whose write that was.
    pub writer: String,
    /// When that was, in milliseconds since the Unix epoch.
    pub written_at_ms: u64,
    /// From when on it is gone. None: it stays.
    pub expires_at_ms: Option<u64>,
}

impl Entry {
    /// What its value says.
    ///
    /// # Errors
    /// [`Fault::Damaged`] where somebody wrote there what is not of this kind.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        serde_json::from_slice(&self.value).map_err(|_| Fault::Damaged(self.key.clone()))
    }
}

/// Entries in the order of their keys.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The entries.
    pub entries: Vec<Entry>,
    /// What to list after next, where more may follow.
    pub next: Option<String>,
}

/// How much a bucket holds and may hold. Bytes are those of keys and values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Entries.
    pub entries: u64,
    /// Bytes.
    pub bytes: u64,
    /// Most entries.
    pub max_entries: u64,
    /// Most bytes.
    pub max_bytes: u64,
}

/// What must be true for a step to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Nothing.
    Always,
    /// There is no entry.
    Absent,
    /// There is one.
    Present,
    /// There is one of this version.
    Version(u64),
}

impl When {
    /// That nothing has changed since `found` was read.
    pub fn unchanged(found: Option<&Entry>) -> Self {
        found.map_or(Self::Absent, |entry| Self::Version(entry.version))
    }
}

/// A step of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Writes an entry, which lives for so many milliseconds, or for good.
    Set(String, Vec<u8>, When, Option<u64>),
    /// Deletes an entry, if it is there.
    Delete(String, When),
    /// Writes nothing.
    Check(String, When),
}

impl Step {
    /// Writes `value` as JSON.
    ///
    /// # Errors
    /// [`Fault::Damaged`] where it cannot be JSON, which no type of these plugins is.
    pub fn set(key: impl Into<String>, value: &impl Serialize, when: When, ttl_ms: Option<u64>) -> Result<Self, Fault> {
        let key = key.into();
        let bytes = serde_json::to_vec(value).map_err(|_| Fault::Damaged(key.clone()))?;
        Ok(Self::Set(key, bytes, when, ttl_ms))
    }

    /// The bytes that it puts into the bucket.
    pub fn size(&self) -> usize {
        match self {
            Self::Set(key, value, ..) => key.len() + value.len(),
            Self::Delete(..) | Self::Check(..) => 0,
        }
    }
}

/// What happened to an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It was written.
    Set,
    /// It was deleted.
    Delete,
    /// Its time was over.
    Expire,
}

/// A change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What happened.
    pub kind: Kind,
    /// To which entry.
    pub key: String,
}

/// What happened, in order.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// The changes; none where the wait ended without any.
    pub changes: Vec<Change>,
    /// What to ask after next.
    pub next_after: u64,
    /// Some are not kept any more: look at everything, then go on after `next_after`.
    pub missed: bool,
}
