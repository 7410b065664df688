//! A million entries of a kibibyte, beside a thousand: reading one, and a page.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use anyhow::ensure;
use portcullis_store::{
    Bucket, Condition, Durability, EmbeddedOptions, Key, Operation, SetOptions, Store, Warehouse, Writer,
};
use tokio::runtime::Runtime;

use super::{Two, name, warehouse};
use crate::{
    report::{Bound, Report},
    samples::Samples,
};

const FEW: usize = 1_000;
const MANY: usize = 1_000_000;
const VALUE: usize = 1 << 10;
const PAGE: usize = 100;
const READS: usize = 2_000;
const ROUNDS: usize = 5;

pub(super) fn measure(report: &mut Report, tokio: &Runtime) -> anyhow::Result<()> {
    let dir = tempfile::tempdir_in(std::env::current_exe()?.parent().unwrap_or(Path::new(".")))?;
    let few = tokio.block_on(filled(&dir.path().join("few"), FEW))?;
    let many = tokio.block_on(filled(&dir.path().join("many"), MANY))?;
    let (mut get, mut page) = (Two::default(), Two::default());
    for round in 0..=ROUNDS {
        for (side, held) in [(false, FEW), (true, MANY)] {
            let shared = if side { &many } else { &few };
            let bucket = shared.bucket(name()?);
            let mut at = 1;
            // The same numbers on both sides, far from each other.
            let mut next = || {
                at = (at * 7_919 + 17) % held;
                at
            };
            let gets = Samples::take(READS, || tokio.block_on(read(shared, &bucket, next())))?.percentile(50);
            let pages =
                Samples::take(READS / 4, || tokio.block_on(list(shared, &bucket, next(), held)))?.percentile(50);
            if round > 0 {
                let (gets_of, pages_of) =
                    if side { (&mut get.ours, &mut page.ours) } else { (&mut get.floor, &mut page.floor) };
                gets_of.add(gets);
                pages_of.add(pages);
            }
        }
    }
    report.ratio(
        "file: a get, of a million beside a thousand",
        "µs",
        get.floor.micros(),
        get.ours.micros(),
        Bound::AtMost(2.0),
    )?;
    report.ratio(
        "file: a page, of a million beside a thousand",
        "µs",
        page.floor.micros(),
        page.ours.micros(),
        Bound::AtMost(2.0),
    )
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
