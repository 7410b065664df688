//! What this host has accepted of the lock, sealed with its key. What cannot be verified is never taken for empty.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use hmac::{Hmac, KeyInit, Mac};
use portcullis_policy::{Digest, PluginName, hex};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::{
    Approval,
    file::{self, FileError, Phase},
    lock::MAX_LOCK,
    show::escaped,
};

/// Largest record, in bytes: the blocks of the largest lock twice (old and new, while it is written), as JSON in JSON.
const MAX_RECORD: u64 = 4 * MAX_LOCK;
/// Digests that are remembered for each plugin, to know an older one again. A plugin has a few versions a month.
const MAX_HISTORY: usize = 32;
/// Generations before the current one whose bytes stay in the store.
const KEPT_GENERATIONS: usize = 3;
/// The version of the layout that this Portcullis reads and writes. There is no older one to migrate from.
const VERSION: u64 = 1;
/// Sets the seal apart from others under the same key.
const DOMAIN: &[u8] = b"portcullis accepted v1\0";

/// What an operator of this host has accepted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Accepted {
    /// The blocks, whole.
    pub(crate) plugins: BTreeMap<PluginName, Approval>,
    /// What is being written into the lock: a block, or that there is none. While it stands here, the lock counts as
    /// accepted before and after.
    pub(crate) next: BTreeMap<PluginName, Option<Approval>>,
    /// Digests of components that were approved, the latest last, also of plugins that were removed.
    pub(crate) history: BTreeMap<PluginName, Vec<Digest>>,
    /// The definitions that the generations of the history have whose bytes are kept, by the digest of the bytes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) definitions: BTreeMap<PluginName, BTreeMap<Digest, BTreeSet<Digest>>>,
    /// Switched off by an operator, whatever is approved.
    pub(crate) disabled: BTreeSet<PluginName>,
}

/// The record cannot be used, and with it no block of the lock.
#[derive(Debug, thiserror::Error)]
pub enum AcceptedError {
    /// It could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is cut short, or not as this host writes it.
    #[error("the record of what this host has accepted is damaged: {message}")]
    Damaged {
        /// What was expected.
        message: String,
    },
    /// It was changed, or this host's key was.
    #[error(
        "the record of what this host has accepted was not sealed with this host's key: one of them was lost or changed"
    )]
    Seal,
    /// A newer Portcullis wrote it.
    #[error("the record of what this host has accepted has version {found}, this Portcullis knows {VERSION}")]
    Newer {
        /// Its version.
        found: u64,
    },
}

impl AcceptedError {
    /// The command that mends it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Newer { .. } => Some("run the Portcullis that wrote it, or a newer one".to_owned()),
            Self::File(error @ (FileError::Io { .. } | FileError::Busy { .. })) => error.hint(),
            Self::File(FileError::NotRegular { .. } | FileError::TooLarge { .. })
            | Self::Damaged { .. }
            | Self::Seal => Some("portcullis approve --lock".to_owned()),
        }
    }

    /// Whether accepting the lock anew mends it: not where a newer Portcullis owns it, or the disk is at fault.
    pub(crate) fn starts_over(&self) -> bool {
        match self {
            Self::Newer { .. } | Self::File(FileError::Io { .. } | FileError::Busy { .. }) => false,
            Self::File(FileError::NotRegular { .. } | FileError::TooLarge { .. })
            | Self::Damaged { .. }
            | Self::Seal => true,
        }
    }
}

/// The file: a body as text, and the seal over it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    version: u64,
    mac: String,
    body: String,
}

#[derive(Deserialize)]
struct Versioned {
    version: u64,
}

impl Accepted {
    /// Reads the record from the bytes of its file.
    ///
    /// # Errors
    /// When it is damaged, newer, or its seal does not fit `key`.
    pub(crate) fn read(bytes: &[u8], key: &[u8; 32]) -> Result<Self, AcceptedError> {
        let damaged = |error: serde_json::Error| {
            // The message may quote the file.
            AcceptedError::Damaged { message: escaped(&error.to_string()).to_string() }
        };
        let Versioned { version } = serde_json::from_slice(bytes).map_err(damaged)?;
        match version {
            VERSION => {}
            0 => return Err(AcceptedError::Damaged { message: "there is no version 0".to_owned() }),
            found => return Err(AcceptedError::Newer { found }),
        }
        let Sealed { mac, body, .. } = serde_json::from_slice(bytes).map_err(damaged)?;
        // A digest is 32 bytes in hex, and so is the seal.
        let mac: Digest = mac.parse().map_err(|_| AcceptedError::Seal)?;
        seal(key, &body).verify_slice(mac.as_bytes()).map_err(|_| AcceptedError::Seal)?;
        serde_json::from_str(&body).map_err(damaged)
    }

    /// What may be taken over from a record whose seal does not fit: what can only forbid.
    pub(crate) fn salvage(bytes: &[u8]) -> Self {
        let sealed: Option<Sealed> = serde_json::from_slice(bytes).ok();
        let body: Option<Self> = sealed.and_then(|sealed| serde_json::from_str(&sealed.body).ok());
        let Self { mut history, disabled, .. } = body.unwrap_or_default();
        // Which of them came last would allow something, and is not known.
        history.values_mut().for_each(|digests| digests.push(no_component()));
        Self { history, disabled, ..Self::default() }
    }

    /// Writes the record to `path`. The caller holds the lock over it.
    ///
    /// # Errors
    /// When it is too large to be read again, or cannot be written.
    pub(crate) fn write(&self, path: &Path, key: &[u8; 32], at: &dyn Fn(Phase)) -> Result<(), AcceptedError> {
        let unwritable = |error: serde_json::Error| AcceptedError::Damaged { message: error.to_string() };
        let body = serde_json::to_string(self).map_err(unwritable)?;
        let mac = hex(&seal(key, &body).finalize().into_bytes());
        let mut text = serde_json::to_vec(&Sealed { version: VERSION, mac, body }).map_err(unwritable)?;
        text.push(b'\n');
        if text.len() as u64 > MAX_RECORD {
            return Err(FileError::TooLarge { path: path.to_owned(), max: MAX_RECORD }.into());
        }
        Ok(file::write(path, &text, 0o600, at)?)
    }

    /// Takes over or drops what a write left unfinished: `in_lock` gives a plugin's block of the lock as it is now.
    pub(crate) fn settle<'a>(&mut self, in_lock: impl Fn(&PluginName) -> Option<&'a Approval>) {
        for (plugin, next) in std::mem::take(&mut self.next) {
            if in_lock(&plugin) == next.as_ref() {
                self.accept(plugin, next);
            }
        }
    }

    /// Puts `block` in the place of what was accepted, and remembers its digest as the latest.
    pub(crate) fn accept(&mut self, plugin: PluginName, block: Option<Approval>) {
        let Some(block) = block else {
            self.plugins.remove(&plugin);
            return;
        };
        let history = self.history.entry(plugin.clone()).or_default();
        history.retain(|digest| *digest != block.sha256);
        history.push(block.sha256);
        history.drain(..history.len().saturating_sub(MAX_HISTORY));
        let kept = history.get(history.len().saturating_sub(KEPT_GENERATIONS + 1)..).unwrap_or_default();
        let definitions = self.definitions.entry(plugin.clone()).or_default();
        definitions.insert(block.sha256, block.tools.values().map(|tool| tool.sha256).collect());
        definitions.retain(|digest, _| kept.contains(digest));
        self.plugins.insert(plugin, block);
    }

    /// Whether `digest` was approved for `plugin` before its latest one.
    pub(crate) fn is_downgrade(&self, plugin: &PluginName, digest: Digest) -> bool {
        let history = self.history.get(plugin).map(Vec::as_slice).unwrap_or_default();
        history.contains(&digest) && history.last() != Some(&digest)
    }

    /// Components and definitions that the store has to keep.
    pub(crate) fn needed(&self) -> (BTreeSet<Digest>, BTreeSet<Digest>) {
        let blocks = || self.plugins.values().chain(self.next.values().flatten());
        let components = blocks().map(|block| block.sha256);
        let before = self.history.values().flat_map(|history| history.iter().rev().take(KEPT_GENERATIONS + 1).copied());
        let definitions = blocks().flat_map(|block| block.tools.values().map(|tool| tool.sha256));
        let earlier = self.definitions.values().flat_map(|of| of.values().flatten().copied());
        (components.chain(before).collect(), definitions.chain(earlier).collect())
    }
}

/// The digest of the empty file, which is no component.
fn no_component() -> Digest {
    Digest::of(b"")
}

/// Reads at most what a record may have.
pub(crate) fn bytes(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    file::read(path, MAX_RECORD)
}

fn seal(key: &[u8; 32], body: &str) -> Hmac<Sha256> {
    // HMAC pads a shorter key with zeros to a block of the hash (RFC 2104, section 2).
    let mut block = [0; 64];
    block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    let mut mac = Hmac::new(&block.into());
    mac.update(DOMAIN);
    mac.update(body.as_bytes());
    mac
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::samples::{any_grants, any_limits, approval, name};

    const KEY: [u8; 32] = [7; 32];

    fn record() -> (tempfile::TempDir, std::path::PathBuf, Accepted) {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("accepted.json");
        let mut accepted = Accepted::default();
        accepted.accept(name("alpha"), Some(approval("alpha")));
        accepted.next.insert(name("beta"), Some(approval("beta")));
        accepted.next.insert(name("alpha"), None);
        accepted.disabled.insert(name("gamma"));
        accepted.write(&path, &KEY, &|_| ()).expect("written");
        (dir, path, accepted)
    }

    #[test]
    fn what_is_written_reads_back_under_the_same_key_alone() {
        let (_dir, path, accepted) = record();
        let text = bytes(&path).expect("readable").expect("there");
        assert_eq!(Accepted::read(&text, &KEY).expect("verified"), accepted);
        assert!(matches!(Accepted::read(&text, &[8; 32]), Err(AcceptedError::Seal)));
    }

    /// Every byte counts: flipped or cut off anywhere, the record is refused, and never empty.
    #[test]
    fn nothing_unverified_is_taken() {
        let (_dir, path, _) = record();
        let good = bytes(&path).expect("readable").expect("there");
        for at in 0..good.len() - 1 {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(Accepted::read(&bad, &KEY).is_err(), "byte {at}");
            assert!(Accepted::read(&good[..at], &KEY).is_err(), "length {at}");
        }
        let text = String::from_utf8(good).expect("text");
        let check = |text: String, expected: &str, hint: &str| {
            let error = Accepted::read(text.as_bytes(), &KEY).expect_err(expected);
            assert!(error.to_string().contains(expected), "{error}");
            assert!(error.hint().expect("a hint").contains(hint), "{error}");
        };
        check(String::new(), "damaged", "portcullis approve --lock");
        check(text.replace("{\"version\":1", "{\"version\":0"), "no version 0", "portcullis approve --lock");
        check(text.replace("{\"version\":1", "{\"version\":2"), "version 2", "a newer one");
        check(text.replace("gamma", "delta"), "not sealed with this host's key", "portcullis approve --lock");
    }

    #[test]
    fn what_is_salvaged_can_only_forbid() {
        let (_dir, path, accepted) = record();
        let salvaged = Accepted::salvage(&bytes(&path).expect("readable").expect("there"));
        assert!(salvaged.plugins.is_empty() && salvaged.next.is_empty());
        assert_eq!(salvaged.disabled, accepted.disabled);
        // Also what stands there as the latest, since anybody could have put it there.
        let latest = accepted.history[&name("alpha")].last().copied().expect("a latest");
        assert!(!accepted.is_downgrade(&name("alpha"), latest));
        assert!(salvaged.is_downgrade(&name("alpha"), latest));
        assert_eq!(Accepted::salvage(b"{"), Accepted::default());
    }

    #[test]
    fn what_a_crash_left_is_settled_by_what_the_lock_holds() {
        let block = |plugin: &str| Some(approval(plugin));
        let check = |in_lock: Option<Approval>, next: Option<Approval>, expected: Option<Approval>| {
            let mut accepted = Accepted::default();
            let old = Approval { size: 1, ..approval("alpha") };
            accepted.accept(name("alpha"), Some(old));
            accepted.next.insert(name("alpha"), next);
            accepted.settle(|_| in_lock.as_ref());
            assert!(accepted.next.is_empty());
            assert_eq!(accepted.plugins.get(&name("alpha")).cloned(), expected);
        };
        let old = Some(Approval { size: 1, ..approval("alpha") });
        check(old.clone(), block("alpha"), old.clone());
        check(block("alpha"), block("alpha"), block("alpha"));
        check(Some(Approval { size: 2, ..approval("alpha") }), block("alpha"), old.clone());
        check(None, block("alpha"), old.clone());
        check(None, None, None);
        check(old.clone(), None, old);
    }

    /// P12.
    #[test]
    fn an_older_digest_is_known_again() {
        let mut accepted = Accepted::default();
        let alpha = name("alpha");
        let digest = |version: u64| Digest::of(&version.to_le_bytes());
        let mut accept = |version: u64| {
            accepted.accept(alpha.clone(), Some(Approval { sha256: digest(version), ..approval("alpha") }));
            accepted.clone()
        };
        accept(1);
        let two = accept(2);
        assert!(two.is_downgrade(&alpha, digest(1)));
        assert!(!two.is_downgrade(&alpha, digest(2)), "the same again");
        assert!(!two.is_downgrade(&alpha, digest(3)), "a new one");
        let back = accept(1);
        assert!(back.is_downgrade(&alpha, digest(2)) && !back.is_downgrade(&alpha, digest(1)));
        let mut many = accept(100);
        for version in 101..200 {
            many = accept(version);
        }
        assert_eq!(many.history.get(&alpha).expect("a history").len(), MAX_HISTORY);
        assert_eq!(many.needed().0.len(), KEPT_GENERATIONS + 1);
        many.accept(alpha.clone(), None);
        assert!(many.is_downgrade(&alpha, digest(198)), "also after it was removed");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_grant_and_limit_reads_back(grants in any_grants(), limits in any_limits(), function in any::<String>()) {
            let dir = tempfile::tempdir().expect("a folder");
            let path = dir.path().join("accepted.json");
            let mut block = Approval { grants, limits: limits.clone(), ..approval("alpha") };
            block.tool_limits.insert(function, limits);
            let mut accepted = Accepted::default();
            accepted.accept(name("alpha"), Some(block.clone()));
            accepted.next.insert(name("beta"), Some(block));
            accepted.write(&path, &KEY, &|_| ()).expect("written");
            let text = bytes(&path).expect("readable").expect("there");
            prop_assert_eq!(Accepted::read(&text, &KEY).expect("verified"), accepted);
        }
    }
}
