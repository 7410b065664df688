//! The real binary, as people and real clients use it.

mod clients;
mod commands;
mod conformance;
mod dev;
mod foreign;
mod host;
mod protocol;
mod raw;
mod tools;
