//! The plugins of `plugins/` through the real binary: the calls of their `cases.jsonl`, on either engine.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, thread,
    time::{Duration, Instant},
};

use portcullis_artifacts::PLUGINS;
use serde_json::{Value, json};

use crate::{
    agents::key,
    host::{Folder, Served, plugins},
    raw,
    redis::Server,
    tools,
};

/// A client of one agent, for any thread.
#[derive(Clone)]
struct Client {
    address: String,
    bearer: String,
}

impl Client {
    fn new(host: &Served, key: &str) -> Self {
        Self { address: host.address.clone(), bearer: format!("Bearer {key}") }
    }

    fn ask(&self, method: &str, params: Value) -> Value {
        let more = [("Authorization", self.bearer.as_str())];
        raw::answer(raw::open_modern_with(&self.address, method, params, &more)).message()
    }
}

/// Who calls in the cases.
const AGENTS: [&str; 3] = ["alice", "bob", "carol"];

/// A folder in which one plugin runs over a store, for agents who may call all.
fn folder(name: &str, agents: &[impl AsRef<str>], more: &str) -> Folder {
    let path = PLUGINS.iter().find(|(found, _)| *found == name).expect("a plugin").1;
    let agents: String = agents.iter().map(|agent| format!("[agents.{}]\nrole = 'any'\n", agent.as_ref())).collect();
    let plugin = plugins(&[(name, path)]);
    Folder::new(&format!(
        "{plugin}prefix = ''\n[plugins.{name}.grants]\nkv = [{{ bucket = '{name}', access = 'read-write' }}]\n\
         [roles.any]\nallow = ['*']\n{agents}{more}"
    ))
}

/// Where `found` has not what `expected` has: the path to it. Of objects only what is expected is looked at.
fn differs(expected: &Value, found: &Value) -> Option<String> {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => expected.iter().find_map(|(name, expected)| {
            let missing = Some(format!(".{name} is not there"));
            found.get(name).map_or(missing, |found| Some(format!(".{name}{}", differs(expected, found)?)))
        }),
        (Value::Array(expected), Value::Array(found)) if expected.len() == found.len() => expected
            .iter()
            .zip(found)
            .enumerate()
            .find_map(|(at, (expected, found))| Some(format!("[{at}]{}", differs(expected, found)?))),
        _ => (expected != found).then(|| format!(": expected {expected}, found {found}")),
    }
}

/// The one check: each line of the plugin's cases is called, and answers so.
fn check(name: &str, store: &str) {
    let file = tools::tests().join(format!("../plugins/{name}/cases.jsonl"));
    let cases = fs::read_to_string(file).expect("cases");
    let folder = folder(name, &AGENTS, store);
    let keys = AGENTS.map(|agent| key(&folder, agent).0);
    let host = folder.serve();
    let mut called = 0;
    for line in cases.lines() {
        let case: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{name}: {error}: {line}"));
        let who = AGENTS.iter().position(|agent| case["as"] == *agent).expect("an agent");
        let params = json!({ "name": case["tool"], "arguments": case["arguments"] });
        let answer = Client::new(&host, &keys[who]).ask("tools/call", params);
        let result = &answer["result"];
        match case["error"].as_str() {
            Some(text) => {
                let said = result["content"][0]["text"].as_str().unwrap_or_default();
                assert!(result["isError"] == true && said.contains(text), "{name}: {line}\n{answer:#}");
            }
            None => {
                assert_ne!(result["isError"], true, "{name}: {line}\n{answer:#}");
                let differs = differs(&case["result"], &result["structuredContent"]);
                assert_eq!(differs, None, "{name}: {line}\n{answer:#}");
            }
        }
        called += 1;
    }
    assert!(called > 20, "{name} has {called} cases");
    // Each tool is in a case.
    let client = Client::new(&host, &keys[0]);
    let listed = client.ask("tools/list", json!({}));
    for tool in listed["result"]["tools"].as_array().expect("tools") {
        let tool = tool["name"].as_str().expect("a name");
        assert!(cases.contains(&format!("\"tool\":\"{tool}\"")), "no case of {tool}");
    }
    assert_eq!(host.stop().code(), Some(0));
}

/// Those that share context.
fn shared() -> impl Iterator<Item = &'static str> {
    PLUGINS.iter().map(|(name, _)| *name).filter(|name| *name != "hello")
}

#[test]
fn the_cases_of_plugins_hold_in_a_file() {
    shared().for_each(|name| check(name, ""));
}

#[test]
fn the_cases_of_plugins_hold_on_a_server() {
    for name in shared() {
        // One each: their numbers begin at 1.
        let Some(server) = Server::start(false) else { return };
        check(name, &format!("[store]\nurl = '{}'\n", server.url()));
    }
}

/// What a tool answers.
fn result(client: &Client, tool: &str, arguments: Value) -> Value {
    let answer = client.ask("tools/call", json!({ "name": tool, "arguments": arguments }));
    assert!(answer["result"].is_object() && answer["result"]["isError"] != true, "{tool}: {answer:#}");
    answer["result"]["structuredContent"].clone()
}

/// Two hosts on one server, and many that claim at once: each task has one claimant, whom both hosts know.
#[test]
fn each_task_has_one_claimant_at_two_hosts() {
    const TASKS: usize = 30;
    let Some(server) = Server::start(false) else { return };
    let store = format!("[store]\nurl = '{}'\n", server.url());
    let folders = [folder("tasks", &AGENTS, &store), folder("tasks", &AGENTS, &store)];
    let hosts = [folders[0].serve(), folders[1].serve()];
    let keys = [AGENTS.map(|agent| key(&folders[0], agent).0), AGENTS.map(|agent| key(&folders[1], agent).0)];
    let poster = Client::new(&hosts[0], &keys[0][0]);
    for at in 0..TASKS {
        result(&poster, "post_task", json!({ "title": format!("task {at}"), "priority": at % 10 }));
    }
    // Two workers of each name at each host, so that a name alone decides nothing.
    let claimed: Vec<(String, String)> = thread::scope(|scope| {
        let work = |client: Client, who: &str| {
            let mut claimed = Vec::new();
            loop {
                let task = result(&client, "claim_task", json!({}))["result"].clone();
                let Some(id) = task["id"].as_str() else { return claimed };
                claimed.push((id.to_owned(), who.to_owned()));
                if task["priority"] == 9 {
                    result(&client, "complete_task", json!({ "task_id": id, "attempt": task["attempt"] }));
                }
            }
        };
        let worker = |at: usize| (Client::new(&hosts[at % 2], &keys[at % 2][at / 2 % 3]), AGENTS[at / 2 % 3]);
        let workers: Vec<_> = (0..12).map(worker).map(|(client, who)| scope.spawn(move || work(client, who))).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker")).collect()
    });
    let each: BTreeMap<_, _> = claimed.iter().cloned().collect();
    assert_eq!((claimed.len(), each.len()), (TASKS, TASKS), "{claimed:?}");
    for (id, who) in each {
        for (host, keys) in hosts.iter().zip(&keys) {
            let task = result(&Client::new(host, &keys[0]), "get_task", json!({ "task_id": id }));
            assert_eq!((&task["claimant"], &task["attempt"]), (&json!(who), &json!(1)), "{task:#}");
        }
    }
}

/// A worker that is gone: its task returns by itself when the lease ends, and what it says later is refused.
#[test]
fn a_dead_workers_task_returns() {
    // It is looked at again and again until its time is over.
    let folder = folder("tasks", &AGENTS, "[agent-defaults]\ncalls-per-minute = 100_000\n");
    let keys = AGENTS.map(|agent| key(&folder, agent).0);
    let host = folder.serve();
    let [alice, bob, _] = keys.each_ref().map(|key| Client::new(&host, key));
    result(&alice, "post_task", json!({ "title": "a task", "max_attempts": 2 }));
    for attempt in 1..=2 {
        let claimed = result(&bob, "claim_task", json!({ "lease_seconds": 1 }))["result"].clone();
        assert_eq!(claimed["attempt"], attempt);
        crate::host::eventually(|| result(&alice, "get_task", json!({ "task_id": "t1" }))["state"] != "claimed");
        let late = json!({ "name": "complete_task", "arguments": { "task_id": "t1" } });
        let refused = bob.ask("tools/call", late);
        assert!(refused.to_string().contains("and not yours any more"), "{refused:#}");
    }
    let task = result(&alice, "get_task", json!({ "task_id": "t1" }));
    assert_eq!((&task["state"], task["history"].as_array().expect("events").len()), (&json!("dead-letter"), 5));
    assert_eq!(task["history"][4]["note"], "the lease of `bob` ended");
}

/// Processor time of a process so far.
#[cfg(target_os = "linux")]
fn computed(process: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("a process");
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    // In hundredths of a second, by proc_pid_stat(5).
    Duration::from_millis([11, 12].iter().map(|at| fields[*at].parse::<u64>().expect("a number") * 10).sum())
}

/// Fifty agents wait for messages: they compute next to nothing, take no slots, and each is woken by its own alone.
#[cfg(target_os = "linux")]
#[test]
fn fifty_agents_wait() {
    let names: Vec<String> = (0..50).map(|at| format!("agent-{at}")).collect();
    let folder = folder("messages", &names, "[plugins.messages.limits]\nconcurrency = 1\ndeadline = '60s'\n");
    let keys: Vec<String> = names.iter().map(|name| key(&folder, name).0).collect();
    let host = folder.serve();
    let clients: Vec<_> = keys.iter().map(|key| Client::new(&host, key)).collect();
    // Known, so that waiting writes nothing.
    clients.iter().for_each(|client| drop(result(client, "receive_messages", json!({}))));
    let bodies: BTreeSet<String> = thread::scope(|scope| {
        let wait = |client: &Client| result(client, "receive_messages", json!({ "wait_seconds": 50 }));
        let waiting: Vec<_> = clients.iter().map(|client| scope.spawn(move || wait(client))).collect();
        // Time passes by a wait of one of them, beside the others, once they all wait.
        let pause = |seconds: u32| drop(result(&clients[0], "receive_messages", json!({ "wait_seconds": seconds })));
        pause(2);
        let (before, from) = (computed(host.id()), Instant::now());
        pause(4);
        let (burnt, took) = (computed(host.id()) - before, from.elapsed());
        // Two in a hundred is what is promised of a host that was built for speed, on a machine that does nothing else.
        assert!(took >= Duration::from_secs(4) && burnt < took / 5, "{burnt:?} of {took:?}");
        for name in &names {
            result(&clients[1], "send_message", json!({ "to": name, "body": format!("for {name}") }));
        }
        let received = waiting.into_iter().zip(&names).map(|(waiting, name)| {
            let received = waiting.join().expect("an answer");
            assert_eq!(received["messages"].as_array().expect("messages").len(), 1, "{name}: {received:#}");
            let body = received["messages"][0]["body"].as_str().expect("a body").to_owned();
            assert_eq!(body, format!("for {name}"));
            body
        });
        received.collect()
    });
    assert_eq!(bodies.len(), 50);
}
