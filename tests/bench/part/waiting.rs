//! What it costs that fifty agents wait for messages that do not come.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::json;

use crate::{
    client::{Client, Crowd, Prepared, Request},
    report::{Bound, Report},
    server::{Bench, House, Side},
};

const AGENTS: usize = 50;
/// How long the host is watched.
const WATCHED: Duration = Duration::from_secs(10);
/// Until all of them wait.
const SETTLED: Duration = Duration::from_secs(1);
/// How long each waits: more than both.
const WAIT_SECONDS: u64 = 15;
/// What is looked for is the worst, and a second look tells as much as a tenth.
const MAX_ROUNDS: u32 = 3;
/// As in `plugins/portcullis.toml`.
const PLUGIN: &str = "prefix = \"\"
limits = { concurrency = 64 }
[plugins.messages.tool.receive-messages]
limits = { deadline = \"60s\" }
[plugins.messages.grants]
kv = [{ bucket = \"messages\", access = \"read-write\" }]
[roles.waiter]
allow = [\"messages/*\"]
";
/// A reply without messages.
const NOTHING: &str = "\"messages\":[]";

pub(super) fn measure(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let names: Vec<String> = (0..AGENTS).map(|at| format!("agent-{at}")).collect();
    let agents: String = names.iter().map(|name| format!("[agents.{name}]\nrole = \"waiter\"\n")).collect();
    let house = House::on_disk(&[("messages", portcullis_artifacts::MESSAGES, &format!("{PLUGIN}{agents}"))])?;
    let keys = names.iter().map(|name| bench.key(&house, name)).collect::<anyhow::Result<Vec<_>>>()?;
    let host = bench.http(Side::Ours(&house))?;
    let mut crowd = Crowd::open(host.address(), AGENTS)?;
    // Known, so that waiting writes nothing.
    let asked = ask(&mut crowd, &keys, 0)?;
    collect(&mut crowd, &asked)?;
    let mut worst = 0.0_f64;
    for _ in 0..bench.rounds.min(MAX_ROUNDS) {
        let asked = ask(&mut crowd, &keys, WAIT_SECONDS)?;
        watch(&mut crowd, SETTLED)?;
        let (before, began) = (host.server().computed()?, Instant::now());
        watch(&mut crowd, WATCHED)?;
        let burnt = host.server().computed()? - before;
        worst = worst.max(100.0 * burnt.as_secs_f64() / began.elapsed().as_secs_f64());
        collect(&mut crowd, &asked)?;
    }
    let what = format!("{AGENTS} waiting in `receive_messages`");
    report.figure(&what, "% core", worst, Bound::Absolute(2.0))
}

/// Has each agent ask for messages.
fn ask(crowd: &mut Crowd, keys: &[String], wait: u64) -> anyhow::Result<Vec<Prepared>> {
    let mut asked = Vec::new();
    for (at, key) in keys.iter().enumerate() {
        let request = Request::call("receive_messages", &json!({ "wait_seconds": wait }), NOTHING);
        let prepared = crowd.prepare(request, key);
        crowd.send(at, &prepared)?;
        asked.push(prepared);
    }
    Ok(asked)
}

/// Looks on for so long, in which none is answered: who is refused does not wait.
fn watch(crowd: &mut Crowd, time: Duration) -> anyhow::Result<()> {
    let until = Instant::now() + time;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        let answered = crowd.answered(Some(left))?;
        ensure!(answered.is_empty(), "{} of {AGENTS} do not wait", answered.len());
    }
}

/// Takes the reply of each: no message, and no error.
fn collect(crowd: &mut Crowd, asked: &[Prepared]) -> anyhow::Result<()> {
    let mut left = asked.len();
    while left > 0 {
        for at in crowd.answered(None)? {
            crowd.take(at, asked.get(at).context("a reply to nothing")?)?;
            left -= 1;
        }
    }
    Ok(())
}
