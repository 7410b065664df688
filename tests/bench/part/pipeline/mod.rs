//! Tickets through a support team: the plugin on a host, beside the same state machine called by a native program.
//!
//! Ours is what a team has: the real binary with a key for each agent, roles and limits, over HTTP. The floor has none of
//! that and no transport either: threads of one process that call the plugin's functions over the same store.

mod native;
mod served;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Instant, SystemTime},
};

use anyhow::ensure;
use portcullis_store::{Bucket, BucketName, Durability, EmbeddedOptions, Limits, Store, Version};
use support::State;

use self::{native::Native, served::Served};
use crate::{
    report::{Bound, Report},
    samples::Least,
    server::{Bench, on_disk},
};

/// Tickets a round.
const TICKETS: usize = 400;
/// Tickets that are worked on at one time; with four analysts each, up to 64 calls.
const LANES: usize = 16;
const DESK: &str = "desk";
const ROUTER: &str = "router";
const ANALYSTS: [&str; 4] = ["analyst-tone", "analyst-billing", "analyst-product", "analyst-risk"];
const ASPECT: &str = "first-look";
const CONFIDENCE: u8 = 80;
/// One ticket of so many is for people.
const ESCALATED: usize = 5;
/// What is left of a ticket: itself, the line of its state, a tally, four analyses.
const ENTRIES: u64 = 7;
/// Writes of a ticket: itself and its line; both anew and the old line gone, twice; four analyses, each with the tally.
const WRITES: u64 = 2 + 3 + 3 + 4 * 2;
const BUCKET: &str = "support";
/// More than any number of rounds needs, on both sides.
const MAX_ENTRIES: u64 = 100_000_000;
const MAX_BYTES: u64 = 64 << 30;

pub(super) fn measure(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let (served, dir) = (Served::new(bench)?, on_disk()?);
    let file = dir.path().join("shared.redb");
    let native = Native::new(open(file)?)?;
    let (mut floor, mut ours) = (Least::default(), Least::default());
    let mut ended = 0;
    let mut served = served.start(bench)?;
    for round in 0..=bench.rounds {
        let cases: Vec<Case> = (0..TICKETS).map(|at| Case::new(ended + at)).collect();
        ended += TICKETS;
        let native = native.run(&cases)?;
        let served = served.run(&cases)?;
        // The first round warms up.
        if round > 0 {
            floor.add(native);
            ours.add(served);
        }
    }
    native.check(ended)?;
    // The host is killed first: what it answered is in the file.
    let (house, file) = served.end();
    Native::new(open(file)?)?.check(ended)?;
    drop(house);
    let what = format!("support pipeline, {LANES} tickets at a time");
    report.ratio(&what, "tickets/s", floor.rate(TICKETS), ours.rate(TICKETS), Bound::AtLeast(0.5))
}

/// The embedded store, as the host opens it.
fn open(path: PathBuf) -> anyhow::Result<Store> {
    let durability = Durability::Always;
    Ok(Store::embedded(EmbeddedOptions { path, durability, clock: Arc::new(SystemTime::now), check: false })?)
}

fn bucket() -> anyhow::Result<Bucket> {
    let name = BucketName::new(BUCKET).map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok(Bucket { name, limits: Limits { max_entries: MAX_ENTRIES, max_bytes: MAX_BYTES, ..Limits::default() } })
}

/// A ticket, and what the team makes of it.
struct Case {
    id: String,
    subject: String,
    body: String,
    /// By analyst.
    findings: [String; 4],
    end: State,
    outcome: String,
}

impl Case {
    fn new(at: usize) -> Self {
        let end = if at.is_multiple_of(ESCALATED) { State::Escalated } else { State::Resolved };
        let looked =
            |analyst| format!("{{\"by\":\"{analyst}\",\"found\":\"{}\"}}", "the invoice went out twice; ".repeat(4));
        Self {
            id: format!("T-{at:07}"),
            subject: "Where is my invoice?".into(),
            body: "I ordered on Monday and paid on Tuesday, and nothing has come since. ".repeat(6),
            findings: ANALYSTS.map(looked),
            end,
            outcome: "The invoice was sent once more, to the address of the order. ".repeat(3),
        }
    }
}

impl Native {
    /// That every ticket has ended as it should, and that nothing else was written.
    fn check(&self, tickets: usize) -> anyhow::Result<()> {
        let listed = [State::New, State::Analysing, State::Resolved, State::Escalated].map(|state| self.count(state));
        let [new, analysing, resolved, escalated] = listed;
        let escalations = tickets.div_ceil(ESCALATED);
        let found = (new?, analysing?, resolved?, escalated?);
        ensure!(found == (0, 0, tickets - escalations, escalations), "{found:?} of {tickets} tickets");
        let (version, entries) = self.written()?;
        let expected = (Version(tickets as u64 * WRITES), tickets as u64 * ENTRIES);
        ensure!((version, entries) == expected, "{version} writes and {entries} entries of {tickets} tickets");
        Ok(())
    }
}

/// How long an operation of the floor may take: the host's default for a call.
fn deadline() -> Instant {
    Instant::now() + portcullis_policy::Limits::default().deadline
}
