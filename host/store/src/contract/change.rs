//! What happened in a bucket, in order.

use super::{Key, Version, Writer};

/// What happened to an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was written.
    Set,
    /// It was deleted.
    Delete,
    /// Its time was over.
    Expire,
}

/// One change, as it was then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What happened.
    pub kind: ChangeKind,
    /// To which entry.
    pub key: Key,
    /// The change's own version. Each version of a bucket is one change.
    pub version: Version,
    /// What was written; of a set alone.
    pub value: Option<Vec<u8>>,
    /// Who did it; nobody made an entry expire.
    pub writer: Option<Writer>,
}

/// Changes in the order of their versions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangePage {
    /// The changes. None where nothing happened within the wait.
    pub changes: Vec<Change>,
    /// What to ask after next: the last version looked at, also where it was outside the prefix.
    pub next_after: Version,
}
