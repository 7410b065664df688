//! F10, F11, S16: what a call may hold open, and how much a directory may hold.

use std::{
    fs,
    time::{Duration, Instant},
};

use portcullis_artifacts as guests;
use portcullis_audit::Outcome;
use serde_json::{Value, json};

use super::{Ground, READ, WRITE, both, bytes, check, err, path};
use crate::house::{House, built, deadline};

#[tokio::test(flavor = "multi_thread")]
async fn f10_a_directory_does_not_grow_past_its_quota() {
    let ground = Ground::new();
    ground.put("there", &"x".repeat(400));
    let house = House::open(2, both(&ground.grant(", access = \"read-write\", quota = \"1000B\""))).await;
    let full = |name| Some((name, "quota of 1000 bytes is used up"));
    let steps = |steps: Value| json!({ "steps": steps });
    let append = |name: &str, more: u32| json!({ "tag": "append", "value": [format!("/data/{name}"), more] });
    let (no, shorter) = ("I/O error", "No space left on device");
    check(
        &house,
        &[
            ("f_script", steps(json!([append("a", 600), append("a", 1)])), json!([null, no]), full("/data/a")),
            ("f_look", path("/data/a"), json!([600, false]), None),
            (
                "f_script",
                steps(json!([
                    { "tag": "write-at", "value": ["/data/a", 599, 1] },
                    { "tag": "write-at", "value": ["/data/a", 600, 1] },
                    { "tag": "write-at", "value": ["/data/b", 1_u64 << 40, 1] },
                    { "tag": "set-size", "value": ["/data/a", 601] },
                    { "tag": "set-size", "value": ["/data/a", 599] },
                    append("b", 1),
                    append("b", 1),
                ])),
                json!([null, no, no, shorter, null, null, no]),
                full("/data/a"),
            ),
            // Over another file, and emptied: what was there comes free.
            (
                "f_script",
                steps(json!([
                    { "tag": "rename", "value": ["/data/b", "/data/there"] },
                    append("c", 400),
                    append("c", 1),
                    { "tag": "hold", "value": "/data/c" },
                    append("c", 400),
                    append("c", 1),
                    { "tag": "remove", "value": "/data/a" },
                    append("c", 600),
                ])),
                json!([null, null, no, null, null, no, null, no]),
                full("/data/c"),
            ),
        ],
    )
    .await;
    assert_eq!(bytes(&ground.data()), 401);
    house.alive().await;
}

/// A file that has no name any more is on the disk until it is closed: it still counts.
#[tokio::test(flavor = "multi_thread")]
async fn f10_what_is_removed_and_open_counts() {
    let ground = Ground::new();
    let house = House::open(2, both(&ground.grant(", access = \"read-write\", quota = \"1000B\""))).await;
    let append = |more: u32| json!({ "tag": "append", "value": ["/data/b", more] });
    let steps = json!({ "steps": [
        { "tag": "hold", "value": "/data/a" },
        { "tag": "write-held", "value": 500 },
        { "tag": "remove", "value": "/data/a" },
        { "tag": "write-held", "value": 300 },
        append(201),
        { "tag": "write-held", "value": 201 },
        append(200),
    ] });
    let no = "I/O error";
    let told = Some(("/data/b", "quota of 1000 bytes is used up"));
    check(
        &house,
        &[
            ("f_script", steps, json!([null, null, null, null, no, no, null]), told),
            // The call is over: what it held is free.
            ("f_script", json!({ "steps": [append(800)] }), json!([null]), None),
        ],
    )
    .await;
    assert_eq!(bytes(&ground.data()), 1000);
}

/// Calls that are stopped in the middle of a write leave the books exact, and the directory to others.
#[tokio::test(flavor = "multi_thread")]
async fn f10_a_call_that_is_stopped_while_it_writes_leaves_the_books_exact() {
    let ground = Ground::new();
    let grant = ground.grant(", access = \"read-write\", quota = \"1MiB\"");
    let guest = built("f", guests::FILES, deadline(Duration::from_millis(100))).granted(&grant);
    let after = built("g", guests::FILES, crate::house::patient()).granted(&grant);
    let house = House::open(4, vec![guest, after]).await;
    for round in 0..4 {
        let stopped = |call: u32| house.call("f_append_forever", json!({ "path": format!("/data/{round}-{call}") }));
        tokio::join!(stopped(0), stopped(1), stopped(2));
    }
    house.check("f_append_forever", path("/data/a"), Outcome::Deadline, "limit `deadline`").await;
    let append = |more: u64| json!({ "steps": [{ "tag": "append", "value": ["/data/last", more] }] });
    // A piece that the system was writing when its call ended comes to its end a moment later.
    let began = Instant::now();
    while bytes(&ground.data()) < 1 << 20 {
        let left = (1 << 20) - bytes(&ground.data());
        let told = house.answer("g_script", append(left)).await;
        assert!(told == json!([null]) || began.elapsed() < Duration::from_secs(10), "{left} bytes are lost");
    }
    assert_eq!(house.answer("g_script", append(1)).await, json!(["I/O error"]));
    assert_eq!(bytes(&ground.data()), 1 << 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn f11_a_call_holds_so_many_files_and_streams_open() {
    let ground = Ground::new();
    ground.put("a", "one");
    let house = House::open(2, both(&ground.grant(READ))).await;
    let often = |times: u32| json!({ "path": "/data/a", "times": times });
    let full = Some(("/data/a", "the call has 64 files open"));
    // Of this directory alone: other tests share the process.
    let held = || {
        let open = fs::read_dir("/proc/self/fd").expect("descriptors").flatten();
        open.filter(|fd| fs::read_link(fd.path()).is_ok_and(|link| link.starts_with(ground.outside()))).count()
    };
    let before = held();
    check(
        &house,
        &[
            ("f_open_often", often(64), json!([64, null]), None),
            ("f_open_often", often(10_000), json!([64, "Out of memory"]), full),
            (
                "raw_streams",
                json!({ "path": "a", "count": 5000 }),
                json!([128, "insufficient-memory"]),
                Some(("/data/a", "the call has 128 streams of files open")),
            ),
            // Handles of one that is open already, not counted but by the table that bounds all.
            ("raw_preopens", json!({ "times": 1000 }), json!(1000), None),
        ],
    )
    .await;
    let many = json!({ "times": 20_000 });
    house.check("raw_preopens", many, Outcome::OutOfMemory, "too many host resources").await;
    let after = held();
    assert!(after <= before + 4, "{before} descriptors before, {after} after");
}

/// Directories in one another are counted, however deep: a plugin cannot make its directory one that does not load.
#[tokio::test(flavor = "multi_thread")]
async fn f10_directories_in_one_another_are_counted() {
    let ground = Ground::new();
    let grant = ground.grant(", access = \"read-write\", quota = \"1000B\"");
    let house = House::open(1, both(&grant)).await;
    assert_eq!(house.answer("raw_nest", json!({ "levels": 300 })).await, json!([300, null]));
    let deep = ground.data().join(["d"; 300].join("/"));
    fs::write(deep.join("a"), "x".repeat(990)).expect("a file");
    let house = House::open(1, both(&grant)).await;
    let append = |more: u64| json!({ "steps": [{ "tag": "append", "value": ["/data/a", more] }] });
    assert_eq!(house.answer("f_script", append(11)).await, json!(["I/O error"]));
    assert_eq!(house.answer("f_script", append(10)).await, json!([null]));
}

/// S16 for files: writes of nothing are dropped, and cost the host nothing that stays.
#[tokio::test(flavor = "multi_thread")]
async fn s16_writes_of_nothing_leave_nothing_behind() {
    let ground = Ground::new();
    let house = House::open(1, both(&ground.grant(WRITE))).await;
    let arguments = json!({ "path": "a", "count": 100_000, "text": "one" });
    let small = Ground::new();
    let full = House::open(1, both(&small.grant(", access = \"read-write\", quota = \"2B\""))).await;
    let told = Some(("/data/a", "quota of 2 bytes is used up"));
    check(&full, &[("raw_empty_writes", arguments.clone(), err("insufficient-space"), told)]).await;
    check(
        &house,
        &[("raw_empty_writes", arguments, Value::Null, None), ("f_read", path("/data/a"), json!("one"), None)],
    )
    .await;
}

/// A directory with many entries is read, whatever their number: the host holds few at a time.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_directory_is_listed() {
    let ground = Ground::new();
    let names: Vec<String> = (0..3000).map(|number| format!("{number:05}")).collect();
    names.iter().for_each(|name| ground.put(name, ""));
    let house = House::open(1, both(&ground.grant(READ))).await;
    check(
        &house,
        &[
            ("f_names", path("/data"), json!(names), None),
            ("f_read", path("/data/none"), err("No such file or directory"), None),
        ],
    )
    .await;
}
