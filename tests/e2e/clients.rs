//! Real clients over both transports and in both eras: they list, call, get structured content and a tool error, see
//! progress, cancel a running tool, read shared context and hear of its changes. What each checks is in `tests/clients`.

use std::{sync::mpsc, time::Duration};

use serde_json::Value;

use crate::{
    host::{Folder, PORTCULLIS, plugins, usual, usual_plugins},
    redis::Server,
    resources::Shelf,
    tools::{script, succeeded},
};

/// More cancelled calls than the plugin has slots: they come back.
const SPINS: &str = "18";

/// A folder with shared context on a server, in which an entry changes all the time. Without a server, one without.
fn shared() -> (Folder, Vec<&'static str>, Option<Changing>) {
    let Some(server) = Server::start(false) else { return (usual(), Vec::new(), None) };
    let store = format!("[store]\nurl = \"{}\"\n[buckets.shared]\nresources = true\n", server.options(None).url);
    let folder = Folder::new(&format!("{}{store}", plugins(&usual_plugins())));
    let shelf = Shelf::of_server(&server);
    for (key, value) in [("client/json", &b"{\"a\":1}"[..]), ("client/täxt", b"text"), ("client/blob", b"\x00\xff")] {
        shelf.set("shared", key, value, None);
    }
    shelf.set("shared", "tick", "0", None);
    let (end, ended) = mpsc::channel::<()>();
    let writer = std::thread::spawn(move || {
        for tick in 1_u64.. {
            if !matches!(ended.recv_timeout(Duration::from_millis(50)), Err(mpsc::RecvTimeoutError::Timeout)) {
                return;
            }
            shelf.set("shared", "tick", tick.to_string(), None);
        }
    });
    (folder, vec!["--resources", "--updates"], Some(Changing { end: Some(end), writer: Some(writer), _server: server }))
}

/// The writer, until the test is over.
struct Changing {
    end: Option<mpsc::Sender<()>>,
    writer: Option<std::thread::JoinHandle<()>>,
    _server: Server,
}

impl Drop for Changing {
    fn drop(&mut self) {
        self.end = None;
        // What went wrong in it is told by its own panic.
        _ = self.writer.take().map(std::thread::JoinHandle::join);
    }
}

fn check(client: &str, era: &str, http: bool) {
    let (folder, more, _changing) = shared();
    let spins = if http { SPINS } else { "2" };
    let common = [&[client, "--era", era, "--spins", spins], &more[..]].concat();
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
    let reads = audit.iter().filter(|line| line["event"] == "resource.read" && line["outcome"] == "ok").count();
    assert!(more.is_empty() || reads >= 3, "{audit:#?}");
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
