//! What the Rust plugins of this folder share: a bucket as a trait, so that the state machines run in a sandbox over the
//! host's shared context and in tests over a map; and the bounds of what is said to them.

#![forbid(unsafe_code)]

mod bounds;
mod entry;
mod fault;
#[cfg(target_family = "wasm")]
mod host;
mod retry;
mod share;

use std::fmt;

pub use bounds::{MAX_NAME, check_name, check_seconds, check_size, check_text, name_of, name_part};
pub use entry::{Change, Changes, Entry, Kind, Page, Step, Usage, When};
pub use fault::Fault;
#[cfg(target_family = "wasm")]
pub use host::HostShelf;
pub use retry::{Stop, settled};
pub use share::{Kept, Most, Share, size};

/// What a tool answers: a value, or a sentence that a model can act on.
pub type Answer<T> = Result<T, String>;

/// Milliseconds of a second: tools speak of seconds, the store of milliseconds.
pub const SECOND_MS: u64 = 1_000;

/// Most operations in one transaction, and keys in one `get_many`: the store's bound.
pub const MAX_STEPS: usize = 128;

/// A bucket, as whoever calls the tool has it. Each operation happens at one instant; the operations have one order.
pub trait Shelf {
    /// Who calls, as the host vouches for it.
    fn caller(&self) -> String;

    /// The time in milliseconds since the Unix epoch by the machine's clock: for records and for measuring a wait. What
    /// ends at a time ends by the store's clock, by the time to live of its entry.
    fn now_ms(&self) -> u64;

    /// The entry at `key`.
    ///
    /// # Errors
    /// Where the store cannot.
    fn get(&self, key: &str) -> Result<Option<Entry>, Fault>;

    /// The entries at these keys as of one instant: at most [`MAX_STEPS`].
    ///
    /// # Errors
    /// Where the store cannot.
    fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Entry>>, Fault>;

    /// Entries whose keys begin with `prefix` and come after `after`, in the order of their keys: at most `limit`.
    ///
    /// # Errors
    /// Where the store cannot.
    fn list(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<Page, Fault>;

    /// All steps at one instant, or none: at most [`MAX_STEPS`], each key once. Gives the version of each.
    ///
    /// # Errors
    /// [`Fault::Conflict`] where a condition does not hold, and where the store cannot.
    fn transact(&self, steps: &[Step]) -> Result<Vec<Option<u64>>, Fault>;

    /// The next number of the counter at `key`: 1, 2, 3. No two calls get one, and one that begins later gets a larger.
    ///
    /// # Errors
    /// Where the store cannot.
    fn next(&self, key: &str) -> Result<u64, Fault>;

    /// What happened to keys that begin with `prefix` after the version `after`. Where nothing did, waits for it up to
    /// `wait_ms`, and no longer than the call may.
    ///
    /// # Errors
    /// [`Fault::Busy`] where too many wait, and where the store cannot.
    fn changes(&self, prefix: &str, after: u64, wait_ms: u32) -> Result<Changes, Fault>;

    /// How much the bucket holds and may hold; none where a grant does not let it be asked.
    ///
    /// # Errors
    /// Where the store cannot.
    fn usage(&self) -> Result<Option<Usage>, Fault>;
}

/// Says `what` with the bound that it breaks.
pub fn refused<T>(what: impl fmt::Display) -> Answer<T> {
    Err(what.to_string())
}
