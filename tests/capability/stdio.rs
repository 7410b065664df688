//! The real binary over stdio, and every hostile guest at it: nothing that a guest prints reaches the client, each call
//! has its reply, and the memory comes back.

use portcullis_artifacts as guests;
use serde_json::{Value, json};

use crate::{binary::Folder, piped::Piped, streams::STREAMS};

/// Each hostile call, and what its reply says.
fn hostile() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        ("bad_spin", json!({}), "limit `deadline`"),
        ("bad_sleep_hour", json!({}), "limit `deadline`"),
        ("bad_recurse", json!({ "n": 1 }), "crashed"),
        ("bad_grow_memory", json!({}), "limit `memory`"),
        ("bad_big_output", json!({ "bytes": 50_000_000 }), "limit `output`"),
        ("bad_flood_stdout", json!({}), "flooded its log"),
        ("bad_empty_writes", json!({ "count": 100_000_000 }), "flooded its log"),
        ("bad_leak_pollables", json!({ "count": 1_000_000 }), "too many host resources"),
        ("bad_random", json!({ "len": 1_u64 << 63 }), "crashed"),
        ("bad_abort", json!({}), "crashed"),
        ("bad_exit", json!({ "code": 0 }), "exited with code 0"),
        ("streams_huge_write", json!({}), "limit `memory`"),
        ("streams_random_often", json!({}), "limit `deadline`"),
        ("streams_large_writes", json!({}), "limit `deadline`"),
    ]
}

#[test]
fn every_line_is_the_hosts_and_the_memory_comes_back() {
    let folder = Folder::new(&format!(
        "[server]\nmax-concurrent-calls = 16\n[limits]\ndeadline = \"2s\"\nfuel = \"off\"\n[plugins.echo]\nsource = {:?}\n[plugins.bad]\nsource = {:?}\n[plugins.streams]\nsource = \"streams.wasm\"\n",
        guests::ECHO,
        guests::OUTCOMES
    ));
    folder.write("streams.wasm", wat::parse_str(STREAMS).expect("a component"));
    // Code is made at approval, so that no call waits for it.
    folder.approve_all();
    let mut host = Piped::start(&folder);
    for i in 0..50 {
        let id = host.call("echo_echo", &json!({ "text": i.to_string() }));
        host.replies([id]);
    }
    #[cfg(target_os = "linux")]
    let before = host.resident();

    let forged = json!({ "jsonrpc": "2.0", "id": 99_999, "result": { "content": [] } });
    let told = json!({ "jsonrpc": "2.0", "method": "notifications/forged" });
    let text = format!("{forged}\n{told}\nContent-Length: 3\r\n\r\n{forged}\n");
    let id = host.call("bad_print", &json!({ "stdout": text, "stderr": text }));
    assert_eq!(host.replies([id])[&id]["result"]["isError"], false);

    for _ in 0..2 {
        // All of them at once, and a good one behind.
        let calls: Vec<_> = hostile().iter().map(|(tool, arguments, _)| host.call(tool, arguments)).collect();
        let good = host.call("echo_echo", &json!({ "text": "on" }));
        let replies = host.replies(calls.iter().copied().chain([good]));
        assert_eq!(replies[&good]["result"]["structuredContent"]["result"], "on");
        for ((tool, _, text), id) in hostile().iter().zip(calls) {
            let reply = &replies[&id];
            assert_eq!(reply["result"]["isError"], true, "{tool}: {reply}");
            let told = reply["result"]["content"][0]["text"].as_str().unwrap_or_default();
            // At once, on few processors, some reach their deadline before the limit that they are made for.
            let named = told.contains(text) || told.contains("limit `deadline`");
            assert!(named && told.len() < 500, "{tool}: no {text:?} in {told:?}");
        }
    }
    // One after the other, so that each could leave its memory to the next, and fewer than are given back in one go by
    // default (wasmtime's `decommit_batch_size`).
    for _ in 0..12 {
        let id = host.call("bad_grow_memory", &json!({}));
        assert_eq!(host.replies([id])[&id]["result"]["isError"], true);
    }
    #[cfg(target_os = "linux")]
    host.check_memory(before);
}
