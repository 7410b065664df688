//! Who is there, and what they can do. `agent` is one of them and how two compare, `register` the list; `component` is the
//! tool over the host's shelf.

#![cfg_attr(not(target_family = "wasm"), forbid(unsafe_code))]

mod agent;
#[cfg(target_family = "wasm")]
#[allow(unsafe_code, reason = "what wit-bindgen makes is so")]
mod component;
mod register;

pub use agent::{Agent, Profile};
pub use register::{Found, Registration, deregister, find, heartbeat, register};
