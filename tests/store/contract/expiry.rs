//! Time: what is over is gone, and stays so.

use std::time::Duration;

use portcullis_store::{ChangeKind, Condition, SetOptions, StoreError, Usage, Version};

use super::engines::{bucket, key, on_each, soon, writer};

fn ttl(ms: u64) -> SetOptions {
    SetOptions { when: Condition::Always, ttl: Some(Duration::from_millis(ms)) }
}

#[test]
fn an_entry_is_gone_with_its_time_and_that_is_a_change() {
    on_each(async |stage| {
        let (store, hand, bucket) = (&stage.store, &stage.hand, bucket("b"));
        store.set(&bucket, key("later"), b"v".into(), ttl(100), &writer(), soon()).await.expect("set");
        store.set(&bucket, key("sooner"), b"v".into(), ttl(50), &writer(), soon()).await.expect("set");
        hand.forward(49);
        assert_eq!(store.exists(&bucket, &key("sooner"), soon()).await, Ok(true));
        hand.forward(1);
        assert_eq!(store.exists(&bucket, &key("sooner"), soon()).await, Ok(false));
        assert_eq!(store.get(&bucket, &key("sooner"), soon()).await, Ok(None));
        hand.forward(1000);
        assert_eq!(store.list(&bucket, "", None, 10, soon()).await.expect("listed").entries, []);
        let usage = store.usage(&bucket, soon()).await.expect("usage");
        assert_eq!(usage, Usage { entries: 0, bytes: 0, ..usage });
        let page = store.changes(&bucket, "", Version(2), 10, Duration::ZERO, soon()).await.expect("changes");
        let found: Vec<_> = page.changes.iter().map(|c| (c.kind, c.key.as_str(), c.version.0, &c.writer)).collect();
        assert_eq!(found, [(ChangeKind::Expire, "sooner", 3, &None), (ChangeKind::Expire, "later", 4, &None)]);
        let again = SetOptions { when: Condition::IfVersion(Version(1)), ttl: None };
        let conflict = store.set(&bucket, key("later"), vec![], again, &writer(), soon()).await;
        assert_eq!(conflict, Err(StoreError::Conflict(None)));
    });
}

#[test]
fn a_clock_that_is_set_back_brings_nothing_back() {
    on_each(async |stage| {
        let (store, hand, bucket) = (&stage.store, &stage.hand, bucket("b"));
        let begin = hand.now();
        store.set(&bucket, key("k"), b"v".into(), ttl(50), &writer(), soon()).await.expect("set");
        hand.forward(50);
        assert_eq!(store.get(&bucket, &key("k"), soon()).await, Ok(None));
        hand.set(begin - 500);
        assert_eq!(store.get(&bucket, &key("k"), soon()).await, Ok(None));
        store.set(&bucket, key("k"), b"v".into(), ttl(10), &writer(), soon()).await.expect("set");
        let entry = store.get(&bucket, &key("k"), soon()).await.expect("read").expect("there");
        assert_eq!(
            (entry.written_at_ms, entry.expires_at_ms),
            (begin + 50, Some(begin + 60)),
            "the clock stands still"
        );
    });
}

#[test]
fn an_increment_keeps_the_time_unless_it_gets_another() {
    on_each(async |stage| {
        let (store, hand, bucket) = (&stage.store, &stage.hand, bucket("b"));
        let begin = hand.now();
        let count = async |ttl: Option<u64>| {
            let ttl = ttl.map(Duration::from_millis);
            store.increment(&bucket, key("n"), 1, ttl, &writer(), soon()).await.expect("counted").0
        };
        let expires = async || store.get(&bucket, &key("n"), soon()).await.expect("read").expect("there").expires_at_ms;
        assert_eq!(count(Some(100)).await, 1);
        hand.forward(10);
        assert_eq!(count(None).await, 2);
        assert_eq!(expires().await, Some(begin + 100));
        assert_eq!(count(Some(100)).await, 3);
        assert_eq!(expires().await, Some(begin + 110));
        hand.forward(100);
        assert_eq!(count(None).await, 1, "it begins anew");
        assert_eq!(expires().await, None);
    });
}

/// More than one operation sweeps: a quota is refused only when nothing that is due holds the space.
#[test]
fn what_is_over_holds_no_space() {
    on_each(async |stage| {
        let (store, hand) = (&stage.store, &stage.hand);
        let mut bucket = bucket("b");
        bucket.limits.max_entries = 1000;
        let set =
            |at: u32| portcullis_store::Operation::Set { key: key(&at.to_string()), value: vec![], options: ttl(5) };
        for hundred in 0..10 {
            let operations = (hundred * 100..hundred * 100 + 100).map(set).collect();
            store.transact(&bucket, operations, &writer(), soon()).await.expect("set");
        }
        let full = store.set(&bucket, key("x"), vec![], ttl(1), &writer(), soon()).await;
        assert!(matches!(full, Err(StoreError::QuotaExceeded(Usage { entries: 1000, .. }))), "{full:?}");
        hand.forward(5);
        // Room for these alone: all that is due has to go, whoever sweeps how much at a time.
        bucket.limits.max_entries = 100;
        let all = (2000..2100).map(set).collect();
        assert!(store.transact(&bucket, all, &writer(), soon()).await.is_ok());
        assert_eq!(store.usage(&bucket, soon()).await.expect("usage").entries, 100);
    });
}

/// Nobody asks for anything but the waiter, and the clock moves on.
#[test]
fn an_expiry_wakes_who_waits() {
    on_each(async |stage| {
        let (store, bucket) = (stage.store.clone(), bucket("b"));
        store.set(&bucket, key("k"), vec![], ttl(50), &writer(), soon()).await.expect("set");
        let wait = {
            let (store, bucket) = (store.clone(), bucket.clone());
            tokio::spawn(
                async move { store.changes(&bucket, "", Version(1), 10, Duration::from_secs(30), soon()).await },
            )
        };
        stage.hand.forward(50);
        let page = wait.await.expect("ended").expect("changes");
        assert_eq!(page.changes[0].kind, ChangeKind::Expire);
    });
}
