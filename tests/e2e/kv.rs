//! `kv`: shared context in an operator's hands, beside a host and without one, on either engine, and from one to the other.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    process::{Output, Stdio},
};

use serde_json::{Value, json};

use crate::{
    host::{Folder, eventually, interrupt, stderr, usual},
    raw,
    redis::Server,
};

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

/// Runs a command with something on its standard input.
fn fed(folder: &Folder, arguments: &[&str], input: &[u8]) -> Output {
    let mut command = folder.command(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("a command");
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_owned();
    let feeding = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().expect("an end");
    // It may have left before it read all.
    _ = feeding.join().expect("fed");
    output
}

/// A command that fails: its code, and what it must tell.
fn check(folder: &Folder, arguments: &[&str], code: i32, expected: &[&str]) {
    let output = folder.run(arguments);
    let told = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {told}");
    for text in expected {
        assert!(told.contains(text), "{arguments:?}: no {text:?} in:\n{told}");
    }
}

/// What holds on either engine, beside a host and without one.
fn operators_work(folder: &Folder) {
    let version = |output: Value| output["version"].as_u64().expect("a version");
    let first = version(folder.json(&["kv", "set", "shared", "a", r#"{"b":[1]}"#, "--if-absent", "--json"]));
    check(folder, &["kv", "set", "shared", "a", "2", "--if-absent"], 1, &["of version 1", "hint: ", "--if-version 1"]);
    check(folder, &["kv", "set", "shared", "a", "2", "--if-version", "99"], 1, &["--if-version 1"]);
    check(folder, &["kv", "set", "shared", "nothing", "2", "--if-version", "1"], 1, &["no entry `nothing`"]);
    check(folder, &["kv", "delete", "shared", "a", "--if-version", "99"], 1, &["--if-version 1"]);
    assert_eq!(first, 1);
    let shown = folder.run(&["kv", "get", "shared", "a"]);
    assert_eq!(stdout(&shown), "{\n  \"b\": [\n    1\n  ]\n}\n");
    assert!(stderr(&shown).contains("version 1, by local-operator at "), "{}", stderr(&shown));
    let data = folder.json(&["kv", "get", "shared", "a", "--json"]);
    assert_eq!(
        (&data["text"], &data["principal"], &data["plugin"]),
        (&json!("{\"b\":[1]}"), &json!("local-operator"), &json!(""))
    );
    assert!(data["expiresAtMs"].is_null());
    // Bytes that are no text, and text that a terminal would obey.
    let bytes = b"\x00\xff\x1b[2J";
    assert!(fed(folder, &["kv", "set", "shared", "bytes", "-", "--ttl", "1h"], bytes).status.success());
    let raw = folder.run(&["kv", "get", "shared", "bytes", "--raw"]);
    assert_eq!(raw.stdout, bytes);
    let data = folder.json(&["kv", "get", "shared", "bytes", "--json"]);
    assert_eq!(data["base64"], "AP8bWzJK");
    assert!(data["expiresAtMs"].as_u64() > data["writtenAtMs"].as_u64().map(|at| at + 3_500_000), "{data:#}");
    assert_eq!(stdout(&folder.run(&["kv", "get", "shared", "bytes"])), "AP8bWzJK\n");
    assert!(folder.run(&["kv", "set", "shared", "bytes2", "AP8=", "--base64"]).status.success());
    assert!(
        fed(folder, &["kv", "set", "shared", "text", "-"], "x\u{1b}[2J\nhint: run this".as_bytes()).status.success()
    );
    for arguments in [&["kv", "get", "shared", "text"] as &[_], &["kv", "list", "shared"]] {
        let output = folder.run(arguments);
        assert!(!stdout(&output).contains('\u{1b}') && stdout(&output).contains(r"\u{1b}[2J"), "{}", stdout(&output));
    }
    let keys = |output: Value| {
        let entries = output.as_array().expect("entries").clone();
        entries.into_iter().map(|entry| entry["key"].as_str().expect("a key").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(keys(folder.json(&["kv", "list", "shared", "--json"])), ["a", "bytes", "bytes2", "text"]);
    assert_eq!(keys(folder.json(&["kv", "list", "shared", "bytes", "--json"])), ["bytes", "bytes2"]);
    let limited = folder.run(&["kv", "list", "shared", "--json", "--limit", "1"]);
    assert!(stderr(&limited).contains("--after 'a'"), "{}", stderr(&limited));
    assert_eq!(keys(folder.json(&["kv", "list", "shared", "--after", "bytes", "--json"])), ["bytes2", "text"]);
    let stats = folder.json(&["kv", "stats", "--json"]);
    assert_eq!((&stats[0]["bucket"], &stats[0]["entries"]), (&json!("shared"), &json!(4)), "{stats:#}");
    assert!(folder.json(&["kv", "delete", "shared", "text", "--json"])["deleted"] == true);
    assert!(folder.json(&["kv", "delete", "shared", "text", "--json"])["deleted"] == false);
    check(folder, &["kv", "get", "shared", "text"], 1, &["There is no entry `text`"]);
    check(folder, &["kv", "set", "no/bucket", "a", "1"], 1, &["`bucket` must be", "hint: "]);
    check(folder, &["kv", "set", "small", "a", "12345678"], 1, &["it holds 0 of", "[buckets.small] max-bytes = 10"]);
    // What operators write is recorded, without its value.
    let audit = folder.audit();
    let intents: Vec<_> = audit.iter().filter(|line| line["event"] == "kv.intent").collect();
    assert!(intents.iter().any(|line| line["action"] == "set" && line["key"] == "a" && line["by"].is_string()));
    let outcomes = ["done", "not-done"].map(|outcome| audit.iter().filter(|line| line["outcome"] == outcome).count());
    assert!(outcomes.iter().all(|count| *count > 2), "{outcomes:?}");
    assert!(!audit.iter().any(|line| line.to_string().contains("hint: run this")));
}

const SMALL: &str = "[buckets.small]\nmax-bytes = 5\n";

#[test]
fn operators_use_the_file_without_a_host() {
    let folder = Folder::new(SMALL);
    operators_work(&folder);
    // Several at once wait for each other.
    let children: Vec<_> = (0..8)
        .map(|at| {
            let mut command = folder.command(&["kv", "set", "shared", &format!("at once {at}"), "x"]);
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a command")
        })
        .collect();
    for mut child in children {
        assert!(child.wait().expect("an end").success());
    }
    assert_eq!(folder.json(&["kv", "list", "shared", "at once", "--json"]).as_array().map(Vec::len), Some(8));
    let doctor = folder.json(&["doctor", "--json"]);
    assert!(doctor["findings"].to_string().contains("is as it was written, all of it"), "{doctor:#}");
    // A store that is damaged is said, with what to do, and left as it is.
    let path = folder.path().join(".portcullis/store/shared.redb");
    let whole = fs::read(&path).expect("a file");
    fs::write(&path, &whole[..whole.len() / 2]).expect("damaged");
    let doctor = folder.run(&["doctor", "--json"]);
    assert_eq!(doctor.status.code(), Some(1));
    assert!(
        stdout(&doctor).contains("is damaged") && stdout(&doctor).contains("move the file away"),
        "{}",
        stdout(&doctor)
    );
    check(&folder, &["kv", "stats"], 1, &["is damaged", "hint: Nothing was changed"]);
}

#[test]
fn operators_use_the_store_of_a_host_that_runs() {
    let folder = Folder::new(SMALL);
    let host = folder.serve();
    operators_work(&folder);
    let audit = folder.audit();
    assert!(!audit.iter().any(|line| line["command"] == "kv"), "all of it through the host");
    // What is in the store outlasts the host.
    assert!(host.stop().success());
    assert_eq!(folder.json(&["kv", "get", "shared", "a", "--json"])["version"], 1);
}

#[test]
fn a_watch_prints_changes_until_it_is_interrupted() {
    for with_host in [true, false] {
        let folder = Folder::new("");
        let host = with_host.then(|| folder.serve());
        let server = (!with_host).then(|| Server::start(false));
        if let Some(server) = &server {
            // Without a host two commands share no file, and so a server.
            let Some(server) = server else { return };
            redis(&folder, server);
        }
        folder.json(&["kv", "set", "shared", "a", "before", "--json"]);
        let mut command = folder.command(&["kv", "watch", "shared", "--json", "--after", "0"]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("a command");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut next = || {
            let line = lines.next().expect("a line").expect("text");
            serde_json::from_str::<Value>(&line).expect("JSON")
        };
        assert_eq!(next()["text"], "before");
        folder.json(&["kv", "set", "shared", "b", "x\u{1b}[2J", "--json"]);
        let change = next();
        assert_eq!((&change["change"], &change["key"], &change["version"]), (&json!("set"), &json!("b"), &json!(2)));
        folder.json(&["kv", "delete", "shared", "b", "--json"]);
        assert_eq!(next()["change"], "delete");
        interrupt(&child);
        assert_eq!(child.wait().expect("an end").code(), Some(0));
        drop(host);
    }
}

/// Puts the store of a folder at a server.
fn redis(folder: &Folder, server: &Server) {
    let config = format!("[store]\nurl = {:?}\n", server.options(None).url);
    let path = folder.path().join("portcullis.toml");
    let before = fs::read_to_string(&path).expect("a configuration");
    fs::write(path, format!("{config}{before}")).expect("a configuration");
}

#[test]
fn operators_use_a_server() {
    let Some(server) = Server::start(true) else { return };
    let folder = Folder::new(SMALL);
    redis(&folder, &server);
    operators_work(&folder);
    let doctor = folder.json(&["doctor", "--json"]);
    let findings = doctor["findings"].to_string();
    assert!(
        doctor["ok"] == true && findings.contains("appendfsync always") && findings.contains("noeviction"),
        "{doctor:#}"
    );
    server.say("CONFIG SET appendfsync everysec");
    server.say("CONFIG SET maxmemory-policy allkeys-lru");
    server.say("CONFIG SET maxmemory 100000000");
    let doctor = folder.run(&["doctor"]);
    assert_eq!(doctor.status.code(), Some(1));
    for expected in [
        "warn  a crash of the server loses the last seconds",
        "in redis.conf: appendfsync always",
        "fault the server evicts",
        "maxmemory-policy noeviction",
    ] {
        assert!(stdout(&doctor).contains(expected), "{expected}: {}", stdout(&doctor));
    }
}

/// What `readyz`, `list`, `doctor` and `kv` say while the server is away, and that the host comes back by itself.
#[test]
fn a_store_that_is_away_is_said() {
    let Some(mut server) = Server::start(true) else { return };
    let folder = usual();
    redis(&folder, &server);
    let host = folder.serve();
    let ready = || raw::answer(raw::open(&host.address, "GET", "/readyz", &[], b""));
    assert_eq!(ready().status, 200);
    server.down();
    let answer = ready();
    assert_eq!((answer.status, answer.body.as_str()), (503, "not in order: the store\n"));
    check(&folder, &["list"], 1, &["error: the store of shared context is away", "hint: portcullis doctor"]);
    let listed = folder.run(&["list", "--json"]);
    assert_eq!(serde_json::from_slice::<Value>(&listed.stdout).expect("JSON").as_array().map(Vec::len), Some(3));
    let doctor = folder.run(&["doctor"]);
    assert!(
        doctor.status.code() == Some(1) && stdout(&doctor).contains("fault the store is away"),
        "{}",
        stdout(&doctor)
    );
    check(&folder, &["kv", "get", "shared", "a"], 2, &["unavailable", "`portcullis doctor` looks into it"]);
    assert_eq!(raw::call(&host.address, "echo_echo", json!({ "text": "on" }))["result"]["isError"], false);
    server.up();
    eventually(|| ready().status == 200);
}

/// Embedded, Redis, and back: entries, versions, writers and expiry are what they were.
#[test]
fn shared_context_moves_to_a_server_and_back() {
    let Some(server) = Server::start(true) else { return };
    let here = Folder::new("");
    let host = here.serve();
    for at in 0..300 {
        let value = format!("{at}\u{1b}\n").repeat(1 + at % 7);
        let ttl = if at % 3 == 0 { "10h" } else { "20h" };
        let arguments = ["kv", "set", if at % 2 == 0 { "even" } else { "odd" }, &format!("k{at}"), "-", "--ttl", ttl];
        assert!(fed(&here, &arguments, value.as_bytes()).status.success());
    }
    assert!(fed(&here, &["kv", "set", "even", "bytes", "-"], b"\xff\x00").status.success());
    let large = vec![0x01; 1 << 20];
    assert!(fed(&here, &["kv", "set", "odd", "large", "-"], &large).status.success());
    here.json(&["kv", "delete", "even", "k0", "--json"]);
    let first = here.run(&["kv", "export"]);
    assert!(first.status.success() && first.stdout.iter().all(|byte| *byte != 0x1b), "no byte that a terminal obeys");
    assert!(host.stop().success());
    assert_eq!(first.stdout, here.run(&["kv", "export"]).stdout, "with a host and without");
    fs::write(here.path().join("export.jsonl"), &first.stdout).expect("written");

    let there = Folder::new("");
    redis(&there, &server);
    let imported = fed(&there, &["kv", "import", "--json"], &first.stdout);
    assert!(imported.status.success(), "{}", stderr(&imported));
    assert_eq!(
        serde_json::from_slice::<Value>(&imported.stdout).expect("JSON"),
        json!({ "buckets": 2, "entries": 301 })
    );
    let second = there.run(&["kv", "export"]);
    assert!(second.stdout == first.stdout, "the same at the server");
    // A second time is as good as once, until somebody else has written.
    assert!(fed(&there, &["kv", "import"], &first.stdout).status.success());
    assert_eq!(there.json(&["kv", "set", "even", "new", "1", "--json"])["version"], 153, "versions go on");
    let late = fed(&there, &["kv", "import"], &first.stdout);
    assert_eq!(late.status.code(), Some(1));
    assert!(stderr(&late).contains("was written already") && stderr(&late).contains("hint: "), "{}", stderr(&late));

    let back = Folder::new("");
    let third = there.run(&["kv", "export", "even", "odd"]);
    let _host = back.serve();
    assert!(fed(&back, &["kv", "import", "-"], &third.stdout).status.success());
    assert!(back.run(&["kv", "export"]).stdout == third.stdout, "the same again");
    assert_eq!(back.json(&["kv", "get", "odd", "large", "--json"])["version"], 151);

    for (line, expected) in [
        ("nonsense\n", "Line 1 cannot be imported: it is no line of an export"),
        ("{\"kvExport\":2,\"bucket\":\"b\",\"version\":1}\n", "it has format 2"),
        (&third_line(&first.stdout), "it is of no bucket that began before it"),
    ] {
        let output = fed(&back, &["kv", "import"], line.as_bytes());
        assert!(output.status.code() == Some(1) && stderr(&output).contains(expected), "{line}: {}", stderr(&output));
    }
}

fn third_line(export: &[u8]) -> String {
    let line = export.split(|byte| *byte == b'\n').nth(2).expect("a line");
    String::from_utf8(line.to_owned()).expect("text")
}
