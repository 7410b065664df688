//! The plugins of `plugins/` through the real binary: the calls of their `cases.jsonl`, on either engine.

use std::fs;

use portcullis_artifacts::PLUGINS;
use serde_json::{Value, json};

use crate::{
    agents::{Client, key},
    host::{Folder, plugins},
    redis::Server,
    tools,
};

/// Who calls in the cases.
const AGENTS: [&str; 3] = ["alice", "bob", "carol"];

/// A folder in which one plugin runs over a store, for three agents who may call all.
fn folder(name: &str, path: &str, store: &str) -> Folder {
    let agents: String = AGENTS.iter().map(|agent| format!("[agents.{agent}]\nrole = 'any'\n")).collect();
    let plugin = plugins(&[(name, path)]);
    Folder::new(&format!(
        "{plugin}prefix = ''\n[plugins.{name}.grants]\nkv = [{{ bucket = '{name}', access = 'read-write' }}]\n\
         [roles.any]\nallow = ['*']\n{agents}{store}"
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
fn check(name: &str, path: &str, store: &str) {
    let file = tools::tests().join(format!("../plugins/{name}/cases.jsonl"));
    let cases = fs::read_to_string(file).expect("cases");
    let folder = folder(name, path, store);
    let keys = AGENTS.map(|agent| key(&folder, agent).0);
    let host = folder.serve();
    let mut called = 0;
    for line in cases.lines() {
        let case: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{name}: {error}: {line}"));
        let who = AGENTS.iter().position(|agent| case["as"] == *agent).expect("an agent");
        let params = json!({ "name": case["tool"], "arguments": case["arguments"] });
        let answer = Client::new(&host, &keys[who]).newer("tools/call", params).message();
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
    let listed = client.newer("tools/list", json!({})).message();
    for tool in listed["result"]["tools"].as_array().expect("tools") {
        let tool = tool["name"].as_str().expect("a name");
        assert!(cases.contains(&format!("\"tool\":\"{tool}\"")), "no case of {tool}");
    }
    assert_eq!(host.stop().code(), Some(0));
}

/// Those that share context.
fn shared() -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    PLUGINS.iter().filter(|(name, _)| *name != "hello")
}

#[test]
fn the_cases_of_plugins_hold_in_a_file() {
    shared().for_each(|(name, path)| check(name, path, ""));
}

#[test]
fn the_cases_of_plugins_hold_on_a_server() {
    for (name, path) in shared() {
        // One each: their numbers begin at 1.
        let Some(server) = Server::start(false) else { return };
        check(name, path, &format!("[store]\nurl = '{}'\n", server.url()));
    }
}
