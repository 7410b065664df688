//! Many connections, and such as hold on to what they have: nobody else pays for them (A8).

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    host::{Folder, PATIENCE, Served, eventually, plugins, usual, usual_plugins},
    raw,
};

/// A call beside all the pressure is promised within this, as alone: ten times as wide as what it takes on a busy machine.
const SWIFT: Duration = Duration::from_secs(10);
/// How long a peer may take that sends or reads nothing, with room for a busy machine.
const CLOSED_AFTER: Duration = Duration::from_secs(30);

fn head(address: &str, path: &str, length: usize) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nAccept: application/json, \
         text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: echo_echo\r\n\
         Content-Length: {length}\r\n\r\n"
    )
}

fn body(text: &str) -> String {
    let meta = json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                       "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
                       "io.modelcontextprotocol/clientCapabilities": {} });
    let params = json!({ "name": "echo_echo", "arguments": { "text": text }, "_meta": meta });
    json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params }).to_string()
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// One call on a connection that stays.
fn call(stream: &mut TcpStream, address: &str) {
    let body = body("hi");
    stream.write_all(format!("{}{body}", head(address, "/mcp", body.len())).as_bytes()).expect("a request");
    let mut seen = Vec::new();
    let mut chunk = [0; 4096];
    while !String::from_utf8_lossy(&seen).contains("\"isError\":false") {
        let read = stream.read(&mut chunk).expect("a reply");
        assert!(read > 0, "closed: {}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&chunk[..read]);
        assert!(seen.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&seen));
    }
}

/// Waits until the host closes a connection; what it said before.
fn closed(mut stream: TcpStream) -> String {
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
    }
    String::from_utf8_lossy(&said).into_owned()
}

fn swift(host: &Served) {
    let began = Instant::now();
    let answer = raw::call(&host.address, "echo_echo", json!({ "text": "hi" }));
    assert_eq!(answer["result"]["structuredContent"]["result"], "hi", "{answer:#}");
    assert!(began.elapsed() < SWIFT, "{:?}", began.elapsed());
}

/// 500 connections, of which 50 are busy: nobody is refused below the limits.
#[test]
fn five_hundred_connections_of_which_fifty_call() {
    let folder = usual();
    let host = folder.serve();
    let mut streams: Vec<_> = (0..500).map(|_| connect(&host.address)).collect();
    let calls = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for stream in &mut streams[..50] {
            scope.spawn(|| {
                for _ in 0..10 {
                    call(stream, &host.address);
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(calls.into_inner(), 500);
    // And those that said nothing so far are served as well.
    for stream in streams.iter_mut().rev().take(50) {
        call(stream, &host.address);
    }
}

#[test]
fn connections_beyond_the_limit_are_closed_and_come_free() {
    let folder = Folder::new(&plugins(&usual_plugins()));
    let path = folder.path().join("portcullis.toml");
    let config = std::fs::read_to_string(&path).expect("a configuration");
    for limits in ["max-connections-per-address = 3", "max-connections = 3"] {
        std::fs::write(&path, format!("{config}{limits}\n")).expect("a configuration");
        let host = folder.serve();
        let mut held: Vec<_> = (0..3).map(|_| connect(&host.address)).collect();
        held.iter_mut().for_each(|stream| call(stream, &host.address));
        assert_eq!(closed(connect(&host.address)), "", "{limits}");
        host.logged("there are too many already");
        drop(held.pop());
        eventually(|| {
            let mut stream = connect(&host.address);
            let body = body("hi");
            _ = stream.write_all(format!("{}{body}", head(&host.address, "/mcp", body.len())).as_bytes());
            let mut said = [0; 12];
            stream.read_exact(&mut said).is_ok() && &said == b"HTTP/1.1 200"
        });
    }
}

/// Whoever never finishes a head or a body, or never reads, costs the others nothing, and is closed.
#[test]
fn slow_clients_cost_nobody_anything() {
    let folder = usual();
    let host = folder.serve();
    let address = host.address.as_str();
    swift(&host);
    let began = Instant::now();
    let starts: [(&str, String); 3] = [
        ("nothing at all", String::new()),
        ("half a head", "POST /mcp HTTP/1.1\r\nHost: ".to_owned()),
        ("half a body", format!("{}{{\"jsonrpc\":", head(address, "/mcp", 1000))),
    ];
    let mut slow = Vec::new();
    for (what, start) in &starts {
        for _ in 0..20 {
            let mut stream = connect(address);
            stream.write_all(start.as_bytes()).expect("a start");
            slow.push((*what, stream));
        }
    }
    // Replies of a megabyte that nobody reads, one behind the other on each connection.
    let long = body(&"x".repeat(1_000_000));
    let request = format!("{}{long}", head(address, "/mcp", long.len()));
    let mut unread: Vec<_> = (0..4).map(|_| connect(address)).collect();
    for stream in &mut unread {
        stream.set_nonblocking(true).expect("a mode");
        for _ in 0..32 {
            // As much as the host takes: it does not read on while nobody reads what it says.
            if stream.write(request.as_bytes()).is_err() {
                break;
            }
        }
    }
    for _ in 0..20 {
        swift(&host);
    }
    for (what, stream) in slow {
        let said = closed(stream);
        let took = began.elapsed();
        assert!(took < CLOSED_AFTER * 4, "{what}: {took:?}");
        match what {
            "half a body" => assert!(said.starts_with("HTTP/1.1 408"), "{what}: {said}"),
            _ => assert!(said.is_empty() || said.starts_with("HTTP/1.1 408"), "{what}: {said}"),
        }
    }
    for stream in unread {
        // The host has gone: what is sent to it is answered by a reset.
        eventually(|| matches!((&stream).write(b"x"), Err(error) if error.kind() != ErrorKind::WouldBlock));
    }
    swift(&host);
}

#[test]
fn heads_are_bounded() {
    let folder = usual();
    let host = folder.serve();
    let status =
        |headers: &[(&str, &str)]| raw::answer(raw::open(&host.address, "GET", "/healthz", headers, b"")).status;
    assert_eq!(status(&[]), 200);
    let long = "x".repeat(200_000);
    assert_eq!(status(&[("X-Long", &long)]), 431);
    let names: Vec<_> = (0..120).map(|number| format!("X-{number}")).collect();
    let many: Vec<_> = names.iter().map(|name| (name.as_str(), "x")).collect();
    assert_eq!(status(&many), 431);
}

/// What a client says of itself counts from a trusted proxy alone.
#[test]
fn a_proxy_is_believed_and_nobody_else() {
    let team = "[roles.worker]\nallow = [\"*\"]\n[agents.alice]\nrole = \"worker\"\n";
    let folder = Folder::new(&format!("{}{team}", plugins(&usual_plugins())));
    let path = folder.path().join("portcullis.toml");
    let config = std::fs::read_to_string(&path).expect("a configuration");
    let ask = |host: &Served, headers: &[(&str, &str)]| {
        let headers: Vec<_> = raw::USUAL.into_iter().chain(headers.iter().copied()).collect();
        raw::post(&host.address, &headers, b"{}").status
    };
    let refused = |folder: &Folder| -> Vec<Value> {
        let lines = folder.audit().into_iter().filter(|line| line["event"] == "log-in.refused");
        lines.map(|line| line["address"].clone()).collect()
    };
    let host = folder.serve();
    assert_eq!(ask(&host, &[("X-Forwarded-For", "192.0.2.7")]), 401);
    assert_eq!(refused(&folder), ["127.0.0.1"]);
    drop(host);
    let behind =
        "trusted-proxies = [\"127.0.0.0/8\"]\npublic-hosts = [\"tools.example\"]\nmax-connections-per-address = 1\n";
    std::fs::write(&path, format!("{config}{behind}")).expect("a configuration");
    let alice = crate::agents::key(&folder, "alice").0;
    let host = folder.serve();
    let through = ("X-Forwarded-For", "203.0.113.1, 192.0.2.7");
    assert_eq!(ask(&host, &[through]), 401);
    assert_eq!(refused(&folder)[1..], ["192.0.2.7"]);
    // Of one client there is one request at a time, and of another one its own.
    let bearer = format!("Bearer {alice}");
    let sleep = json!({ "name": "outcomes_sleep", "arguments": { "ms": 600_000 } });
    let more = [through, ("Authorization", bearer.as_str()), ("Host", "tools.example")];
    let held = raw::open_modern_with(&host.address, "tools/call", sleep, &more);
    eventually(|| folder.audit().iter().any(|line| line["tool"] == "outcomes_sleep"));
    assert_eq!(ask(&host, &[through]), 429);
    assert_eq!(ask(&host, &[("X-Forwarded-For", "192.0.2.8")]), 401);
    drop(held);
    eventually(|| ask(&host, &[through]) == 401);
    // A7: another name for the address is somebody else's page.
    let status = |name: &str| {
        let more = [("Authorization", bearer.as_str()), ("Host", name)];
        raw::answer(raw::open_modern_with(&host.address, "tools/list", json!({}), &more)).status
    };
    assert_eq!((status("tools.example"), status("evil.example")), (200, 403));
}

/// Who is refused is answered before the body has come. It is read all the same, and the connection goes on; a long one ends
/// it, and the answer says so.
#[test]
fn a_refusal_leaves_the_connection_in_order() {
    let agents = "[roles.any]\nallow = [\"*\"]\n[agents.alice]\nrole = \"any\"\n";
    let folder = Folder::new(&format!("{}{agents}", plugins(&usual_plugins())));
    let host = folder.serve();
    let refused = |stream: &mut TcpStream, announced: usize, body: &[u8]| {
        stream.write_all(head(&host.address, "/mcp", announced).as_bytes()).expect("sent");
        // Two segments, as most clients send a head and a body.
        std::thread::sleep(Duration::from_millis(50));
        stream.write_all(body).expect("sent");
        let (mut answer, mut byte) = (Vec::new(), [0]);
        while !answer.ends_with(b"\r\n\r\n") {
            assert_eq!(stream.read(&mut byte).expect("an answer"), 1, "closed without an answer");
            answer.extend(byte);
        }
        let answer = String::from_utf8(answer).expect("text").to_lowercase();
        let length = answer.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
        stream.read_exact(&mut vec![0; length]).expect("its body");
        answer
    };
    let mut stream = connect(&host.address);
    for _ in 0..5 {
        let answer = refused(&mut stream, 1000, &[b' '; 1000]);
        assert!(answer.starts_with("http/1.1 401") && !answer.contains("connection: close"), "{answer}");
    }
    let answer = refused(&mut stream, 1 << 20, &[b' '; 100 << 10]);
    assert!(answer.starts_with("http/1.1 401") && answer.contains("connection: close"), "{answer}");
    // What does not come is not waited for.
    let answer = refused(&mut connect(&host.address), 1000, &[b' '; 10]);
    assert!(answer.starts_with("http/1.1 401") && answer.contains("connection: close"), "{answer}");
}
