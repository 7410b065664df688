//! What operators ask of shared context, and what is answered: plain types, since they stand on the socket and in exports.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use portcullis_store::{Change, ChangeKind, Condition, Entry, StoreError, Usage, Version, Writer};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Bytes, in base64 on the socket.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Self).map_err(|error| D::Error::custom(format!("no base64: {error}")))
    }
}

/// One question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum KvRequest {
    /// An entry.
    Get {
        /// Of which bucket.
        bucket: String,
        /// Under which key.
        key: String,
    },
    /// Write one.
    Set {
        /// Into which bucket.
        bucket: String,
        /// Under which key.
        key: String,
        /// What.
        value: Bytes,
        /// Under which condition.
        when: KvWhen,
        /// How long it is to live, in milliseconds.
        ttl_ms: Option<u64>,
    },
    /// Delete one.
    Delete {
        /// Of which bucket.
        bucket: String,
        /// Under which key.
        key: String,
        /// Under which condition.
        when: KvWhen,
    },
    /// A page of entries.
    List {
        /// Of which bucket.
        bucket: String,
        /// What their keys begin with.
        prefix: String,
        /// The key that they come after.
        after: Option<String>,
        /// How many at most.
        limit: usize,
    },
    /// What happened after a version, or from now on; waits for it.
    Changes {
        /// In which bucket.
        bucket: String,
        /// What the keys begin with.
        prefix: String,
        /// After which version; from the latest on without, which is answered at once.
        after: Option<u64>,
        /// How long to wait, in milliseconds; half a minute at most.
        wait_ms: u64,
    },
    /// How much buckets hold.
    Stats {
        /// Which; all that were ever written without.
        bucket: Option<String>,
    },
    /// A page of entries as `Import` takes them, with the version of the bucket.
    Export {
        /// Of which bucket.
        bucket: String,
        /// The key that they come after.
        after: Option<String>,
    },
    /// Puts exported entries in as they were.
    Import {
        /// Into which bucket.
        bucket: String,
        /// The version of the bucket that they come from.
        version: u64,
        /// They.
        entries: Vec<KvEntry>,
    },
}

/// What must be true for a write to happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum KvWhen {
    /// Nothing.
    #[default]
    Always,
    /// There is no entry.
    Absent,
    /// There is one of this version.
    Version(u64),
}

impl From<KvWhen> for Condition {
    fn from(when: KvWhen) -> Self {
        match when {
            KvWhen::Always => Self::Always,
            KvWhen::Absent => Self::IfAbsent,
            KvWhen::Version(version) => Self::IfVersion(Version(version)),
        }
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum KvAnswer {
    /// The entry, where there is one.
    Entry(Option<KvEntry>),
    /// It was done, and got this version; none where there was nothing to delete.
    Written {
        /// The version.
        version: Option<u64>,
    },
    /// A page.
    Page {
        /// The version that the bucket had before.
        version: u64,
        /// The entries, by key.
        entries: Vec<KvEntry>,
        /// What to list after, where more may follow.
        next: Option<String>,
    },
    /// What happened, in order.
    Changes {
        /// The changes.
        changes: Vec<KvChange>,
        /// After which version to ask next.
        next_after: u64,
    },
    /// How much each holds, by name.
    Stats(Vec<KvStats>),
    /// They are in.
    Imported {
        /// How many there were.
        entries: usize,
    },
}

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct KvEntry {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: Bytes,
    /// Its version.
    pub version: u64,
    /// The principal that wrote it.
    pub principal: String,
    /// The plugin that ran; nothing where an operator wrote it by hand.
    pub plugin: String,
    /// The digest of its component.
    pub digest: String,
    /// When, in milliseconds since the Unix epoch.
    pub written_at_ms: u64,
    /// From when on it is gone, in milliseconds since the Unix epoch.
    pub expires_at_ms: Option<u64>,
}

impl From<Entry> for KvEntry {
    fn from(entry: Entry) -> Self {
        let Entry { key, value, version, writer, written_at_ms, expires_at_ms } = entry;
        let Writer { principal, plugin, digest } = writer;
        let (key, value, version) = (key.into(), Bytes(value), version.0);
        Self { key, value, version, principal, plugin, digest, written_at_ms, expires_at_ms }
    }
}

/// A change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct KvChange {
    /// What happened.
    pub kind: KvChangeKind,
    /// To which key.
    pub key: String,
    /// The change's own version.
    pub version: u64,
    /// What was written.
    pub value: Option<Bytes>,
    /// The principal that did it; nobody made an entry expire.
    pub principal: Option<String>,
    /// The plugin that ran.
    pub plugin: Option<String>,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KvChangeKind {
    /// It was written.
    Set,
    /// It was deleted.
    Delete,
    /// Its time was over.
    Expire,
}

impl From<Change> for KvChange {
    fn from(change: Change) -> Self {
        let Change { kind, key, version, value, writer } = change;
        let kind = match kind {
            ChangeKind::Set => KvChangeKind::Set,
            ChangeKind::Delete => KvChangeKind::Delete,
            ChangeKind::Expire => KvChangeKind::Expire,
        };
        let (principal, plugin) = writer.map(|writer| (writer.principal, writer.plugin)).unzip();
        Self { kind, key: key.into(), version: version.0, value: value.map(Bytes), principal, plugin }
    }
}

/// How much a bucket holds, and may hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct KvStats {
    /// Which.
    pub bucket: String,
    /// Entries.
    pub entries: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
    /// Entries that it may hold.
    pub max_entries: u64,
    /// Bytes that it may hold.
    pub max_bytes: u64,
}

impl KvStats {
    pub(super) fn of(bucket: &str, usage: Usage) -> Self {
        let Usage { entries, bytes, max_entries, max_bytes } = usage;
        Self { bucket: bucket.to_owned(), entries, bytes, max_entries, max_bytes }
    }
}

/// It was not done, or that is not known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct KvRefusal {
    /// The kind.
    pub fault: KvFault,
    /// In words.
    pub message: String,
}

/// Kinds of refusals, with what an operator needs to mend them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum KvFault {
    /// The condition was not met. The entry as it is, where there is one.
    Conflict(Option<Box<KvEntry>>),
    /// The bucket is full. What it holds.
    Full(KvStats),
    /// The changes asked for are gone. After which version to go on.
    Compacted(u64),
    /// What was asked is beyond a bound.
    Invalid,
    /// The store is away, or took too long. Nothing was written.
    Away,
    /// It may have been done, or not.
    Unknown,
    /// The audit log could not be written.
    NotRecorded,
    /// Anything else.
    Other,
}

impl KvRefusal {
    pub(super) fn of(bucket: &str, error: StoreError) -> Self {
        let message = error.to_string();
        let fault = match error {
            StoreError::InvalidArgument(_) => KvFault::Invalid,
            StoreError::Conflict(entry) => KvFault::Conflict(entry.map(|entry| Box::new((*entry).into()))),
            StoreError::QuotaExceeded(usage) => KvFault::Full(KvStats::of(bucket, usage)),
            StoreError::Compacted(version) => KvFault::Compacted(version.0),
            StoreError::TimedOut | StoreError::Unavailable(_) => KvFault::Away,
            StoreError::UnknownOutcome(_) => KvFault::Unknown,
            StoreError::Other(_) => KvFault::Other,
        };
        Self { fault, message }
    }
}
