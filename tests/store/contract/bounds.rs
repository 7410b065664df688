//! Each bound, at it and one beyond.

use std::time::Duration;

use portcullis_store::{
    Condition, Entry, Key, MAX_KEYS, MAX_OPERATIONS, MAX_PAGE, MAX_PAGE_BYTES, MAX_REQUEST_BYTES, MAX_TTL, MAX_VALUE,
    MAX_WRITER, Operation, SetOptions, StoreError, Version, Writer,
};

use super::engines::{bucket, key, on_each, soon, writer};

fn expect<T: std::fmt::Debug>(what: &str, fits: bool, found: Result<T, StoreError>) {
    match found {
        Ok(_) => assert!(fits, "{what}: done"),
        Err(StoreError::InvalidArgument(message)) => assert!(!fits, "{what}: {message}"),
        Err(error) => panic!("{what}: {error}"),
    }
}

#[test]
fn arguments_are_bounded() {
    on_each(async |stage| {
        let store = &stage.store;
        let mut bucket = bucket("b");
        bucket.limits.max_bytes = 1 << 40;
        let set = async |value: usize, ttl: Option<Duration>, writer: &Writer| {
            let options = SetOptions { when: Condition::Always, ttl };
            store.set(&bucket, key("k"), vec![7; value], options, writer, soon()).await
        };
        expect("value", true, set(MAX_VALUE, None, &writer()).await);
        expect("value", false, set(MAX_VALUE + 1, None, &writer()).await);
        expect("ttl", true, set(1, Some(MAX_TTL), &writer()).await);
        expect("ttl", false, set(1, Some(MAX_TTL + Duration::from_millis(1)), &writer()).await);
        expect("ttl", false, set(1, Some(Duration::from_micros(999)), &writer()).await);
        let long = |length| Writer { principal: "p".repeat(length), ..writer() };
        expect("writer", true, set(1, None, &long(MAX_WRITER)).await);
        expect("writer", false, set(1, None, &long(MAX_WRITER + 1)).await);

        let sets = |count: usize, value: usize| {
            let set = |at| Operation::Set {
                key: key(&format!("{at}")),
                value: vec![0; value],
                options: SetOptions::default(),
            };
            (0..count).map(set).collect::<Vec<_>>()
        };
        let transact = async |operations| store.transact(&bucket, operations, &writer(), soon()).await;
        expect("operations", true, transact(sets(MAX_OPERATIONS, 1)).await);
        expect("operations", false, transact(sets(MAX_OPERATIONS + 1, 1)).await);
        expect("bytes", true, transact(sets(15, MAX_VALUE)).await);
        expect("bytes", false, transact(sets(MAX_REQUEST_BYTES / MAX_VALUE, MAX_VALUE)).await);
        let twice = [sets(1, 1), sets(1, 2)].concat();
        expect("a key twice", false, transact(twice).await);

        let many = async |count: usize| {
            let keys: Vec<Key> = (0..count).map(|at| key(&format!("{}", 1000 + at))).collect();
            store.get_many(&bucket, &keys, soon()).await
        };
        expect("keys", true, many(MAX_KEYS).await);
        expect("keys", false, many(MAX_KEYS + 1).await);
        let large = async |count: usize| {
            let keys: Vec<Key> = (0..count).map(|at| key(&format!("{}", at % 15))).collect();
            store.get_many(&bucket, &keys, soon()).await
        };
        expect("answer", true, large(15).await);
        expect("answer", false, large(17).await);

        for (limit, fits) in [(0, false), (1, true), (MAX_PAGE, true), (MAX_PAGE + 1, false)] {
            expect("limit", fits, store.list(&bucket, "", None, limit, soon()).await);
            expect("limit", fits, store.changes(&bucket, "", Version(146), limit, Duration::ZERO, soon()).await);
        }
        for (length, fits) in [(512, true), (513, false)] {
            expect("prefix", fits, store.list(&bucket, &"p".repeat(length), None, 1, soon()).await);
        }
        let entry = Entry {
            key: key("k"),
            value: vec![],
            version: Version(1),
            writer: writer(),
            written_at_ms: 1,
            expires_at_ms: None,
        };
        let import = async |entries| store.import(&bucket, Version(1), entries, soon()).await;
        expect("version", false, import(vec![Entry { version: Version(0), ..entry.clone() }]).await);
        expect("version", false, import(vec![Entry { version: Version(1 << 53), ..entry.clone() }]).await);
        expect("twice", false, import(vec![entry.clone(), entry.clone()]).await);
        expect("entries", false, import(vec![entry; MAX_PAGE + 1]).await);
    });
}

#[test]
fn pages_are_bounded_in_bytes_and_hold_one_entry_at_least() {
    on_each(async |stage| {
        let (store, bucket) = (&stage.store, bucket("b"));
        for at in 0..7 {
            let value = vec![at; MAX_VALUE];
            let set = store.set(&bucket, key(&format!("{at}")), value, SetOptions::default(), &writer(), soon()).await;
            assert_eq!(set, Ok(Version(u64::from(at) + 1)));
        }
        let page = store.list(&bucket, "", None, MAX_PAGE, soon()).await.expect("listed");
        assert_eq!((page.entries.len(), page.next), (MAX_PAGE_BYTES / MAX_VALUE - 1, Some(key("2"))));
        let page = store.list(&bucket, "", Some(&key("4")), MAX_PAGE, soon()).await.expect("listed");
        assert_eq!((page.entries.len(), page.next), (2, None));
        let page = store.changes(&bucket, "", Version(0), MAX_PAGE, Duration::ZERO, soon()).await.expect("changes");
        assert_eq!((page.changes.len(), page.next_after), (3, Version(3)));
        let page =
            store.changes(&bucket, "", page.next_after, MAX_PAGE, Duration::ZERO, soon()).await.expect("changes");
        assert_eq!((page.changes.len(), page.next_after), (3, Version(6)));
    });
}
