//! The setting: what it takes to write it, and what it takes to take it away.

use std::fs;

use super::{ASKS, folder};
use crate::{
    host::{Folder, eventually, stderr},
    raw,
};

/// Asking is stricter, and holds at once; not asking any more waits for approval.
#[test]
fn taking_it_away_waits_for_approval() {
    let folder = folder("");
    let path = folder.path().join("portcullis.toml");
    let without = fs::read_to_string(&path).expect("a configuration");
    let with = without.replace("[server]", &format!("{ASKS}[server]"));
    let host = folder.serve();
    let runs =
        || raw::call(&host.address, "echo_echo", serde_json::json!({ "text": "hi" }))["result"]["isError"] == false;
    let state = || {
        let listed = folder.run(&["list", "--json"]);
        let plugins: serde_json::Value = serde_json::from_slice(&listed.stdout).expect("JSON");
        plugins.as_array().expect("a list").iter().find(|p| p["name"] == "echo").expect("echo")["state"].clone()
    };
    let lock = || fs::read_to_string(folder.path().join("portcullis.lock")).expect("the lock");
    assert!(runs());
    fs::write(&path, &with).expect("a configuration");
    eventually(|| !runs());
    assert_eq!(state(), "approved", "stricter needs nobody's word");
    // What was approved without it is not bound to it: taking it away again is no widening.
    fs::write(&path, &without).expect("a configuration");
    eventually(runs);
    // What was approved with it does not lose it by a line of the configuration.
    fs::write(&path, &with).expect("a configuration");
    approve(&folder);
    assert!(lock().contains("echo = \"each-call\""), "{}", lock());
    eventually(|| !runs());
    let once = with.replace("confirm = true", "confirm = true\nremember = \"session\"");
    for less in [&without, &once] {
        fs::write(&path, less).expect("a configuration");
        eventually(|| state() == "pending review");
        assert!(!runs(), "a person is still asked");
    }
    fs::write(&path, &without).expect("a configuration");
    let told = folder.run(&["diff", "echo"]);
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains("confirm: each-call → off"), "{told}");
    approve(&folder);
    eventually(runs);
    assert!(!lock().contains("each-call"), "{}", lock());
}

fn approve(folder: &Folder) {
    let review = folder.json(&["diff", "echo", "--json"]);
    let digest = review["approve"].as_str().map(str::to_owned);
    let inspected = folder.json(&["inspect", "echo", "--json"]);
    let sha256 = inspected["digest"].as_str().or(inspected["sha256"].as_str()).expect("a digest");
    let output = folder.run(&["approve", "echo", "--sha256", sha256]);
    assert!(output.status.success(), "{}{digest:?}", stderr(&output));
}

#[test]
fn remembering_needs_asking_and_time_is_bounded() {
    let refused = |text: &str, server: &str, part: &str| {
        let folder = folder(text);
        super::edit(&folder, "[server]\n", &format!("[server]\n{server}"));
        let output = folder.run(&["check"]);
        let told = stderr(&output);
        assert!(output.status.code() == Some(1) && told.contains(part) && told.contains("hint: "), "{told}");
    };
    refused("[plugins.echo.tool.echo]\nremember = \"session\"\n", "", "without `confirm`");
    refused(&format!("{ASKS}remember = \"always\"\n"), "", "always");
    refused("[plugins.echo.tool.echo]\nconfirm = \"yes\"\n", "", "expected a boolean");
    for time in ["0s", "500ms", "61m", "99999999999h"] {
        refused("", &format!("confirm-timeout = \"{time}\"\n"), "must be from 1s to 1h");
    }
    refused("", "confirm-timeout = 5\n", "duration");
}
