//! The statute book: principals, limits, the plain types and the one decision.
//!
//! Pure: no I/O, nothing async, no knowledge of wasmtime or MCP. What "allowed" means is known here and nowhere else.

#![forbid(unsafe_code)]

mod decide;
mod digest;
mod limits;
mod names;
mod principal;
mod tool;

pub use decide::{Denied, Permit, decide};
pub use digest::{Digest, DigestError, hex};
pub use limits::{Limits, LimitsError, LimitsOverride, MAX_CONCURRENCY, MAX_DEADLINE, MAX_MEMORY, MAX_OUTPUT};
pub use names::{MAX_PLUGIN_NAME, MAX_TOOL_NAME, NameError, PluginName, ToolName, snake_case};
pub use principal::Principal;
pub use tool::{Annotations, ToolDefinition, ToolRules};
