//! A whole host in this process, without a door: hostile guests on one side, the ledger on the other.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use portcullis_artifacts as guests;
use portcullis_audit::{Ledger, Outcome};
use portcullis_catalogue::{Admission, CallError, Catalogue, PluginSpec, Progress, Purpose, Reply, ToolSpec};
use portcullis_gateway::{Allowances, Clocks, Consent, Doorkeeper, Ended, Gateway, Incoming};
use portcullis_policy::{Grants, Limits, PluginName, Principal, SecretSource};
use portcullis_runtime::{
    Resolve, Runtime, RuntimeOptions, StateDir, Surroundings,
    worker::{WorkerCommand, WorkerLimits},
};
use portcullis_store::Warehouse;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;

/// The binary, which the host starts again as its child for decoding and compiling.
pub(crate) const PORTCULLIS: &str = env!("CARGO_BIN_EXE_portcullis");
/// What a call may take beyond its deadline, by THREATS.md.
const GRACE: Duration = Duration::from_millis(250);
/// Machines differ, and other work runs beside the tests: every bound on time is this many times what it means.
const SLACK: u32 = 10;

/// One plugin of a house.
pub(crate) struct Guest {
    pub(crate) name: &'static str,
    pub(crate) component: Component,
    pub(crate) limits: Limits,
    /// Deadlines of single functions, by WIT name.
    pub(crate) deadlines: &'static [(&'static str, Duration)],
    /// What it is granted, as TOML.
    pub(crate) grants: String,
    /// Where its secrets are.
    pub(crate) secrets: BTreeMap<String, SecretSource>,
}

impl Guest {
    /// The same guest with these grants, as they stand in the configuration.
    pub(crate) fn granted(self, grants: impl Into<String>) -> Self {
        Self { grants: grants.into(), ..self }
    }

    /// The same guest where the secret `name` is in `source`.
    pub(crate) fn with_secret(mut self, name: &str, source: SecretSource) -> Self {
        self.secrets.insert(name.to_owned(), source);
        self
    }
}

/// Where its bytes come from.
pub(crate) enum Component {
    /// A guest that `tests/artifacts` built.
    Built(&'static str),
    /// WebAssembly text.
    Wat(String),
    /// Bytes as they are, a component or not.
    Bytes(Vec<u8>),
}

/// A guest built from `tests/guests`.
pub(crate) fn built(name: &'static str, path: &'static str, limits: Limits) -> Guest {
    Guest {
        name,
        component: Component::Built(path),
        limits,
        deadlines: &[],
        grants: String::new(),
        secrets: BTreeMap::new(),
    }
}

/// A guest of these bytes, a component or not.
pub(crate) fn bytes(name: &'static str, bytes: impl Into<Vec<u8>>) -> Guest {
    Guest {
        name,
        component: Component::Bytes(bytes.into()),
        limits: patient(),
        deadlines: &[],
        grants: String::new(),
        secrets: BTreeMap::new(),
    }
}

/// A guest in WebAssembly text.
pub(crate) fn wat(name: &'static str, text: impl Into<String>, limits: Limits) -> Guest {
    Guest {
        name,
        component: Component::Wat(text.into()),
        limits,
        deadlines: &[],
        grants: String::new(),
        secrets: BTreeMap::new(),
    }
}

/// Limits for tests of the deadline: no fuel, so that nothing else ends the call.
pub(crate) fn deadline(limit: Duration) -> Limits {
    Limits { deadline: limit, fuel: None, ..Limits::default() }
}

/// Limits for tests of everything else: a deadline that nothing reaches.
pub(crate) fn patient() -> Limits {
    Limits { deadline: Duration::from_secs(300), ..Limits::default() }
}

/// What is around the sandboxes of a house.
#[derive(Default)]
struct Around {
    resolve: Option<Resolve>,
    shared: Option<Arc<Warehouse>>,
    waiting: u32,
}

/// The host.
pub(crate) struct House {
    dir: TempDir,
    pub(crate) gateway: Arc<Gateway>,
    specs: Vec<PluginSpec>,
}

impl House {
    /// With these guests beside a benign `echo`, and `slots` calls at a time; all code is made.
    pub(crate) async fn open(slots: u32, guests: Vec<Guest>) -> Self {
        let house = Self::with_worker(slots, WorkerLimits::default(), guests).await;
        house.settled().await;
        house
    }

    /// The same, where names become addresses by `resolve`.
    pub(crate) async fn resolving(slots: u32, resolve: Resolve, guests: Vec<Guest>) -> Self {
        let around = Around { resolve: Some(resolve), ..Around::default() };
        let house = Self::made(slots, WorkerLimits::default(), around, guests).await;
        house.settled().await;
        house
    }

    /// The same over a store, where so many calls may wait.
    pub(crate) async fn sharing(slots: u32, waiting: u32, shared: Warehouse, guests: Vec<Guest>) -> Self {
        let around = Around { shared: Some(Arc::new(shared)), waiting, ..Around::default() };
        let house = Self::made(slots, WorkerLimits::default(), around, guests).await;
        house.settled().await;
        house
    }

    /// Waits until no code is being made any more and the register says what came of it. The ledger is told first,
    /// whatever became of a plugin; a state that stays behind it for long is a fault of the register.
    pub(crate) async fn settled(&self) {
        self.gateway.catalogue().settled().await;
        let late = || {
            let lines = self.audit();
            let snapshot = self.gateway.catalogue().snapshot();
            snapshot.plugins().iter().any(|plugin| {
                let of = |line: &&Value| line["event"] == "plugin.state" && line["plugin"] == plugin.name.as_str();
                let told = lines.iter().rfind(of).map(|line| line["state"].clone());
                told.is_none_or(|told| told == "broken" && plugin.state.as_str() != "broken")
            })
        };
        let began = Instant::now();
        while late() {
            assert!(began.elapsed() < GRACE * SLACK, "{:#?}", self.gateway.catalogue().snapshot().plugins());
            tokio::task::yield_now().await;
        }
    }

    /// The same with other limits for compiling; code may still be in the making.
    pub(crate) async fn with_worker(slots: u32, worker: WorkerLimits, hostile: Vec<Guest>) -> Self {
        Self::made(slots, worker, Around::default(), hostile).await
    }

    async fn made(slots: u32, worker: WorkerLimits, around: Around, mut hostile: Vec<Guest>) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        hostile.push(built("echo", guests::ECHO, Limits { concurrency: slots, ..patient() }));
        let specs = hostile.into_iter().map(|guest| spec(dir.path(), guest)).collect();
        Self::furnish(dir, slots, worker, around, specs).await
    }

    async fn furnish(dir: TempDir, slots: u32, limits: WorkerLimits, around: Around, specs: Vec<PluginSpec>) -> Self {
        let state = StateDir::open(&dir.path().join("state")).expect("a state directory");
        let ledger = Ledger::open(&state.join("audit.jsonl"), "test".into(), &state.key_for("audit"), SystemTime::now);
        let ledger = Arc::new(ledger.expect("a ledger"));
        let worker = WorkerCommand { program: PORTCULLIS.into(), arguments: vec!["worker".into()], limits };
        let mut surroundings = Surroundings::of_this_machine(dir.path(), vec![state.path().to_owned()]);
        let Around { resolve, shared, waiting } = around;
        surroundings.resolve = resolve.unwrap_or(surroundings.resolve);
        surroundings.shared = shared;
        let options = RuntimeOptions { max_concurrent_calls: slots, max_waiting_calls: waiting, worker, surroundings };
        let runtime = Runtime::new(options, &state).expect("a workshop");
        let catalogue = Catalogue::new(Arc::new(runtime), Arc::clone(&ledger), Admission::Built, Purpose::Calls);
        let keeper = Doorkeeper::new(Default::default(), Default::default(), Arc::clone(&ledger), SystemTime::now);
        let allowances = Allowances::open(dir.path().join("fuel.json"), Clocks::of_this_machine()).expect("a book");
        let gateway = Gateway::new(portcullis_gateway::House {
            catalogue: Arc::clone(&catalogue),
            ledger,
            keeper,
            allowances,
            session: "test".into(),
            store: None,
            resources: None,
            patience: Duration::from_secs(60),
        });
        catalogue.apply(specs.clone()).await.expect("a configuration in order");
        Self { dir, gateway, specs }
    }

    /// Closes this host and opens another over the same state directory.
    pub(crate) async fn reopen(self, slots: u32) -> Self {
        let Self { dir, gateway, specs } = self;
        drop(gateway);
        let house = Self::furnish(dir, slots, WorkerLimits::default(), Around::default(), specs).await;
        house.settled().await;
        house
    }

    /// The files of the native code cache.
    pub(crate) fn native_files(&self) -> Vec<PathBuf> {
        let cache = self.dir.path().join("state/cache");
        let entries = fs::read_dir(cache).expect("a cache");
        let files = entries.map(|entry| entry.expect("an entry").path());
        files.filter(|path| path.extension().is_some_and(|extension| extension == "native")).collect()
    }

    /// Runs a call to its end.
    pub(crate) async fn call(&self, tool: &str, arguments: Value) -> Ended {
        self.call_with(tool, arguments, None).await
    }

    /// The same for a client that asked for progress.
    pub(crate) async fn call_with(
        &self,
        tool: &str,
        arguments: Value,
        reports: Option<mpsc::Sender<Progress>>,
    ) -> Ended {
        self.call_as(&Principal::LocalOperator, tool, arguments, reports).await
    }

    /// The same for somebody else.
    pub(crate) async fn call_as(
        &self,
        principal: &Principal,
        tool: &str,
        arguments: Value,
        reports: Option<mpsc::Sender<Progress>>,
    ) -> Ended {
        let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
        self.gateway
            .call(Incoming {
                principal,
                tool,
                arguments,
                reports,
                received: Instant::now(),
                consent: Consent::Nobody,
                route: None,
            })
            .await
    }

    /// Runs a call that must answer, and returns its result.
    pub(crate) async fn answer(&self, tool: &str, arguments: Value) -> Value {
        answered(tool, self.call(tool, arguments).await)
    }

    /// The one check: the call ends as `outcome` with `text` in its error, in time; the error tells nothing of the
    /// host; the ledger says the same; and a benign call is answered.
    pub(crate) async fn check(&self, tool: &str, arguments: Value, outcome: Outcome, text: &str) {
        let bound = (self.deadline_of(tool) + GRACE) * SLACK;
        let began = Instant::now();
        let ended = self.call(tool, arguments).await;
        let took = began.elapsed();
        let error = failed(tool, ended);
        let told = error.to_string();
        assert_eq!(error.outcome(), outcome, "{tool}: {told}");
        assert!(told.contains(text), "{tool}: no {text:?} in {told:?}");
        assert!(took < bound, "{tool}: {took:?} of {bound:?}");
        self.assert_discreet(tool, &told);
        assert_eq!(self.last_outcome(tool), json!(outcome), "{tool}");
        self.alive().await;
    }

    /// A benign call is answered.
    pub(crate) async fn alive(&self) {
        assert_eq!(self.answer("echo_echo", json!({ "text": "on" })).await, "on");
    }

    fn assert_discreet(&self, tool: &str, told: &str) {
        let folder = self.dir.path().to_string_lossy();
        for leak in [&*folder, "/root", "/home", "/proc", ".cargo", ".rs:", "portcullis-"] {
            assert!(!told.contains(leak), "{tool}: {leak:?} of the host is told: {told}");
        }
        assert!(told.len() < 500, "{tool}: {told}");
    }

    fn deadline_of(&self, tool: &str) -> Duration {
        let snapshot = self.gateway.catalogue().snapshot();
        let tool = snapshot.tool(tool).unwrap_or_else(|| panic!("no tool {tool}: {:#?}", snapshot.plugins()));
        tool.rules().limits.deadline
    }

    /// The ledger, line by line.
    pub(crate) fn audit(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.dir.path().join("state/audit.jsonl")).expect("a ledger");
        text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    /// The outcomes of all calls of `tool` that the ledger knows, in the order in which the calls came.
    pub(crate) fn outcomes(&self, tool: &str) -> Vec<Value> {
        let lines = self.audit();
        let of = |intent: &Value| {
            let outcome = lines.iter().find(|line| line["event"] == "call.outcome" && line["call"] == intent["call"]);
            outcome.map_or(Value::Null, |line| line["outcome"].clone())
        };
        lines.iter().filter(|line| line["event"] == "call.intent" && line["tool"] == tool).map(of).collect()
    }

    fn last_outcome(&self, tool: &str) -> Value {
        self.outcomes(tool).pop().unwrap_or_default()
    }

    /// State, reason and warnings of a plugin, as operators see them.
    pub(crate) fn status(&self, plugin: &str) -> (String, String, Vec<String>) {
        let snapshot = self.gateway.catalogue().snapshot();
        let status = snapshot.plugins().iter().find(|status| status.name.as_str() == plugin).expect("a plugin");
        let reason = status.state.reason().unwrap_or_default().to_owned();
        (status.state.as_str().to_owned(), reason, status.warnings.clone())
    }
}

/// The answer that a call ended with: its result, or its own error as `err`.
pub(crate) fn answered(tool: &str, ended: Ended) -> Value {
    match ended {
        Ended::Answered(Ok(Reply::Structured(object)), _) => match object.get("result") {
            Some(result) => result.clone(),
            None if object.is_empty() => Value::Null,
            // A record stands for itself.
            None => Value::Object(object),
        },
        Ended::Answered(Ok(Reply::ToolError(error)), _) => json!({ "err": error.text }),
        other => panic!("{tool}: {other:?}"),
    }
}

/// Lets a call that is long take its slot, before others come: two calls of one moment have no order.
pub(crate) async fn begun(call: &mut std::pin::Pin<&mut impl Future<Output = Ended>>) {
    let ended = tokio::time::timeout(Duration::from_millis(50), call.as_mut()).await;
    assert!(ended.is_err(), "{ended:?}");
}

/// The error that a call ended with.
pub(crate) fn failed(tool: &str, ended: Ended) -> CallError {
    match ended {
        Ended::Answered(Err(error), _) => error,
        other => panic!("{tool} did not fail: {other:?}"),
    }
}

fn spec(dir: &Path, guest: Guest) -> PluginSpec {
    let Guest { name, component, limits, deadlines, grants, secrets } = guest;
    let grants: Grants = toml::from_str(&grants).unwrap_or_else(|error| panic!("{name}: {error}"));
    let own = deadlines.iter().map(|(function, deadline)| {
        let limits = Limits { deadline: *deadline, ..limits.clone() };
        (
            String::from(*function),
            ToolSpec { limits, description: None, annotations: Default::default(), confirm: None },
        )
    });
    let settings = own.collect();
    let file = |bytes: Vec<u8>| {
        let path = dir.join(format!("{name}.wasm"));
        fs::write(&path, bytes).expect("a file");
        path
    };
    let source = match component {
        Component::Built(path) => path.into(),
        Component::Wat(text) => file(wat::parse_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))),
        Component::Bytes(bytes) => file(bytes),
    };
    PluginSpec {
        name: PluginName::new(name).expect("a name"),
        written_source: String::new(),
        source,
        grants: Arc::new(grants),
        secrets: Arc::new(secrets),
        prefix: format!("{name}_"),
        tools: None,
        enabled: true,
        limits,
        settings,
    }
}
