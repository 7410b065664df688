//! F1 to F4, F8, F9, S20: no way leads out of a granted directory, and nothing in it blocks the host.

use std::{
    fs,
    os::unix::{fs::symlink, net::UnixListener},
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};

use super::{Ground, NOT_PERMITTED, OUT, READ, SECRET, WRITE, both, check, err, path};
use crate::house::House;

fn read(path: &str) -> Value {
    json!({ "path": path, "follow": true })
}

/// F1, F2.
#[tokio::test(flavor = "multi_thread")]
async fn f1_f2_dots_and_absolute_paths_do_not_lead_out() {
    let ground = Ground::new();
    let secret = ground.outside().join("secret");
    let secret = secret.to_str().expect("a path");
    fs::create_dir(ground.data().join("d")).expect("a folder");
    for access in [READ, WRITE] {
        let house = House::open(1, both(&ground.grant(access))).await;
        let at = |name| Some((name, OUT));
        let written = |name: &str| json!({ "path": name, "what": ["create", "write"] });
        let absolute = format!("/data/{secret}");
        check(
            &house,
            &[
                ("raw_read", read("../secret"), err(NOT_PERMITTED), at("/data/../secret")),
                ("raw_read", read("d/../../secret"), err(NOT_PERMITTED), at("/data/d/../../secret")),
                ("raw_read", read(".."), err(NOT_PERMITTED), at("/data/..")),
                ("raw_read", read(secret), err(NOT_PERMITTED), at(&absolute)),
                ("raw_stat", read("../secret"), err(NOT_PERMITTED), at("/data/../secret")),
                ("raw_readlink", path("../secret"), err(NOT_PERMITTED), at("/data/../secret")),
                ("f_read", path("/data/../secret"), err("Operation not permitted"), at("/data/../secret")),
                ("f_read", path(secret), err("No such file or directory"), None),
            ],
        )
        .await;
        if access == WRITE {
            check(
                &house,
                &[
                    ("raw_open", written("../new"), err(NOT_PERMITTED), at("/data/../new")),
                    ("raw_mkdir", path("../new"), err(NOT_PERMITTED), at("/data/../new")),
                    ("raw_unlink", path("../secret"), err(NOT_PERMITTED), at("/data/../secret")),
                    ("raw_rmdir", path("../data"), err(NOT_PERMITTED), at("/data/../data")),
                    (
                        "raw_rename",
                        json!({ "old": "../secret", "new": "a" }),
                        err(NOT_PERMITTED),
                        at("/data/../secret"),
                    ),
                    ("raw_rename", json!({ "old": "d", "new": "../e" }), err(NOT_PERMITTED), at("/data/d")),
                ],
            )
            .await;
        }
    }
    assert_eq!(fs::read_dir(ground.outside()).expect("it").count(), 2);
}

/// F3: relative, absolute, chained, as a folder, with a slash and with a dot behind (GHSA-vqjp-4c8c-hfgg).
#[tokio::test(flavor = "multi_thread")]
async fn f3_symbolic_links_do_not_lead_out() {
    let ground = Ground::new();
    let data = ground.data();
    for (target, name) in [
        ("../secret".into(), "relative"),
        (ground.outside().join("secret"), "absolute"),
        ("relative".into(), "chained"),
        ("..".into(), "up"),
        ("/".into(), "root"),
        ("loop".into(), "loop"),
    ] {
        symlink(target, data.join(name)).expect("a link");
    }
    let house = House::open(1, both(&ground.grant(WRITE))).await;
    let inner = ground.outside().join("secret");
    let through_root = format!("root{}", inner.display());
    for name in ["relative", "absolute", "chained", "up/secret", "up/", "up/.", "up/data/../secret", &through_root] {
        let shown = format!("/data/{name}");
        let out = Some((shown.as_str(), OUT));
        let made = json!({ "path": name, "what": ["create", "truncate", "write"] });
        check(
            &house,
            &[
                ("raw_read", read(name), err(NOT_PERMITTED), out),
                ("raw_stat", read(name), err(NOT_PERMITTED), out),
                ("raw_open", made, err(NOT_PERMITTED), out),
            ],
        )
        .await;
    }
    let unfollowed = |name: &str| json!({ "path": name, "follow": false });
    check(
        &house,
        &[
            ("raw_read", unfollowed("relative"), err("loop"), None),
            ("raw_read", read("loop"), err("loop"), None),
            ("raw_stat", unfollowed("relative"), json!(["DescriptorType::SymbolicLink", 9]), None),
        ],
    )
    .await;
    assert_eq!(fs::read_to_string(ground.outside().join("secret")).expect("it"), SECRET);
}

/// F4 (GHSA-m9f7-9w4p-gv38).
#[tokio::test(flavor = "multi_thread")]
async fn f4_a_link_with_a_slash_is_neither_renamed_nor_removed_at_its_target() {
    let ground = Ground::new();
    let outer = ground.outside().join("outer");
    fs::create_dir(&outer).expect("a folder");
    fs::write(outer.join("x"), SECRET).expect("a file");
    symlink("../outer", ground.data().join("link")).expect("a link");
    fs::create_dir(ground.data().join("d")).expect("a folder");
    let house = House::open(1, both(&ground.grant(WRITE))).await;
    let rename = |old: &str, new: &str| json!({ "old": old, "new": new });
    for (tool, arguments) in [
        ("raw_rename", rename("link/", "moved")),
        ("raw_rename", rename("link/.", "moved")),
        ("raw_rename", rename("d", "link/")),
        ("raw_rename", rename("link/x", "moved")),
        ("raw_rename", rename("d", "link/d")),
        ("raw_rmdir", path("link/")),
        ("raw_unlink", path("link/")),
        ("raw_unlink", path("link/x")),
        ("raw_mkdir", path("link/new")),
    ] {
        let answer = house.answer(tool, arguments.clone()).await;
        assert!(answer.get("err").is_some(), "{tool} {arguments}: {answer}");
        assert_eq!(fs::read_to_string(outer.join("x")).expect("the file"), SECRET, "{tool} {arguments}");
        assert_eq!(fs::read_dir(&outer).expect("the folder").count(), 1, "{tool} {arguments}");
    }
    // The link itself is the directory's own.
    check(
        &house,
        &[("raw_rename", rename("link", "moved"), Value::Null, None), ("raw_unlink", path("moved"), Value::Null, None)],
    )
    .await;
    house.alive().await;
}

/// F8, S20: opening a FIFO would wait for its other end.
#[tokio::test(flavor = "multi_thread")]
async fn f8_s20_only_regular_files_and_directories_are_opened() {
    let ground = Ground::new();
    let data = ground.data();
    mknodat(CWD, data.join("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a FIFO");
    let _socket = UnixListener::bind(data.join("socket")).expect("a socket");
    symlink("fifo", data.join("link")).expect("a link");
    symlink("/proc/self/root", data.join("proc")).expect("a link");
    symlink("/dev/zero", data.join("zero")).expect("a link");
    for access in [READ, WRITE] {
        let house = House::open(1, both(&ground.grant(access))).await;
        let kind = "it is neither a regular file nor a directory";
        for (name, reason) in
            [("fifo", kind), ("socket", kind), ("link", kind), ("proc", OUT), ("zero", OUT), ("proc/etc/passwd", OUT)]
        {
            let shown = format!("/data/{name}");
            check(&house, &[("raw_read", read(name), err(NOT_PERMITTED), Some((&shown, reason)))]).await;
            let opened = house.answer("raw_open", json!({ "path": name, "what": ["write", "create"] })).await;
            assert_eq!(opened, err(NOT_PERMITTED), "{name}");
        }
        check(
            &house,
            &[
                ("raw_stat", read("fifo"), json!(["DescriptorType::Unknown", 0]), None),
                ("f_names", path("/data"), json!(["fifo", "link", "proc", "socket", "zero"]), None),
            ],
        )
        .await;
    }
}

/// F9: `PORTCULLIS_RACE_ROUNDS`, for long runs: 10,000 and more.
fn rounds() -> usize {
    std::env::var("PORTCULLIS_RACE_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(200)
}

/// F9: a folder becomes a link that leads out, and a folder again, while a guest reads beneath it; and a file becomes a
/// FIFO, on which an open would wait.
#[tokio::test(flavor = "multi_thread")]
async fn f9_a_folder_that_becomes_a_link_meanwhile_does_not_lead_out() {
    let ground = Ground::new();
    let data = ground.data();
    let outer = ground.outside().join("outer");
    fs::create_dir(&outer).expect("a folder");
    fs::write(outer.join("x"), SECRET).expect("a file");
    fs::create_dir(data.join("sub")).expect("a folder");
    fs::write(data.join("sub/x"), "inside").expect("a file");
    symlink(&outer, data.join("other")).expect("a link");
    ground.put("plain", "plain");
    mknodat(CWD, data.join("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a FIFO");
    let house = House::open(4, both(&ground.grant(WRITE))).await;
    let over = AtomicBool::new(false);
    let swaps = std::thread::scope(|scope| {
        let swapping = scope.spawn(|| {
            let mut swaps = 0_u64;
            while !over.load(Ordering::Relaxed) {
                for (one, other) in [("sub", "other"), ("plain", "pipe")] {
                    let (one, other) = (data.join(one), data.join(other));
                    rustix::fs::renameat_with(CWD, one, CWD, other, rustix::fs::RenameFlags::EXCHANGE).expect("a swap");
                }
                swaps += 1;
            }
            swaps
        });
        let read = |path: &str| {
            let (house, path) = (&house, path.to_owned());
            async move { house.answer("f_read_often", json!({ "path": path, "times": rounds() })).await }
        };
        let reading = async { tokio::join!(read("/data/sub/x"), read("/data/other/x"), read("/data/plain")) };
        let (sub, other, plain) = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(reading));
        over.store(true, Ordering::Relaxed);
        for (answer, inside) in [(sub, "inside"), (other, "inside"), (plain, "plain")] {
            let read = answer[0].as_array().expect("a list");
            assert!(read.iter().all(|text| text == inside), "{answer}");
        }
        swapping.join().expect("swaps")
    });
    assert!(swaps > 0);
    house.alive().await;
}
