//! The tables of the file, and their keys.
//!
//! A bucket's name, a zero byte, and what follows: names hold no zero byte, so that a bucket's rows stand together.

use redb::{ReadOnlyTable, ReadTransaction, ReadableTable, Table, TableDefinition, WriteTransaction};

use super::fault::Fault;

/// The version of the layout that this Portcullis reads and writes.
pub(super) const FORMAT: u64 = 2;

/// `format`, which no later write touches.
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// Bucket and key to entry.
pub(super) const ENTRIES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("entries");
/// Bucket, instant and key, to nothing.
pub(super) const EXPIRIES: TableDefinition<'_, &[u8], ()> = TableDefinition::new("expiries");
/// Bucket and version to change; and behind a bucket's last one its [`State`](super::codec::State), which every write
/// changes as well, so that it is on a page that is written anyway.
pub(super) const CHANGES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("changes");

/// All tables of a transaction that writes.
pub(super) struct Tables<'t> {
    pub(super) entries: Table<'t, &'static [u8], &'static [u8]>,
    pub(super) expiries: Table<'t, &'static [u8], ()>,
    pub(super) changes: Table<'t, &'static [u8], &'static [u8]>,
}

impl<'t> Tables<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, Fault> {
        Ok(Self {
            entries: transaction.open_table(ENTRIES)?,
            expiries: transaction.open_table(EXPIRIES)?,
            changes: transaction.open_table(CHANGES)?,
        })
    }
}

pub(super) type Rows = ReadOnlyTable<&'static [u8], &'static [u8]>;

pub(super) fn entries(transaction: &ReadTransaction) -> Result<Rows, Fault> {
    Ok(transaction.open_table(ENTRIES)?)
}

/// Where an entry stands.
pub(super) fn entry_place(bucket: &str, key: &str) -> Vec<u8> {
    let mut place = Vec::with_capacity(bucket.len() + 1 + key.len());
    place.extend(bucket.as_bytes());
    place.push(0);
    place.extend(key.as_bytes());
    place
}

/// Where an expiry stands.
pub(super) fn expiry_place(bucket: &str, at: u64, key: &str) -> Vec<u8> {
    let mut place = version_place(bucket, at);
    place.extend(key.as_bytes());
    place
}

/// Where a change stands.
pub(super) fn version_place(bucket: &str, version: u64) -> Vec<u8> {
    let mut place = Vec::with_capacity(bucket.len() + 64);
    place.extend(bucket.as_bytes());
    place.push(0);
    place.extend(version.to_be_bytes());
    place
}

/// Where the state of a bucket stands: after its changes, at a version that none reaches.
pub(super) fn state_place(bucket: &str) -> Vec<u8> {
    version_place(bucket, u64::MAX)
}

/// The buckets that have a state, in order, with its row.
pub(super) fn states<R>(
    rows: &impl ReadableTable<&'static [u8], &'static [u8]>,
    mut read: impl FnMut(&str, &[u8]) -> Result<R, Fault>,
) -> Result<Vec<R>, Fault> {
    let (mut from, mut found) = (Vec::new(), Vec::new());
    while let Some(row) = rows.range::<&[u8]>(from.as_slice()..)?.next() {
        let place = row?.0.value().to_vec();
        let bucket = place.split(|byte| *byte == 0).next().and_then(|name| std::str::from_utf8(name).ok());
        let bucket = bucket.ok_or_else(|| Fault::Damaged("the name of a bucket".to_owned()))?;
        let state = rows.get(state_place(bucket).as_slice())?;
        let state = state.ok_or_else(|| Fault::Damaged(format!("the bucket `{bucket}` has no state")))?;
        found.push(read(bucket, state.value())?);
        from = beyond(bucket);
    }
    Ok(found)
}

/// What is beyond all rows of a bucket.
pub(super) fn beyond(bucket: &str) -> Vec<u8> {
    let mut place = bucket.as_bytes().to_vec();
    place.push(1);
    place
}

/// What follows the bucket in a place: of an entry its key.
pub(super) fn key_of<'p>(bucket: &str, place: &'p [u8]) -> Option<&'p str> {
    std::str::from_utf8(place.get(bucket.len() + 1..)?).ok()
}

/// Bucket, instant and key of an expiry.
pub(super) fn read_expiry(place: &[u8]) -> Option<(&str, u64, &str)> {
    let zero = place.iter().position(|byte| *byte == 0)?;
    let (bucket, rest) = place.split_at_checked(zero)?;
    let (at, key) = rest.get(1..)?.split_at_checked(8)?;
    let text = |bytes| std::str::from_utf8(bytes).ok();
    Some((text(bucket)?, u64::from_be_bytes(at.try_into().ok()?), text(key)?))
}

/// The version of a change.
pub(super) fn read_version(bucket: &str, place: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(place.get(bucket.len() + 1..)?.try_into().ok()?))
}
