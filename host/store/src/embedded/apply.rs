//! What a transaction does to a bucket: conditions, quotas, expiry and the record of changes. Refuses before it writes.

use std::collections::HashMap;

use redb::{ReadableTable, WriteTransaction};

use super::{
    codec::{self, Body, Head, State},
    fault::Fault,
    log::Record,
    tables::{self, Table, Tables},
};
use crate::contract::{
    Bucket, BucketName, ChangeKind, Entry, Key, Operation, SetOptions, StoreError, Usage, Version, Writer, count_after,
};

/// Expired entries that one operation sweeps of its bucket before it begins, and the sweeper of all in one transaction.
pub(super) const SWEPT_AT_ONCE: usize = 256;
/// Kept changes that one write drops at most: it adds one, and a narrowed configuration takes effect by and by.
const DROPPED_AT_ONCE: u64 = 256;
/// Dropped changes that are removed from the file together, and that wait there at most: a few pages of it.
const TRIMMED_AT_ONCE: u64 = 256;

/// Several operations in one transaction, which is committed or given up as a whole.
pub(super) struct Batch<'t> {
    tables: Tables<'t>,
    now: u64,
    states: HashMap<BucketName, State>,
    dirty: Vec<BucketName>,
    /// Buckets in which nothing is due any more: the instant is one for all of the batch.
    settled: Vec<BucketName>,
}

/// What an operation is going to do to an entry.
struct Step<'o> {
    key: &'o Key,
    held: Option<Head>,
    put: Option<(&'o [u8], Option<u64>)>,
}

impl<'t> Batch<'t> {
    pub(super) fn new(transaction: &'t WriteTransaction, now: u64) -> Result<Self, Fault> {
        Ok(Self {
            tables: Tables::open(transaction)?,
            now,
            states: HashMap::new(),
            dirty: Vec::new(),
            settled: Vec::new(),
        })
    }

    /// Writes what all operations left, and gives the versions that the buckets have now, none where nothing was written; and
    /// all that was.
    pub(super) fn finish(mut self, commit: u64) -> Result<(Vec<(BucketName, u64)>, Record), Fault> {
        let mut versions = Vec::new();
        for bucket in std::mem::take(&mut self.dirty) {
            let Some(state) = self.states.get_mut(&bucket) else { continue };
            (state.commit, state.clock) = (commit, self.now);
            let (place, row) = (tables::state_place(bucket.as_str()), codec::write_state(bucket.as_str(), state));
            self.tables.put(Table::Changes, &place, &row)?;
            versions.push((bucket, state.version));
        }
        Ok((versions, self.tables.into_record()))
    }

    /// All operations or none. The version of each that wrote.
    pub(super) fn write(
        &mut self,
        bucket: &Bucket,
        writer: &Writer,
        operations: &[Operation],
    ) -> Result<Vec<Option<Version>>, Fault> {
        self.begin(bucket)?;
        let mut steps = Vec::with_capacity(operations.len());
        for operation in operations {
            let key = operation.key();
            let held = self.held(&bucket.name, key)?;
            if !operation.when().holds(held.map(|held| Version(held.version))) {
                let entry = self.entry(&bucket.name, key)?.map(Box::new);
                return Err(Fault::Refused(StoreError::Conflict(entry)));
            }
            let put = match operation {
                Operation::Set { value, options, .. } => Some((value.as_slice(), self.expiry(options))),
                Operation::Delete { .. } => None,
                Operation::Check { .. } => continue,
            };
            steps.push(Step { key, held, put });
        }
        self.fits(bucket, &steps)?;
        let mut versions = Vec::with_capacity(operations.len());
        let mut steps = steps.into_iter();
        for operation in operations {
            let step = match operation {
                Operation::Check { .. } => None,
                Operation::Set { .. } | Operation::Delete { .. } => steps.next(),
            };
            let version = match step {
                Some(Step { key, held, put: Some((value, expires)) }) => {
                    Some(self.put(bucket, key, held, value, expires, writer)?)
                }
                Some(Step { key, held: Some(held), put: None }) => {
                    Some(self.remove(&bucket.name, key, held, ChangeKind::Delete, writer)?)
                }
                Some(Step { held: None, put: None, .. }) | None => None,
            };
            versions.push(version);
        }
        Ok(versions)
    }

    /// Adds to a number, and keeps its expiry unless it gets another.
    pub(super) fn increment(
        &mut self,
        bucket: &Bucket,
        writer: &Writer,
        key: &Key,
        delta: i64,
        options: &SetOptions,
    ) -> Result<(i64, Version), Fault> {
        self.begin(bucket)?;
        let held = self.held(&bucket.name, key)?;
        let entry = self.entry(&bucket.name, key)?;
        let number = count_after(entry.as_ref(), delta).map_err(Fault::Refused)?;
        let value = number.to_string();
        let expires = self.expiry(options).or(held.and_then(|held| held.expires));
        self.fits(bucket, &[Step { key, held, put: Some((value.as_bytes(), expires)) }])?;
        let version = self.put(bucket, key, held, value.as_bytes(), expires, writer)?;
        Ok((number, version))
    }

    /// Puts entries as they are into a bucket that nothing else wrote, which then stands at `version` at least.
    pub(super) fn import(&mut self, bucket: &Bucket, version: Version, entries: &[Entry]) -> Result<(), Fault> {
        self.begin(bucket)?;
        if self.state(&bucket.name)?.written {
            return Err(Fault::Refused(StoreError::written()));
        }
        let mut steps = Vec::with_capacity(entries.len());
        let now = self.now;
        for entry in entries.iter().filter(|entry| entry.expires_at_ms.is_none_or(|at| at > now)) {
            let held = self.held(&bucket.name, &entry.key)?;
            steps.push((entry, Step { key: &entry.key, held, put: Some((&entry.value, entry.expires_at_ms)) }));
        }
        let (entries, steps): (Vec<_>, Vec<_>) = steps.into_iter().unzip();
        self.fits(bucket, &steps)?;
        let mut last = version.0;
        for (entry, step) in entries.into_iter().zip(steps) {
            self.forget(&bucket.name, step.key, step.held)?;
            self.keep(&bucket.name, &entry.key, Body::of(entry))?;
            last = last.max(entry.version.0);
        }
        let state = self.state_mut(&bucket.name)?;
        if last > state.version {
            // Whoever watched another store goes on after that version: none of the changes up to it are here.
            let (first, end) = (state.trimmed + 1, state.version);
            (state.version, state.changes, state.change_bytes, state.trimmed) = (last, 0, 0, last);
            for version in first..=end {
                self.tables.remove(Table::Changes, &tables::version_place(bucket.name.as_str(), version))?;
            }
        }
        Ok(())
    }

    /// What each operation begins with: the bounds that the bucket has now, and a sweep of what is due.
    pub(super) fn begin(&mut self, bucket: &Bucket) -> Result<(), Fault> {
        let state = self.state(&bucket.name)?;
        (state.max_changes, state.max_change_bytes) = (bucket.limits.changes, bucket.limits.change_bytes);
        if !self.settled.contains(&bucket.name) && self.settle(&bucket.name)? < SWEPT_AT_ONCE {
            self.settled.push(bucket.name.clone());
        }
        Ok(())
    }

    /// Sweeps the bucket, as far as one operation does. How many were due.
    fn settle(&mut self, bucket: &BucketName) -> Result<usize, Fault> {
        let (from, until) =
            (tables::version_place(bucket.as_str(), 0), tables::version_place(bucket.as_str(), self.now + 1));
        let mut due = Vec::new();
        for row in
            self.tables.of(Table::Expiries).range::<&[u8]>(from.as_slice()..until.as_slice())?.take(SWEPT_AT_ONCE)
        {
            let place = row?.0;
            let (_, at, key) =
                tables::read_expiry(place.value()).ok_or_else(|| Fault::Damaged("an expiry".to_owned()))?;
            due.push((at, Key::new(key).map_err(|bound| Fault::Damaged(bound.to_string()))?));
        }
        let swept = due.len();
        for (at, key) in due {
            self.held(bucket, &key)?;
            // Gone with the entry, unless it stood here without one.
            self.tables.remove(Table::Expiries, &tables::expiry_place(bucket.as_str(), at, key.as_str()))?;
        }
        Ok(swept)
    }

    /// The first instant at which something is due, in any bucket.
    pub(super) fn next_due(&self) -> Result<Option<u64>, Fault> {
        let (mut from, mut first) = (Vec::new(), None);
        while let Some(row) = self.tables.of(Table::Expiries).range::<&[u8]>(from.as_slice()..)?.next() {
            let place = row?.0;
            let Some((bucket, at, _)) = tables::read_expiry(place.value()) else { break };
            first = Some(first.map_or(at, |first: u64| first.min(at)));
            from = tables::beyond(bucket);
        }
        Ok(first)
    }

    /// Sweeps all buckets, a bounded amount of entries of each.
    pub(super) fn sweep(&mut self) -> Result<(), Fault> {
        let mut from = Vec::new();
        loop {
            let next = match self.tables.of(Table::Expiries).range::<&[u8]>(from.as_slice()..)?.next() {
                Some(row) => tables::read_expiry(row?.0.value()).map(|(bucket, at, _)| (bucket.to_owned(), at)),
                None => None,
            };
            let Some((bucket, at)) = next else { return Ok(()) };
            from = tables::beyond(&bucket);
            if at <= self.now {
                let bucket = BucketName::new(bucket).map_err(|bound| Fault::Damaged(bound.to_string()))?;
                self.settle(&bucket)?;
            }
        }
    }

    fn expiry(&self, options: &SetOptions) -> Option<u64> {
        let ttl = u64::try_from(options.ttl?.as_millis()).ok()?;
        Some(self.now.saturating_add(ttl))
    }

    fn state(&mut self, bucket: &BucketName) -> Result<&mut State, Fault> {
        if !self.states.contains_key(bucket) {
            let state = match self.tables.of(Table::Changes).get(tables::state_place(bucket.as_str()).as_slice())? {
                Some(row) => codec::read_state(bucket.as_str(), row.value())?,
                None => State::default(),
            };
            self.states.insert(bucket.clone(), state);
        }
        self.states.get_mut(bucket).ok_or_else(|| Fault::Damaged("a bucket without a state".to_owned()))
    }

    /// The state, to change it.
    fn state_mut(&mut self, bucket: &BucketName) -> Result<&mut State, Fault> {
        if !self.dirty.contains(bucket) {
            self.dirty.push(bucket.clone());
        }
        self.state(bucket)
    }

    /// What stands at `key`. An entry whose time is over is swept by that.
    fn held(&mut self, bucket: &BucketName, key: &Key) -> Result<Option<Head>, Fault> {
        let place = tables::entry_place(bucket.as_str(), key.as_str());
        let head = match self.tables.of(Table::Entries).get(place.as_slice())? {
            Some(row) => Some(codec::read_head(&place, key.as_str().len(), row.value())?),
            None => None,
        };
        match head {
            Some(head) if head.expires.is_some_and(|at| at <= self.now) => {
                self.remove(bucket, key, head, ChangeKind::Expire, &Writer::default())?;
                Ok(None)
            }
            head => Ok(head),
        }
    }

    fn entry(&self, bucket: &BucketName, key: &Key) -> Result<Option<Entry>, Fault> {
        let place = tables::entry_place(bucket.as_str(), key.as_str());
        let row = self.tables.of(Table::Entries).get(place.as_slice())?;
        row.map(|row| codec::read_entry(&place, key.clone(), row.value())).transpose()
    }

    /// Refuses what would bring the bucket beyond its quota, or further beyond it.
    fn fits(&mut self, bucket: &Bucket, steps: &[Step<'_>]) -> Result<(), Fault> {
        let (mut entries_in, mut bytes_in, mut entries_out, mut bytes_out) = (0_u64, 0_u64, 0_u64, 0_u64);
        for Step { key, held, put } in steps {
            entries_out += u64::from(held.is_some());
            bytes_out += held.map_or(0, |held| held.size);
            entries_in += u64::from(put.is_some());
            bytes_in += put.map_or(0, |(value, _)| (key.as_str().len() + value.len()) as u64);
        }
        loop {
            let state = self.state(&bucket.name)?;
            let beyond =
                |held: u64, out: u64, added: u64, max: u64| added > out && held.saturating_sub(out) + added > max;
            if !beyond(state.entries, entries_out, entries_in, bucket.limits.max_entries)
                && !beyond(state.bytes, bytes_out, bytes_in, bucket.limits.max_bytes)
            {
                return Ok(());
            }
            let usage = usage(bucket, state);
            // What is due holds no space against a write, however much of it there is.
            if self.settle(&bucket.name)? == 0 {
                return Err(Fault::Refused(StoreError::QuotaExceeded(usage)));
            }
        }
    }

    fn put(
        &mut self,
        bucket: &Bucket,
        key: &Key,
        held: Option<Head>,
        value: &[u8],
        expires_at_ms: Option<u64>,
        writer: &Writer,
    ) -> Result<Version, Fault> {
        let now = self.now;
        self.forget(&bucket.name, key, held)?;
        let version = self.state_mut(&bucket.name)?.version + 1;
        self.keep(&bucket.name, key, Body { version, expires: expires_at_ms, written: now, writer, value })?;
        self.record(&bucket.name, ChangeKind::Set, key, writer, value)
    }

    fn remove(
        &mut self,
        bucket: &BucketName,
        key: &Key,
        held: Head,
        kind: ChangeKind,
        writer: &Writer,
    ) -> Result<Version, Fault> {
        self.forget(bucket, key, Some(held))?;
        self.tables.remove(Table::Entries, &tables::entry_place(bucket.as_str(), key.as_str()))?;
        self.record(bucket, kind, key, writer, &[])
    }

    /// Writes the entry, with its expiry, and counts it.
    fn keep(&mut self, bucket: &BucketName, key: &Key, body: Body<'_>) -> Result<(), Fault> {
        let place = tables::entry_place(bucket.as_str(), key.as_str());
        self.tables.put(Table::Entries, &place, &codec::write_entry(&place, body))?;
        if let Some(at) = body.expires {
            self.tables.put(Table::Expiries, &tables::expiry_place(bucket.as_str(), at, key.as_str()), &[])?;
        }
        let state = self.state_mut(bucket)?;
        state.entries += 1;
        state.bytes += (key.as_str().len() + body.value.len()) as u64;
        Ok(())
    }

    /// Takes what stands out of the count and of the expiries; the entry itself is overwritten or removed by the caller.
    fn forget(&mut self, bucket: &BucketName, key: &Key, held: Option<Head>) -> Result<(), Fault> {
        let Some(held) = held else { return Ok(()) };
        if let Some(at) = held.expires {
            self.tables.remove(Table::Expiries, &tables::expiry_place(bucket.as_str(), at, key.as_str()))?;
        }
        let state = self.state_mut(bucket)?;
        state.entries = state.entries.saturating_sub(1);
        state.bytes = state.bytes.saturating_sub(held.size);
        Ok(())
    }

    /// Gives out the next version and records what it is; drops what is beyond the bounds by that.
    fn record(
        &mut self,
        bucket: &BucketName,
        kind: ChangeKind,
        key: &Key,
        writer: &Writer,
        value: &[u8],
    ) -> Result<Version, Fault> {
        let state = self.state_mut(bucket)?;
        state.version += 1;
        state.changes += 1;
        state.change_bytes += (key.as_str().len() + value.len()) as u64;
        state.written |= kind != ChangeKind::Expire;
        let version = state.version;
        let place = tables::version_place(bucket.as_str(), version);
        let change = codec::write_change(&place, kind, key.as_str(), writer, value);
        self.tables.put(Table::Changes, &place, &change)?;
        for _ in 0..DROPPED_AT_ONCE {
            let state = self.state(bucket)?;
            let full = state.changes > state.max_changes || state.change_bytes > state.max_change_bytes;
            if !full || state.changes <= 1 {
                break;
            }
            let place = tables::version_place(bucket.as_str(), state.floor() + 1);
            let size = match self.tables.of(Table::Changes).get(place.as_slice())? {
                Some(row) => codec::change_size(&place, row.value())?,
                None => 0,
            };
            let state = self.state(bucket)?;
            state.changes -= 1;
            state.change_bytes = state.change_bytes.saturating_sub(size);
        }
        self.trim(bucket)?;
        Ok(Version(version))
    }

    /// Removes what was dropped, once it is worth it.
    fn trim(&mut self, bucket: &BucketName) -> Result<(), Fault> {
        let state = self.state(bucket)?;
        let (first, end) = (state.trimmed + 1, state.floor());
        if end < state.trimmed.saturating_add(TRIMMED_AT_ONCE) {
            return Ok(());
        }
        state.trimmed = end;
        for version in first..=end {
            self.tables.remove(Table::Changes, &tables::version_place(bucket.as_str(), version))?;
        }
        Ok(())
    }
}

/// What a bucket holds.
pub(super) fn usage(bucket: &Bucket, state: &State) -> Usage {
    let (max_entries, max_bytes) = (bucket.limits.max_entries, bucket.limits.max_bytes);
    Usage { entries: state.entries, bytes: state.bytes, max_entries, max_bytes }
}
