//! S1 to S34, as far as a guest can do them, at one host: each hostile program has its own end, a good one answers beside
//! and after them, and the memory comes back. The tests of each subject go deeper; this is all of them in one process.

use std::fs;

use portcullis_artifacts as guests;
use serde_json::{Value, json};

use crate::{
    abi,
    binary::Folder,
    compute::{LOOPS, START},
    directories::Ground,
    egress::server::{Answer, Server},
    memory::{GROW, declared},
    piped::Piped,
    streams::STREAMS,
};

/// Handles without end.
const HANDLES: &str = include_str!("wat/handles.wat");

/// What a call must answer.
enum End {
    /// An error of the tool that holds this, or names the deadline: at once, on few processors, some get there first.
    Limit(&'static str),
    /// An answer or an error that holds this.
    Says(&'static str),
}
use End::{Limit, Says};

/// The attack, the tool, its arguments, and how it ends.
fn corpus(server: &str) -> Vec<(&'static str, &'static str, Value, End)> {
    let none = || json!({});
    let stalled = format!("http://{server}/");
    vec![
        ("S1", "bad_spin", none(), Limit("limit `fuel`")),
        ("S2", "bad_recurse", json!({ "n": 1 }), Limit("crashed")),
        ("S3", "start_never", none(), Limit("limit `fuel`")),
        ("S4", "loops_in_realloc", json!({ "text": "x" }), Limit("limit `fuel`")),
        ("S4", "loops_in_post_return", none(), Limit("limit `fuel`")),
        ("S5", "bad_grow_memory", none(), Limit("limit `memory`")),
        ("S5", "grow_and_touch", none(), Limit("limit `memory`")),
        ("S6", "whole_run", none(), Limit("limit `memory`")),
        ("S7", "several_run", none(), Limit("limit `memory`")),
        ("S8", "grow_tables", none(), Limit("table elements")),
        ("S10", "handles_keep", none(), Limit("too many handles")),
        ("S11", "bad_leak_pollables", json!({ "count": 1_000_000 }), Limit("too many host resources")),
        ("S12", "bad_big_output", json!({ "bytes": 50_000_000 }), Limit("limit `output`")),
        ("S13", "abi_list_overflow", none(), Limit("out of bounds")),
        ("S13", "abi_area_misaligned", none(), Limit("not aligned")),
        ("S14", "abi_utf8", none(), Limit("invalid utf-8")),
        ("S14", "abi_enum_flat", none(), Limit("discriminant")),
        ("S15", "bad_flood_stdout", none(), Limit("flooded its log")),
        ("S16", "bad_empty_writes", json!({ "count": 100_000_000 }), Limit("flooded its log")),
        (
            "S16",
            "hostile_upload",
            json!({ "authority": server, "pieces": 100_000_000, "size": 0 }),
            Limit("more than 131072 pieces"),
        ),
        ("S17", "bad_random", json!({ "len": 1_u64 << 63 }), Limit("crashed")),
        ("S18", "bad_sleep_hour", none(), Limit("limit `deadline`")),
        ("S19", "web_count", json!({ "url": stalled }), Limit("limit `deadline`")),
        ("S20", "raw_open", json!({ "path": "/data/fifo", "what": ["read"] }), Says("not-permitted")),
        ("S21", "hostile_fields", json!({ "count": 100_000 }), Says("err")),
        ("S21", "hostile_maps", json!({ "count": 100_000 }), Says("err")),
        (
            "S22",
            "raw_set_times",
            json!({ "path": "/data/a", "seconds": u64::MAX, "nanoseconds": u32::MAX }),
            Says("err"),
        ),
        ("S22", "bad_sleep", json!({ "ms": u64::MAX }), Limit("limit `deadline`")),
        ("S23", "loops_fill", none(), Limit("limit `fuel`")),
        ("S23", "loops_copy", none(), Limit("limit `fuel`")),
        ("S24", "bad_trap", none(), Limit("crashed")),
        ("S26", "bad_exit", json!({ "code": 0 }), Limit("exited with code 0")),
        ("S26", "bad_exit", json!({ "code": 1 }), Limit("exited with code 1")),
        ("S26", "bad_abort", none(), Limit("crashed")),
        ("S27", "bad_connect", json!({ "addr": server }), Says("err")),
        ("S31", "bad_env", none(), Says(r#"{"result":[]}"#)),
        ("S31", "bad_args", none(), Says(r#"{"result":[]}"#)),
        ("S31", "bad_list_root", none(), Says("err")),
        ("S34", "bad_counter", none(), Says(r#"{"result":1}"#)),
        ("S34", "bad_counter", none(), Says(r#"{"result":1}"#)),
        ("S15", "streams_huge_write", none(), Limit("limit `memory`")),
        ("S17", "streams_random_often", none(), Limit("limit")),
    ]
}

/// Plugins that are not served at all, and what is said of each.
const REFUSED: [(&str, &str, &str); 4] = [
    ("S9", "instances", "instances"),
    ("S27", "unknown", "imports what this host does not have"),
    ("S28", "garbage", "not WebAssembly"),
    ("S28", "module", "core module"),
];

fn plugin(name: &str, source: &str, grants: &str) -> String {
    format!("[plugins.{name}]\nsource = {source:?}\n[plugins.{name}.grants]\n{grants}\n")
}

fn folder(server: &Server, ground: &Ground) -> Folder {
    let web = format!("http = [{{ allow = \"* http://{}/**\", private = [\"127.0.0.0/8\"] }}]", server.address);
    let files = ground.grant(", access = \"read-write\"");
    let mut config =
        "[server]\nmax-concurrent-calls = 16\n[limits]\ndeadline = \"3s\"\nfuel = 5_000_000_000\n".to_owned();
    let many = "(instance (instantiate $c))".repeat(100_000);
    let written: [(&str, Vec<u8>); 11] = [
        ("start", wat::parse_str(START).expect("a component")),
        ("loops", wat::parse_str(LOOPS).expect("a component")),
        ("grow", wat::parse_str(GROW).expect("a component")),
        ("whole", wat::parse_str(declared(65536, 1)).expect("a component")),
        ("several", wat::parse_str(declared(400, 3)).expect("a component")),
        ("handles", wat::parse_str(HANDLES).expect("a component")),
        ("streams", wat::parse_str(STREAMS).expect("a component")),
        ("abi", wat::parse_str(abi::component(abi::BAD.iter())).expect("a component")),
        ("instances", wat::parse_str(format!("(component (component $c) {many})")).expect("a component")),
        ("garbage", vec![0xff; 100_000]),
        ("module", wat::parse_str("(module)").expect("a module")),
    ];
    for (name, path, grants) in [
        ("echo", guests::ECHO, ""),
        ("bad", guests::OUTCOMES, ""),
        ("web", guests::WITH_HTTP, &*web),
        ("hostile", guests::HTTP_HOSTILE, &*web),
        ("raw", guests::FILES_RAW, &*files),
        ("unknown", guests::UNKNOWN_IMPORT, ""),
    ] {
        config += &plugin(name, path, grants);
    }
    for (name, _) in &written {
        config += &plugin(name, &format!("{name}.wasm"), "");
    }
    let folder = Folder::new(&config);
    for (name, bytes) in written {
        folder.write(&format!("{name}.wasm"), bytes);
    }
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn all_hostile_programs_at_one_host() {
    let server = Server::start(|seen| match seen.line().starts_with("GET") {
        true => Answer::Stall(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\non".to_vec()),
        false => Answer::Stall(Vec::new()),
    })
    .await;
    let ground = Ground::new();
    ground.put("a", "text");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        ground.data().join("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .expect("a FIFO");
    let folder = folder(&server, &ground);
    folder.approve_all();
    let (_, list) = folder.json(&["list", "--json"]);
    for (attack, name, reason) in REFUSED {
        let plugin = list.as_array().into_iter().flatten().find(|plugin| plugin["name"] == name);
        let told = plugin.map(ToString::to_string).unwrap_or_default();
        assert!(told.contains(reason), "{attack} {name}: no {reason:?} in {told}");
    }
    let address = server.address.to_string();
    // Pipes and waits are not asynchronous.
    tokio::task::spawn_blocking(move || attack(&folder, &address)).await.expect("an end");
    assert_eq!(fs::read_to_string(ground.data().join("a")).expect("a file"), "text");
}

fn attack(folder: &Folder, server: &str) {
    let mut host = Piped::start(folder);
    for _ in 0..50 {
        let id = host.call("echo_echo", &json!({ "text": "on" }));
        host.replies([id]);
    }
    #[cfg(target_os = "linux")]
    let before = host.resident();
    let corpus = corpus(server);
    // All of them at once, and a good one behind; then a second time, what the first left being there.
    for _ in 0..2 {
        let calls: Vec<_> = corpus.iter().map(|(_, tool, arguments, _)| host.call(tool, arguments)).collect();
        let good = host.call("echo_echo", &json!({ "text": "on" }));
        let replies = host.replies(calls.iter().copied().chain([good]));
        assert_eq!(replies[&good]["result"]["structuredContent"]["result"], "on");
        let wrong: Vec<_> = corpus
            .iter()
            .zip(calls)
            .filter_map(|((attack, tool, _, end), id)| {
                let result = &replies[&id]["result"];
                let told = result["content"][0]["text"].as_str().unwrap_or_default();
                let failed = result["isError"] == true;
                let right = match end {
                    Limit(text) => failed && (told.contains(text) || told.contains("limit `deadline`")),
                    Says(text) if failed => format!("err: {told}").contains(text),
                    Says(text) => told.contains(text),
                };
                (!right || told.len() >= 1000).then(|| format!("{attack} {tool}: {result}"))
            })
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
    // S25: calls that wait in the host, and a client that changes its mind.
    for _ in 0..100 {
        let id = host.call("bad_sleep_hour", &json!({}));
        let params = json!({ "requestId": id, "reason": "enough" });
        host.notify("notifications/cancelled", &params);
    }
    #[cfg(target_os = "linux")]
    host.check_memory(before);
    let id = host.call("echo_echo", &json!({ "text": "on" }));
    assert_eq!(host.replies([id])[&id]["result"]["structuredContent"]["result"], "on");
}
