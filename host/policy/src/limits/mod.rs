//! What one call may use. Every bound has a default, so that no call is without it.

mod compare;
mod written;

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The bounds of a call. Each is named in the error that it causes.
///
/// Written as exact numbers in named units, as they stand in the lock: `deadline-ms`, `fuel` (or `"off"`), `memory` and
/// `output` in bytes, `concurrency`. Reading checks the same ranges as [`Limits::with`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "written::Written", into = "written::Written")]
pub struct Limits {
    /// Wall time from the request to the reply, waiting for a slot included, in whole milliseconds. Default 15 s.
    pub deadline: Duration,
    /// Units of computing: roughly one a WebAssembly instruction, more for bulk memory operations by their length.
    /// Default 50e9, about 4 s. `None` leaves only the deadline.
    pub fuel: Option<u64>,
    /// Bytes of linear memory, summed over all memories of the call. Default 64 MiB.
    pub memory: u64,
    /// Bytes of the result as JSON. Default 1 MiB.
    pub output: u64,
    /// Calls of the plugin that compute at one time. Default 16.
    pub concurrency: u32,
}

/// Longest deadline: a day. A longer call is a task, and its client is gone.
pub const MAX_DEADLINE: Duration = Duration::from_secs(24 * 60 * 60);
/// Most fuel: the largest number that JSON holds exactly, so that the lock can. It is days of computing.
pub const MAX_FUEL: u64 = 1 << 53;
/// Largest memory: what a 32-bit linear memory can address.
pub const MAX_MEMORY: u64 = 4 << 30;
/// Largest output: what a client can be expected to read in one message.
pub const MAX_OUTPUT: u64 = 64 << 20;
/// Most calls at one time: each holds a reservation of address space.
pub const MAX_CONCURRENCY: u32 = 1000;

impl Default for Limits {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(15),
            fuel: Some(50_000_000_000),
            memory: 64 << 20,
            output: 1 << 20,
            concurrency: 16,
        }
    }
}

/// Limits that somebody wrote down; what is not written keeps what stood before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitsOverride {
    /// See [`Limits::deadline`].
    pub deadline: Option<Duration>,
    /// See [`Limits::fuel`]; the inner `None` is "off".
    pub fuel: Option<Option<u64>>,
    /// See [`Limits::memory`].
    pub memory: Option<u64>,
    /// See [`Limits::output`].
    pub output: Option<u64>,
    /// See [`Limits::concurrency`].
    pub concurrency: Option<u32>,
}

/// A limit outside its range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{limit}` must be {range}: {found}")]
pub struct LimitsError {
    /// The key in the configuration.
    pub limit: &'static str,
    /// What is allowed.
    pub range: &'static str,
    /// What was written.
    pub found: String,
}

impl Limits {
    /// These limits, with what `over` says in their place.
    ///
    /// # Errors
    /// When a value is outside its range.
    pub fn with(&self, over: &LimitsOverride) -> Result<Self, LimitsError> {
        let limits = Self {
            deadline: over.deadline.unwrap_or(self.deadline),
            fuel: over.fuel.unwrap_or(self.fuel),
            memory: over.memory.unwrap_or(self.memory),
            output: over.output.unwrap_or(self.output),
            concurrency: over.concurrency.unwrap_or(self.concurrency),
        };
        let error = |limit, range, found| Err(LimitsError { limit, range, found });
        let whole = limits.deadline.subsec_nanos().is_multiple_of(1_000_000);
        if limits.deadline.is_zero() || limits.deadline > MAX_DEADLINE || !whole {
            return error("deadline", "whole milliseconds, from `1ms` to `1day`", format!("{:?}", limits.deadline));
        }
        if let Some(fuel) = limits.fuel
            && !(1..=MAX_FUEL).contains(&fuel)
        {
            return error("fuel", "from 1 to 9007199254740992, or `\"off\"`", fuel.to_string());
        }
        if limits.memory < 64 << 10 || limits.memory > MAX_MEMORY {
            return error("memory", "from `64KiB`, one page, to `4GiB`", format!("{} bytes", limits.memory));
        }
        if limits.output == 0 || limits.output > MAX_OUTPUT {
            return error("output", "from `1B` to `64MiB`", format!("{} bytes", limits.output));
        }
        if limits.concurrency == 0 || limits.concurrency > MAX_CONCURRENCY {
            return error("concurrency", "from 1 to 1000", limits.concurrency.to_string());
        }
        Ok(limits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_written_stands() {
        let limits = Limits::default();
        assert_eq!(limits.with(&LimitsOverride::default()), Ok(limits.clone()));
        let over = LimitsOverride { fuel: Some(None), concurrency: Some(2), ..Default::default() };
        assert_eq!(limits.with(&over), Ok(Limits { fuel: None, concurrency: 2, ..limits }));
    }

    #[test]
    fn out_of_range_is_named() {
        let check = |over: LimitsOverride, limit: &str| {
            assert_eq!(Limits::default().with(&over).expect_err("out of range").limit, limit);
        };
        check(LimitsOverride { deadline: Some(Duration::ZERO), ..Default::default() }, "deadline");
        check(LimitsOverride { deadline: Some(Duration::MAX), ..Default::default() }, "deadline");
        check(LimitsOverride { deadline: Some(Duration::from_micros(1500)), ..Default::default() }, "deadline");
        check(LimitsOverride { fuel: Some(Some(0)), ..Default::default() }, "fuel");
        check(LimitsOverride { fuel: Some(Some(MAX_FUEL + 1)), ..Default::default() }, "fuel");
        check(LimitsOverride { memory: Some(1), ..Default::default() }, "memory");
        check(LimitsOverride { memory: Some(5 << 30), ..Default::default() }, "memory");
        check(LimitsOverride { output: Some(0), ..Default::default() }, "output");
        check(LimitsOverride { concurrency: Some(0), ..Default::default() }, "concurrency");
    }
}
