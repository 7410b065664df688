//! Tools that a person has to approve before they run (issue 6, point 6).

mod clients;
mod newer;
mod older;
mod operator;
mod settings;

use std::fs;

use portcullis_artifacts as guests;
use serde_json::{Value, json};

use crate::host::{Folder, plugins};

const ASKS: &str = "[plugins.echo.tool.echo]\nconfirm = true\n";
const TEAM: &str =
    "[roles.worker]\nallow = [\"*\"]\n[agents.alice]\nrole = \"worker\"\n[agents.bob]\nrole = \"worker\"\n";

/// A host with `echo`, which has this further configuration, and `outcomes`, which needs nobody's word.
fn folder(more: &str) -> Folder {
    Folder::new(&format!("{}{more}", plugins(&[("echo", guests::ECHO), ("outcomes", guests::OUTCOMES)])))
}

/// Edits the configuration.
fn edit(folder: &Folder, what: &str, to: &str) {
    let path = folder.path().join("portcullis.toml");
    let config = fs::read_to_string(&path).expect("a configuration");
    assert!(config.contains(what), "{config}");
    fs::write(&path, config.replacen(what, to, 1)).expect("a configuration");
}

fn call(text: &str) -> Value {
    json!({ "name": "echo_echo", "arguments": { "text": text } })
}

fn outcomes(folder: &Folder) -> Vec<String> {
    folder.audit().iter().filter_map(|line| line["outcome"].as_str().map(str::to_owned)).collect()
}

/// What was asked and answered, with the number of the call.
fn asked(folder: &Folder) -> Vec<(u64, String)> {
    let said = |line: &Value| match line["event"].as_str()? {
        "call.asked" => Some((line["call"].as_u64()?, "asked".to_owned())),
        "call.answered" => Some((line["call"].as_u64()?, line["answer"].as_str()?.to_owned())),
        _ => None,
    };
    folder.audit().iter().filter_map(said).collect()
}

fn said(answers: &[(u64, String)]) -> Vec<&str> {
    answers.iter().map(|(_, said)| said.as_str()).collect()
}

fn yes() -> Value {
    json!({ "action": "accept", "content": {} })
}

/// The text of a result that is an error.
fn error(result: &Value) -> &str {
    assert_eq!(result["isError"], true, "{result:#}");
    result["content"][0]["text"].as_str().expect("a text")
}
