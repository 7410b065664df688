//! What a plugin may reach, one file a kind: reading, matching, comparing, intersecting. Nothing is opened or sent here.

mod access;
mod address;
mod compare;
mod effective;
mod env;
mod files;
mod host;
mod http;
mod kv;
mod path;
mod pattern;
mod range;
mod secrets;
#[cfg(test)]
mod tests;
mod url;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::{
    access::Access,
    address::is_global,
    effective::Effective,
    files::{DEFAULT_QUOTA, FileDecision, FileGrant, MAX_QUOTA},
    host::Host,
    http::{HttpDecision, HttpDenied, HttpGrant},
    kv::{BucketKeys, Buckets, KvDecision, KvGrant},
    pattern::{HttpPattern, MAX_PATTERN},
    range::IpRange,
    secrets::SecretGrant,
    url::{RequestTarget, Scheme, UrlFault},
};
use crate::ChangeKind;

/// Most entries of one list: people review them, and each request is compared with all.
pub const MAX_ENTRIES: usize = 256;

/// What a plugin may reach: `[plugins.NAME.grants]`. Empty means nothing.
///
/// It is read as the operator writes it and written in one normal form, which reads as an equal value: host names in
/// lower case as ASCII, methods and entries in order, nothing twice, quotas and access spelled out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written")]
pub struct Grants {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    deny: Vec<HttpPattern>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    http: Vec<HttpGrant>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    secrets: Vec<SecretGrant>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    files: Vec<FileGrant>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    kv: Vec<KvGrant>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    env: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(rename = "grants", rename_all = "kebab-case", deny_unknown_fields, default)]
struct Written {
    http: Vec<HttpGrant>,
    deny: Vec<http::DenyEntry>,
    secrets: Vec<SecretGrant>,
    files: Vec<FileGrant>,
    env: BTreeMap<String, String>,
    kv: Vec<KvGrant>,
}

impl TryFrom<Written> for Grants {
    type Error = GrantError;

    fn try_from(written: Written) -> Result<Self, GrantError> {
        Ok(Self {
            http: http::normal(written.http)?,
            deny: http::normal_deny(written.deny)?,
            secrets: secrets::normal(written.secrets)?,
            files: files::normal(written.files)?,
            env: env::normal(written.env)?,
            kv: kv::normal(written.kv)?,
        })
    }
}

impl Grants {
    /// Whether nothing is written, so that nothing is granted.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The entries of `http`, in order.
    pub fn http_entries(&self) -> &[HttpGrant] {
        &self.http
    }

    /// The entries of `deny`, in order.
    pub fn deny_entries(&self) -> &[HttpPattern] {
        &self.deny
    }

    /// The entries of `secrets`, in order.
    pub fn secrets(&self) -> &[SecretGrant] {
        &self.secrets
    }

    /// The entries of `files`, by guest path.
    pub fn files(&self) -> &[FileGrant] {
        &self.files
    }

    /// The variables.
    pub fn env(&self) -> &BTreeMap<String, String> {
        &self.env
    }

    /// The entries of `kv`, by bucket.
    pub fn kv(&self) -> &[KvGrant] {
        &self.kv
    }
}

/// An entry of a grant that cannot be enforced as it is written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an entry of `{key}` {fault}: `{found}`")]
pub struct GrantError {
    /// The key below `grants`.
    pub key: ChangeKind,
    /// What it must be: "must have …".
    pub fault: String,
    /// What was written, escaped and cut to 80 characters.
    pub found: String,
}

impl GrantError {
    fn new(key: ChangeKind, fault: impl Into<String>, found: &str) -> Self {
        Self { key, fault: fault.into(), found: found.chars().take(80).flat_map(char::escape_debug).collect() }
    }
}

fn check_entries(key: ChangeKind, list: &str, found: usize) -> Result<(), GrantError> {
    if found <= MAX_ENTRIES {
        return Ok(());
    }
    Err(GrantError::new(key, format!("must be one of at most {MAX_ENTRIES} in `{list}`"), &found.to_string()))
}
