//! The register: which plugins are there, how each stands, and which generation of it runs.
//!
//! Doors read a [`Snapshot`], made once for each change and shared: nothing on the path of a call builds a list. What is
//! served is what was approved; what lies at a plugin's source is only looked at. A plugin that is broken stands in the
//! snapshot with its reason, and hides no other. This room knows neither MCP nor HTTP.

#![forbid(unsafe_code)]

mod admission;
mod admit;
mod approvals;
mod catalogue;
mod draft;
mod prepare;
mod served;
mod snapshot;
mod spec;
mod stamp;

pub use admission::Admission;
pub use approvals::{ApprovalError, Operator, Review};
pub use catalogue::{Catalogue, Purpose};
pub use draft::{NameCollision, StartError};
pub use portcullis_runtime::{
    CallEnd, CallError, LogLevel, LogLine, LogSource, Progress, Reply,
    wit::{ArgumentError, GuestError, Problem},
};
pub use prepare::{Examined, Inspection, Refusal, Unfit};
pub use snapshot::{PluginStatus, Snapshot, State, Tool, ToolCall, Trouble};
pub use spec::{PluginSpec, ToolSpec};
