//! `dev`: builds, serves, and builds again when a source changes.

use std::{fs, path::Path, process::Stdio};

use serde_json::json;

use crate::{
    host::{Folder, Served, stderr},
    raw::{self, Session, heard},
};

/// A copy of the tutorial plugin, without what was built.
fn hello(folder: &Folder) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/hello");
    for part in ["Cargo.toml", "Cargo.lock", "src/lib.rs", "wit/hello.wit"] {
        let to = folder.path().join("plugins/hello").join(part);
        fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
        fs::copy(from.join(part), to).expect("a copy");
    }
}

#[test]
fn a_change_reaches_clients_of_both_eras() {
    let folder = Folder::new("");
    hello(&folder);
    // A target folder of its own: the build takes its lock.
    let target = folder.path().join("target");
    let mut command = folder.command(&["dev", "plugins", "--http", "127.0.0.1:0"]);
    command.env("CARGO_TARGET_DIR", &target).stdout(Stdio::null());
    let host = Served::start(command, "Serving 2 tools at ");
    let paste = host.logged("mcpServers");
    assert!(paste.contains(&host.url()), "{paste}");
    let line = host.logged(" call --dev plugins hello_greet ");
    let greeted = raw::call(&host.address, "hello_greet", json!({ "name": "Ada" }));
    assert_eq!(greeted["result"]["structuredContent"], json!({ "result": "Hello, Ada!" }), "{greeted:#}");

    // The printed command works as it stands.
    let printed = line.trim().to_owned();
    let run = std::process::Command::new("sh")
        .args(["-c", &printed])
        .current_dir(folder.path())
        .env("CARGO_TARGET_DIR", &target)
        .output()
        .expect("a shell");
    assert!(run.status.success() && String::from_utf8_lossy(&run.stdout).contains("Hello, Ada!"), "{}", stderr(&run));

    let session = Session::open(&host.address);
    let mut older = session.listen();
    let wanted = json!({ "notifications": { "toolsListChanged": true } });
    let mut newer = std::io::BufReader::new(raw::open_modern(&host.address, "subscriptions/listen", wanted));
    heard(&mut newer, "acknowledged");

    // A build that fails leaves what was served in place.
    let source = folder.path().join("plugins/hello/src/lib.rs");
    let good = fs::read_to_string(&source).expect("a source");
    fs::write(&source, good.replace("Hello, {name}", "{nothing}")).expect("a source");
    host.logged("error:");
    let greeted = raw::call(&host.address, "hello_greet", json!({ "name": "Ada" }));
    assert_eq!(greeted["result"]["structuredContent"], json!({ "result": "Hello, Ada!" }), "{greeted:#}");

    // A change of a definition is told, and served.
    let wit = folder.path().join("plugins/hello/wit/hello.wit");
    let text = fs::read_to_string(&wit).expect("WIT");
    fs::write(&wit, text.replace("Greets somebody by name", "Salutes somebody by name")).expect("WIT");
    fs::write(&source, good.replace("Hello, {name}", "Salve, {name}")).expect("a source");
    heard(&mut older, "notifications/tools/list_changed");
    heard(&mut newer, "notifications/tools/list_changed");
    let tools = raw::modern(&host.address, "tools/list", json!({})).message()["result"]["tools"].clone();
    assert!(tools[0]["description"].as_str().is_some_and(|text| text.starts_with("Salutes")), "{tools:#}");
    let greeted = raw::call(&host.address, "hello_greet", json!({ "name": "Ada" }));
    assert_eq!(greeted["result"]["structuredContent"], json!({ "result": "Salve, Ada!" }), "{greeted:#}");
}

#[test]
fn without_a_plugin_it_says_what_one_is() {
    let folder = Folder::new("");
    fs::create_dir(folder.path().join("empty")).expect("a folder");
    let output = folder.run(&["dev", "empty", "--http", "127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("hint: "), "{}", stderr(&output));
}
