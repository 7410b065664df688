//! Several hosts on one server, and a server that goes away.
//!
//!     PORTCULLIS_KILL_ROUNDS=200 cargo test -p portcullis-store --test contract hosts

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use portcullis_store::{Bucket, Condition, Durability, Limits, RedisOptions, SetOptions, Store, StoreError, Version};

use super::{
    engines::{Hand, bucket, embedded, key, soon, writer},
    server::{Product, Server},
};

/// Runs `test` with each kind of server that there is.
fn with_server<F: Future<Output = ()>>(appends: bool, test: impl Fn(Server) -> F) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        for product in Product::ALL {
            let Some(server) = Server::of(product, appends) else { continue };
            eprintln!("on {}", product.name());
            test(server).await;
        }
    });
}

async fn put(store: &Store, at: &str, value: &str) -> Result<Version, StoreError> {
    let options = SetOptions::default();
    store.set(&roomy(), key(at), value.into(), options, &writer(), Instant::now() + Duration::from_secs(5)).await
}

/// The bucket of all these tests, with room for long runs.
fn roomy() -> Bucket {
    Bucket { limits: Limits { max_entries: 1 << 30, max_bytes: 1 << 40, ..Limits::default() }, ..bucket("b") }
}

#[test]
fn of_claimants_at_two_hosts_one_gets_the_entry() {
    with_server(false, async |server| {
        let hosts = [Arc::new(server.store(None)), Arc::new(server.store(None))];
        let claims: Vec<_> = (0..50_u8)
            .map(|claimant| {
                let store = hosts[usize::from(claimant) % 2].clone();
                tokio::spawn(async move {
                    let options = SetOptions { when: Condition::IfAbsent, ttl: None };
                    store.set(&bucket("b"), key("claim"), vec![claimant], options, &writer(), soon()).await
                })
            })
            .collect();
        let mut got = 0;
        for claim in claims {
            got += usize::from(claim.await.expect("ended").is_ok());
        }
        assert_eq!(got, 1);
    });
}

/// Half of what a waiter sleeps before it looks for itself: an announcement woke it.
#[test]
fn a_write_at_one_host_wakes_who_waits_at_another() {
    with_server(false, async |server| {
        let (one, other) = (server.store(None), Arc::new(server.store(None)));
        let mut took = Vec::new();
        let mut after = Version(0);
        for round in 0..21 {
            let waiter = {
                let other = other.clone();
                tokio::spawn(async move {
                    let page = other.changes(&bucket("b"), "", after, 10, Duration::from_secs(30), soon()).await;
                    (page.expect("changes"), Instant::now())
                })
            };
            tokio::time::sleep(Duration::from_millis(20)).await;
            let begun = Instant::now();
            put(&one, "k", &round.to_string()).await.expect("set");
            let (page, woken) = waiter.await.expect("ended");
            after = page.next_after;
            took.push(woken.saturating_duration_since(begun));
        }
        took.sort();
        eprintln!("a change reaches another host in {:?} at the median", took[10]);
        assert!(took[10] < Duration::from_secs(5), "{took:?}");
    });
}

/// kill -9 of a server that syncs each write, in a load, and back: no acknowledged write is lost, operations fail typed and
/// long before their deadline, a watcher goes on without a gap.
#[test]
fn a_server_that_goes_away_and_comes_back_loses_nothing() {
    let rounds = std::env::var("PORTCULLIS_KILL_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(20);
    with_server(true, async |mut server| {
        let store = Arc::new(server.store(None));
        let acknowledged: Arc<Mutex<BTreeMap<String, Version>>> = Arc::default();
        let failures: Arc<Mutex<Vec<(String, StoreError, Duration)>>> = Arc::default();
        let writers: Vec<_> = (0..4)
            .map(|task| {
                let (store, acknowledged, failures) = (store.clone(), acknowledged.clone(), failures.clone());
                tokio::spawn(async move {
                    for count in 0_u64.. {
                        let (at, begun) = (format!("{task}-{count}"), Instant::now());
                        match put(&store, &at, &at).await {
                            Ok(version) => {
                                acknowledged.lock().expect("unpoisoned").insert(at, version);
                                tokio::time::sleep(Duration::from_millis(1)).await;
                            }
                            Err(error) => {
                                failures.lock().expect("unpoisoned").push((at, error, begun.elapsed()));
                                tokio::time::sleep(Duration::from_millis(5)).await;
                            }
                        }
                    }
                })
            })
            .collect();
        let seen: Arc<Mutex<Vec<u64>>> = Arc::default();
        let watcher = {
            let (store, seen) = (store.clone(), seen.clone());
            tokio::spawn(async move {
                let mut after = Version(0);
                loop {
                    match store.changes(&roomy(), "", after, 1000, Duration::from_secs(10), soon()).await {
                        Ok(page) => {
                            seen.lock().expect("unpoisoned").extend(page.changes.iter().map(|change| change.version.0));
                            after = page.next_after;
                        }
                        Err(StoreError::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(5)).await,
                        Err(error) => panic!("{error}"),
                    }
                }
            })
        };
        let reached = async |count: usize| {
            while acknowledged.lock().expect("unpoisoned").len() < count {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        for round in 0..rounds {
            let before = acknowledged.lock().expect("unpoisoned").len();
            reached(before + 50).await;
            server.down();
            let failed = failures.lock().expect("unpoisoned").len();
            while failures.lock().expect("unpoisoned").len() < failed + 20 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            server.up();
            let before = acknowledged.lock().expect("unpoisoned").len();
            reached(before + 50).await;
            let there = acknowledged.lock().expect("unpoisoned").clone();
            let (keys, versions): (Vec<_>, Vec<_>) = there.into_iter().map(|(at, version)| (key(&at), version)).unzip();
            for (keys, versions) in keys.chunks(100).zip(versions.chunks(100)) {
                let found = store.get_many(&roomy(), keys, soon()).await.expect("read");
                let found = found.into_iter().map(|entry| entry.map(|entry| entry.version));
                assert!(found.eq(versions.iter().map(|version| Some(*version))), "round {round}: {keys:?}");
            }
        }
        writers.iter().for_each(tokio::task::JoinHandle::abort);
        let failed = failures.lock().expect("unpoisoned").clone();
        for (at, error, took) in failed {
            if matches!(error, StoreError::Unavailable(_)) {
                let there = store.exists(&roomy(), &key(&at), soon()).await.expect("read");
                assert!(!there, "{at} was not to be written: {error}");
            }
            assert!(matches!(error, StoreError::Unavailable(_) | StoreError::UnknownOutcome(_)), "{error}");
            assert!(took < Duration::from_secs(20), "{error} after {took:?}");
        }
        let last = acknowledged.lock().expect("unpoisoned").values().copied().max().expect("one").0;
        while seen.lock().expect("unpoisoned").last().is_none_or(|seen| *seen < last) {
            assert!(!watcher.is_finished(), "the watcher ended");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        watcher.abort();
        let seen = seen.lock().expect("unpoisoned");
        assert!(seen.iter().copied().eq(1..=seen.len() as u64), "each version once, in order");
        let (failed, unknown) = {
            let failures = failures.lock().expect("unpoisoned");
            (
                failures.len(),
                failures.iter().filter(|(_, error, _)| matches!(error, StoreError::UnknownOutcome(_))).count(),
            )
        };
        eprintln!("{rounds} rounds, {} changes, {failed} failures, {unknown} of unknown outcome", seen.len());
    });
}

/// A conflict is no change of the server's, which its file and its replicas would get.
#[test]
fn a_write_that_is_refused_writes_nothing() {
    with_server(false, async |server| {
        let store = server.store(None);
        put(&store, "k", "v").await.expect("written");
        let changes = || {
            let info = server.ask("INFO persistence");
            info.lines().find(|line| line.starts_with("rdb_changes_since_last_save")).expect("a count").to_owned()
        };
        let before = changes();
        let options = SetOptions { when: Condition::IfAbsent, ttl: None };
        let refused = store.set(&roomy(), key("k"), b"other".into(), options, &writer(), soon()).await;
        assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
        assert_eq!(changes(), before);
    });
}

/// A script that the server ends in the middle has done part of its work.
#[test]
fn a_write_that_ends_in_the_middle_is_of_unknown_outcome() {
    with_server(false, async |server| {
        assert_eq!(server.say("ACL SETUSER some on >word ~* &* +@all -publish"), "+OK");
        let options = RedisOptions { user: Some("some".into()), password: Some("word".into()), ..server.options(None) };
        let store = Store::redis(options).expect("an address");
        let error = put(&store, "k", "v").await.expect_err("no right to announce it");
        assert!(matches!(error, StoreError::UnknownOutcome(_)), "{error}");
        let read = store.get(&roomy(), &key("k"), soon()).await.expect("read");
        assert!(read.is_some(), "it was written all the same");
        let page = store.list(&roomy(), "", None, 10, soon()).await.expect("listed");
        assert_eq!(page.entries.len(), 1, "and nothing else is there");
    });
}

/// A server without memory refuses a script before its first step, also where something is due; reads go on.
#[test]
fn a_full_server_refuses_writes_and_nothing_else() {
    with_server(false, async |server| {
        let hand = Hand::new();
        let store = server.store(Some(hand.clock()));
        put(&store, "stays", "v").await.expect("set");
        let options = SetOptions { when: Condition::Always, ttl: Some(Duration::from_millis(5)) };
        store.set(&bucket("b"), key("goes"), b"v".into(), options, &writer(), soon()).await.expect("set");
        assert_eq!(server.say("CONFIG SET maxmemory 1"), "+OK");
        hand.forward(5);
        let full = put(&store, "new", "v").await;
        assert!(matches!(&full, Err(StoreError::Unavailable(reason)) if reason.contains("memory")), "{full:?}");
        assert_eq!(store.get(&bucket("b"), &key("stays"), soon()).await.map(|entry| entry.is_some()), Ok(true));
        assert_eq!(store.get(&bucket("b"), &key("goes"), soon()).await, Ok(None));
        assert_eq!(server.say("CONFIG SET maxmemory 0"), "+OK");
        assert_eq!(put(&store, "new", "v").await, Ok(Version(4)), "after the expiry, of which nothing was lost");
        let usage = store.usage(&bucket("b"), soon()).await.expect("usage");
        assert_eq!((usage.entries, usage.bytes), (2, 10));
    });
}

#[test]
fn a_server_that_forgot_the_scripts_is_told_them_again() {
    with_server(false, async |server| {
        let store = server.store(None);
        for version in 1..4 {
            assert_eq!(put(&store, "k", "v").await, Ok(Version(version)));
            assert_eq!(server.say("SCRIPT FLUSH"), "+OK");
        }
    });
}

#[test]
fn a_server_that_is_not_there_is_unavailable_at_once() {
    with_server(false, async |mut server| {
        let store = server.store(None);
        server.down();
        for _ in 0..20 {
            let begun = Instant::now();
            let refused = put(&store, "k", "v").await;
            assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
            assert!(begun.elapsed() < Duration::from_secs(20));
        }
        server.up();
        while put(&store, "k", "v").await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
}

#[test]
fn an_address_is_checked_and_never_shown() {
    with_server(false, async |_server| {
        let options = |url: &str| RedisOptions {
            url: url.to_owned(),
            user: Some("alice".into()),
            password: Some("canary".into()),
            clock: None,
        };
        for bad in ["", "embedded", "http://:canary@x", "redis://:canary@x:port"] {
            let error = Store::redis(options(bad)).map(drop).expect_err(bad);
            assert!(!format!("{error:?} {error}").contains("canary"));
        }
        assert!(!format!("{:?}", options("redis://:canary@localhost")).contains("canary"));
        let store = Store::redis(options("rediss://:canary@127.0.0.1:1")).expect("an address");
        let error = put(&store, "k", "v").await.expect_err("nobody is there");
        assert!(matches!(error, StoreError::Unavailable(_)) && !error.to_string().contains("canary"), "{error}");
    });
}

#[test]
fn a_bucket_moves_from_one_engine_to_the_other_and_back() {
    with_server(false, async |server| {
        let (here, there, back) = (embedded(Durability::Relaxed), server.store(None), embedded(Durability::Relaxed));
        for at in 0..300 {
            put(&here.store, &format!("{at:03}"), "v").await.expect("set");
        }
        for (from, to) in [(&*here.store, &there), (&there, &*back.store)] {
            let mut export = from.export(&bucket("b"), soon()).await.expect("begun");
            while let Some(page) = export.next(soon()).await.expect("a page") {
                to.import(&bucket("b"), export.version(), page, soon()).await.expect("imported");
            }
        }
        let list = async |store: &Store| store.list(&bucket("b"), "", None, 1000, soon()).await.expect("listed");
        assert!(list(&here.store).await == list(&back.store).await);
        assert_eq!(put(&back.store, "new", "v").await, Ok(Version(301)));
    });
}
