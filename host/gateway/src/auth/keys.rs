//! API keys: shown once, kept as digests, with an end, revoked at once.
//!
//! A key is 256 random bits, so that a plain SHA-256 of it keeps it (OWASP "Password Storage" is about what people
//! choose). It begins with an id that is no secret, by which it is found, listed and revoked.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use portcullis_audit::Secret;
use portcullis_policy::{AgentName, Digest};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

/// What every key begins with, so that scanners for leaked secrets know one.
const MARK: &str = "pck";
/// Random bytes of the id: nobody has so many keys that two share 48 bits.
const ID_BYTES: usize = 6;
/// Random bytes of the secret.
const SECRET_BYTES: usize = 32;
/// Longest text that is looked at as a key.
const MAX_KEY: usize = 128;
/// Most keys that are kept, revoked and expired ones included.
const MAX_KEYS: usize = 10_000;
/// Version of the file.
const VERSION: u32 = 1;

/// A key, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ApiKey {
    /// What it is listed and revoked by.
    pub id: String,
    /// Whose it is.
    pub agent: AgentName,
    /// SHA-256 of the whole key.
    digest: Digest,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// When it ends, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
    /// When it was revoked, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<u64>,
}

impl ApiKey {
    fn is_expired(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|expires| seconds(now) >= expires)
    }
}

/// The keys as they stood when the file was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRing {
    keys: Vec<ApiKey>,
}

/// Why a key opens nothing. The operator's to read: a client is told only that it may not come in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefusal {
    /// It is no key of this host.
    #[error("no key of this host")]
    Unknown,
    /// Its time is over.
    #[error("the key `{id}` of `{agent}` has expired")]
    Expired {
        /// Which.
        id: String,
        /// Whose.
        agent: AgentName,
    },
    /// It was revoked.
    #[error("the key `{id}` of `{agent}` was revoked")]
    Revoked {
        /// Which.
        id: String,
        /// Whose.
        agent: AgentName,
    },
}

impl KeyRing {
    /// The key that this is, at the time `now`.
    ///
    /// # Errors
    /// When it is none, or one that is over.
    pub fn owner(&self, key: &str, now: SystemTime) -> Result<&ApiKey, KeyRefusal> {
        let id = parts(key).ok_or(KeyRefusal::Unknown)?;
        let digest = Digest::of(key.as_bytes());
        // The id is no secret; what is compared in constant time is the digest (../shared/THREATS.md, A2).
        let found = self.keys.iter().find(|known| known.id == id).ok_or(KeyRefusal::Unknown)?;
        if !bool::from(found.digest.as_bytes().ct_eq(digest.as_bytes())) {
            return Err(KeyRefusal::Unknown);
        }
        let (id, agent) = (found.id.clone(), found.agent.clone());
        if found.revoked.is_some() {
            return Err(KeyRefusal::Revoked { id, agent });
        }
        if found.is_expired(now) {
            return Err(KeyRefusal::Expired { id, agent });
        }
        Ok(found)
    }

    /// Whether the key of this id is one of the agent, and not over.
    pub fn is_good(&self, id: &str, agent: &AgentName, now: SystemTime) -> bool {
        let found = self.keys.iter().find(|known| known.id == id && known.agent == *agent);
        found.is_some_and(|key| key.revoked.is_none() && !key.is_expired(now))
    }

    /// The keys, the oldest first.
    pub fn keys(&self) -> &[ApiKey] {
        &self.keys
    }
}

/// The id of what has the form of a key.
fn parts(key: &str) -> Option<&str> {
    let rest = key.get(..MAX_KEY).map_or(Some(key), |_| None)?.strip_prefix(MARK)?.strip_prefix('_')?;
    let (id, secret) = rest.split_once('_')?;
    (!id.is_empty() && !secret.is_empty()).then_some(id)
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The file of the keys in the state directory.
#[derive(Clone, Debug)]
pub struct KeyFile {
    path: PathBuf,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Written {
    version: u32,
    keys: Vec<ApiKey>,
}

/// The file of the keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The operating system refused.
    #[error("could not use the file of keys `{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not what a Portcullis of this version writes.
    #[error("the file of keys `{}` cannot be read: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Others can read or write it.
    #[error("the file of keys `{}` is open to other users", path.display())]
    Open {
        /// The file.
        path: PathBuf,
    },
    /// There is no such key.
    #[error("there is no key `{id}`")]
    NoKey {
        /// The id.
        id: String,
    },
    /// There are as many keys as there can be.
    #[error("there are {MAX_KEYS} keys already")]
    Full,
}

impl KeyFileError {
    /// The command that mends it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Io { .. } | Self::Full => None,
            Self::Damaged { path, .. } => {
                Some(format!("put a backup in its place, or start over: rm {}", path.display()))
            }
            Self::Open { path } => Some(format!("chmod 600 {}", path.display())),
            Self::NoKey { .. } => Some("portcullis key list".to_owned()),
        }
    }
}

impl KeyFile {
    /// The file at `path`, which need not be there.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the keys; none where there is no file.
    ///
    /// # Errors
    /// When it cannot be read, or is open to others.
    pub fn read(&self) -> Result<KeyRing, KeyFileError> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(KeyRing::default()),
            Err(source) => return Err(self.io(source)),
        };
        let mode = file.metadata().map_err(|source| self.io(source))?.mode();
        if mode & 0o077 != 0 {
            return Err(KeyFileError::Open { path: self.path.clone() });
        }
        let damaged = |reason: String| KeyFileError::Damaged { path: self.path.clone(), reason };
        let written: Written =
            serde_json::from_reader(io::BufReader::new(file)).map_err(|error| damaged(error.to_string()))?;
        if written.version != VERSION {
            return Err(damaged(format!("it has version {}, this Portcullis knows {VERSION}", written.version)));
        }
        Ok(KeyRing { keys: written.keys })
    }

    /// Makes a key for `agent`, which ends after `lasts` where that is given. Its text is nowhere but in what this
    /// returns. Earlier keys of the agent go on: that is how one is replaced without a gap.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn make(
        &self,
        agent: AgentName,
        lasts: Option<Duration>,
        now: SystemTime,
    ) -> Result<(ApiKey, Secret<String>), KeyFileError> {
        let random = |bytes: &mut [u8]| getrandom::fill(bytes).map_err(|error| self.io(io::Error::other(error)));
        let (mut id, mut secret) = ([0; ID_BYTES], [0; SECRET_BYTES]);
        random(&mut id)?;
        random(&mut secret)?;
        let id = portcullis_policy::hex(&id);
        let text = format!("{MARK}_{id}_{}", URL_SAFE_NO_PAD.encode(secret));
        let created = seconds(now);
        let expires = lasts.map(|lasts| created.saturating_add(lasts.as_secs()));
        let key = ApiKey { id, agent, digest: Digest::of(text.as_bytes()), created, expires, revoked: None };
        let made = key.clone();
        self.change(|keys| {
            if keys.len() >= MAX_KEYS {
                return Err(KeyFileError::Full);
            }
            keys.push(key);
            Ok(())
        })?;
        Ok((made, Secret::new(text)))
    }

    /// Revokes the key of this id. One that is revoked already stays so.
    ///
    /// # Errors
    /// When there is none, or the file cannot be read or written.
    pub fn revoke(&self, id: &str, now: SystemTime) -> Result<ApiKey, KeyFileError> {
        let mut revoked = None;
        self.change(|keys| {
            let key = keys.iter_mut().find(|key| key.id == id);
            let key = key.ok_or_else(|| KeyFileError::NoKey { id: id.chars().take(40).collect() })?;
            key.revoked.get_or_insert(seconds(now));
            revoked = Some(key.clone());
            Ok(())
        })?;
        revoked.ok_or_else(|| KeyFileError::NoKey { id: id.to_owned() })
    }

    /// Reads, changes and replaces the file, one process at a time.
    fn change(&self, change: impl FnOnce(&mut Vec<ApiKey>) -> Result<(), KeyFileError>) -> Result<(), KeyFileError> {
        let io = |source| self.io(source);
        let held = self.path.with_extension("lock");
        let held = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(held).map_err(io)?;
        held.lock().map_err(io)?;
        let mut keys = self.read()?.keys;
        change(&mut keys)?;
        let text = serde_json::to_vec_pretty(&Written { version: VERSION, keys })
            .map_err(|error| self.io(io::Error::other(error)))?;
        let new = self.path.with_extension("new");
        // Left by a process that ended in between: the lock is ours.
        _ = fs::remove_file(&new);
        let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&new).map_err(io)?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(io)?;
        fs::rename(&new, &self.path).map_err(io)?;
        let folder = self.path.parent().unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(io)
    }

    fn io(&self, source: io::Error) -> KeyFileError {
        KeyFileError::Io { path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn at(days: u32) -> SystemTime {
        UNIX_EPOCH + DAY * (20_000 + days)
    }

    fn alice() -> AgentName {
        AgentName::new("alice").expect("a name")
    }

    #[test]
    fn a_key_opens_until_it_ends_or_is_revoked() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = KeyFile::new(dir.path().join("keys.json"));
        assert_eq!(file.read().expect("no file").keys(), []);
        let (first, first_text) = file.make(alice(), Some(DAY * 90), at(0)).expect("a key");
        let (second, second_text) = file.make(alice(), None, at(1)).expect("a key");
        let owner = |key: &str, days| {
            file.read().expect("keys").owner(key, at(days)).map(|key| key.agent.to_string()).map_err(|e| e.to_string())
        };
        for text in [&first_text, &second_text] {
            assert_eq!(owner(text.expose(), 2), Ok("alice".into()), "both, while one replaces the other");
        }
        assert_eq!(owner(first_text.expose(), 90), Err(format!("the key `{}` of `alice` has expired", first.id)));
        file.revoke(&second.id, at(3)).expect("revoked");
        assert_eq!(owner(second_text.expose(), 3), Err(format!("the key `{}` of `alice` was revoked", second.id)));
        assert!(matches!(file.revoke("none", at(3)), Err(KeyFileError::NoKey { .. })));
        // A1, A2: nothing that is not the whole key opens, and the file holds no key.
        let text = first_text.expose();
        let almost = format!("{}{}", &text[..text.len() - 1], if text.ends_with('A') { 'B' } else { 'A' });
        for wrong in
            ["", "pck", "pck__", "pck_x_y", &first.id, &text[..20], &almost, &format!("{text} "), &text.to_uppercase()]
        {
            assert_eq!(owner(wrong, 2), Err("no key of this host".into()), "{wrong}");
        }
        let kept = fs::read_to_string(file.path()).expect("the file");
        assert!(!kept.contains(text) && !kept.contains(second_text.expose()));
        assert_eq!(format!("{first_text:?}"), "[secret]");
    }

    #[test]
    fn a_file_that_is_open_or_damaged_is_not_used() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = KeyFile::new(dir.path().join("keys.json"));
        file.make(alice(), None, at(0)).expect("a key");
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o640)).expect("a mode");
        assert!(matches!(file.read(), Err(KeyFileError::Open { .. })));
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o600)).expect("a mode");
        fs::write(file.path(), "{\"version\":2,\"keys\":[]}").expect("a file");
        let told = file.read().expect_err("another version").to_string();
        assert!(told.contains("it has version 2, this Portcullis knows 1"), "{told}");
        assert!(file.make(alice(), None, at(0)).is_err(), "what cannot be read is not replaced");
    }
}
