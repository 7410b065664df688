//! Real clients put the question to whoever is behind them.

use serde_json::Value;

use super::{ASKS, asked, folder, outcomes, said};
use crate::{
    host::PORTCULLIS,
    tools::{script, succeeded},
};

fn check(client: &str, era: &str, http: bool) {
    let folder = folder(ASKS);
    let common = [client, "--era", era, "--confirm"];
    let output = if http {
        let host = folder.serve();
        script("clients/run", &[&common[..], &["--http", &host.url()]].concat())
    } else {
        let config = folder.path().join("portcullis.toml");
        let command = ["--stdio", PORTCULLIS, "--config", config.to_str().expect("text"), "serve", "--stdio"];
        script("clients/run", &[&common[..], &command].concat())
    };
    let Some(output) = output else { return };
    let saw: Value = serde_json::from_str(&succeeded(&output)).expect("JSON");
    assert_eq!(saw["ok"], true, "{saw:#}");
    let answers = asked(&folder);
    assert_eq!(said(&answers), ["asked", "no", "asked", "dismissed", "asked", "yes"]);
    assert_eq!(outcomes(&folder).iter().filter(|outcome| *outcome == "ok").count(), 1);
}

#[test]
fn the_python_client_of_the_newer_era() {
    check("py", "auto", true);
    check("py", "auto", false);
}

#[test]
fn the_python_client_of_the_older_era() {
    check("py", "legacy", true);
    check("py", "legacy", false);
}

#[test]
fn the_typescript_client_of_the_newer_era() {
    check("ts2", "auto", true);
    check("ts2", "auto", false);
}

#[test]
fn the_typescript_client_of_the_older_era() {
    check("ts2", "legacy", true);
    check("ts2", "legacy", false);
}
