//! A14, A15: one owner, and a file for its owner alone.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{PermissionsExt, symlink},
};

use portcullis_store::OpenError;

use super::child::{open, start, wait_for};

#[test]
fn a_second_process_is_refused_with_what_to_do() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut child, mut output) = start(dir.path(), "own");
    wait_for(&mut output, "ready");
    let refused = open(dir.path()).map(drop).expect_err("refused");
    assert!(matches!(refused, OpenError::InUse(_)), "{refused}");
    let hint = refused.hint().expect("a hint");
    assert!(hint.contains("redis://") && hint.contains("[store]"), "{hint}");
    child.stdin.take().expect("its input").write_all(b"end\n").expect("told");
    assert!(child.wait().expect("ended").success());
    let first = open(dir.path()).expect("free again");
    assert!(matches!(open(dir.path()), Err(OpenError::InUse(_))), "of this process too");
    drop(first);
    open(dir.path()).expect("free again");
}

#[test]
fn a_killed_owner_leaves_no_lock() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut child, mut output) = start(dir.path(), "own");
    wait_for(&mut output, "ready");
    child.kill().expect("killed");
    child.wait().expect("ended");
    open(dir.path()).expect("opened");
}

#[test]
fn the_file_is_its_owners_alone() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("store.redb");
    let mode = || fs::metadata(&path).expect("made").permissions().mode() & 0o777;
    drop(open(dir.path()).expect("opened"));
    assert_eq!(mode(), 0o600);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("set");
    drop(open(dir.path()).expect("opened"));
    assert_eq!(mode(), 0o600, "also where it was not");
    let names: Vec<_> =
        fs::read_dir(dir.path()).expect("a folder").map(|entry| entry.expect("one").file_name()).collect();
    assert_eq!(names, ["store.redb"]);
}

#[test]
fn what_is_no_file_is_left_alone() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("store.redb");
    fs::create_dir(&path).expect("made");
    assert!(matches!(open(dir.path()), Err(OpenError::NotRegular(_))));
    fs::remove_dir(&path).expect("removed");
    symlink("elsewhere", &path).expect("linked");
    assert!(matches!(open(dir.path()), Err(OpenError::NotRegular(_))));
    assert!(!dir.path().join("elsewhere").exists());
}

/// A process that ended while it made the file leaves a draft, and the next one begins anew.
#[test]
fn a_draft_is_no_store() {
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("store.new"), b"half a database").expect("written");
    drop(open(dir.path()).expect("opened"));
    assert!(!dir.path().join("store.new").exists());
}
