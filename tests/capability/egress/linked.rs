//! E22: what is linked into a sandbox, name by name. What is new here must say what it reaches, and by which choke point.

use std::{collections::BTreeSet, fs, path::Path};

use portcullis_artifacts as guests;
use serde_json::json;

use super::{DENIED, get, told};
use crate::house::{House, built, patient};

/// What `host/runtime` links that can reach no other machine, whatever it is given.
const HARMLESS: [&str; 27] = [
    "bindings::portcullis::host::call",
    "capability::config",
    "capability::files",
    "capability::logging",
    "cli::environment",
    "cli::exit",
    "cli::stderr",
    "cli::stdin",
    "cli::stdout",
    "cli::terminal_input",
    "cli::terminal_output",
    "cli::terminal_stderr",
    "cli::terminal_stdin",
    "cli::terminal_stdout",
    "clocks::monotonic_clock",
    "clocks::wall_clock",
    "error",
    "logging",
    "preopens",
    "random::insecure",
    "random::insecure_seed",
    "random::random",
    "reasons",
    "types",
    "wasmtime_wasi_config",
    "wasmtime_wasi_io::bindings::wasi::io::poll",
    "wasmtime_wasi_io::bindings::wasi::io::streams",
];

/// What could, and what stands before it: sockets refuse everything (`Sandbox::store`), and HTTP has one choke point
/// (`capability/http`).
const NETWORK: [&str; 8] = [
    "sockets::instance_network",
    "sockets::ip_name_lookup",
    "sockets::network",
    "sockets::tcp",
    "sockets::tcp_create_socket",
    "sockets::udp",
    "sockets::udp_create_socket",
    "wasmtime_wasi_http::p2::add_only_http",
];

/// What reaches the store of the operator's configuration, and never an address that a guest names. Grants of `kv` stand
/// before all of it (`capability/kv/bucket.rs`).
const STORE: [&str; 9] = [
    "capability::keyvalue",
    "capability::kv",
    "draft2::atomics",
    "draft2::batch",
    "draft2::store",
    "draft::atomics",
    "draft::batch",
    "draft::store",
    "kv",
];

/// Every `X::add_to_linker` and the like in the sources of `host/runtime`.
fn linked(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            linked(&path, found);
            continue;
        }
        let text = fs::read_to_string(&path).expect("a source");
        for (at, _) in text.match_indices("_to_linker") {
            let line = text[..at].rsplit('\n').next().unwrap_or_default();
            let name = line.rsplit(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).next().unwrap_or_default();
            let defines = line.trim_end().trim_end_matches(name).trim_end().ends_with("fn");
            let comment = line.trim_start().starts_with("//");
            if !defines && !comment {
                let name = name.strip_suffix("::add").unwrap_or(name);
                found.insert(name.to_owned());
            }
        }
    }
}

#[test]
fn e22_every_interface_that_is_linked_is_known() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut found = BTreeSet::new();
    linked(&root.join("host/runtime/src"), &mut found);
    let known: BTreeSet<_> = HARMLESS.iter().chain(&NETWORK).chain(&STORE).map(|name| String::from(*name)).collect();
    assert_eq!(found, known, "is it harmless, or is it network, or the store? The lists are in this file");
    let manifest = fs::read_to_string(root.join("Cargo.toml")).expect("a manifest");
    let line = manifest.lines().find(|line| line.starts_with("wasmtime-wasi-http")).expect("a dependency");
    // With `default-send-request` a request could go around the choke point; over HTTP/2 (p3) it would not be ours.
    assert!(line.ends_with("default-features = false, features = [\"p2\"] }"), "{line}");
    for send in ["default_send_request(", "default_hooks("] {
        let hooks = fs::read_to_string(root.join("host/runtime/src/sandbox/mod.rs")).expect("a source");
        assert!(!hooks.contains(send), "{send}");
    }
}

/// Sockets refuse everything, also where HTTP to the same place is granted.
#[tokio::test(flavor = "multi_thread")]
async fn e22_what_is_granted_for_http_opens_no_socket() {
    let server = super::server::Server::start(|_| super::server::ok("on")).await;
    let grants = format!("http = [{{ allow = 'GET http://127.0.0.1:{}/**', private = ['127.0.0.1'] }}]", server.port());
    let look = built("look", guests::OUTCOMES, patient()).granted(&*grants);
    let web = built("web", guests::WITH_HTTP, patient()).granted(&*grants);
    let house = House::open(1, vec![look, web]).await;
    assert_eq!(get(&house, &server.url("127.0.0.1", "/")).await, "200");
    assert_eq!(get(&house, "http://127.0.0.1:1/").await, DENIED);
    for (tool, arguments, error) in [
        ("look_connect", json!({ "addr": server.address.to_string() }), "Permission denied (os error 2)"),
        ("look_send_udp", json!({ "addr": server.address.to_string() }), "Permission denied (os error 2)"),
        ("look_resolve", json!({ "host": "localhost" }), "failed to lookup address information: Non-recoverable error"),
    ] {
        assert_eq!(told(&house.answer(tool, arguments).await), error, "{tool}");
    }
    assert_eq!(server.accepted(), 1);
}
