//! What was measured, as a table or as JSON, and whether it is within its bounds.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use serde::Serialize;

/// What the figure of a row must keep to.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Bound {
    /// The ratio to the floor at most.
    AtMost(f64),
    /// The ratio to the floor at least.
    AtLeast(f64),
    /// The figure itself at most, in its unit.
    Absolute(f64),
    /// Nothing: told, not judged.
    None,
}

#[derive(Debug, Serialize)]
struct Row {
    what: String,
    unit: &'static str,
    floor: Option<f64>,
    ours: f64,
    ratio: Option<f64>,
    bound: Bound,
    ok: bool,
}

/// The rows so far.
pub(crate) struct Report {
    rows: Vec<Row>,
    json: bool,
}

impl Report {
    pub(crate) fn new(json: bool) -> Self {
        Self { rows: Vec::new(), json }
    }

    /// A figure beside the floor's.
    pub(crate) fn ratio(
        &mut self,
        what: &str,
        unit: &'static str,
        floor: f64,
        ours: f64,
        bound: Bound,
    ) -> anyhow::Result<()> {
        self.add(what, unit, Some(floor), ours, bound)
    }

    /// A figure without a floor.
    pub(crate) fn figure(&mut self, what: &str, unit: &'static str, ours: f64, bound: Bound) -> anyhow::Result<()> {
        self.add(what, unit, None, ours, bound)
    }

    fn add(
        &mut self,
        what: &str,
        unit: &'static str,
        floor: Option<f64>,
        ours: f64,
        bound: Bound,
    ) -> anyhow::Result<()> {
        let ratio = floor.map(|floor| ours / floor);
        let ok = match bound {
            Bound::AtMost(most) => ratio.is_some_and(|ratio| ratio <= most),
            Bound::AtLeast(least) => ratio.is_some_and(|ratio| ratio >= least),
            Bound::Absolute(most) => ours <= most,
            Bound::None => true,
        };
        if !self.json {
            if self.rows.is_empty() {
                print(
                    "what                                      |   floor |    ours | unit    | ratio | bound   | ok",
                )?;
                print(
                    "------------------------------------------|--------:|--------:|---------|------:|---------|---",
                )?;
            }
            let shown = |value: Option<f64>| value.map_or_else(String::new, figure);
            let (ratio, bound) = (ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}")), describe(bound));
            let ok = if ok { "yes" } else { "NO" };
            let (floor, ours) = (shown(floor), figure(ours));
            print(&format!("{what:<41} | {floor:>7} | {ours:>7} | {unit:<7} | {ratio:>5} | {bound:<7} | {ok}"))?;
        }
        self.rows.push(Row { what: what.to_owned(), unit, floor, ours, ratio, bound, ok });
        Ok(())
    }

    /// Prints what is left to print; 1 when a bound is broken.
    pub(crate) fn end(self) -> anyhow::Result<ExitCode> {
        if self.json {
            print(&serde_json::to_string_pretty(&self.rows)?)?;
        }
        Ok(ExitCode::from(u8::from(self.rows.iter().any(|row| !row.ok))))
    }
}

fn figure(value: f64) -> String {
    match value.abs() {
        large if large >= 1000.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn describe(bound: Bound) -> String {
    match bound {
        Bound::AtMost(most) => format!("≤ {most}"),
        Bound::AtLeast(least) => format!("≥ {least}"),
        Bound::Absolute(most) => format!("≤ {most} !"),
        Bound::None => String::new(),
    }
}

fn print(line: &str) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{line}")
}
