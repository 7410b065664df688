//! What a caller may ask for at most, each with its reason, and the checks. Engines see only what passed them.

use std::{collections::BTreeSet, fmt, time::Duration};

use super::{Entry, Key, Operation, StoreError, Version, Writer};

/// Longest name of a bucket, in bytes: the 128 of a grant's pattern, with room for the name that `{principal}` becomes.
pub const MAX_BUCKET: usize = 256;
/// Longest key, in bytes: a path and an identifier fit; keys are in every page of an index.
pub const MAX_KEY: usize = 512;
/// Longest value, in bytes. Larger things belong into files.
pub const MAX_VALUE: usize = 1 << 20;
/// Longest name of a principal or plugin, or digest, that wrote an entry, in bytes. Each entry carries the three.
pub const MAX_WRITER: usize = 256;
/// Most operations of a transact: it holds every other writer of the engine up.
pub const MAX_OPERATIONS: usize = 128;
/// Most keys of one `get_many`.
pub const MAX_KEYS: usize = 128;
/// Most entries or changes of a page.
pub const MAX_PAGE: usize = 1000;
/// Most bytes of keys and values in a page; it holds one entry at least. A full page of largest values would be a gibibyte.
pub const MAX_PAGE_BYTES: usize = 4 << 20;
/// Most bytes of keys and values that one operation writes, or that one `get_many` answers.
pub const MAX_REQUEST_BYTES: usize = 16 << 20;
/// Longest time to live: ten years. Times added to it stay far below 2^53, where Redis' numbers end.
pub const MAX_TTL: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Longest wait for changes. A caller's deadline is shorter; this keeps a mistake from holding a waiter for good.
pub const MAX_WAIT: Duration = Duration::from_secs(3600);

/// A bound that an argument is beyond.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Which argument.
    pub argument: &'static str,
    /// What it must be, and what was found.
    pub expected: String,
}

impl Bound {
    pub(crate) fn new(argument: &'static str, expected: impl Into<String>) -> Self {
        Self { argument, expected: expected.into() }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` must {}", self.argument, self.expected)
    }
}

impl std::error::Error for Bound {}

fn at_most(argument: &'static str, what: &str, found: usize, max: usize) -> Result<(), StoreError> {
    if found <= max {
        return Ok(());
    }
    Err(Bound::new(argument, format!("have at most {max} {what}, has {found}")).into())
}

pub(crate) fn check_value(value: &[u8]) -> Result<(), StoreError> {
    at_most("value", "bytes", value.len(), MAX_VALUE)
}

pub(crate) fn check_writer(writer: &Writer) -> Result<(), StoreError> {
    let longest = [&writer.principal, &writer.plugin, &writer.digest].map(String::len).into_iter().max().unwrap_or(0);
    at_most("writer", "bytes in each part", longest, MAX_WRITER)
}

pub(crate) fn check_ttl(ttl: Option<Duration>) -> Result<(), StoreError> {
    match ttl {
        // Below a millisecond it would be no time at all.
        Some(ttl) if ttl.as_millis() == 0 || ttl > MAX_TTL => {
            let days = MAX_TTL.as_secs() / (24 * 3600);
            Err(Bound::new("ttl", format!("be 1 ms to {days} days, is {} ms", ttl.as_millis())).into())
        }
        _ => Ok(()),
    }
}

pub(crate) fn check_prefix(prefix: &str) -> Result<(), StoreError> {
    at_most("prefix", "bytes", prefix.len(), MAX_KEY)
}

pub(crate) fn check_limit(limit: usize) -> Result<(), StoreError> {
    if (1..=MAX_PAGE).contains(&limit) {
        return Ok(());
    }
    Err(Bound::new("limit", format!("be 1 to {MAX_PAGE}, is {limit}")).into())
}

pub(crate) fn check_keys(keys: &[Key]) -> Result<(), StoreError> {
    at_most("keys", "keys", keys.len(), MAX_KEYS)
}

pub(crate) fn check_operations(operations: &[Operation]) -> Result<(), StoreError> {
    at_most("operations", "operations", operations.len(), MAX_OPERATIONS)?;
    let (mut written, mut bytes) = (BTreeSet::new(), 0);
    for operation in operations {
        match operation {
            Operation::Set { key, value, options } => {
                check_value(value)?;
                check_ttl(options.ttl)?;
                bytes += key.as_str().len() + value.len();
            }
            Operation::Delete { .. } => {}
            Operation::Check { .. } => continue,
        }
        if !written.insert(operation.key()) {
            let expected = format!("write each key once, write this one twice: {}", operation.key());
            return Err(Bound::new("operations", expected).into());
        }
    }
    at_most("operations", "bytes of keys and values", bytes, MAX_REQUEST_BYTES)
}

/// Versions and times at which Redis' numbers are still exact.
const EXACT: u64 = 1 << 53;

pub(crate) fn check_entries(version: Version, entries: &[Entry]) -> Result<(), StoreError> {
    at_most("entries", "entries", entries.len(), MAX_PAGE)?;
    let (mut keys, mut bytes) = (BTreeSet::new(), 0);
    for entry in entries {
        check_value(&entry.value)?;
        check_writer(&entry.writer)?;
        bytes += entry.key.as_str().len() + entry.value.len();
        let expires = entry.expires_at_ms.unwrap_or(1);
        if [entry.version.0, expires].iter().any(|number| !(1..EXACT).contains(number)) || entry.written_at_ms >= EXACT
        {
            return Err(Bound::new("entries", format!("have versions and times below 2^53: {}", entry.key)).into());
        }
        if !keys.insert(&entry.key) {
            return Err(Bound::new("entries", format!("have each key once: {}", entry.key)).into());
        }
    }
    if version.0 >= EXACT {
        return Err(Bound::new("version", format!("be below 2^53, is {version}")).into());
    }
    at_most("entries", "bytes of keys and values", bytes, MAX_REQUEST_BYTES)
}
