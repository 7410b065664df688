//! The distributed engine: Redis 7 or Valkey, for many hosts. One script an operation; expiry is ours, since the server's own
//! leaves no record of changes.

mod link;
mod nodes;
mod reply;
mod scripts;
mod settings;
mod watch;

use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, UNIX_EPOCH},
};

use redis::Value;
use tokio::task::JoinHandle;

pub use self::settings::ServerSettings;
use self::{
    nodes::Nodes,
    reply::garbled,
    scripts::{REGISTRY, Reply, Script, number},
    watch::Watch,
};
use crate::{
    clock::{Clock, Time},
    contract::{
        Bucket, BucketName, ChangePage, Condition, Entry, Key, Limits, MAX_PAGE_BYTES, MAX_REQUEST_BYTES, Operation,
        Page, SetOptions, StoreError, Usage, Version, Writer,
    },
};

/// How long a waiter sleeps at most before it looks for itself.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often the buckets that nobody watches are swept.
const SWEEP_EVERY: Duration = Duration::from_secs(30);
/// How many steps a sweep has at most, of 256 entries each, before others get their turn.
const SWEEPS: usize = 40;
/// The deadline of what nobody waits for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which server, and as whom.
#[derive(Clone)]
pub struct RedisOptions {
    /// `redis://HOST:PORT/DATABASE`, or `rediss://` for TLS with the system's roots.
    pub url: String,
    /// The user, where the server has several.
    pub user: Option<String>,
    /// The password.
    pub password: Option<String>,
    /// Where the time comes from: the server, without. Hosts that share a server share its time.
    pub clock: Option<Clock>,
}

impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address may hold a password too.
        f.debug_struct("RedisOptions").finish_non_exhaustive()
    }
}

/// The address is none of a server's.
#[derive(Debug, thiserror::Error)]
#[error("the store's `url` is not `redis://HOST[:PORT][/DATABASE]` or `rediss://…`")]
pub struct AddressError;

/// The engine.
pub(crate) struct Redis {
    shared: Arc<Shared>,
    tasks: [JoinHandle<()>; 2],
}

struct Shared {
    nodes: Nodes,
    /// The latest instant that this process was told, and the injected clock.
    time: Time,
    injected: bool,
    watch: Watch,
    /// Buckets that are in the registry for sure.
    registered: Mutex<HashSet<BucketName>>,
}

impl Redis {
    /// Knows the server from now on; connects with the first operation. Within a runtime.
    pub(crate) fn new(options: RedisOptions) -> Result<Self, AddressError> {
        let RedisOptions { url, user, password, clock } = options;
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Another thread may have been first, which is as well.
            _ = rustls::crypto::ring::default_provider().install_default();
        }
        let info = nodes::info(&url, user, password).map_err(|_| AddressError)?;
        let nodes = Nodes::new(info).map_err(|_| AddressError)?;
        let injected = clock.is_some();
        let shared = Arc::new(Shared {
            nodes,
            time: Time::new(clock.unwrap_or_else(|| Arc::new(|| UNIX_EPOCH))),
            injected,
            watch: Watch::default(),
            registered: Mutex::default(),
        });
        let (listener, sweeper) = (Arc::clone(&shared), Arc::clone(&shared));
        let listen = tokio::spawn(async move { listener.watch.run(&listener.nodes).await });
        let sweep = tokio::spawn(async move { sweeper.sweep_all().await });
        Ok(Self { shared, tasks: [listen, sweep] })
    }

    pub(crate) async fn get_many(
        &self,
        bucket: &Bucket,
        keys: &[Key],
        deadline: Instant,
    ) -> Result<Vec<Option<Entry>>, StoreError> {
        let reply = self.shared.get(bucket, keys, true, deadline).await?;
        let records = reply.rest.get(1..).unwrap_or_default();
        reply::entries(keys, records).filter(|entries| entries.len() == keys.len()).ok_or_else(garbled)
    }

    pub(crate) async fn exists(&self, bucket: &Bucket, key: &Key, deadline: Instant) -> Result<bool, StoreError> {
        let reply = self.shared.get(bucket, std::slice::from_ref(key), false, deadline).await?;
        reply.rest.get(1).map(|found| !found.is_empty()).ok_or_else(garbled)
    }

    pub(crate) async fn list(
        &self,
        bucket: &Bucket,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
        deadline: Instant,
    ) -> Result<Page, StoreError> {
        let from = match after.map(Key::as_str).filter(|after| after.as_bytes() >= prefix.as_bytes()) {
            Some(after) => format!("({after}"),
            None if prefix.is_empty() => "-".to_owned(),
            None => format!("[{prefix}"),
        };
        let arguments = vec![prefix.into(), from.into(), number(limit as u64), number(MAX_PAGE_BYTES as u64)];
        let reply = self.shared.read(Script::List, bucket, arguments, deadline).await?;
        reply::page(reply.rest.get(1..).unwrap_or_default()).ok_or_else(garbled)
    }

    pub(crate) async fn write(
        &self,
        bucket: &Bucket,
        writer: &Writer,
        operations: Vec<Operation>,
        deadline: Instant,
    ) -> Result<Vec<Option<Version>>, StoreError> {
        let mut arguments = vec![scripts::writer(writer)];
        let count = operations.len();
        for operation in operations {
            let (when, version): (&str, u64) = match operation.when() {
                Condition::Always => ("always", 0),
                Condition::IfAbsent => ("absent", 0),
                Condition::IfPresent => ("present", 0),
                Condition::IfVersion(version) => ("version", version.0),
            };
            let (what, key, ttl, value) = match operation {
                Operation::Set { key, value, options } => ("set", key, millis(options.ttl), value),
                Operation::Delete { key, .. } => ("delete", key, 0, Vec::new()),
                Operation::Check { key, .. } => ("check", key, 0, Vec::new()),
            };
            let key = String::from(key).into_bytes();
            arguments.extend([what.into(), key, when.into(), number(version), number(ttl), value]);
        }
        let reply = self.shared.write(Script::Transact, bucket, arguments, deadline).await?;
        let versions = reply.rest.iter().map(|version| scripts::read_number(version));
        let versions = versions.map(|version| version.map(|version| (version > 0).then_some(Version(version))));
        versions.collect::<Option<Vec<_>>>().filter(|versions| versions.len() == count).ok_or_else(garbled)
    }

    pub(crate) async fn increment(
        &self,
        bucket: &Bucket,
        writer: &Writer,
        key: Key,
        delta: i64,
        options: SetOptions,
        deadline: Instant,
    ) -> Result<(i64, Version), StoreError> {
        let delta = delta.to_string().into_bytes();
        let arguments = vec![scripts::writer(writer), String::from(key).into(), delta, number(millis(options.ttl))];
        let reply = self.shared.write(Script::Increment, bucket, arguments, deadline).await?;
        let [sum, version] = reply.rest.as_slice() else { return Err(garbled()) };
        let sum = std::str::from_utf8(sum).ok().and_then(|sum| sum.parse().ok()).ok_or_else(garbled)?;
        Ok((sum, Version(scripts::read_number(version).ok_or_else(garbled)?)))
    }

    pub(crate) async fn import(
        &self,
        bucket: &Bucket,
        version: Version,
        entries: Vec<Entry>,
        deadline: Instant,
    ) -> Result<(), StoreError> {
        let mut arguments = vec![number(version.0)];
        for entry in entries {
            let Entry { key, value, version, writer, written_at_ms, expires_at_ms } = entry;
            let (key, expires) = (String::from(key).into_bytes(), expires_at_ms.unwrap_or(0));
            let writer = scripts::writer(&writer);
            arguments.extend([key, number(version.0), number(written_at_ms), number(expires), writer, value]);
        }
        self.shared.write(Script::Import, bucket, arguments, deadline).await.map(|_| ())
    }

    /// Changes, and where there are none the next ones, up to `until`.
    pub(crate) async fn changes(
        &self,
        bucket: &Bucket,
        prefix: &str,
        after: Version,
        limit: usize,
        until: Instant,
        deadline: Instant,
    ) -> Result<ChangePage, StoreError> {
        let mut after = after;
        let waits = Instant::now() < until;
        let mut changed = self.shared.watch.waiters.wait(&bucket.name);
        loop {
            changed.mark_unchanged();
            if waits {
                self.shared.watch.want(&bucket.name);
            }
            let arguments = vec![prefix.into(), number(after.0), number(limit as u64), number(MAX_PAGE_BYTES as u64)];
            let reply = self.shared.settled(Script::Changes, bucket, arguments, deadline).await;
            let (page, due) = match reply {
                Ok(reply) => {
                    let page = reply::changes(reply.rest.get(1..).unwrap_or_default()).ok_or_else(garbled)?;
                    (page, reply.due_in())
                }
                // The deadline of a wait that found nothing so far is no error.
                Err(StoreError::TimedOut) if waits => (ChangePage { changes: Vec::new(), next_after: after }, None),
                Err(error) => return Err(error),
            };
            let now = Instant::now();
            if !page.changes.is_empty() || now >= until {
                return Ok(page);
            }
            after = page.next_after;
            let look = now + due.unwrap_or(LOOK_EVERY).clamp(Duration::from_millis(1), LOOK_EVERY);
            // An error is a waiter's sender that is gone, which lives as long as its receivers.
            _ = tokio::time::timeout_at(look.min(until).into(), changed.changed()).await;
        }
    }

    pub(crate) async fn usage(&self, bucket: &Bucket, deadline: Instant) -> Result<(Usage, Version), StoreError> {
        let reply = self.shared.settled(Script::Usage, bucket, Vec::new(), deadline).await?;
        let [_, entries, bytes, version] = reply.rest.as_slice() else { return Err(garbled()) };
        let usage = reply::usage(bucket, entries, bytes).ok_or_else(garbled)?;
        Ok((usage, Version(scripts::read_number(version).ok_or_else(garbled)?)))
    }

    pub(crate) async fn buckets(&self, deadline: Instant) -> Result<Vec<BucketName>, StoreError> {
        self.shared.buckets(deadline).await
    }

    pub(crate) async fn ping(&self, deadline: Instant) -> Result<(), StoreError> {
        self.shared.nodes.send(None, &redis::cmd("PING"), || None, false, deadline).await.map(|_| ())
    }

    pub(crate) async fn settings(&self, deadline: Instant) -> Result<ServerSettings, StoreError> {
        settings::read(&self.shared.nodes, deadline).await
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Reply {
    fn due(&self) -> Option<u64> {
        self.rest.first().and_then(|due| scripts::read_number(due)).filter(|due| *due > 0)
    }

    fn is_due(&self) -> bool {
        self.due().is_some_and(|due| due <= self.now)
    }

    /// How long until something is due.
    fn due_in(&self) -> Option<Duration> {
        self.due().map(|due| Duration::from_millis(due.saturating_sub(self.now)))
    }
}

impl Shared {
    /// Runs a script. Its answer, whatever the word.
    async fn run(
        &self,
        script: Script,
        bucket: &BucketName,
        arguments: Vec<Vec<u8>>,
        deadline: Instant,
    ) -> Result<Reply, StoreError> {
        let now = self.time.now_ms();
        let injected = if self.injected { number(now) } else { Vec::new() };
        let arguments: Vec<Vec<u8>> = [number(now), injected].into_iter().chain(arguments).collect();
        let command = script.invocation(bucket, &arguments, false);
        let otherwise = || Some(script.invocation(bucket, &arguments, true));
        let value = self.nodes.send(Some(bucket), &command, otherwise, script.writes(), deadline).await?;
        let reply = Reply::read(value).ok_or_else(garbled)?;
        self.time.at_least(reply.now);
        Ok(reply)
    }

    /// Reads. What was seen to be over is swept before the answer leaves, so that no clock brings it back.
    async fn read(
        &self,
        script: Script,
        bucket: &Bucket,
        arguments: Vec<Vec<u8>>,
        deadline: Instant,
    ) -> Result<Reply, StoreError> {
        let reply = self.run(script, &bucket.name, arguments, deadline).await?;
        if reply.is_due() {
            // A server that takes no writes still answers.
            _ = self.sweep(&bucket.name, Some(&bucket.limits), deadline).await;
        }
        if reply.word == "ok" { Ok(reply) } else { Err(reply::refusal(bucket, &reply)) }
    }

    /// Reads what is so once everything due is swept.
    async fn settled(
        &self,
        script: Script,
        bucket: &Bucket,
        arguments: Vec<Vec<u8>>,
        deadline: Instant,
    ) -> Result<Reply, StoreError> {
        loop {
            let reply = self.run(script, &bucket.name, arguments.clone(), deadline).await?;
            if reply.is_due() {
                self.sweep(&bucket.name, Some(&bucket.limits), deadline).await?;
                continue;
            }
            return if reply.word == "ok" { Ok(reply) } else { Err(reply::refusal(bucket, &reply)) };
        }
    }

    async fn get(&self, bucket: &Bucket, keys: &[Key], values: bool, deadline: Instant) -> Result<Reply, StoreError> {
        let mut arguments = vec![number(u64::from(values)), number(most(values))];
        arguments.extend(keys.iter().map(|key| key.as_str().into()));
        self.read(Script::Get, bucket, arguments, deadline).await
    }

    async fn write(
        &self,
        script: Script,
        bucket: &Bucket,
        arguments: Vec<Vec<u8>>,
        deadline: Instant,
    ) -> Result<Reply, StoreError> {
        self.register(&bucket.name, deadline).await?;
        let arguments = scripts::limits(&bucket.limits).into_iter().chain(arguments).collect();
        let reply = self.run(script, &bucket.name, arguments, deadline).await?;
        if reply.word == "ok" { Ok(reply) } else { Err(reply::refusal(bucket, &reply)) }
    }

    /// Puts the bucket into the registry before its first write through this process.
    async fn register(&self, bucket: &BucketName, deadline: Instant) -> Result<(), StoreError> {
        if self.registered.lock().unwrap_or_else(PoisonError::into_inner).contains(bucket) {
            return Ok(());
        }
        let mut command = redis::cmd("SADD");
        command.arg(REGISTRY).arg(bucket.as_str());
        // Nothing of the operation is written by this, so that losing the answer is no unknown outcome.
        self.nodes.send(None, &command, || None, false, deadline).await?;
        self.registered.lock().unwrap_or_else(PoisonError::into_inner).insert(bucket.clone());
        Ok(())
    }

    async fn buckets(&self, deadline: Instant) -> Result<Vec<BucketName>, StoreError> {
        let mut command = redis::cmd("SMEMBERS");
        command.arg(REGISTRY);
        let value = self.nodes.send(None, &command, || None, false, deadline).await?;
        let (Value::Array(names) | Value::Set(names)) = value else { return Err(garbled()) };
        let names = names.into_iter().map(|name| match name {
            Value::BulkString(name) => BucketName::new(String::from_utf8(name).ok()?).ok(),
            _ => None,
        });
        let mut names = names.collect::<Option<Vec<_>>>().ok_or_else(garbled)?;
        names.sort();
        Ok(names)
    }

    /// Sweeps what is due in a bucket, a bounded amount.
    async fn sweep(&self, bucket: &BucketName, limits: Option<&Limits>, deadline: Instant) -> Result<(), StoreError> {
        for _ in 0..SWEEPS {
            let arguments = limits.map_or_else(|| vec![Vec::new(); 4], scripts::limits);
            let reply = self.run(Script::Sweep, bucket, arguments, deadline).await?;
            if !reply.is_due() {
                break;
            }
        }
        Ok(())
    }

    async fn sweep_all(&self) {
        loop {
            tokio::time::sleep(SWEEP_EVERY).await;
            let Ok(buckets) = self.buckets(Instant::now() + PATIENCE).await else { continue };
            for bucket in buckets {
                // The next round comes.
                _ = self.sweep(&bucket, None, Instant::now() + PATIENCE).await;
            }
        }
    }
}

fn most(values: bool) -> u64 {
    if values { MAX_REQUEST_BYTES as u64 } else { u64::MAX >> 11 }
}

fn millis(ttl: Option<Duration>) -> u64 {
    ttl.map_or(0, |ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX))
}
