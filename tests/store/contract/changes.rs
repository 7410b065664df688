//! The record of changes, and waiting for them.

use std::time::{Duration, Instant};

use portcullis_store::{Bucket, ChangeKind, Condition, SetOptions, Store, StoreError, Version};

use super::engines::{bucket, key, on_each, soon, writer};

/// Longer than any test takes: a wait that ends before was woken.
const LONG: Duration = Duration::from_secs(30);

async fn put(store: &Store, bucket: &Bucket, at: &str) -> Version {
    store.set(bucket, key(at), at.into(), SetOptions::default(), &writer(), soon()).await.expect("set")
}

#[test]
fn each_write_is_a_change_of_its_own() {
    on_each(async |stage| {
        let (store, bucket) = (&stage.store, bucket("b"));
        put(store, &bucket, "a/1").await;
        put(store, &bucket, "b").await;
        put(store, &bucket, "a/1").await;
        store.delete(&bucket, key("a/1"), Condition::Always, &writer(), soon()).await.expect("deleted");
        let page = store.changes(&bucket, "a/", Version(0), 100, Duration::ZERO, soon()).await.expect("changes");
        let found: Vec<_> = page.changes.iter().map(|change| (change.kind, change.version.0)).collect();
        assert_eq!(found, [(ChangeKind::Set, 1), (ChangeKind::Set, 3), (ChangeKind::Delete, 4)]);
        assert_eq!(page.changes[0].value, Some(b"a/1".to_vec()), "as it was, though it is gone");
        assert!(page.changes.iter().all(|change| change.writer == Some(writer())));
        assert_eq!(page.next_after, Version(4));
        let page = store.changes(&bucket, "z", Version(0), 100, Duration::ZERO, soon()).await.expect("changes");
        assert_eq!((page.changes, page.next_after), (vec![], Version(4)), "what was looked at needs no second look");
    });
}

#[test]
fn what_is_no_longer_kept_is_told() {
    on_each(async |stage| {
        let store = &stage.store;
        let mut bucket = bucket("b");
        bucket.limits.changes = 10;
        for _ in 0..25 {
            put(store, &bucket, "k").await;
        }
        let changes = async |after| store.changes(&bucket, "", Version(after), 100, Duration::ZERO, soon()).await;
        assert_eq!(changes(14).await, Err(StoreError::Compacted(Version(25))));
        assert_eq!(changes(15).await.map(|page| page.changes.len()), Ok(10));
        assert_eq!(changes(25).await.map(|page| page.changes.len()), Ok(0), "what it says to go on from");
        assert_eq!(changes(26).await, Err(StoreError::Compacted(Version(25))), "of another life of this bucket");
    });
}

#[test]
fn kept_changes_are_bounded_in_bytes() {
    on_each(async |stage| {
        let store = &stage.store;
        let mut bucket = bucket("b");
        bucket.limits.change_bytes = 2500;
        for _ in 0..10 {
            let value = vec![0; 999];
            store.set(&bucket, key("k"), value, SetOptions::default(), &writer(), soon()).await.expect("set");
        }
        let changes = async |after| store.changes(&bucket, "", Version(after), 100, Duration::ZERO, soon()).await;
        assert_eq!(changes(7).await, Err(StoreError::Compacted(Version(10))));
        assert_eq!(changes(8).await.map(|page| page.changes.len()), Ok(2));
        store.set(&bucket, key("k"), vec![0; 5000], SetOptions::default(), &writer(), soon()).await.expect("set");
        assert_eq!(changes(10).await.map(|page| page.changes.len()), Ok(1), "the last one in any case");
    });
}

#[test]
fn a_wait_ends_with_the_write_or_with_nothing() {
    on_each(async |stage| {
        let (store, bucket) = (stage.store.clone(), bucket("b"));
        put(&store, &bucket, "before").await;
        let begun = Instant::now();
        let wait = Duration::from_millis(30);
        let page = store.changes(&bucket, "", Version(1), 10, wait, soon()).await.expect("changes");
        assert_eq!((page.changes, page.next_after), (vec![], Version(1)));
        assert!(begun.elapsed() >= wait);
        let deadline = Instant::now() + wait;
        let page = store.changes(&bucket, "", Version(1), 10, LONG, deadline).await.expect("no error at the deadline");
        assert_eq!(page.changes, []);

        let waits: Vec<_> = (0..200)
            .map(|waiter| {
                let (store, bucket) = (store.clone(), bucket.clone());
                tokio::spawn(async move {
                    // Half of them wait for the second write alone.
                    let prefix = if waiter % 2 == 0 { "" } else { "b" };
                    let page = store.changes(&bucket, prefix, Version(1), 10, LONG, soon()).await.expect("changes");
                    page.changes[0].key.clone()
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(20)).await;
        let begun = Instant::now();
        put(&store, &bucket, "a").await;
        put(&store, &bucket, "b").await;
        for (waiter, wait) in waits.into_iter().enumerate() {
            let found = wait.await.expect("ended");
            if waiter % 2 == 1 {
                assert_eq!(found, key("b"));
            }
        }
        assert!(begun.elapsed() < LONG / 2, "none of them slept to its end");
    });
}

/// A watcher beside a writer, by pages of a few: each version once, in order.
#[test]
fn a_watcher_misses_nothing() {
    on_each(async |stage| {
        let (store, bucket) = (stage.store.clone(), bucket("b"));
        let watch = {
            let (store, bucket) = (store.clone(), bucket.clone());
            tokio::spawn(async move {
                let (mut after, mut seen) = (Version(0), Vec::new());
                while seen.len() < 300 {
                    let page = store.changes(&bucket, "", after, 7, LONG, soon()).await.expect("changes");
                    seen.extend(page.changes.iter().map(|change| change.version.0));
                    after = page.next_after;
                }
                seen
            })
        };
        let writers: Vec<_> = (0..3)
            .map(|writer| {
                let (store, bucket) = (store.clone(), bucket.clone());
                tokio::spawn(async move {
                    for _ in 0..100 {
                        put(&store, &bucket, &format!("{writer}")).await;
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.await.expect("ended");
        }
        assert_eq!(watch.await.expect("ended"), (1..=300).collect::<Vec<_>>());
    });
}
