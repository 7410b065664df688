//! The embedded engine's file: processes that end in the middle, disks that are full, files that are damaged.
//!
//! A child is this test program again, started on the one test `child`, which does what its environment says.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "tests end that way, and so do the functions beside them"
)]

mod child;
mod damage;
mod full;
mod killed;
mod owner;
