//! What the scripts answer, as the contract has it.

use super::scripts::{Reply, read_number};
use crate::contract::{Bucket, Change, ChangeKind, ChangePage, Entry, Key, Page, StoreError, Usage, Version, Writer};

/// The server answered what no script of ours does: another program writes our keys.
pub(super) fn garbled() -> StoreError {
    StoreError::Other(
        "the server's data is not as Portcullis writes it: does another program write its keys?".to_owned(),
    )
}

fn take<'b>(bytes: &mut &'b [u8], length: usize) -> Option<&'b [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

/// A number up to the next colon.
fn field(bytes: &mut &[u8]) -> Option<u64> {
    let end = bytes.iter().position(|byte| *byte == b':')?;
    let number = read_number(take(bytes, end)?)?;
    take(bytes, 1)?;
    Some(number)
}

fn writer(mut bytes: &[u8]) -> Option<Writer> {
    let mut part = || {
        let length = u16::from_be_bytes(take(&mut bytes, 2)?.try_into().ok()?);
        String::from_utf8(take(&mut bytes, usize::from(length))?.to_vec()).ok()
    };
    Some(Writer { principal: part()?, plugin: part()?, digest: part()? })
}

pub(super) fn entry(key: Key, record: &[u8]) -> Option<Entry> {
    let mut rest = record;
    let (version, written_at_ms, expires) = (field(&mut rest)?, field(&mut rest)?, field(&mut rest)?);
    let length = usize::try_from(field(&mut rest)?).ok()?;
    let writer = writer(take(&mut rest, length)?)?;
    let expires_at_ms = (expires > 0).then_some(expires);
    Some(Entry { key, value: rest.to_vec(), version: Version(version), writer, written_at_ms, expires_at_ms })
}

fn key(bytes: &[u8]) -> Option<Key> {
    Key::new(std::str::from_utf8(bytes).ok()?).ok()
}

/// Records in order, none where they are empty.
pub(super) fn entries(keys: &[Key], records: &[Vec<u8>]) -> Option<Vec<Option<Entry>>> {
    let entries = keys.iter().zip(records).map(|(key, record)| match record.as_slice() {
        [] => Some(None),
        record => entry(key.clone(), record).map(Some),
    });
    entries.collect()
}

/// After when something is due: the last key, and keys with their records.
pub(super) fn page(rest: &[Vec<u8>]) -> Option<Page> {
    let (next, rows) = rest.split_first()?;
    let next = if next.is_empty() { None } else { Some(key(next)?) };
    let entries = rows.chunks(2).map(|row| match row {
        [name, record] => entry(key(name)?, record),
        _ => None,
    });
    Some(Page { entries: entries.collect::<Option<_>>()?, next })
}

pub(super) fn changes(rest: &[Vec<u8>]) -> Option<ChangePage> {
    let (next, rows) = rest.split_first()?;
    let changes = rows.chunks(5).map(|row| {
        let [version, kind, name, by, value] = row else { return None };
        let kind = match kind.as_slice() {
            b"set" => ChangeKind::Set,
            b"delete" => ChangeKind::Delete,
            b"expire" => ChangeKind::Expire,
            _ => return None,
        };
        let writer = if kind == ChangeKind::Expire { None } else { Some(writer(by)?) };
        let value = (kind == ChangeKind::Set).then(|| value.clone());
        Some(Change { kind, key: key(name)?, version: Version(read_number(version)?), value, writer })
    });
    Some(ChangePage { changes: changes.collect::<Option<_>>()?, next_after: Version(read_number(next)?) })
}

pub(super) fn usage(bucket: &Bucket, entries: &[u8], bytes: &[u8]) -> Option<Usage> {
    let (max_entries, max_bytes) = (bucket.limits.max_entries, bucket.limits.max_bytes);
    Some(Usage { entries: read_number(entries)?, bytes: read_number(bytes)?, max_entries, max_bytes })
}

/// What any script that writes may refuse with.
pub(super) fn refusal(bucket: &Bucket, reply: &Reply) -> StoreError {
    let refusal = match (reply.word.as_str(), reply.rest.as_slice()) {
        ("conflict", [name, record]) if record.is_empty() => key(name).map(|_| StoreError::Conflict(None)),
        ("conflict", [name, record]) => {
            key(name).and_then(|key| entry(key, record)).map(|entry| StoreError::Conflict(Some(Box::new(entry))))
        }
        ("full", [entries, bytes]) => usage(bucket, entries, bytes).map(StoreError::QuotaExceeded),
        ("number", _) => Some(StoreError::not_a_number()),
        ("overflow", _) => Some(StoreError::beyond_64_bits()),
        ("written", _) => Some(StoreError::written()),
        ("large", _) => Some(StoreError::too_large()),
        ("compacted", [_, version]) => read_number(version).map(|version| StoreError::Compacted(Version(version))),
        _ => None,
    };
    refusal.unwrap_or_else(garbled)
}
