//! How much one agent may ask of the host, over all its calls. What a single call may use is in `limits`.

use std::num::NonZero;

use crate::LimitsError;

/// The bounds of one agent. They bound agents and nobody else: the operator owns the machine, and clients without
/// authentication share one principal, of which one could use up what is all the others'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Calls at one time, those that wait included. Default 16, a quarter of what the host computes at one time, so that
    /// no agent has all of it.
    pub concurrency: NonZero<u32>,
    /// Calls a minute. A minute's worth may come at once, and comes back evenly. Default 600: models ask for a few, and
    /// ten a second are a loop that nobody watches.
    pub calls_per_minute: NonZero<u32>,
    /// Units of fuel from midnight to midnight, UTC. `None`, the default, leaves `concurrency` and the limits of each call,
    /// which protect the others; a budget is the operator's to choose, as it ends an agent's work for the day.
    pub fuel_per_day: Option<u64>,
}

/// Most calls of an agent at one time: as many as a host computes at most, and as wait beside them.
pub const MAX_AGENT_CONCURRENCY: u32 = 5000;
/// Most calls a minute: more than a host can run, so that it is no bound where none is wanted.
pub const MAX_CALLS_PER_MINUTE: u32 = 10_000_000;
/// Most fuel a day: the largest number that JSON holds exactly. It is a week of one processor.
pub const MAX_FUEL_PER_DAY: u64 = 1 << 53;

impl Default for Allowance {
    fn default() -> Self {
        let count = |count| NonZero::new(count).unwrap_or(NonZero::<u32>::MIN);
        Self { concurrency: count(16), calls_per_minute: count(600), fuel_per_day: None }
    }
}

/// An allowance that somebody wrote down; what is not written keeps what stood before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AllowanceOverride {
    /// See [`Allowance::concurrency`].
    pub concurrency: Option<u32>,
    /// See [`Allowance::calls_per_minute`].
    pub calls_per_minute: Option<u32>,
    /// See [`Allowance::fuel_per_day`]; the inner `None` is "off".
    pub fuel_per_day: Option<Option<u64>>,
}

impl Allowance {
    /// These bounds, with what is written in place of them.
    ///
    /// # Errors
    /// When a bound is outside its range.
    pub fn with(&self, over: &AllowanceOverride) -> Result<Self, LimitsError> {
        let count = |limit, range, max: u32, written: Option<u32>, before| match written {
            None => Ok(before),
            Some(found) => NonZero::new(found).filter(|found| found.get() <= max).ok_or_else(|| LimitsError {
                limit,
                range,
                found: found.to_string(),
            }),
        };
        let fuel_per_day = match over.fuel_per_day {
            None => self.fuel_per_day,
            Some(None) => None,
            Some(Some(found)) if (1..=MAX_FUEL_PER_DAY).contains(&found) => Some(found),
            Some(Some(found)) => {
                let range = "\"off\", or from 1 to 9007199254740992 units";
                return Err(LimitsError { limit: "fuel-per-day", range, found: found.to_string() });
            }
        };
        let calls = (over.calls_per_minute, self.calls_per_minute);
        Ok(Self {
            concurrency: count(
                "concurrency",
                "from 1 to 5000",
                MAX_AGENT_CONCURRENCY,
                over.concurrency,
                self.concurrency,
            )?,
            calls_per_minute: count("calls-per-minute", "from 1 to 10000000", MAX_CALLS_PER_MINUTE, calls.0, calls.1)?,
            fuel_per_day,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_holds_within_its_bounds() {
        let before = Allowance::default();
        let nothing = AllowanceOverride::default();
        let check = |over: AllowanceOverride, expected: Result<(u32, u32, Option<u64>), &str>| {
            let found = before.with(&over).map(|of| (of.concurrency.get(), of.calls_per_minute.get(), of.fuel_per_day));
            assert_eq!(found.map_err(|error| error.limit), expected, "{over:?}");
        };
        check(nothing, Ok((16, 600, None)));
        check(AllowanceOverride { concurrency: Some(1), ..nothing }, Ok((1, 600, None)));
        check(AllowanceOverride { concurrency: Some(0), ..nothing }, Err("concurrency"));
        check(AllowanceOverride { concurrency: Some(MAX_AGENT_CONCURRENCY + 1), ..nothing }, Err("concurrency"));
        check(AllowanceOverride { calls_per_minute: Some(0), ..nothing }, Err("calls-per-minute"));
        check(
            AllowanceOverride { calls_per_minute: Some(MAX_CALLS_PER_MINUTE), ..nothing },
            Ok((16, 10_000_000, None)),
        );
        check(AllowanceOverride { fuel_per_day: Some(Some(5)), ..nothing }, Ok((16, 600, Some(5))));
        check(AllowanceOverride { fuel_per_day: Some(None), ..nothing }, Ok((16, 600, None)));
        check(AllowanceOverride { fuel_per_day: Some(Some(0)), ..nothing }, Err("fuel-per-day"));
        check(AllowanceOverride { fuel_per_day: Some(Some(MAX_FUEL_PER_DAY + 1)), ..nothing }, Err("fuel-per-day"));
    }
}
