//! The workshop: components decoded, compiled and called.
//!
//! The only room that knows wasmtime and WASI. It knows nothing of MCP, tokens, configuration files or the lock: it is
//! given bytes, a [`Permit`](portcullis_policy::Permit) and arguments, and gives back an outcome.
//!
//! In the order in which a component meets them: [`component`] decodes it, [`wit`] maps its types to JSON, [`worker`]
//! does that and compiles it in a confined child process, [`cache`] keeps what the child made, [`Plugin`] holds it
//! ready, and each call of [`Plugin::call`] gets a fresh sandbox.

mod bindings;
mod cache;
mod call;
mod capability;
pub mod component;
mod engine;
mod error;
mod native;
mod plugin;
mod quantum;
mod runtime;
mod sandbox;
mod seat;
mod secret;
mod state;
pub mod wit;
pub mod worker;

pub use call::{CallEnd, CallRequest, Reply};
pub use capability::{Resolve, Surroundings, Terms, call::Progress};
pub use error::CallError;
pub use plugin::{LoadError, Plugin};
pub use runtime::{Component, PrepareError, Runtime, RuntimeError, RuntimeOptions};
pub use sandbox::{LogLevel, LogLine, LogSource};
pub use secret::{SecretError, read_secret};
pub use state::{StateDir, StateError};
