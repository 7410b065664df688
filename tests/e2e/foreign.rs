//! Components of other toolchains: twelve to eighteen megabytes of what they really emit, built by `tests/setup`.

use std::time::Instant;

use serde_json::json;

use crate::{
    host::{Folder, plugins},
    raw,
    tools::{script, succeeded},
};

/// Calls every function of the component that `language` built.
fn check(language: &str) {
    let Some(built) = script("setup/components", &[language]) else {
        return;
    };
    let path = succeeded(&built).trim().to_owned();
    // Approving compiles it, within the limits of the child.
    let began = Instant::now();
    let folder = Folder::new(&plugins(&[(language, &path)]));
    let cold = began.elapsed();
    let list = folder.json(&["list", "--json"]);
    assert_eq!(list[0]["state"], "approved", "{list:#}");
    let host = folder.serve();
    let call =
        |tool: &str, arguments| raw::call(&host.address, &format!("{language}_{tool}"), arguments)["result"].clone();
    assert_eq!(call("echo", json!({ "text": "naïve ✓" }))["structuredContent"], json!({ "result": "naïve ✓" }));
    assert_eq!(call("add", json!({ "a": 2, "b": 40 }))["structuredContent"], json!({ "result": 42 }));
    let refused = call("refuse", json!({ "reason": "no" }));
    assert_eq!(refused["isError"], true, "{refused:#}");
    assert_eq!(host.stop().code(), Some(0));
    // A second start finds the code in the cache.
    let began = Instant::now();
    folder.json(&["list", "--json"]);
    assert!(began.elapsed() < cold, "the cache saves nothing: {:?} after {cold:?}", began.elapsed());
}

#[test]
fn javascript() {
    check("js");
}

#[test]
fn python() {
    check("py");
}
