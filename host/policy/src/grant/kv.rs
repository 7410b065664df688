//! Key-value buckets by grant.
//!
//! `{principal}` and `{plugin}` in a bucket or a prefix stand for names that the host puts in with each call. What may
//! stand around them sees to it that no two pairs of names make one bucket, and that no key begins with the prefixes of
//! two: see [`check_bucket`] and [`check_prefix`].

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::{GrantError, access::Access, check_entries};
use crate::{ChangeKind, MAX_PLUGIN_NAME, PluginName, Principal, principal::MAX_NAME_IN_BUCKETS};

/// Longest name of a bucket as it is written, in bytes. With names put in it stays below the store's 256.
const MAX_BUCKET: usize = 128;
/// Longest prefix of keys, in bytes, with names put in: a key is no longer.
const MAX_PREFIX: usize = 512;
/// Stands for the name of who calls.
const PRINCIPAL: &str = "{principal}";
/// Stands for the name of the plugin.
const PLUGIN: &str = "{plugin}";

/// An entry of `kv`: the keys of a bucket that begin with a prefix.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct KvGrant {
    pub(super) bucket: String,
    pub(super) prefix: String,
    pub(super) access: Access,
}

impl KvGrant {
    /// The bucket, with `{principal}` and `{plugin}` as they are written.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// What the keys begin with, as it is written; empty for all.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// What may be done with them.
    pub fn access(&self) -> Access {
        self.access
    }

    /// Whether all of `other` is in this, whatever the names are. One text that begins with another does so with names
    /// put in, too: no text ends within a `{…}`.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self.bucket == other.bucket && other.prefix.starts_with(&self.prefix) && self.access >= other.access
    }

    /// What is in both, whatever the names are.
    pub(super) fn both(&self, other: &Self) -> Option<Self> {
        let longer = if self.prefix.len() < other.prefix.len() { other } else { self };
        let both = Self { access: self.access.min(other.access), ..longer.clone() };
        (self.covers(&both) && other.covers(&both)).then_some(both)
    }

    /// An entry as it would be written; for hints.
    pub fn line(bucket: &str, prefix: &str, access: Access) -> String {
        let prefix = if prefix.is_empty() { String::new() } else { format!("prefix = {prefix:?}, ") };
        format!("kv = [{{ bucket = {bucket:?}, {prefix}access = \"{access}\" }}]")
    }
}

/// May this be done with an entry?
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KvDecision {
    /// It may.
    Allowed(KvGrant),
    /// The entry of `kv` opens it to be read alone.
    ReadOnly(KvGrant),
    /// The configuration allows it by this entry, and what was approved does not.
    Unapproved(KvGrant),
    /// No entry of `kv` opens the bucket, or keys that begin so.
    NoEntry,
}

/// The buckets that a plugin may use when somebody calls it: grants with the names put in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buckets {
    principal: String,
    plugin: PluginName,
    keys: BTreeMap<String, BucketKeys>,
}

impl Buckets {
    /// Those that `grants` open to `plugin` when `principal` calls it.
    pub fn of(grants: &[KvGrant], principal: &Principal, plugin: &PluginName) -> Self {
        let (principal, plugin) = (principal.in_buckets().into_owned(), plugin.clone());
        let mut buckets = Self { principal, plugin, keys: BTreeMap::new() };
        for KvGrant { bucket, prefix, access } in grants {
            let (name, prefix) = (buckets.name(bucket), buckets.name(prefix));
            let fresh = || BucketKeys { written: bucket.clone(), prefixes: Vec::new() };
            buckets.keys.entry(name).or_insert_with(fresh).prefixes.push((prefix, *access));
        }
        buckets.keys.values_mut().for_each(|keys| keys.prefixes.sort());
        buckets
    }

    /// The name of a bucket with the names put in, where it has places for them. Names have no braces, so that none of them
    /// is taken for a place.
    pub fn name(&self, text: &str) -> String {
        text.replace(PRINCIPAL, &self.principal).replace(PLUGIN, self.plugin.as_str())
    }

    /// What of the bucket of this name may be used; none: nothing.
    pub fn bucket(&self, name: &str) -> Option<&BucketKeys> {
        self.keys.get(name)
    }

    /// Their names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(String::as_str)
    }
}

/// The keys of one bucket that may be used: those that begin with any of some prefixes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketKeys {
    written: String,
    prefixes: Vec<(String, Access)>,
}

impl BucketKeys {
    /// The bucket as the grant has it, without names put in; for hints.
    pub fn written(&self) -> &str {
        &self.written
    }

    /// Whether `access` may be had to `key`: when any of the grants gives it.
    pub fn allow(&self, key: &str, access: Access) -> bool {
        self.prefixes.iter().any(|(prefix, granted)| *granted >= access && key.starts_with(prefix.as_str()))
    }

    /// Whether all keys may be read.
    pub fn are_all(&self) -> bool {
        self.allow("", Access::Read)
    }

    /// The prefixes of all keys that may be read and begin with `prefix`, in order, of which none begins with another.
    pub fn within(&self, prefix: &str) -> Vec<String> {
        if self.allow(prefix, Access::Read) {
            return vec![prefix.to_owned()];
        }
        let mut within: Vec<String> = Vec::new();
        for (granted, _) in self.prefixes.iter().filter(|(granted, _)| granted.starts_with(prefix)) {
            // Sorted, a prefix comes right before all that begin with it.
            if !within.last().is_some_and(|last| granted.starts_with(last.as_str())) {
                within.push(granted.clone());
            }
        }
        within
    }
}

impl fmt::Display for KvGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, keys {}*, {}", self.bucket, self.prefix, self.access)
    }
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Written {
    bucket: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    prefix: String,
    #[serde(default)]
    access: Access,
}

impl TryFrom<Written> for KvGrant {
    type Error = GrantError;

    fn try_from(written: Written) -> Result<Self, GrantError> {
        let Written { bucket, prefix, access } = written;
        let fault = |fault: &str, found: &str| Err(GrantError::new(ChangeKind::Kv, fault, found));
        match check_bucket(&bucket).and_then(|()| check_prefix(&prefix)) {
            Ok(()) => {}
            Err(Wrong::Bucket(expected)) => return fault(expected, &bucket),
            Err(Wrong::Prefix(expected)) => return fault(expected, &prefix),
        }
        Ok(Self { bucket, prefix, access })
    }
}

impl From<KvGrant> for Written {
    fn from(grant: KvGrant) -> Self {
        let KvGrant { bucket, prefix, access } = grant;
        Self { bucket, prefix, access }
    }
}

enum Wrong {
    Bucket(&'static str),
    Prefix(&'static str),
}

/// `text` without its placeholders: what stands before, between and behind them. None where one is there twice.
fn literals(text: &str) -> Option<Vec<&str>> {
    let mut places: Vec<_> = [PRINCIPAL, PLUGIN]
        .iter()
        .flat_map(|name| text.match_indices(name))
        .map(|(at, name)| (at, name.len()))
        .collect();
    places.sort_unstable();
    let twice = [PRINCIPAL, PLUGIN].iter().any(|name| text.matches(name).count() > 1);
    let mut parts = Vec::new();
    let mut from = 0;
    for (at, length) in places {
        parts.push(text.get(from..at)?);
        from = at + length;
    }
    parts.push(text.get(from..)?);
    (!twice).then_some(parts)
}

fn is_of_names(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

/// Of two names in a bucket, a dot stands between: plugins' names have none, so that it is seen where the plugin's ends
/// or begins, and no two pairs of names make one bucket.
fn check_bucket(bucket: &str) -> Result<(), Wrong> {
    let expected = "must have a `bucket` of 1 to 128 letters, digits, `-`, `_`, `.` and at most one `{principal}` and \
                    `{plugin}`, with a `.` between the two";
    let parts = literals(bucket).filter(|_| !bucket.is_empty() && bucket.len() <= MAX_BUCKET);
    let parts = parts.filter(|parts| parts.iter().all(|part| part.chars().all(is_of_names)));
    match parts.as_deref() {
        Some([_] | [_, _]) => Ok(()),
        Some([_, between, _]) if between.contains('.') => Ok(()),
        Some(_) | None => Err(Wrong::Bucket(expected)),
    }
}

/// Behind a name in a prefix stands what no name has: else the keys of `alice` would begin with the prefix of `al`.
fn check_prefix(prefix: &str) -> Result<(), Wrong> {
    let expected = "must have a `prefix` of at most 512 bytes, names put in, without control characters, without `{` and \
                    `}` but for at most one `{principal}` and `{plugin}`, each with a character behind it that no name \
                    has, as `/`";
    let ends = |part: &&str| part.chars().next().is_some_and(|c| !is_of_names(c));
    let fits = literals(prefix).is_some_and(|parts| {
        let names = parts.len().saturating_sub(1) * MAX_NAME_IN_BUCKETS.max(MAX_PLUGIN_NAME);
        let plain = |c: char| !c.is_control() && !matches!(c, '{' | '}');
        parts.iter().all(|part| part.chars().all(plain))
            && parts.iter().skip(1).all(ends)
            && parts.iter().map(|part| part.len()).sum::<usize>() + names <= MAX_PREFIX
    });
    if fits { Ok(()) } else { Err(Wrong::Prefix(expected)) }
}

/// In one order, each entry once.
pub(super) fn normal(mut entries: Vec<KvGrant>) -> Result<Vec<KvGrant>, GrantError> {
    check_entries(ChangeKind::Kv, "kv", entries.len())?;
    entries.sort();
    entries.dedup();
    Ok(entries)
}
