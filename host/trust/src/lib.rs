//! The customs house: what was approved, and the proof of it.
//!
//! Holds components by digest, the lock that people review, and what this host has accepted of it. It runs no guest code
//! and decodes no component: others hand it a [`Candidate`], and it says whether that is what was approved. What
//! happened it returns as values, for the ledger.

#![forbid(unsafe_code)]

mod accepted;
mod approval;
mod canonical;
mod collision;
mod components;
mod definition;
mod diff;
mod file;
mod lock;
mod request;
#[cfg(test)]
mod samples;
mod show;
mod standing;
mod trust;

pub use accepted::AcceptedError;
pub use approval::{Approval, ApprovedTool, Candidate, Definition, NoDigest};
pub use canonical::{
    IngestError, MAX_DEFINITION_BYTES, MAX_DEPTH, NotCanonical, canonical, check_value, definition_digest, read_strict,
};
pub use collision::{Collision, Folding, Owned, collisions};
pub use components::{ComponentError, Components, MAX_COMPONENT};
pub use definition::{Finding, MAX_DESCRIPTION_BYTES, MAX_FINDINGS, Severity, ToolNames, examine};
pub use diff::{Bytes, CarrierChange, Changed, Difference, Line, LineKind, ToolChange, ToolsChanged, Word, WordKind};
pub use file::{FileError, Phase};
pub use lock::{Lock, LockError, MAX_LOCK, MAX_PLUGINS};
pub use request::{ApproveRequest, Approved, DigestPrefix, Expected, LockReview, MIN_PREFIX, PrefixError, Removed};
pub use show::{Escaped, escaped, escaped_json, escaped_lines};
pub use standing::{Judgement, LockReason, LockTrouble, Standing};
pub use trust::{Step, Target, Trust, TrustError, TrustOptions};
