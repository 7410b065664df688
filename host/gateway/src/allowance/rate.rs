//! How many calls a minute: a bucket that fills evenly, kept as the one instant at which it is full again (the "generic cell
//! rate algorithm", ITU-T I.371). `governor` has the same; without its threads, clocks and hash maps it is these lines, and
//! another bound takes effect without beginning anew.

use std::{
    num::NonZero,
    time::{Duration, Instant},
};

const MINUTE: Duration = Duration::from_secs(60);

/// When a whole minute's worth is there again; none where it never was touched.
#[derive(Debug, Default)]
pub(super) struct Rate {
    full: Option<Instant>,
}

impl Rate {
    /// Counts one call.
    ///
    /// # Errors
    /// When the minute's worth is used up: how long until there may be another.
    pub(super) fn one(&mut self, per_minute: NonZero<u32>, now: Instant) -> Result<(), Duration> {
        let full = self.full.map_or(now, |full| full.max(now)) + MINUTE / per_minute.get();
        let missing = full.saturating_duration_since(now);
        if missing > MINUTE {
            return Err(missing.saturating_sub(MINUTE));
        }
        self.full = Some(full);
        Ok(())
    }

    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        self.full.is_none_or(|full| full <= now)
    }
}
