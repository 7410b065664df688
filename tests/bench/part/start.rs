//! From the start of the process to the reply to `initialize`, and to the first answer of a plugin, with a full cache.

use serde_json::json;

use crate::{
    client::{Client, Request, Stdio},
    part::foreign::component,
    report::{Bound, Report},
    samples::Least,
    server::{Bench, House, Side},
};

/// What the issue promises, in milliseconds.
const INITIALIZE: f64 = 50.0;

pub(super) fn measure(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let (js, python) = (component("js-")?, component("py-")?);
    let mut plugins = vec![("echo", portcullis_artifacts::ECHO, "")];
    let large = [("js", &js), ("py", &python)].map(|(name, path)| Some((name, path.as_deref()?, "")));
    plugins.extend(large.into_iter().flatten());
    let house = House::new(&plugins)?;
    // Fills the cache: compiles what is not compiled yet.
    bench.run(&house, &["list"])?;

    let mut floor = Least::default();
    let (mut initialize, mut first) = (Least::default(), vec![Least::default(); plugins.len()]);
    for _ in 0..bench.rounds {
        floor.add(Stdio::open(bench.start_stdio(Side::Floor(None))?)?.1);
        initialize.add(Stdio::open(bench.start_stdio(Side::Ours(&house))?)?.1);
        for ((name, ..), first) in plugins.iter().zip(&mut first) {
            let process = bench.start_stdio(Side::Ours(&house))?;
            let began = process.began;
            let mut client = Stdio::open(process)?.0;
            client.once(&Request::call(&format!("{name}_echo"), &json!({ "text": "first" }), "first"))?;
            first.add(began.elapsed());
        }
    }
    let names: Vec<_> = plugins.iter().map(|(name, ..)| *name).collect();
    let what = format!("start to initialize, {}", names.join(" + "));
    report.figure("bare server: start to initialize", "ms", floor.millis(), Bound::None)?;
    report.figure(&what, "ms", initialize.millis(), Bound::Absolute(INITIALIZE))?;
    for ((name, ..), first) in plugins.iter().zip(first) {
        report.figure(&format!("start to the first answer of {name}"), "ms", first.millis(), Bound::None)?;
    }
    Ok(())
}
