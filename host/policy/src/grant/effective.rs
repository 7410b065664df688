//! What was approved and what is configured, as one: what a call may reach is in both.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    Access, Buckets, FileDecision, FileGrant, Grants, HttpDecision, HttpDenied, KvDecision, KvGrant, RequestTarget,
    SecretGrant, files::holding,
};
use crate::{PluginName, Principal};

/// The intersection of approved and configured grants. A narrowing of either holds at once, a widening only in both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effective {
    approved: Arc<Grants>,
    configured: Arc<Grants>,
}

impl Effective {
    /// What `approved` and `configured` both grant.
    pub fn new(approved: Arc<Grants>, configured: Arc<Grants>) -> Self {
        Self { approved, configured }
    }

    /// What was approved.
    pub fn approved(&self) -> &Arc<Grants> {
        &self.approved
    }

    /// What is configured.
    pub fn configured(&self) -> &Arc<Grants> {
        &self.configured
    }

    /// May a request by `method` to `target` be sent? Only if both allow it, to addresses that both open.
    pub fn http(&self, method: &str, target: &RequestTarget) -> HttpDecision<'_> {
        let (by, opened) = match self.configured.http(method, target) {
            HttpDecision::Allowed { by, private } => (by, private),
            denied @ HttpDecision::Denied(_) => return denied,
        };
        match self.approved.http(method, target) {
            HttpDecision::Allowed { private, .. } => {
                let both = private.iter().flat_map(|range| opened.iter().filter_map(|other| range.both(other)));
                HttpDecision::Allowed { by, private: both.collect() }
            }
            HttpDecision::Denied(HttpDenied::NoEntry) => HttpDecision::Denied(HttpDenied::Unapproved(by)),
            denied @ HttpDecision::Denied(_) => denied,
        }
    }

    /// The variables, by name: those still configured, with the value that was approved.
    pub fn env(&self) -> impl Iterator<Item = (&str, &str)> {
        let kept = self.approved.env.iter().filter(|(name, _)| self.configured.env.contains_key(*name));
        kept.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The directories: those with the same two paths in both, with the lower access and quota.
    pub fn files(&self) -> Vec<FileGrant> {
        let both = self.configured.files.iter().filter_map(|entry| {
            let place = |other: &&FileGrant| other.guest == entry.guest && other.host == entry.host;
            let other = self.approved.files.iter().find(place)?;
            let (access, quota) = (entry.access.min(other.access), entry.quota.min(other.quota));
            Some(FileGrant { access, quota, ..entry.clone() })
        });
        both.collect()
    }

    /// May `access` be had to `path`, as the guest writes it? A path out of its directory by `..` is in none.
    pub fn file(&self, path: &str, access: Access) -> FileDecision {
        let leads_out = path.split('/').any(|part| part == "..");
        let Some(entry) = holding(&self.configured.files, path).filter(|_| !leads_out) else {
            return FileDecision::NoEntry;
        };
        if entry.access < access {
            return FileDecision::ReadOnly(entry.clone());
        }
        match holding(&self.files(), path) {
            Some(both) if both.guest == entry.guest && both.access >= access => FileDecision::Allowed(both.clone()),
            Some(_) | None => FileDecision::Unapproved(entry.clone()),
        }
    }

    /// The keys of buckets that both open, whatever the names are.
    pub fn kv(&self) -> Vec<KvGrant> {
        let (ours, theirs) = (&self.configured.kv, &self.approved.kv);
        let both: BTreeSet<_> =
            ours.iter().flat_map(|entry| theirs.iter().filter_map(|other| entry.both(other))).collect();
        both.into_iter().collect()
    }

    /// May `plugin` do this with the entry at `key` when `principal` calls it? In the name of the bucket, too, their names are
    /// put in.
    pub fn kv_entry(
        &self,
        principal: &Principal,
        plugin: &PluginName,
        bucket: &str,
        key: &str,
        access: Access,
    ) -> KvDecision {
        let allow = |grants: &[KvGrant], access| {
            let buckets = Buckets::of(grants, principal, plugin);
            buckets.bucket(&buckets.name(bucket)).is_some_and(|keys| keys.allow(key, access))
        };
        let by = |access| self.configured.kv.iter().find(|entry| allow(std::slice::from_ref(entry), access)).cloned();
        match (by(access), by(Access::Read)) {
            (Some(entry), _) if allow(&self.kv(), access) => KvDecision::Allowed(entry),
            (Some(entry), _) => KvDecision::Unapproved(entry),
            (None, Some(entry)) => KvDecision::ReadOnly(entry),
            (None, None) => KvDecision::NoEntry,
        }
    }

    /// The secrets that stand in both alike.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretGrant> {
        self.configured.secrets.iter().filter(|entry| self.approved.secrets.contains(entry))
    }
}
