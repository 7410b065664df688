//! Guest programs and plugins, built for the tests: a constant with the path of each, and [`foreach_guest`].
//!
//! The sources are in `tests/guests`, one file a guest; `build.rs` builds them. Nothing here is used by the host.

include!(concat!(env!("OUT_DIR"), "/guests.rs"));
