//! `wasi:clocks`: the time, no finer than a plugin has use for.
//!
//! A fine clock is what measures a neighbour's work in a shared cache. Browsers give their pages steps of this size (W3C
//! High Resolution Time, section 10).

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtxBuilder};

/// The steps of both clocks.
const RESOLUTION: Duration = Duration::from_micros(100);

/// Gives a call that `began` then its clocks. The monotonic one begins at zero with the call, so that it tells nothing of
/// the host's age.
pub(crate) fn give(wasi: &mut WasiCtxBuilder, began: Instant) {
    wasi.wall_clock(Wall).monotonic_clock(Monotonic { began });
}

fn in_steps(time: Duration) -> Duration {
    let nanos = time.as_nanos() / RESOLUTION.as_nanos() * RESOLUTION.as_nanos();
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

struct Wall;

impl HostWallClock for Wall {
    fn resolution(&self) -> Duration {
        RESOLUTION
    }

    fn now(&self) -> Duration {
        // Before 1970 there is no Unix time, and no certificate that a machine with that clock would take.
        in_steps(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
    }
}

struct Monotonic {
    began: Instant,
}

impl HostMonotonicClock for Monotonic {
    fn resolution(&self) -> u64 {
        RESOLUTION.as_nanos() as u64
    }

    fn now(&self) -> u64 {
        in_steps(self.began.elapsed()).as_nanos() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_in_steps() {
        for (nanos, step) in [(0, 0), (99_999, 0), (100_000, 100_000), (1_234_567_890, 1_234_500_000)] {
            assert_eq!(in_steps(Duration::from_nanos(nanos)), Duration::from_nanos(step));
        }
        let clock = Monotonic { began: Instant::now() };
        assert_eq!((clock.now() % clock.resolution(), Wall.now().subsec_nanos() % 100_000), (0, 0));
    }
}
