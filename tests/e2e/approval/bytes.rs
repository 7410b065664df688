//! The bytes that run are those that were approved: P1, P2, P8, P10, P12.

use std::{
    fs,
    os::unix::fs::symlink,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
};

use portcullis_policy::Digest;
use serde_json::json;

use super::{
    answering, approve, called, configure, digest, done, events, house, house_with, kept, put, refused, rounds, stands,
    tools, unknown,
};
use crate::{host::Folder, raw};

/// Sees to it that a byte of the approved bytes in the store is another.
fn damage(folder: &Folder, digest: &str) {
    let path = kept(folder, &format!("components/{digest}.wasm"));
    let mut bytes = fs::read(&path).expect("approved bytes");
    // It may be damaged already.
    if Digest::of(&bytes).to_string() == digest {
        *bytes.last_mut().expect("a byte") ^= 1;
        fs::write(path, bytes).expect("a write");
    }
}

#[test]
fn p1_a_byte_that_is_flipped_waits_and_the_approved_bytes_go_on() {
    let folder = house();
    let approved = digest(&folder);
    put(&folder, "first.wasm", &answering(3));
    for restart in 1..=2 {
        let host = folder.serve();
        assert_eq!((called(&host, "first_answer"), called(&host, "other_answer")), (1.into(), 2.into()));
        let mismatches = events(&folder, "pin.mismatch");
        assert!(mismatches.len() >= restart, "{mismatches:?}");
        for mismatch in mismatches {
            assert_eq!((&mismatch["plugin"], &mismatch["expected"]), (&"first".into(), &approved.as_str().into()));
            assert_eq!(mismatch["found"], Digest::of(&answering(3)).to_string());
        }
        assert_eq!(host.stop().code(), Some(0));
        let status = stands(&folder, "pending review");
        assert_eq!((&status["served"], &status["next"]), (&approved.as_str().into(), &"portcullis diff first".into()));
    }
    let diff = done(&folder, &["diff", "first"]);
    assert!(diff.contains(&format!("~ bytes: {approved}")), "{diff}");
}

#[test]
fn p1_damaged_bytes_in_the_store_never_run() {
    let folder = house();
    let approved = digest(&folder);
    damage(&folder, &approved);
    // What lies at the source is what was approved: that serves as well.
    let host = folder.serve();
    assert_eq!(called(&host, "first_answer"), 1);
    drop(host);
    put(&folder, "first.wasm", &answering(3));
    // Whether the bytes that were served mended the store or not, they are damaged now.
    damage(&folder, &approved);
    for _restart in 0..2 {
        let status = stands(&folder, "broken");
        let reason = status["reason"].as_str().expect("a reason");
        assert!(reason.starts_with("pin_mismatch: "), "{reason}");
        assert!(!reason.contains(folder.path().to_str().expect("text")), "a path of this machine: {reason}");
        let host = folder.serve();
        unknown(&host, "first_answer");
        assert_eq!(called(&host, "other_answer"), 2);
        let ready = raw::answer(raw::open(&host.address, "GET", "/readyz", &[], b""));
        assert_eq!((ready.status, ready.body.as_str()), (503, "not in order: first\n"));
    }
    assert!(events(&folder, "pin.mismatch").iter().any(|line| line["expected"] == approved.as_str()));
    // The pin did not move.
    put(&folder, "first.wasm", &answering(1));
    stands(&folder, "approved");
}

/// Set when it goes, also when a test fails: a thread that looks at it ends with the test.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Swaps what lies at the source for as long as `during` runs, by rename and by symbolic link in turn.
fn swapping(folder: &Folder, between: [&[u8]; 2], mut during: impl FnMut()) {
    let over = AtomicBool::new(false);
    let source = folder.path().join("first.wasm");
    let files = ["good", "evil"].map(|name| folder.path().join(name));
    for (file, bytes) in files.iter().zip(between) {
        fs::write(file, bytes).expect("a file");
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let new = folder.path().join("swapped");
            for turn in 0_usize.. {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let file = &files[turn % 2];
                if turn % 4 < 2 {
                    fs::copy(file, &new).expect("a copy");
                } else {
                    symlink(file, &new).expect("a link");
                }
                fs::rename(&new, &source).expect("a swap");
            }
        });
        let _over = Over(&over);
        during();
    });
}

#[test]
fn p2_what_is_swapped_meanwhile_is_never_approved_nor_run() {
    let folder = house();
    let (before, good) = (digest(&folder), Digest::of(&answering(7)).to_string());
    let mut approved = before.clone();
    swapping(&folder, [&answering(7), &answering(13)], || {
        for _ in 0..rounds("PORTCULLIS_RACE_ROUNDS") {
            let output = folder.run(&["approve", "first", "--sha256", &good[..12]]);
            if output.status.success() {
                approved.clone_from(&good);
            }
            let lock = fs::read_to_string(folder.path().join("portcullis.lock")).expect("a lock");
            assert!(lock.contains(&approved), "{lock}");
            let called = folder.json(&["call", "first_answer", "--json"]);
            assert_eq!(called["result"]["result"], if approved == good { 7 } else { 1 });
        }
    });
    put(&folder, "first.wasm", &answering(7));
    done(&folder, &["approve", "first", "--sha256", &good[..12]]);
    let stored = fs::read(kept(&folder, &format!("components/{good}.wasm"))).expect("approved bytes");
    assert_eq!(Digest::of(&stored).to_string(), good);
}

#[test]
fn p2_a_source_that_is_no_file_is_refused_at_once() {
    let folder = house();
    let source = folder.path().join("first.wasm");
    assert!(Command::new("mkfifo").arg(folder.path().join("fifo")).status().expect("mkfifo").success());
    let check = |target: &str| {
        fs::remove_file(&source).expect("the source goes");
        symlink(target, &source).expect("a link");
        let digest = Digest::of(&answering(1)).to_string();
        refused(&folder, &["approve", "first", "--sha256", &digest], &["`first` cannot be approved"]);
        // The approved bytes are in the store.
        assert_eq!(folder.json(&["call", "first_answer", "--json"])["result"]["result"], 1);
        stands(&folder, "broken");
        assert_eq!(folder.run(&["list"]).status.code(), Some(1));
        refused(&folder, &["inspect", "first"], &["error: "]);
    };
    check("fifo");
    check("/dev/zero");
    check(".");
    let refusals = events(&folder, "approval.refused");
    assert_eq!(refusals.len(), 3, "{refusals:?}");
}

#[test]
fn p8_other_code_under_the_same_definitions_inherits_nothing() {
    let folder = house_with("[plugins.first.grants]\nenv = { UNITS = 'metric' }");
    let before = digest(&folder);
    put(&folder, "first.wasm", &answering(3));
    let status = stands(&folder, "pending review");
    assert_eq!(status["served"], before.as_str());
    let difference = folder.json(&["diff", "first", "--json"]);
    assert_eq!(difference["needsApproval"], true);
    assert_eq!(difference["difference"]["tools"]["changed"], json!({}));
    // What was approved says nothing about other bytes.
    refused(&folder, &["approve", "first", "--sha256", &before], &["digest of `first` is not the one given"]);
    let host = folder.serve();
    assert_eq!((called(&host, "first_answer"), called(&host, "other_answer")), (1.into(), 2.into()));
}

#[test]
fn p10_only_the_digest_of_what_lies_there_approves_it() {
    let folder = super::quarantined("");
    let read = digest(&folder);
    let check = |sha256: &str, expected: &str| {
        let before = events(&folder, "approval.refused").len();
        refused(&folder, &["approve", "first", "--sha256", sha256], &[expected, "hint: portcullis inspect first"]);
        let refusals = events(&folder, "approval.refused");
        assert_eq!(refusals.len(), before + 1, "{sha256}");
        assert_eq!(refusals[before]["plugin"], "first");
        assert!(refusals[before]["by"].is_string());
        stands(&folder, "quarantined");
        assert!(!folder.path().join("portcullis.lock").exists(), "{sha256} has approved something");
    };
    check(&"0".repeat(64), "expected 000000000000");
    check(&format!("{}0", &read[1..13]), "is not the one given");
    check(&read[..11], "expected 12 to 64 hex digits");
    check("", "expected 12 to 64 hex digits");
    check(&format!("{read}0"), "expected 12 to 64 hex digits");
    // The file is another than the one that was inspected.
    put(&folder, "first.wasm", &answering(3));
    check(&read[..12], "is not the one given");
    put(&folder, "first.wasm", &answering(1));
    done(&folder, &["approve", "first", "--sha256", &read[..12].to_uppercase()]);
    stands(&folder, "approved");
    let approvals = events(&folder, "plugin.approved");
    assert_eq!((approvals.len(), &approvals[0]["digest"]), (1, &read.as_str().into()));
}

#[test]
fn p12_no_way_back_without_the_flag() {
    let folder = house();
    let old = digest(&folder);
    let lock = folder.path().join("portcullis.lock");
    let older = fs::read(&lock).expect("a lock");
    put(&folder, "first.wasm", &answering(3));
    approve(&folder);
    let newer = fs::read(&lock).expect("a lock");
    put(&folder, "first.wasm", &answering(1));
    let by_digest = ["approve", "first", "--sha256", old.as_str()];
    refused(&folder, &by_digest, &["newer component of `first` was approved", "--allow-downgrade"]);
    let refusals = events(&folder, "approval.refused");
    assert!(refusals[0]["reason"].as_str().is_some_and(|reason| reason.contains("newer")), "{refusals:?}");
    assert_eq!(folder.json(&["call", "first_answer", "--json"])["result"]["result"], 3);

    // The same through a lock that goes back.
    fs::write(&lock, &older).expect("a write");
    stands(&folder, "quarantined");
    let whole = Digest::of(&older).to_string();
    let by_lock = ["approve", "--lock", "--sha256", &whole];
    refused(&folder, &by_lock, &["newer component of `first`", "--allow-downgrade"]);
    stands(&folder, "quarantined");
    done(&folder, &["approve", "--lock", "--sha256", &whole, "--allow-downgrade"]);
    assert_eq!(folder.json(&["call", "first_answer", "--json"])["result"]["result"], 1);

    fs::write(&lock, &newer).expect("a write");
    // What was approved before the latest is older, whichever was made first.
    let whole = Digest::of(&newer).to_string();
    refused(&folder, &["approve", "--lock", "--sha256", &whole], &["--allow-downgrade"]);
    done(&folder, &["approve", "--lock", "--sha256", &whole, "--allow-downgrade"]);
    assert_eq!(folder.json(&["call", "first_answer", "--json"])["result"]["result"], 3);
    done(&folder, &[&by_digest[..], &["--allow-downgrade"]].concat());
    assert_eq!(folder.json(&["call", "first_answer", "--json"])["result"]["result"], 1);
    assert_eq!(folder.json(&["call", "other_answer", "--json"])["result"]["result"], 2);
}

#[test]
fn a_plugin_that_is_missing_goes_on_from_the_store() {
    let folder = house();
    fs::remove_file(folder.path().join("first.wasm")).expect("gone");
    stands(&folder, "missing");
    let host = folder.serve();
    assert_eq!((called(&host, "first_answer"), called(&host, "other_answer")), (1.into(), 2.into()));
    assert_eq!(tools(&host).len(), 2);
    drop(host);
    // Of one that nobody approved there is nothing to go on with.
    configure(&folder, "[plugins.gone]\nsource = \"gone.wasm\"\n");
    refused(&folder, &["serve", "--stdio"], &["component of plugin `gone` is not there", "hint: "]);
}
