//! How much a bucket may hold, and holds.

use super::BucketName;

/// A bucket as the configuration has it. The store keeps no list of what may exist: whoever asks knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Its name.
    pub name: BucketName,
    /// How much it may hold.
    pub limits: Limits,
}

/// How much a bucket may hold. They come with each write, so that a changed configuration holds from the next one on;
/// where a bucket holds more already, only writes that add to it are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most entries.
    pub max_entries: u64,
    /// Most bytes of keys and values together.
    pub max_bytes: u64,
    /// How many changes are kept for those who were away.
    pub changes: u64,
    /// How many bytes of keys and values the kept changes have at most; the last change is kept in any case.
    pub change_bytes: u64,
}

impl Default for Limits {
    /// 100,000 entries of 64 MiB together; the last 10,000 changes of at most 64 MiB.
    fn default() -> Self {
        Self { max_entries: 100_000, max_bytes: 64 << 20, changes: 10_000, change_bytes: 64 << 20 }
    }
}

/// How much a bucket holds. Entries whose time is over do not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Entries.
    pub entries: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// See [`Limits::max_entries`].
    pub max_entries: u64,
    /// See [`Limits::max_bytes`].
    pub max_bytes: u64,
}
