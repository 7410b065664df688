//! The writes: approve, remove, disable, accept the lock. One at a time for a state directory and for a lock.
//!
//! Component and definitions go into the store, then the new block beside the old one into the record, then the lock into
//! its place, then the record without the old one. A crash between any two leaves the old approval or the new one.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error as _,
    fs,
    path::{Path, PathBuf},
};

use portcullis_policy::{Digest, PluginName};

use super::{Target, Trust, TrustError, reviewed};
use crate::{
    Approval, ApprovedTool, Candidate, Judgement, NoDigest,
    accepted::{self, Accepted},
    file::{self, Exclusive},
    lock::{Lock, LockError, MAX_LOCK, MAX_PLUGINS},
    request::{ApproveRequest, Approved, LockReview, Removed},
};

impl Trust {
    /// Approves `candidate`: keeps its bytes and definitions, and writes its block into the lock and the record. What
    /// the lock holds of other plugins stays. Enables a plugin that was disabled.
    ///
    /// # Errors
    /// When it is not what the operator has read or is older than what was approved, when lock or record cannot be used,
    /// and when something cannot be written. Nothing is approved then: where it stands all the same, it succeeded.
    pub fn approve(
        &self,
        candidate: &Candidate,
        bytes: &[u8],
        request: ApproveRequest,
    ) -> Result<Approved, TrustError> {
        let ApproveRequest { expected, allow_downgrade, by, at, known } = request;
        let plugin = candidate.plugin.clone();
        expected.check(candidate)?;
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
        let unwritable = |error: NoDigest| LockError::Unwritable { plugin: plugin.clone(), message: error.to_string() };
        let review = candidate.digest().map_err(unwritable)?;
        let approval = candidate.approved(tools, by, at);
        let approval = approval.as_written(&plugin)?;
        let before = write.accepted.plugins.get(&plugin).cloned();
        let untidied = write.finish(&plugin, Some(approval.clone()), &known)?;
        Ok(Approved { before, approval, review, untidied })
    }

    /// Removes a plugin's block from the lock and the record, and returns what was accepted. That older bytes of it were
    /// approved is remembered, and so is that it is disabled.
    ///
    /// # Errors
    /// When lock or record cannot be used or written.
    pub fn remove(&self, plugin: &PluginName, known: &BTreeSet<PluginName>) -> Result<Removed, TrustError> {
        let write = Write::begin(self)?;
        let before = write.accepted.plugins.get(plugin).cloned();
        let untidied = write.finish(plugin, None, known)?;
        Ok(Removed { before, untidied })
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
        if let Some(plugin) = review.flagged().filter(|_| !allow_downgrade) {
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
        if !lock.stale.is_empty() {
            // With the digests of what was accepted.
            let text = lock.render(&lock.plugins.keys().cloned().collect())?;
            file::write(&self.resolved()?, text.as_bytes(), 0o644, &self.at(Target::Lock))?;
        }
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
    /// The bytes of the lock, if there was one.
    before: Option<Vec<u8>>,
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
        Ok(Self { trust, path, lock, accepted, before: bytes, _alone: alone })
    }

    /// Writes. What went wrong once the change stood is returned beside, as the reason why it is not tidied up.
    fn finish(
        mut self,
        plugin: &PluginName,
        block: Option<Approval>,
        known: &BTreeSet<PluginName>,
    ) -> Result<Option<String>, TrustError> {
        let Self { trust, path, lock, accepted, before, .. } = &mut self;
        lock.stale.remove(plugin);
        match block.clone() {
            Some(block) => _ = lock.plugins.insert(plugin.clone(), block),
            None => _ = lock.plugins.remove(plugin),
        }
        if lock.plugins.len() > MAX_PLUGINS {
            return Err(LockError::TooMany { found: lock.plugins.len() }.into());
        }
        let text = lock.render(known)?;
        if Lock::parse(&text)?.plugins != lock.plugins {
            let message = "it would read differently".to_owned();
            return Err(LockError::Unwritable { plugin: plugin.clone(), message }.into());
        }
        accepted.next.insert(plugin.clone(), block.clone());
        accepted.write(&trust.record, &trust.key, &trust.at(Target::Journal))?;
        let written = file::write(path, text.as_bytes(), 0o644, &trust.at(Target::Lock)).map_err(TrustError::from);
        let written = written.and_then(|()| {
            accepted.next.clear();
            accepted.accept(plugin.clone(), block.clone());
            if block.is_some() {
                accepted.disabled.remove(plugin);
            }
            Ok(accepted.write(&trust.record, &trust.key, &trust.at(Target::Accepted))?)
        });
        match written {
            Ok(()) => {
                trust.tidy(accepted, lock);
                Ok(None)
            }
            // The journal counts: what was asked for may stand.
            Err(error) if trust.stands(plugin, block.as_ref()) => Ok(Some(told(&error))),
            Err(error) => {
                put_back(path, text.as_bytes(), before.as_deref());
                Err(error)
            }
        }
    }
}

impl Trust {
    /// Whether exactly `block` of `plugin` may run now, or none.
    fn stands(&self, plugin: &PluginName, block: Option<&Approval>) -> bool {
        match (self.reload().of(plugin), block) {
            (Judgement::Approved(stands), Some(block)) => *stands == *block,
            (Judgement::Unapproved | Judgement::Disabled(None), None) => true,
            (Judgement::Approved(_) | Judgement::Unapproved | Judgement::Disabled(_), _)
            | (Judgement::LockDiffers { .. }, _) => false,
        }
    }
}

/// Gives the lock its old content, where it has the new one: what is refused should not stand there. It may fail as the
/// write before it did; then the lock differs from the record, and nothing of it runs.
fn put_back(path: &Path, new: &[u8], old: Option<&[u8]>) {
    if !matches!(file::read(path, MAX_LOCK), Ok(Some(there)) if there == new) {
        return;
    }
    match old {
        Some(old) => _ = file::write(path, old, 0o644, &|_| ()),
        None => _ = fs::remove_file(path),
    }
}

/// An error with its causes in one line.
fn told(error: &TrustError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
