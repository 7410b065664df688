//! What the targets share: the properties, each a function that panics where one is broken.
//!
//! Nothing here depends on wasmtime. The component inspector is a module of `portcullis-runtime`, which does; so its
//! sources are built here a second time, which they allow, since they use `wasmparser` alone.

#![forbid(unsafe_code)]

mod definition;
mod inspected;
mod lock;
mod request;

#[path = "../../../host/runtime/src/component/mod.rs"]
#[allow(dead_code, unused_imports, reason = "what the mapping of values uses is not used here")]
pub mod component;

pub use definition::definition;
pub use inspected::{generated, inspected};
pub use lock::lock;
pub use request::request;
