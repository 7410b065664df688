//! One state directory, one host, many clients and commands: the socket, the lock, and those who come.
#![cfg(unix)]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::{
        fs::{FileTypeExt, PermissionsExt},
        net::UnixStream,
    },
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use portcullis_artifacts as guests;
use serde_json::{Value, json};

use crate::host::{Folder, PATIENCE, Piped, eventually, plugins, stderr, usual, usual_plugins};

fn socket(folder: &Folder) -> PathBuf {
    folder.path().join(".portcullis/host.sock")
}

fn echoed(client: &mut Piped, id: u64, text: &str) -> Value {
    let params = json!({ "name": "echo_echo", "arguments": { "text": text } });
    client.request(id, "tools/call", params)["result"]["structuredContent"]["result"].clone()
}

fn tools(client: &mut Piped, id: u64) -> Vec<String> {
    let list = client.request(id, "tools/list", json!({}));
    let tools = list["result"]["tools"].as_array().unwrap_or_else(|| panic!("a list: {list:#}"));
    tools.iter().map(|tool| tool["name"].as_str().expect("a name").to_owned()).collect()
}

/// Sessions of the audit log that began as `serve`.
fn serving(folder: &Folder) -> Vec<String> {
    let audit = folder.audit();
    let started = audit.iter().filter(|line| line["event"] == "host.started" && line["command"] == "serve");
    started.map(|line| line["session"].as_str().expect("a session").to_owned()).collect()
}

/// Three clients that each start `serve --stdio`, at the same time.
fn three(folder: &Folder) -> [Piped; 3] {
    let mut clients = [folder.stdio(), folder.stdio(), folder.stdio()];
    for client in &mut clients {
        client.initialize();
    }
    clients
}

/// Which of them is the host: the lock says it.
fn host_among(folder: &Folder, clients: &mut [Piped]) -> usize {
    let lock = fs::read_to_string(folder.path().join(".portcullis/host.lock")).expect("a lock");
    let pid: u32 = lock.trim().parse().expect("a process");
    clients.iter().position(|client| client.id() == pid).expect("one of them")
}

#[test]
fn three_clients_share_one_host() {
    let folder = usual();
    let late = plugins(&[("late", guests::ECHO)]);
    let path = folder.path().join("portcullis.toml");
    let config = fs::read_to_string(&path).expect("a configuration");
    fs::write(&path, format!("{late}{config}")).expect("a configuration");
    let mut clients = three(&folder);
    for (at, client) in clients.iter_mut().enumerate() {
        assert_eq!(echoed(client, 1, &format!("hi {at}")), format!("hi {at}"));
    }
    let lists = clients.each_mut().map(|client| tools(client, 2));
    assert!(lists[0].contains(&"echo_echo".to_owned()) && lists[0] == lists[1] && lists[1] == lists[2]);
    let sessions = serving(&folder);
    assert_eq!(sessions.len(), 1, "one of them is the host");
    let calls = folder.audit();
    let calls: Vec<_> = calls.iter().filter(|line| line["event"] == "call.intent").collect();
    assert_eq!(calls.len(), 3);
    assert!(calls.iter().all(|call| call["session"] == *sessions[0] && call["principal"] == "local-operator"));

    let began = Instant::now();
    folder.approve_all();
    for client in &mut clients {
        client.notified("notifications/tools/list_changed");
    }
    eprintln!("approve to the third list_changed: {:?}", began.elapsed());
    for client in &mut clients {
        assert!(tools(client, 3).contains(&"late_echo".to_owned()));
    }
    // What was approved holds as soon as the command has ended.
    let disabled = folder.run(&["disable", "late"]);
    assert!(disabled.status.success(), "{}", stderr(&disabled));
    for client in &mut clients {
        assert!(!tools(client, 4).contains(&"late_echo".to_owned()), "at once");
    }
}

#[test]
fn a_relay_that_is_killed_takes_nobody_along() {
    let folder = usual();
    let mut clients = three(&folder);
    let host = host_among(&folder, &mut clients);
    let (victim, other) = ((host + 1) % 3, (host + 2) % 3);
    // In the middle of a call, which ends with it.
    let params = json!({ "name": "outcomes_sleep", "arguments": { "ms": 10_000 } });
    clients[victim].send(&json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params }));
    eventually(|| folder.audit().iter().any(|line| line["event"] == "call.intent"));
    clients[victim].kill();
    eventually(|| folder.audit().iter().any(|line| line["outcome"] == "cancelled"));
    for at in [host, other] {
        assert_eq!(echoed(&mut clients[at], 2, "on"), "on");
    }
}

#[test]
fn a_host_that_is_killed_ends_its_relays_and_the_next_one_takes_over() {
    let folder = usual();
    let mut clients = three(&folder);
    let host = host_among(&folder, &mut clients);
    clients[host].kill();
    let stale = fs::symlink_metadata(socket(&folder)).expect("left behind");
    assert!(stale.file_type().is_socket());
    for at in [(host + 1) % 3, (host + 2) % 3] {
        let (status, told) = clients[at].end();
        assert_eq!(status.code(), Some(2), "{told}");
        assert!(told.contains("has ended, and the session with it") && told.contains("start it again"), "{told}");
    }
    // Nobody takes the dead host's socket for a host.
    let called = folder.json(&["call", "echo_echo", r#"{"text":"alone"}"#]);
    assert_eq!(called["result"], "alone");
    let mut next = three(&folder);
    for client in &mut next {
        assert_eq!(echoed(client, 1, "again"), "again");
    }
    assert_eq!(serving(&folder).len(), 2);
}

/// The client that started the host leaves; the others are not cut off, and the host leaves with the last of them.
#[test]
fn a_host_stays_for_those_who_share_it() {
    let folder = usual();
    let mut clients = three(&folder);
    let host = host_among(&folder, &mut clients);
    let (one, other) = ((host + 1) % 3, (host + 2) % 3);
    clients[host].leave();
    for id in 1..4 {
        assert_eq!(echoed(&mut clients[one], id, "still here"), "still here");
    }
    // A further one comes in, too.
    let mut late = folder.stdio();
    late.initialize();
    assert_eq!(echoed(&mut late, 1, "late"), "late");
    assert!(clients[host].runs());
    let gone = |client: &mut Piped| {
        client.leave();
        let (status, told) = client.end();
        assert_eq!(status.code(), Some(0), "{told}");
    };
    gone(&mut clients[one]);
    gone(&mut clients[other]);
    gone(&mut late);
    let (status, told) = clients[host].end();
    assert_eq!(status.code(), Some(0), "{told}");
    assert!(told.contains("2 more share this host"), "{told}");
    assert!(!socket(&folder).exists(), "the socket goes with its host");
    assert_eq!(serving(&folder).len(), 1);
    assert!(
        folder.audit().iter().any(|line| line["event"] == "host.stopped" && line["session"] == *serving(&folder)[0])
    );
}

/// What a client is told last leaves before the process ends, and is not waited for when it has left.
#[test]
fn a_host_ends_with_its_only_client() {
    let folder = usual();
    let mut client = folder.stdio();
    client.initialize();
    assert_eq!(echoed(&mut client, 1, "last"), "last");
    let left = Instant::now();
    client.leave();
    assert_eq!(client.end().0.code(), Some(0));
    // Longer than anything but the time of a client that does not read.
    assert!(left.elapsed() < Duration::from_secs(4), "{:?}", left.elapsed());
}

#[test]
fn a_second_owner_is_refused_with_the_engine_for_several() {
    let folder = usual();
    let over_http = folder.serve();
    // Clients of pipes share it, whatever its own door is.
    let mut client = folder.stdio();
    client.initialize();
    assert_eq!(echoed(&mut client, 1, "shared"), "shared");
    let refused = |folder: &Folder| {
        let output = folder.run(&["serve"]);
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains("has a host already") && told.contains("distributed engine: "), "{told}");
        assert!(told.contains("url = \"redis://HOST\""), "{told}");
    };
    refused(&folder);
    drop(client);
    assert!(over_http.stop().success());
    let mut client = folder.stdio();
    client.initialize();
    refused(&folder);
    assert_eq!(echoed(&mut client, 1, "unharmed"), "unharmed");
}

/// Says something to the socket, and gives what is answered.
fn said(path: &Path, line: &[u8]) -> Option<Value> {
    let mut stream = UnixStream::connect(path).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    // It may hang up in the middle of what is too long.
    _ = stream.write_all(line).and_then(|()| stream.write_all(b"\n"));
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).ok()?;
    serde_json::from_str(&answer).ok()
}

fn hello(folder: &Folder, wants: Value) -> Value {
    let config = folder.path().join("portcullis.toml").canonicalize().expect("a path");
    json!({ "protocol": 1, "portcullis": env!("CARGO_PKG_VERSION"), "config": config, "wants": wants })
}

#[test]
fn another_configuration_or_version_is_refused_with_the_mend() {
    let folder = usual();
    let host = folder.serve();
    fs::copy(folder.path().join("portcullis.toml"), folder.path().join("other.toml")).expect("a copy");
    for arguments in [
        &["--config", "other.toml", "serve", "--stdio"] as &[_],
        &["--config", "other.toml", "call", "echo_echo", r#"{"text":"x"}"#],
        &["--config", "other.toml", "kv", "stats"],
    ] {
        let output = folder.run(arguments);
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {told}");
        assert!(told.contains("portcullis.toml") && told.contains("other.toml"), "{told}");
        assert!(told.contains("hint: ") && told.contains("state-dir"), "{told}");
    }
    // The same file by another name is the same.
    std::os::unix::fs::symlink("portcullis.toml", folder.path().join("link.toml")).expect("a link");
    let called = folder.json(&["--config", "link.toml", "call", "echo_echo", r#"{"text":"x"}"#]);
    assert_eq!(called["result"], "x");
    for (field, value) in [("portcullis", json!("9.9.9")), ("protocol", json!(2))] {
        let mut newer = hello(&folder, json!("answers"));
        newer[field] = value;
        newer["more"] = json!("than this version knows");
        let refused = &said(&socket(&folder), newer.to_string().as_bytes()).expect("an answer")["refused"];
        assert!(refused["what"].as_str().is_some_and(|what| what.contains("is Portcullis")), "{refused:#}");
        assert!(refused["hint"].as_str().is_some_and(|hint| hint.contains("end it")), "{refused:#}");
    }
    drop(host);
}

/// Nonsense, too much of it, and too many: the host goes on.
#[test]
fn the_socket_is_bounded() {
    let folder = usual();
    let host = folder.serve();
    let path = socket(&folder);
    for line in [&b"nonsense"[..], b"{}", b"\xff\xfe", b"[]", b"", &vec![b'x'; 1 << 20], &vec![b'['; 30_000]] {
        let refused = said(&path, line);
        assert!(refused.is_none_or(|answer| answer["refused"].is_object()), "{:?}", &line[..line.len().min(20)]);
    }
    let wants = hello(&folder, json!("answers")).to_string();
    let welcomed = || {
        let mut stream = UnixStream::connect(&path).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.write_all(wants.as_bytes()).and_then(|()| stream.write_all(b"\n")).expect("written");
        let mut reader = BufReader::new(stream);
        let mut answer = String::new();
        reader.read_line(&mut answer).expect("an answer");
        (reader, serde_json::from_str::<Value>(&answer).expect("JSON"))
    };
    let (mut one, welcome) = welcomed();
    assert!(welcome["welcome"]["pid"].is_u64(), "{welcome:#}");
    // What is no request is told so, and what is longer than a request ends the connection.
    let mut answer = String::new();
    one.get_mut().write_all(b"{\"call\":1}\n").expect("written");
    one.read_line(&mut answer).expect("an answer");
    assert!(answer.contains("does not understand"), "{answer}");
    _ = one.get_mut().write_all(&vec![b'x'; (8 << 20) + 2]);
    let mut rest = Vec::new();
    _ = one.read_to_end(&mut rest);
    assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
    // As many as there may be, and one more.
    let mut held = Vec::new();
    let refused = loop {
        let (stream, answer) = welcomed();
        if answer["refused"].is_object() {
            break answer;
        }
        held.push(stream);
        assert!(held.len() <= 128, "more than 128");
    };
    assert!(refused["refused"]["what"].as_str().is_some_and(|what| what.contains("128 connections")), "{refused:#}");
    assert!(held.len() > 120);
    drop(held);
    eventually(|| folder.run(&["call", "echo_echo", r#"{"text":"x"}"#]).status.success());
    drop(host);
}

/// Deny by default: the file is the owner's alone, and so is whoever comes through it.
#[test]
fn a_process_of_another_user_is_turned_away() {
    let folder = usual();
    let _host = folder.serve();
    let state = folder.path().join(".portcullis");
    let mode = |path: &Path, mode: u32| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
    };
    for name in ["host.sock", "host.lock"] {
        let found = fs::metadata(state.join(name)).expect("there").permissions().mode() & 0o777;
        assert_eq!(found, 0o600, "{name}");
    }
    // A running host whose directory was opened by mistake: nobody new trusts what is in it.
    mode(&state, 0o770);
    for arguments in [&["serve", "--stdio"] as &[_], &["call", "echo_echo", "{}"], &["kv", "stats"]] {
        let output = folder.run(arguments);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains("is open to other users"), "{}", stderr(&output));
    }
    let root = fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0);
    let perl = Command::new("perl").args(["-MIO::Socket::UNIX", "-e", "1"]).status().is_ok_and(|done| done.success());
    if !root || !perl {
        eprintln!("skipped: only root can be another user, and Perl plays it");
        return;
    }
    // The modes are no help, so that the question for the user is all that is left.
    for (path, bits) in [(folder.path(), 0o755), (&state, 0o755), (&socket(&folder), 0o666)] {
        mode(path, bits);
    }
    let script = "my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die \"no connection: $!\"; \
                  $s->print($ARGV[1], \"\\n\"); print $s->getline // 'nothing'";
    let asked = |user: u32| {
        let mut command = Command::new("perl");
        let hello = hello(&folder, json!("answers")).to_string();
        command.args(["-MIO::Socket::UNIX", "-e", script]).arg(socket(&folder)).arg(hello);
        let output = std::os::unix::process::CommandExt::uid(&mut command, user).output().expect("perl");
        assert!(output.status.success(), "{}: {}", output.status, stderr(&output));
        String::from_utf8(output.stdout).expect("text")
    };
    assert!(asked(0).contains("welcome"));
    let answer = asked(65_534);
    assert!(answer.contains("refused") && answer.contains("another user's"), "{answer}");
    let refused = folder.audit().into_iter().find(|line| line["event"] == "log-in.refused").expect("recorded");
    assert!(refused["reason"].as_str().is_some_and(|reason| reason.contains("65534")), "{refused:#}");
}

#[test]
fn an_agent_keeps_its_role_through_the_socket() {
    let roles = "[roles.reader]\nallow = [\"echo_*\"]\n[agents.alice]\nrole = \"reader\"\n";
    let folder = Folder::new(&format!("{}{roles}", plugins(&usual_plugins())));
    let _host = folder.serve();
    let mut alice = folder.stdio_as("alice");
    alice.initialize();
    assert_eq!(tools(&mut alice, 1), ["echo_echo"]);
    let trap = alice.request(2, "tools/call", json!({ "name": "outcomes_trap", "arguments": {} }));
    assert_eq!(trap["error"]["code"], -32602, "{trap:#}");
    assert_eq!(echoed(&mut alice, 3, "hi"), "hi");
    assert!(folder.audit().iter().any(|line| line["event"] == "call.intent" && line["principal"] == "alice"));
    // One that the host does not know, whatever the file of the relay said.
    let stranger = hello(&folder, json!({ "mcp": { "agent": "eve" } })).to_string();
    let refused = said(&socket(&folder), stranger.as_bytes()).expect("an answer");
    assert!(refused["refused"]["what"].as_str().is_some_and(|what| what.contains("no such agent")), "{refused:#}");
}

/// sockaddr_un has room for 107 bytes.
#[test]
fn a_long_path_is_no_obstacle() {
    let deep = format!("{}/{}", "d".repeat(100), "e".repeat(100));
    let folder = Folder::new(&format!("state-dir = \"{deep}\"\n{}", plugins(&usual_plugins())));
    let mut first = folder.stdio();
    first.initialize();
    let mut second = folder.stdio();
    second.initialize();
    assert_eq!(echoed(&mut second, 1, "far"), "far");
    assert_eq!(folder.json(&["call", "echo_echo", r#"{"text":"deep"}"#])["result"], "deep");
    assert!(folder.path().join(&deep).join("host.sock").exists());
    drop(second);
    first.leave();
    assert_eq!(first.end().0.code(), Some(0));
    assert!(!folder.path().join(&deep).join("host.sock").exists());
}

#[test]
fn commands_go_to_the_host_that_runs() {
    let folder = usual();
    let host = folder.serve();
    let session = serving(&folder).remove(0);
    let alone = |folder: &Folder| folder.audit().iter().filter(|line| line["event"] == "host.started").count();
    let before = alone(&folder);
    assert_eq!(folder.json(&["call", "echo_echo", r#"{"text":"through"}"#])["result"], "through");
    let data = folder.json(&["call", "echo_echo", r#"{"text":"through"}"#, "--json", "--log"]);
    assert!(data["used"]["fuel"].as_u64().is_some_and(|fuel| fuel > 0) && data["log"].is_array(), "{data:#}");
    let listed = folder.json(&["list", "--json"]);
    assert_eq!(listed.as_array().map(Vec::len), Some(3), "{listed:#}");
    assert_eq!(alone(&folder), before, "none of them opened a house of its own");
    let audit = folder.audit();
    let calls: Vec<_> = audit.iter().filter(|line| line["event"] == "call.intent").collect();
    assert_eq!(calls.len(), 2);
    assert!(calls.iter().all(|call| call["session"] == *session && call["principal"] == "local-operator"));
    // As without a host.
    for (arguments, code, expected) in [
        (&["call", "echo_eko"] as &[_], 1, "hint: the nearest is `echo_echo`"),
        (&["call", "echo_echo", r#"{"text":1}"#], 1, "hint: `portcullis inspect"),
        (&["call", "outcomes_fail", r#"{"message":"the \u001b[2J reason"}"#], 1, r"the \u{1b}[2J reason"),
        (&["call", "outcomes_trap"], 2, "crashed"),
    ] {
        let output = folder.run(arguments);
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        assert!(stderr(&output).contains(expected), "{arguments:?}: {}", stderr(&output));
    }
    let reported = folder.run(&["call", "progress_work", r#"{"steps":3,"ms_per_step":1}"#]);
    assert!(stderr(&reported).contains("progress "), "{}", stderr(&reported));
    // A call whose command goes away is stopped.
    let mut child = folder.command(&["call", "outcomes_sleep", r#"{"ms":10000}"#]).spawn().expect("a command");
    let asleep = |line: &Value| line["event"] == "call.intent" && line["tool"] == "outcomes_sleep";
    eventually(|| folder.audit().iter().any(asleep));
    child.kill().and_then(|()| child.wait()).expect("an end");
    eventually(|| folder.audit().iter().any(|line| line["outcome"] == "cancelled"));
    let doctor = folder.json(&["doctor", "--json"]);
    assert_eq!(doctor["ok"], true, "{doctor:#}");
    assert!(doctor["findings"].to_string().contains(&format!("process {}", host.id())), "{doctor:#}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_hardened_host_shares_itself_too() {
    let folder = usual();
    let start = || {
        let mut client = Folder::piped(folder.command(&["serve", "--stdio", "--harden"]));
        client.initialize();
        client
    };
    let (mut first, mut second) = (start(), start());
    assert_eq!(echoed(&mut first, 1, "one"), "one");
    assert_eq!(echoed(&mut second, 1, "two"), "two");
    assert_eq!(serving(&folder).len(), 1);
    for client in [&second, &first] {
        let status = fs::read_to_string(format!("/proc/{}/status", client.id())).expect("a process");
        assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    }
    second.leave();
    assert_eq!(second.end().0.code(), Some(0));
    first.leave();
    assert_eq!(first.end().0.code(), Some(0));
    assert!(!socket(&folder).exists());
}

#[test]
fn strict_is_asked_of_the_host() {
    let folder = Folder::unapproved(&plugins(&usual_plugins()));
    let _host = folder.serve();
    let mut strict = Folder::piped(folder.command(&["serve", "--stdio", "--strict"]));
    let (status, told) = strict.end();
    assert_eq!(status.code(), Some(1), "{told}");
    assert!(told.contains("cannot be served as it is configured"), "{told}");
}
