//! Histories of 16 clients, as they happened.
//!
//! `PORTCULLIS_LINEAR_HISTORIES=2000` for the long run.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use portcullis_store::{Bucket, Condition, Durability, Entry, Operation, SetOptions, Store, StoreError, Version};

use super::{
    checker::{Kind, Op, State, Value, When, is_linearisable},
    engines::{bucket, embedded, key, soon, writer},
    server::{Product, Server},
};

const CLIENTS: u64 = 16;
const STEPS: u64 = 12;
const KEYS: [&str; 3] = ["a", "b", "c"];

/// What all clients of a history write down.
#[derive(Default)]
struct Record {
    time: AtomicU64,
    value: AtomicU32,
    ops: Mutex<Vec<(usize, Op)>>,
    /// Of each value its version, where somebody saw it; and of each write call, return and version.
    versions: Mutex<HashMap<Value, Version>>,
    writes: Mutex<Vec<(u64, u64, Version)>>,
    unknown: AtomicU32,
}

impl Record {
    fn tick(&self) -> u64 {
        self.time.fetch_add(1, Ordering::SeqCst)
    }

    fn seen(&self, value: Value, version: Version) {
        let before = *self.versions.lock().expect("unpoisoned").entry(value).or_insert(version);
        assert_eq!(before, version, "one write, one version");
    }

    fn state(&self, entry: Option<&Entry>) -> State {
        let entry = entry?;
        let value = Value::from_le_bytes(entry.value.as_slice().try_into().expect("a value of ours"));
        self.seen(value, entry.version);
        Some(value)
    }

    fn push(&self, key: usize, call: u64, ret: u64, kind: Kind) {
        self.ops.lock().expect("unpoisoned").push((key, Op { call, ret, kind }));
    }
}

/// Small numbers without a pattern that matters.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

async fn client(store: Arc<Store>, bucket: Bucket, record: Arc<Record>, seed: u64) {
    let mut dice = Dice(seed);
    let mut known: [Option<(Value, Version)>; KEYS.len()] = [None; KEYS.len()];
    for _ in 0..STEPS {
        let at = dice.roll(KEYS.len() as u64) as usize;
        // Some run out of time in the middle.
        let deadline = match dice.roll(8) {
            0 => Instant::now() + Duration::from_micros(dice.roll(1500)),
            _ => soon(),
        };
        if dice.roll(4) == 0 {
            let call = record.tick();
            if let Ok(entry) = store.get(&bucket, &key(KEYS[at]), deadline).await {
                let ret = record.tick();
                let state = record.state(entry.as_ref());
                known[at] = entry.map(|entry| (state.expect("a value"), entry.version));
                record.push(at, call, ret, Kind::Read(state));
            }
            continue;
        }
        // One key, or all of them at once.
        let all = dice.roll(4) == 0;
        let keys: Vec<usize> = if all { (0..KEYS.len()).collect() } else { vec![at] };
        let (mut operations, mut meant) = (Vec::new(), Vec::new());
        for at in keys {
            let (when, condition) = match (dice.roll(4), known[at]) {
                (0 | 1, Some((value, version))) => (When::Is(value), Condition::IfVersion(version)),
                (0 | 1, None) => (When::Absent, Condition::IfAbsent),
                (2, _) => (When::Present, Condition::IfPresent),
                _ => (When::Always, Condition::Always),
            };
            // A deletion under a condition that a deletion of nothing would meet is none to a reader.
            let delete = dice.roll(5) == 0 && matches!(when, When::Present | When::Is(_));
            let to = (!delete).then(|| record.value.fetch_add(1, Ordering::SeqCst));
            let name = key(KEYS[at]);
            operations.push(match to {
                Some(value) => Operation::Set {
                    key: name,
                    value: value.to_le_bytes().into(),
                    options: SetOptions { when: condition, ttl: None },
                },
                None => Operation::Delete { key: name, when: condition },
            });
            meant.push((at, when, to));
        }
        let call = record.tick();
        let done = store.transact(&bucket, operations, &writer(), deadline).await;
        let ret = record.tick();
        match done {
            Ok(versions) => {
                for ((at, when, to), version) in meant.into_iter().zip(versions) {
                    let version = version.expect("each writes");
                    record.writes.lock().expect("unpoisoned").push((call, ret, version));
                    if let Some(value) = to {
                        record.seen(value, version);
                    }
                    known[at] = to.map(|value| (value, version));
                    record.push(at, call, ret, Kind::Wrote { when, to });
                }
            }
            Err(StoreError::Conflict(entry)) => {
                // Of the first whose condition was not met. Which one, a single operation says alone.
                if let [(at, when, _)] = meant.as_slice() {
                    let found = record.state(entry.as_deref());
                    known[*at] = entry.map(|entry| (found.expect("a value"), entry.version));
                    record.push(*at, call, ret, Kind::Refused { when: *when, found });
                }
            }
            Err(StoreError::UnknownOutcome(_)) => {
                record.unknown.fetch_add(1, Ordering::SeqCst);
                meant.iter().for_each(|(at, when, to)| {
                    record.push(*at, call, ret, Kind::Unknown { when: *when, to: *to });
                });
            }
            // Nothing was written, and it is in no history: a reader that sees it sees what nobody wrote.
            Err(StoreError::TimedOut | StoreError::Unavailable(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

fn check(record: &Record, what: &str) {
    let mut by_key: BTreeMap<usize, Vec<Op>> = BTreeMap::new();
    for (at, op) in record.ops.lock().expect("unpoisoned").iter() {
        by_key.entry(*at).or_default().push(*op);
    }
    for (at, ops) in by_key {
        assert!(is_linearisable(&ops), "{what}, key {}: {ops:#?}", KEYS[at]);
    }
    // Across keys: versions are one order of all writes, and it agrees with time.
    let mut writes = record.writes.lock().expect("unpoisoned").clone();
    writes.sort_by_key(|(_, _, version)| *version);
    assert!(writes.windows(2).all(|pair| pair[0].2 < pair[1].2), "{what}: no version twice");
    let mut latest_call = 0;
    for (call, ret, version) in writes {
        assert!(ret > latest_call, "{what}: version {version} returned before an earlier version was asked for");
        latest_call = latest_call.max(call);
    }
}

fn histories(name: &str, hosts: &[Arc<Store>], runtime: &tokio::runtime::Runtime) {
    let count = std::env::var("PORTCULLIS_LINEAR_HISTORIES").ok().and_then(|count| count.parse().ok()).unwrap_or(200);
    let mut unknown = 0;
    for history in 0..count {
        let record = Arc::new(Record::default());
        let bucket = bucket(&format!("history-{history}"));
        runtime.block_on(async {
            let clients: Vec<_> = (0..CLIENTS)
                .zip(hosts.iter().cycle())
                .map(|(number, store)| {
                    client(store.clone(), bucket.clone(), record.clone(), history * CLIENTS + number)
                })
                .map(tokio::spawn)
                .collect();
            for client in clients {
                client.await.expect("a client ends");
            }
        });
        check(&record, &format!("{name}, history {history}"));
        unknown += record.unknown.load(Ordering::SeqCst);
    }
    eprintln!("{name}: {count} histories, {unknown} operations of unknown outcome");
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().expect("a runtime")
}

#[test]
fn each_key_is_linearisable_in_a_file() {
    for durability in [Durability::Always, Durability::Relaxed] {
        let stage = embedded(durability);
        histories(&format!("embedded, {durability:?}"), std::slice::from_ref(&stage.store), &runtime());
    }
}

#[test]
fn each_key_is_linearisable_from_two_hosts() {
    let runtime = runtime();
    for product in Product::ALL {
        let Some(server) = Server::of(product, false) else { continue };
        let hosts = {
            let _within = runtime.enter();
            [Arc::new(server.store(None)), Arc::new(server.store(None))]
        };
        histories(product.name(), &hosts, &runtime);
    }
}
