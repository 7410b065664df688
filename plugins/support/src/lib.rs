//! Support tickets. `ticket` is one of them and what may become of it, `keys` where things lie; `opening`, `analysing`,
//! `ending` and `looking` are what agents do. `component` is the tool over the host's shelf.

#![cfg_attr(not(target_family = "wasm"), forbid(unsafe_code))]

mod analysing;
#[cfg(target_family = "wasm")]
#[allow(unsafe_code, reason = "what wit-bindgen makes is so")]
mod component;
mod ending;
mod keys;
mod looking;
mod opening;
mod ticket;

pub use analysing::{Analyses, Analysis, Said, add, all};
pub use ending::{escalate, resolve};
pub use looking::{Standing, Status, get, status};
pub use opening::{Draft, save};
pub use ticket::{Event, State, Ticket};
