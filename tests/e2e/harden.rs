//! `serve --harden`: the process closes what it does not need, and serves all the same.
#![cfg(target_os = "linux")]

use std::{fs, path::Path};

use portcullis_artifacts as guests;
use serde_json::{Value, json};

use crate::{
    host::{Folder, Served, plugins, stderr},
    raw,
    redis::Server,
};

fn hardened(folder: &Folder, how: &str) -> Served {
    Served::start(folder.command(&["serve", how]), "serving at ")
}

fn files(name: &str, host: &Path) -> String {
    let grant = format!("files = [{{ host = {host:?}, guest = \"/data\", access = \"read-write\" }}]");
    format!("{}[plugins.{name}.grants]\n{grant}\n", plugins(&[(name, guests::FILES)]))
}

fn result(host: &Served, tool: &str, arguments: Value) -> Value {
    raw::call(&host.address, tool, arguments)["result"].clone()
}

/// Shared context in a file, which is made, written, and found again, and on a server.
#[test]
fn a_hardened_host_shares_context() {
    let plugin = plugins(&[("note", guests::NOTE)]);
    let grants = "[plugins.note.grants]\nkv = [{ bucket = \"shared\", access = \"read-write\" }]\n";
    let config = format!("{plugin}{grants}[buckets.shared]\nresources = true\n");
    let note = json!({ "bucket": "shared", "key": "a", "text": "on" });
    let written = |folder: &Folder| {
        let host = hardened(folder, "--harden=required");
        let version = result(&host, "note_write", note.clone())["structuredContent"]["result"].clone();
        assert!(host.stop().success());
        version
    };
    let folder = Folder::new(&config);
    assert_eq!([written(&folder), written(&folder)], [json!(1), json!(2)]);
    let Some(server) = Server::start(false) else { return };
    let folder = Folder::new(&format!("{config}[store]\nurl = {:?}\n", server.url()));
    assert_eq!([written(&folder), written(&folder)], [json!(1), json!(2)]);
}

fn status(host: &Served, key: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{}/status", host.id())).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("a line");
    line.trim_start_matches(':').trim().to_owned()
}

/// It compiles in a child, serves, works in a granted directory; what is outside it cannot open any more, though the
/// operator asks it to.
#[test]
fn a_hardened_host_serves_and_opens_nothing_else() {
    let outside = tempfile::tempdir().expect("a folder");
    let (first, later) = (outside.path().join("first"), outside.path().join("later"));
    for folder in [&first, &later] {
        fs::create_dir(folder).expect("a folder");
    }
    let config = files("f", &first);
    let folder = Folder::new(&config);
    let host = hardened(&folder, "--harden");
    assert_eq!(status(&host, "NoNewPrivs"), "1");
    let write = |text: &str| json!({ "path": "/data/a", "text": text });
    assert_eq!(result(&host, "f_write", write("one"))["isError"], false);
    assert_eq!(result(&host, "f_read", json!({ "path": "/data/a" }))["structuredContent"]["result"], "one");
    assert_eq!(fs::read_to_string(first.join("a")).expect("written"), "one");

    // A component in a folder that was not named at the start, readable by this user; and a directory of a new grant.
    fs::copy(guests::ECHO, outside.path().join("echo.wasm")).expect("a copy");
    let component = outside.path().join("echo.wasm");
    let more = plugins(&[("stranger", component.to_str().expect("a path")), ("settings", "/etc/passwd")]);
    let server = "[server]\nhttp = \"127.0.0.1:0\"\n";
    let late = files("late", &later);
    fs::write(folder.path().join("portcullis.toml"), format!("{config}{more}{late}{server}")).expect("written");
    // By `inspect`, which is not confined: `list` shows what the host sees, and that cannot open the one.
    for plugin in ["stranger", "late"] {
        let digest = folder.json(&["inspect", plugin, "--json"])["digest"].clone();
        let approved = folder.run(&["approve", plugin, "--sha256", digest.as_str().expect("a digest")]);
        assert!(approved.status.success(), "{}", stderr(&approved));
    }
    // In whichever order: the kernel's own words for the one, and what to do for the other.
    let mut wanted =
        vec![("stranger", "Permission denied"), ("settings", "Permission denied"), ("late", "which closed it")];
    while !wanted.is_empty() {
        let line = host.logged("plugin");
        wanted.retain(|(plugin, reason)| !(line.contains(plugin) && line.contains(reason)));
    }
    // What was approved may be served from the host's own copy, whatever its source can be opened by.
    assert_eq!(result(&host, "f_read", json!({ "path": "/data/a" }))["structuredContent"]["result"], "one");

    // The same after a restart.
    assert!(host.stop().success());
    let host = hardened(&folder, "--harden=required");
    assert_eq!(result(&host, "late_write", write("two"))["isError"], false);
    assert_eq!(result(&host, "stranger_echo", json!({ "text": "on" }))["structuredContent"]["result"], "on");
}

/// A directory that is granted to read is open to read: the kernel says so, whatever the plugin's grant says later.
#[test]
fn a_hardened_host_keeps_the_access_of_its_start() {
    let outside = tempfile::tempdir().expect("a folder");
    let config = files("f", outside.path()).replace("read-write", "read");
    let folder = Folder::new(&config);
    let host = hardened(&folder, "--harden=best-effort");
    fs::write(outside.path().join("a"), "one").expect("a file");
    assert_eq!(result(&host, "f_read", json!({ "path": "/data/a" }))["structuredContent"]["result"], "one");
    assert_eq!(result(&host, "f_write", json!({ "path": "/data/b", "text": "" }))["isError"], true);
}

#[test]
fn how_to_harden_is_one_of_two() {
    let folder = Folder::unapproved("");
    let output = folder.run(&["serve", "--harden=somewhat"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("[possible values: required, best-effort]"), "{}", stderr(&output));
}
