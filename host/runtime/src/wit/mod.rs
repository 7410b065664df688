//! The mapping between WIT and JSON, version 1, as `wit/README.md` states it: a function's types become a tool's
//! definition, arguments become component values and results become JSON, straight, against the types that
//! [`component`](crate::component) read. It knows nothing of MCP, and nothing of what was approved.

mod check;
mod definition;
mod json;
mod naming;
mod schema;

/// Characters of base64 that an argument of `list<u8>` may have: a mebibyte of bytes, each of which is a value of 32
/// bytes, and some 90 ns of work, on its way into the sandbox.
const MAX_BASE64: usize = (1_usize << 20).div_ceil(3) * 4;

pub use check::{Mismatch, check, export_index};
pub use definition::{
    Definitions, LeftOut, MAX_DEFINITION, MAX_DEFINITIONS, ToolEntry, UnknownChoice, definitions, is_chosen,
};
pub use json::{ArgumentError, EncodeError, GuestError, Outcome, Problem, decode_arguments, encode_result};
