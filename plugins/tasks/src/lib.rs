//! A queue of tasks. `task` is one task and what may become of it, `keys` where things lie; `posting`, `claiming`, `ending`
//! and `looking` are what agents do, and `settling` what happens by itself. `component` is the tool over the host's shelf.

#![cfg_attr(not(target_family = "wasm"), forbid(unsafe_code))]

mod claiming;
#[cfg(target_family = "wasm")]
#[allow(unsafe_code, reason = "what wit-bindgen makes is so")]
mod component;
mod ending;
mod keys;
mod looking;
mod posting;
mod settling;
mod task;

pub use claiming::{MAX_HELD, Wanted, claim, extend};
pub use ending::{cancel, complete, fail};
pub use looking::{Pending, PendingTask, Shown, get, pending};
pub use posting::{Draft, post};
pub use task::{Event, MAX_DEPENDENCIES, MAX_EVENTS, State, Task};
