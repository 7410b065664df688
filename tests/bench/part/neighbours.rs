//! A call beside 32 of another plugin that compute without end.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::json;

use crate::{
    client::{Client, Request},
    report::{Bound, Report},
    samples::{Least, Samples},
    server::{Bench, House, Side},
};

const SPINNERS: usize = 32;
const CALLS: usize = 2_000;
const WARM_UP: usize = 500;
/// Each round is a server of its own, since nothing ends the spinners before their deadline.
const MAX_ROUNDS: u32 = 5;

pub(super) fn measure(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let spinning = "limits = { deadline = \"60s\", fuel = \"off\", concurrency = 32 }";
    let plugins = [("echo", portcullis_artifacts::ECHO, ""), ("outcomes", portcullis_artifacts::OUTCOMES, spinning)];
    let house = House::new(&plugins)?;
    bench.run(&house, &["list"])?;
    row(bench, report, "stdio", || bench.stdio(Side::Ours(&house)))?;
    row(bench, report, "HTTP", || bench.http(Side::Ours(&house)))
}

fn row<C: Client>(
    bench: &Bench,
    report: &mut Report,
    transport: &str,
    open: impl Fn() -> anyhow::Result<C>,
) -> anyhow::Result<()> {
    let (echo, spin) = (Request::echo(), Request::call("outcomes_spin", &json!({}), ""));
    let (mut alone, mut beside) = (Least::default(), Least::default());
    let mut worst = Duration::ZERO;
    for _ in 0..bench.rounds.min(MAX_ROUNDS) {
        let mut client = open()?;
        Samples::take(WARM_UP, || client.once(&echo))?;
        alone.add(Samples::take(CALLS, || client.once(&echo))?.percentile(99));
        client.abandon(&spin, SPINNERS)?;
        // Until each of them had its first quantum, they are on the way to where they spin.
        Samples::take(WARM_UP, || client.once(&echo))?;
        let (began, computed) = (Instant::now(), client.server().computed()?);
        let times = Samples::take(CALLS, || client.once(&echo)).context("beside calls that spin")?;
        let computed = client.server().computed()? - computed;
        ensure!(computed > began.elapsed() / 2, "the spinners do not spin: {computed:?} in {:?}", began.elapsed());
        beside.add(times.percentile(99));
        worst = worst.max(times.percentile(100));
    }
    let what = format!("{transport}, p99 beside {SPINNERS} spinning");
    report.ratio(&what, "µs", alone.micros(), beside.micros(), Bound::AtMost(5.0))?;
    report.figure(&format!("{transport}, slowest beside them"), "µs", worst.as_secs_f64() * 1e6, Bound::None)
}
