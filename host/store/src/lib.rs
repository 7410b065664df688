//! The warehouse: shared context that outlasts a call, a crash and, with the distributed engine, a machine.
//!
//! Entries in buckets, with versions, conditions, expiry, quotas and a record of changes. It knows nothing of plugins and
//! callers: what a bucket may hold and who writes come as plain values. `README.md` says what is promised, engine by engine.

#![forbid(unsafe_code)]

mod clock;
mod contract;
mod embedded;
mod redis;
mod store;
mod waiters;
mod warehouse;

pub use clock::Clock;
pub use contract::*;
pub use embedded::{Durability, EmbeddedOptions, OpenError};
pub use redis::{AddressError, RedisOptions, ServerSettings};
pub use store::{Export, Store};
pub use warehouse::{BucketPattern, Warehouse};
