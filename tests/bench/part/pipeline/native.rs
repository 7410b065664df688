//! The floor: the plugin's functions over the store, in threads of this process that are its agents.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{anyhow, ensure};
use portcullis_store::{Bucket, Condition, Key, Operation, SetOptions, Store, StoreError, Version, Writer};
use shelf::{Answer, Change, Changes, Entry, Fault, Kind, Page, Shelf, Step, Usage, When};
use support::{Draft, Said, State};
use tokio::runtime::{Handle, Runtime};

use super::{ANALYSTS, ASPECT, CONFIDENCE, Case, DESK, LANES, ROUTER, bucket, deadline};

/// Tickets of a page.
const PAGE: u32 = 50;
/// Changes of a page, as the plugin has it.
const CHANGES: usize = 200;

/// The team.
pub(super) struct Native {
    desk: StoreShelf,
    router: StoreShelf,
    analysts: [StoreShelf; 4],
    /// The store's deadlines need its timer.
    _tokio: Runtime,
}

impl Native {
    pub(super) fn new(store: Store) -> anyhow::Result<Self> {
        let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let (store, bucket) = (Arc::new(store), bucket()?);
        let shelf = |name: &str| StoreShelf {
            store: Arc::clone(&store),
            bucket: bucket.clone(),
            // As long as the host's.
            writer: Writer { principal: name.into(), plugin: "support".into(), digest: "0".repeat(64) },
            tokio: tokio.handle().clone(),
        };
        Ok(Self { desk: shelf(DESK), router: shelf(ROUTER), analysts: ANALYSTS.map(shelf), _tokio: tokio })
    }

    /// Works on all of them; how long it takes.
    pub(super) fn run(&self, cases: &[Case]) -> anyhow::Result<Duration> {
        let (next, began) = (AtomicUsize::new(0), Instant::now());
        thread::scope(|scope| {
            let lanes: Vec<_> = (0..LANES).map(|_| scope.spawn(|| self.lane(cases, &next))).collect();
            for lane in lanes {
                lane.join().map_err(|_| anyhow!("a lane of the floor panicked"))??;
            }
            anyhow::Ok(())
        })?;
        Ok(began.elapsed())
    }

    /// One ticket after the other, with a thread for each analyst.
    fn lane(&self, cases: &[Case], next: &AtomicUsize) -> anyhow::Result<()> {
        thread::scope(|scope| {
            let (done, dones) = mpsc::channel();
            let mut analysts = Vec::new();
            for (at, shelf) in self.analysts.iter().enumerate() {
                let (give, given) = mpsc::channel::<&Case>();
                let done = done.clone();
                scope.spawn(move || {
                    for case in given {
                        // Whoever asked has failed meanwhile.
                        _ = done.send(analyse(shelf, case, at));
                    }
                });
                analysts.push(give);
            }
            while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                told(self.save(case))?;
                for analyst in &analysts {
                    analyst.send(case).map_err(|_| anyhow!("an analyst of the floor is gone"))?;
                }
                for _ in &analysts {
                    told(dones.recv()?)?;
                }
                told(self.end(case))?;
            }
            Ok(())
        })
    }

    fn save(&self, case: &Case) -> Answer<()> {
        let Case { id, subject, body, .. } = case;
        let draft =
            Draft { id: id.clone(), customer: "ada@example.com".into(), subject: subject.clone(), body: body.clone() };
        support::save(&self.desk, &draft).map(drop)
    }

    /// The router reads all and ends it.
    fn end(&self, case: &Case) -> Answer<()> {
        let read = support::all(&self.router, &case.id, None, None)?;
        if read.items.len() != ANALYSTS.len() {
            return Err(format!("{read:?}"));
        }
        let end = match case.end {
            State::Escalated => support::escalate,
            State::New | State::Analysing | State::Resolved => support::resolve,
        };
        end(&self.router, &case.id, &case.outcome, Some(read.total)).map(drop)
    }

    /// How many tickets are in a state.
    pub(super) fn count(&self, state: State) -> anyhow::Result<usize> {
        let (mut count, mut after) = (0, None);
        loop {
            let page = told(support::status(&self.router, None, Some(state), after.as_deref(), Some(PAGE)))?;
            count += page.tickets.len();
            ensure!(page.tickets.iter().all(|ticket| state == State::New || ticket.analysts.len() == ANALYSTS.len()));
            after = page.next;
            if after.is_none() {
                return Ok(count);
            }
        }
    }

    /// The bucket's writes, and entries.
    pub(super) fn written(&self) -> anyhow::Result<(Version, u64)> {
        let StoreShelf { store, bucket, tokio, .. } = &self.router;
        let version = tokio.block_on(store.version(bucket, deadline()))?;
        Ok((version, tokio.block_on(store.usage(bucket, deadline()))?.entries))
    }
}

fn analyse(shelf: &StoreShelf, case: &Case, at: usize) -> Answer<()> {
    let finding = case.findings.get(at).cloned().unwrap_or_default();
    support::add(shelf, &case.id, &Said { aspect: ASPECT.into(), finding, confidence: Some(CONFIDENCE) }).map(drop)
}

fn told<T>(answer: Answer<T>) -> anyhow::Result<T> {
    answer.map_err(|error| anyhow!("the floor: {error}"))
}

/// The bucket, as one agent has it.
struct StoreShelf {
    store: Arc<Store>,
    bucket: Bucket,
    writer: Writer,
    tokio: Handle,
}

impl StoreShelf {
    fn wait<T>(&self, asked: impl Future<Output = Result<T, StoreError>>) -> Result<T, Fault> {
        self.tokio.block_on(asked).map_err(fault)
    }
}

impl Shelf for StoreShelf {
    fn caller(&self) -> String {
        self.writer.principal.clone()
    }

    fn now_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn get(&self, key: &str) -> Result<Option<Entry>, Fault> {
        let key = named(key)?;
        Ok(self.wait(self.store.get(&self.bucket, &key, deadline()))?.map(entry))
    }

    fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Entry>>, Fault> {
        let keys = keys.iter().map(|key| named(key)).collect::<Result<Vec<_>, _>>()?;
        let found = self.wait(self.store.get_many(&self.bucket, &keys, deadline()))?;
        Ok(found.into_iter().map(|found| found.map(entry)).collect())
    }

    fn list(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<Page, Fault> {
        let after = after.map(named).transpose()?;
        let page = self.wait(self.store.list(&self.bucket, prefix, after.as_ref(), limit as usize, deadline()))?;
        Ok(Page { entries: page.entries.into_iter().map(entry).collect(), next: page.next.map(String::from) })
    }

    fn transact(&self, steps: &[Step]) -> Result<Vec<Option<u64>>, Fault> {
        let operations = steps.iter().map(operation).collect::<Result<Vec<_>, _>>()?;
        let versions = self.wait(self.store.transact(&self.bucket, operations, &self.writer, deadline()))?;
        Ok(versions.into_iter().map(|version| version.map(|version| version.0)).collect())
    }

    fn next(&self, key: &str) -> Result<u64, Fault> {
        let counted = self.store.increment(&self.bucket, named(key)?, 1, None, &self.writer, deadline());
        let (number, _) = self.wait(counted)?;
        u64::try_from(number).map_err(|_| Fault::Damaged(key.into()))
    }

    fn usage(&self) -> Result<Option<Usage>, Fault> {
        let portcullis_store::Usage { entries, bytes, max_entries, max_bytes } =
            self.wait(self.store.usage(&self.bucket, deadline()))?;
        Ok(Some(Usage { entries, bytes, max_entries, max_bytes }))
    }

    fn changes(&self, prefix: &str, after: u64, wait_ms: u32) -> Result<Changes, Fault> {
        let wait = Duration::from_millis(wait_ms.into());
        let found = self.store.changes(&self.bucket, prefix, Version(after), CHANGES, wait, deadline());
        match self.tokio.block_on(found) {
            Ok(page) => Ok(Changes {
                changes: page.changes.into_iter().map(change).collect(),
                next_after: page.next_after.0,
                missed: false,
            }),
            Err(StoreError::Compacted(version)) => {
                Ok(Changes { changes: Vec::new(), next_after: version.0, missed: true })
            }
            Err(error) => Err(fault(error)),
        }
    }
}

fn named(key: &str) -> Result<Key, Fault> {
    Key::new(key).map_err(|bound| Fault::Other(bound.to_string()))
}

fn entry(entry: portcullis_store::Entry) -> Entry {
    let portcullis_store::Entry { key, value, version, writer, written_at_ms, expires_at_ms } = entry;
    Entry { key: key.into(), value, version: version.0, writer: writer.principal, written_at_ms, expires_at_ms }
}

fn change(change: portcullis_store::Change) -> Change {
    let kind = match change.kind {
        portcullis_store::ChangeKind::Set => Kind::Set,
        portcullis_store::ChangeKind::Delete => Kind::Delete,
        portcullis_store::ChangeKind::Expire => Kind::Expire,
    };
    Change { kind, key: change.key.into() }
}

fn condition(when: When) -> Condition {
    match when {
        When::Always => Condition::Always,
        When::Absent => Condition::IfAbsent,
        When::Present => Condition::IfPresent,
        When::Version(version) => Condition::IfVersion(Version(version)),
    }
}

fn operation(step: &Step) -> Result<Operation, Fault> {
    Ok(match step {
        Step::Set(key, value, when, ttl_ms) => {
            let options = SetOptions { when: condition(*when), ttl: ttl_ms.map(Duration::from_millis) };
            Operation::Set { key: named(key)?, value: value.clone(), options }
        }
        Step::Delete(key, when) => Operation::Delete { key: named(key)?, when: condition(*when) },
        Step::Check(key, when) => Operation::Check { key: named(key)?, when: condition(*when) },
    })
}

fn fault(error: StoreError) -> Fault {
    match error {
        StoreError::Conflict(found) => Fault::Conflict(found.map(|found| Box::new(entry(*found)))),
        StoreError::QuotaExceeded(_) => Fault::Full,
        StoreError::TimedOut | StoreError::Unavailable(_) => Fault::Away,
        StoreError::UnknownOutcome(_) => Fault::Unknown,
        StoreError::InvalidArgument(what) | StoreError::Other(what) => Fault::Other(what),
        StoreError::Compacted(_) => Fault::Other("the changes asked for are gone".into()),
    }
}
