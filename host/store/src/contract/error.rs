//! What an operation may end with instead.

use super::{Bound, Entry, MAX_REQUEST_BYTES, Usage, Version};

/// An operation did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// An argument is beyond a bound. Nothing was asked of the engine.
    #[error("{0}")]
    InvalidArgument(String),
    /// The condition was not met, and nothing was written. The entry as it is now, of the first operation that it was not
    /// met for; none where it is absent.
    #[error("the condition was not met")]
    Conflict(Option<Box<Entry>>),
    /// The bucket would hold more than it may, and nothing was written. What it holds now.
    #[error(
        "the bucket is full: {} of {} entries, {} of {} bytes",
        .0.entries, .0.max_entries, .0.bytes, .0.max_bytes
    )]
    QuotaExceeded(Usage),
    /// Changes since the version asked for are gone, or it is ahead of the bucket. List, then go on after this version, the
    /// bucket's now: nothing is missed by that.
    #[error("the changes asked for are gone: list, then go on after version {0}")]
    Compacted(Version),
    /// The deadline passed before the engine began. Nothing was written.
    #[error("the deadline passed, and nothing was written")]
    TimedOut,
    /// The engine is away, cannot write, or takes no more. Nothing was written. The reason is for operators alone.
    #[error("the store is unavailable, and nothing was written: {0}")]
    Unavailable(String),
    /// The engine went away or the deadline passed in the middle. It may have been applied, or be yet, or never.
    #[error("it is not known whether it was applied: {0}")]
    UnknownOutcome(String),
    /// Anything else: damage above all. The reason is for operators alone.
    #[error("{0}")]
    Other(String),
}

impl StoreError {
    pub(crate) fn not_a_number() -> Self {
        Bound::new("key", "name an entry that holds a decimal number of 64 bits").into()
    }

    pub(crate) fn beyond_64_bits() -> Self {
        Bound::new("delta", "keep the number within 64 bits").into()
    }

    pub(crate) fn written() -> Self {
        let expected = "be one that nothing but imports has written: versions would mean two things";
        Bound::new("bucket", expected).into()
    }

    pub(crate) fn too_large() -> Self {
        Bound::new("keys", format!("name entries of at most {MAX_REQUEST_BYTES} bytes together")).into()
    }

    /// Whether the engine is at fault rather than who asked: what `readyz` and the operator's log want to know.
    pub fn is_engine(&self) -> bool {
        match self {
            Self::InvalidArgument(_) | Self::Conflict(_) | Self::QuotaExceeded(_) | Self::Compacted(_) => false,
            Self::TimedOut | Self::Unavailable(_) | Self::UnknownOutcome(_) | Self::Other(_) => true,
        }
    }
}

impl From<Bound> for StoreError {
    fn from(bound: Bound) -> Self {
        Self::InvalidArgument(bound.to_string())
    }
}
