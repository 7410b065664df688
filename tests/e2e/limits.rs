//! How much an agent may ask for: calls at one time, calls a minute, fuel a day (S33, A8).

use std::{collections::BTreeSet, fs};

use serde_json::{Value, json};

use crate::{
    agents::{Client, key},
    host::{Folder, eventually, plugins, usual_plugins},
    raw::Answer,
};

const ROLE: &str = "
[roles.worker]
allow = [\"*\"]
";

fn team(agents: &str) -> Folder {
    Folder::new(&format!("{}{ROLE}{agents}", plugins(&usual_plugins())))
}

fn agent(name: &str, limits: &str) -> String {
    format!("[agents.{name}]\nrole = \"worker\"\n{limits}\n")
}

fn echo(client: &Client<'_>) -> Answer {
    client.newer("tools/call", json!({ "name": "echo_echo", "arguments": { "text": "hi" } }))
}

fn told(answer: &Answer) -> String {
    let message = answer.message();
    assert_eq!(message["result"]["isError"], true, "{message:#}");
    message["result"]["content"][0]["text"].as_str().expect("a text").to_owned()
}

fn outcomes(folder: &Folder) -> BTreeSet<String> {
    folder.audit().iter().filter_map(|line| line["outcome"].as_str().map(str::to_owned)).collect()
}

/// With when to try again, in HTTP's words where the request is one call, and in the model's in any case.
#[test]
fn a_minute_has_so_many_calls() {
    let folder = team(&[agent("alice", "calls-per-minute = 3"), agent("bob", "")].concat());
    let (alice, bob) = (key(&folder, "alice").0, key(&folder, "bob").0);
    let host = folder.serve();
    let (alice, bob) = (Client::new(&host, &alice), Client::new(&host, &bob));
    let session = alice.session();
    for _ in 0..3 {
        assert_eq!(echo(&alice).message()["result"]["structuredContent"]["result"], "hi");
    }
    let refused = echo(&alice);
    assert_eq!(refused.status, 429, "{refused:?}");
    let after: u64 = refused.header("retry-after").and_then(|after| after.parse().ok()).expect("seconds");
    assert!((1..=20).contains(&after), "{after}");
    let text = told(&refused);
    assert!(text.contains("3 a minute (limit `calls-per-minute` of the agent); try again in "), "{text}");
    // In a session of the older era the reply is a stream, which has begun as a success.
    let call = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call",
                       "params": { "name": "echo_echo", "arguments": { "text": "hi" } } });
    assert!(told(&alice.older(Some(&session), &call)).contains("`calls-per-minute`"));
    // What one may not call does not exist, whatever one's limits say; and nobody else has less.
    let missing = alice.newer("tools/call", json!({ "name": "nothing", "arguments": {} }));
    assert_eq!((missing.status, &missing.message()["error"]["code"]), (200, &json!(-32602)));
    assert_eq!(echo(&bob).status, 200);
    let limited: Vec<_> = folder.audit().into_iter().filter(|line| line["outcome"] == "limited").collect();
    assert_eq!(limited.len(), 2, "{limited:#?}");
    assert_eq!(limited[0]["rule"], "`calls-per-minute` of the agent `alice`");
    // Another bound counts from the next call on.
    let path = folder.path().join("portcullis.toml");
    let config = fs::read_to_string(&path).expect("a configuration");
    fs::write(&path, config.replace("calls-per-minute = 3", "calls-per-minute = 300")).expect("a configuration");
    eventually(|| echo(&alice).status == 200);
}

#[test]
fn so_many_calls_run_at_one_time() {
    let folder = team(&agent("alice", "concurrency = 1\ncalls-per-minute = 10_000"));
    let alice = key(&folder, "alice").0;
    let host = folder.serve();
    let alice = Client::new(&host, &alice);
    let sleep = json!({ "name": "outcomes_sleep", "arguments": { "ms": 600_000 } });
    let first = alice.open("tools/call", sleep);
    eventually(|| folder.audit().iter().any(|line| line["tool"] == "outcomes_sleep"));
    let refused = echo(&alice);
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")));
    assert!(told(&refused).contains("1 are running already (limit `concurrency` of the agent)"));
    // The place comes free with its call, also where the client just goes away.
    drop(first);
    eventually(|| echo(&alice).status == 200);
    assert!(outcomes(&folder).is_superset(&["limited", "cancelled", "ok"].map(str::to_owned).into()));
}

/// A restart, in good order or not, gives nobody their fuel back.
#[test]
fn a_day_has_so_much_fuel() {
    let budget = 100_000_000_u64;
    let folder = team(&agent("alice", &format!("fuel-per-day = {budget}\ncalls-per-minute = 10_000")));
    let alice_key = key(&folder, "alice").0;
    let host = folder.serve();
    let spend = |client: &Client<'_>| {
        client.newer("tools/call", json!({ "name": "progress_work", "arguments": { "steps": 1, "ms_per_step": 1 } }))
    };
    let alice = Client::new(&host, &alice_key);
    let spin = alice.newer("tools/call", json!({ "name": "outcomes_spin", "arguments": {} }));
    assert_eq!(spin.status, 200, "it began within the budget");
    let refused = spend(&alice);
    assert_eq!(refused.status, 429, "{refused:?}");
    assert!(told(&refused).contains("`fuel-per-day`"));
    let after: u64 = refused.header("retry-after").and_then(|after| after.parse().ok()).expect("seconds");
    assert!(after <= 86_400, "{after}");
    // kill -9.
    drop(host);
    let host = folder.serve();
    assert_eq!(spend(&Client::new(&host, &alice_key)).status, 429);
    assert_eq!(host.stop().code(), Some(0));
    let host = folder.serve();
    assert_eq!(spend(&Client::new(&host, &alice_key)).status, 429);
    drop(host);
    let file = folder.path().join(".portcullis/agents/fuel.json");
    let page: Value = serde_json::from_str(&fs::read_to_string(&file).expect("the file")).expect("JSON");
    assert!(page["spent"]["alice"].as_u64().is_some_and(|spent| spent >= budget), "{page:#}");
    fs::write(&file, "{").expect("a file");
    let output = folder.run(&["serve"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("fuel") && said.contains("hint: "), "{said}");
}

/// Over standard input and output there is no status: the model is told.
#[test]
fn over_stdio_the_model_is_told() {
    let folder = team(&agent("alice", "calls-per-minute = 1"));
    let mut client = folder.stdio_as("alice");
    client.initialize();
    let call = json!({ "name": "echo_echo", "arguments": { "text": "hi" } });
    assert_eq!(client.request(1, "tools/call", call.clone())["result"]["structuredContent"]["result"], "hi");
    let refused = client.request(2, "tools/call", call);
    let text = refused["result"]["content"][0]["text"].as_str().expect("a text");
    assert!(text.contains("1 a minute") && text.contains("try again in "), "{text}");
    assert_eq!(refused["result"]["isError"], true);
}

#[test]
fn limits_are_checked_when_they_are_read() {
    for (limits, expected) in [
        (agent("a", "concurrency = 0"), "`agents.a.concurrency` must be from 1 to 5000: 0"),
        (agent("a", "calls-per-minute = 10_000_001"), "`agents.a.calls-per-minute` must be"),
        (agent("a", "fuel-per-day = 0"), "`agents.a.fuel-per-day` must be"),
        (agent("a", "calls = 1"), "unknown field `calls`"),
        ("[agent-defaults]\nconcurrency = 5001\n".to_owned(), "`agent-defaults.concurrency` must be"),
        ("[agent-defaults]\nrole = \"worker\"\n".to_owned(), "unknown field `role`"),
    ] {
        let output = Folder::unapproved(&format!("{ROLE}{limits}")).run(&["check"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.code() == Some(1) && said.contains(expected) && said.contains("hint: "),
            "{limits}: {said}"
        );
    }
}
