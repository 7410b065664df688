//! What was approved: the lock, the record of what this host has accepted, and the store together, as they are read.
//!
//! Decides nothing about what is in a plugin.

use std::{
    fmt, fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use portcullis_policy::{Digest, PluginName};

use crate::{
    accepted::{self, Accepted, AcceptedError},
    components::{ComponentError, Components},
    file::{self, Exclusive, FileError, Phase, failed},
    lock::{Lock, LockError, MAX_LOCK},
    request::{DigestPrefix, LockReview},
    standing::Standing,
};

#[cfg(test)]
mod crash;
#[cfg(test)]
mod held;
#[cfg(test)]
mod tests;
mod write;

/// Attempts to read lock and record from between two writes before waiting for the writer. Each takes less than a write.
const ATTEMPTS: usize = 16;

/// Where everything lies.
pub struct TrustOptions {
    /// The state directory, private to its owner.
    pub state: PathBuf,
    /// The lock, beside the configuration.
    pub lock: PathBuf,
    /// This host's key for the record.
    pub key: [u8; 32],
    /// Called at each step of a write: tests end the process there.
    pub step: Option<fn(Step)>,
}

/// A point in a write at which the process may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is being written.
    pub target: Target,
    /// How far it has come.
    pub phase: Phase,
}

/// What a write writes, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The component's bytes.
    Component,
    /// A definition.
    Definition,
    /// The record, with the old block and the new one.
    Journal,
    /// The lock.
    Lock,
    /// The record, with the new block alone.
    Accepted,
}

/// The customs house of one host.
pub struct Trust {
    lock: PathBuf,
    record: PathBuf,
    exclusive: PathBuf,
    key: [u8; 32],
    components: Components,
    step: Option<fn(Step)>,
}

/// Nothing was approved, removed, disabled or accepted.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The plugin is not what the operator has read.
    #[error("the digest of `{plugin}` is not the one given: expected {expected}, found {found}")]
    Prefix {
        /// The plugin.
        plugin: PluginName,
        /// What was given.
        expected: DigestPrefix,
        /// What the plugin has.
        found: Digest,
    },
    /// The plugin as a whole is not what the operator has read: its definitions, imports, grants or limits are others.
    #[error(
        "`{plugin}` is not what the digest of the review was of: expected {expected}, found {}",
        found.map_or_else(|| "none".to_owned(), |found| found.to_string())
    )]
    Review {
        /// The plugin.
        plugin: PluginName,
        /// What was given.
        expected: DigestPrefix,
        /// What the plugin has.
        found: Option<Digest>,
    },
    /// The bytes are not those that were described.
    #[error("the bytes of `{plugin}` changed meanwhile: expected {expected}, found {found}")]
    Bytes {
        /// The plugin.
        plugin: PluginName,
        /// What was described.
        expected: Digest,
        /// What was given.
        found: Digest,
    },
    /// The bytes were approved before the latest ones.
    #[error("a newer component of `{plugin}` was approved after this one: {digest}")]
    Downgrade {
        /// The plugin, the first of several.
        plugin: PluginName,
        /// The older component.
        digest: Digest,
        /// Whether the whole lock was to be accepted, of these bytes.
        lock: Option<Digest>,
    },
    /// The lock is not the one that the operator has reviewed.
    #[error("the lock changed meanwhile: expected {expected}, found {found}")]
    LockChanged {
        /// What was reviewed.
        expected: Digest,
        /// What lies there.
        found: Digest,
    },
    /// The lock cannot be used, or not hold the approval.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The record cannot be used.
    #[error(transparent)]
    Accepted(#[from] AcceptedError),
    /// The component or a definition could not be kept.
    #[error("the component of `{plugin}` could not be kept")]
    Component {
        /// Whose.
        plugin: PluginName,
        /// Why.
        source: ComponentError,
    },
    /// Another file could not be used.
    #[error(transparent)]
    File(#[from] FileError),
}

impl TrustError {
    /// The command that mends it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Prefix { plugin, .. } | Self::Review { plugin, .. } | Self::Bytes { plugin, .. } => {
                Some(format!("portcullis inspect {plugin}"))
            }
            Self::Downgrade { plugin, digest, lock: None } => {
                Some(format!("portcullis approve {plugin} --sha256 {} --allow-downgrade", digest.short()))
            }
            Self::Downgrade { lock: Some(lock), .. } => {
                Some(format!("portcullis approve --lock --sha256 {lock} --allow-downgrade"))
            }
            Self::LockChanged { .. } => Some("portcullis approve --lock".to_owned()),
            Self::Lock(error) => error.hint(),
            Self::Accepted(error) => error.hint(),
            Self::Component { plugin, source } => source.hint(plugin),
            Self::File(error) => error.hint(),
        }
    }
}

impl Trust {
    /// Makes the folders where they are missing. Reads nothing.
    ///
    /// # Errors
    /// When they cannot be made.
    pub fn open(options: TrustOptions) -> Result<Self, FileError> {
        let TrustOptions { state, lock, key, step } = options;
        let components = Components::open(&state)?;
        Ok(Self {
            lock,
            record: state.join("accepted.json"),
            exclusive: state.join("trust.lock"),
            key,
            components,
            step,
        })
    }

    /// The store.
    pub fn components(&self) -> &Components {
        &self.components
    }

    /// Reads lock and record as they are now. Writes nothing, and waits for a writer only if one never pauses.
    pub fn reload(&self) -> Arc<Standing> {
        let (lock, record) = self.both();
        Arc::new(Standing::new(
            lock.and_then(|bytes| bytes.as_deref().map(Lock::read).transpose()),
            record,
            self.loose(),
        ))
    }

    /// What accepting the lock as it lies there would change.
    ///
    /// # Errors
    /// When the lock cannot be used, or the record in a way that accepting anew does not mend.
    pub fn lock_changes(&self) -> Result<LockReview, TrustError> {
        let (lock, record) = self.both();
        let (lock, digest) = reviewed(lock?)?;
        let (accepted, starts_over) = self.or_salvaged(record, &lock)?;
        Ok(LockReview::new(digest, &lock, &accepted, starts_over))
    }

    /// Lock and record as they stood at one moment between two writes.
    fn both(&self) -> Both {
        self.both_observed(&|| ())
    }

    /// `between` is called between the two reads: tests write there.
    fn both_observed(&self, between: &dyn Fn()) -> Both {
        let mut before = accepted::bytes(&self.record);
        for _ in 0..ATTEMPTS {
            let lock = self.lock_bytes();
            between();
            let after = accepted::bytes(&self.record);
            let same = match (&before, &after) {
                (Ok(before), Ok(after)) => before == after,
                (Err(_), Err(_)) => true,
                (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
            };
            if same {
                return (lock, self.accepted(after));
            }
            before = after;
        }
        // Somebody writes without a pause: wait. One that hangs has already lost, and what is read is judged as it is.
        let _alone = Exclusive::file(&self.exclusive);
        (self.lock_bytes(), self.accepted(accepted::bytes(&self.record)))
    }

    fn accepted(&self, bytes: Result<Option<Vec<u8>>, FileError>) -> Result<Accepted, AcceptedError> {
        bytes?.map_or_else(|| Ok(Accepted::default()), |bytes| Accepted::read(&bytes, &self.key))
    }

    /// The record, settled; or what of it may be taken over, and why.
    fn or_salvaged(
        &self,
        record: Result<Accepted, AcceptedError>,
        lock: &Lock,
    ) -> Result<(Accepted, Option<AcceptedError>), AcceptedError> {
        match record {
            Ok(mut accepted) => {
                accepted.settle(|plugin| lock.plugins.get(plugin));
                Ok((accepted, None))
            }
            Err(error) if error.starts_over() => {
                let left = accepted::bytes(&self.record).ok().flatten();
                Ok((left.map(|bytes| Accepted::salvage(&bytes)).unwrap_or_default(), Some(error)))
            }
            Err(error) => Err(error),
        }
    }

    /// The lock, through symbolic links: a rename must replace the file and not the link.
    fn resolved(&self) -> Result<PathBuf, FileError> {
        let missing = match fs::canonicalize(&self.lock) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.lock.clone(),
            found => return found.map_err(failed(&self.lock)),
        };
        let folder = |path: &Path| match path.parent() {
            Some(folder) if folder != Path::new("") => folder.to_owned(),
            Some(_) | None => PathBuf::from("."),
        };
        // A link to a file that is not there yet.
        let path = fs::read_link(&missing).map_or(missing.clone(), |to| folder(&missing).join(to));
        let name = path.file_name().unwrap_or_default();
        Ok(fs::canonicalize(folder(&path)).map_err(failed(&path))?.join(name))
    }

    fn lock_bytes(&self) -> Result<Option<Vec<u8>>, LockError> {
        Ok(file::read(&self.resolved()?, MAX_LOCK)?)
    }

    /// Keeps every other writer away from the record, and hosts with state directories of their own from the lock at
    /// `lock` that they share: those for a moment only, since whoever may read a folder can lock it.
    fn alone(&self, lock: &Path) -> Result<(Exclusive, Option<Exclusive>), FileError> {
        let state = Exclusive::file(&self.exclusive)?;
        Ok((state, Exclusive::folder_for_a_moment(lock.parent().unwrap_or(lock))))
    }

    fn at(&self, target: Target) -> impl Fn(Phase) + use<> {
        let step = self.step;
        move |phase| {
            if let Some(step) = step {
                step(Step { target, phase });
            }
        }
    }

    fn loose(&self) -> Vec<PathBuf> {
        let Ok(lock) = self.resolved() else { return Vec::new() };
        let folder = lock.parent().map(Path::to_owned);
        let paths = [Some(lock), folder].into_iter().flatten();
        // In a folder with the sticky bit, such as `/tmp`, others replace only what is theirs.
        let loose = |mode: u32| mode & 0o022 != 0 && mode & 0o1000 == 0;
        paths.filter(|path| fs::metadata(path).is_ok_and(|metadata| loose(metadata.mode()))).collect()
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").field("lock", &self.lock).field("record", &self.record).finish_non_exhaustive()
    }
}

/// The bytes of the lock, if there is one, and the record.
type Both = (Result<Option<Vec<u8>>, LockError>, Result<Accepted, AcceptedError>);

/// A lock with the digest of its bytes. No file is an empty lock; an empty file is one that was cut short.
fn reviewed(bytes: Option<Vec<u8>>) -> Result<(Lock, Digest), LockError> {
    match bytes {
        Some(bytes) => Ok((Lock::read(&bytes)?, Digest::of(&bytes))),
        None => Ok((Lock::default(), Digest::of(b""))),
    }
}
