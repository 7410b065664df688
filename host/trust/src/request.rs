//! What an operator says when approving, and what comes of it. Plain types.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use portcullis_policy::{Digest, PluginName};

use crate::{
    Approval, Candidate,
    accepted::{Accepted, AcceptedError},
    lock::Lock,
    trust::TrustError,
};

/// Fewest hex digits that name a component: nobody finds other bytes that share 48 bits with given ones by chance, and
/// a person who compares them sees what `inspect` shows.
pub const MIN_PREFIX: usize = 12;
/// Hex digits of a whole SHA-256.
const WHOLE: usize = 64;

/// The first hex digits of a component's SHA-256, as an operator has read them in `inspect`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestPrefix(String);

/// A text that is no [`DigestPrefix`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {MIN_PREFIX} to {WHOLE} hex digits of a SHA-256, found {found} characters")]
pub struct PrefixError {
    /// Its length in characters.
    pub found: usize,
}

impl DigestPrefix {
    /// Checks `text`: 12 to 64 hex digits of either case.
    ///
    /// # Errors
    /// When it is shorter, longer, or holds anything else.
    pub fn parse(text: &str) -> Result<Self, PrefixError> {
        let hex = text.chars().all(|c| c.is_ascii_hexdigit());
        if hex && (MIN_PREFIX..=WHOLE).contains(&text.len()) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(PrefixError { found: text.chars().count() })
        }
    }

    /// Whether `digest` begins with it.
    pub fn matches(&self, digest: Digest) -> bool {
        digest.to_string().starts_with(&self.0)
    }
}

impl From<Digest> for DigestPrefix {
    fn from(digest: Digest) -> Self {
        Self(digest.to_string())
    }
}

impl FromStr for DigestPrefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        Self::parse(text)
    }
}

impl fmt::Display for DigestPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the operator has read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The digest of the bytes.
    pub sha256: DigestPrefix,
    /// The digest of all that would be approved, grants and limits among it ([`Candidate::digest`]).
    pub review: Option<DigestPrefix>,
}

impl From<DigestPrefix> for Expected {
    fn from(sha256: DigestPrefix) -> Self {
        Self { sha256, review: None }
    }
}

impl Expected {
    /// Whether `candidate` is that.
    ///
    /// # Errors
    /// When it is not.
    pub fn check(&self, candidate: &Candidate) -> Result<(), TrustError> {
        let plugin = candidate.plugin.clone();
        if !self.sha256.matches(candidate.sha256) {
            return Err(TrustError::Prefix { plugin, expected: self.sha256.clone(), found: candidate.sha256 });
        }
        let Some(review) = &self.review else { return Ok(()) };
        // One without a digest is nothing that anybody has read.
        let found = candidate.digest().ok();
        if found.is_some_and(|found| review.matches(found)) {
            return Ok(());
        }
        Err(TrustError::Review { plugin, expected: review.clone(), found })
    }
}

/// An operator's approval of one plugin.
#[derive(Clone, Debug)]
pub struct ApproveRequest {
    /// What the operator has read.
    pub expected: Expected,
    /// Whether bytes may come back that were approved before the latest.
    pub allow_downgrade: bool,
    /// The operating system's name of the user.
    pub by: String,
    /// Now, as RFC 3339 in UTC.
    pub at: String,
    /// The plugins of the configuration: they get their place in the lock.
    pub known: BTreeSet<PluginName>,
}

/// What an approval has changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Approved {
    /// What was accepted before.
    pub before: Option<Approval>,
    /// What is accepted now.
    pub approval: Approval,
    /// The digest of the candidate that it was approved from ([`Candidate::digest`]).
    pub review: Digest,
    /// What went wrong after the approval stood.
    pub untidied: Option<String>,
}

/// What taking an approval back has changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Removed {
    /// What was accepted before.
    pub before: Option<Approval>,
    /// What went wrong after it was taken back.
    pub untidied: Option<String>,
}

/// What accepting the lock as it lies there would change.
#[derive(Debug)]
pub struct LockReview {
    /// SHA-256 of the lock's bytes, which accepting it has to name. Of no bytes where there is no file.
    pub digest: Digest,
    /// Blocks of plugins that this host has accepted nothing of.
    pub added: BTreeMap<PluginName, Approval>,
    /// Blocks that differ: the accepted one, and the lock's.
    pub changed: BTreeMap<PluginName, (Approval, Approval)>,
    /// Blocks that the lock has lost.
    pub removed: BTreeMap<PluginName, Approval>,
    /// Plugins whose block names bytes that were approved before the latest.
    pub downgrades: BTreeSet<PluginName>,
    /// Why nothing counts as accepted, and everything as added: accepting starts over.
    pub starts_over: Option<AcceptedError>,
}

impl LockReview {
    pub(crate) fn new(digest: Digest, lock: &Lock, accepted: &Accepted, starts_over: Option<AcceptedError>) -> Self {
        let (mut added, mut changed) = (BTreeMap::new(), BTreeMap::new());
        let mut downgrades = BTreeSet::new();
        for (plugin, block) in &lock.plugins {
            match accepted.plugins.get(plugin) {
                Some(old) if old == block && !lock.stale.contains(plugin) => continue,
                Some(old) => _ = changed.insert(plugin.clone(), (old.clone(), block.clone())),
                None => _ = added.insert(plugin.clone(), block.clone()),
            }
            if accepted.is_downgrade(plugin, block.sha256) {
                downgrades.insert(plugin.clone());
            }
        }
        let lost = accepted.plugins.iter().filter(|(plugin, _)| !lock.plugins.contains_key(*plugin));
        let removed = lost.map(|(plugin, block)| (plugin.clone(), block.clone())).collect();
        Self { digest, added, changed, removed, downgrades, starts_over }
    }

    /// A plugin that accepting the lock would take back to older bytes. Whoever starts over is shown everything as new:
    /// what counts as older then is only what an unsealed record says.
    pub fn flagged(&self) -> Option<&PluginName> {
        self.downgrades.first().filter(|_| self.starts_over.is_none())
    }

    /// Whether accepting it would change nothing.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty() && self.starts_over.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// P10.
    #[test]
    fn a_prefix_is_long_enough_and_hex() {
        let digest = Digest::of(b"");
        let check = |text: &str, expected: Option<bool>| {
            assert_eq!(DigestPrefix::parse(text).ok().map(|prefix| prefix.matches(digest)), expected, "{text}");
        };
        check("e3b0c44298fc", Some(true));
        check("E3B0C44298FC", Some(true));
        check(&digest.to_string(), Some(true));
        check("e3b0c44298fd", Some(false));
        check("3b0c44298fc1c", Some(false));
        check("e3b0c44298f", None);
        check("", None);
        check(&format!("{digest}0"), None);
        check("e3b0c44298fg", None);
        check("+e3b0c44298fc", None);
        check(" e3b0c44298fc", None);
        check("é3b0c44298fc", None);
    }
}
