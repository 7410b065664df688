//! Times of single calls, and what counts of them.

use std::time::Duration;

/// The times of a round, in order of size.
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    /// Runs `once` so many times; it gives the time that counts.
    pub(crate) fn take(count: usize, mut once: impl FnMut() -> anyhow::Result<Duration>) -> anyhow::Result<Self> {
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            times.push(once()?);
        }
        times.sort_unstable();
        Ok(Self(times))
    }

    /// The time that `percent` of the calls stayed within.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let at = (self.0.len() * percent / 100).min(self.0.len().saturating_sub(1));
        self.0.get(at).copied().unwrap_or_default()
    }
}

/// The best of a side's rounds, where less is better.
#[derive(Clone, Copy)]
pub(crate) struct Least(pub(crate) Duration);

impl Default for Least {
    fn default() -> Self {
        Self(Duration::MAX)
    }
}

impl Least {
    pub(crate) fn add(&mut self, round: Duration) {
        self.0 = self.0.min(round);
    }

    pub(crate) fn micros(self) -> f64 {
        self.0.as_secs_f64() * 1e6
    }

    pub(crate) fn millis(self) -> f64 {
        self.0.as_secs_f64() * 1e3
    }

    /// Calls a second, where the time is that of so many.
    pub(crate) fn rate(self, calls: usize) -> f64 {
        calls as f64 / self.0.as_secs_f64()
    }
}
