//! `wasi:keyvalue`: the same buckets for components that know nothing of this host, in the two drafts that are in use.
//!
//! A bucket's identifier is its name. What the interface leaves open is decided so: keys come in the order of their bytes;
//! `set-many` and `delete-many` happen 128 keys at a time, each lot as a whole; numbers are decimal text. The interface
//! `watcher` is for components that the host calls on each change, which this one does not.

mod draft;
mod draft2;

use std::collections::BTreeMap;

use portcullis_store::{Condition, Key, MAX_KEYS, MAX_OPERATIONS, MAX_PAGE, MAX_REQUEST_BYTES, Operation, SetOptions};
use wasmtime::component::{Linker, Resource};

#[allow(unreachable_pub, reason = "see there")]
pub use self::draft2::Cas;
use super::kv::{Bucket, Fault, Kv, View};
use crate::{bindings::keyvalue, sandbox::Sandbox};

pub(crate) fn add_to_linker(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    use keyvalue::{draft::wasi::keyvalue as draft, draft2::wasi::keyvalue as draft2};
    draft::store::add_to_linker::<_, Kv>(linker, Sandbox::kv)?;
    draft::atomics::add_to_linker::<_, Kv>(linker, Sandbox::kv)?;
    draft::batch::add_to_linker::<_, Kv>(linker, Sandbox::kv)?;
    draft2::store::add_to_linker::<_, Kv>(linker, Sandbox::kv)?;
    draft2::atomics::add_to_linker::<_, Kv>(linker, Sandbox::kv)?;
    draft2::batch::add_to_linker::<_, Kv>(linker, Sandbox::kv)
}

type Handle = Resource<Bucket>;
/// Key and value.
type Pair = (String, Vec<u8>);

/// What both drafts have alike.
impl View<'_> {
    async fn value(&mut self, bucket: &Handle, key: String) -> Result<Option<Vec<u8>>, Fault> {
        let bucket = self.bucket(bucket)?;
        Ok(self.get(&bucket, &Key::new(key)?).await?.map(|entry| entry.value))
    }

    async fn put(&mut self, bucket: &Handle, key: String, value: Vec<u8>) -> Result<(), Fault> {
        let bucket = self.bucket(bucket)?;
        self.set(&bucket, Key::new(key)?, value, SetOptions::default()).await.map(drop)
    }

    async fn remove(&mut self, bucket: &Handle, key: String) -> Result<(), Fault> {
        let bucket = self.bucket(bucket)?;
        let operation = Operation::Delete { key: Key::new(key)?, when: Condition::Always };
        self.transact(&bucket, vec![operation]).await.map(drop)
    }

    async fn is_there(&mut self, bucket: &Handle, key: String) -> Result<bool, Fault> {
        let bucket = self.bucket(bucket)?;
        self.exists(&bucket, &Key::new(key)?).await
    }

    /// Keys after one, and whether more may follow.
    async fn keys(&mut self, bucket: &Handle, after: Option<&Key>) -> Result<(Vec<Key>, bool), Fault> {
        let bucket = self.bucket(bucket)?;
        let page = self.list(&bucket, "", after, MAX_PAGE).await?;
        let more = page.next.is_some();
        Ok((page.entries.into_iter().map(|entry| entry.key).collect(), more))
    }

    async fn add(&mut self, bucket: &Handle, key: String, delta: i64) -> Result<i64, Fault> {
        let bucket = self.bucket(bucket)?;
        self.increment(&bucket, Key::new(key)?, delta, None).await.map(|(sum, _)| sum)
    }

    async fn values(&mut self, bucket: &Handle, keys: Vec<String>) -> Result<Vec<Option<Pair>>, Fault> {
        let bucket = self.bucket(bucket)?;
        let keys = keys.into_iter().map(Key::new).collect::<Result<Vec<_>, _>>()?;
        let mut found = Vec::with_capacity(keys.len());
        for lot in keys.chunks(MAX_KEYS) {
            let entries = self.get_many(&bucket, lot).await?;
            found.extend(entries.into_iter().map(|entry| entry.map(|entry| (entry.key.into(), entry.value))));
        }
        Ok(found)
    }

    async fn put_all(&mut self, bucket: &Handle, pairs: Vec<Pair>) -> Result<(), Fault> {
        let pairs = pairs.into_iter().map(|(key, value)| Ok((Key::new(key)?, value)));
        // Of several values for one key the last holds.
        let pairs = pairs.collect::<Result<BTreeMap<_, _>, Fault>>()?;
        let set = |(key, value)| Operation::Set { key, value, options: SetOptions::default() };
        self.in_lots(bucket, pairs.into_iter().map(set)).await
    }

    async fn remove_all(&mut self, bucket: &Handle, keys: Vec<String>) -> Result<(), Fault> {
        let keys = keys.into_iter().map(|key| Ok((Key::new(key)?, ())));
        let keys = keys.collect::<Result<BTreeMap<_, _>, Fault>>()?;
        let delete = |key| Operation::Delete { key, when: Condition::Always };
        self.in_lots(bucket, keys.into_keys().map(delete)).await
    }

    /// Does all, as much at a time as one operation may. What does not fit the grants is refused before anything is written.
    async fn in_lots(&mut self, bucket: &Handle, operations: impl Iterator<Item = Operation>) -> Result<(), Fault> {
        let bucket = self.bucket(bucket)?;
        let operations: Vec<_> = operations.collect();
        for operation in &operations {
            self.writes(&bucket, operation.key())?;
        }
        let (mut lot, mut bytes) = (Vec::new(), 0);
        for operation in operations {
            let size = match &operation {
                Operation::Set { key, value, .. } => key.as_str().len() + value.len(),
                Operation::Delete { key, .. } | Operation::Check { key, .. } => key.as_str().len(),
            };
            if lot.len() == MAX_OPERATIONS || bytes + size > MAX_REQUEST_BYTES {
                self.transact(&bucket, std::mem::take(&mut lot)).await?;
                bytes = 0;
            }
            bytes += size;
            lot.push(operation);
        }
        if !lot.is_empty() {
            self.transact(&bucket, lot).await?;
        }
        Ok(())
    }
}
