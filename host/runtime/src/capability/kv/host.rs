//! The interface's functions: its types into the store's and back. What is allowed is decided in `bucket`.

use std::time::Duration;

use portcullis_store as store;
use portcullis_store::{Key, StoreError};
use wasmtime::component::Resource;

use super::{Bucket, Fault, View, changes::Asked};
use crate::bindings::portcullis::host::kv::{
    Change, ChangeKind, ChangePage, Condition, Entry, Error, Host, HostBucket, Operation, Page, SetOptions, Usage,
    Writer,
};

type Handle = Resource<Bucket>;

fn condition(condition: Condition) -> store::Condition {
    match condition {
        Condition::Always => store::Condition::Always,
        Condition::IfAbsent => store::Condition::IfAbsent,
        Condition::IfPresent => store::Condition::IfPresent,
        Condition::IfVersion(version) => store::Condition::IfVersion(store::Version(version)),
    }
}

fn options(options: SetOptions) -> store::SetOptions {
    store::SetOptions { when: condition(options.when), ttl: options.ttl_ms.map(Duration::from_millis) }
}

fn operation(operation: Operation) -> Result<store::Operation, Fault> {
    Ok(match operation {
        Operation::Set((key, value, how)) => {
            store::Operation::Set { key: Key::new(key)?, value, options: options(how) }
        }
        Operation::Delete((key, when)) => store::Operation::Delete { key: Key::new(key)?, when: condition(when) },
        Operation::Check((key, when)) => store::Operation::Check { key: Key::new(key)?, when: condition(when) },
    })
}

fn writer(writer: store::Writer) -> Writer {
    let store::Writer { principal, plugin, digest } = writer;
    Writer { principal, plugin, digest }
}

fn entry(entry: store::Entry) -> Entry {
    let store::Entry { key, value, version, writer: by, written_at_ms, expires_at_ms } = entry;
    Entry { key: key.into(), value, version: version.0, writer: writer(by), written_at_ms, expires_at_ms }
}

fn change(change: store::Change) -> Change {
    let kind = match change.kind {
        store::ChangeKind::Set => ChangeKind::Set,
        store::ChangeKind::Delete => ChangeKind::Delete,
        store::ChangeKind::Expire => ChangeKind::Expire,
    };
    let store::Change { kind: _, key, version, value, writer: by } = change;
    Change { kind, key: key.into(), version: version.0, value, writer: by.map(writer) }
}

fn usage(usage: store::Usage) -> Usage {
    let store::Usage { entries, bytes, max_entries, max_bytes } = usage;
    Usage { entries, bytes, max_entries, max_bytes }
}

impl Host for View<'_> {
    fn convert_error(&mut self, fault: Fault) -> wasmtime::Result<Error> {
        Ok(match fault {
            Fault::NoSuchBucket => Error::NoSuchBucket,
            Fault::Denied => Error::AccessDenied,
            Fault::Limit(bound) => Error::Limit(bound),
            Fault::Busy(bound) => Error::Busy(bound),
            Fault::Full(found) => Error::QuotaExceeded(found.map(usage)),
            Fault::Store(StoreError::QuotaExceeded(_)) => Error::QuotaExceeded(None),
            Fault::Store(StoreError::InvalidArgument(bound)) => Error::InvalidArgument(bound),
            Fault::Store(StoreError::Conflict(found)) => Error::Conflict(found.map(|found| entry(*found))),
            Fault::Store(StoreError::Compacted(version)) => Error::Compacted(version.0),
            Fault::Store(StoreError::TimedOut) => Error::TimedOut,
            Fault::Store(StoreError::Unavailable(_)) => Error::Unavailable,
            Fault::Store(StoreError::UnknownOutcome(_)) => Error::UnknownOutcome,
            fault @ Fault::Store(StoreError::Other(_)) => Error::Other(fault.to_string()),
            Fault::Trap(error) => return Err(error.into()),
        })
    }
}

impl HostBucket for View<'_> {
    async fn open(&mut self, name: String) -> Result<Handle, Fault> {
        View::open(self, &name)
    }

    async fn get(&mut self, bucket: Handle, key: String) -> Result<Option<Entry>, Fault> {
        let bucket = self.bucket(&bucket)?;
        Ok(View::get(self, &bucket, &Key::new(key)?).await?.map(entry))
    }

    async fn get_many(&mut self, bucket: Handle, keys: Vec<String>) -> Result<Vec<Option<Entry>>, Fault> {
        let bucket = self.bucket(&bucket)?;
        let keys = keys.into_iter().map(Key::new).collect::<Result<Vec<_>, _>>()?;
        let found = View::get_many(self, &bucket, &keys).await?;
        Ok(found.into_iter().map(|found| found.map(entry)).collect())
    }

    async fn exists(&mut self, bucket: Handle, key: String) -> Result<bool, Fault> {
        let bucket = self.bucket(&bucket)?;
        View::exists(self, &bucket, &Key::new(key)?).await
    }

    async fn set(&mut self, bucket: Handle, key: String, value: Vec<u8>, how: SetOptions) -> Result<u64, Fault> {
        let bucket = self.bucket(&bucket)?;
        Ok(View::set(self, &bucket, Key::new(key)?, value, options(how)).await?.0)
    }

    async fn delete(&mut self, bucket: Handle, key: String, when: Condition) -> Result<Option<u64>, Fault> {
        let bucket = self.bucket(&bucket)?;
        let operation = store::Operation::Delete { key: Key::new(key)?, when: condition(when) };
        let versions = View::transact(self, &bucket, vec![operation]).await?;
        Ok(versions.into_iter().flatten().next().map(|version| version.0))
    }

    async fn increment(
        &mut self,
        bucket: Handle,
        key: String,
        delta: i64,
        ttl_ms: Option<u64>,
    ) -> Result<(i64, u64), Fault> {
        let bucket = self.bucket(&bucket)?;
        let ttl = ttl_ms.map(Duration::from_millis);
        let (sum, version) = View::increment(self, &bucket, Key::new(key)?, delta, ttl).await?;
        Ok((sum, version.0))
    }

    async fn list(&mut self, bucket: Handle, prefix: String, after: Option<String>, limit: u32) -> Result<Page, Fault> {
        let bucket = self.bucket(&bucket)?;
        let after = after.map(Key::new).transpose()?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let page = View::list(self, &bucket, &prefix, after.as_ref(), limit).await?;
        Ok(Page { entries: page.entries.into_iter().map(entry).collect(), next: page.next.map(String::from) })
    }

    async fn transact(&mut self, bucket: Handle, operations: Vec<Operation>) -> Result<Vec<Option<u64>>, Fault> {
        let bucket = self.bucket(&bucket)?;
        let operations = operations.into_iter().map(operation).collect::<Result<Vec<_>, _>>()?;
        let versions = View::transact(self, &bucket, operations).await?;
        Ok(versions.into_iter().map(|version| version.map(|version| version.0)).collect())
    }

    async fn changes(
        &mut self,
        bucket: Handle,
        prefix: String,
        after: u64,
        limit: u32,
        wait_ms: u32,
    ) -> Result<ChangePage, Fault> {
        let bucket = self.bucket(&bucket)?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let (after, wait) = (store::Version(after), Duration::from_millis(wait_ms.into()));
        let page = View::changes(self, &bucket, Asked { prefix: &prefix, after, limit, wait }).await?;
        Ok(ChangePage { changes: page.changes.into_iter().map(change).collect(), next_after: page.next_after.0 })
    }

    async fn usage(&mut self, bucket: Handle) -> Result<Usage, Fault> {
        let bucket = self.bucket(&bucket)?;
        Ok(usage(View::usage(self, &bucket).await?))
    }

    async fn drop(&mut self, bucket: Handle) -> wasmtime::Result<()> {
        self.close(bucket)
    }
}
