//! The ledger: what happened, written before and after it happens.
//!
//! An intent stands in the file before a call runs, its outcome before the reply leaves. A call whose intent cannot be
//! written does not run. This room decides nothing, and never loses a record silently.

#![forbid(unsafe_code)]

mod event;
mod file;
mod record;
mod secret;

pub use event::{Answer, ApprovalAction, Asking, Event, KvAction, KvOutcome, Outcome, PluginState, ReadOutcome};
pub use file::{AuditError, Clock, Ledger};
pub use record::{CallNotes, CallRecord, Intent, Used};
pub use secret::Secret;
