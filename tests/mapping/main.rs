//! The mapping between WIT and JSON, through the public face of `runtime`: components are made here from WIT text with
//! a core module that returns what it is given, so that values make the whole way through wasmtime and back.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests end that way"
)]

mod arguments;
mod bounds;
mod checked;
mod files;
mod hostile;
mod made;
mod names;
mod random;
mod results;
mod schemas;
mod sections;
mod shapes;
