//! The embedded engine: one file, one host. One thread writes and commits for all that wait; reads are inline.

mod apply;
mod backend;
mod codec;
mod fault;
mod log;
mod open;
mod queue;
mod read;
mod tables;
mod writer;

use std::{
    fs::File,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Instant,
};

use redb::Database;

pub use self::open::OpenError;
use self::{
    backend::View,
    fault::{Fault, caught},
    queue::{Done, Queue, Work},
    read::Read,
    writer::Writer,
};
use crate::{
    clock::{Clock, Time},
    contract::{
        Bucket, BucketName, ChangePage, Entry, Key, Operation, Page, SetOptions, StoreError, Usage, Version,
        Writer as WrittenBy,
    },
    waiters::Waiters,
};

/// When a write is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Once it is on the disk (`fdatasync`).
    #[default]
    Always,
    /// At once; it is on the disk within a quarter of a second. A crash of the host may lose what is not, newest first, and
    /// never leaves a part.
    Relaxed,
}

/// What to open.
#[derive(Clone)]
pub struct EmbeddedOptions {
    /// The file. Made with mode 0600 where there is none; its folder is there.
    pub path: PathBuf,
    /// When a write is acknowledged.
    pub durability: Durability,
    /// Where the time comes from.
    pub clock: Clock,
    /// Whether to read the whole file first and compare it with its checksums: for `doctor`, or after a disk misbehaved.
    pub check: bool,
}

/// The engine.
pub(crate) struct Embedded {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

/// What the threads of this process share.
struct Shared {
    path: PathBuf,
    /// Holds the lock over the file.
    file: Arc<File>,
    /// None where it could not be opened again after a failure.
    open: RwLock<Option<Database>>,
    view: RwLock<View>,
    /// How many times it was opened.
    generation: AtomicU64,
    time: Time,
    queue: Queue,
    waiters: Waiters,
    /// Why the last commit failed, where it did.
    trouble: Mutex<Option<String>>,
}

impl Shared {
    /// Remembers how the last commit went.
    fn took(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// Whether the file is longer than what is kept of it in memory.
    fn is_beyond_cache(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| metadata.len() > open::CACHE as u64)
    }

    /// Why there is no file that is open.
    fn away(&self) -> Fault {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Fault::Storage(redb::Error::Io(std::io::Error::other(trouble.unwrap_or_default())))
    }

    fn database(&self) -> RwLockReadGuard<'_, Option<Database>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Opens the file again, unless somebody has since `before`. redb refuses everything after an error of the disk, reads
    /// too, until then.
    fn heal(&self, before: u64) {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if self.generation() != before {
            return;
        }
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        // First, since redb writes to the file when it is dropped.
        view.end();
        let old = open.take();
        _ = caught(|| {
            drop(old);
            Ok(())
        });
        match open::again(&self.path, &self.file) {
            Ok((fresh, database)) => {
                *view = fresh;
                *open = Some(database);
            }
            Err(error) => self.took(Some(error.to_string())),
        }
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// Reads, and once more after opening the file again where the disk failed.
    fn read<T>(&self, read: impl Fn(&Read) -> Result<T, Fault>) -> Result<T, StoreError> {
        let now = self.time.now_ms();
        let once = || {
            let generation = self.generation();
            let database = self.database();
            let done = match database.as_ref() {
                Some(database) => caught(|| read(&Read::new(database, now)?)),
                None => Err(self.away()),
            };
            (generation, done)
        };
        let (generation, done) = once();
        match done {
            Err(fault) if fault.heals() => {
                self.heal(generation);
                once().1.map_err(Fault::of_read)
            }
            done => done.map_err(Fault::of_read),
        }
    }
}

impl Embedded {
    pub(crate) fn open(options: EmbeddedOptions) -> Result<Self, OpenError> {
        let EmbeddedOptions { path, durability, clock, check } = options;
        let opened = open::open(&path, check)?;
        let damaged = |fault: Fault| OpenError::Damaged { path: path.clone(), message: fault.reason() };
        let (commit, clock_before) = caught(|| open::last_commit(&opened.database)).map_err(damaged)?;
        let time = Time::new(clock);
        time.at_least(clock_before);
        let shared = Arc::new(Shared {
            path: path.clone(),
            file: opened.file,
            open: RwLock::new(Some(opened.database)),
            view: RwLock::new(opened.view),
            generation: AtomicU64::new(0),
            time,
            queue: Queue::new(),
            waiters: Waiters::default(),
            trouble: Mutex::default(),
        });
        let writer = Writer::new(Arc::clone(&shared), durability, opened.log, commit);
        let thread = std::thread::Builder::new().name("store writer".to_owned()).spawn(move || writer.run());
        let thread = thread.map_err(|source| OpenError::Io { path, source })?;
        Ok(Self { shared, writer: Some(thread) })
    }

    pub(crate) fn get(&self, bucket: &Bucket, key: &Key) -> Result<Option<Entry>, StoreError> {
        self.shared.read(|read| read.get(&bucket.name, key))
    }

    pub(crate) fn get_many(&self, bucket: &Bucket, keys: &[Key]) -> Result<Vec<Option<Entry>>, StoreError> {
        self.shared.read(|read| read.get_many(&bucket.name, keys))
    }

    pub(crate) fn exists(&self, bucket: &Bucket, key: &Key) -> Result<bool, StoreError> {
        self.shared.read(|read| read.exists(&bucket.name, key))
    }

    pub(crate) fn list(
        &self,
        bucket: &Bucket,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.shared.read(|read| read.list(&bucket.name, prefix, after, limit))
    }

    pub(crate) async fn write(
        &self,
        bucket: &Bucket,
        writer: &WrittenBy,
        operations: Vec<Operation>,
        deadline: Instant,
    ) -> Result<Vec<Option<Version>>, StoreError> {
        let work = Work::Write { writer: writer.clone(), operations };
        match self.shared.queue.submit(bucket, work, deadline).await? {
            Done::Written(versions) => Ok(versions),
            other => Err(unexpected(&other)),
        }
    }

    pub(crate) async fn increment(
        &self,
        bucket: &Bucket,
        writer: &WrittenBy,
        key: Key,
        delta: i64,
        options: SetOptions,
        deadline: Instant,
    ) -> Result<(i64, Version), StoreError> {
        let work = Work::Increment { writer: writer.clone(), key, delta, options };
        match self.shared.queue.submit(bucket, work, deadline).await? {
            Done::Counted(number, version) => Ok((number, version)),
            other => Err(unexpected(&other)),
        }
    }

    pub(crate) async fn import(
        &self,
        bucket: &Bucket,
        version: Version,
        entries: Vec<Entry>,
        deadline: Instant,
    ) -> Result<(), StoreError> {
        self.shared.queue.submit(bucket, Work::Import { version, entries }, deadline).await.map(|_| ())
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
        // Before the first look, so that no change falls between it and the wait.
        let mut changed = self.shared.waiters.wait(&bucket.name);
        loop {
            changed.mark_unchanged();
            self.settle(bucket, deadline).await?;
            let page = self.shared.read(|read| read.changes(&bucket.name, prefix, after, limit))?;
            if !page.changes.is_empty() || Instant::now() >= until {
                return Ok(page);
            }
            // What is outside the prefix is not looked at twice.
            after = page.next_after;
            // An error is a waiter's sender that is gone, which lives as long as its receivers.
            _ = tokio::time::timeout_at(until.into(), changed.changed()).await;
        }
    }

    pub(crate) async fn usage(&self, bucket: &Bucket, deadline: Instant) -> Result<Usage, StoreError> {
        self.settle(bucket, deadline).await?;
        self.shared.read(|read| read.usage(bucket))
    }

    pub(crate) fn version(&self, bucket: &Bucket) -> Result<Version, StoreError> {
        self.shared.read(|read| read.version(&bucket.name))
    }

    pub(crate) fn buckets(&self) -> Result<Vec<BucketName>, StoreError> {
        self.shared.read(Read::buckets)
    }

    /// Whether the file can be read, and took the last write. Where it did not, it is asked to take another one.
    pub(crate) async fn health(&self, deadline: Instant) -> Result<(), StoreError> {
        self.shared.read(Read::answers)?;
        let trouble = self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(trouble) = trouble else { return Ok(()) };
        let unavailable = |bound: crate::Bound| StoreError::Unavailable(format!("{trouble} ({bound})"));
        let bucket = Bucket { name: BucketName::new("probe").map_err(unavailable)?, limits: Default::default() };
        self.shared.queue.submit(&bucket, Work::Probe, deadline).await.map(|_| ())
    }

    /// Sweeps the bucket where something in it is due.
    async fn settle(&self, bucket: &Bucket, deadline: Instant) -> Result<(), StoreError> {
        while self.shared.read(|read| read.is_due(&bucket.name))? {
            self.shared.queue.submit(bucket, Work::Settle, deadline).await?;
        }
        Ok(())
    }
}

impl Drop for Embedded {
    /// Waits until what was asked is written, and the file is free for the next owner.
    fn drop(&mut self) {
        self.shared.queue.close();
        if let Some(writer) = self.writer.take() {
            // A panic of the writer's has been reported where it happened.
            _ = writer.join();
        }
    }
}

fn unexpected(done: &Done) -> StoreError {
    StoreError::Other(format!("the writer answered something else: {done:?}"))
}
