//! The drawing office: building plugins and watching their sources.
//!
//! It knows cargo, Node, componentize-py and the layout of a plugin's folder; `serve` does without it. What a source does
//! while it is built it does in a process of the toolchain; nothing of a plugin runs here.

#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used,
        reason = "a test that fails may panic"
    )
)]

mod build;
mod cargo;
mod descriptions;
mod find;
mod foreign;
mod javascript;
mod process;
mod python;
mod reading;
mod requests;
mod sections;
mod toolchains;
mod watch;

pub use build::{BuildError, BuildOptions, Built, build, finish};
pub use cargo::{CargoError, WASM_TARGET, has_wasm_target};
pub use find::{FindError, Found, Language, LeftOut, NotBuilt, PluginSource, find_plugins};
pub use foreign::ToolError;
pub use process::{ProcessError, Stop};
pub use requests::{Requests, RequestsError};
pub use sections::{DOCS, PACKAGE_DOCS, REQUESTS, SectionsError};
pub use toolchains::{Toolchain, toolchains};
pub use watch::{DEBOUNCE, Watch, WatchError, watch};
