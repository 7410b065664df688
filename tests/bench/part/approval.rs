//! What approval costs: looking at a large component, a start with many approved plugins, and how soon a change that was
//! approved, or a narrowing of the configuration, reaches a client.

use std::{
    fs, io,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use portcullis_policy::Digest;
use serde_json::Value;

use crate::{
    client::{Client, Request, Stdio},
    part::foreign::component,
    report::{Bound, Report},
    samples::Least,
    server::{Bench, House, Side},
};

/// What the issue promises, in milliseconds.
const INSPECT: f64 = 2_000.0;
const INITIALIZE: f64 = 50.0;
const CHANGE: f64 = 1_000.0;
const PLUGINS: usize = 50;
/// Longer than a running host waits for its files to be still, and looks at them then: the change that is timed is the
/// approval, and not the one of the bytes before it.
const STILL: Duration = Duration::from_millis(700);
/// Lists until one is the new one: lock and record are two files, so that one approval may be told of twice.
const MAX_LISTS: usize = 5;

pub(super) fn measure(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    if let Some(python) = component("py-")? {
        inspect(bench, report, &python)?;
    }
    let many = Many::new()?;
    start(bench, report, &many)?;
    let mut client = bench.stdio(Side::Ours(&many.house))?;
    approved(bench, report, &many, &mut client)?;
    narrowed(bench, report, &many, &mut client)
}

/// Processor time of `inspect`, where nothing is known of the component yet.
fn inspect(bench: &Bench, report: &mut Report, source: &str) -> anyhow::Result<()> {
    let house = House::new(&[("python", source, "")])?;
    let mut best = Least::default();
    for _ in 0..bench.rounds {
        match fs::remove_dir_all(house.path().join(".portcullis")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            Ok(()) | Err(_) => best.add(bench.computed(&house, &["inspect", "python"])?),
        }
    }
    let what = format!("inspect of {} MB, processor time", fs::metadata(source)?.len() / 1_000_000);
    report.figure(&what, "ms", best.millis(), Bound::Absolute(INSPECT))
}

/// A start with all of them approved, and their code in the cache.
fn start(bench: &Bench, report: &mut Report, many: &Many) -> anyhow::Result<()> {
    let request = Request::list(&many.tool(0));
    let (mut initialize, mut list) = (Least::default(), Least::default());
    // The first round approves what is there, and with it compiles it.
    for round in 0..=bench.rounds {
        let (mut client, took) = Stdio::open(bench.start_stdio(Side::Ours(&many.house))?)?;
        client.once(&request)?;
        let listed = client.server().began.elapsed();
        ensure!(tools(&client.reply(&request)?)?.len() == PLUGINS, "there are not {PLUGINS} tools");
        if round > 0 {
            initialize.add(took);
            list.add(listed);
        }
    }
    let what = format!("{PLUGINS} approved, start to initialize");
    report.figure(&what, "ms", initialize.millis(), Bound::Absolute(INITIALIZE))?;
    report.figure(&format!("{PLUGINS} approved, start to the first list"), "ms", list.millis(), Bound::None)
}

/// Other bytes with another tool: from the end of `approve` to the client's news.
fn approved(bench: &Bench, report: &mut Report, many: &Many, client: &mut Stdio) -> anyhow::Result<()> {
    let changing = many.name(0);
    let guests = [(portcullis_artifacts::MANY, "n00"), (portcullis_artifacts::ECHO, "echo")];
    let mut times = Times::default();
    for (round, (guest, function)) in (0..bench.rounds).zip(guests.into_iter().cycle()) {
        // Never what was approved before: that would be a downgrade.
        let bytes = marked(guest, &format!("round {round}"))?;
        many.house.put(&format!("{changing}.wasm"), &bytes)?;
        std::thread::sleep(STILL);
        bench.run(&many.house, &["approve", changing, "--sha256", &Digest::of(&bytes).to_string()])?;
        let ended = Instant::now();
        let tool = format!("{changing}_{function}");
        let told = until(client, |names| names.contains(&tool.as_str()))?;
        times.add(told.saturating_duration_since(ended));
    }
    times.report(report, "end of approve to list_changed")
}

/// A plugin that goes from the configuration: from the change of the file to the client's news.
fn narrowed(bench: &Bench, report: &mut Report, many: &Many, client: &mut Stdio) -> anyhow::Result<()> {
    let last = PLUGINS - 1;
    let tool = many.tool(last);
    let mut times = Times::default();
    for _ in 0..bench.rounds {
        let began = Instant::now();
        many.configure(last)?;
        let told = until(client, |names| !names.contains(&tool.as_str()))?;
        times.add(told.saturating_duration_since(began));
        many.configure(PLUGINS)?;
        until(client, |names| names.contains(&tool.as_str()))?;
    }
    times.report(report, "tool taken away to list_changed")
}

/// When the client was told of the change after which its list is as `expected`.
fn until(client: &mut Stdio, expected: impl Fn(&[&str]) -> bool) -> anyhow::Result<Instant> {
    let request = Request::list("\"tools\":[");
    for _ in 0..MAX_LISTS {
        client.list_changed()?;
        let told = Instant::now();
        let reply = client.reply(&request)?;
        if expected(&tools(&reply)?) {
            return Ok(told);
        }
    }
    bail!("the list changed {MAX_LISTS} times, and is not what was approved and configured")
}

/// The names in a list.
fn tools(reply: &Value) -> anyhow::Result<Vec<&str>> {
    let tools = reply.pointer("/result/tools").and_then(Value::as_array).context("there is no list")?;
    Ok(tools.iter().filter_map(|tool| tool.get("name")?.as_str()).collect())
}

/// The best round and the slowest: what is promised of a change is promised of each.
#[derive(Default)]
struct Times {
    best: Least,
    slowest: Duration,
}

impl Times {
    fn add(&mut self, round: Duration) {
        self.best.add(round);
        self.slowest = self.slowest.max(round);
    }

    fn report(self, report: &mut Report, what: &str) -> anyhow::Result<()> {
        report.figure(what, "ms", self.best.millis(), Bound::None)?;
        report.figure("  the slowest", "ms", self.slowest.as_secs_f64() * 1e3, Bound::Absolute(CHANGE))
    }
}

/// Many small plugins, no two of the same bytes.
struct Many {
    house: House,
    names: Vec<String>,
}

impl Many {
    fn new() -> anyhow::Result<Self> {
        let names: Vec<_> = (0..PLUGINS).map(|number| format!("p{number:02}")).collect();
        let many = Self { house: House::new(&[])?, names };
        for name in &many.names {
            many.house.put(&format!("{name}.wasm"), &marked(portcullis_artifacts::ECHO, name)?)?;
        }
        many.configure(PLUGINS)?;
        Ok(many)
    }

    /// Configures the first so many.
    fn configure(&self, count: usize) -> anyhow::Result<()> {
        let sources: Vec<_> = self.names.iter().take(count).map(|name| format!("{name}.wasm")).collect();
        let plugins: Vec<_> =
            self.names.iter().zip(&sources).map(|(name, source)| (name.as_str(), source.as_str(), "")).collect();
        self.house.configure(&plugins)
    }

    fn name(&self, number: usize) -> &str {
        self.names.get(number).map_or("", String::as_str)
    }

    /// The name that clients know its one tool by.
    fn tool(&self, number: usize) -> String {
        format!("{}_echo", self.name(number))
    }
}

/// The guest's bytes with a custom section that holds `mark`, so that their digest is another.
fn marked(guest: &str, mark: &str) -> anyhow::Result<Vec<u8>> {
    const NAME: &str = "bench";
    let mut bytes = fs::read(guest)?;
    let length = 1 + NAME.len() + mark.len();
    ensure!(length < 128, "a length of more than one byte");
    bytes.extend([0, length as u8, NAME.len() as u8]);
    bytes.extend(NAME.bytes().chain(mark.bytes()));
    Ok(bytes)
}
