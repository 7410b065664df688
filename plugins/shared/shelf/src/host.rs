//! A bucket of the host's.

use std::time::{SystemTime, UNIX_EPOCH};

use self::portcullis::host::{
    call,
    kv::{
        Bucket, Change as KvChange, ChangeKind, Condition, Entry as KvEntry, Error, Operation, SetOptions,
        Usage as KvUsage,
    },
};
use crate::{Answer, Change, Changes, Entry, Fault, Kind, Page, Shelf, Step, Usage, When};

wit_bindgen::generate!({ path: "../../../wit", world: "portcullis:host/imports" });

/// Most changes that are asked for at a time.
const CHANGES: u32 = 200;
/// How a counter's entry is written: it stays.
const FOREVER: Option<u64> = None;

/// A bucket that the operator granted, for the length of a call.
pub struct HostShelf {
    bucket: Bucket,
}

impl HostShelf {
    /// Opens the bucket of this name.
    ///
    /// # Errors
    /// Where it is not granted.
    pub fn open(name: &str) -> Answer<Self> {
        let bucket = Bucket::open(name).map_err(|error| String::from(fault(error)))?;
        Ok(Self { bucket })
    }
}

impl Shelf for HostShelf {
    fn caller(&self) -> String {
        call::principal()
    }

    fn now_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn get(&self, key: &str) -> Result<Option<Entry>, Fault> {
        self.bucket.get(key).map(|found| found.map(entry)).map_err(fault)
    }

    fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Entry>>, Fault> {
        let found = self.bucket.get_many(keys).map_err(fault)?;
        Ok(found.into_iter().map(|found| found.map(entry)).collect())
    }

    fn list(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<Page, Fault> {
        let page = self.bucket.list(prefix, after, limit).map_err(fault)?;
        Ok(Page { entries: page.entries.into_iter().map(entry).collect(), next: page.next })
    }

    fn transact(&self, steps: &[Step]) -> Result<Vec<Option<u64>>, Fault> {
        let operations: Vec<_> = steps.iter().map(operation).collect();
        self.bucket.transact(&operations).map_err(fault)
    }

    fn next(&self, key: &str) -> Result<u64, Fault> {
        let (number, _) = self.bucket.increment(key, 1, FOREVER).map_err(fault)?;
        u64::try_from(number).map_err(|_| Fault::Damaged(key.into()))
    }

    fn changes(&self, prefix: &str, after: u64, wait_ms: u32) -> Result<Changes, Fault> {
        match self.bucket.changes(prefix, after, CHANGES, wait_ms) {
            Ok(page) => Ok(Changes {
                changes: page.changes.into_iter().map(change).collect(),
                next_after: page.next_after,
                missed: false,
            }),
            Err(Error::Compacted(version)) => Ok(Changes { changes: Vec::new(), next_after: version, missed: true }),
            Err(error) => Err(fault(error)),
        }
    }

    fn usage(&self) -> Result<Option<Usage>, Fault> {
        match self.bucket.usage() {
            Ok(KvUsage { entries, bytes, max_entries, max_bytes }) => {
                Ok(Some(Usage { entries, bytes, max_entries, max_bytes }))
            }
            Err(Error::AccessDenied) => Ok(None),
            Err(error) => Err(fault(error)),
        }
    }
}

fn entry(entry: KvEntry) -> Entry {
    let KvEntry { key, value, version, writer, written_at_ms, expires_at_ms } = entry;
    Entry { key, value, version, writer: writer.principal, written_at_ms, expires_at_ms }
}

fn change(change: KvChange) -> Change {
    let kind = match change.kind {
        ChangeKind::Set => Kind::Set,
        ChangeKind::Delete => Kind::Delete,
        ChangeKind::Expire => Kind::Expire,
    };
    Change { kind, key: change.key }
}

fn condition(when: When) -> Condition {
    match when {
        When::Always => Condition::Always,
        When::Absent => Condition::IfAbsent,
        When::Present => Condition::IfPresent,
        When::Version(version) => Condition::IfVersion(version),
    }
}

fn operation(step: &Step) -> Operation {
    match step {
        Step::Set(key, value, when, ttl_ms) => {
            let options = SetOptions { when: condition(*when), ttl_ms: *ttl_ms };
            Operation::Set((key.clone(), value.clone(), options))
        }
        Step::Delete(key, when) => Operation::Delete((key.clone(), condition(*when))),
        Step::Check(key, when) => Operation::Check((key.clone(), condition(*when))),
    }
}

/// The one place where errors of the host's become ours.
fn fault(error: Error) -> Fault {
    match error {
        Error::Conflict(found) => Fault::Conflict(found.map(|found| Box::new(entry(found)))),
        Error::QuotaExceeded(_) => Fault::Full,
        Error::Busy(_) => Fault::Busy,
        Error::Limit(_) => Fault::Limit,
        Error::UnknownOutcome => Fault::Unknown,
        Error::TimedOut | Error::Unavailable => Fault::Away,
        Error::AccessDenied | Error::NoSuchBucket => Fault::Denied,
        Error::InvalidArgument(what) | Error::Other(what) => Fault::Other(what),
        Error::Compacted(_) => Fault::Other("the store was restored to an earlier state: try again".into()),
    }
}
