//! The counter of the warehouse: an operator's hand on shared context, recorded.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use portcullis_audit::{AuditError, Event, KvAction, KvOutcome, Ledger};
use portcullis_policy::Principal;
use portcullis_store::{Bound, BucketName, Entry, Key, SetOptions, StoreError, Version, Warehouse, Writer};

use super::kv::{KvAnswer, KvEntry, KvFault, KvRefusal, KvRequest, KvStats};

/// How long one question may take. An operator waits for it.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest wait for changes in one question; whoever watches asks again.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// Most changes of one answer.
const MAX_CHANGES: usize = 1000;

/// The counter.
#[derive(Debug)]
pub struct Counter {
    warehouse: Arc<Warehouse>,
    ledger: Arc<Ledger>,
    /// The operating system's name of the user whose host this is.
    operator: String,
}

/// What is written, for the record.
struct Written<'a> {
    action: KvAction,
    bucket: &'a str,
    key: Option<&'a str>,
    entries: usize,
}

impl Counter {
    /// A counter of `warehouse` that records in `ledger` what `operator` does.
    pub fn new(warehouse: Arc<Warehouse>, ledger: Arc<Ledger>, operator: String) -> Self {
        Self { warehouse, ledger, operator }
    }

    /// Answers a question.
    ///
    /// # Errors
    /// When the store refuses, is away, or what is done cannot be recorded.
    pub async fn ask(&self, request: KvRequest) -> Result<KvAnswer, KvRefusal> {
        let deadline = Instant::now() + PATIENCE;
        let store = self.warehouse.store();
        match request {
            KvRequest::Get { bucket, key } => {
                let found = async { store.get(&self.bucket(&bucket)?, &key_of(key)?, deadline).await };
                let found = found.await.map_err(|error| KvRefusal::of(&bucket, error))?;
                Ok(KvAnswer::Entry(found.map(KvEntry::from)))
            }
            KvRequest::Set { bucket, key, value, when, ttl_ms } => {
                let written = Written { action: KvAction::Set, bucket: &bucket, key: Some(&key), entries: 1 };
                let options = SetOptions { when: when.into(), ttl: ttl_ms.map(Duration::from_millis) };
                let set = async {
                    let (bucket, key) = (self.bucket(&bucket)?, key_of(key.clone())?);
                    store.set(&bucket, key, value.0, options, &by_hand(), deadline).await.map(Some)
                };
                self.recorded(written, set).await
            }
            KvRequest::Delete { bucket, key, when } => {
                let written = Written { action: KvAction::Delete, bucket: &bucket, key: Some(&key), entries: 1 };
                let delete = async {
                    let (bucket, key) = (self.bucket(&bucket)?, key_of(key.clone())?);
                    store.delete(&bucket, key, when.into(), &by_hand(), deadline).await
                };
                self.recorded(written, delete).await
            }
            KvRequest::List { bucket, prefix, after, limit } => {
                self.page(&bucket, &prefix, after, limit, deadline).await.map_err(|error| KvRefusal::of(&bucket, error))
            }
            KvRequest::Export { bucket, after } => {
                let page = self.page(&bucket, "", after, portcullis_store::MAX_PAGE, deadline).await;
                page.map_err(|error| KvRefusal::of(&bucket, error))
            }
            KvRequest::Changes { bucket, prefix, after, wait_ms } => {
                let wait = Duration::from_millis(wait_ms).min(MAX_WAIT);
                let changes = async {
                    let of = self.bucket(&bucket)?;
                    let Some(after) = after else {
                        let latest = store.export(&of, deadline).await?.version();
                        return Ok(KvAnswer::Changes { changes: Vec::new(), next_after: latest.0 });
                    };
                    let until = Instant::now() + wait + PATIENCE;
                    let page = store.changes(&of, &prefix, Version(after), MAX_CHANGES, wait, until).await?;
                    let changes = page.changes.into_iter().map(Into::into).collect();
                    Ok(KvAnswer::Changes { changes, next_after: page.next_after.0 })
                };
                changes.await.map_err(|error| KvRefusal::of(&bucket, error))
            }
            KvRequest::Stats { bucket } => self.stats(bucket, deadline).await,
            KvRequest::Import { bucket, version, entries } => {
                let count = entries.len();
                let written = Written { action: KvAction::Import, bucket: &bucket, key: None, entries: count };
                let import = async {
                    let entries = entries.into_iter().map(entry).collect::<Result<Vec<_>, Bound>>()?;
                    store.import(&self.bucket(&bucket)?, Version(version), entries, deadline).await.map(|()| None)
                };
                self.recorded(written, import).await.map(|_| KvAnswer::Imported { entries: count })
            }
        }
    }

    fn bucket(&self, name: &str) -> Result<portcullis_store::Bucket, Bound> {
        BucketName::new(name).map(|name| self.warehouse.bucket(name))
    }

    async fn page(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<String>,
        limit: usize,
        deadline: Instant,
    ) -> Result<KvAnswer, StoreError> {
        let (store, bucket) = (self.warehouse.store(), self.bucket(bucket)?);
        // Before the entries: what is written in between comes with a version of its own.
        let version = store.export(&bucket, deadline).await?.version().0;
        let after = after.map(Key::new).transpose()?;
        let page = store.list(&bucket, prefix, after.as_ref(), limit, deadline).await?;
        let next = page.next.map(String::from);
        Ok(KvAnswer::Page { version, entries: page.entries.into_iter().map(KvEntry::from).collect(), next })
    }

    async fn stats(&self, bucket: Option<String>, deadline: Instant) -> Result<KvAnswer, KvRefusal> {
        let store = self.warehouse.store();
        let shown = bucket.clone().unwrap_or_default();
        let stats = async {
            let names = match bucket {
                Some(name) => vec![BucketName::new(name)?],
                None => store.buckets(deadline).await?,
            };
            let mut stats = Vec::with_capacity(names.len());
            for name in names {
                let bucket = self.warehouse.bucket(name);
                stats.push(KvStats::of(bucket.name.as_str(), store.usage(&bucket, deadline).await?));
            }
            Ok(KvAnswer::Stats(stats))
        };
        stats.await.map_err(|error| KvRefusal::of(&shown, error))
    }

    /// Records what is about to be done, does it, and records what came of it.
    async fn recorded(
        &self,
        written: Written<'_>,
        work: impl Future<Output = Result<Option<Version>, StoreError>>,
    ) -> Result<KvAnswer, KvRefusal> {
        let Written { action, bucket, key, entries } = written;
        let intent = Event::KvIntent { action, bucket, key, entries, by: &self.operator };
        let intent = self.ledger.append(&intent).map_err(|error| not_recorded("nothing was written", &error))?;
        let done = work.await;
        let (outcome, version, what) = match &done {
            Ok(version) => (KvOutcome::Done, version.map(|version| version.0), "it was done"),
            Err(StoreError::UnknownOutcome(_)) => (KvOutcome::Unknown, None, "it may have been done"),
            Err(_) => (KvOutcome::NotDone, None, "nothing was written"),
        };
        let recorded = self.ledger.append(&Event::KvOutcome { intent, outcome, version });
        recorded.map_err(|error| not_recorded(what, &error))?;
        done.map(|_| KvAnswer::Written { version }).map_err(|error| KvRefusal::of(bucket, error))
    }
}

fn not_recorded(what: &str, error: &AuditError) -> KvRefusal {
    KvRefusal { fault: KvFault::NotRecorded, message: format!("{error}; {what}") }
}

fn key_of(key: String) -> Result<Key, Bound> {
    Key::new(key)
}

/// Who writes: the operator of this machine, and no plugin.
fn by_hand() -> Writer {
    Writer { principal: Principal::LocalOperator.as_str().to_owned(), ..Writer::default() }
}

fn entry(entry: KvEntry) -> Result<Entry, Bound> {
    let KvEntry { key, value, version, principal, plugin, digest, written_at_ms, expires_at_ms } = entry;
    let (key, writer) = (Key::new(key)?, Writer { principal, plugin, digest });
    Ok(Entry { key, value: value.0, version: Version(version), writer, written_at_ms, expires_at_ms })
}
