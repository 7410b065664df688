//! A Redis server of this program's own, beside a bare client that has it run the same script; and how soon a change is
//! known at another host.

use std::{
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use portcullis_store::{Key, RedisOptions, SetOptions, Store, Writer};
use redis::aio::MultiplexedConnection;
use tokio::runtime::Runtime;

use super::{TIMES, Two, VALUE, WRITERS, WRITES, guest, key, name, set, together, warehouse};
use crate::{
    report::{Bound, Report},
    samples::Samples,
    server::Bench,
};

/// The host's own.
const SCRIPT: &str = concat!(
    "#!lua\n",
    include_str!("../../../../host/store/src/redis/lua/read.lua"),
    include_str!("../../../../host/store/src/redis/lua/write.lua"),
    include_str!("../../../../host/store/src/redis/lua/transact.lua"),
);
/// Milliseconds that a change may take to another host.
const CHANGE: f64 = 100.0;
const CHANGES: usize = 50;

/// The server; it ends with this.
struct Server {
    child: Child,
    url: String,
    _folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

impl Server {
    /// Every acknowledged write is on its disk. None where the machine has no server.
    fn start() -> anyhow::Result<Option<Self>> {
        let folder = tempfile::tempdir_in(std::env::current_exe()?.parent().context("a folder")?)?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"]).arg(folder.path());
        command.args(["--appendonly", "yes", "--appendfsync", "always"]);
        let Ok(child) = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn() else { return Ok(None) };
        let server = Self { child, url: format!("redis://127.0.0.1:{port}"), _folder: folder };
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            ensure!(began.elapsed() < Duration::from_secs(10), "the server does not answer");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(Some(server))
    }

    fn store(&self) -> anyhow::Result<Store> {
        let options = RedisOptions { url: self.url.clone(), user: None, password: None, clock: None };
        Ok(Store::redis(options)?)
    }
}

pub(super) fn measure(bench: &Bench, report: &mut Report, tokio: &Runtime) -> anyhow::Result<()> {
    let Some(server) = Server::start()? else {
        eprintln!("skipped: there is no `redis-server`: apt-get install redis-server");
        return Ok(());
    };
    let dir = tempfile::tempdir()?;
    let shared = tokio.block_on(async { warehouse(server.store()?) })?;
    let setter = Arc::new(tokio.block_on(guest(bench, dir.path(), "write", "write", shared))?);
    let client = redis::Client::open(server.url.as_str())?;
    let bare = tokio.block_on(client.get_multiplexed_async_connection())?;
    let hash: String = tokio.block_on(redis::cmd("SCRIPT").arg("LOAD").arg(SCRIPT).query_async(&mut bare.clone()))?;
    let (mut alone, mut many) = (Two::default(), Two::default());
    for round in 0..=bench.rounds {
        let mut number = 0;
        let mut next = || {
            number += 1;
            number
        };
        let floor = Samples::take(WRITES, || tokio.block_on(eval(bare.clone(), &hash, next())))?.percentile(50);
        let ours = Samples::take(WRITES, || tokio.block_on(set(&setter, next())))?.percentile(50);
        let floor_many = tokio.block_on(evals(&bare, &hash))?;
        let ours_many = tokio.block_on(together(&setter))?;
        if round > 0 {
            alone.floor.add(floor);
            alone.ours.add(ours);
            many.floor.add(floor_many);
            many.ours.add(ours_many);
        }
    }
    let count = WRITERS * TIMES;
    let Two { floor, ours } = alone;
    report.ratio("Redis: a durable set, p50", "µs", floor.micros(), ours.micros(), Bound::AtMost(1.3))?;
    let Two { floor, ours } = many;
    report.ratio("Redis: 64 setters", "sets/s", floor.rate(count), ours.rate(count), Bound::AtLeast(0.7))?;
    let change = tokio.block_on(changes(&server))?;
    report.figure("Redis: a change at another host, p50", "ms", change.as_secs_f64() * 1e3, Bound::Absolute(CHANGE))
}

/// The script call of a set, in a bucket of the bare client's own.
async fn eval(mut connection: MultiplexedConnection, hash: &str, number: usize) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let mut command = redis::cmd("EVALSHA");
    command.arg(hash).arg(5);
    for part in ["state", "entries", "order", "expiries", "changes"] {
        command.arg(format!("portcullis:{{bare}}:{part}"));
    }
    command.arg(0).arg("").arg(10_000_000).arg(8_u64 << 30).arg(10_000).arg(64 << 20).arg("writer");
    command.arg("set").arg(key(number)).arg("always").arg(0).arg(0).arg([b'x'; VALUE].as_slice());
    let answer: Vec<redis::Value> = command.query_async(&mut connection).await?;
    ensure!(answer.first() == Some(&redis::Value::BulkString(b"ok".to_vec())), "{answer:?}");
    Ok(began.elapsed())
}

async fn evals(bare: &MultiplexedConnection, hash: &str) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (bare, hash) = (bare.clone(), hash.to_owned());
            tokio::spawn(async move {
                for time in 0..TIMES {
                    eval(bare.clone(), &hash, writer * TIMES + time).await?;
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

/// From the acknowledgement of a write at one host to the end of a wait at another.
async fn changes(server: &Server) -> anyhow::Result<Duration> {
    let (here, there) = (warehouse(server.store()?)?, warehouse(server.store()?)?);
    let bucket = here.bucket(name()?);
    let deadline = || Instant::now() + Duration::from_secs(20);
    let mut times = Vec::new();
    let mut after = here.store().version(&bucket, deadline()).await?;
    for number in 0..CHANGES {
        let (waiting, its) = (Arc::clone(&here), bucket.clone());
        let wait = tokio::spawn(async move {
            let page = waiting.store().changes(&its, "news/", after, 10, Duration::from_secs(10), deadline()).await;
            (page, Instant::now())
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        let key = Key::new(format!("news/{number}")).map_err(|error| anyhow::anyhow!("{error}"))?;
        let (options, writer) = (SetOptions::default(), Writer::default());
        there.store().set(&bucket, key, b"news".to_vec(), options, &writer, deadline()).await?;
        let written = Instant::now();
        let (page, known) = wait.await?;
        let page = page?;
        ensure!(page.changes.len() == 1, "no change came");
        after = page.next_after;
        times.push(known.saturating_duration_since(written));
    }
    times.sort_unstable();
    times.get(CHANGES / 2).copied().context("no times")
}
