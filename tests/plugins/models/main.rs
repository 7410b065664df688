//! Each plugin's state machine against a model of it: thousands of histories, in which others come between.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "tests end that way"
)]

mod agents;
mod context;
mod messages;
mod support;
mod tasks;

use proptest::test_runner::Config;

/// Who acts in the histories. Two of them are each other's beginnings, and one has what keys are made of.
pub(crate) const NAMES: [&str; 4] = ["al", "alice", "a/l%2F", "bob"];

/// So many histories of each, or what `PROPTEST_CASES` says.
pub(crate) fn histories() -> Config {
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { Config::default().cases } else { 2_000 };
    Config { cases, failure_persistence: None, max_shrink_iters: 4_000, ..Config::default() }
}
