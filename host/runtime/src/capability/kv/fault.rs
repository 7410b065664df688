//! What the store says, as errors that a guest sees. None of its reasons is among them: they name addresses and paths.

use portcullis_store::{Bound, StoreError, Usage};
use wasmtime::component::ResourceTableError;

/// Why an operation ended without a result, in the words of neither interface.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It is no name of a bucket.
    NoSuchBucket,
    /// No grant allows it.
    Denied,
    /// The call has done as much as it may; which bound.
    Limit(String),
    /// As many calls wait as may; which bound.
    Busy(String),
    /// The bucket would hold more than it may. What it holds, where the guest may know.
    Full(Option<Usage>),
    /// The store said so.
    Store(StoreError),
    /// The guest used a handle that it does not have.
    Trap(ResourceTableError),
}

impl From<ResourceTableError> for Fault {
    fn from(error: ResourceTableError) -> Self {
        Self::Trap(error)
    }
}

impl From<Bound> for Fault {
    fn from(bound: Bound) -> Self {
        Self::Store(bound.into())
    }
}

/// What a guest is told where the interface has no case of its own.
impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NoSuchBucket => "there is no such bucket",
            Self::Denied => "denied",
            Self::Limit(text) | Self::Busy(text) | Self::Store(StoreError::InvalidArgument(text)) => text,
            Self::Store(StoreError::Conflict(_)) => "the condition was not met",
            Self::Full(_) | Self::Store(StoreError::QuotaExceeded(_)) => "the bucket is full",
            Self::Store(StoreError::Compacted(_)) => "the changes asked for are gone",
            Self::Store(StoreError::TimedOut) => "the deadline passed, and nothing was written",
            Self::Store(StoreError::Unavailable(_)) => "the store is unavailable, and nothing was written",
            Self::Store(StoreError::UnknownOutcome(_)) => "it is not known whether it was applied",
            Self::Store(StoreError::Other(_)) => "the store failed",
            Self::Trap(_) => "no such handle",
        })
    }
}
