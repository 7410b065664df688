//! The tables of the file, and their keys.
//!
//! A bucket's name, a zero byte, and what follows: names hold no zero byte, so that a bucket's rows stand together.

use redb::{ReadOnlyTable, ReadTransaction, ReadableTable, Table as Open, TableDefinition, WriteTransaction};

use super::{
    fault::Fault,
    log::{Record, Row},
};

type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// Bucket and key to entry.
pub(super) const ENTRIES: Definition = TableDefinition::new("entries");
/// Bucket, instant and key, to nothing.
pub(super) const EXPIRIES: Definition = TableDefinition::new("expiries");
/// Bucket and version to change; and behind a bucket's last one its [`State`](super::codec::State), which every write
/// changes as well, so that it is on a page that is written anyway.
pub(super) const CHANGES: Definition = TableDefinition::new("changes");

/// A table by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    Entries,
    Expiries,
    Changes,
}

type Writable<'t> = Open<'t, &'static [u8], &'static [u8]>;

/// All tables of a transaction that writes, and the record of what it wrote.
pub(super) struct Tables<'t> {
    entries: Writable<'t>,
    expiries: Writable<'t>,
    changes: Writable<'t>,
    record: Record,
}

impl<'t> Tables<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, Fault> {
        Ok(Self {
            entries: transaction.open_table(ENTRIES)?,
            expiries: transaction.open_table(EXPIRIES)?,
            changes: transaction.open_table(CHANGES)?,
            record: Record::default(),
        })
    }

    pub(super) fn of(&self, table: Table) -> &Writable<'t> {
        match table {
            Table::Entries => &self.entries,
            Table::Expiries => &self.expiries,
            Table::Changes => &self.changes,
        }
    }

    pub(super) fn put(&mut self, table: Table, place: &[u8], row: &[u8]) -> Result<(), Fault> {
        self.write(Row { table, place, row: Some(row) })
    }

    pub(super) fn remove(&mut self, table: Table, place: &[u8]) -> Result<(), Fault> {
        self.write(Row { table, place, row: None })
    }

    /// Puts a row in or takes it away.
    pub(super) fn write(&mut self, row: Row<'_>) -> Result<(), Fault> {
        let table = match row.table {
            Table::Entries => &mut self.entries,
            Table::Expiries => &mut self.expiries,
            Table::Changes => &mut self.changes,
        };
        match row.row {
            Some(bytes) => table.insert(row.place, bytes).map(drop)?,
            None => table.remove(row.place).map(drop)?,
        }
        self.record.add(row);
        Ok(())
    }

    /// All that was written.
    pub(super) fn into_record(self) -> Record {
        self.record
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
