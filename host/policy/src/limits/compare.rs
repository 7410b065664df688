//! Limits against limits: which is stricter, and what changed.

use std::time::Duration;

use super::Limits;
use crate::{Change, ChangeKind, change::Direction, size::size};

impl Limits {
    /// The stricter of the two in each limit. No fuel limit is the widest.
    #[must_use]
    pub fn min(&self, other: &Self) -> Self {
        Self {
            deadline: self.deadline.min(other.deadline),
            fuel: self.fuel.into_iter().chain(other.fuel).min(),
            memory: self.memory.min(other.memory),
            output: self.output.min(other.output),
            concurrency: self.concurrency.min(other.concurrency),
        }
    }

    /// The limits that are wider than in `approved`, each as `before → after`. Empty means that whatever stays within
    /// these limits stays within those.
    pub fn widened_over(&self, approved: &Self) -> Vec<Change> {
        gains(self, approved, Direction::Widened)
    }

    /// The limits that are stricter than in `approved`, each as `before → after`.
    pub fn narrowed_over(&self, approved: &Self) -> Vec<Change> {
        gains(approved, self, Direction::Narrowed)
    }
}

/// In what `more` is wider than `less`.
fn gains(more: &Limits, less: &Limits, direction: Direction) -> Vec<Change> {
    // Every field by name: a new limit does not compile until it is compared.
    let Limits { deadline, fuel, memory, output, concurrency } = more;
    let mut changes = Vec::new();
    let mut note = |wider: bool, kind, less: String, more: String| {
        if wider {
            changes.push(Change::new(kind, direction.arrow(less, more)));
        }
    };
    note(*deadline > less.deadline, ChangeKind::Deadline, time(less.deadline), time(*deadline));
    let unlimited = |fuel: Option<u64>| fuel.unwrap_or(u64::MAX);
    note(unlimited(*fuel) > unlimited(less.fuel), ChangeKind::Fuel, units(less.fuel), units(*fuel));
    note(*memory > less.memory, ChangeKind::Memory, size(less.memory), size(*memory));
    note(*output > less.output, ChangeKind::Output, size(less.output), size(*output));
    note(
        *concurrency > less.concurrency,
        ChangeKind::Concurrency,
        less.concurrency.to_string(),
        concurrency.to_string(),
    );
    changes
}

fn time(time: Duration) -> String {
    humantime::format_duration(time).to_string()
}

fn units(fuel: Option<u64>) -> String {
    fuel.map_or_else(|| "off".to_owned(), |fuel| fuel.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::{MAX_CONCURRENCY, MAX_DEADLINE, MAX_FUEL, MAX_MEMORY, MAX_OUTPUT};

    fn any_limits() -> impl Strategy<Value = Limits> {
        // Few values near each other, so that equal ones are as likely as different ones.
        let near = |max: u64, least: u64| prop_oneof![Just(least), least..=least + 2, Just(max)];
        let deadline = near(MAX_DEADLINE.as_millis() as u64, 1).prop_map(Duration::from_millis);
        let fuel = proptest::option::of(near(MAX_FUEL, 1));
        let concurrency = near(MAX_CONCURRENCY.into(), 1).prop_map(|calls| calls as u32);
        (deadline, fuel, near(MAX_MEMORY, 64 << 10), near(MAX_OUTPUT, 1), concurrency).prop_map(
            |(deadline, fuel, memory, output, concurrency)| Limits { deadline, fuel, memory, output, concurrency },
        )
    }

    #[test]
    fn changes_read_in_the_order_of_time() {
        let approved = Limits::default();
        let configured = Limits {
            deadline: Duration::from_secs(5),
            fuel: None,
            memory: 1 << 30,
            output: 1_000_000,
            ..approved.clone()
        };
        let shown = |changes: Vec<Change>| changes.iter().map(Change::to_string).collect::<Vec<_>>();
        assert_eq!(shown(configured.widened_over(&approved)), ["fuel: 50000000000 → off", "memory: 64MiB → 1GiB"]);
        assert_eq!(shown(configured.narrowed_over(&approved)), ["deadline: 15s → 5s", "output: 1MiB → 1000000B"]);
    }

    #[test]
    fn the_lock_has_exact_numbers() {
        let check = |limits: Limits, expected: &str| {
            let text = toml::to_string(&limits).expect("TOML");
            assert_eq!(text, expected);
            assert_eq!(toml::from_str::<Limits>(&text).expect("limits"), limits);
        };
        let rest = "memory = 67108864\noutput = 1048576\nconcurrency = 16\n";
        check(Limits::default(), &format!("deadline-ms = 15000\nfuel = 50000000000\n{rest}"));
        check(Limits { fuel: None, ..Limits::default() }, &format!("deadline-ms = 15000\nfuel = \"off\"\n{rest}"));
    }

    #[test]
    fn what_the_lock_may_not_hold() {
        let check = |line: &str, expected: &str| {
            let keys = ["deadline-ms = 1", "fuel = 1", "memory = 65536", "output = 1", "concurrency = 1"];
            let key = |line: &str| line.split(' ').next().map(str::to_owned);
            let text: Vec<_> = keys.iter().filter(|other| key(other) != key(line)).chain([&line]).copied().collect();
            let error = toml::from_str::<Limits>(&text.join("\n")).expect_err(line).to_string();
            assert!(error.contains(expected), "{line}: {error}");
        };
        check("deadline-ms = 0", "`deadline` must be");
        check("deadline-ms = 86400001", "`deadline` must be");
        check("fuel = 0", "`fuel` must be");
        check("fuel = -1", "expected a number of units, or `\"off\"`");
        check("fuel = \"none\"", "expected a number of units, or `\"off\"`");
        check("memory = 1", "`memory` must be");
        check("output = 67108865", "`output` must be");
        check("concurrency = 0", "`concurrency` must be");
        check("deadline = 1", "unknown field `deadline`");
        assert!(toml::from_str::<Limits>("").is_err(), "a missing limit is no default");
    }

    proptest! {
        #[test]
        fn no_widening_means_within(configured in any_limits(), approved in any_limits()) {
            let effective = configured.min(&approved);
            prop_assert_eq!(&effective, &approved.min(&configured));
            prop_assert!(effective.widened_over(&approved).is_empty());
            prop_assert!(effective.widened_over(&configured).is_empty());
            prop_assert_eq!(configured.widened_over(&approved).is_empty(), effective == configured);
            prop_assert_eq!(configured.narrowed_over(&approved).is_empty(), effective == approved);
        }

        #[test]
        fn reads_what_it_writes(limits in any_limits()) {
            let text = toml::to_string(&limits).expect("TOML");
            prop_assert_eq!(toml::from_str::<Limits>(&text).expect("limits"), limits.clone());
            let json = serde_json::to_string(&limits).expect("JSON");
            prop_assert_eq!(serde_json::from_str::<Limits>(&json).expect("limits"), limits);
        }
    }
}
