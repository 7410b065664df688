//! The mapping between WIT and JSON, version 1, as `wit/README.md` states it: a function's types become a tool's
//! definition, arguments become component values and results become JSON, straight, against the types that
//! [`component`](crate::component) read. It knows nothing of MCP, and nothing of what was approved.

mod check;
mod definition;
mod json;
mod naming;
mod schema;

pub use check::{Mismatch, check, export_index};
pub use definition::{Definitions, LeftOut, MAX_DEFINITION, MAX_DEFINITIONS, ToolEntry, UnknownChoice, definitions};
pub use json::{ArgumentError, EncodeError, GuestError, Outcome, Problem, decode_arguments, encode_result};
