//! The writes: approve, remove, disable, accept the lock. One at a time for a state directory and for a lock.
//!
//! Component and definitions go into the store, then the new block beside the old one into the record, then the lock into
//! its place, then the record without the old one. A crash between any two leaves the old approval or the new one.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use portcullis_policy::{Digest, PluginName};

use super::{Target, Trust, TrustError, reviewed};
use crate::{
    Approval, ApprovedTool, Candidate,
    accepted::{self, Accepted},
    file::{self, Exclusive},
    lock::{Lock, LockError, MAX_LOCK, MAX_PLUGINS},
    request::{ApproveRequest, Approved, LockReview},
};

impl Trust {
    /// Approves `candidate`: keeps its bytes and definitions, and writes its block into the lock and the record. What
    /// the lock holds of other plugins stays. Enables a plugin that was disabled.
    ///
    /// # Errors
    /// When it is not what the operator has read or is older than what was approved, when lock or record cannot be used,
    /// and when something cannot be written. Nothing is approved then, unless it says so when it is read again: a write
    /// that failed after the lock was in its place has happened.
    pub fn approve(
        &self,
        candidate: &Candidate,
        bytes: &[u8],
        request: ApproveRequest,
    ) -> Result<Approved, TrustError> {
        let ApproveRequest { expected, allow_downgrade, by, at, known } = request;
        let plugin = candidate.plugin.clone();
        if !expected.matches(candidate.sha256) {
            return Err(TrustError::Prefix { plugin, expected, found: candidate.sha256 });
        }
        let found = Digest::of(bytes);
        if found != candidate.sha256 || bytes.len() as u64 != candidate.size {
            return Err(TrustError::Bytes { plugin, expected: candidate.sha256, found });
        }
        let write = Write::begin(self)?;
        if write.accepted.is_downgrade(&plugin, found) && !allow_downgrade {
            return Err(TrustError::Downgrade { plugin, digest: found, lock: None });
        }
        let unkept = |source| TrustError::Component { plugin: plugin.clone(), source };
        self.components.put_observed(bytes, &self.at(Target::Component)).map_err(unkept)?;
        let mut tools = BTreeMap::new();
        for (name, definition) in &candidate.tools {
            let kept = self.components.put_definition_observed(&definition.json, &self.at(Target::Definition));
            let sha256 = kept.map_err(unkept)?;
            tools.insert(name.clone(), ApprovedTool { function: definition.function.clone(), sha256 });
        }
        let approval = Approval {
            source: candidate.source.clone(),
            sha256: candidate.sha256,
            size: candidate.size,
            mapping: candidate.mapping,
            approved_by: by,
            approved_at: at,
            imports: candidate.imports.clone(),
            tools,
            grants: candidate.grants.clone(),
            limits: candidate.limits.clone(),
            tool_limits: candidate.tool_limits.clone(),
        };
        let approval = approval.as_written(&plugin)?;
        let before = write.accepted.plugins.get(&plugin).cloned();
        write.finish(&plugin, Some(approval.clone()), &known)?;
        Ok(Approved { before, approval })
    }

    /// Removes a plugin's block from the lock and the record, and returns what was accepted. That older bytes of it were
    /// approved is remembered.
    ///
    /// # Errors
    /// When lock or record cannot be used or written.
    pub fn remove(&self, plugin: &PluginName, known: &BTreeSet<PluginName>) -> Result<Option<Approval>, TrustError> {
        let write = Write::begin(self)?;
        let before = write.accepted.plugins.get(plugin).cloned();
        write.finish(plugin, None, known)?;
        Ok(before)
    }

    /// Switches a plugin off until it is approved again, whatever the lock says or can be read. Returns whether it was on.
    ///
    /// # Errors
    /// When the record cannot be used (nothing is served then) or written.
    pub fn disable(&self, plugin: &PluginName) -> Result<bool, TrustError> {
        let _alone = Exclusive::file(&self.exclusive)?;
        let mut accepted = self.accepted(accepted::bytes(&self.record))?;
        let was_on = accepted.disabled.insert(plugin.clone());
        if was_on {
            accepted.write(&self.record, &self.key, &self.at(Target::Accepted))?;
        }
        Ok(was_on)
    }

    /// Accepts the lock whose bytes have the digest `expected`, whole, and returns what that has changed. Plugins that
    /// are disabled stay so. After this host's key or its record was lost, this starts over.
    ///
    /// # Errors
    /// When the lock is another one, cannot be used, or goes back to older bytes without `allow_downgrade`; when the
    /// record cannot be used in a way that this does not mend, or not be written.
    pub fn accept_lock(&self, expected: Digest, allow_downgrade: bool) -> Result<LockReview, TrustError> {
        let _alone = self.alone(&self.resolved()?)?;
        let (lock, digest) = reviewed(self.lock_bytes()?)?;
        if digest != expected {
            return Err(TrustError::LockChanged { expected, found: digest });
        }
        let record = accepted::bytes(&self.record);
        let (mut accepted, starts_over) = self.or_salvaged(self.accepted(record), &lock)?;
        let review = LockReview::new(digest, &lock, &accepted, starts_over);
        if let Some(plugin) = review.downgrades.first().filter(|_| !allow_downgrade) {
            let digest = lock.plugins.get(plugin).map_or(digest, |block| block.sha256);
            return Err(TrustError::Downgrade { plugin: plugin.clone(), digest, lock: Some(expected) });
        }
        for plugin in review.removed.keys() {
            accepted.accept(plugin.clone(), None);
        }
        for plugin in review.added.keys().chain(review.changed.keys()) {
            accepted.accept(plugin.clone(), lock.plugins.get(plugin).cloned());
        }
        accepted.write(&self.record, &self.key, &self.at(Target::Accepted))?;
        self.tidy(&accepted, &lock);
        Ok(review)
    }

    /// Removes what no approval needs. What was approved stands, whether that succeeds or not: a later one tries again.
    fn tidy(&self, accepted: &Accepted, lock: &Lock) {
        let (mut components, mut definitions) = accepted.needed();
        for block in lock.plugins.values() {
            components.insert(block.sha256);
            definitions.extend(block.tools.values().map(|tool| tool.sha256));
        }
        _ = self.components.forget(&components, &definitions);
    }
}

/// A change of one plugin's block, from reading to the last write, with every other writer kept away.
struct Write<'a> {
    trust: &'a Trust,
    path: PathBuf,
    lock: Lock,
    accepted: Accepted,
    _alone: (Exclusive, Option<Exclusive>),
}

impl<'a> Write<'a> {
    fn begin(trust: &'a Trust) -> Result<Self, TrustError> {
        let path = trust.resolved()?;
        let alone = trust.alone(&path)?;
        let bytes = file::read(&path, MAX_LOCK)?;
        let lock = bytes.as_deref().map(Lock::read).transpose()?.unwrap_or_default();
        let mut accepted = trust.accepted(accepted::bytes(&trust.record))?;
        accepted.settle(|plugin| lock.plugins.get(plugin));
        Ok(Self { trust, path, lock, accepted, _alone: alone })
    }

    fn finish(
        mut self,
        plugin: &PluginName,
        block: Option<Approval>,
        known: &BTreeSet<PluginName>,
    ) -> Result<(), TrustError> {
        let Self { trust, path, lock, accepted, .. } = &mut self;
        match block.clone() {
            Some(block) => _ = lock.plugins.insert(plugin.clone(), block),
            None => _ = lock.plugins.remove(plugin),
        }
        if lock.plugins.len() > MAX_PLUGINS {
            return Err(LockError::TooMany { found: lock.plugins.len() }.into());
        }
        let text = lock.render(known)?;
        if Lock::parse(&text)? != *lock {
            let message = "it would read differently".to_owned();
            return Err(LockError::Unwritable { plugin: plugin.clone(), message }.into());
        }
        accepted.next.insert(plugin.clone(), block.clone());
        accepted.write(&trust.record, &trust.key, &trust.at(Target::Journal))?;
        file::write(path, text.as_bytes(), 0o644, &trust.at(Target::Lock))?;
        accepted.next.clear();
        accepted.accept(plugin.clone(), block);
        accepted.disabled.remove(plugin);
        accepted.write(&trust.record, &trust.key, &trust.at(Target::Accepted))?;
        trust.tidy(accepted, lock);
        Ok(())
    }
}
