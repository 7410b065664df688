//! The sandbox holds: hostile guests, bad files, bad configuration, each against its own typed end.
//!
//! In process, through the one path of a call, where the question is how a call ends; through the real binary where it
//! is what an operator or a client sees. Each module is a subject; [`house`] holds the one `check` that all share.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests end that way, and so do the functions beside them"
)]

mod abi;
mod binary;
mod bombs;
mod cache;
mod cancel;
mod compute;
mod config;
mod corpus;
mod directories;
mod egress;
mod files;
mod house;
mod inert;
mod memory;
mod neighbours;
mod piped;
#[path = "../store/contract/server.rs"]
#[allow(dead_code, reason = "the tests of the store use the rest")]
mod server;
mod shared;
mod stdio;
mod streams;
mod told;
