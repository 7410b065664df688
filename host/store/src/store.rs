//! The store: checks what is asked against the bounds, and hands it to its engine.

use std::time::{Duration, Instant};

use crate::{
    contract::{
        self, Bucket, BucketName, ChangePage, Condition, Entry, Key, MAX_PAGE, MAX_WAIT, Operation, Page, SetOptions,
        StoreError, Usage, Version, Writer,
    },
    embedded::{Embedded, EmbeddedOptions, OpenError},
    redis::{AddressError, Redis, RedisOptions, ServerSettings},
};

/// Where shared context is kept.
///
/// Each operation ends at its deadline at the latest. One that is dropped before its end may have been applied or not, as
/// with [`StoreError::UnknownOutcome`].
pub struct Store {
    engine: Engine,
}

enum Engine {
    Embedded(Embedded),
    Redis(Redis),
}

impl Store {
    /// Opens a file as a store. Reads of the file are done by the calling thread, writes by one of its own.
    ///
    /// # Errors
    /// When the file is another process's, damaged, or cannot be opened.
    pub fn embedded(options: EmbeddedOptions) -> Result<Self, OpenError> {
        Ok(Self { engine: Engine::Embedded(Embedded::open(options)?) })
    }

    /// Shares the store of a server with other hosts. Connects with the first operation, and again whenever it has to.
    ///
    /// It is called within a Tokio runtime, which the connection lives in.
    ///
    /// # Errors
    /// When the address is none.
    pub fn redis(options: RedisOptions) -> Result<Self, AddressError> {
        Ok(Self { engine: Engine::Redis(Redis::new(options)?) })
    }

    /// The entry at `key`.
    ///
    /// # Errors
    /// When the engine is at fault.
    pub async fn get(&self, bucket: &Bucket, key: &Key, deadline: Instant) -> Result<Option<Entry>, StoreError> {
        match &self.engine {
            Engine::Embedded(engine) => engine.get(bucket, key),
            Engine::Redis(engine) => {
                let found = engine.get_many(bucket, std::slice::from_ref(key), deadline).await?;
                Ok(found.into_iter().next().flatten())
            }
        }
    }

    /// The entries at `keys`, in order, as of one instant.
    ///
    /// # Errors
    /// When there are more than [`MAX_KEYS`](contract::MAX_KEYS), or their values together are longer than
    /// [`MAX_REQUEST_BYTES`](contract::MAX_REQUEST_BYTES).
    pub async fn get_many(
        &self,
        bucket: &Bucket,
        keys: &[Key],
        deadline: Instant,
    ) -> Result<Vec<Option<Entry>>, StoreError> {
        contract::check_keys(keys)?;
        match &self.engine {
            Engine::Embedded(engine) => engine.get_many(bucket, keys),
            Engine::Redis(engine) => engine.get_many(bucket, keys, deadline).await,
        }
    }

    /// Whether there is an entry at `key`.
    ///
    /// # Errors
    /// When the engine is at fault.
    pub async fn exists(&self, bucket: &Bucket, key: &Key, deadline: Instant) -> Result<bool, StoreError> {
        match &self.engine {
            Engine::Embedded(engine) => engine.exists(bucket, key),
            Engine::Redis(engine) => engine.exists(bucket, key, deadline).await,
        }
    }

    /// Writes an entry. Its version.
    ///
    /// # Errors
    /// When the condition is not met, or the bucket would hold more than it may.
    pub async fn set(
        &self,
        bucket: &Bucket,
        key: Key,
        value: Vec<u8>,
        options: SetOptions,
        writer: &Writer,
        deadline: Instant,
    ) -> Result<Version, StoreError> {
        let versions = self.transact(bucket, vec![Operation::Set { key, value, options }], writer, deadline).await?;
        versions.into_iter().flatten().next().ok_or_else(|| StoreError::Other("a write without a version".to_owned()))
    }

    /// Deletes an entry. The deletion's version; none where there was no entry.
    ///
    /// # Errors
    /// When the condition is not met.
    pub async fn delete(
        &self,
        bucket: &Bucket,
        key: Key,
        when: Condition,
        writer: &Writer,
        deadline: Instant,
    ) -> Result<Option<Version>, StoreError> {
        let versions = self.transact(bucket, vec![Operation::Delete { key, when }], writer, deadline).await?;
        Ok(versions.into_iter().flatten().next())
    }

    /// Adds to the decimal number at `key`, 0 where there is none. The sum and its version. The entry keeps its expiry, or
    /// lives for `ttl` from now on.
    ///
    /// # Errors
    /// When the value is no decimal number of 64 bits in its shortest form, or the sum would be none.
    pub async fn increment(
        &self,
        bucket: &Bucket,
        key: Key,
        delta: i64,
        ttl: Option<Duration>,
        writer: &Writer,
        deadline: Instant,
    ) -> Result<(i64, Version), StoreError> {
        contract::check_writer(writer)?;
        contract::check_ttl(ttl)?;
        let options = SetOptions { when: Condition::Always, ttl };
        match &self.engine {
            Engine::Embedded(engine) => engine.increment(bucket, writer, key, delta, options, deadline).await,
            Engine::Redis(engine) => engine.increment(bucket, writer, key, delta, options, deadline).await,
        }
    }

    /// The entries whose keys begin with `prefix` and come after `after`, in the order of their bytes: at most `limit`, and at
    /// most [`MAX_PAGE_BYTES`](contract::MAX_PAGE_BYTES). A page is of one instant, several pages are of several.
    ///
    /// # Errors
    /// When `limit` is not 1 to [`MAX_PAGE`].
    pub async fn list(
        &self,
        bucket: &Bucket,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
        deadline: Instant,
    ) -> Result<Page, StoreError> {
        contract::check_prefix(prefix)?;
        contract::check_limit(limit)?;
        match &self.engine {
            Engine::Embedded(engine) => engine.list(bucket, prefix, after, limit),
            Engine::Redis(engine) => engine.list(bucket, prefix, after, limit, deadline).await,
        }
    }

    /// All operations or none, in one step that nobody sees a part of. The version of each that wrote: none for a check, and
    /// for a delete of what was not there.
    ///
    /// All conditions are about what stands before the first operation. A key is written once at most.
    ///
    /// # Errors
    /// When there are more than [`MAX_OPERATIONS`](contract::MAX_OPERATIONS), a condition is not met, or the bucket would hold
    /// more than it may.
    pub async fn transact(
        &self,
        bucket: &Bucket,
        operations: Vec<Operation>,
        writer: &Writer,
        deadline: Instant,
    ) -> Result<Vec<Option<Version>>, StoreError> {
        contract::check_writer(writer)?;
        contract::check_operations(&operations)?;
        match &self.engine {
            Engine::Embedded(engine) => engine.write(bucket, writer, operations, deadline).await,
            Engine::Redis(engine) => engine.write(bucket, writer, operations, deadline).await,
        }
    }

    /// What happened after a version to keys that begin with `prefix`, in order. Where nothing did, waits for it up to `wait`
    /// and no longer than the deadline, and then answers without changes.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] when changes since `after` are not kept any more.
    pub async fn changes(
        &self,
        bucket: &Bucket,
        prefix: &str,
        after: Version,
        limit: usize,
        wait: Duration,
        deadline: Instant,
    ) -> Result<ChangePage, StoreError> {
        contract::check_prefix(prefix)?;
        contract::check_limit(limit)?;
        let until = (Instant::now() + wait.min(MAX_WAIT)).min(deadline);
        match &self.engine {
            Engine::Embedded(engine) => engine.changes(bucket, prefix, after, limit, until, deadline).await,
            Engine::Redis(engine) => engine.changes(bucket, prefix, after, limit, until, deadline).await,
        }
    }

    /// The version of the bucket's last change; 0 before the first. [`Store::changes`] after it misses nothing.
    ///
    /// # Errors
    /// When the engine is at fault.
    pub async fn version(&self, bucket: &Bucket, deadline: Instant) -> Result<Version, StoreError> {
        match &self.engine {
            Engine::Embedded(engine) => engine.version(bucket),
            Engine::Redis(engine) => Ok(engine.usage(bucket, deadline).await?.1),
        }
    }

    /// How much the bucket holds.
    ///
    /// # Errors
    /// When the engine is at fault.
    pub async fn usage(&self, bucket: &Bucket, deadline: Instant) -> Result<Usage, StoreError> {
        match &self.engine {
            Engine::Embedded(engine) => engine.usage(bucket, deadline).await,
            Engine::Redis(engine) => Ok(engine.usage(bucket, deadline).await?.0),
        }
    }

    /// Whether the engine answers, and took the last write that it was asked for.
    ///
    /// # Errors
    /// With the reason, which is for operators alone, where it does not.
    pub async fn health(&self, deadline: Instant) -> Result<(), StoreError> {
        match &self.engine {
            Engine::Embedded(engine) => engine.health(deadline).await,
            Engine::Redis(engine) => engine.ping(deadline).await,
        }
    }

    /// For operators: what the server says of itself. None where the engine is a file.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn server(&self, deadline: Instant) -> Result<Option<ServerSettings>, StoreError> {
        match &self.engine {
            Engine::Embedded(_) => Ok(None),
            Engine::Redis(engine) => engine.settings(deadline).await.map(Some),
        }
    }

    /// For operators: the buckets that were ever written, by name.
    ///
    /// # Errors
    /// When the engine is at fault.
    pub async fn buckets(&self, deadline: Instant) -> Result<Vec<BucketName>, StoreError> {
        match &self.engine {
            Engine::Embedded(engine) => engine.buckets(),
            Engine::Redis(engine) => engine.buckets(deadline).await,
        }
    }

    /// For operators: all entries of a bucket, as [`Store::import`] takes them. What stands throughout is in it; what is
    /// written meanwhile may be.
    ///
    /// # Errors
    /// When the engine is at fault.
    pub async fn export(&self, bucket: &Bucket, deadline: Instant) -> Result<Export<'_>, StoreError> {
        let version = self.version(bucket, deadline).await?;
        Ok(Export { store: self, bucket: bucket.clone(), version, after: None, over: false })
    }

    /// For operators: puts exported entries into a bucket, with their versions, writers and times. The bucket stands at
    /// `version` at least then. What has expired is left out.
    ///
    /// # Errors
    /// When anything but imports has written the bucket, since versions would mean two things then; when there are more than
    /// [`MAX_PAGE`] entries or more bytes than [`MAX_REQUEST_BYTES`](contract::MAX_REQUEST_BYTES) in one import.
    pub async fn import(
        &self,
        bucket: &Bucket,
        version: Version,
        entries: Vec<Entry>,
        deadline: Instant,
    ) -> Result<(), StoreError> {
        contract::check_entries(version, &entries)?;
        match &self.engine {
            Engine::Embedded(engine) => engine.import(bucket, version, entries, deadline).await,
            Engine::Redis(engine) => engine.import(bucket, version, entries, deadline).await,
        }
    }
}

/// The entries of a bucket, page by page.
pub struct Export<'s> {
    store: &'s Store,
    bucket: Bucket,
    version: Version,
    after: Option<Key>,
    over: bool,
}

impl Export<'_> {
    /// The bucket's version when the export began: for [`Store::import`].
    pub fn version(&self) -> Version {
        self.version
    }

    /// The next entries; none at the end.
    ///
    /// # Errors
    /// When the engine is at fault; asking again goes on where it stood.
    pub async fn next(&mut self, deadline: Instant) -> Result<Option<Vec<Entry>>, StoreError> {
        if self.over {
            return Ok(None);
        }
        let page = self.store.list(&self.bucket, "", self.after.as_ref(), MAX_PAGE, deadline).await?;
        self.over = page.next.is_none();
        self.after = page.next;
        Ok(Some(page.entries).filter(|entries| !entries.is_empty()))
    }
}
