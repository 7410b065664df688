//! Real clients over both transports and in both eras: they list, call, get structured content and a tool error, see
//! progress, cancel a running tool. What each checks is in `tests/clients`.

use serde_json::Value;

use crate::{
    host::{PORTCULLIS, usual},
    tools::{script, succeeded},
};

/// More cancelled calls than the plugin has slots: they come back.
const SPINS: &str = "18";

fn check(client: &str, era: &str, http: bool) {
    let folder = usual();
    let spins = if http { SPINS } else { "2" };
    let common = [client, "--era", era, "--spins", spins];
    let output = if http {
        let host = folder.serve();
        let url = host.url();
        script("clients/run", &[&common[..], &["--http", &url]].concat())
    } else {
        let config = folder.path().join("portcullis.toml");
        let command = [PORTCULLIS, "--config", config.to_str().expect("text"), "serve", "--stdio"];
        script("clients/run", &[&common[..], &["--stdio"], &command].concat())
    };
    let Some(output) = output else { return };
    let saw: Value = serde_json::from_str(&succeeded(&output)).expect("JSON");
    assert_eq!(saw["ok"], true, "{saw:#}");
    // What the clients saw is what the host recorded.
    let audit = folder.audit();
    let outcomes = |outcome: &str| audit.iter().filter(|line| line["outcome"] == outcome).count();
    let intents = audit.iter().filter(|line| line["event"] == "call.intent").count();
    let ends = audit.iter().filter(|line| line["event"] == "call.outcome").count();
    assert_eq!(intents, ends, "each intent has an outcome");
    assert!(outcomes("ok") >= 2, "{audit:#?}");
    assert!(outcomes("tool-error") >= 1 && outcomes("bad-arguments") >= 1, "{audit:#?}");
}

macro_rules! clients {
    ($($name:ident: $client:literal $era:literal $transport:ident;)*) => {
        $(#[test]
        fn $name() {
            check($client, $era, stringify!($transport) == "http");
        })*
    };
}

clients! {
    python_auto_http: "py" "auto" http;
    python_auto_stdio: "py" "auto" stdio;
    python_legacy_http: "py" "legacy" http;
    python_legacy_stdio: "py" "legacy" stdio;
    typescript_sdk_http: "ts" "legacy" http;
    typescript_sdk_stdio: "ts" "legacy" stdio;
    typescript_client_auto_http: "ts2" "auto" http;
    typescript_client_auto_stdio: "ts2" "auto" stdio;
    typescript_client_legacy_http: "ts2" "legacy" http;
    typescript_client_legacy_stdio: "ts2" "legacy" stdio;
    inspector_http: "inspector" "auto" http;
    inspector_stdio: "inspector" "legacy" stdio;
}
