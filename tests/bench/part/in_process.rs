//! `Plugin::call` against the bare loop, in one thread of this process.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, ensure};
use portcullis_audit::{CallRecord, Ledger};
use portcullis_policy::{
    Effective, Grants, Limits, Permit, PluginName, Principal, SecretSource, ToolName, ToolRules, decide,
};
use portcullis_runtime::{
    CallRequest, Component, Plugin, Reply, Runtime, RuntimeOptions, StateDir, Surroundings, Terms,
    worker::{WorkerCommand, WorkerLimits},
};
use portcullis_store::Warehouse;
use serde_json::{Map, Value};

use crate::{
    floor::sandbox::{self, Floor},
    report::{Bound, Report},
    samples::{Least, Samples},
    server::Bench,
};

pub(super) const TEXT: &str = "the quick brown fox";
const CALLS: usize = 5_000;
const COLD_CALLS: usize = 1_000;
const WARM_UP: usize = 1_000;

pub(super) fn measure(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let floor = Floor::new(portcullis_artifacts::ECHO)?;
    let dir = tempfile::tempdir()?;
    let subject = Subject {
        component: portcullis_artifacts::ECHO,
        function: "echo",
        arguments: Map::from_iter([("text".to_owned(), Value::from(TEXT))]),
        grants: "",
        shared: None,
    };
    let ours = tokio.block_on(Ours::new(bench, dir.path(), "state", subject))?;
    let (mut best_floor, mut best_ours) = (Least::default(), Least::default());
    let run_floor = || tokio.block_on(timed_floor(&floor));
    let run_ours = || tokio.block_on(ours.timed(&Value::from(TEXT)));
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

/// What is called.
pub(super) struct Subject<'a> {
    pub(super) component: &'a str,
    pub(super) function: &'a str,
    pub(super) arguments: Map<String, Value>,
    /// As the configuration would have them; relative to the folder.
    pub(super) grants: &'a str,
    /// Shared context.
    pub(super) shared: Option<Arc<Warehouse>>,
}

/// The plugin, loaded as the host loads it.
pub(super) struct Ours {
    plugin: Plugin,
    permit: Permit,
    function: usize,
    arguments: Map<String, Value>,
    /// Not on the clock: what a call would note its refusals in.
    record: CallRecord,
}

impl Ours {
    pub(super) async fn new(bench: &Bench, folder: &Path, state: &str, subject: Subject<'_>) -> anyhow::Result<Self> {
        let worker = WorkerCommand {
            program: bench.portcullis().to_owned(),
            arguments: vec!["worker".into()],
            limits: WorkerLimits::default(),
        };
        let Subject { component, function, arguments, grants, shared } = subject;
        let surroundings = Surroundings { shared, ..Surroundings::of_this_machine(folder, Vec::new()) };
        let options =
            RuntimeOptions { max_concurrent_calls: sandbox::CALLS, max_waiting_calls: 0, worker, surroundings };
        let state = StateDir::open(&folder.join(state))?;
        let ledger = Ledger::open(&state.join("audit.jsonl"), "bench".into(), &[0; 32], SystemTime::now)?;
        let runtime = Arc::new(Runtime::new(options, &state)?);
        let component = Component::read(component.as_ref())?;
        let description = Arc::new(runtime.describe(&component).await?);
        let position = description.functions.iter().position(|found| found.name == function);
        let limits = Limits { concurrency: sandbox::CALLS, ..Limits::default() };
        let grants: Arc<Grants> = Arc::new(toml::from_str(grants)?);
        let grants = Effective::new(Arc::clone(&grants), grants);
        let secrets = [("key".to_owned(), SecretSource::File(folder.join("key")))];
        let terms = Terms {
            plugin: PluginName::new("echo")?,
            concurrency: limits.concurrency,
            grants: grants.clone(),
            secrets: Arc::new(secrets.into()),
        };
        let plugin = Plugin::load(&runtime, &component, description, &terms).await?;
        let rules = ToolRules {
            plugin: PluginName::new("echo")?,
            tool: ToolName::new("echo_echo")?,
            limits,
            grants,
            confirm: None,
        };
        let (tool, name) = (rules.tool.clone(), rules.plugin.clone());
        let permit = decide(&Principal::LocalOperator, &Arc::new(rules))?;
        let intent =
            CallRecord::open(&Arc::new(ledger), permit.principal(), &tool, &name, component.digest(), b"{}", None)?;
        let record = intent.written().await?;
        let function = position.context("there is no such function")?;
        Ok(Self { plugin, permit, function, arguments, record })
    }

    pub(super) async fn timed(&self, expected: &Value) -> anyhow::Result<Duration> {
        self.timed_where(|answer| answer == expected).await
    }

    pub(super) async fn timed_where(&self, right: impl Fn(&Value) -> bool) -> anyhow::Result<Duration> {
        self.timed_with(self.arguments.clone(), right).await
    }

    /// With other arguments.
    pub(super) async fn timed_with(
        &self,
        arguments: Map<String, Value>,
        right: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Duration> {
        let request = CallRequest {
            permit: self.permit.clone(),
            function: self.function,
            arguments,
            id: "bench-1".into(),
            notes: self.record.notes(),
            reports: None,
            received: Instant::now(),
        };
        let began = Instant::now();
        let end = self.plugin.call(request).await;
        let took = began.elapsed();
        let answer = match end.result? {
            Reply::Structured(answer) => Value::Object(answer),
            Reply::ToolError(error) => anyhow::bail!("the tool failed: {}", error.text),
        };
        ensure!(right(answer.get("result").unwrap_or(&answer)), "{answer}");
        Ok(took)
    }
}
