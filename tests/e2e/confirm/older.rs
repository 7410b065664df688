//! The older era: the person is asked while the call waits.

use std::{
    io::{BufReader, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use portcullis_artifacts as guests;
use serde_json::{Value, json};

use super::{ASKS, TEAM, asked, call, edit, error, folder, outcomes, said, yes};
use crate::{
    agents::key,
    host::{Folder, Piped, Served, eventually, plugins},
    raw,
};

/// A client on two pipes, which can ask or cannot.
fn piped(folder: &Folder, capabilities: Value) -> Piped {
    let mut client = folder.stdio();
    client.request(0, "initialize", hello(capabilities));
    client.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
    client
}

fn hello(capabilities: Value) -> Value {
    json!({ "protocolVersion": "2025-11-25", "capabilities": capabilities,
            "clientInfo": { "name": "test", "version": "1" } })
}

fn message(client: &Piped) -> Value {
    serde_json::from_str(&client.line()).expect("a message")
}

/// The question that the host asks, after which it waits.
fn question(client: &Piped) -> Value {
    loop {
        let message = message(client);
        if message["method"] == "elicitation/create" {
            return message;
        }
        assert!(message["result"].is_null(), "an answer without a question: {message:#}");
    }
}

fn begin(client: &mut Piped, id: u64, text: &str) {
    client.send(&json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": call(text) }));
}

fn reply(client: &mut Piped, question: &Value, answer: &Value) {
    client.send(&json!({ "jsonrpc": "2.0", "id": question["id"], "result": answer }));
}

/// What the person read, and what came of their answer.
fn ask(client: &mut Piped, text: &str, answer: &Value) -> (String, Value) {
    begin(client, 9, text);
    let asked = question(client);
    assert_eq!(asked["params"]["requestedSchema"]["type"], "object", "{asked:#}");
    reply(client, &asked, answer);
    (asked["params"]["message"].as_str().expect("a message").to_owned(), client.reply(9)["result"].clone())
}

#[test]
fn a_yes_runs_it_and_nothing_else_does() {
    let folder = folder(ASKS);
    let mut client = piped(&folder, json!({ "elicitation": {} }));
    let (told, result) = ask(&mut client, "a\u{202e}b\u{1b}[2J", &yes());
    assert_eq!(result["structuredContent"]["result"], "a\u{202e}b\u{1b}[2J", "{result:#}");
    assert!(told.contains("`echo_echo`") && told.contains("nothing outside its sandbox"), "{told}");
    assert!(told.contains("\\u{202e}") && !told.contains('\u{202e}') && !told.contains('\u{1b}'), "{told}");
    for (no, text) in [("decline", "declined"), ("cancel", "did not decide"), ("whatever", "nobody answered")] {
        let (_, result) = ask(&mut client, "hi", &json!({ "action": no }));
        assert!(error(&result).contains(text), "{result:#}");
    }
    // A client that cannot after all.
    begin(&mut client, 9, "hi");
    let asks = question(&client);
    client.send(&json!({ "jsonrpc": "2.0", "id": asks["id"], "error": { "code": -32601, "message": "no" } }));
    assert!(error(&client.reply(9)["result"]).contains("cannot ask"));
    let no = "not-confirmed";
    assert_eq!(outcomes(&folder), ["ok", no, no, no, no]);
    let answers = asked(&folder);
    assert_eq!(said(&answers), ["asked", "yes", "asked", "no", "asked", "dismissed", "asked", "none", "asked"]);
    // Who and what, in each line, and before what came of it.
    let audit = folder.audit();
    let place = |event: &str| audit.iter().position(|line| line["event"] == event).expect("a line");
    let order = ["call.intent", "call.asked", "call.answered", "call.outcome"].map(place);
    assert!(order.is_sorted(), "{order:?}");
    for at in &order[..3] {
        assert_eq!(audit[*at]["principal"], "local-operator");
        assert_eq!(audit[*at]["digest"], audit[order[0]]["digest"]);
    }
}

#[test]
fn a_client_that_cannot_ask_is_refused() {
    let folder = folder(ASKS);
    for capabilities in [json!({}), json!({ "elicitation": { "url": {} } })] {
        let mut client = piped(&folder, capabilities);
        let refused = client.request(9, "tools/call", call("hi"));
        assert!(error(&refused["result"]).contains("cannot ask"), "{refused:#}");
        // What needs nobody's word runs.
        let other = client.request(10, "tools/call", json!({ "name": "outcomes_fail", "arguments": {} }));
        assert!(other["result"]["content"][0]["text"].is_string(), "{other:#}");
        drop(client);
    }
    assert!(!outcomes(&folder).contains(&"ok".to_owned()));
    assert!(asked(&folder).is_empty());
}

#[test]
fn a_yes_may_count_for_the_session_and_no_longer() {
    let folder = folder(&format!("{ASKS}remember = \"session\"\n"));
    for _ in 0..2 {
        let mut client = piped(&folder, json!({ "elicitation": { "form": {} } }));
        // A no is not remembered.
        assert!(error(&ask(&mut client, "hi", &json!({ "action": "decline" })).1).contains("declined"));
        let (_, result) = ask(&mut client, "hi", &yes());
        assert_eq!(result["structuredContent"]["result"], "hi");
        let again = client.request(9, "tools/call", call("another"));
        assert_eq!(again["result"]["structuredContent"]["result"], "another", "{again:#}");
    }
    assert_eq!(said(&asked(&folder)), ["asked", "no", "asked", "yes", "remembered"].repeat(2));
}

/// Nobody's slot is held, and the deadline begins with the answer.
#[test]
fn a_person_may_think_longer_than_the_call_may_take() {
    let team = TEAM.replace("[agents.bob]", "concurrency = 1\n[agents.bob]");
    let limits = "[plugins.outcomes.limits]\nconcurrency = 1\ndeadline = \"1s\"\n";
    let folder = folder(&format!("{limits}[plugins.outcomes.tool.sleep]\nconfirm = true\n{team}"));
    let mut client = folder.stdio_as("alice");
    client.request(0, "initialize", hello(json!({ "elicitation": {} })));
    client.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
    let sleep = json!({ "name": "outcomes_sleep", "arguments": { "ms": 50 } });
    client.send(&json!({ "jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": sleep }));
    let asks = question(&client);
    let began = Instant::now();
    eventually(|| began.elapsed() > Duration::from_millis(1100));
    // The same agent, of which one call may be in flight, and the same plugin, of which one may run.
    let other = client.request(10, "tools/call", json!({ "name": "outcomes_fail", "arguments": { "message": "no" } }));
    assert!(error(&other["result"]).contains("no") && !error(&other["result"]).contains("too many"), "{other:#}");
    reply(&mut client, &asks, &yes());
    let slept = client.reply(9);
    assert_eq!(slept["result"]["isError"], false, "{slept:#}");
}

#[test]
fn an_answer_comes_in_time_or_not_at_all() {
    let folder = folder(ASKS);
    edit(&folder, "[server]\n", "[server]\nconfirm-timeout = \"1s\"\n");
    let mut client = piped(&folder, json!({ "elicitation": {} }));
    begin(&mut client, 9, "hi");
    let asks = question(&client);
    let result = client.reply(9)["result"].clone();
    assert!(error(&result).contains("nobody answered in time"), "{result:#}");
    // Too late.
    reply(&mut client, &asks, &yes());
    assert!(error(&ask(&mut client, "hi", &json!({ "action": "decline" })).1).contains("declined"));
    assert_eq!(outcomes(&folder), ["not-confirmed", "not-confirmed"]);
}

/// So many questions wait, and one that is called off is taken back from the client and makes room.
#[test]
fn questions_are_bounded_and_called_off() {
    let folder = folder(ASKS);
    let mut client = piped(&folder, json!({ "elicitation": {} }));
    let mut questions = Vec::new();
    for id in 0..16 {
        begin(&mut client, 100 + id, "hi");
        questions.push(question(&client));
    }
    let refused = client.request(9, "tools/call", call("hi"));
    assert!(error(&refused["result"]).contains("too many calls wait"), "{refused:#}");
    client.send(&json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 100 } }));
    let off = loop {
        let message = message(&client);
        if message["method"] == "notifications/cancelled" {
            break message;
        }
    };
    assert_eq!(off["params"]["requestId"], questions[0]["id"], "{off:#}");
    let (_, result) = ask(&mut client, "room", &yes());
    assert_eq!(result["structuredContent"]["result"], "room");
    // An answer runs the call that it is about, and no other.
    reply(&mut client, &questions[5], &yes());
    assert_eq!(client.reply(105)["result"]["isError"], false);
    // With the client go its questions: each call has its end, and no other ran.
    client.leave();
    let count = |event: &str| folder.audit().iter().filter(|line| line["event"] == event).count();
    eventually(|| count("call.intent") == count("call.outcome"));
    assert_eq!(outcomes(&folder).iter().filter(|outcome| *outcome == "ok").count(), 2);
}

/// A client of the older era over HTTP.
struct Http<'a> {
    host: &'a Served,
    bearer: String,
    session: String,
}

impl<'a> Http<'a> {
    fn open(host: &'a Served, bearer: &str) -> Self {
        let mut client = Self { host, bearer: bearer.to_owned(), session: String::new() };
        let params = hello(json!({ "elicitation": {} }));
        let answer = client.post(&json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params }));
        client.session = answer.header("mcp-session-id").expect("a session").to_owned();
        client.post(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        client
    }

    fn headers(&self) -> Vec<(&str, &str)> {
        let mut headers = raw::USUAL.to_vec();
        headers.push(("Authorization", &self.bearer));
        if !self.session.is_empty() {
            headers.extend([("Mcp-Session-Id", self.session.as_str()), ("MCP-Protocol-Version", "2025-11-25")]);
        }
        headers
    }

    fn post(&self, message: &Value) -> raw::Answer {
        raw::post(&self.host.address, &self.headers(), message.to_string().as_bytes())
    }

    /// A call, and the question that comes in its own stream.
    fn begin(&self, id: u64, text: &str) -> (BufReader<TcpStream>, Value) {
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": call(text) }).to_string();
        let stream = raw::open(&self.host.address, "POST", "/mcp", &self.headers(), body.as_bytes());
        let mut reader = BufReader::new(stream);
        assert_eq!(raw::head(&mut reader).0, 200);
        let line = raw::heard(&mut reader, "elicitation/create");
        let question = line.trim().strip_prefix("data:").expect("an event").trim();
        (reader, serde_json::from_str(question).expect("a message"))
    }

    fn reply(&self, question: &Value, answer: &Value) -> u16 {
        self.post(&json!({ "jsonrpc": "2.0", "id": question["id"], "result": answer })).status
    }
}

fn team() -> (Folder, String, String) {
    let folder = folder(&format!("{ASKS}{TEAM}"));
    let bearer = |name: &str| format!("Bearer {}", key(&folder, name).0);
    let (alice, bob) = (bearer("alice"), bearer("bob"));
    (folder, alice, bob)
}

/// Nobody answers for another: neither in their session, nor in a session of one's own.
#[test]
fn an_answer_is_of_the_session_that_was_asked() {
    let (folder, alice, bob) = team();
    let host = folder.serve();
    let (mine, theirs) = (Http::open(&host, &alice), Http::open(&host, &bob));
    // Several at a time: each question comes with its own call.
    let (mut first, asks) = mine.begin(1, "first");
    let (mut second, asks_second) = mine.begin(2, "second");
    assert!(asks["params"]["message"].as_str().is_some_and(|told| told.contains("`alice`") && told.contains("first")));
    let forged = Http { host: &host, bearer: bob.clone(), session: mine.session.clone() };
    assert_eq!(forged.reply(&asks, &yes()), 404);
    assert_eq!(theirs.reply(&asks, &yes()), 202, "an answer to nothing");
    assert_eq!(outcomes(&folder).len(), 0, "both wait");
    assert_eq!(mine.reply(&asks_second, &yes()), 202);
    raw::heard(&mut second, "\"result\":\"second\"");
    assert_eq!(mine.reply(&asks, &json!({ "action": "decline" })), 202);
    raw::heard(&mut first, "declined");
    assert_eq!(outcomes(&folder), ["ok", "not-confirmed"]);
}

/// What one session has said yes to, another has not, of the same agent or another.
#[test]
fn a_session_remembers_for_itself() {
    let folder = folder(&format!("{ASKS}remember = \"session\"\n{TEAM}"));
    let bearer = |name: &str| format!("Bearer {}", key(&folder, name).0);
    let (alice, bob) = (bearer("alice"), bearer("bob"));
    let host = folder.serve();
    let first = Http::open(&host, &alice);
    let (mut stream, asks) = first.begin(1, "hi");
    assert_eq!(first.reply(&asks, &yes()), 202);
    raw::heard(&mut stream, "\"result\":\"hi\"");
    let again = first.post(&json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call("ho") }));
    assert_eq!(again.message()["result"]["structuredContent"]["result"], "ho", "{again:?}");
    for other in [&alice, &bob] {
        let client = Http::open(&host, other);
        let (mut stream, asks) = client.begin(1, "hi");
        assert_eq!(client.reply(&asks, &json!({ "action": "decline" })), 202);
        raw::heard(&mut stream, "declined");
    }
    // And it is another tool once it may do more.
    edit(&folder, "[plugins.echo.tool.echo]", "[plugins.echo.grants]\nenv = { A = \"b\" }\n[plugins.echo.tool.echo]");
    folder.json(&["list", "--json"]);
    let (mut stream, asks) = first.begin(3, "hi");
    assert_eq!(first.reply(&asks, &json!({ "action": "cancel" })), 202);
    raw::heard(&mut stream, "did not decide");
}

/// What one may do is decided again when the answer comes.
#[test]
fn what_changed_meanwhile_is_not_what_was_approved() {
    let (folder, alice, _) = team();
    let host = folder.serve();
    let client = Http::open(&host, &alice);
    let (mut stream, asks) = client.begin(1, "hi");
    edit(&folder, "confirm = true", "confirm = true\n[plugins.echo.tool.echo.limits]\ndeadline = \"2s\"");
    folder.json(&["list", "--json"]);
    assert_eq!(client.reply(&asks, &yes()), 202);
    raw::heard(&mut stream, "changed while a person was asked");
    let (mut stream, asks) = client.begin(2, "hi");
    edit(&folder, "allow = [\"*\"]", "allow = [\"*\"]\ndeny = [\"echo_*\"]");
    folder.json(&["list", "--json"]);
    assert_eq!(client.reply(&asks, &yes()), 202);
    raw::heard(&mut stream, "changed while a person was asked");
    assert_eq!(outcomes(&folder), ["not-confirmed", "not-confirmed"]);
}

/// The question names what the call may reach, and nothing of this machine.
#[test]
fn the_question_names_the_grants_and_no_secret() {
    let dir = tempfile::tempdir().expect("a folder");
    let config = format!(
        "{}[plugins.echo.grants]\nhttp = [\"GET https://api.example/v1/**\"]\nenv = {{ TOKEN = \"canary-env\" }}\n\
         secrets = [{{ name = \"api\", header = \"x-key\", to = \"https://api.example\" }}]\n\
         files = [{{ host = {:?}, guest = \"/data\", access = \"read\" }}]\nkv = [{{ bucket = \"shared\", prefix = \"w/\", access = \"read\" }}]\n\
         {ASKS}[secrets.api]\nfile = \"secret\"\n",
        plugins(&[("echo", guests::ECHO)]),
        dir.path()
    );
    let folder = Folder::unapproved(&config);
    std::fs::File::create(folder.path().join("secret"))
        .and_then(|mut f| f.write_all(b"canary-secret"))
        .expect("a secret");
    #[cfg(unix)]
    std::fs::set_permissions(folder.path().join("secret"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .expect("a mode");
    folder.approve_all();
    let mut client = piped(&folder, json!({ "elicitation": {} }));
    let long = "y".repeat(10_000);
    let (told, result) = ask(&mut client, &long, &yes());
    assert_eq!(result["isError"], false, "{result:#}");
    for part in
        ["GET https://api.example/v1/**", "/data, read", "`shared`", "`w/…`", "TOKEN", "`api`", "characters more"]
    {
        assert!(told.contains(part), "{part} in {told}");
    }
    for part in ["canary", dir.path().to_str().expect("a path")] {
        assert!(!told.contains(part), "{part} in {told}");
    }
    assert!(told.len() < 8000, "{}", told.len());
    assert!(!std::fs::read_to_string(folder.path().join(".portcullis/audit.jsonl")).expect("a log").contains("yyyy"));
}
