//! The contract that every engine keeps: the types, and the bounds on what callers may ask.
//!
//! Nothing here knows how values are kept.

mod bounds;
mod change;
mod entry;
mod error;
mod names;
mod operation;
mod usage;

pub use self::{
    bounds::{
        Bound, MAX_BUCKET, MAX_KEY, MAX_KEYS, MAX_OPERATIONS, MAX_PAGE, MAX_PAGE_BYTES, MAX_REQUEST_BYTES, MAX_TTL,
        MAX_VALUE, MAX_WAIT, MAX_WRITER,
    },
    change::{Change, ChangeKind, ChangePage},
    entry::{Entry, Page, Version, Writer},
    error::StoreError,
    names::{BucketName, Key},
    operation::{Condition, Operation, SetOptions},
    usage::{Bucket, Limits, Usage},
};
pub(crate) use self::{
    bounds::{check_entries, check_keys, check_limit, check_operations, check_prefix, check_ttl, check_writer},
    operation::count_after,
};
