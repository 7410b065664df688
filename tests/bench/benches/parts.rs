//! The parts of a call and of an approval, one by one: see `../README.md`.
//!
//! Each is what the host itself calls, through the public doors of its rooms. `cargo bench -p portcullis-bench`.

#![allow(clippy::expect_used, reason = "a bench that cannot be set up ends")]

use std::{collections::BTreeMap, fs, process::ExitCode, sync::Arc, time::SystemTime};

use base64::{Engine, prelude::BASE64_STANDARD};
use divan::{Bencher, black_box};
use portcullis_artifacts as guests;
use portcullis_audit::{CallRecord, Event, Ledger, Outcome, Used};
use portcullis_catalogue::{Admission, Catalogue, PluginSpec, Purpose, Snapshot};
use portcullis_policy::{
    Digest, Effective, Grants, HttpDecision, Limits, MAX_ENTRIES, PluginName, Principal, RequestTarget, ToolName,
    ToolRules, decide,
};
use portcullis_runtime::{
    Runtime, RuntimeOptions, StateDir, Surroundings,
    component::{Description, Function, describe},
    wit::{decode_arguments, encode_result},
    worker::{self, Job, WorkerCommand, WorkerLimits},
};
use portcullis_trust::{ToolNames, definition_digest, examine};
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use wasmtime::component::Val;

/// The allocator of the binary that is shipped.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// More than any result here.
const OUTPUT: u64 = 4 << 20;

fn main() -> ExitCode {
    // The snapshot's plugins are decoded as the host decodes them: by this program again, as a confined child.
    if std::env::args().nth(1).as_deref() == Some("worker") {
        return worker::main(Job::Describe, WorkerLimits::default());
    }
    divan::main();
    ExitCode::SUCCESS
}

fn plugin(name: &str) -> PluginName {
    PluginName::new(name).expect("a name")
}

fn tool(name: impl Into<String>) -> ToolName {
    ToolName::new(name.into()).expect("a name")
}

/// JSON and component values.
mod mapping {
    use super::*;

    /// A value of each kind, with the function that gives back what it takes.
    const VALUES: [&str; 4] = ["small record", "string of 64 KiB", "1 MiB as base64", "10,000 integers"];

    fn value(of: &str) -> (&'static str, Value) {
        match of {
            "small record" => ("id-address", json!({ "street": "Main Street 1", "town": "Springfield" })),
            "string of 64 KiB" => ("id-string", "a quick brown fox. ".repeat((64 << 10) / 19).into()),
            "1 MiB as base64" => ("id-bytes", BASE64_STANDARD.encode(vec![0x5a; 1 << 20]).into()),
            _ => ("id-numbers", (0..10_000_u32).map(|number| number * 7919).collect()),
        }
    }

    struct Case {
        description: Description,
        function: Function,
        arguments: Map<String, Value>,
    }

    impl Case {
        fn new(of: &str) -> Self {
            let (name, value) = value(of);
            let bytes = fs::read(guests::TYPES).expect("the guest");
            let description = describe(&bytes).expect("a description");
            let function = description.functions.iter().find(|function| function.name == name).expect("the function");
            let function = function.clone();
            Self { description, function, arguments: Map::from_iter([("value".to_owned(), value)]) }
        }

        fn decoded(&self) -> Vec<Val> {
            decode_arguments(&self.description.types, &self.function, &self.arguments).expect("arguments")
        }
    }

    #[divan::bench(args = VALUES)]
    fn decode(bencher: Bencher<'_, '_>, of: &str) {
        let case = Case::new(of);
        bencher.bench_local(|| black_box(&case).decoded());
    }

    #[divan::bench(args = VALUES)]
    fn encode(bencher: Bencher<'_, '_>, of: &str) {
        let case = Case::new(of);
        bencher.with_inputs(|| case.decoded()).bench_local_refs(|results| {
            encode_result(&case.description.types, &case.function, results, OUTPUT).expect("a result")
        });
    }
}

/// Lines of the audit log, in a file.
mod audit {
    use super::*;

    fn ledger() -> (TempDir, Arc<Ledger>) {
        let folder = tempfile::tempdir().expect("a folder");
        let ledger = Ledger::open(&folder.path().join("audit.jsonl"), "bench".into(), &[7; 32], SystemTime::now);
        (folder, Arc::new(ledger.expect("a ledger")))
    }

    #[divan::bench]
    fn one_event(bencher: Bencher<'_, '_>) {
        let (_folder, ledger) = ledger();
        bencher.bench_local(|| ledger.append(black_box(&Event::HostStopped)).expect("a line"));
    }

    #[divan::bench]
    fn intent_and_outcome(bencher: Bencher<'_, '_>) {
        let (_folder, ledger) = ledger();
        let (echo, tool, digest) = (plugin("echo"), tool("echo_echo"), Digest::of(b"echo"));
        let used = Used { micros: 12, fuel: Some(3_456), memory: 1 << 20 };
        bencher.bench_local(|| {
            let arguments = black_box(br#"{"text":"the quick brown fox"}"#);
            let record = CallRecord::open(&ledger, &Principal::LocalOperator, &tool, &echo, digest, arguments, None);
            let record = futures::executor::block_on(record.expect("JSON").written()).expect("an intent");
            futures::executor::block_on(record.close(Outcome::Ok, used)).expect("an outcome");
        });
    }
}

/// What is decided for a call and for each request that it makes.
mod policy {
    use super::*;

    #[divan::bench]
    fn decide_one_call(bencher: Bencher<'_, '_>) {
        let (plugin, tool) = (plugin("echo"), tool("echo_echo"));
        let rules = Arc::new(ToolRules {
            plugin,
            tool,
            limits: Limits::default(),
            grants: Effective::default(),
            confirm: None,
        });
        bencher.bench_local(|| decide(black_box(&Principal::LocalOperator), black_box(&rules)).expect("a permit"));
    }

    /// As many entries as there may be, each of a host of its own.
    fn grants() -> Grants {
        let entries: Vec<_> = (0..MAX_ENTRIES).map(|n| format!("GET,POST https://h{n:03}.example/v1/**")).collect();
        serde_json::from_value(json!({ "http": entries })).expect("grants")
    }

    const REQUESTS: [(&str, &str, bool); 3] = [
        ("the first entry", "https://h000.example/v1/forecast/today", true),
        ("the last entry", "https://h255.example/v1/forecast/today", true),
        ("no entry", "https://h256.example/v1/forecast/today", false),
    ];

    fn target(of: &str) -> (RequestTarget, bool) {
        let (_, url, allowed) = REQUESTS.into_iter().find(|(name, ..)| *name == of).expect("a request");
        (RequestTarget::parse(url).expect("a target"), allowed)
    }

    #[divan::bench(args = REQUESTS.map(|(name, ..)| name))]
    fn http_of_256(bencher: Bencher<'_, '_>, of: &str) {
        let (grants, (target, allowed)) = (grants(), target(of));
        bencher.bench_local(|| {
            let decision = black_box(&grants).http("GET", black_box(&target));
            assert_eq!(matches!(decision, HttpDecision::Allowed { .. }), allowed);
        });
    }

    #[divan::bench(args = REQUESTS.map(|(name, ..)| name))]
    fn http_of_256_approved_and_configured(bencher: Bencher<'_, '_>, of: &str) {
        let (grants, (target, allowed)) = (Arc::new(grants()), target(of));
        let effective = Effective::new(Arc::clone(&grants), grants);
        bencher.bench_local(|| {
            let decision = black_box(&effective).http("GET", black_box(&target));
            assert_eq!(matches!(decision, HttpDecision::Allowed { .. }), allowed);
        });
    }
}

/// What is done to each definition when a plugin is looked at.
mod definitions {
    use super::*;

    const SIZES: [usize; 2] = [4 << 10, 200 << 10];

    /// A definition of about so many bytes of JSON, with many described parameters.
    fn definition(size: usize) -> Value {
        let mut properties = Map::new();
        let mut length = 200;
        while length < size {
            let name = format!("parameter_{:04}", properties.len());
            let of = json!({
                "type": "string",
                "description": "The name of a town or a village, as people there write it; case does not matter.",
            });
            length += name.len() + of.to_string().len() + 4;
            properties.insert(name, of);
        }
        json!({
            "name": "weather_forecast",
            "description": "The weather of the next days.\n\nTemperatures are in degrees Celsius.",
            "inputSchema": { "type": "object", "properties": properties, "additionalProperties": false },
            "outputSchema": { "type": "object", "properties": { "result": { "type": "string" } } },
        })
    }

    #[divan::bench(args = SIZES)]
    fn digest(bencher: Bencher<'_, '_>, size: usize) {
        let definition = definition(size);
        bencher.bench_local(|| definition_digest(black_box(&definition)).expect("a digest"));
    }

    /// Beside 50 other plugins, whose tools a description could speak of.
    #[divan::bench(args = SIZES, name = "examine")]
    fn examined(bencher: Bencher<'_, '_>, size: usize) {
        let (definition, own, name) = (definition(size), plugin("weather"), tool("weather_forecast"));
        let others: Vec<_> = (0..50).map(|n| (plugin(&format!("p{n:02}")), tool(format!("p{n:02}_echo")))).collect();
        let names: ToolNames = others.iter().map(|(plugin, tool)| (plugin, tool)).collect();
        let findings = examine(&own, &name, &definition, &names);
        assert!(findings.is_empty(), "{findings:?}");
        bencher.bench_local(|| examine(black_box(&own), &name, black_box(&definition), &names));
    }
}

/// The register, as doors read it.
mod snapshot {
    use super::*;

    /// Of five plugins with a hundred tools each, as the part `list` serves them.
    fn snapshot() -> Arc<Snapshot> {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateDir::open(&folder.path().join("state")).expect("a state directory");
        let program = std::env::current_exe().expect("this program");
        let worker = WorkerCommand { program, arguments: vec!["worker".into()], limits: WorkerLimits::default() };
        let ledger = Ledger::open(&state.join("audit.jsonl"), "bench".into(), &[7; 32], SystemTime::now);
        let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
        tokio.block_on(async {
            let surroundings = Surroundings::of_this_machine(state.path(), Vec::new());
            let options = RuntimeOptions { max_concurrent_calls: 1, max_waiting_calls: 0, worker, surroundings };
            let runtime = Runtime::new(options, &state).expect("a workshop");
            let ledger = Arc::new(ledger.expect("a ledger"));
            let catalogue = Catalogue::new(Arc::new(runtime), ledger, Admission::Built, Purpose::Review);
            catalogue.apply(["a", "b", "c", "d", "e"].map(spec).into()).await.expect("a configuration in order");
            catalogue.snapshot()
        })
    }

    fn spec(name: &str) -> PluginSpec {
        PluginSpec {
            name: plugin(name),
            source: guests::MANY.into(),
            written_source: guests::MANY.into(),
            prefix: format!("{name}_"),
            tools: None,
            enabled: true,
            limits: Limits::default(),
            grants: Arc::default(),
            secrets: Arc::default(),
            settings: BTreeMap::new(),
        }
    }

    #[divan::bench(args = ["e_n99", "unknown"])]
    fn tool_of_500(bencher: Bencher<'_, '_>, name: &str) {
        let snapshot = snapshot();
        assert_eq!((snapshot.tools().len(), snapshot.tool(name).is_none()), (500, name == "unknown"));
        bencher.bench_local(|| black_box(&snapshot).tool(black_box(name)).is_some());
    }
}
