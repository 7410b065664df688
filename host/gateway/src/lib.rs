//! Reception: the doors, the one pipeline of a call, the one reply table.
//!
//! The only room that knows MCP and HTTP. It never sees a type of wasmtime's, and decides nothing: [`pipeline`] asks
//! the statute book and carries the proof.

#![forbid(unsafe_code)]

mod auth;
mod handler;
mod http;
mod pipeline;
mod reply;
mod resources;
mod sessions;
mod stdio;
mod subscribers;
mod threads;
mod tools;

pub use auth::{ApiKey, Doorkeeper, KeyFile, KeyFileError, KeyRefusal, KeyRing, Refused};
pub use handler::{ServerName, Who};
pub use http::{HttpDoor, HttpError};
pub use pipeline::{Ended, Gateway, Incoming};
pub use resources::{Address, Resources, SharedContext};
pub use stdio::{StdioError, serve_stdio};
