//! F12: which directories are never given, and what the operator is told.

use std::{fs, os::unix::fs::symlink};

use portcullis_artifacts as guests;
use serde_json::json;

use super::{Ground, WRITE, path};
use crate::house::{House, built, patient};

/// The plugin with these grants is broken for this reason, which names the directory as it was written.
async fn check(grants: &str, reason: &str) {
    let house = House::open(1, vec![built("f", guests::FILES, patient()).granted(grants)]).await;
    let (state, told, _) = house.status("f");
    assert_eq!(state, "broken", "{grants}");
    assert!(told.ends_with(&format!("of its grants cannot be given to it: {reason}")), "{grants}: {told}");
    house.alive().await;
}

fn grant(host: impl AsRef<std::path::Path>, more: &str) -> String {
    format!("files = [{{ host = {:?}, guest = \"/data\"{more} }}]", host.as_ref())
}

#[tokio::test(flavor = "multi_thread")]
async fn f12_what_is_never_granted_is_refused() {
    let ground = Ground::new();
    let outside = ground.outside();
    fs::write(outside.join("file"), "").expect("a file");
    symlink(ground.data(), outside.join("link")).expect("a link");
    fs::create_dir(ground.data().join("sub")).expect("a folder");
    symlink("/", outside.join("root")).expect("a link");
    let home = std::path::PathBuf::from(std::env::var_os("HOME").expect("a home")).canonicalize().expect("a path");
    for (grants, reason) in [
        (grant(&home, ""), "it is or holds the home directory, with the keys and settings in it"),
        (grant(outside.join("none"), ""), "it is not there"),
        (grant(outside.join("file"), ""), "it is no directory"),
        (grant(outside.join("link"), ""), "it leads through a symbolic link"),
        (grant(outside.join("link/sub"), ""), "it leads through a symbolic link"),
        (grant(outside.join("root/dev"), ""), "it leads through a symbolic link"),
        (grant("state", ""), "it is, holds or lies in the state directory of this host"),
        (grant("state/cache", ""), "it is, holds or lies in the state directory of this host"),
        (grant(".", ""), "it is, holds or lies in the state directory of this host"),
        (grant("..", ""), "it is, holds or lies in the state directory of this host"),
    ] {
        check(&grants, reason).await;
    }
}

/// What policy refuses before anything is looked at.
#[test]
fn f12_the_machine_as_a_whole_is_refused_as_it_is_read() {
    for host in ["/", "//", "/proc", "/proc/self", "/sys/kernel", "/dev", "/dev/shm"] {
        let grants = toml::from_str::<portcullis_policy::Grants>(&grant(host, ""));
        assert!(grants.is_err(), "{host}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f12_directories_of_one_plugin_that_hold_one_another_are_refused() {
    let ground = Ground::new();
    let sub = ground.data().join("sub");
    fs::create_dir(&sub).expect("a folder");
    let two = |outer: &str, inner: &str| {
        let outer = format!("{{ host = {:?}, guest = \"/outer\"{outer} }}", ground.data());
        format!("files = [{outer}, {{ host = {sub:?}, guest = \"/sub\"{inner} }}]")
    };
    let reason = format!("`{}` of the same grants holds it too", ground.data().display());
    check(&two(WRITE, ""), &reason).await;
    check(&two(WRITE, WRITE), &reason).await;
    // A place to write in what is only read: each entry counts for what it opens.
    let house = House::open(1, vec![built("f", guests::FILES, patient()).granted(two("", WRITE))]).await;
    let write = |path: &str| json!({ "path": path, "text": "x" });
    assert_eq!(house.answer("f_write", write("/sub/a")).await, serde_json::Value::Null);
    assert_eq!(house.answer("f_read", path("/outer/sub/a")).await, "x");
    assert_eq!(house.answer("f_write", write("/outer/sub/a")).await, json!({ "err": "Operation not permitted" }));
}

/// The directory was opened once: what takes its place is another one.
#[tokio::test(flavor = "multi_thread")]
async fn f9_a_granted_directory_that_is_replaced_stays_the_one_that_was_granted() {
    let ground = Ground::new();
    ground.put("a", "granted");
    let house = House::open(1, vec![built("f", guests::FILES, patient()).granted(ground.grant(""))]).await;
    let outside = ground.outside();
    fs::rename(ground.data(), outside.join("moved")).expect("moved");
    fs::create_dir(outside.join("bait")).expect("a folder");
    fs::write(outside.join("bait/a"), super::SECRET).expect("a file");
    symlink("bait", ground.data()).expect("a link");
    assert_eq!(house.answer("f_read", path("/data/a")).await, "granted");
    house.alive().await;
}
