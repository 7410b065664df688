//! The tables of the file, and their keys.
//!
//! A bucket's name, a zero byte, and what follows: names hold no zero byte, so that a bucket's rows stand together.

use redb::{ReadOnlyTable, ReadTransaction, Table, TableDefinition, WriteTransaction};

use super::fault::Fault;

/// The version of the layout that this Portcullis reads and writes.
pub(super) const FORMAT: u64 = 1;

/// `format`; `clock`, the latest instant that was seen; `commit`, how many there were.
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// Name to [`State`](super::codec::State).
pub(super) const BUCKETS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("buckets");
/// Bucket and key to entry.
pub(super) const ENTRIES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("entries");
/// Bucket, instant and key, to nothing.
pub(super) const EXPIRIES: TableDefinition<'_, &[u8], ()> = TableDefinition::new("expiries");
/// Bucket and version to change.
pub(super) const CHANGES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("changes");

/// All tables of a transaction that writes.
pub(super) struct Tables<'t> {
    pub(super) meta: Table<'t, &'static str, u64>,
    pub(super) buckets: Table<'t, &'static str, &'static [u8]>,
    pub(super) entries: Table<'t, &'static [u8], &'static [u8]>,
    pub(super) expiries: Table<'t, &'static [u8], ()>,
    pub(super) changes: Table<'t, &'static [u8], &'static [u8]>,
}

impl<'t> Tables<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, Fault> {
        Ok(Self {
            meta: transaction.open_table(META)?,
            buckets: transaction.open_table(BUCKETS)?,
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
