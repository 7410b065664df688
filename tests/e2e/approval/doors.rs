//! No client approves anything (P20), and `dev` knows neither lock nor approvals.

use std::{fs, path::Path};

use serde_json::json;

use super::{answering, called, digest, house, put, stands, tools};
use crate::{
    host::{Folder, stderr},
    raw::{self, USUAL, answer, open},
};

#[test]
fn p20_no_client_approves_anything() {
    let folder = house();
    let pinned = digest(&folder);
    put(&folder, "first.wasm", &answering(3));
    let new = digest(&folder);
    let (lock, record) = (folder.path().join("portcullis.lock"), super::kept(&folder, "accepted.json"));
    let before = (fs::read(&lock).expect("a lock"), fs::read(&record).expect("a record"));
    let host = folder.serve();
    let mut client = folder.stdio();
    client.initialize();
    assert_eq!(tools(&host), ["first_answer", "other_answer"]);
    let verbs = ["approve", "remove", "disable", "enable", "inspect", "lock", "grant", "revoke", "accept"];
    let params = json!({ "name": "first", "plugin": "first", "sha256": new, "lock": true });
    let mut id = 0;
    for verb in verbs {
        for tool in [verb.to_owned(), format!("portcullis_{verb}"), format!("first_{verb}")] {
            id += 2;
            let error = called(&host, &tool);
            assert_eq!(
                (&error["code"], &error["message"]),
                (&(-32602).into(), &format!("unknown tool: `{tool}`").into())
            );
            let reply = client.request(id, "tools/call", json!({ "name": tool, "arguments": params }));
            assert_eq!(reply["error"]["code"], -32602, "{reply:#}");
        }
        for method in
            [verb.to_owned(), format!("plugins/{verb}"), format!("tools/{verb}"), format!("portcullis/{verb}")]
        {
            id += 2;
            let reply = raw::modern(&host.address, &method, params.clone()).message();
            assert_eq!(reply["error"]["code"], -32601, "{method}: {reply:#}");
            let reply = client.request(id + 1, &method, params.clone());
            assert_eq!(reply["error"]["code"], -32601, "{method}: {reply:#}");
        }
        for path in
            [format!("/{verb}"), format!("/{verb}/first"), format!("/plugins/first/{verb}"), format!("/mcp/{verb}")]
        {
            for method in ["POST", "GET", "PUT"] {
                let body = params.to_string();
                let answer = answer(open(&host.address, method, &path, &USUAL, body.as_bytes()));
                assert_eq!(answer.status, 404, "{method} {path}: {answer:?}");
            }
        }
    }
    assert_eq!((fs::read(&lock).expect("a lock"), fs::read(&record).expect("a record")), before);
    let status = stands(&folder, "pending review");
    assert_eq!(status["served"], pinned.as_str());
    assert_eq!((called(&host, "first_answer"), called(&host, "other_answer")), (1.into(), 2.into()));
}

#[test]
fn dev_neither_reads_nor_writes_lock_and_approvals() {
    let folder = Folder::unapproved("");
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/hello");
    for part in ["Cargo.toml", "Cargo.lock", "src/lib.rs", "wit/hello.wit"] {
        let to = folder.path().join("plugins/hello").join(part);
        fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
        fs::copy(from.join(part), to).expect("a copy");
    }
    // Whoever reads these stumbles.
    let (lock, trust) = (folder.path().join("portcullis.lock"), folder.path().join(".portcullis/trust"));
    fs::create_dir(folder.path().join(".portcullis")).expect("a folder");
    for path in [&lock, &trust] {
        fs::write(path, "garbage\u{0}").expect("a file");
    }
    let mut command = folder.command(&["call", "--dev", "plugins", "hello_greet", r#"{"name":"Ada"}"#]);
    // One target folder for every run of the tests: what is built stays the same.
    command.env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("approval"));
    let output = command.output().expect("a run");
    let said = stderr(&output);
    assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("Hello, Ada!"), "{said}");
    assert!(!said.contains("lock is") && !said.contains("quarantined"), "{said}");
    for path in [&lock, &trust] {
        assert_eq!(fs::read_to_string(path).expect("the file"), "garbage\u{0}");
    }
    // What it approved for itself is nothing to a host: this one finds no state that it could use.
    assert_eq!(folder.run(&["list"]).status.code(), Some(1));
}
