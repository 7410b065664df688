//! Time, which comes from outside and never goes back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

/// Where the time comes from.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// The latest instant this store has seen. A clock that is set back stands still here until it has caught up, so that what
/// has expired stays so.
pub(crate) struct Time {
    clock: Clock,
    latest: AtomicU64,
}

impl Time {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, latest: AtomicU64::new(0) }
    }

    /// Milliseconds since the Unix epoch.
    pub(crate) fn now_ms(&self) -> u64 {
        let now = (self.clock)().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        self.at_least(u64::try_from(now).unwrap_or(u64::MAX))
    }

    /// Sees `ms`, and gives the latest instant.
    pub(crate) fn at_least(&self, ms: u64) -> u64 {
        self.latest.fetch_max(ms, Ordering::AcqRel).max(ms)
    }
}
