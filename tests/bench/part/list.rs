//! `tools/list` of 500 tools, against a bare server that holds the same list.

use std::fs;

use anyhow::{Context, ensure};

use crate::{
    client::{Client, Request},
    report::{Bound, Report},
    samples::{Least, Samples},
    server::{Bench, House, Side},
};

const TOOLS: usize = 500;
const LISTS: usize = 100;

pub(super) fn measure(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let many = portcullis_artifacts::MANY;
    let house = House::new(&["a", "b", "c", "d", "e"].map(|name| (name, many, "")))?;
    bench.run(&house, &["list"])?;
    let request = Request::list("a_n00");
    let mut ours = bench.stdio(Side::Ours(&house))?;
    let reply = ours.reply(&request)?;
    let tools = reply.pointer("/result/tools").context("there is no list")?;
    ensure!(tools.as_array().is_some_and(|tools| tools.len() == TOOLS), "there are not {TOOLS} tools");
    let file = house.path().join("tools.json");
    fs::write(&file, tools.to_string())?;

    let mut floor = bench.stdio(Side::Floor(Some(&file)))?;
    row(bench, report, "stdio", &mut floor, &mut ours)?;
    // A state directory has one host.
    drop(ours);
    let mut floor = bench.http(Side::Floor(Some(&file)))?;
    row(bench, report, "HTTP", &mut floor, &mut bench.http(Side::Ours(&house))?)
}

fn row(
    bench: &Bench,
    report: &mut Report,
    transport: &str,
    floor: &mut impl Client,
    ours: &mut impl Client,
) -> anyhow::Result<()> {
    let request = Request::list("a_n00");
    let mut best = [Least::default(); 2];
    for _ in 0..bench.rounds {
        let sides: [&mut dyn Client; 2] = [floor, ours];
        for (client, best) in sides.into_iter().zip(&mut best) {
            best.add(Samples::take(LISTS, || client.once(&request))?.percentile(50));
        }
    }
    let [floor, ours] = best.map(Least::micros);
    report.ratio(&format!("{transport}, list of {TOOLS} tools, p50"), "µs", floor, ours, Bound::AtMost(1.5))
}
