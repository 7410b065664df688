//! What was approved is what runs: attacks P1 to P20 of `THREATS.md`, and the flow of approval, through the real binary.

mod bytes;
mod change;
mod crash;
mod definitions;
mod doors;
mod lock;
mod made;
mod names;
mod people;
mod reload;
mod review;
pub(crate) mod terminal;

use std::{
    fs,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    host::{Folder, Served, stderr},
    raw,
};
use made::answering;

/// A change reaches clients within a second; machines differ, and other tests run beside this one.
const BOUND: Duration = Duration::from_secs(10);

/// The plugins `first` and `other`, whose tools `first_answer` and `other_answer` answer 1 and 2. Both are approved.
fn house() -> Folder {
    house_with("")
}

/// The same, with more for `first` in the configuration.
fn house_with(first: &str) -> Folder {
    let folder = quarantined(first);
    folder.approve_all();
    folder
}

/// The same, and nobody has approved anything.
fn quarantined(first: &str) -> Folder {
    let folder = Folder::unapproved("");
    configure(&folder, &both(first));
    put(&folder, "first.wasm", &answering(1));
    put(&folder, "other.wasm", &answering(2));
    // For those who grant it.
    fs::create_dir(folder.path().join("data")).expect("a folder");
    folder
}

/// The configuration of both plugins.
fn both(first: &str) -> String {
    format!("[plugins.other]\nsource = \"other.wasm\"\n[plugins.first]\nsource = \"first.wasm\"\n{first}\n")
}

/// Writes the configuration, with a server that takes a free port.
fn configure(folder: &Folder, text: &str) {
    put(folder, "portcullis.toml", format!("{text}\n[server]\nhttp = \"127.0.0.1:0\"\n").as_bytes());
}

/// Puts a file in its place at once, as an editor or a compiler does.
fn put(folder: &Folder, name: &str, bytes: &[u8]) {
    let new = folder.path().join(format!("{name}.new"));
    fs::write(&new, bytes).expect("a file");
    fs::rename(new, folder.path().join(name)).expect("a file in its place");
}

/// A copy of a folder with its state, as it is.
fn copy_of(folder: &Folder) -> Folder {
    let copy = Folder::unapproved("");
    let from = folder.path().join(".");
    let copied = Command::new("cp").arg("-a").arg(from).arg(copy.path()).status().expect("cp");
    assert!(copied.success());
    copy
}

/// A file of what was approved, in the state directory.
fn kept(folder: &Folder, name: &str) -> PathBuf {
    folder.path().join(".portcullis/trust").join(name)
}

/// How a plugin stands, as `list --json` has it.
fn status(folder: &Folder, plugin: &str) -> Value {
    let listed = folder.run(&["list", "--json"]);
    let all: Value = serde_json::from_slice(&listed.stdout).unwrap_or_else(|_| panic!("{}", stderr(&listed)));
    all.as_array().into_iter().flatten().find(|status| status["name"] == plugin).expect("the plugin").clone()
}

/// Asserts how `first` stands, and returns the whole status.
fn stands(folder: &Folder, state: &str) -> Value {
    let status = status(folder, "first");
    assert_eq!(status["state"], state, "{status:#}");
    status
}

/// The digest of what lies at the source of `first`.
fn digest(folder: &Folder) -> String {
    status(folder, "first")["digest"].as_str().expect("a digest").to_owned()
}

/// Runs a command that succeeds.
fn done(folder: &Folder, arguments: &[&str]) -> String {
    let output = folder.run(arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
    String::from_utf8(output.stdout).expect("text")
}

/// Approves `first` as it lies there.
fn approve(folder: &Folder) {
    done(folder, &["approve", "first", "--sha256", &digest(folder)]);
}

/// Runs a command that is refused, and asserts what it says.
fn refused(folder: &Folder, arguments: &[&str], expected: &[&str]) -> String {
    let output = folder.run(arguments);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
    for text in expected {
        assert!(said.contains(text), "{arguments:?}: no {text:?} in:\n{said}");
    }
    said
}

/// The lines of the audit log with this event.
fn events(folder: &Folder, event: &str) -> Vec<Value> {
    folder.audit().into_iter().filter(|line| line["event"] == event).collect()
}

/// The definitions that clients get.
fn listed(host: &Served) -> Vec<Value> {
    let reply = raw::modern(&host.address, "tools/list", json!({})).message();
    let ttl = &reply["result"]["ttlMs"];
    assert!(ttl.as_u64().is_some_and(|ms| ms <= 60_000), "a list may be kept for a minute at most: {ttl}");
    reply["result"]["tools"].as_array().expect("tools").clone()
}

/// Their names.
fn tools(host: &Served) -> Vec<String> {
    listed(host).iter().map(|tool| tool["name"].as_str().expect("a name").to_owned()).collect()
}

/// What a tool without arguments answers, or the error of the protocol.
fn called(host: &Served, tool: &str) -> Value {
    let reply = raw::call(&host.address, tool, json!({}));
    let answered = &reply["result"]["structuredContent"]["result"];
    if answered.is_null() { reply.get("error").unwrap_or(&reply["result"]).clone() } else { answered.clone() }
}

/// Asserts that a tool is not there, for no client can tell why.
fn unknown(host: &Served, tool: &str) {
    assert!(!tools(host).iter().any(|name| name == tool), "{tool} is listed");
    let error = called(host, tool);
    assert_eq!(error["message"], format!("unknown tool: `{tool}`"), "{error:#}");
    assert_eq!(error["code"], -32602);
}

/// Asks until it holds.
fn within_bound(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + BOUND;
    while !holds() {
        assert!(Instant::now() < end, "{what}: not within {BOUND:?}");
    }
}

/// How many rounds of something that goes by chance, by an environment variable.
fn rounds(variable: &str) -> u32 {
    std::env::var(variable).ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(20)
}
