//! What every engine keeps, on every engine: a model and random histories, and tables of single operations.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests end that way, and so do the functions beside them"
)]

mod bounds;
mod changes;
mod cluster;
mod engines;
mod expiry;
mod hosts;
mod model;
mod operations;
mod property;
mod server;
mod transfer;
