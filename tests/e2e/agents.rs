//! Who may call what: keys, roles, sessions, and that what one may not call does not exist (A1 to A7).

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpStream,
    process::Stdio,
};

use serde_json::{Value, json};

use crate::{
    host::{Folder, Served, plugins, usual_plugins},
    raw::{self, Answer, USUAL},
    tools::{script, tests},
};

const ROLES: &str = "
[roles.reader]
allow = [\"echo_*\", \"outcomes_fail\"]
[roles.worker]
allow = [\"*\"]
deny = [\"outcomes/*\"]
[agents.alice]
role = \"reader\"
[agents.bob]
role = \"worker\"
";

fn team() -> Folder {
    Folder::new(&format!("{}{ROLES}", plugins(&usual_plugins())))
}

/// Makes a key: its text and its id.
pub(crate) fn key(folder: &Folder, agent: &str) -> (String, String) {
    let made = folder.json(&["key", "new", agent, "--json"]);
    let text = |name: &str| made[name].as_str().expect("a text").to_owned();
    (text("key"), text("id"))
}

/// A client of one agent.
pub(crate) struct Client<'a> {
    host: &'a Served,
    bearer: String,
}

impl<'a> Client<'a> {
    /// One that shows this key.
    pub(crate) fn new(host: &'a Served, key: &str) -> Self {
        Self { host, bearer: format!("Bearer {key}") }
    }

    /// A request of the newer era.
    pub(crate) fn newer(&self, method: &str, params: Value) -> Answer {
        raw::answer(self.open(method, params))
    }

    /// The same, with the reply left to read.
    pub(crate) fn open(&self, method: &str, params: Value) -> TcpStream {
        raw::open_modern_with(&self.host.address, method, params, &[("Authorization", &self.bearer)])
    }

    /// The stream of what the host says by itself in a session of the older era.
    pub(crate) fn listen(&self, session: &str) -> BufReader<TcpStream> {
        let mut headers = USUAL.to_vec();
        headers.extend([("Authorization", &*self.bearer), ("Mcp-Session-Id", session)]);
        let mut reader = BufReader::new(raw::open(&self.host.address, "GET", "/mcp", &headers, b""));
        assert_eq!(raw::head(&mut reader).0, 200);
        reader
    }

    /// A message of the older era.
    pub(crate) fn older(&self, session: Option<&str>, body: &Value) -> Answer {
        let mut headers = USUAL.to_vec();
        headers.push(("Authorization", &self.bearer));
        headers.extend(session.map(|session| ("Mcp-Session-Id", session)));
        raw::post(&self.host.address, &headers, body.to_string().as_bytes())
    }

    /// A session of the older era.
    pub(crate) fn session(&self) -> String {
        let client = json!({ "name": "test", "version": "1" });
        let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client });
        let answer = self.older(None, &json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params }));
        let session = answer.header("mcp-session-id").expect("a session").to_owned();
        self.older(Some(&session), &json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        session
    }

    /// Ends a session of the older era.
    pub(crate) fn delete(&self, session: &str) {
        let mut headers = USUAL.to_vec();
        headers.extend([("Authorization", &*self.bearer), ("Mcp-Session-Id", session)]);
        let status = raw::answer(raw::open(&self.host.address, "DELETE", "/mcp", &headers, b"")).status;
        assert!(status < 300, "{status}");
    }

    fn tools(&self) -> Vec<String> {
        names(&self.newer("tools/list", json!({})).message())
    }
}

fn names(list: &Value) -> Vec<String> {
    let tools = list["result"]["tools"].as_array().unwrap_or_else(|| panic!("a list: {list:#}"));
    tools.iter().map(|tool| tool["name"].as_str().expect("a name").to_owned()).collect()
}

/// A1, A5.
#[test]
fn nobody_comes_in_without_a_key() {
    let folder = team();
    let (alice, _) = key(&folder, "alice");
    let host = folder.serve();
    let ping = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }).to_string();
    let ask = |path: &str, authorization: &[&str]| {
        let mut headers = USUAL.to_vec();
        headers.extend(authorization.iter().map(|value| ("Authorization", *value)));
        raw::answer(raw::open(&host.address, "POST", path, &headers, ping.as_bytes()))
    };
    let good = format!("Bearer {alice}");
    for (path, authorization, status) in [
        ("/mcp", vec![], 401),
        ("/mcp", vec!["Bearer "], 400),
        ("/mcp", vec!["Bearer pck_000000000000_AAAA"], 401),
        ("/mcp", vec![&*format!("Bearer {}", &alice[..alice.len() - 1])], 401),
        ("/mcp", vec![&*format!("Bearer {}", alice.to_uppercase())], 401),
        ("/mcp", vec![&*format!("Basic {alice}")], 400),
        ("/mcp", vec![&*alice], 400),
        ("/mcp", vec![&good, &good], 400),
        (&*format!("/mcp?access_token={alice}"), vec![], 400),
        (&*format!("/mcp?a=b&access_token={alice}"), vec![&good], 400),
    ] {
        let answer = ask(path, &authorization);
        assert_eq!(answer.status, status, "{authorization:?}: {answer:?}");
        let challenge = answer.header("www-authenticate").expect("a challenge");
        assert!(challenge.starts_with("Bearer "), "{challenge}");
        assert!(!answer.body.contains("alice"), "{answer:?}");
    }
    assert_ne!(ask("/mcp", &[&good]).status, 401);
    // Health is nobody's secret.
    assert_eq!(raw::answer(raw::open(&host.address, "GET", "/healthz", &[], b"")).status, 200);
    assert_eq!(host.stop().code(), Some(0));
    let audit = fs::read_to_string(folder.path().join(".portcullis/audit.jsonl")).expect("the audit log");
    assert!(audit.contains("log-in.refused") && !audit.contains(&alice[..24]), "A12");
}

/// A4, A6: lists differ, and what is not one's own answers as what is not there.
#[test]
fn what_one_may_not_call_does_not_exist() {
    let folder = team();
    let (alice, bob) = (key(&folder, "alice").0, key(&folder, "bob").0);
    let host = folder.serve();
    let (alice, bob) = (Client::new(&host, &alice), Client::new(&host, &bob));
    assert_eq!(alice.tools(), ["echo_echo", "outcomes_fail"]);
    let theirs = bob.tools();
    assert!(theirs.contains(&"progress_count".to_owned()) || theirs.iter().any(|tool| tool.starts_with("progress_")));
    assert!(!theirs.iter().any(|tool| tool.starts_with("outcomes_")), "{theirs:?}");
    for (client, hidden) in [(&alice, "progress_work"), (&bob, "outcomes_trap")] {
        let session = client.session();
        let call = |name: &str| json!({ "name": name, "arguments": {} });
        let older = |name: &str| {
            let request = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call(name) });
            client.older(Some(&session), &request)
        };
        let newer = |name: &str| client.newer("tools/call", call(name));
        for ask in [&older as &dyn Fn(&str) -> Answer, &newer] {
            // Of one length, so that the answers can be compared whole.
            let missing = "x".repeat(hidden.len());
            let (theirs, nobodys) = (ask(hidden), ask(&missing));
            assert_eq!(theirs.status, nobodys.status);
            assert_eq!(theirs.message().to_string(), nobodys.message().to_string().replace(&missing, hidden));
            assert_eq!(theirs.message()["error"]["code"], -32602, "{theirs:?}");
        }
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" });
        assert_eq!(names(&client.older(Some(&session), &request).message()), client.tools());
    }
    let said = alice.newer("tools/call", json!({ "name": "echo_echo", "arguments": { "text": "hi" } })).message();
    assert_eq!(said["result"]["structuredContent"]["result"], "hi", "{said:#}");
    let audit = folder.audit();
    let denied = audit.iter().find(|line| line["outcome"] == "denied").expect("a denial");
    assert!(denied["rule"].as_str().is_some_and(|rule| rule.contains("role")), "{denied:#}");
    let intent = audit.iter().find(|line| line["event"] == "call.intent" && line["principal"] == "alice");
    assert!(intent.is_some(), "the principal stands in the record");
}

/// A3 and revocation: from the next request on, in a live session too. Another's session is none.
#[test]
fn sessions_belong_to_their_agent_and_end_with_its_key() {
    let folder = team();
    let ((alice_key, alice_id), (bob_key, _)) = (key(&folder, "alice"), key(&folder, "bob"));
    let host = folder.serve();
    let (alice, bob) = (Client::new(&host, &alice_key), Client::new(&host, &bob_key));
    let session = alice.session();
    let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" });
    assert_eq!(alice.older(Some(&session), &list).status, 200);
    let stolen = bob.older(Some(&session), &list);
    let unknown = bob.older(Some("00000000-0000-4000-8000-000000000000"), &list);
    assert_eq!((stolen.status, &stolen.body), (unknown.status, &unknown.body));
    assert_eq!(stolen.status, 404);
    // A role that changes: the next list.
    let path = folder.path().join("portcullis.toml");
    let config = fs::read_to_string(&path).expect("a configuration");
    fs::write(&path, config.replace("\"outcomes_fail\"", "\"outcomes_trap\"")).expect("a configuration");
    crate::host::eventually(|| {
        names(&alice.older(Some(&session), &list).message()).contains(&"outcomes_trap".to_owned())
    });
    // A second key takes over without a gap; then the first goes.
    let (second, _) = key(&folder, "alice");
    folder.json(&["key", "revoke", &alice_id, "--json"]);
    crate::host::eventually(|| alice.older(Some(&session), &list).status == 401);
    assert_eq!(Client::new(&host, &second).older(Some(&session), &list).status, 200, "the session is the agent's");
    let keys = folder.json(&["key", "list", "--json"]);
    let states: Vec<_> = keys.as_array().expect("keys").iter().map(|key| key["state"].clone()).collect();
    assert_eq!(states, ["revoked", "good", "good"]);
    for file in [".portcullis/keys/keys.json", ".portcullis/audit.jsonl"] {
        let text = fs::read_to_string(folder.path().join(file)).expect("a file");
        for key in [&alice_key, &bob_key, &second] {
            assert!(!text.contains(&key[20..]), "A2: {file}");
        }
    }
}

#[test]
fn the_configuration_of_a_team_is_checked() {
    let config = |text: &str| format!("{}{text}", plugins(&[]));
    for (text, expected) in [
        ("[agents.alice]\nrole = \"none\"\n", "has the role `none`, which is none"),
        ("[agents.alice]\n", "missing field `role`"),
        ("[roles.r]\nallow = [\"a b\"]\n", "expected a tool as `search`"),
        ("[roles.r]\ngrant = [\"a\"]\n", "unknown field `grant`"),
        ("[roles.r]\n[agents.a]\nrole = \"r\"\n[agents.A]\nrole = \"r\"\n", "differ by case alone"),
    ] {
        let output = Folder::unapproved(&config(text)).run(&["check"]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.code() == Some(1) && told.contains(expected) && told.contains("hint: "),
            "{text}: {told}"
        );
    }
    let folder = team();
    for arguments in [&["key", "new", "eve"] as &[_], &["serve", "--stdio", "--agent", "eve"]] {
        let output = folder.run(arguments);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains("There is no agent `eve`") && told.contains("hint: "), "{told}");
    }
}

#[test]
fn over_stdio_an_agent_has_its_role() {
    let folder = team();
    let mut client = folder.stdio_as("alice");
    client.initialize();
    client.send(&json!({ "jsonrpc": "2.0", "id": 5, "method": "tools/list" }));
    assert_eq!(names(&client.reply(5)), ["echo_echo", "outcomes_fail"]);
}

/// A key that crosses a network in the clear is everybody's on the way: that is said, unless TLS or a proxy is there.
#[test]
fn a_door_to_other_machines_without_tls_says_so() {
    let said = |folder: &Folder, address: &str| {
        let mut child = folder.command(&["serve", "--http", address]).stderr(Stdio::piped()).spawn().expect("a host");
        let lines = BufReader::new(child.stderr.take().expect("a pipe")).lines().map_while(Result::ok);
        let told: Vec<_> = lines.take_while(|line| !line.contains("serving at ")).collect();
        child.kill().expect("killed");
        child.wait().expect("an end");
        told.join("\n")
    };
    let warning =
        "keys cross the network in the clear: write `[server.tls]` with `cert` and `key`, or `trusted-proxies`";
    let folder = team();
    assert!(said(&folder, "0.0.0.0:0").contains(warning));
    assert!(!said(&folder, "127.0.0.1:0").contains("in the clear"));
    let path = folder.path().join("portcullis.toml");
    let config = fs::read_to_string(&path).expect("a configuration");
    let behind = config.replace("[server]\n", "[server]\ntrusted-proxies = [\"10.0.0.0/8\"]\n");
    fs::write(&path, behind).expect("a configuration");
    assert!(!said(&folder, "0.0.0.0:0").contains("in the clear"));
    let open = Folder::new(&plugins(&usual_plugins())).run(&["serve", "--http", "0.0.0.0:0"]);
    assert_eq!(open.status.code(), Some(1), "without authentication it is refused");
}

/// What the page tells people to write for their client: the address and the header that come of it let one in. The clients
/// of the three programs are not here; real ones are, which send what those are told to.
#[test]
fn the_clients_of_the_page_come_in() {
    let page = fs::read_to_string(tests().join("../README.md")).expect("the page");
    let row = |name: &str| {
        let line = page.lines().find(|line| line.starts_with(&format!("| {name}"))).expect(name);
        line.split('`').rev().nth(1).expect("what to write").to_owned()
    };
    let json = |name: &str, path: &str| {
        let written: Value = serde_json::from_str(&row(name)).expect(name);
        let host = written.pointer(path).expect("the host").clone();
        let text = |at: &str| host.pointer(at).and_then(Value::as_str).expect(at).to_owned();
        (text("/url"), text("/headers/Authorization"))
    };
    let command = row("Claude Code");
    let words: Vec<_> = command.split(' ').collect();
    let url = words.iter().find(|word| word.starts_with("https://")).expect("an address");
    let (_, header) = command.split_once("--header \"Authorization: ").expect("a header");
    let claude = ((*url).to_owned(), header.trim_end_matches('"').to_owned());
    let roles = "[roles.worker]\nallow = [\"*\"]\n[agents.bob]\nrole = \"worker\"\n";
    let folder = Folder::new(&format!("{}{roles}", plugins(&usual_plugins())));
    let key = key(&folder, "bob").0;
    let host = folder.serve();
    for ((url, header), client) in [
        (claude, "py"),
        (json("VS Code", "/servers/portcullis"), "ts2"),
        (json("Cursor", "/mcpServers/portcullis"), "inspector"),
    ] {
        assert!(url.ends_with("/mcp"), "{url}");
        let (scheme, variable) = header.split_once(' ').expect("a scheme");
        assert!(["$PORTCULLIS_KEY", "${input:key}", "${env:PORTCULLIS_KEY}"].contains(&variable), "{variable}");
        let header = format!("{scheme} {key}");
        let arguments = [client, "--era", "auto", "--authorization", &header, "--http"];
        let Some(output) = script("clients/run", &[&arguments[..], &[&host.url()]].concat()) else { return };
        let saw: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(saw["ok"], true, "{client}: {saw:#}");
    }
}

/// The operator is told why, with the line.
#[test]
fn explain_names_the_rule_and_its_line() {
    let folder = team();
    let config = fs::read_to_string(folder.path().join("portcullis.toml")).expect("a configuration");
    let line = |text: &str| config.lines().position(|line| line.contains(text)).expect(text) + 1;
    for (agent, tool, allowed, reason, at) in [
        ("alice", "echo_echo", true, "`echo_*` in `allow`", Some(line("\"echo_*\""))),
        ("bob", "outcomes_trap", false, "`outcomes/*` in `deny`", Some(line("\"outcomes/*\""))),
        ("alice", "outcomes_trap", false, "no rule of the role `reader` allows it", None),
    ] {
        let told = folder.json(&["explain", "--agent", agent, tool, "--json"]);
        assert_eq!(
            (told["allowed"].as_bool(), told["line"].as_u64()),
            (Some(allowed), at.map(|at| at as u64)),
            "{told:#}"
        );
        assert!(told["reason"].as_str().is_some_and(|found| found.contains(reason)), "{told:#}");
    }
    let nothing = folder.run(&["explain", "--agent", "alice", "nothing"]);
    assert_eq!(nothing.status.code(), Some(1));
    assert_eq!(folder.run(&["explain", "echo"]).status.code(), Some(1));
}
