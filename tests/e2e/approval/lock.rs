//! A lock that this host has not accepted loads nothing: P7, and what version control does with locks.

use std::{fs, path::Path, process::Command};

use portcullis_policy::Digest;

use super::{
    answering, approve, called, configure, copy_of, done, events, house, kept, put, quarantined, refused, status,
    tools, unknown,
};
use crate::{
    host::{Folder, stderr},
    raw,
};

/// What becomes of the text of a lock.
type Edit = fn(&str) -> String;
/// What a host loses of its state.
type Loss = fn(&Folder);

fn lock(folder: &Folder) -> String {
    fs::read_to_string(folder.path().join("portcullis.lock")).expect("a lock")
}

fn edit(folder: &Folder, change: impl Fn(&str) -> String) {
    let text = lock(folder);
    let changed = change(&text);
    assert_ne!(text, changed, "the edit changes nothing");
    put(folder, "portcullis.lock", changed.as_bytes());
}

/// Edits the block of `plugin`: `to` in place of `from`.
fn edit_block(folder: &Folder, plugin: &str, from: &str, to: &str) {
    edit(folder, |text| {
        let (before, block) = text.split_once(&format!("# begin {plugin}\n")).expect("a block");
        format!("{before}# begin {plugin}\n{}", block.replacen(from, to, 1))
    });
}

/// What a host does with the folder: which tools it serves, and what it calls the trouble.
fn check(case: &str, folder: &Folder, served: &[&str], trouble: &str) {
    let host = folder.serve();
    assert_eq!(tools(&host), served, "{case}");
    for (tool, answer) in [("first_answer", 1), ("other_answer", 2)] {
        if served.contains(&tool) {
            assert_eq!(called(&host, tool), answer, "{case}");
        } else {
            unknown(&host, tool);
        }
    }
    let ready = raw::answer(raw::open(&host.address, "GET", "/readyz", &[], b""));
    assert_eq!(ready.status, 503, "{case}: {}", ready.body);
    assert_eq!(host.stop().code(), Some(0), "{case}");
    refused(folder, &["list"], &[trouble, "hint: "]);
    refused(folder, &["serve", "--stdio", "--strict"], &["The lock cannot be used", trouble, "hint: "]);
    let doctor = folder.run(&["doctor"]);
    let said = String::from_utf8_lossy(&doctor.stdout);
    assert_eq!(doctor.status.code(), Some(1), "{case}: {said}");
    let fault = |line: &str| line.starts_with("fault ") && line.contains(trouble);
    assert!(said.lines().any(fault), "{case}: {said}");
    let refusals = events(folder, "lock.refused");
    assert!(refusals.iter().any(|line| line["reason"].as_str().is_some_and(|r| r.contains(trouble))), "{case}");
}

/// The command that the refusal of `approve --lock` gives.
fn hinted(folder: &Folder) -> Vec<String> {
    let said = refused(folder, &["approve", "--lock"], &["Approving without a terminal needs the digest"]);
    let line = said.lines().find_map(|line| line.strip_prefix("hint: portcullis ")).expect("a hint");
    line.split(' ').map(str::to_owned).collect()
}

/// Accepts the lock as the refusal says.
fn accept(folder: &Folder) {
    let line = hinted(folder);
    done(folder, &line.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(events(folder, "lock.accepted").len(), 1);
}

#[test]
fn p7_an_edited_block_keeps_its_plugin_from_running() {
    let house = house();
    // A grant more, by hand.
    let widened = copy_of(&house);
    edit_block(&widened, "first", "first.grants = {}", "first.grants.env.UNITS = \"metric\"");
    check("a grant more", &widened, &["other_answer"], "`first` (edited)");
    accept(&widened);
    assert_eq!(status(&widened, "first")["state"], "approved");

    // Another digest: accepted as it stands, and still no bytes that it names.
    let other = copy_of(&house);
    let digest = status(&house, "first")["digest"].as_str().expect("a digest").to_owned();
    edit_block(&other, "first", &digest, &Digest::of(b"other").to_string());
    check("another digest", &other, &["other_answer"], "`first` (edited)");
    accept(&other);
    let after = status(&other, "first");
    assert_eq!(after["state"], "broken", "{after:#}");
    assert!(after["reason"].as_str().is_some_and(|reason| reason.starts_with("pin_mismatch: ")), "{after:#}");

    // Another source alone: the block is not the accepted one all the same.
    let moved = copy_of(&house);
    edit_block(&moved, "first", "first.wasm", "elsewhere.wasm");
    check("another source", &moved, &["other_answer"], "`first` (edited)");
}

#[test]
fn p7_a_lock_that_is_gone_serves_nothing() {
    let folder = house();
    fs::remove_file(folder.path().join("portcullis.lock")).expect("gone");
    check("deleted", &folder, &[], "the lock is gone");
    accept(&folder);
    // Accepted is that nothing is approved.
    assert_eq!(status(&folder, "first")["state"], "quarantined");
    let host = folder.serve();
    assert!(tools(&host).is_empty());
}

#[test]
fn p7_a_block_that_is_gone_takes_its_plugin_with_it() {
    let folder = house();
    edit(&folder, |text| {
        let (before, rest) = text.split_once("# begin first\n").expect("a block");
        let (_, after) = rest.split_once("# end first\n").expect("its end");
        format!("{before}# begin first\n# end first\n{after}")
    });
    check("removed", &folder, &["other_answer"], "`first` (removed)");
    accept(&folder);
    assert_eq!(status(&folder, "first")["state"], "quarantined");
}

#[test]
fn p7_a_damaged_lock_serves_nothing() {
    let house = house();
    let cases: [(&str, Edit, &str); 5] = [
        ("truncated", |text| text[..text.find("sha256").expect("a digest") + 20].to_owned(), "of the lock: "),
        ("emptied", |_| String::new(), "of the lock: missing field `version`"),
        ("a field that is unknown", |text| text.replacen("sha256 = ", "trusted = true\nsha256 = ", 1), "of the lock: "),
        ("a merge left open", |text| text.replacen("# end first", "<<<<<<< ours\n# end first", 1), "left by a merge"),
        ("newer", |text| text.replacen("version = 1", "version = 2", 1), "lock has version 2"),
    ];
    for (case, change, trouble) in cases {
        let folder = copy_of(&house);
        let whole = lock(&folder);
        edit(&folder, change);
        check(case, &folder, &[], trouble);
        // There is nothing that could be accepted; what version control has is what comes back.
        refused(&folder, &["approve", "--lock"], &[trouble, "hint: "]);
        put(&folder, "portcullis.lock", whole.as_bytes());
        assert_eq!(status(&folder, "first")["state"], "approved", "{case}");
    }
}

#[test]
fn p7_a_lock_from_elsewhere_is_accepted_by_an_operator_alone() {
    let elsewhere = house();
    let folder = quarantined("");
    put(&folder, "portcullis.lock", lock(&elsewhere).as_bytes());
    check("pulled", &folder, &[], "`first` (never_accepted), `other` (never_accepted)");
    refused(&folder, &["approve", "--lock", "--sha256", &"0".repeat(64)], &["lock changed meanwhile"]);
    assert_eq!(events(&folder, "approval.refused").len(), 1);
    accept(&folder);
    let host = folder.serve();
    assert_eq!((called(&host, "first_answer"), called(&host, "other_answer")), (1.into(), 2.into()));
}

#[test]
fn p7_without_this_hosts_record_nothing_counts_as_accepted() {
    let house = house();
    let cases: [(&str, Loss, &str); 3] = [
        (
            "another key",
            |folder| fs::write(folder.path().join(".portcullis/host.key"), [7; 32]).expect("a key"),
            "seal",
        ),
        ("no record", |folder| fs::remove_file(kept(folder, "accepted.json")).expect("gone"), "never_accepted"),
        ("a damaged record", |folder| fs::write(kept(folder, "accepted.json"), "{").expect("a write"), "is damaged"),
    ];
    for (case, lose, trouble) in cases {
        let folder = copy_of(&house);
        lose(&folder);
        check(case, &folder, &[], trouble);
        let doctor = folder.run(&["doctor"]);
        let said = String::from_utf8_lossy(&doctor.stdout);
        assert!(said.contains("hint: portcullis approve --lock\n"), "{case}: {said}");
        accept(&folder);
        let host = folder.serve();
        assert_eq!((called(&host, "first_answer"), called(&host, "other_answer")), (1.into(), 2.into()), "{case}");
        assert_eq!(folder.run(&["doctor"]).status.code(), Some(0), "{case}");
    }
}

fn git(folder: &Path, arguments: &[&str]) {
    let mut command = Command::new("git");
    command.current_dir(folder).args(["-c", "user.name=test", "-c", "user.email=test@example.com"]).args(arguments);
    let output = command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null").output();
    let output = output.expect("git");
    assert!(output.status.success(), "{arguments:?}: {}{}", String::from_utf8_lossy(&output.stdout), stderr(&output));
}

#[test]
fn two_branches_that_approve_different_plugins_merge() {
    let base = quarantined("");
    // The lock is there before the two branches part.
    let third = "[plugins.third]\nsource = \"other.wasm\"\n";
    configure(&base, &format!("{}{third}", super::both("")));
    let digest = status(&base, "third")["digest"].as_str().expect("a digest").to_owned();
    done(&base, &["approve", "third", "--sha256", &digest]);
    fs::write(base.path().join(".gitignore"), ".portcullis\n").expect("a file");
    git(base.path(), &["init", "--quiet", "--initial-branch=main"]);
    git(base.path(), &["add", "."]);
    git(base.path(), &["commit", "--quiet", "--message=base"]);
    let (ours, theirs) = (copy_of(&base), copy_of(&base));
    for (folder, plugin) in [(&ours, "first"), (&theirs, "other")] {
        let digest = status(folder, plugin)["digest"].as_str().expect("a digest").to_owned();
        done(folder, &["approve", plugin, "--sha256", &digest]);
        git(folder.path(), &["commit", "--quiet", "--all", "--message=approved"]);
    }
    git(ours.path(), &["pull", "--quiet", "--no-rebase", "--no-edit", theirs.path().to_str().expect("text"), "main"]);
    check_merged(&ours);
}

fn check_merged(folder: &Folder) {
    // What this host has not accepted itself waits, and nothing else does.
    let states = ["first", "other", "third"].map(|plugin| status(folder, plugin)["state"].clone());
    assert_eq!(states, ["approved", "quarantined", "approved"]);
    accept(folder);
    let host = folder.serve();
    assert_eq!((called(&host, "first_answer"), called(&host, "other_answer")), (1.into(), 2.into()));
}

#[test]
fn approving_again_mends_a_block_that_was_edited() {
    let folder = house();
    put(&folder, "first.wasm", &answering(3));
    edit_block(&folder, "first", "first.wasm", "elsewhere.wasm");
    approve(&folder);
    assert_eq!(folder.json(&["call", "first_answer", "--json"])["result"]["result"], 3);
    assert_eq!(folder.run(&["doctor"]).status.code(), Some(0));
}
