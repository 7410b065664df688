//! Messages between agents. `address` says to whom, `mailbox` what is given out and when, `sending` who gets what;
//! `component` is the tool over the host's shelf.

#![cfg_attr(not(target_family = "wasm"), forbid(unsafe_code))]

mod address;
#[cfg(target_family = "wasm")]
#[allow(unsafe_code, reason = "what wit-bindgen makes is so")]
mod component;
mod mailbox;
mod members;
mod sending;

pub use address::{Priority, Recipient};
pub use mailbox::{Acknowledged, Asked, MAX_ACKNOWLEDGED, Message, Received, acknowledge, receive};
pub use members::MAX_TOPICS;
pub use sending::{MAX_BODY, MAX_RECIPIENTS, Sent, send};
