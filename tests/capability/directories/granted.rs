//! What is granted works, with the standard library as it is.

use std::fs;

use portcullis_artifacts as guests;
use serde_json::{Value, json};

use super::{Ground, READ, WRITE, both, check, err, path};
use crate::house::{House, built, patient};

#[tokio::test(flavor = "multi_thread")]
async fn a_granted_directory_is_read() {
    let ground = Ground::new();
    ground.put("a", "one");
    fs::create_dir(ground.data().join("sub")).expect("a folder");
    ground.put("sub/b", "two");
    std::os::unix::fs::symlink("sub/b", ground.data().join("link")).expect("a link");
    let house = House::open(2, both(&ground.grant(READ))).await;
    check(
        &house,
        &[
            ("f_read", path("/data/a"), json!("one"), None),
            ("f_read", path("/data/sub/../sub/b"), json!("two"), None),
            ("f_read", path("/data/link"), json!("two"), None),
            ("f_names", path("/data"), json!(["a", "link", "sub/"]), None),
            ("f_look", path("/data/sub/b"), json!([3, false]), None),
            (
                "f_look",
                path("/data/sub"),
                json!([fs::metadata(ground.data().join("sub")).expect("it").len(), true]),
                None,
            ),
            ("f_read", path("/data/none"), err("No such file or directory"), None),
            ("f_read", path("/elsewhere/a"), err("No such file or directory"), None),
            ("raw_readlink", path("link"), json!("sub/b"), None),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_granted_for_writing_is_written() {
    let ground = Ground::new();
    let house = House::open(2, both(&ground.grant(WRITE))).await;
    let write = |name: &str, text: &str| json!({ "path": format!("/data/{name}"), "text": text });
    let steps = |steps: Value| json!({ "steps": steps });
    let long = "x".repeat(300_000);
    check(
        &house,
        &[
            ("f_write", write("a", "one"), Value::Null, None),
            ("f_read", path("/data/a"), json!("one"), None),
            ("f_write", write("a", &long), Value::Null, None),
            ("f_read", path("/data/a"), json!(long), None),
            (
                "f_script",
                steps(json!([
                    { "tag": "mkdir", "value": "/data/d" },
                    { "tag": "rename", "value": ["/data/a", "/data/d/b"] },
                    { "tag": "append", "value": ["/data/d/b", 10] },
                    { "tag": "set-size", "value": ["/data/d/b", 5] },
                    { "tag": "write-at", "value": ["/data/d/b", 7, 3] },
                    { "tag": "rmdir", "value": "/data/d" },
                ])),
                json!([null, null, null, null, null, "Directory not empty"]),
                None,
            ),
            ("f_read", path("/data/d/b"), json!("xxxxx\0\0xxx"), None),
            ("f_remove_all", path("/data/d"), Value::Null, None),
            ("f_names", path("/data"), json!([]), None),
        ],
    )
    .await;
}

/// Directories of one plugin are apart: renaming between them fails as between two disks, and programs copy.
#[tokio::test(flavor = "multi_thread")]
async fn two_directories_are_two_disks() {
    let ground = Ground::new();
    let other = ground.outside().join("other");
    fs::create_dir(&other).expect("a folder");
    let entry = |host: &std::path::Path, guest: &str| format!("{{ host = {host:?}, guest = {guest:?}{WRITE} }}");
    let grants = format!("files = [{}, {}]", entry(&ground.data(), "/data"), entry(&other, "/other"));
    let house = House::open(1, vec![built("f", guests::FILES, patient()).granted(grants)]).await;
    let steps = json!({ "steps": [
        { "tag": "append", "value": ["/data/a", 1] },
        { "tag": "rename", "value": ["/data/a", "/other/a"] },
    ] });
    let crosses = json!([null, "Cross-device link"]);
    check(&house, &[("f_script", steps, crosses, None)]).await;
}

/// S22: times that no clock shows.
#[tokio::test(flavor = "multi_thread")]
async fn s22_times_far_away_and_before_the_epoch_do_no_harm() {
    let ground = Ground::new();
    ground.put("a", "one");
    let file = fs::File::options().write(true).open(ground.data().join("a")).expect("a file");
    let before = std::time::SystemTime::UNIX_EPOCH - std::time::Duration::from_secs(1 << 30);
    file.set_modified(before).expect("a time");
    let house = House::open(1, both(&ground.grant(WRITE))).await;
    let set = |seconds: u64, nanoseconds: u32| json!({ "path": "a", "seconds": seconds, "nanoseconds": nanoseconds });
    check(
        &house,
        &[
            ("f_look", path("/data/a"), json!([3, false]), None),
            ("raw_set_times", set(1, 1), Value::Null, None),
            ("raw_set_times", set(u64::MAX, u32::MAX), err("overflow"), None),
            ("raw_set_times", set(1 << 63, 0), err("overflow"), None),
        ],
    )
    .await;
    // Further than a file system counts: it keeps the nearest, or says no.
    house.answer("raw_set_times", set(1 << 62, 999_999_999)).await;
    assert_eq!(house.answer("f_look", path("/data/a")).await, json!([3, false]));
    house.alive().await;
}
