//! Key-value buckets by grant.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{GrantError, access::Access, check_entries};
use crate::ChangeKind;

/// Longest name of a bucket, in bytes.
const MAX_BUCKET: usize = 128;
/// Longest prefix of keys, in bytes.
const MAX_PREFIX: usize = 512;
/// Stands for the name of who calls.
const PRINCIPAL: &str = "{principal}";

/// An entry of `kv`: the keys of a bucket that begin with a prefix.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct KvGrant {
    pub(super) bucket: String,
    pub(super) prefix: String,
    pub(super) access: Access,
}

impl KvGrant {
    /// The bucket. `{principal}` in it stands for who calls.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// What the keys begin with; empty for all.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// What may be done with them.
    pub fn access(&self) -> Access {
        self.access
    }

    /// Whether all of `other` is in this.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self.bucket == other.bucket && other.prefix.starts_with(&self.prefix) && self.access >= other.access
    }

    /// What is in both.
    pub(super) fn both(&self, other: &Self) -> Option<Self> {
        let longer = if self.prefix.len() < other.prefix.len() { other } else { self };
        let both = Self { access: self.access.min(other.access), ..longer.clone() };
        (self.covers(&both) && other.covers(&both)).then_some(both)
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
        let name = bucket.replacen(PRINCIPAL, "p", 1);
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty() || bucket.len() > MAX_BUCKET || !name.bytes().all(allowed) {
            let expected =
                "must have a `bucket` of 1 to 128 letters, digits, `-`, `_`, `.` and at most one `{principal}`";
            return fault(expected, &bucket);
        }
        if prefix.len() > MAX_PREFIX || prefix.chars().any(char::is_control) {
            return fault("must have a `prefix` of at most 512 bytes without control characters", &prefix);
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

/// In one order, each entry once.
pub(super) fn normal(mut entries: Vec<KvGrant>) -> Result<Vec<KvGrant>, GrantError> {
    check_entries(ChangeKind::Kv, "kv", entries.len())?;
    entries.sort();
    entries.dedup();
    Ok(entries)
}
