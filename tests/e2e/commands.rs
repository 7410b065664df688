//! Commands as people run them: their output, their hints, their exit codes.

use std::{collections::BTreeSet, fs, path::Path};

use portcullis_artifacts as guests;
use serde_json::{Value, json};

use crate::{
    host::{Folder, PORTCULLIS, plugins, stderr, usual},
    tools::toolchain,
};

#[test]
fn call_runs_the_path_of_a_client_and_tells_the_cost() {
    let folder = usual();
    let called = folder.run(&["call", "echo_echo", r#"{"text":"hi"}"#]);
    assert_eq!(called.status.code(), Some(0), "{}", stderr(&called));
    let result: Value = serde_json::from_slice(&called.stdout).expect("JSON on standard output");
    assert_eq!(result, json!({ "result": "hi" }));
    let cost = stderr(&called);
    assert!(cost.contains(" ms, ") && cost.contains(" fuel, ") && cost.contains(" MiB"), "{cost}");
    let data = folder.json(&["call", "echo_echo", r#"{"text":"hi"}"#, "--json"]);
    assert_eq!(data["result"], json!({ "result": "hi" }));
    assert!(data["used"]["fuel"].as_u64().is_some_and(|fuel| fuel > 0), "{data:#}");
    let audit = folder.audit();
    let intents: Vec<_> = audit.iter().filter(|line| line["event"] == "call.intent").collect();
    assert_eq!(intents.len(), 2);
    assert_eq!(intents[0]["principal"], "local-operator");
    assert_eq!(intents[0]["arguments_mac"], intents[1]["arguments_mac"]);
}

/// A command that fails: its exit code, and texts that standard error must hold.
fn check(folder: &Folder, arguments: &[&str], code: i32, expected: &[&str]) {
    let output = folder.run(arguments);
    let shown = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {shown}");
    for text in expected {
        assert!(shown.contains(text), "{arguments:?}: no {text:?} in:\n{shown}");
    }
}

#[test]
fn failures_name_the_fault_and_the_mend() {
    let folder = usual();
    check(
        &folder,
        &["call", "echo_eko"],
        1,
        &["error: There is no tool `echo_eko`", "hint: the nearest is `echo_echo`"],
    );
    check(&folder, &["call", "echo_echo", "{text: 1}"], 1, &["no JSON object", "hint: quote it"]);
    check(&folder, &["call", "echo_echo", r#"{"text":1}"#], 1, &["`$.text`", "hint: `portcullis inspect"]);
    check(&folder, &["call", "outcomes_fail", r#"{"message":"the reason"}"#], 1, &["the reason"]);
    check(&folder, &["call", "outcomes_trap"], 2, &["crashed"]);
    check(&folder, &["inspect", "nothing"], 1, &["nothing"]);
    check(&folder, &["nonsense"], 1, &["nonsense"]);
    check(&folder, &["serve", "--http", "0.0.0.0:0"], 1, &["reachable from other machines", "hint: "]);
    check(&folder, &["--config", "none.toml", "list"], 1, &["`none.toml`", "hint: "]);
    check(&folder, &["build", "."], 1, &["error: "]);
}

#[test]
fn an_address_that_is_taken_is_said() {
    let folder = usual();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    check(&folder, &["serve", "--http", &address], 1, &[&address, "hint: another program uses it"]);
}

#[test]
fn inspect_shows_everything_and_runs_nothing() {
    let folder = Folder::new(&plugins(&[("types", guests::TYPES), ("progress", guests::PROGRESS)]));
    // What was approved was compiled for that.
    let kept = || {
        let cache = folder.path().join(".portcullis/cache").read_dir().expect("a cache");
        cache.map(|entry| entry.expect("an entry").file_name()).collect::<BTreeSet<_>>()
    };
    let before = kept();
    let data = folder.json(&["inspect", "progress", "--json"]);
    assert_eq!(data["tools"].as_array().map(Vec::len), Some(5), "{data:#}");
    assert!(data["imports"].to_string().contains("portcullis:host/call@0.1.0"), "{data:#}");
    let types = folder.json(&["inspect", guests::TYPES, "--json"]);
    assert!(
        types["leftOut"].to_string().contains("resource"),
        "what cannot be a tool has a reason: {:#}",
        types["leftOut"]
    );
    assert_eq!(kept(), before);
}

#[test]
fn the_cache_and_the_key_survive_and_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let folder = usual();
    let list = folder.json(&["list", "--json"]);
    let states: Vec<_> = list.as_array().expect("plugins").iter().map(|plugin| plugin["state"].clone()).collect();
    assert_eq!(states, ["approved", "approved", "approved"]);
    let state = folder.path().join(".portcullis");
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&state), 0o700);
    for name in ["host.key", "audit.jsonl"] {
        assert_eq!(mode(&state.join(name)), 0o600, "{name}");
    }
    let key = fs::read(state.join("host.key")).expect("a key");
    folder.json(&["list", "--json"]);
    assert_eq!(fs::read(state.join("host.key")).expect("a key"), key);
}

#[test]
fn limits_of_a_tool_and_a_plugin_hold() {
    let config = format!(
        "[limits]\ndeadline = \"60s\"\n{}[plugins.outcomes.limits]\nfuel = 20_000_000\n[plugins.outcomes.tool.sleep.limits]\ndeadline = \"50ms\"\n",
        plugins(&[("outcomes", guests::OUTCOMES)])
    );
    let folder = Folder::new(&config);
    let outcome = |arguments: &[&str]| folder.json(arguments)["error"]["outcome"].clone();
    // A limit is not the input's fault: exit code 2, with the outcome as data.
    let limited = |tool: &str, arguments: &str| {
        let output = folder.run(&["call", tool, arguments, "--json"]);
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        serde_json::from_slice::<Value>(&output.stdout).expect("JSON")["error"]["outcome"].clone()
    };
    assert_eq!(limited("outcomes_spin", "{}"), "out-of-fuel");
    assert_eq!(limited("outcomes_sleep", r#"{"ms":60000}"#), "deadline");
    assert_eq!(outcome(&["call", "outcomes_counter", "--json"]), Value::Null);
}

#[test]
fn completions_and_schema_are_made() {
    let folder = Folder::new("");
    for shell in ["bash", "zsh", "fish"] {
        let output = folder.run(&["completions", shell]);
        assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("portcullis"), "{shell}");
    }
    let schema = folder.json(&["check", "--schema"]);
    assert_eq!(schema["properties"]["plugins"]["type"], "object", "{schema:#}");
    assert_eq!(schema["additionalProperties"], false);
}

#[test]
fn doctor_and_check_agree_with_list() {
    let folder = usual();
    assert_eq!(folder.json(&["doctor", "--json"])["ok"], true);
    assert_eq!(folder.json(&["check", "--json"])["ok"], true);
    fs::write(folder.path().join("broken.wasm"), "no component").expect("a file");
    let path = folder.path().join("portcullis.toml");
    let config = fs::read_to_string(&path).expect("a configuration");
    fs::write(&path, format!("{config}\n[plugins.broken]\nsource = \"broken.wasm\"\n")).expect("a configuration");
    for command in ["doctor", "check", "list"] {
        check(&folder, &[command, "--json"], 1, &[]);
        let output = folder.run(&[command, "--json"]);
        assert!(String::from_utf8_lossy(&output.stdout).contains("broken"), "{command}");
    }
    // The others are served all the same.
    let host = folder.serve();
    let ready = crate::raw::answer(crate::raw::open(&host.address, "GET", "/readyz", &[], b""));
    assert_eq!((ready.status, ready.body.as_str()), (503, "not in order: broken\n"));
    assert_eq!(crate::raw::call(&host.address, "echo_echo", json!({ "text": "on" }))["result"]["isError"], false);
    drop(host);
    check(&folder, &["serve", "--strict"], 1, &["Plugin `broken`", "hint: portcullis inspect broken"]);
}

/// Who builds no plugins needs no toolchain: it is told, and is no fault.
#[test]
fn doctor_tells_of_toolchains_and_of_none() {
    let folder = Folder::new("");
    let told = |tools: Option<&Path>, ok: &str| {
        let run = |arguments: &[&str]| {
            let mut command = folder.command(arguments);
            command.env_remove("VIRTUAL_ENV").env_remove("PORTCULLIS_TOOLS").env("PATH", "/nowhere");
            if let Some(tools) = tools {
                command.env("PORTCULLIS_TOOLS", tools);
            }
            let output = command.output().expect("a run");
            assert!(output.status.success(), "{}", stderr(&output));
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let json: Value = serde_json::from_str(&run(&["doctor", "--json"])).expect("JSON");
        let text = run(&["doctor"]);
        let lines = json["findings"].as_array().expect("findings").iter().filter(|found| {
            let what = found["what"].as_str().expect("text");
            assert!(found["hint"].is_null() || !what.contains("to build"), "{json:#}");
            what.contains("to build") && text.contains(&format!("ok    {what}\n"))
        });
        let lines: Vec<_> = lines.map(|found| found["what"].as_str().expect("text").to_owned()).collect();
        assert!(json["ok"] == true && lines.len() == 3, "{ok}: {json:#}\n{text}");
        lines
    };
    let none = told(None, "none");
    assert_eq!(
        none[1..],
        [
            "`@bytecodealliance/componentize-js` is not installed; to build JavaScript plugins, in the plugin's folder: \
             `npm install --save-dev @bytecodealliance/componentize-js@0.23.0`",
            "`componentize-py` is not installed; to build Python plugins, in the plugin's folder: \
             `python3 -m venv .venv && .venv/bin/pip install componentize-py==0.25.1`",
        ]
    );
    // Of a plugin of the configuration, where its own toolchain is installed as `build` says.
    let package = folder.path().join("p/node_modules/@bytecodealliance/componentize-js");
    fs::create_dir_all(&package).expect("a folder");
    fs::write(package.join("package.json"), r#"{"version": "0.1.2"}"#).expect("a manifest");
    fs::write(
        folder.path().join("portcullis.toml"),
        "[plugins.p]\nsource = \"p/dist/p.wasm\"\nenabled = false\n[server]\nhttp = \"127.0.0.1:0\"\n",
    )
    .expect("a configuration");
    fs::create_dir(folder.path().join("p/dist")).expect("a folder");
    let near = told(None, "near");
    assert!(near[1].starts_with("`node` does not run, for `@bytecodealliance/componentize-js` in `"), "{near:#?}");
    assert!(near[1].contains("install Node.js 20 or later"), "{near:#?}");
    fs::remove_dir_all(folder.path().join("p/node_modules")).expect("removed");
    let parts = [crate::languages::JAVASCRIPT, crate::languages::PYTHON, "bin/node"];
    let Some(tools) = parts.into_iter().map(toolchain).collect::<Option<Vec<_>>>() else { return };
    let there = told(Some(&tools[0]), "there");
    let shown = tools[0].canonicalize().expect("a folder").display().to_string();
    assert!(there[1].starts_with("to build JavaScript plugins there is Node v2"), "{there:#?}");
    assert!(there[1].contains(&format!("`{shown}/bin/node`")) && there[1].contains(" 0.23.0 in `"), "{there:#?}");
    let python =
        format!("to build Python plugins there is componentize-py 0.25.1 (`{shown}/python/bin/componentize-py`)");
    assert_eq!(there[2], python);
}

#[test]
fn help_names_every_command() {
    let output = std::process::Command::new(PORTCULLIS).arg("--help").output().expect("help");
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    for command in [
        "serve",
        "dev",
        "build",
        "inspect",
        "approve",
        "diff",
        "disable",
        "remove",
        "list",
        "call",
        "check",
        "doctor",
        "completions",
    ] {
        assert!(help.contains(&format!("\n  {command} ")), "{command}:\n{help}");
    }
    assert!(!help.contains("worker"));
}
