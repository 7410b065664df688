//! What a bucket is, in the plainest words: what every engine is compared with.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use portcullis_store::{
    Change, ChangeKind, ChangePage, Condition, Entry, Key, Limits, MAX_PAGE_BYTES, Operation, StoreError, Usage,
    Version, Writer,
};

pub(crate) struct Model {
    pub(crate) limits: Limits,
    pub(crate) version: u64,
    pub(crate) entries: BTreeMap<Key, Entry>,
    pub(crate) changes: VecDeque<Change>,
    now: u64,
}

impl Model {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, version: 0, entries: BTreeMap::new(), changes: VecDeque::new(), now: 0 }
    }

    /// What each operation begins with.
    pub(crate) fn at(&mut self, now: u64) {
        self.now = self.now.max(now);
        let due: BTreeSet<(u64, Key)> = self
            .entries
            .values()
            .filter_map(|entry| Some((entry.expires_at_ms.filter(|at| *at <= self.now)?, entry.key.clone())))
            .collect();
        for (_, key) in due {
            self.entries.remove(&key);
            self.record(ChangeKind::Expire, key, None, None);
        }
    }

    fn record(&mut self, kind: ChangeKind, key: Key, value: Option<Vec<u8>>, writer: Option<Writer>) -> Version {
        self.version += 1;
        let version = Version(self.version);
        self.changes.push_back(Change { kind, key, version, value, writer });
        let bytes = |change: &Change| (change.key.as_str().len() + change.value.as_ref().map_or(0, Vec::len)) as u64;
        while self.changes.len() > 1
            && (self.changes.len() as u64 > self.limits.changes
                || self.changes.iter().map(bytes).sum::<u64>() > self.limits.change_bytes)
        {
            self.changes.pop_front();
        }
        version
    }

    pub(crate) fn usage(&self) -> Usage {
        let bytes = self.entries.values().map(|entry| (entry.key.as_str().len() + entry.value.len()) as u64).sum();
        let Limits { max_entries, max_bytes, .. } = self.limits;
        Usage { entries: self.entries.len() as u64, bytes, max_entries, max_bytes }
    }

    pub(crate) fn list(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Vec<Entry> {
        let entries = self.entries.values();
        let entries = entries.filter(|entry| entry.key.as_str().starts_with(prefix));
        entries.filter(|entry| after.is_none_or(|after| entry.key > *after)).take(limit).cloned().collect()
    }

    pub(crate) fn changes(&self, prefix: &str, after: Version, limit: usize) -> Result<ChangePage, StoreError> {
        let floor = self.version - self.changes.len() as u64;
        if after.0 < floor || after.0 > self.version {
            return Err(StoreError::Compacted(Version(self.version)));
        }
        let mut page = ChangePage { changes: Vec::new(), next_after: after };
        let mut bytes = 0;
        for change in self.changes.iter().filter(|change| change.version > after) {
            if change.key.as_str().starts_with(prefix) {
                bytes += change.key.as_str().len() + change.value.as_ref().map_or(0, Vec::len);
                if page.changes.len() == limit || (bytes > MAX_PAGE_BYTES && !page.changes.is_empty()) {
                    break;
                }
                page.changes.push(change.clone());
            }
            page.next_after = change.version;
        }
        Ok(page)
    }

    pub(crate) fn write(
        &mut self,
        operations: &[Operation],
        writer: &Writer,
    ) -> Result<Vec<Option<Version>>, StoreError> {
        for operation in operations {
            let held = self.entries.get(operation.key());
            let holds = match operation.when() {
                Condition::Always => true,
                Condition::IfAbsent => held.is_none(),
                Condition::IfPresent => held.is_some(),
                Condition::IfVersion(version) => held.is_some_and(|entry| entry.version == version),
            };
            if !holds {
                return Err(StoreError::Conflict(held.cloned().map(Box::new)));
            }
        }
        let before = self.usage();
        let mut after = self.entries.clone();
        for operation in operations {
            match operation {
                Operation::Set { key, value, options } => {
                    let expires_at_ms = options.ttl.map(|ttl| self.now + ttl.as_millis() as u64);
                    let (key, value, writer) = (key.clone(), value.clone(), writer.clone());
                    let entry = Entry {
                        key: key.clone(),
                        value,
                        version: Version(0),
                        writer,
                        written_at_ms: self.now,
                        expires_at_ms,
                    };
                    after.insert(key, entry);
                }
                Operation::Delete { key, .. } => _ = after.remove(key),
                Operation::Check { .. } => {}
            }
        }
        let held = std::mem::replace(&mut self.entries, after);
        let usage = self.usage();
        let full = |before: u64, after: u64, max: u64| after > before && after > max;
        if full(before.entries, usage.entries, usage.max_entries) || full(before.bytes, usage.bytes, usage.max_bytes) {
            self.entries = held;
            return Err(StoreError::QuotaExceeded(before));
        }
        let mut versions = Vec::new();
        for operation in operations {
            versions.push(match operation {
                Operation::Set { key, value, .. } => {
                    let version = self.record(ChangeKind::Set, key.clone(), Some(value.clone()), Some(writer.clone()));
                    self.entries.get_mut(key).expect("just put").version = version;
                    Some(version)
                }
                Operation::Delete { key, .. } if held.contains_key(key) => {
                    Some(self.record(ChangeKind::Delete, key.clone(), None, Some(writer.clone())))
                }
                Operation::Delete { .. } | Operation::Check { .. } => None,
            });
        }
        Ok(versions)
    }

    /// The sum that an increment leaves, where the value is a number.
    pub(crate) fn sum(&self, key: &Key, delta: i64) -> Option<i64> {
        let Some(entry) = self.entries.get(key) else { return Some(delta) };
        let text = std::str::from_utf8(&entry.value).ok()?;
        let number: i64 = text.parse().ok()?;
        if number.to_string() == text { number.checked_add(delta) } else { None }
    }

    pub(crate) fn expires(&self, key: &Key) -> Option<u64> {
        self.entries.get(key).and_then(|entry| entry.expires_at_ms)
    }

    pub(crate) fn now(&self) -> u64 {
        self.now
    }
}
