//! What a component says of itself, read without compiling or running any of it: its exported functions with their
//! types and doc comments, its imports, the requests that it states.
//!
//! It runs in the confined child process, on hostile bytes; what it returns goes to the parent as JSON, which checks it
//! again as it reads it. So everything here is bounded, types are an arena that shares what the component shares, and
//! nothing panics. It decides nothing: names of tools and schemas are `wit`'s.
//!
//! It reads `wasmparser`'s types itself and does not use `wit_component::decode`, which asserts what hostile components
//! can break, and refuses what no tool needs to be expressed in WIT.

mod convert;
mod decode;
mod description;
mod sections;
mod types;

pub use decode::{DescribeError, MAX_COMPONENT, describe};
pub use description::{Description, Function, Import, MAPPING_VERSION, Param};
pub use types::{TypeId, Types};

pub(crate) use types::{Case, Cases, Field, Kind, TypeDef};
