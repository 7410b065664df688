//! What changes reaches a running host, and what is taken away is gone at once: P19, and reloading.

use std::{fs, io::BufReader, thread};

use portcullis_artifacts as guests;
use serde_json::{Value, json};

use super::{
    BOUND, answering, approve, both, called, configure, done, events, house, put, stands, tools, unknown, within_bound,
};
use crate::{
    host::{Folder, PATIENCE},
    raw::{self, Session, heard},
};

/// What switches `first` off in a running host, and what brings it back.
fn check_revocation(command: &[&str], event: &str) {
    let folder = house();
    let host = folder.serve();
    let session = Session::open(&host.address);
    let mut older = session.listen();
    let wanted = json!({ "notifications": { "toolsListChanged": true } });
    let mut newer = BufReader::new(raw::open_modern(&host.address, "subscriptions/listen", wanted));
    heard(&mut newer, "acknowledged");
    let mut client = folder.stdio();
    client.initialize();
    assert_eq!(called(&host, "first_answer"), 1);

    done(&folder, command);
    let began = std::time::Instant::now();
    heard(&mut older, "notifications/tools/list_changed");
    heard(&mut newer, "notifications/tools/list_changed");
    unknown(&host, "first_answer");
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
    assert_eq!((tools(&host), called(&host, "other_answer")), (vec!["other_answer".to_owned()], 2.into()));
    assert_eq!(events(&folder, event).len(), 1);
    let notified: Value = serde_json::from_str(&client.line()).expect("a message");
    assert_eq!(notified["method"], "notifications/tools/list_changed");
    let list = client.request(1, "tools/list", json!({}))["result"]["tools"].clone();
    assert_eq!((list.as_array().map(Vec::len), &list[0]["name"]), (Some(1), &"other_answer".into()));
    let call = client.request(2, "tools/call", json!({ "name": "first_answer", "arguments": {} }));
    assert_eq!(call["error"]["message"], "unknown tool: `first_answer`", "{call:#}");

    // Approved again, it is back, without a restart.
    approve(&folder);
    heard(&mut older, "notifications/tools/list_changed");
    heard(&mut newer, "notifications/tools/list_changed");
    assert_eq!(called(&host, "first_answer"), 1);
    let notified: Value = serde_json::from_str(&client.line()).expect("a message");
    assert_eq!(notified["method"], "notifications/tools/list_changed");
    let call = client.request(3, "tools/call", json!({ "name": "first_answer", "arguments": {} }));
    assert_eq!(call["result"]["structuredContent"]["result"], 1, "{call:#}");
}

#[test]
fn p19_what_is_disabled_is_gone_at_once() {
    check_revocation(&["disable", "first"], "plugin.disabled");
}

#[test]
fn p19_what_is_removed_is_gone_at_once() {
    check_revocation(&["remove", "first"], "plugin.removed");
}

#[test]
fn what_is_disabled_stays_so_across_restarts() {
    let folder = house();
    done(&folder, &["disable", "first"]);
    for _restart in 0..2 {
        let status = stands(&folder, "disabled");
        assert_eq!(status["next"], "portcullis approve first");
        let host = folder.serve();
        unknown(&host, "first_answer");
        assert_eq!(called(&host, "other_answer"), 2);
    }
    // Neither a new file nor the lock brings it back.
    put(&folder, "first.wasm", &answering(3));
    stands(&folder, "disabled");
    approve(&folder);
    assert_eq!(folder.json(&["call", "first_answer", "--json"])["result"]["result"], 3);
}

#[test]
fn p19_a_call_in_flight_ends_as_it_began() {
    let folder = house();
    let outcomes = format!("[plugins.outcomes]\nsource = {:?}\n", guests::OUTCOMES);
    configure(&folder, &format!("{}{outcomes}", both("")));
    folder.approve_all();
    let host = folder.serve();
    let session = Session::open(&host.address);
    let mut told = session.listen();
    let address = host.address.clone();
    // Longer than it takes to disable; whether it was long enough is asserted below.
    let call = thread::spawn(move || raw::call(&address, "outcomes_sleep", json!({ "ms": 4000 })));
    within_bound("the call has begun", || !events(&folder, "call.intent").is_empty());
    done(&folder, &["disable", "outcomes"]);
    heard(&mut told, "notifications/tools/list_changed");
    unknown(&host, "outcomes_sleep");
    assert!(events(&folder, "call.outcome").is_empty(), "the call was over before");
    let reply = call.join().expect("a reply");
    assert_eq!(reply["result"]["isError"], false, "{reply:#}");
    assert_eq!(events(&folder, "call.outcome")[0]["outcome"], "ok");
    assert_eq!(called(&host, "other_answer"), 2);
}

#[test]
fn a_source_that_changes_waits_until_another_process_approves_it() {
    let folder = house();
    let host = folder.serve();
    put(&folder, "first.wasm", &answering(3));
    let line = host.logged("pending review");
    assert!(line.contains("portcullis diff first"), "{line}");
    assert_eq!(called(&host, "first_answer"), 1);
    approve(&folder);
    within_bound("what was approved runs", || called(&host, "first_answer") == 3);
    // In the place of the file, as `cp` does it.
    fs::write(folder.path().join("first.wasm"), answering(5)).expect("a write");
    host.logged("pending review");
    approve(&folder);
    within_bound("what was approved runs", || called(&host, "first_answer") == 5);
    assert_eq!(called(&host, "other_answer"), 2);
}

#[test]
fn a_plugin_that_is_added_is_served_once_it_is_approved() {
    let folder = house();
    let host = folder.serve();
    let session = Session::open(&host.address);
    let mut told = session.listen();
    put(&folder, "third.wasm", &answering(9));
    configure(&folder, &format!("{}[plugins.third]\nsource = \"third.wasm\"\n", both("")));
    let line = host.logged("quarantined");
    assert!(line.contains("third") && line.contains("portcullis inspect third"), "{line}");
    unknown(&host, "third_answer");
    folder.approve_all();
    heard(&mut told, "notifications/tools/list_changed");
    assert_eq!((called(&host, "third_answer"), called(&host, "first_answer")), (9.into(), 1.into()));
    // And taken out of the configuration it is gone.
    configure(&folder, &both(""));
    heard(&mut told, "notifications/tools/list_changed");
    unknown(&host, "third_answer");
}

#[test]
fn a_configuration_that_is_broken_takes_nothing_away() {
    let folder = house();
    let host = folder.serve();
    for broken in ["[plugins", "[plugins.first]\nsorce = \"first.wasm\"\n"] {
        put(&folder, "portcullis.toml", broken.as_bytes());
        host.logged("the configuration is not valid, and was not applied");
        assert_eq!((called(&host, "first_answer"), called(&host, "other_answer")), (1.into(), 2.into()), "{broken}");
    }
    fs::remove_file(folder.path().join("portcullis.toml")).expect("gone");
    host.logged("the configuration is not valid, and was not applied");
    assert_eq!(called(&host, "first_answer"), 1);
    configure(&folder, "[plugins.other]\nsource = \"other.wasm\"\n");
    within_bound("what is valid again is applied", || tools(&host) == ["other_answer"]);
}

#[test]
fn a_lock_that_is_pulled_takes_away_at_once_and_brings_nothing() {
    let folder = house();
    let host = folder.serve();
    let path = folder.path().join("portcullis.lock");
    let lock = fs::read_to_string(&path).expect("a lock");
    put(&folder, "portcullis.lock", lock.replace("first.wasm", "elsewhere.wasm").as_bytes());
    host.logged("the lock is not accepted");
    within_bound("the plugin is gone", || tools(&host) == ["other_answer"]);
    assert_eq!(called(&host, "other_answer"), 2);
    put(&folder, "portcullis.lock", lock.as_bytes());
    within_bound("the plugin is back", || tools(&host).len() == 2);
    assert_eq!(called(&host, "first_answer"), 1);
    assert!(!events(&folder, "lock.refused").is_empty());
}

#[test]
fn a_source_behind_a_link_is_looked_after() {
    let folder = Folder::unapproved("");
    let elsewhere = tempfile::tempdir().expect("a folder");
    fs::write(elsewhere.path().join("built.wasm"), answering(1)).expect("a file");
    std::os::unix::fs::symlink(elsewhere.path().join("built.wasm"), folder.path().join("first.wasm")).expect("a link");
    configure(&folder, "[plugins.first]\nsource = \"first.wasm\"\n");
    folder.approve_all();
    let host = folder.serve();
    assert_eq!(called(&host, "first_answer"), 1);
    fs::write(elsewhere.path().join("new"), answering(3)).expect("a file");
    fs::rename(elsewhere.path().join("new"), elsewhere.path().join("built.wasm")).expect("a swap");
    host.logged("pending review");
    assert!(BOUND < PATIENCE);
}
