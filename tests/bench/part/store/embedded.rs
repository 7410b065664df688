//! The file, beside bare redb with the same settings of durability: a commit in the calling thread, and one thread that
//! commits for many.

use std::{
    sync::{Arc, mpsc},
    time::{Duration, Instant, SystemTime},
};

use portcullis_store::{Durability, EmbeddedOptions, Store};
use redb::{Database, TableDefinition};
use serde_json::{Value, json};
use tokio::{runtime::Runtime, sync::oneshot};

use super::{TIMES, Two, VALUE, WRITERS, WRITES, guest, key, set, together, warehouse};
use crate::{
    report::{Bound, Report},
    samples::{Least, Samples},
    server::{Bench, on_disk},
};

const TABLE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("notes");
const READS: usize = 2_000;

pub(super) fn measure(bench: &Bench, report: &mut Report, tokio: &Runtime) -> anyhow::Result<()> {
    let dir = on_disk()?;
    let path = dir.path().join("shared.redb");
    let options =
        EmbeddedOptions { path, durability: Durability::Always, clock: Arc::new(SystemTime::now), check: false };
    let shared = warehouse(Store::embedded(options)?)?;
    let bare = Arc::new(Database::create(dir.path().join("bare.redb"))?);
    let setter = Arc::new(tokio.block_on(guest(bench, dir.path(), "write", "write", Arc::clone(&shared)))?);
    let getter = tokio.block_on(guest(bench, dir.path(), "get", "get-often", Arc::clone(&shared)))?;
    let queue = group(&bare);
    let (mut alone, mut many) = (Two::default(), Two::default());
    let (mut none, mut one) = (Least::default(), Least::default());
    for round in 0..=bench.rounds {
        let mut number = 0;
        let mut next = || {
            number += 1;
            number
        };
        let floor = Samples::take(WRITES, || commit(&bare, &[&key(next())]))?.percentile(50);
        let ours = Samples::take(WRITES, || tokio.block_on(set(&setter, next())))?.percentile(50);
        let floor_many = tokio.block_on(grouped(&queue))?;
        let ours_many = tokio.block_on(together(&setter))?;
        let gets = |times: u32| {
            let arguments = json!({ "bucket": "shared", "key": key(7), "times": times });
            let arguments = arguments.as_object().cloned().unwrap_or_default();
            let once = || tokio.block_on(getter.timed_with(arguments.clone(), Value::is_null));
            anyhow::Ok(Samples::take(READS, once)?.percentile(50))
        };
        let (without, with) = (gets(0)?, gets(1)?);
        // The first round warms up.
        if round > 0 {
            alone.floor.add(floor);
            alone.ours.add(ours);
            many.floor.add(floor_many);
            many.ours.add(ours_many);
            none.add(without);
            one.add(with);
        }
    }
    let count = WRITERS * TIMES;
    let Two { floor, ours } = alone;
    report.ratio("file: a durable set, p50", "µs", floor.micros(), ours.micros(), Bound::AtMost(1.5))?;
    let Two { floor, ours } = many;
    report.ratio("file: 64 setters", "sets/s", floor.rate(count), ours.rate(count), Bound::AtLeast(0.7))?;
    report.figure("file: what a get adds to a call", "µs", one.micros() - none.micros(), Bound::Absolute(10.0))
}

/// One commit of these keys, as durable and as soon open again as the host's.
fn commit(database: &Database, keys: &[&str]) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    {
        let mut table = transaction.open_table(TABLE)?;
        for key in keys {
            table.insert(key, [b'x'; VALUE].as_slice())?;
        }
    }
    transaction.commit()?;
    Ok(began.elapsed())
}

type Job = (String, oneshot::Sender<()>);

/// A thread that commits what waits, and then answers.
fn group(database: &Arc<Database>) -> mpsc::Sender<Job> {
    let (queue, jobs) = mpsc::channel::<Job>();
    let database = Arc::clone(database);
    std::thread::spawn(move || {
        while let Ok(first) = jobs.recv() {
            let jobs: Vec<_> = std::iter::once(first).chain(jobs.try_iter()).collect();
            let keys: Vec<_> = jobs.iter().map(|(key, _)| key.as_str()).collect();
            if commit(&database, &keys).is_err() {
                return;
            }
            for (_, done) in jobs {
                // Who waits for it is this program.
                _ = done.send(());
            }
        }
    });
    queue
}

async fn grouped(queue: &mpsc::Sender<Job>) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let queue = queue.clone();
            tokio::spawn(async move {
                for time in 0..TIMES {
                    let (done, committed) = oneshot::channel();
                    queue.send((key(writer * TIMES + time), done))?;
                    committed.await?;
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for writer in writers {
        writer.await??;
    }
    Ok(began.elapsed())
}
