//! Shared context through the real binary: configured, approved, and used by agents at one host and at two.

use std::{
    thread,
    time::{Duration, Instant},
};

use portcullis_artifacts as guests;
use serde_json::{Value, json};

use crate::{
    host::{Folder, plugins},
    raw,
    redis::Server,
    tools::{script, succeeded},
};

const TEAM: &str = "
[roles.any]
allow = [\"*\"]
[agents.alice]
role = \"any\"
concurrency = 50
[agents.bob]
role = \"any\"
concurrency = 50
";

/// The plugin `notes` with these grants, and what else stands in the configuration.
fn folder(grants: &str, more: &str) -> Folder {
    let plugin = plugins(&[("notes", guests::SHARED)]);
    Folder::new(&format!("{plugin}[plugins.notes.grants]\n{grants}\n{more}"))
}

fn key(folder: &Folder, agent: &str) -> String {
    folder.json(&["key", "new", agent, "--json"])["key"].as_str().expect("a key").to_owned()
}

/// What a tool answers to the holder of a key.
fn call(address: &str, key: &str, tool: &str, arguments: Value) -> Value {
    let bearer = format!("Bearer {key}");
    let params = json!({ "name": tool, "arguments": arguments });
    let stream = raw::open_modern_with(address, "tools/call", params, &[("Authorization", &bearer)]);
    raw::answer(stream).message()["result"].clone()
}

fn result(address: &str, key: &str, tool: &str, arguments: Value) -> Value {
    let answer = call(address, key, tool, arguments);
    assert_ne!(answer["isError"], true, "{tool}: {answer:#}");
    answer["structuredContent"]["result"].clone()
}

const OWN: &str =
    "kv = [{ bucket = 'agent-{principal}', access = 'read-write' }, { bucket = 'shared', prefix = 'n/' }]";

/// One line of grants, and each agent has a memory that no other reaches, across restarts.
#[test]
fn each_agent_has_a_memory_of_its_own() {
    let folder = folder(OWN, TEAM);
    let (alice, bob) = (key(&folder, "alice"), key(&folder, "bob"));
    let set = |text: &str| json!({ "bucket": "agent-{principal}", "key": "note", "text": text, "when": "always" });
    let own = json!({ "bucket": "agent-{principal}", "key": "note" });
    let host = folder.serve();
    assert_eq!(result(&host.address, &alice, "notes_set", set("hers")), 1);
    assert_eq!(result(&host.address, &bob, "notes_get", own.clone()), Value::Null);
    assert_eq!(result(&host.address, &bob, "notes_set", set("his")), 1);
    assert_eq!(host.stop().code(), Some(0));
    let host = folder.serve();
    assert_eq!(result(&host.address, &alice, "notes_get", own.clone()), json!(["hers", 1, "alice", "notes"]));
    let named = json!({ "bucket": "agent-alice", "key": "note" });
    assert_eq!(result(&host.address, &alice, "notes_get", named.clone()), json!(["hers", 1, "alice", "notes"]));
    let refused = call(&host.address, &bob, "notes_get", named);
    assert!(refused["isError"] == true && refused.to_string().contains("access-denied"), "{refused:#}");
    // The operator learns which line is missing, and nobody else.
    let told = host.logged("a plugin was refused shared context");
    assert!(told.contains("in `[plugins.notes.grants]`: kv = [{ bucket = "), "{told}");
    let write = json!({ "bucket": "shared", "key": "n/a", "text": "x", "when": "always" });
    let refused = call(&host.address, &alice, "notes_set", write);
    assert!(refused.to_string().contains("access-denied"), "{refused:#}");
    assert!(host.logged("a plugin was refused shared context").contains("access"));
    assert_eq!(host.stop().code(), Some(0));
    let denied: Vec<_> = folder.audit().into_iter().filter(|line| line["event"] == "capability.denied").collect();
    let shown: Vec<_> = denied.iter().map(|line| (line["capability"].as_str(), line["target"].as_str())).collect();
    assert_eq!(shown, [(Some("kv"), Some("agent-alice")), (Some("kv"), Some("shared/n/a"))]);
}

/// P9: another bucket waits for approval, and the operator is told so, while what was approved goes on.
#[test]
fn a_bucket_that_is_not_approved_yet_is_denied() {
    let folder = folder("kv = [{ bucket = 'one', access = 'read-write' }]", "");
    let path = folder.path().join("portcullis.toml");
    let config = std::fs::read_to_string(&path).expect("a configuration");
    let wider = config.replace("access = 'read-write' }", "access = 'read-write' }, { bucket = 'two' }");
    std::fs::write(&path, wider).expect("a configuration");
    let host = folder.serve();
    let get =
        |bucket: &str| raw::call(&host.address, "notes_get", json!({ "bucket": bucket, "key": "a" }))["result"].clone();
    assert_eq!(get("one")["structuredContent"]["result"], Value::Null);
    assert!(get("two").to_string().contains("access-denied"));
    assert!(host.logged("a plugin was refused shared context").contains("portcullis diff notes"));
    let diff = folder.run(&["diff", "notes"]);
    assert!(String::from_utf8_lossy(&diff.stdout).contains("kv: two, keys *, read"), "{diff:?}");
}

/// Of fifty claimants at once through two hosts on one Redis, exactly one gets the entry.
#[test]
fn one_of_fifty_claimants_through_two_hosts_wins() {
    let Some(server) = Server::start(false) else { return };
    let grants = "kv = [{ bucket = 'shared', access = 'read-write' }]";
    let store = format!("[store]\nurl = \"{}\"\n", server.url());
    let folders = [folder(grants, &format!("{TEAM}{store}")), folder(grants, &format!("{TEAM}{store}"))];
    // One agent at each.
    let keys = [key(&folders[0], "alice"), key(&folders[1], "bob")];
    let hosts = [folders[0].serve(), folders[1].serve()];
    let addresses = [hosts[0].address.clone(), hosts[1].address.clone()];
    let at = |host: usize| addresses[host].as_str();
    for round in 0..5 {
        let winners: Vec<String> = thread::scope(|scope| {
            let claim = |claimant: usize| {
                let (host, key) = (at(claimant % 2), &keys[claimant % 2]);
                let who = format!("claimant {claimant}");
                let arguments = json!({ "bucket": "shared", "key": format!("task/{round}"), "who": who });
                (result(host, key, "notes_claim", arguments) == true).then_some(who)
            };
            let claimants: Vec<_> = (0..50).map(|claimant| scope.spawn(move || claim(claimant))).collect();
            claimants.into_iter().filter_map(|claimant| claimant.join().expect("an answer")).collect()
        });
        assert_eq!(winners.len(), 1, "round {round}: {winners:?}");
        for (host, key) in addresses.iter().zip(&keys) {
            let found = result(host, key, "notes_get", json!({ "bucket": "shared", "key": format!("task/{round}") }));
            assert_eq!(found[0], winners[0].as_str(), "both hosts say so");
        }
    }
    // What one host writes wakes who waits at the other.
    let after = result(
        at(1),
        &keys[1],
        "notes_changes",
        json!({ "bucket": "shared", "prefix": "task/", "after": 0, "wait_ms": 0 }),
    );
    let asked = json!({ "bucket": "shared", "prefix": "wake", "after": after[1], "wait_ms": 10_000 });
    thread::scope(|scope| {
        let waiter = scope.spawn(|| result(at(1), &keys[1], "notes_changes", asked));
        let text = json!({ "bucket": "shared", "key": "wake", "text": "up", "when": "always" });
        result(at(0), &keys[0], "notes_set", text);
        assert_eq!(waiter.join().expect("an answer")[0], json!(["set wake up"]));
    });
    for host in hosts {
        assert_eq!(host.stop().code(), Some(0));
    }
}

/// Processor time of a process so far.
#[cfg(target_os = "linux")]
fn computed(process: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("a process");
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    // In hundredths of a second, by proc_pid_stat(5).
    Duration::from_millis([11, 12].iter().map(|at| fields[*at].parse::<u64>().expect("a number") * 10).sum())
}

/// Calls that wait cost no processor, and end by themselves before their deadline.
#[cfg(target_os = "linux")]
#[test]
fn calls_that_wait_do_not_compute() {
    let grants = "kv = [{ bucket = 'shared', access = 'read-write' }]";
    let folder = folder(grants, "[plugins.notes.limits]\nconcurrency = 1\ndeadline = \"8s\"\n");
    let host = folder.serve();
    let (address, process) = (host.address.as_str(), host.id());
    let asked = json!({ "bucket": "shared", "prefix": "", "after": 0, "wait_ms": 600_000 });
    let began = Instant::now();
    thread::scope(|scope| {
        let waiters: Vec<_> = (0..30)
            .map(|_| scope.spawn(|| raw::call(address, "notes_changes", asked.clone())["result"].clone()))
            .collect();
        // One more waits two seconds, by the store's clock, while they do.
        let pause = json!({ "bucket": "shared", "prefix": "other/", "after": 0, "wait_ms": 2000 });
        let before = computed(process);
        let (from, paused) = (Instant::now(), raw::call(address, "notes_changes", pause));
        let (took, burnt) = (from.elapsed(), computed(process) - before);
        assert_eq!(paused["result"]["structuredContent"]["result"][0], json!([]), "{paused:#}");
        assert!(took >= Duration::from_secs(2) && burnt < took / 2, "{burnt:?} of {took:?}");
        for waiter in waiters {
            let answer = waiter.join().expect("an answer");
            assert_eq!(answer["structuredContent"]["result"][0], json!([]), "no error: {answer:#}");
        }
    });
    assert!(began.elapsed() > Duration::from_secs(4));
}

/// A component of another toolchain, over `wasi:keyvalue`, as its author wrote it.
#[test]
fn a_javascript_component_runs_unchanged() {
    let Some(built) = script("setup/components", &["js-keyvalue"]) else { return };
    let path = succeeded(&built).trim().to_owned();
    let grants = "kv = [{ bucket = 'default', prefix = 'notes/', access = 'read-write' }]";
    let bare = plugins(&[("js", &path)]);
    let folder = Folder::new(&format!("{bare}[plugins.js.grants]\n{grants}\n"));
    let host = folder.serve();
    let call = |tool: &str, arguments: Value| {
        raw::call(&host.address, &format!("js_{tool}"), arguments)["result"]["structuredContent"]["result"].clone()
    };
    let at = |key: &str| json!({ "bucket": "default", "key": key });
    let text = |key: &str, text: &str| json!({ "bucket": "default", "key": key, "text": text });
    assert_eq!(call("read", at("notes/a")), Value::Null);
    call("write", text("notes/a", "naïve ✓"));
    assert_eq!(call("read", at("notes/a")), "naïve ✓");
    assert_eq!((call("count", at("notes/n")), call("count", at("notes/n"))), (json!(1), json!(2)));
    call("append", text("notes/a", " and more"));
    call("copy", json!({ "bucket": "default", "key": "notes/a", "other": "notes/b" }));
    assert_eq!(call("read", at("notes/b")), "naïve ✓ and more");
    assert_eq!(call("keys", json!({ "bucket": "default" })), json!(["notes/a", "notes/b", "notes/n"]));
    call("remove", at("notes/a"));
    assert_eq!(call("read", at("notes/a")), Value::Null);
    for (arguments, told) in
        [(text("other", "x"), "access-denied"), (json!({ "bucket": "x", "key": "a", "text": "" }), "access-denied")]
    {
        let refused = raw::call(&host.address, "js_write", arguments)["result"].clone();
        assert!(refused["isError"] == true && refused.to_string().contains(told), "{refused:#}");
    }
    assert_eq!(host.stop().code(), Some(0));
    // Without a grant it is not loaded, and the line to add is said.
    let listed = Folder::new(&bare).run(&["list", "--json"]);
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.contains("which nothing grants") && listed.contains("kv = [{ bucket = "), "{listed}");
}
