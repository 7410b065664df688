//! F6, F7: nothing is changed in a directory that is granted to read, and no link is made anywhere.

use std::fs;

use serde_json::{Value, json};

use super::{Ground, NOT_PERMITTED, READ, READ_ONLY, WRITE, both, bytes, check, err, path};
use crate::house::House;

#[tokio::test(flavor = "multi_thread")]
async fn f6_a_read_only_file_is_not_truncated() {
    let ground = Ground::new();
    ground.put("a", "one");
    let house = House::open(1, both(&ground.grant(READ))).await;
    let open = |what: &[&str]| json!({ "path": "a", "what": what });
    let denied = Some(("/data/a", READ_ONLY));
    check(
        &house,
        &[
            ("raw_open", open(&["truncate"]), err(NOT_PERMITTED), denied),
            ("raw_open", open(&["create", "truncate"]), err(NOT_PERMITTED), denied),
            ("raw_open", open(&["write"]), err(NOT_PERMITTED), denied),
            ("raw_open", open(&["write", "truncate"]), err(NOT_PERMITTED), denied),
            ("f_write", json!({ "path": "/data/a", "text": "" }), err("Operation not permitted"), denied),
            ("raw_change_opened", path("a"), Value::from(vec![NOT_PERMITTED; 5]), denied),
        ],
    )
    .await;
    assert_eq!(fs::read_to_string(ground.data().join("a")).expect("it"), "one");
}

#[tokio::test(flavor = "multi_thread")]
async fn f7_nothing_is_made_renamed_or_removed_in_a_read_only_directory() {
    let ground = Ground::new();
    ground.put("a", "one");
    fs::create_dir(ground.data().join("d")).expect("a folder");
    let house = House::open(1, both(&ground.grant(READ))).await;
    let at = |name| Some((name, READ_ONLY));
    let open = |name: &str| json!({ "path": name, "what": ["create"] });
    let times = json!({ "path": "a", "seconds": 1, "nanoseconds": 0 });
    check(
        &house,
        &[
            ("raw_open", open("new"), err(NOT_PERMITTED), at("/data/new")),
            ("raw_mkdir", path("new"), err(NOT_PERMITTED), at("/data/new")),
            ("raw_unlink", path("a"), err(NOT_PERMITTED), at("/data/a")),
            ("raw_rmdir", path("d"), err(NOT_PERMITTED), at("/data/d")),
            ("raw_rename", json!({ "old": "a", "new": "b" }), err(NOT_PERMITTED), at("/data/a")),
            ("raw_set_times", times, err(NOT_PERMITTED), at("/data/a")),
        ],
    )
    .await;
    assert_eq!(house.answer("f_names", path("/data")).await, json!(["a", "d/"]));
    assert_eq!(bytes(&ground.data()), 3);
}

/// F5 among them: a hard link would carry a file out of what is granted to read into what is granted to write.
#[tokio::test(flavor = "multi_thread")]
async fn f5_links_are_never_made() {
    let no = Some(("/data/new", "links are never made"));
    for access in [READ, WRITE] {
        let ground = Ground::new();
        ground.put("a", "one");
        let house = House::open(1, both(&ground.grant(access))).await;
        check(
            &house,
            &[
                ("raw_link", json!({ "old": "a", "new": "new" }), err(NOT_PERMITTED), no),
                ("raw_symlink", json!({ "target": "a", "path": "new" }), err(NOT_PERMITTED), no),
                ("raw_symlink", json!({ "target": "/etc/passwd", "path": "new" }), err(NOT_PERMITTED), no),
                ("f_names", path("/data"), json!(["a"]), None),
            ],
        )
        .await;
    }
}

/// A path that a guest makes up ends in the ledger in part, and a call in all is recorded sixteen times.
#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_recorded_in_bounds() {
    let ground = Ground::new();
    let house = House::open(1, both(&ground.grant(READ))).await;
    let steps: Vec<Value> =
        (0..100).map(|_| json!({ "tag": "mkdir", "value": format!("/data/{}", "n".repeat(4000)) })).collect();
    house.answer("f_script", json!({ "steps": steps })).await;
    let noted = super::refusals(&house);
    assert_eq!(noted.len(), 16);
    assert!(noted.iter().all(|(target, _)| target.len() <= 512), "{noted:?}");
    // Longer than any path can be: refused before it is looked at.
    let long = json!({ "path": "n/".repeat(100_000) });
    check(&house, &[("raw_mkdir", long, err("name-too-long"), None)]).await;
}
