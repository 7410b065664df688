//! The real binary, as people and real clients use it.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests end that way, and so do the functions beside them"
)]

mod agents;
mod approval;
mod approval_review;
mod clients;
mod commands;
mod confirm;
mod conformance;
mod dev;
mod foreign;
mod grants;
mod harden;
mod host;
mod kv;
mod languages;
mod limits;
mod oauth;
mod plugins;
mod pressure;
mod protocol;
mod raw;
#[path = "../store/contract/server.rs"]
#[allow(dead_code, reason = "the tests of the store use the rest")]
mod redis;
mod resources;
mod routes;
mod shared;
mod socket;
mod teams;
mod tls;
mod tools;
