//! Single operations and what they end with.

use std::time::{Duration, Instant};

use portcullis_store::{Condition, Entry, Operation, SetOptions, StoreError, Usage, Version};

use super::engines::{bucket, key, on_each, soon, writer};

fn set(at: &str, value: &str) -> Operation {
    Operation::Set { key: key(at), value: value.into(), options: SetOptions::default() }
}

#[test]
fn an_entry_says_who_wrote_it_and_when() {
    on_each(async |stage| {
        let (store, hand, bucket) = (&stage.store, &stage.hand, bucket("b"));
        let options = SetOptions { when: Condition::IfAbsent, ttl: Some(Duration::from_secs(5)) };
        assert_eq!(store.get(&bucket, &key("k"), soon()).await, Ok(None));
        assert_eq!(store.set(&bucket, key("k"), b"v".into(), options, &writer(), soon()).await, Ok(Version(1)));
        let entry = Entry {
            key: key("k"),
            value: b"v".into(),
            version: Version(1),
            writer: writer(),
            written_at_ms: hand.now(),
            expires_at_ms: Some(hand.now() + 5000),
        };
        assert_eq!(store.get(&bucket, &key("k"), soon()).await, Ok(Some(entry.clone())));
        let conflict = store.set(&bucket, key("k"), b"w".into(), options, &writer(), soon()).await;
        assert_eq!(conflict, Err(StoreError::Conflict(Some(Box::new(entry)))), "the entry as it is now");
        let when = Condition::IfVersion(Version(1));
        let absent = store.delete(&bucket, key("absent"), when, &writer(), soon()).await;
        assert_eq!(absent, Err(StoreError::Conflict(None)));
        assert_eq!(store.delete(&bucket, key("absent"), Condition::Always, &writer(), soon()).await, Ok(None));
        assert_eq!(store.delete(&bucket, key("k"), when, &writer(), soon()).await, Ok(Some(Version(2))));
        assert_eq!(store.exists(&bucket, &key("k"), soon()).await, Ok(false));
    });
}

#[test]
fn buckets_know_nothing_of_each_other() {
    on_each(async |stage| {
        let store = &stage.store;
        // Names of which one begins as the other, in every order of their rows.
        for name in ["a", "a.b", "a-b", "a0", "A"] {
            let operations = vec![set("k", name), set("l", name)];
            let versions = store.transact(&bucket(name), operations, &writer(), soon()).await;
            assert_eq!(versions, Ok(vec![Some(Version(1)), Some(Version(2))]), "{name}");
        }
        for name in ["a", "a.b", "a-b", "a0", "A"] {
            let page = store.list(&bucket(name), "", None, 10, soon()).await.expect("listed");
            assert!(page.entries.iter().all(|entry| entry.value == name.as_bytes()), "{name}");
            assert_eq!(page.entries.len(), 2, "{name}");
            let changes = store.changes(&bucket(name), "", Version(0), 10, Duration::ZERO, soon()).await;
            assert_eq!(changes.map(|page| page.changes.len()), Ok(2), "{name}");
        }
        let mut names: Vec<_> = store.buckets(soon()).await.expect("named").into_iter().map(String::from).collect();
        names.sort();
        assert_eq!(names, ["A", "a", "a-b", "a.b", "a0"]);
    });
}

#[test]
fn a_transact_is_all_or_nothing() {
    on_each(async |stage| {
        let (store, bucket) = (&stage.store, bucket("b"));
        let check = |at: &str, when| Operation::Check { key: key(at), when };
        let both = vec![set("a", "1"), check("c", Condition::IfAbsent), set("b", "2")];
        let done = store.transact(&bucket, both.clone(), &writer(), soon()).await;
        assert_eq!(done, Ok(vec![Some(Version(1)), None, Some(Version(2))]));
        let mut refused = both;
        refused.push(check("c", Condition::IfPresent));
        let before = store.list(&bucket, "", None, 10, soon()).await;
        assert_eq!(store.transact(&bucket, refused, &writer(), soon()).await, Err(StoreError::Conflict(None)));
        assert_eq!(store.list(&bucket, "", None, 10, soon()).await, before);
        // Conditions are about what stands before the first operation.
        let moved = vec![
            Operation::Delete { key: key("a"), when: Condition::IfVersion(Version(1)) },
            check("a", Condition::IfPresent),
            set("d", "1"),
        ];
        let done = store.transact(&bucket, moved, &writer(), soon()).await;
        assert_eq!(done, Ok(vec![Some(Version(3)), None, Some(Version(4))]));
        assert_eq!(store.transact(&bucket, vec![], &writer(), soon()).await, Ok(vec![]));
    });
}

#[test]
fn a_quota_is_checked_with_the_write() {
    on_each(async |stage| {
        let store = &stage.store;
        let mut bucket = bucket("b");
        bucket.limits.max_entries = 2;
        bucket.limits.max_bytes = 10;
        let mut put = async |at: &str, value: &str, max_bytes| {
            bucket.limits.max_bytes = max_bytes;
            store.transact(&bucket, vec![set(at, value)], &writer(), soon()).await.map(drop)
        };
        let full = |entries, bytes, max_bytes| {
            Err(StoreError::QuotaExceeded(Usage { entries, bytes, max_entries: 2, max_bytes }))
        };
        assert_eq!(put("a", "1234", 10).await, Ok(()));
        assert_eq!(put("b", "12345", 10).await, full(1, 5, 10), "a byte more than fits");
        assert_eq!(put("b", "1234", 10).await, Ok(()), "exactly");
        assert_eq!(put("c", "", 20).await, full(2, 10, 20), "an entry more");
        assert_eq!(put("a", "123", 5).await, Ok(()), "beyond a quota that was narrowed, but less than before");
        assert_eq!(put("a", "1234", 5).await, full(2, 9, 5));
    });
}

#[test]
fn of_claimants_at_once_one_gets_the_entry() {
    on_each(async |stage| {
        let bucket = bucket("b");
        let claims: Vec<_> = (0..50)
            .map(|claimant| {
                let (store, bucket) = (stage.store.clone(), bucket.clone());
                tokio::spawn(async move {
                    let options = SetOptions { when: Condition::IfAbsent, ttl: None };
                    store.set(&bucket, key("claim"), vec![claimant], options, &writer(), soon()).await
                })
            })
            .collect();
        let (mut got, mut told) = (Vec::new(), Vec::new());
        for (claimant, claim) in claims.into_iter().enumerate() {
            match claim.await.expect("ended") {
                Ok(_) => got.push(claimant),
                Err(StoreError::Conflict(Some(entry))) => told.push(usize::from(entry.value[0])),
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(got.len(), 1);
        assert!(told.len() == 49 && told.iter().all(|winner| *winner == got[0]), "each of the others is told who");
    });
}

#[test]
fn increments_at_once_lose_nothing() {
    on_each(async |stage| {
        let bucket = bucket("b");
        let counts: Vec<_> = (0..64)
            .map(|_| {
                let (store, bucket) = (stage.store.clone(), bucket.clone());
                tokio::spawn(async move { store.increment(&bucket, key("n"), 3, None, &writer(), soon()).await })
            })
            .collect();
        let mut sums = Vec::new();
        for count in counts {
            let (sum, version) = count.await.expect("ended").expect("counted");
            assert_eq!(sum as u64, version.0 * 3);
            sums.push(sum);
        }
        sums.sort_unstable();
        assert_eq!(sums, (1..=64).map(|count| count * 3).collect::<Vec<i64>>());
    });
}

#[test]
fn what_is_past_its_deadline_is_not_begun() {
    on_each(async |stage| {
        let (store, bucket) = (&stage.store, bucket("b"));
        let past = Instant::now();
        let done = store.set(&bucket, key("k"), vec![], SetOptions::default(), &writer(), past).await;
        assert!(matches!(done, Ok(_) | Err(StoreError::TimedOut | StoreError::UnknownOutcome(_))), "{done:?}");
        let there = store.exists(&bucket, &key("k"), soon()).await.expect("read");
        match done {
            Ok(_) => assert!(there),
            Err(StoreError::TimedOut) => assert!(!there),
            Err(_) => {}
        }
    });
}
