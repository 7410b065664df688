//! Concurrent histories, and whether each key of them is linearisable.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests end that way, and so do the functions beside them"
)]

mod broken;
mod checker;
#[path = "../contract/engines.rs"]
#[allow(dead_code, reason = "the contract's tests use the rest")]
mod engines;
mod record;
#[path = "../contract/server.rs"]
#[allow(dead_code, reason = "the contract's tests use the rest")]
mod server;
