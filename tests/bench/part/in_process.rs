//! `Plugin::call` against the bare loop, in one thread of this process.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, ensure};
use portcullis_audit::{CallRecord, Ledger};
use portcullis_policy::{Limits, Permit, PluginName, Principal, ToolName, ToolRules, decide};
use portcullis_runtime::{
    CallRequest, Component, Plugin, Reply, Runtime, RuntimeOptions, StateDir, Surroundings, Terms,
    worker::{WorkerCommand, WorkerLimits},
};
use serde_json::{Map, Value};

use crate::{
    floor::sandbox::{self, Floor},
    report::{Bound, Report},
    samples::{Least, Samples},
    server::Bench,
};

const TEXT: &str = "the quick brown fox";
const CALLS: usize = 5_000;
const COLD_CALLS: usize = 1_000;
const WARM_UP: usize = 1_000;

pub(super) fn measure(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let floor = Floor::new(portcullis_artifacts::ECHO)?;
    let dir = tempfile::tempdir()?;
    let ours = tokio.block_on(Ours::new(bench, &dir.path().join("state")))?;
    let (mut best_floor, mut best_ours) = (Least::default(), Least::default());
    let run_floor = || tokio.block_on(timed_floor(&floor));
    let run_ours = || tokio.block_on(ours.timed());
    Samples::take(WARM_UP, run_floor)?;
    Samples::take(WARM_UP, run_ours)?;
    let (mut cold_floor, mut cold_ours) = (Least::default(), Least::default());
    for _ in 0..bench.rounds {
        cold_floor.add(Samples::take(COLD_CALLS, || pause().and_then(|()| run_floor()))?.percentile(50));
        cold_ours.add(Samples::take(COLD_CALLS, || pause().and_then(|()| run_ours()))?.percentile(50));
        best_floor.add(Samples::take(CALLS, run_floor)?.percentile(50));
        best_ours.add(Samples::take(CALLS, run_ours)?.percentile(50));
    }
    report.ratio("in process, p50", "µs", best_floor.micros(), best_ours.micros(), Bound::AtMost(1.5))?;
    report.ratio("in process, p50 after a pause", "µs", cold_floor.micros(), cold_ours.micros(), Bound::None)
}

/// As long as a client may take between two calls: the processor sleeps, and its caches grow cold.
fn pause() -> anyhow::Result<()> {
    std::thread::sleep(Duration::from_micros(100));
    Ok(())
}

async fn timed_floor(floor: &Floor) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let answer = floor.call(TEXT).await?;
    let took = began.elapsed();
    ensure!(answer == TEXT);
    Ok(took)
}

/// The plugin, loaded as the host loads it.
struct Ours {
    plugin: Plugin,
    permit: Permit,
    arguments: Map<String, Value>,
    /// Not on the clock: what a call would note its refusals in.
    record: CallRecord,
}

impl Ours {
    async fn new(bench: &Bench, state: &std::path::Path) -> anyhow::Result<Self> {
        let worker = WorkerCommand {
            program: bench.portcullis().to_owned(),
            arguments: vec!["worker".into()],
            limits: WorkerLimits::default(),
        };
        let surroundings = Surroundings::of_this_machine(state, Vec::new());
        let options = RuntimeOptions { max_concurrent_calls: sandbox::CALLS, worker, surroundings };
        let state = StateDir::open(state)?;
        let ledger = Ledger::open(&state.join("audit.jsonl"), "bench".into(), &[0; 32], SystemTime::now)?;
        let runtime = Arc::new(Runtime::new(options, &state)?);
        let component = Component::read(portcullis_artifacts::ECHO.as_ref())?;
        let description = Arc::new(runtime.describe(&component).await?);
        let limits = Limits::default();
        let terms = Terms {
            plugin: PluginName::new("echo")?,
            concurrency: limits.concurrency,
            grants: Default::default(),
            secrets: Default::default(),
        };
        let plugin = Plugin::load(&runtime, &component, description, &terms).await?;
        let rules = ToolRules {
            plugin: PluginName::new("echo")?,
            tool: ToolName::new("echo_echo")?,
            limits,
            grants: Default::default(),
        };
        let (tool, name) = (rules.tool.clone(), rules.plugin.clone());
        let permit = decide(&Principal::LocalOperator, &Arc::new(rules))?;
        let record = CallRecord::open(&Arc::new(ledger), permit.principal(), &tool, &name, component.digest(), b"{}")?;
        let arguments = Map::from_iter([("text".to_owned(), Value::from(TEXT))]);
        Ok(Self { plugin, permit, arguments, record })
    }

    async fn timed(&self) -> anyhow::Result<Duration> {
        let request = CallRequest {
            permit: self.permit.clone(),
            function: 0,
            arguments: self.arguments.clone(),
            id: "bench-1".into(),
            notes: self.record.notes(),
            reports: None,
            received: Instant::now(),
        };
        let began = Instant::now();
        let end = self.plugin.call(request).await;
        let took = began.elapsed();
        let Reply::Structured(answer) = end.result? else { anyhow::bail!("the tool failed") };
        ensure!(answer.get("result").context("there is no result")? == TEXT);
        Ok(took)
    }
}
