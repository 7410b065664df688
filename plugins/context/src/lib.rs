//! Shared values of agents. `values` is what it does, over any shelf; `component` is the tool, over the host's.

#![cfg_attr(not(target_family = "wasm"), forbid(unsafe_code))]

#[cfg(target_family = "wasm")]
#[allow(unsafe_code, reason = "what wit-bindgen makes is so")]
mod component;
mod values;

pub use values::{Address, Deleted, Item, Listed, MAX_KEY, MAX_VALUE, Page, Written, delete, list, read, write};
