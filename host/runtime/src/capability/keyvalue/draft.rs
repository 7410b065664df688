//! The draft of April 2024: cursors are numbers, counts have no sign.

use portcullis_store::StoreError;

use super::{Fault, Handle, Pair, View};
use crate::bindings::keyvalue::draft::wasi::keyvalue::{atomics, batch, store};

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

    /// A cursor is the number of keys that came before it. Where this call has been there, it goes on after the very key;
    /// else, as with a cursor of an earlier call, it counts from the beginning.
    async fn list_keys(&mut self, bucket: Handle, cursor: Option<u64>) -> Result<store::KeyResponse, Fault> {
        let seen = cursor.unwrap_or(0);
        let name = self.bucket(&bucket)?.bucket.name.clone();
        let mut after = self.ctx.cursors.get(&(name.clone(), seen)).cloned();
        let mut left = if after.is_some() { 0 } else { seen };
        loop {
            let (mut keys, more) = self.keys(&bucket, after.as_ref()).await?;
            let skipped = keys.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            after = keys.last().cloned();
            left -= skipped as u64;
            keys.drain(..skipped);
            if keys.is_empty() && more {
                continue;
            }
            let next = seen.saturating_add(keys.len() as u64);
            if let Some(after) = after.filter(|_| more) {
                self.ctx.cursors.insert((name, next), after);
            }
            let cursor = more.then_some(next);
            return Ok(store::KeyResponse { keys: keys.into_iter().map(String::from).collect(), cursor });
        }
    }

    async fn drop(&mut self, bucket: Handle) -> wasmtime::Result<()> {
        self.close(bucket)
    }
}

impl atomics::Host for View<'_> {
    /// Numbers are kept with their sign, so that both drafts count alike: from 0 to 2^63 - 1 here.
    async fn increment(&mut self, bucket: Handle, key: String, delta: u64) -> Result<u64, Fault> {
        let beyond = |what: &str| Fault::Store(StoreError::InvalidArgument(what.to_owned()));
        let delta = i64::try_from(delta).map_err(|_| beyond("`delta` must be below 2^63"))?;
        let sum = self.add(&bucket, key, delta).await?;
        u64::try_from(sum)
            .map_err(|_| beyond("the number is below zero, which this interface cannot say; it was counted"))
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
