//! An entry, and the order of its writes.

use std::fmt;

use super::Key;

/// Of each write of a bucket: the next one, from 1 on, so that they rise strictly and no two writes share one.
///
/// 0 is before all writes. Below 2^53 in every engine: a million writes a second reach that after 285 years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who wrote an entry. At most [`MAX_WRITER`](super::MAX_WRITER) bytes in each part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Writer {
    /// The principal that called.
    pub principal: String,
    /// The plugin that ran.
    pub plugin: String,
    /// The digest of its component.
    pub digest: String,
}

/// An entry as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its key.
    pub key: Key,
    /// Its value.
    pub value: Vec<u8>,
    /// The version of the write that left it so.
    pub version: Version,
    /// Whose write that was.
    pub writer: Writer,
    /// When, in milliseconds since the Unix epoch, by the store's clock.
    pub written_at_ms: u64,
    /// From when on it is gone, in milliseconds since the Unix epoch.
    pub expires_at_ms: Option<u64>,
}

/// Entries in the order of their keys' bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The entries.
    pub entries: Vec<Entry>,
    /// The last key seen, where more may follow: what to list after.
    pub next: Option<Key>,
}
