//! Damaged files: reported with what to do, and left as they are.

use std::{fs, path::Path};

use portcullis_store::{EmbeddedOptions, OpenError, Store, StoreError, Version};

use super::child::{bucket, key, open, options, runtime, set, soon, writer};

/// Where redb's part of the file begins, behind the log.
const BASE: usize = 4096 + (4 << 20);

fn written(folder: &Path) {
    let store = open(folder).expect("opened");
    runtime().block_on(async {
        for at in 0..200 {
            let operations = vec![set(format!("{at:04}"), vec![at as u8; 3000])];
            store.transact(&bucket(), operations, &writer(), soon()).await.expect("written");
        }
    });
}

/// Opens a file after `damage`; it is refused as damaged, with a hint, and stays as it was.
fn check(what: &str, damage: impl FnOnce(&mut Vec<u8>)) {
    let dir = tempfile::tempdir().expect("a folder");
    written(dir.path());
    let path = dir.path().join("store.redb");
    let mut bytes = fs::read(&path).expect("read");
    damage(&mut bytes);
    fs::write(&path, &bytes).expect("written");
    let error = open(dir.path()).map(drop).expect_err(what);
    assert!(matches!(error, OpenError::Damaged { .. }), "{what}: {error:?}");
    assert!(error.hint().expect("a hint").contains("portcullis kv import"), "{what}");
    assert!(fs::read(&path).expect("read") == bytes, "{what}: it was changed");
    assert!(matches!(open(dir.path()), Err(OpenError::Damaged { .. })), "{what}: once more");
}

#[test]
fn a_damaged_file_is_reported_and_left_as_it_is() {
    check("empty", Vec::clear);
    check("cut to half", |bytes| bytes.truncate(bytes.len() / 2));
    check("half of its entries", |bytes| bytes.truncate((bytes.len() + BASE) / 2));
    check("no entries", |bytes| bytes.truncate(BASE));
    check("cut to a page", |bytes| bytes.truncate(4096));
    check("something else", |bytes| bytes.fill(b'x'));
    check("another beginning", |bytes| bytes[..16].fill(0));
    check("another beginning of its entries", |bytes| bytes[BASE..][..16].fill(0));
}

/// A bit that flips under a value: the value is not handed out, whatever else still is.
#[test]
fn a_value_that_does_not_fit_its_checksum_is_not_handed_out() {
    let dir = tempfile::tempdir().expect("a folder");
    written(dir.path());
    let path = dir.path().join("store.redb");
    let mut bytes = fs::read(&path).expect("read");
    let mut flipped = 0;
    for at in 0..bytes.len() - 100 {
        if bytes[at..at + 100].iter().all(|byte| *byte == 77) {
            bytes[at + 50] ^= 1;
            flipped += 1;
        }
    }
    assert!(flipped > 0, "the value was not found");
    fs::write(&path, bytes).expect("written");
    let store = open(dir.path()).expect("opened");
    runtime().block_on(async {
        let found = store.get(&bucket(), &key("0077"), soon()).await;
        assert!(matches!(&found, Err(StoreError::Other(reason)) if reason.contains("damaged")), "{found:?}");
        assert_eq!(store.get(&bucket(), &key("0078"), soon()).await.map(|entry| entry.is_some()), Ok(true));
        // Writes beside it go on; of those in one commit, only the one that touches it fails.
        let written = store.transact(&bucket(), vec![set("0079", "v")], &writer(), soon()).await;
        assert!(written.is_ok(), "{written:?}");
    });
    drop(store);
    let error = Store::embedded(EmbeddedOptions { check: true, ..options(dir.path()) }).map(drop).expect_err("checked");
    assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
}

#[test]
fn another_format_is_not_touched() {
    let dir = tempfile::tempdir().expect("a folder");
    written(dir.path());
    let path = dir.path().join("store.redb");
    let mut bytes = fs::read(&path).expect("read");
    bytes[16] += 1;
    let sum = crc32fast::hash(&bytes[..40]);
    bytes[40..44].copy_from_slice(&sum.to_le_bytes());
    fs::write(&path, &bytes).expect("written");
    let error = open(dir.path()).map(drop).expect_err("newer");
    assert!(matches!(error, OpenError::Format { found: 4, .. }), "{error:?}");
    assert!(error.to_string().contains("format 4") && error.hint().expect("a hint").contains("newer one"), "{error}");
    assert!(fs::read(&path).expect("read") == bytes, "it was changed");
    // As the files of formats 1 and 2 were.
    fs::remove_file(&path).expect("removed");
    drop(redb::Database::create(&path).expect("made"));
    let error = open(dir.path()).map(drop).expect_err("older");
    assert!(matches!(error, OpenError::Format { found: 2, .. }), "{error:?}");
    assert!(error.hint().expect("a hint").contains("portcullis kv export"), "{error}");
}

/// What a crash leaves: the file of a host that runs, with writes that are in its log only.
#[test]
fn what_only_the_log_holds_is_read_from_it() {
    let dir = tempfile::tempdir().expect("a folder");
    written(dir.path());
    let store = open(dir.path()).expect("opened");
    let (copy, count) = (tempfile::tempdir().expect("a folder"), 20);
    runtime().block_on(async {
        for at in 0..count {
            let operations = vec![set(format!("logged/{at:02}"), format!("{at}"))];
            store.transact(&bucket(), operations, &writer(), soon()).await.expect("written");
        }
    });
    let bytes = fs::read(dir.path().join("store.redb")).expect("read");
    let path = copy.path().join("store.redb");
    let (page, first) = (4096, 4096);
    let opened = |bytes: &[u8]| {
        fs::write(&path, bytes).expect("written");
        open(copy.path()).map(|store| {
            runtime().block_on(async {
                let page = store.list(&bucket(), "logged/", None, 1000, soon()).await.expect("a page");
                let usage = store.usage(&bucket(), soon()).await.expect("usage");
                assert_eq!(usage.entries, 200 + page.entries.len() as u64);
                let written = store.transact(&bucket(), vec![set("after", "v")], &writer(), soon()).await;
                assert_eq!(written, Ok(vec![Some(Version(201 + page.entries.len() as u64))]));
                page.entries.len()
            })
        })
    };
    assert_eq!(opened(&bytes).expect("opened"), count);
    // The last write was cut off: it is as if it had not been.
    let mut cut = bytes.clone();
    cut[first + (count - 1) * page + 16..][..8].fill(0);
    assert_eq!(opened(&cut).expect("opened"), count - 1);
    // One before it was not.
    let mut damaged = bytes.clone();
    damaged[first + 3 * page + 20] ^= 1;
    let error = opened(&damaged).expect_err("damaged");
    assert!(matches!(&error, OpenError::Damaged { message, .. } if message.contains("log")), "{error:?}");
    assert!(fs::read(&path).expect("read") == damaged, "it was changed");
    // The log of another time before a part of redb's that knows nothing of it.
    let mut alone = bytes.clone();
    alone[first..][..page].fill(0);
    assert!(matches!(opened(&alone), Err(OpenError::Damaged { .. })));
    drop(store);
    assert_eq!(opened(&fs::read(dir.path().join("store.redb")).expect("read")).expect("opened"), count);
}
