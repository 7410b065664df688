//! Real clients follow the challenge to the metadata and the issuer, get a token there, and call.

use serde_json::Value;

use super::{
    issuer::{Issuer, Proxy},
    oauth,
};
use crate::{
    host::{Folder, plugins, usual_plugins},
    tools::{script, succeeded},
};

fn check(client: &str, era: &str, how: &str) {
    let proxy = Proxy::start();
    let audience = format!("http://{}/mcp", proxy.address);
    let issuer = Issuer::start(&audience);
    let folder = Folder::new(&format!("{}{}", plugins(&usual_plugins()), oauth(&issuer.url, &audience, "")));
    let host = folder.serve();
    proxy.lead_to(&host.address);
    let arguments = [client, "--era", era, "--oauth", how, "--issuer", &issuer.url, "--http", &audience];
    let Some(output) = script("clients/run", &arguments) else { return };
    let saw: Value = serde_json::from_str(&succeeded(&output)).expect("JSON");
    assert_eq!(saw["ok"], true, "{saw:#}");
    let audit = folder.audit();
    let intents: Vec<_> = audit.iter().filter(|line| line["event"] == "call.intent").collect();
    assert!(intents.len() > 3, "{audit:#?}");
    for intent in intents {
        // `client|1` is no name.
        assert!(intent["principal"].as_str().is_some_and(|name| name.starts_with("token..")), "{intent:#}");
    }
}

#[test]
fn the_python_client_gets_a_token_by_a_code() {
    check("py", "auto", "code");
}

#[test]
fn the_python_client_gets_a_token_by_its_credentials() {
    check("py", "legacy", "credentials");
}

#[test]
fn the_typescript_sdk_gets_a_token_by_a_code() {
    check("ts", "legacy", "code");
}

#[test]
fn the_typescript_client_gets_a_token_by_a_code() {
    check("ts2", "auto", "code");
}

#[test]
fn the_typescript_client_gets_a_token_by_its_credentials() {
    check("ts2", "legacy", "credentials");
}
