//! `tools/call` of the trivial tool over a transport: one at a time, and sixteen in flight.

use crate::{
    client::{Client, Request},
    report::{Bound, Report},
    samples::{Least, Samples},
    server::{Bench, House, Side},
};

const ALONE: usize = 2_000;
const CROWD: usize = 8_000;
const IN_FLIGHT: usize = 16;

pub(super) fn stdio(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let house = House::echo()?;
    let (floor, ours) = (bench.stdio(Side::Floor(None))?, bench.stdio(Side::Ours(&house))?);
    measure(bench, report, "stdio", floor, ours, [Bound::AtMost(1.6), Bound::AtLeast(0.6)])
}

pub(super) fn http(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let house = House::echo()?;
    let (floor, ours) = (bench.http(Side::Floor(None))?, bench.http(Side::Ours(&house))?);
    measure(bench, report, "HTTP", floor, ours, [Bound::AtMost(1.3), Bound::AtLeast(0.7)])
}

fn measure(
    bench: &Bench,
    report: &mut Report,
    transport: &str,
    mut floor: impl Client,
    mut ours: impl Client,
    [alone, crowd]: [Bound; 2],
) -> anyhow::Result<()> {
    let request = Request::echo();
    let mut sides: [&mut dyn Client; 2] = [&mut floor, &mut ours];
    let mut best = [[Least::default(); 2]; 2];
    for round in 0..=bench.rounds {
        for (client, [p50, all]) in sides.iter_mut().zip(&mut best) {
            let times = Samples::take(ALONE, || client.once(&request))?;
            let time = client.many(&request, CROWD, IN_FLIGHT)?;
            // The first round warms up.
            if round > 0 {
                p50.add(times.percentile(50));
                all.add(time);
            }
        }
    }
    let [floor, ours] = best;
    let [(floor_p50, floor_all), (ours_p50, ours_all)] =
        [floor, ours].map(|[p50, all]| (p50.micros(), all.rate(CROWD)));
    report.ratio(&format!("{transport}, p50 alone"), "µs", floor_p50, ours_p50, alone)?;
    report.ratio(&format!("{transport}, {IN_FLIGHT} in flight"), "calls/s", floor_all, ours_all, crowd)
}
