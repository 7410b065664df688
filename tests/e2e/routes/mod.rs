//! Routes: tools by method and path, under the same authentication, policy, limits, bounds and audit as MCP.

mod arguments;
mod config;
mod description;
mod door;
mod readme;
mod who;

use portcullis_artifacts as guests;
use serde_json::Value;

use crate::{
    host::{Folder, Served, plugins, usual_plugins},
    raw::{self, Answer},
};

/// A route, as text for a configuration.
fn route(method: &str, path: &str, tool: &str, more: &str) -> String {
    format!("[[routes]]\nmethod = \"{method}\"\npath = \"{path}\"\ntool = \"{tool}\"\n{more}\n")
}

/// Routes to the guests of most tests.
fn usual_routes() -> String {
    [
        route("GET", "/echo/{text}", "echo_echo", ""),
        route("POST", "/echo", "echo_echo", ""),
        route(
            "PUT",
            "/note/{name}",
            "types_words",
            "arguments = { type = \"path.name\", list = \"query.of\", self_made = { value = \"!\" } }",
        ),
        route("POST", "/whole", "types_id_string", "arguments = { value = \"body\" }"),
        route("POST", "/whole/person", "types_id_person", "arguments = { value = \"body\" }"),
        route("GET", "/fail/{reason}", "outcomes_fail", "arguments = { message = \"path.reason\" }"),
        route("POST", "/run/{tool}/trap", "outcomes_trap", "arguments = {}").replace("{tool}", "it"),
        route("POST", "/run/it/exit", "outcomes_exit", ""),
        route("POST", "/run/it/spin", "outcomes_spin", ""),
        route("POST", "/run/it/sleep", "outcomes_sleep", ""),
        route("POST", "/run/it/big", "outcomes_big_output", ""),
        route("POST", "/run/it/grow", "outcomes_grow_memory", ""),
        route("GET", "/u64/{value}", "types_id_u64", ""),
        route("GET", "/s64/{value}", "types_id_s64", ""),
        route("GET", "/u8", "types_id_u8", ""),
        route("GET", "/f64/{value}", "types_id_f64", ""),
        route("GET", "/bool/{value}", "types_id_bool", ""),
        route("GET", "/lamp/{value}", "types_id_lamp", ""),
        route("GET", "/strings", "types_id_strings", ""),
        route("DELETE", "/numbers", "types_id_numbers", ""),
        route("GET", "/flags", "types_id_permissions", ""),
        route("GET", "/option", "types_id_option", ""),
        route("GET", "/shape", "types_id_shape", ""),
        route("POST", "/person", "types_id_person", ""),
        route("PATCH", "/u64", "types_id_u64", ""),
        route("GET", "/fixed", "echo_echo", "arguments = { text = { value = \"fixed\" } }"),
    ]
    .concat()
}

fn guests_of_routes() -> String {
    let [echo, outcomes, progress] = usual_plugins();
    plugins(&[echo, outcomes, progress, ("types", guests::TYPES)])
}

/// A folder with those routes, in which nobody is asked who they are.
fn usual() -> Folder {
    Folder::new(&format!("{}{}", guests_of_routes(), usual_routes()))
}

/// One request.
fn ask(host: &Served, method: &str, target: &str, body: &str) -> Answer {
    let json: &[(&str, &str)] = if body.is_empty() { &[] } else { &[("Content-Type", "application/json")] };
    ask_with(host, method, target, json, body.as_bytes())
}

/// One request with these headers.
fn ask_with(host: &Served, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    raw::answer(raw::open(&host.address, method, target, headers, body))
}

/// What was answered, as JSON.
fn said(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}

/// Asserts that an answer is a problem of this status and code, and gives its detail.
fn problem(answer: &Answer, status: u16, code: &str) -> String {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer:?}");
    let said = said(answer);
    assert_eq!((&said["status"], &said["code"]), (&status.into(), &code.into()), "{said:#}");
    assert_eq!(said["type"], format!("urn:portcullis:problem:{code}"), "{said:#}");
    // Nothing of this machine.
    let detail = said["detail"].as_str().expect("a detail").to_owned();
    assert!(!detail.contains("/root") && !detail.contains("/tmp") && !detail.contains(".rs"), "{detail}");
    detail
}
