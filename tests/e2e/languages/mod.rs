//! Plugins in JavaScript and Python: built by the real toolchains, served by the real binary. Those of this repository, with
//! their grants and without.

mod customers;
mod developing;
mod weather;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::{
    host::{Folder, Served, stderr},
    raw,
    tools::{tests, toolchain},
};

/// What componentize-js needs of the toolchains.
pub(crate) const JAVASCRIPT: &str = "npm/node_modules/@bytecodealliance/componentize-js";
/// What componentize-py is there.
pub(crate) const PYTHON: &str = "python/bin/componentize-py";

/// The folder of a plugin of this repository.
fn plugin(name: &str) -> PathBuf {
    tests().join("../plugins").join(name)
}

/// A copy of a folder, without what tools have made of it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let (path, name) = (entry.path(), entry.file_name());
        if ["dist", "node_modules", "__pycache__", ".venv", "target"].iter().any(|made| name == *made) {
            continue;
        }
        if path.is_dir() { copy(&path, &to.join(name)) } else { _ = fs::copy(&path, to.join(name)).expect("a copy") }
    }
}

/// A command in the folder, with the toolchains of the tests and nothing else of this machine's that could take their place.
fn command(folder: &Folder, tools: Option<&Path>, arguments: &[&str]) -> Command {
    let mut command = folder.command(arguments);
    command
        .env_remove("VIRTUAL_ENV")
        .env_remove("PORTCULLIS_TOOLS")
        .env("CARGO_TARGET_DIR", folder.path().join("target"));
    if let Some(tools) = tools {
        command.env("PORTCULLIS_TOOLS", tools);
    }
    command
}

/// Builds a plugin of this repository in a folder with this configuration, which may name it `NAME/dist/NAME.wasm`.
fn built(name: &str, part: &str, config: &str) -> Option<Folder> {
    let tools = toolchain(part)?;
    let folder = Folder::unapproved(config);
    copy(&plugin(name), &folder.path().join(name));
    let output = command(&folder, Some(&tools), &["build", name, "--json"]).output().expect("a run");
    assert!(output.status.success(), "{}", stderr(&output));
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((told["name"].as_str(), &told["warnings"]), (Some(name), &Value::Array(Vec::new())), "{told:#}");
    let left: Vec<_> = fs::read_dir(folder.path().join(name).join("dist")).expect("a folder").flatten().collect();
    assert_eq!(left.len(), 1, "nothing but the component is left: {left:?}");
    Some(folder)
}

/// Calls the tools as `cases.jsonl` of a plugin says, and compares what the case names.
fn cases(name: &str, host: &Served) {
    let text = fs::read_to_string(plugin(name).join("cases.jsonl")).expect("cases");
    let mut count = 0;
    for line in text.lines() {
        let case: Value = serde_json::from_str(line).expect(line);
        let answer = raw::call(&host.address, case["tool"].as_str().expect("a tool"), case["arguments"].clone());
        let answer = &answer["result"];
        match case.get("error") {
            Some(error) => {
                assert_eq!(answer["isError"], true, "{line}: {answer:#}");
                let text = answer["content"][0]["text"].as_str().unwrap_or_default();
                assert!(text.contains(error.as_str().expect("a text")), "{line}: {text}");
            }
            None => assert!(contains(&answer["structuredContent"], &case["result"]), "{line}: {answer:#}"),
        }
        count += 1;
    }
    assert!(count > 5, "{count} cases");
}

/// Whether all that `wanted` names is in `found`.
fn contains(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => {
            wanted.iter().all(|(key, wanted)| found.get(key).is_some_and(|found| contains(found, wanted)))
        }
        (found, wanted) => found == wanted,
    }
}

/// What `inspect` says of a plugin that is refused: every line that would have to be written.
fn refused_without(folder: &Folder, name: &str, lines: &[&str]) {
    let output = folder.run(&["list"]);
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{listed}");
    let output = folder.run(&["inspect", name]);
    let told = format!("{listed}{}{}", String::from_utf8_lossy(&output.stdout), stderr(&output));
    for line in lines {
        assert!(told.contains(line), "{line}: {told}");
    }
    let approved = folder.run(&["approve", name, "--sha256", &"0".repeat(64)]);
    assert_eq!(approved.status.code(), Some(1));
}
