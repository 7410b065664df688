//! Watching buckets: one task a bucket that somebody wants to hear of, whoever they are and however many.
//!
//! A watch goes on after the last version that it has seen, so that a store that was away costs time and no change. Where
//! it cannot know what it missed (the changes are not kept any more, or its beginning is not known), it says of everything
//! that it may have changed: whoever is told looks again.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    hash::{BuildHasher, RandomState},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use futures::FutureExt;
use portcullis_store::{Bucket, BucketName, Change, ChangeKind, StoreError, Version, Warehouse};
use tokio::{runtime::Handle, sync::watch, task::JoinHandle};

use super::{
    Address, Resources, STORE_DEADLINE,
    board::{Board, Told},
    deadline, view,
};
use crate::auth::Doorkeeper;

/// Watches at one time. Each is a task and, while it waits, a place among the store's waiters.
const MAX_WATCHES: usize = 2000;
/// Changes that are taken at once.
const TAKEN: usize = 256;
/// One wait for changes.
const WAIT: Duration = Duration::from_secs(30);
/// Pauses after the store did not answer, doubling from the first to the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// How long a request waits for a watch to know where it begins.
const READY: Duration = Duration::from_secs(2);
/// How long a watch that nobody wants goes on: whoever asked for it may be about to take a seat.
const UNWANTED: Duration = Duration::from_secs(60);
/// How often it is looked what is wanted, and whether there are new buckets.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Keys of a bucket that are known to be there, as hashes. Beyond that all are forgotten, and a write of an entry that
/// was there is told as one that came.
const MAX_KNOWN: usize = 10_000;

/// The watches.
pub(super) struct Watches {
    warehouse: Arc<Warehouse>,
    board: Arc<Board>,
    tasks: Handle,
    running: Mutex<HashMap<BucketName, Watch>>,
}

struct Watch {
    task: JoinHandle<()>,
    ready: watch::Receiver<bool>,
    asked: Instant,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Beginning = Pin<Box<dyn Future<Output = Result<Version, StoreError>> + Send>>;

impl Watches {
    pub(super) fn new(warehouse: Arc<Warehouse>, board: Arc<Board>, tasks: Handle) -> Self {
        Self { warehouse, board, tasks, running: Mutex::default() }
    }

    /// Begins to watch a bucket, if it is not watched. What is returned says whether it is known where the watch begins;
    /// a file says so at once, a server in a moment, and then everyone who is waiting is told to look. None where there
    /// are too many watches.
    pub(super) fn begin(&self, bucket: &BucketName) -> Option<watch::Receiver<bool>> {
        self.start(bucket, false)
    }

    fn start(&self, name: &BucketName, found: bool) -> Option<watch::Receiver<bool>> {
        let mut running = self.lock();
        if let Some(watch) = running.get_mut(name) {
            watch.asked = Instant::now();
            return Some(watch.ready.clone());
        }
        if running.len() >= MAX_WATCHES {
            tracing::warn!("too many buckets are watched; one more is not");
            return None;
        }
        let bucket = self.warehouse.bucket(name.clone());
        let (warehouse, of) = (Arc::clone(&self.warehouse), bucket.clone());
        let mut beginning: Beginning =
            Box::pin(async move { warehouse.store().version(&of, deadline(STORE_DEADLINE)).await });
        let at_once = {
            // What the engine begins belongs to the watches, not to the thread of the client that came first.
            let _tasks = self.tasks.enter();
            (&mut beginning).now_or_never()
        };
        let known = at_once.as_ref().is_some_and(Result::is_ok) && !found;
        let (told, ready) = watch::channel(known);
        let watcher = Watcher {
            warehouse: Arc::clone(&self.warehouse),
            board: Arc::clone(&self.board),
            bucket,
            known: HashSet::new(),
            hasher: RandomState::new(),
        };
        let task = self.tasks.spawn(async move {
            let first = match at_once {
                Some(first) => first,
                None => beginning.await,
            };
            watcher.run(first, known, &told).await;
        });
        running.insert(name.clone(), Watch { task, ready: ready.clone(), asked: Instant::now() });
        Some(ready)
    }

    /// Watches buckets, and waits a moment until it is known where each watch begins: what happens later is told.
    pub(super) async fn ensure(&self, buckets: impl Iterator<Item = &BucketName>) {
        let begun: Vec<_> = buckets.filter_map(|bucket| self.begin(bucket)).collect();
        let all = async {
            for mut ready in begun {
                // An error is a watch that ended: nobody wants it any more.
                _ = ready.wait_for(|ready| *ready).await;
            }
        };
        _ = tokio::time::timeout(READY, all).await;
    }

    /// Watches what is wanted, and no more.
    fn settle(&self, wanted: &BTreeSet<BucketName>) {
        for bucket in wanted {
            // There since the last look, most likely: what came into it was told to nobody.
            self.start(bucket, true);
        }
        self.lock().retain(|bucket, watch| wanted.contains(bucket) || watch.asked.elapsed() < UNWANTED);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<BucketName, Watch>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks after the watches for as long as there are resources.
pub(super) async fn look_after(resources: Weak<Resources>, keeper: Arc<Doorkeeper>) {
    let mut rules = keeper.changes();
    drop(keeper);
    loop {
        let rules_changed = matches!(tokio::time::timeout(LOOK_EVERY, rules.changed()).await, Ok(Ok(())));
        let Some(resources) = resources.upgrade() else { return };
        if rules_changed {
            resources.board.rules_changed();
        }
        let (mut wanted, readers) = resources.board.wanted();
        for principal in readers {
            match resources.open.seen(&principal, resources.warehouse.store()).await {
                Ok(buckets) => wanted.extend(buckets),
                Err(error) => {
                    tracing::debug!(%error, "the buckets are not known");
                    // Those that are watched already stay so.
                    wanted.extend(
                        resources.watches.lock().keys().filter(|name| view::sees(&principal, name.as_str())).cloned(),
                    );
                }
            }
        }
        resources.watches.settle(&wanted);
    }
}

/// One bucket's.
struct Watcher {
    warehouse: Arc<Warehouse>,
    board: Arc<Board>,
    bucket: Bucket,
    /// Hashes of keys that are known to be there.
    known: HashSet<u64>,
    hasher: RandomState,
}

impl Watcher {
    /// Never ends by itself. `known` says whether it was known where it begins before anybody was told that it watches.
    async fn run(mut self, first: Result<Version, StoreError>, known: bool, ready: &watch::Sender<bool>) {
        let mut pause = PAUSES.0;
        let mut beginning = first;
        let mut after = loop {
            match beginning {
                Ok(version) => break version,
                Err(error) => self.wait(&error, &mut pause).await,
            }
            beginning = self.warehouse.store().version(&self.bucket, deadline(STORE_DEADLINE)).await;
        };
        if !known {
            self.board.all_changed(&self.bucket.name);
            ready.send_replace(true);
        }
        loop {
            let changes =
                self.warehouse.store().changes(&self.bucket, "", after, TAKEN, WAIT, deadline(WAIT + STORE_DEADLINE));
            match changes.await {
                Ok(page) => {
                    (after, pause) = (page.next_after, PAUSES.0);
                    let told: Vec<_> = page.changes.into_iter().filter_map(|change| self.told(change)).collect();
                    self.board.changed(&told);
                }
                Err(StoreError::Compacted(version)) => {
                    (after, pause) = (version, PAUSES.0);
                    self.known.clear();
                    self.board.all_changed(&self.bucket.name);
                }
                Err(error) => self.wait(&error, &mut pause).await,
            }
        }
    }

    async fn wait(&self, error: &StoreError, pause: &mut Duration) {
        if *pause == PAUSES.0 {
            tracing::warn!(bucket = %self.bucket.name, %error, "changes of shared context are not heard of for now");
        }
        tokio::time::sleep(*pause).await;
        *pause = (*pause * 2).min(PAUSES.1);
    }

    /// What a change is told as; nothing, where its key has no address.
    fn told(&mut self, change: Change) -> Option<Told> {
        let hash = self.hasher.hash_one(change.key.as_str());
        if self.known.len() >= MAX_KNOWN {
            self.known.clear();
        }
        let list = match change.kind {
            ChangeKind::Set => self.known.insert(hash),
            ChangeKind::Delete | ChangeKind::Expire => {
                self.known.remove(&hash);
                true
            }
        };
        let uri = Address::new(self.bucket.name.clone(), change.key)?.to_string();
        Some(Told { uri, list })
    }
}
