//! The draft of today: compare-and-swap, cursors are texts.

use std::sync::Arc;

use portcullis_store::{Condition, Key, SetOptions, StoreError, Version};
use wasmtime::component::Resource;

use super::{Fault, Handle, Pair, View};
use crate::{
    bindings::keyvalue::draft2::wasi::keyvalue::{atomics, batch, store},
    capability::kv::Opened,
};

impl store::Host for View<'_> {
    async fn open(&mut self, identifier: String) -> Result<Handle, Fault> {
        View::open(self, &identifier)
    }

    fn convert_error(&mut self, fault: Fault) -> wasmtime::Result<store::Error> {
        Ok(match fault {
            Fault::NoSuchBucket => store::Error::NoSuchStore,
            Fault::Denied => store::Error::AccessDenied,
            Fault::Trap(error) => return Err(error.into()),
            fault => store::Error::Other(fault.to_string()),
        })
    }
}

impl store::HostBucket for View<'_> {
    async fn get(&mut self, bucket: Handle, key: String) -> Result<Option<Vec<u8>>, Fault> {
        self.value(&bucket, key).await
    }

    async fn set(&mut self, bucket: Handle, key: String, value: Vec<u8>) -> Result<(), Fault> {
        self.put(&bucket, key, value).await
    }

    async fn delete(&mut self, bucket: Handle, key: String) -> Result<(), Fault> {
        self.remove(&bucket, key).await
    }

    async fn exists(&mut self, bucket: Handle, key: String) -> Result<bool, Fault> {
        self.is_there(&bucket, key).await
    }

    /// A cursor is the last key before it.
    async fn list_keys(&mut self, bucket: Handle, cursor: Option<String>) -> Result<store::KeyResponse, Fault> {
        let after = cursor.map(Key::new).transpose()?;
        let (keys, more) = self.keys(&bucket, after.as_ref()).await?;
        let keys: Vec<String> = keys.into_iter().map(String::from).collect();
        let cursor = keys.last().cloned().filter(|_| more);
        Ok(store::KeyResponse { keys, cursor })
    }

    async fn drop(&mut self, bucket: Handle) -> wasmtime::Result<()> {
        self.close(bucket)
    }
}

/// A compare-and-swap that has begun: which entry, and what it was when the guest looked last. It holds no value: a guest
/// may have thousands.
#[allow(unreachable_pub, reason = "the bindings export the types of their resources")]
pub struct Cas {
    opened: Arc<Opened>,
    key: Key,
    /// None where there was no entry.
    seen: Option<Version>,
}

type CasHandle = Resource<Cas>;

impl atomics::HostCas for View<'_> {
    async fn new(&mut self, bucket: Handle, key: String) -> Result<CasHandle, Fault> {
        let (opened, key) = (self.bucket(&bucket)?, Key::new(key)?);
        let seen = self.get(&opened, &key).await?.map(|entry| entry.version);
        Ok(self.table.push(Cas { opened, key, seen })?)
    }

    /// The value as it is now. From here on the swap is about that one.
    async fn current(&mut self, cas: CasHandle) -> Result<Option<Vec<u8>>, Fault> {
        let Cas { opened, key, .. } = self.table.get(&cas)?;
        let (opened, key) = (Arc::clone(opened), key.clone());
        let entry = self.get(&opened, &key).await?;
        self.table.get_mut(&cas)?.seen = entry.as_ref().map(|entry| entry.version);
        Ok(entry.map(|entry| entry.value))
    }

    async fn drop(&mut self, cas: CasHandle) -> wasmtime::Result<()> {
        self.table.delete(cas)?;
        Ok(())
    }
}

impl atomics::Host for View<'_> {
    async fn increment(&mut self, bucket: Handle, key: String, delta: i64) -> Result<i64, Fault> {
        self.add(&bucket, key, delta).await
    }

    async fn swap(&mut self, cas: CasHandle, value: Vec<u8>) -> wasmtime::Result<Result<(), atomics::CasError>> {
        let Cas { opened, key, seen } = self.table.delete(cas)?;
        let when = seen.map_or(Condition::IfAbsent, Condition::IfVersion);
        let fault = match self.set(&opened, key.clone(), value, SetOptions { when, ttl: None }).await {
            Ok(_) => return Ok(Ok(())),
            Err(fault) => fault,
        };
        if let Fault::Store(StoreError::Conflict(found)) = fault {
            let seen = found.map(|entry| entry.version);
            let again = self.table.push(Cas { opened, key, seen })?;
            return Ok(Err(atomics::CasError::CasFailed(again)));
        }
        Ok(Err(atomics::CasError::StoreError(store::Host::convert_error(self, fault)?)))
    }
}

impl batch::Host for View<'_> {
    async fn get_many(&mut self, bucket: Handle, keys: Vec<String>) -> Result<Vec<Option<Pair>>, Fault> {
        self.values(&bucket, keys).await
    }

    async fn set_many(&mut self, bucket: Handle, pairs: Vec<Pair>) -> Result<(), Fault> {
        self.put_all(&bucket, pairs).await
    }

    async fn delete_many(&mut self, bucket: Handle, keys: Vec<String>) -> Result<(), Fault> {
        self.remove_all(&bucket, keys).await
    }
}
