//! Reading, on the caller's thread: a transaction of redb's that reads is microseconds, and waits for nobody.

use std::ops::Bound::{Excluded, Included};

use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable};

use super::{
    apply,
    codec::{self, State},
    fault::Fault,
    tables,
};
use crate::contract::{
    Bucket, BucketName, ChangePage, Entry, Key, MAX_PAGE_BYTES, MAX_REQUEST_BYTES, Page, StoreError, Usage, Version,
};

/// One view of what was committed.
pub(super) struct Read {
    transaction: ReadTransaction,
    now: u64,
}

impl Read {
    pub(super) fn new(database: &Database, now: u64) -> Result<Self, Fault> {
        Ok(Self { transaction: database.begin_read()?, now })
    }

    /// That there is something to read.
    pub(super) fn answers(&self) -> Result<(), Fault> {
        tables::entries(&self.transaction).map(drop)
    }

    pub(super) fn get(&self, bucket: &BucketName, key: &Key) -> Result<Option<Entry>, Fault> {
        self.find(&tables::entries(&self.transaction)?, bucket, key)
    }

    pub(super) fn get_many(&self, bucket: &BucketName, keys: &[Key]) -> Result<Vec<Option<Entry>>, Fault> {
        let rows = tables::entries(&self.transaction)?;
        let (mut found, mut bytes) = (Vec::with_capacity(keys.len()), 0);
        for key in keys {
            let entry = self.find(&rows, bucket, key)?;
            bytes += entry.as_ref().map_or(0, |entry| key.as_str().len() + entry.value.len());
            if bytes > MAX_REQUEST_BYTES {
                return Err(Fault::Refused(StoreError::too_large()));
            }
            found.push(entry);
        }
        Ok(found)
    }

    pub(super) fn exists(&self, bucket: &BucketName, key: &Key) -> Result<bool, Fault> {
        let place = tables::entry_place(bucket.as_str(), key.as_str());
        let Some(row) = tables::entries(&self.transaction)?.get(place.as_slice())? else { return Ok(false) };
        let head = codec::read_head(&place, key.as_str().len(), row.value())?;
        Ok(self.stands(head.expires))
    }

    pub(super) fn list(
        &self,
        bucket: &BucketName,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Page, Fault> {
        let name = bucket.as_str();
        let begin = tables::entry_place(name, prefix);
        let after = after.map(|after| tables::entry_place(name, after.as_str())).filter(|after| *after >= begin);
        let begin = after.as_deref().map_or(Included(begin.as_slice()), Excluded);
        let end = tables::beyond(name);
        let mut page = Page::default();
        let mut bytes = 0;
        for row in tables::entries(&self.transaction)?.range::<&[u8]>((begin, Excluded(end.as_slice())))? {
            let (place, row) = row?;
            let key = tables::key_of(name, place.value()).ok_or_else(|| Fault::Damaged("a key".to_owned()))?;
            if !key.starts_with(prefix) {
                break;
            }
            let head = codec::read_head(place.value(), key.len(), row.value())?;
            if !self.stands(head.expires) {
                continue;
            }
            bytes += usize::try_from(head.size).unwrap_or(usize::MAX);
            if page.entries.len() == limit || (bytes > MAX_PAGE_BYTES && !page.entries.is_empty()) {
                page.next = page.entries.last().map(|entry| entry.key.clone());
                break;
            }
            let key = Key::new(key).map_err(|bound| Fault::Damaged(bound.to_string()))?;
            page.entries.push(codec::read_entry(place.value(), key, row.value())?);
        }
        Ok(page)
    }

    /// Whether something is due in the bucket, so that a sweep has to come before the answer.
    pub(super) fn is_due(&self, bucket: &BucketName) -> Result<bool, Fault> {
        let from = tables::version_place(bucket.as_str(), 0);
        let until = tables::version_place(bucket.as_str(), self.now + 1);
        let rows = self.transaction.open_table(tables::EXPIRIES)?;
        let due = rows.range::<&[u8]>(from.as_slice()..until.as_slice())?.next().transpose()?;
        Ok(due.is_some())
    }

    pub(super) fn changes(
        &self,
        bucket: &BucketName,
        prefix: &str,
        after: Version,
        limit: usize,
    ) -> Result<ChangePage, Fault> {
        let name = bucket.as_str();
        let state = self.state(bucket)?;
        if after.0 < state.floor() || after.0 > state.version {
            return Err(Fault::Refused(StoreError::Compacted(Version(state.version))));
        }
        let begin = tables::version_place(name, after.0);
        let end = tables::state_place(name);
        let mut page = ChangePage { changes: Vec::new(), next_after: after };
        let mut bytes = 0;
        let rows = self.transaction.open_table(tables::CHANGES)?;
        for row in rows.range::<&[u8]>((Excluded(begin.as_slice()), Excluded(end.as_slice())))? {
            let (place, row) = row?;
            let version =
                tables::read_version(name, place.value()).ok_or_else(|| Fault::Damaged("a version".to_owned()))?;
            if let Some(change) = codec::read_change(place.value(), version, prefix, row.value())? {
                bytes += change.key.as_str().len() + change.value.as_ref().map_or(0, Vec::len);
                if page.changes.len() == limit || (bytes > MAX_PAGE_BYTES && !page.changes.is_empty()) {
                    break;
                }
                page.changes.push(change);
            }
            page.next_after = Version(version);
        }
        Ok(page)
    }

    pub(super) fn usage(&self, bucket: &Bucket) -> Result<Usage, Fault> {
        Ok(apply::usage(bucket, &self.state(&bucket.name)?))
    }

    pub(super) fn version(&self, bucket: &BucketName) -> Result<Version, Fault> {
        Ok(Version(self.state(bucket)?.version))
    }

    pub(super) fn buckets(&self) -> Result<Vec<BucketName>, Fault> {
        tables::states(&self.transaction.open_table(tables::CHANGES)?, |bucket, _| {
            BucketName::new(bucket).map_err(|bound| Fault::Damaged(bound.to_string()))
        })
    }

    fn state(&self, bucket: &BucketName) -> Result<State, Fault> {
        match self.transaction.open_table(tables::CHANGES)?.get(tables::state_place(bucket.as_str()).as_slice())? {
            Some(row) => codec::read_state(bucket.as_str(), row.value()),
            None => Ok(State::default()),
        }
    }

    fn stands(&self, expires: Option<u64>) -> bool {
        expires.is_none_or(|at| at > self.now)
    }

    fn find(&self, rows: &tables::Rows, bucket: &BucketName, key: &Key) -> Result<Option<Entry>, Fault> {
        let place = tables::entry_place(bucket.as_str(), key.as_str());
        let Some(row) = ReadableTable::get(rows, place.as_slice())? else { return Ok(None) };
        let entry = codec::read_entry(&place, key.clone(), row.value())?;
        Ok(Some(entry).filter(|entry| self.stands(entry.expires_at_ms)))
    }
}
