//! What 10,000 calls leave behind.

use crate::{
    client::{Client, Request},
    report::{Bound, Report},
    server::{Bench, House, Side},
};

const WARM_UP: usize = 2_000;
const CALLS: usize = 10_000;
const IN_FLIGHT: usize = 16;
/// What an allocator may keep for itself, whatever is measured.
const SLACK: f64 = 4.0;
const MIB: f64 = (1 << 20) as f64;

pub(super) fn measure(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let house = House::echo()?;
    row(report, "stdio", bench.stdio(Side::Ours(&house))?)?;
    row(report, "HTTP", bench.http(Side::Ours(&house))?)
}

fn row(report: &mut Report, transport: &str, mut client: impl Client) -> anyhow::Result<()> {
    let request = Request::echo();
    for count in [WARM_UP / 2, 1] {
        client.many(&request, WARM_UP / count, IN_FLIGHT)?;
    }
    let before = client.server().resident()? as f64 / MIB;
    client.many(&request, CALLS, IN_FLIGHT)?;
    let after = client.server().resident()? as f64 / MIB;
    report.figure(&format!("{transport}, resident after {WARM_UP} calls"), "MiB", before, Bound::None)?;
    let bound = Bound::Absolute(SLACK.max(before * 0.05));
    report.figure(&format!("{transport}, growth over {CALLS} more"), "MiB", after - before, bound)
}
