//! What can be done with a bucket: check, record, act. The one place where grants meet keys.

use std::{sync::Arc, time::Duration};

use portcullis_policy::Access;
use portcullis_store::{
    BucketName, Condition, Entry, Key, MAX_KEYS, MAX_OPERATIONS, MAX_PAGE, Operation, Page, SetOptions, StoreError,
    Usage, Version,
};
use wasmtime::component::Resource;

use super::{Bucket, Fault, Opened, View};

fn size(entry: &Entry) -> usize {
    entry.key.as_str().len() + entry.value.len()
}

fn invalid(text: String) -> Fault {
    Fault::Store(StoreError::InvalidArgument(text))
}

impl View<'_> {
    pub(crate) fn open(&mut self, name: &str) -> Result<Resource<Bucket>, Fault> {
        self.ctx.begin(0)?;
        let shared = self.ctx.shared.clone().ok_or(Fault::Denied)?;
        let using = self.ctx.using().ok_or(Fault::Denied)?;
        let name = using.buckets.name(name);
        let opened = match (using.opened.get(&name), using.buckets.bucket(&name)) {
            (Some(opened), _) => Arc::clone(opened),
            (None, Some(keys)) => {
                let bucket = shared.warehouse.bucket(BucketName::new(name.clone()).map_err(|_| Fault::NoSuchBucket)?);
                let (keys, writer) = (keys.clone(), Arc::clone(&using.writer));
                let opened = Arc::new(Opened { shared, bucket, keys, writer });
                using.opened.insert(name, Arc::clone(&opened));
                opened
            }
            (None, None) => {
                BucketName::new(name.clone()).map_err(|_| Fault::NoSuchBucket)?;
                self.ctx.told.bucket(&shared, &self.ctx.principal, &name);
                return Err(Fault::Denied);
            }
        };
        Ok(self.table.push(Bucket(opened))?)
    }

    /// Whether the key may be read. One that may not is recorded, and then as if absent.
    fn reads(&self, opened: &Opened, key: &Key) -> bool {
        let reads = opened.keys.allow(key.as_str(), Access::Read);
        if !reads {
            self.ctx.told.key(opened, &self.ctx.principal, key.as_str(), Access::Read);
        }
        reads
    }

    /// That the key may be written.
    pub(crate) fn writes(&self, opened: &Opened, key: &Key) -> Result<(), Fault> {
        if opened.keys.allow(key.as_str(), Access::ReadWrite) {
            return Ok(());
        }
        self.ctx.told.key(opened, &self.ctx.principal, key.as_str(), Access::ReadWrite);
        Err(Fault::Denied)
    }

    /// Makes the guest's error of what the store said. What is written may be read, so that a conflict shows nothing else;
    /// how much others have written is nobody's who may read a part alone.
    pub(super) fn end<T>(&self, opened: &Opened, done: Result<T, StoreError>) -> Result<T, Fault> {
        done.map_err(|error| match error {
            StoreError::QuotaExceeded(usage) => Fault::Full(opened.keys.are_all().then_some(usage)),
            error => {
                self.ctx.told.failed(&opened.shared, &error);
                Fault::Store(error)
            }
        })
    }

    pub(crate) async fn get(&mut self, opened: &Opened, key: &Key) -> Result<Option<Entry>, Fault> {
        self.ctx.begin(key.as_str().len())?;
        if !self.reads(opened, key) {
            return Ok(None);
        }
        let found = opened.store().get(&opened.bucket, key, self.ctx.until()).await;
        let found = self.end(opened, found)?;
        self.ctx.carry(found.as_ref().map_or(0, size));
        Ok(found)
    }

    pub(crate) async fn get_many(&mut self, opened: &Opened, keys: &[Key]) -> Result<Vec<Option<Entry>>, Fault> {
        self.ctx.begin(keys.iter().map(|key| key.as_str().len()).sum())?;
        if keys.len() > MAX_KEYS {
            return Err(invalid(format!("`keys` must have at most {MAX_KEYS} keys, has {}", keys.len())));
        }
        let asked: Vec<_> = keys.iter().map(|key| self.reads(opened, key)).collect();
        let readable: Vec<_> =
            keys.iter().zip(&asked).filter(|(_, reads)| **reads).map(|(key, _)| key.clone()).collect();
        let found = opened.store().get_many(&opened.bucket, &readable, self.ctx.until()).await;
        let found = self.end(opened, found)?;
        self.ctx.carry(found.iter().flatten().map(size).sum());
        let mut found = found.into_iter();
        Ok(asked.into_iter().map(|reads| if reads { found.next().flatten() } else { None }).collect())
    }

    pub(crate) async fn exists(&mut self, opened: &Opened, key: &Key) -> Result<bool, Fault> {
        self.ctx.begin(key.as_str().len())?;
        if !self.reads(opened, key) {
            return Ok(false);
        }
        let found = opened.store().exists(&opened.bucket, key, self.ctx.until()).await;
        self.end(opened, found)
    }

    /// One page, of one of the granted prefixes: a page of two would be of two instants.
    pub(crate) async fn list(
        &mut self,
        opened: &Opened,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Page, Fault> {
        self.ctx.begin(prefix.len())?;
        // The same, whether there is anything to see or not.
        if !(1..=MAX_PAGE).contains(&limit) {
            return Err(invalid(format!("`limit` must be 1 to {MAX_PAGE}, is {limit}")));
        }
        let mut prefixes = opened.keys.within(prefix).into_iter().peekable();
        while let Some(within) = prefixes.next() {
            let page = opened.store().list(&opened.bucket, &within, after, limit, self.ctx.until()).await;
            let mut page = self.end(opened, page)?;
            self.ctx.carry(page.entries.iter().map(size).sum());
            let Some(last) = page.entries.last() else {
                self.ctx.begin(0)?;
                continue;
            };
            if prefixes.peek().is_some() {
                page.next = Some(last.key.clone());
            }
            return Ok(page);
        }
        Ok(Page::default())
    }

    pub(crate) async fn increment(
        &mut self,
        opened: &Opened,
        key: Key,
        delta: i64,
        ttl: Option<Duration>,
    ) -> Result<(i64, Version), Fault> {
        self.ctx.begin(key.as_str().len())?;
        self.writes(opened, &key)?;
        let (store, until) = (opened.store(), self.ctx.until());
        let counted = store.increment(&opened.bucket, key, delta, ttl, &opened.writer, until).await;
        self.end(opened, counted)
    }

    pub(crate) async fn set(
        &mut self,
        opened: &Opened,
        key: Key,
        value: Vec<u8>,
        options: SetOptions,
    ) -> Result<Version, Fault> {
        let versions = self.transact(opened, vec![Operation::Set { key, value, options }]).await?;
        let none = || Fault::Store(StoreError::Other("a write without a version".to_owned()));
        versions.into_iter().flatten().next().ok_or_else(none)
    }

    pub(crate) async fn transact(
        &mut self,
        opened: &Opened,
        mut operations: Vec<Operation>,
    ) -> Result<Vec<Option<Version>>, Fault> {
        let bytes = operations.iter().map(|operation| match operation {
            Operation::Set { key, value, .. } => key.as_str().len() + value.len(),
            Operation::Delete { key, .. } | Operation::Check { key, .. } => key.as_str().len(),
        });
        self.ctx.begin(bytes.sum())?;
        // Of all of them: what is left out below counts too.
        if operations.len() > MAX_OPERATIONS {
            let found = operations.len();
            return Err(invalid(format!("`operations` must have at most {MAX_OPERATIONS} operations, has {found}")));
        }
        let mut absent = vec![false; operations.len()];
        for (operation, absent) in operations.iter().zip(&mut absent) {
            match operation {
                Operation::Set { key, .. } | Operation::Delete { key, .. } => self.writes(opened, key)?,
                Operation::Check { key, .. } => *absent = !self.reads(opened, key),
            }
        }
        // A check of what is as if absent is decided here. The first that fails is what the answer is about.
        let fails = |when| matches!(when, Condition::IfPresent | Condition::IfVersion(_));
        let failed = operations.iter().zip(&absent).position(|(operation, absent)| *absent && fails(operation.when()));
        if let Some(failed) = failed {
            operations.truncate(failed);
            for operation in &mut operations {
                *operation = Operation::Check { key: operation.key().clone(), when: operation.when() };
            }
        }
        let mut hidden = absent.iter();
        operations.retain(|_| !hidden.next().is_some_and(|absent| *absent));
        let done = if operations.is_empty() {
            Ok(Vec::new())
        } else {
            opened.store().transact(&opened.bucket, operations, &opened.writer, self.ctx.until()).await
        };
        let mut versions = self.end(opened, done)?.into_iter();
        if failed.is_some() {
            return Err(Fault::Store(StoreError::Conflict(None)));
        }
        Ok(absent.into_iter().map(|absent| if absent { None } else { versions.next().flatten() }).collect())
    }

    pub(crate) async fn usage(&mut self, opened: &Opened) -> Result<Usage, Fault> {
        self.ctx.begin(0)?;
        if !opened.keys.are_all() {
            self.ctx.told.key(opened, &self.ctx.principal, "", Access::Read);
            return Err(Fault::Denied);
        }
        let usage = opened.store().usage(&opened.bucket, self.ctx.until()).await;
        self.end(opened, usage)
    }
}
