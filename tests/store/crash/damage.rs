//! Damaged files: reported with what to do, and left as they are.

use std::{fs, path::Path};

use portcullis_store::{EmbeddedOptions, OpenError, Store, StoreError};

use super::child::{bucket, key, open, options, runtime, set, soon, writer};

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
    check("cut to a page", |bytes| bytes.truncate(4096));
    check("something else", |bytes| bytes.fill(b'x'));
    check("another beginning", |bytes| bytes[..16].fill(0));
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
fn a_newer_format_is_not_touched() {
    let dir = tempfile::tempdir().expect("a folder");
    written(dir.path());
    let path = dir.path().join("store.redb");
    let database = redb::Database::open(&path).expect("opened");
    let transaction = database.begin_write().expect("begun");
    let meta = redb::TableDefinition::<&str, u64>::new("meta");
    transaction.open_table(meta).expect("a table").insert("format", 3).expect("written");
    transaction.commit().expect("committed");
    drop(database);
    let error = open(dir.path()).map(drop).expect_err("newer");
    assert!(matches!(error, OpenError::Format { found: 3, .. }), "{error:?}");
    assert!(error.to_string().contains("format 3"), "{error}");
}
