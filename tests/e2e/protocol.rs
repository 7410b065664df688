//! MCP on the wire: what the host must do beyond rmcp (`PROTOCOL.md`, "Ours to do"), and bad input.

use std::io::Read;

use serde_json::{Value, json};

use crate::{
    host::{Folder, plugins, usual},
    raw::{self, Session, USUAL, heard, modern, post},
};

#[test]
fn both_eras_share_an_endpoint() {
    let folder = usual();
    let host = folder.serve();
    let discovered = modern(&host.address, "server/discover", json!({})).message();
    let info = &discovered["result"]["_meta"]["io.modelcontextprotocol/serverInfo"];
    assert_eq!(info["name"], "portcullis", "{discovered:#}");
    assert_eq!(info["version"], env!("CARGO_PKG_VERSION"));
    for version in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let client = json!({ "name": "test", "version": "1" });
        let params = json!({ "protocolVersion": version, "capabilities": {}, "clientInfo": client });
        let body = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params });
        let reply = post(&host.address, &USUAL, body.to_string().as_bytes()).message();
        assert_eq!(reply["result"]["protocolVersion"], version, "{reply:#}");
        assert_eq!(reply["result"]["serverInfo"]["name"], "portcullis");
    }
    let newer = raw::call(&host.address, "echo_echo", json!({ "text": "hi" }));
    assert_eq!(newer["result"]["structuredContent"], json!({ "result": "hi" }));
    assert_eq!(newer["result"]["content"][0]["text"], r#"{"result":"hi"}"#);
    assert_eq!(newer["result"]["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "portcullis");
    let session = Session::open(&host.address);
    let call = json!({ "name": "echo_echo", "arguments": { "text": "hi" } });
    let older = session.send(&json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call })).message();
    assert_eq!(older["result"]["structuredContent"], json!({ "result": "hi" }), "{older:#}");
    assert_eq!(older["result"]["_meta"], Value::Null);
    assert!(session.delete().status < 300);
    assert_eq!(session.send(&json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/list" })).status, 404);
}

#[test]
fn lists_are_in_order_and_carry_cache_hints() {
    let folder = usual();
    let host = folder.serve();
    let list = || modern(&host.address, "tools/list", json!({})).message()["result"].clone();
    let first = list();
    assert_eq!(first["cacheScope"], "private");
    assert!(first["ttlMs"].as_u64().is_some_and(|ttl| ttl > 0 && ttl <= 60_000), "{first:#}");
    let names: Vec<_> = first["tools"].as_array().expect("tools").iter().map(|tool| tool["name"].clone()).collect();
    assert_eq!(names[0], "echo_echo");
    assert!(names.iter().all(|name| name.as_str().is_some_and(|name| name.contains('_'))));
    let plugin = |name: &Value| name.as_str().and_then(|name| name.split('_').next()).map(str::to_owned);
    assert!(names.iter().map(plugin).is_sorted(), "by plugin: {names:?}");
    for _ in 0..3 {
        assert_eq!(list(), first);
    }
    for tool in first["tools"].as_array().expect("tools") {
        assert_eq!(tool["inputSchema"]["type"], "object");
        assert_eq!(tool["outputSchema"]["type"], "object");
        assert!(tool["description"].as_str().is_some_and(|description| !description.is_empty()), "{tool:#}");
    }
}

#[test]
fn faults_are_told_where_they_belong() {
    let folder = usual();
    let host = folder.serve();
    // The request's: a protocol error.
    let unknown = raw::call(&host.address, "no_such_tool", json!({}));
    assert_eq!(unknown["error"]["code"], -32602, "{unknown:#}");
    // The arguments' and the tool's: a result that a model can read.
    let failure = |tool: &str, arguments: Value, expected: &str| {
        let result = raw::call(&host.address, tool, arguments)["result"].clone();
        assert_eq!(result["isError"], true, "{result:#}");
        assert_eq!(result["structuredContent"], Value::Null);
        let text = result["content"][0]["text"].as_str().unwrap_or_default().to_owned();
        assert!(text.contains(expected), "{tool}: {text:?} without {expected:?}");
        // Nothing of this machine.
        assert!(!text.contains('/') || text.contains("JSON"), "{text}");
    };
    failure("echo_echo", json!({ "text": 7 }), "`$.text`");
    failure("echo_echo", json!({}), "`$.text`");
    failure("echo_echo", json!({ "text": "a", "more": 1 }), "more");
    failure("outcomes_fail", json!({ "message": "the reason" }), "the reason");
    failure("outcomes_trap", json!({}), "crashed");
    failure("outcomes_exit", json!({ "code": 3 }), "exited with code 1");
    failure("outcomes_big_output", json!({ "bytes": 2_000_000 }), "limit `output`");
    let audit = folder.audit();
    for outcome in ["bad-arguments", "tool-error", "trapped", "exited", "output-too-large"] {
        assert!(audit.iter().any(|line| line["outcome"] == outcome), "{outcome} is not in the audit log");
    }
    assert_eq!(raw::call(&host.address, "echo_echo", json!({ "text": "on" }))["result"]["isError"], false);
}

#[test]
fn hosts_and_origins_are_checked() {
    let folder = usual();
    let host = folder.serve();
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "server/discover" }).to_string();
    let status = |header: (&str, &str)| {
        let mut headers = USUAL.to_vec();
        headers.push(header);
        post(&host.address, &headers, body.as_bytes()).status
    };
    assert_eq!(status(("Origin", "http://evil.example")), 403);
    assert_eq!(status(("Origin", "null")), 403);
    assert_eq!(status(("Origin", "http://localhost.evil.example:80")), 403);
    assert_eq!(status(("Host", "evil.example")), 403);
    assert_ne!(status(("Origin", &format!("http://{}", host.address))), 403);
}

#[test]
fn bad_requests_over_http_get_the_protocols_error() {
    let folder = usual();
    let host = folder.serve();
    let check = |body: &[u8], statuses: &[u16]| {
        let answer = post(&host.address, &USUAL, body);
        assert!(
            statuses.contains(&answer.status),
            "{}: {answer:?}",
            String::from_utf8_lossy(&body[..body.len().min(80)])
        );
    };
    check(b"{not json", &[400, 415]);
    check(b"", &[400, 415]);
    check(b"[]", &[400, 415, 422]);
    check(b"\xff\xfe\x00", &[400, 415]);
    check("[".repeat(100_000).as_bytes(), &[400, 415]);
    check(&vec![b'x'; (4 << 20) + 1], &[413]);
    let no_type = post(&host.address, &[("Accept", "application/json, text/event-stream")], b"{}");
    assert_eq!(no_type.status, 415);
    assert_eq!(post(&host.address, &[("Content-Type", "application/json")], b"{}").status, 406);
    let mut stray = USUAL.to_vec();
    stray.extend([("Mcp-Session-Id", "not-a-session"), ("MCP-Protocol-Version", "2025-11-25")]);
    let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" }).to_string();
    assert_eq!(post(&host.address, &stray, list.as_bytes()).status, 404);
    assert_eq!(raw::answer(raw::open(&host.address, "GET", "/healthz", &[], b"")).status, 200);
    assert_eq!(raw::answer(raw::open(&host.address, "GET", "/readyz", &[], b"")).status, 200);
    assert_eq!(raw::answer(raw::open(&host.address, "GET", "/nothing", &[], b"")).status, 404);
    assert_eq!(raw::call(&host.address, "echo_echo", json!({ "text": "on" }))["result"]["isError"], false);
}

#[test]
fn bad_lines_on_stdio_get_the_protocols_error() {
    let folder = usual();
    let mut host = folder.stdio();
    host.initialize();
    for bad in [&b"{not json"[..], b"[]", b"\xff\xfe", b"{\"jsonrpc\":\"2.0\",\"id\":5}", b""] {
        host.write(bad);
    }
    // Longer than any message may be: dropped, and the host goes on.
    host.write(&vec![b'x'; 5 << 20]);
    let malformed = host.request(6, "tools/call", json!({ "name": 7 }));
    assert_eq!(malformed["error"]["code"], -32602, "{malformed:#}");
    let malformed = host.request(7, "tools/call", json!({ "name": "echo_echo", "arguments": [1] }));
    assert_eq!(malformed["error"]["code"], -32602, "{malformed:#}");
    assert_eq!(host.request(8, "no/such/method", json!({}))["error"]["code"], -32601);
    let call = host.request(9, "tools/call", json!({ "name": "echo_echo", "arguments": { "text": "on" } }));
    assert_eq!(call["result"]["structuredContent"], json!({ "result": "on" }));
    let (status, rest) = host.close();
    assert!(status.success() && rest.is_empty(), "{status}: {rest:?}");
}

/// No byte that a guest writes can reach the client: every line on standard output is the host's own.
#[test]
fn a_guest_that_prints_messages_is_not_heard() {
    let folder = usual();
    let mut host = folder.stdio();
    host.initialize();
    let forged = json!({ "jsonrpc": "2.0", "id": 1, "result": { "content": [], "forged": true } }).to_string();
    let text = format!("\n{forged}\n");
    let arguments = json!({ "stdout": text, "stderr": text });
    let printed = host.request(1, "tools/call", json!({ "name": "outcomes_print", "arguments": arguments }));
    assert_eq!(printed["result"]["isError"], false, "{printed:#}");
    assert!(printed.to_string().find("forged").is_none(), "{printed:#}");
    let (_, rest) = host.close();
    assert!(rest.is_empty(), "{rest:?}");
    // The operator can read it.
    let arguments = json!({ "stdout": "seen\u{1b}[2J\n", "stderr": "" }).to_string();
    let called = folder.run(&["call", "outcomes_print", &arguments, "--log"]);
    let shown = String::from_utf8_lossy(&called.stderr).into_owned();
    assert!(shown.contains("stdout: seen\\u{1b}[2J"), "{shown}");
    assert!(!shown.contains('\u{1b}'));
}

#[test]
fn a_closed_stream_of_the_newer_era_stops_the_guest() {
    let folder = Folder::new(&format!(
        "{}\n[limits]\nfuel = \"off\"\ndeadline = \"10m\"\nconcurrency = 1\n",
        plugins(&[("outcomes", portcullis_artifacts::OUTCOMES)])
    ));
    let host = folder.serve();
    let spin = raw::open_modern(&host.address, "tools/call", json!({ "name": "outcomes_spin", "arguments": {} }));
    while !folder.audit().iter().any(|line| line["tool"] == "outcomes_spin") {
        std::thread::yield_now();
    }
    spin.shutdown(std::net::Shutdown::Both).expect("closed");
    // The plugin has one slot: this call gets it only once the spinning one is gone.
    let counted = raw::call(&host.address, "outcomes_counter", json!({}));
    assert_eq!(counted["result"]["structuredContent"], json!({ "result": 1 }), "{counted:#}");
    assert!(folder.audit().iter().any(|line| line["outcome"] == "cancelled"));
}

#[test]
fn progress_streams_before_the_reply() {
    let folder = usual();
    let host = folder.serve();
    let meta = json!({ "progressToken": "p" });
    let arguments = json!({ "steps": 3, "ms_per_step": 1 });
    let params = json!({ "name": "progress_work", "arguments": arguments, "_meta": meta });
    let mut stream = raw::open_modern(&host.address, "tools/call", params);
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("a reply");
    let messages: Vec<Value> =
        text.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data:")?.trim()).ok()).collect();
    let done: Vec<_> = messages.iter().filter_map(|message| message["params"]["progress"].as_f64()).collect();
    assert_eq!(done, [1.0, 2.0, 3.0], "{text}");
    assert_eq!(messages.last().expect("a reply")["result"]["structuredContent"], json!({ "result": 3 }), "{text}");
}

#[test]
fn a_subscription_starts_with_its_acknowledgement() {
    let folder = usual();
    let host = folder.serve();
    let wanted = json!({ "notifications": { "toolsListChanged": true } });
    let stream = raw::open_modern(&host.address, "subscriptions/listen", wanted);
    let mut stream = std::io::BufReader::new(stream);
    assert_eq!(raw::head(&mut stream).0, 200);
    let acknowledged = heard(&mut stream, "data:");
    assert!(acknowledged.contains("notifications/subscriptions/acknowledged"), "{acknowledged}");
}

/// A call leaves nothing behind in the host.
#[cfg(target_os = "linux")]
#[test]
fn calls_leave_no_memory() {
    let rounds: u32 = std::env::var("PORTCULLIS_MEMORY_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000);
    let folder = usual();
    let host = folder.serve();
    let call = |times: u32| {
        for _ in 0..times {
            let reply = raw::call(&host.address, "echo_echo", json!({ "text": "x".repeat(1000) }));
            assert_eq!(reply["result"]["isError"], false, "{reply:#}");
        }
    };
    call(500);
    let before = host.resident();
    call(rounds);
    let grown = host.resident().saturating_sub(before);
    assert!(grown < 40 << 10, "{grown} KiB more after {rounds} calls");
}
