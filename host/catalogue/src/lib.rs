//! The register: which plugins are there, and which generation of each runs.
//!
//! Doors read a [`Snapshot`], made once for each change and shared: nothing on the path of a call builds a list. A
//! plugin that is broken stands in the snapshot with its reason, and hides no other. This room knows neither MCP nor
//! HTTP.

#![forbid(unsafe_code)]

mod catalogue;
mod draft;
mod prepare;
mod snapshot;
mod spec;

pub use catalogue::Catalogue;
pub use draft::StartError;
pub use portcullis_runtime::{CallEnd, CallError, LogLine, Progress, Reply};
pub use prepare::{Inspection, inspect};
pub use snapshot::{PluginStatus, Snapshot, State, Tool, ToolCall};
pub use spec::{PluginSpec, ToolSpec};
