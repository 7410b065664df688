//! A million entries of a kibibyte, beside a thousand: a guest reads one, and a page; and the host itself, for what of that
//! is the store's.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use anyhow::ensure;
use portcullis_store::{
    Bucket, Condition, Durability, EmbeddedOptions, Key, Operation, SetOptions, Store, Warehouse, Writer,
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::{super::in_process::Ours, Two, guest, name, warehouse};
use crate::{
    report::{Bound, Report},
    samples::Samples,
    server::Bench,
};

const FEW: usize = 1_000;
const MANY: usize = 1_000_000;
const VALUE: usize = 1 << 10;
const PAGE: usize = 100;
const READS: usize = 2_000;
const ROUNDS: usize = 5;

/// One of the two stores, read by the host itself and by a guest.
struct Side {
    held: usize,
    shared: Arc<Warehouse>,
    getter: Ours,
    lister: Ours,
}

/// What is measured on each side.
#[derive(Default)]
struct Measured {
    get: Two,
    page: Two,
    get_in_host: Two,
    page_in_host: Two,
}

pub(super) fn measure(bench: &Bench, report: &mut Report, tokio: &Runtime) -> anyhow::Result<()> {
    let dir = tempfile::tempdir_in(std::env::current_exe()?.parent().unwrap_or(Path::new(".")))?;
    let sides = [("few", FEW), ("many", MANY)].map(|(path, held)| {
        tokio.block_on(async {
            let shared = filled(&dir.path().join(path), held).await?;
            let of = |function| (format!("{path}-{function}"), function);
            let ((get, get_often), (list, keys)) = (of("get-often"), of("keys"));
            let getter = guest(bench, dir.path(), &get, get_often, Arc::clone(&shared)).await?;
            let lister = guest(bench, dir.path(), &list, keys, Arc::clone(&shared)).await?;
            anyhow::Ok(Side { held, shared, getter, lister })
        })
    });
    let [few, many] = sides;
    let sides = [few?, many?];
    let mut measured = Measured::default();
    for round in 0..=ROUNDS {
        for side in &sides {
            let bucket = side.shared.bucket(name()?);
            let mut at = 1;
            // The same numbers on both sides, far from each other.
            let mut next = || {
                at = (at * 7_919 + 17) % side.held;
                at
            };
            let gets = Samples::take(READS, || tokio.block_on(side.get(next())))?;
            let pages = Samples::take(READS / 4, || tokio.block_on(side.page(next())))?;
            let gets_in_host = Samples::take(READS, || tokio.block_on(read(&side.shared, &bucket, next())))?;
            let pages_in_host =
                Samples::take(READS / 4, || tokio.block_on(list(&side.shared, &bucket, next(), side.held)))?;
            if round > 0 {
                let Measured { get, page, get_in_host, page_in_host } = &mut measured;
                let all = [(get, gets), (page, pages), (get_in_host, gets_in_host), (page_in_host, pages_in_host)];
                for (two, samples) in all {
                    let best = if side.held == FEW { &mut two.floor } else { &mut two.ours };
                    best.add(samples.percentile(50));
                }
            }
        }
    }
    let Measured { get, page, get_in_host, page_in_host } = measured;
    for (what, two, bound) in [
        ("file: a get, of a million beside a thousand", get, Bound::AtMost(2.0)),
        ("file: a page, of a million beside a thousand", page, Bound::AtMost(2.0)),
        ("file: the same get, without a guest", get_in_host, Bound::None),
        ("file: the same page, without a guest", page_in_host, Bound::None),
    ] {
        report.ratio(what, "µs", two.floor.micros(), two.ours.micros(), bound)?;
    }
    Ok(())
}

impl Side {
    /// A guest's get of one entry.
    async fn get(&self, number: usize) -> anyhow::Result<Duration> {
        let arguments = json!({ "bucket": "shared", "key": key(number)?.as_str(), "times": 1 });
        self.getter.timed_with(arguments.as_object().cloned().unwrap_or_default(), Value::is_null).await
    }

    /// A guest's page, of which it answers the keys.
    async fn page(&self, number: usize) -> anyhow::Result<Duration> {
        let after = key(number.min(self.held - PAGE - 1))?;
        let arguments = json!({ "bucket": "shared", "prefix": "entry/", "after": after.as_str(), "limit": PAGE });
        let whole =
            |page: &Value| page.pointer("/keys").and_then(Value::as_array).is_some_and(|keys| keys.len() == PAGE);
        self.lister.timed_with(arguments.as_object().cloned().unwrap_or_default(), whole).await
    }
}

fn key(number: usize) -> anyhow::Result<Key> {
    Key::new(format!("entry/{number:08}")).map_err(|error| anyhow::anyhow!("{error}"))
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// A store with so many entries.
async fn filled(path: &Path, count: usize) -> anyhow::Result<Arc<Warehouse>> {
    let options = EmbeddedOptions {
        path: path.to_owned(),
        durability: Durability::Relaxed,
        clock: Arc::new(SystemTime::now),
        check: false,
    };
    let shared = warehouse(Store::embedded(options)?)?;
    let bucket = shared.bucket(name()?);
    for start in (0..count).step_by(100) {
        let operation = |number| {
            let options = SetOptions { when: Condition::Always, ttl: None };
            anyhow::Ok(Operation::Set { key: key(number)?, value: vec![b'x'; VALUE], options })
        };
        let operations = (start..count.min(start + 100)).map(operation).collect::<anyhow::Result<Vec<_>>>()?;
        shared.store().transact(&bucket, operations, &Writer::default(), soon()).await?;
    }
    Ok(shared)
}

async fn read(shared: &Warehouse, bucket: &Bucket, number: usize) -> anyhow::Result<Duration> {
    let key = key(number)?;
    let began = Instant::now();
    let found = shared.store().get(bucket, &key, soon()).await?;
    ensure!(found.is_some_and(|entry| entry.value.len() == VALUE));
    Ok(began.elapsed())
}

async fn list(shared: &Warehouse, bucket: &Bucket, number: usize, held: usize) -> anyhow::Result<Duration> {
    let after = key(number.min(held - PAGE - 1))?;
    let began = Instant::now();
    let page = shared.store().list(bucket, "entry/", Some(&after), PAGE, soon()).await?;
    ensure!(page.entries.len() == PAGE);
    Ok(began.elapsed())
}
