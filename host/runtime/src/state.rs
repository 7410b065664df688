//! The state directory: private to its owner, with the key that everything in it is sealed by.

use std::{
    fs::{self, DirBuilder, Metadata, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The directory, opened and checked.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    key: [u8; 32],
}

/// The directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The operating system refused.
    #[error("could not use the state directory `{}`", path.display())]
    Io {
        /// The directory or the file in it.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others could change what is in it.
    #[error("the state directory `{}` is open to other users (mode {mode:o})", path.display())]
    Open {
        /// The directory.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
        /// Whether it holds a key already, and perhaps approvals: whoever could write it could approve.
        used: bool,
    },
    /// Somebody else made it, or its key.
    #[error("`{}` belongs to another user ({owner}), who may have approved things in it", path.display())]
    Foreign {
        /// The directory or the key.
        path: PathBuf,
        /// The state directory.
        state: PathBuf,
        /// The number of the user that it belongs to.
        owner: u32,
    },
    /// Others could read the key, and seal what they like.
    #[error("the key of this host, `{}`, is open to other users (mode {mode:o})", path.display())]
    OpenKey {
        /// The file.
        path: PathBuf,
        /// The state directory.
        state: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The key file is damaged.
    #[error("the key of this host, `{}`, has {length} bytes and not 32", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Its length.
        length: usize,
    },
}

impl StateError {
    /// The command that mends it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Io { .. } => None,
            Self::Open { path, used: false, .. } => Some(format!("chmod 700 '{}'", path.display())),
            // A mode mends what comes, and not what others have put there.
            Self::Open { path: state, used: true, .. } | Self::Foreign { state, .. } | Self::OpenKey { state, .. } => {
                Some(format!(
                    "whoever could use it may have approved plugins: rm -r '{}', and approve again",
                    state.display()
                ))
            }
            Self::Key { path, .. } => Some(format!("rm {}", path.display())),
        }
    }
}

impl StateDir {
    /// Opens the directory at `path`, or makes it with mode 0700, a fresh key, and a `.gitignore` that keeps all of it
    /// out of version control: what was approved in it comes along with it.
    ///
    /// # Errors
    /// When it cannot be made, it or its key belongs to somebody else or is open to others, or its key is damaged.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| StateError::Io { path, source }
        };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io(path))?;
        let path = path.canonicalize().map_err(io(path))?;
        let (us, file) = (rustix::process::geteuid().as_raw(), path.join("host.key"));
        let directory = fs::metadata(&path).map_err(io(&path))?;
        owned(&directory, us, &path, &path)?;
        let mode = directory.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(StateError::Open { used: file.symlink_metadata().is_ok(), path, mode });
        }
        ignored(&path.join(".gitignore"));
        let Key { bytes, metadata } = key(&file).map_err(io(&file))?;
        owned(&metadata, us, &file, &path)?;
        let mode = metadata.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(StateError::OpenKey { path: file, state: path, mode });
        }
        match <[u8; 32]>::try_from(bytes) {
            Ok(key) => Ok(Self { path, key }),
            Err(key) => Err(StateError::Key { path: file, length: key.len() }),
        }
    }

    /// The path of `name` in the directory.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The path of the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A key for one purpose, which tells nothing of the keys for others.
    pub fn key_for(&self, purpose: &str) -> [u8; 32] {
        let mut mac = keyed(&self.key);
        mac.update(purpose.as_bytes());
        mac.finalize().into_bytes().into()
    }

    /// A subdirectory, made where it is missing, with mode 0700.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn subdirectory(&self, name: &str) -> Result<PathBuf, StateError> {
        let path = self.join(name);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.map(|()| path.clone()).map_err(|source| StateError::Io { path, source })
    }
}

pub(crate) fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    // HMAC pads a shorter key with zeros to a block of the hash (RFC 2104, section 2).
    let mut block = [0; 64];
    block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    Hmac::new(&block.into())
}

/// That `path` is ours.
fn owned(metadata: &Metadata, us: u32, path: &Path, state: &Path) -> Result<(), StateError> {
    let owner = metadata.uid();
    if owner == us {
        return Ok(());
    }
    Err(StateError::Foreign { path: path.to_owned(), state: state.to_owned(), owner })
}

/// Keeps the directory out of version control, as far as that goes: one that stands there already is its owner's.
fn ignored(path: &Path) {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = made.and_then(|mut file| file.write_all(b"*\n"));
    if let Err(error) = written.or_else(|error| if path.exists() { Ok(()) } else { Err(error) }) {
        tracing::warn!(path = %path.display(), %error, "the state directory is not kept out of version control");
    }
}

/// What the key's file held, and whose the same file was.
struct Key {
    bytes: Vec<u8>,
    metadata: Metadata,
}

fn read(file: &Path) -> io::Result<Key> {
    let mut file = fs::File::open(file)?;
    let (mut bytes, metadata) = (Vec::new(), file.metadata()?);
    file.read_to_end(&mut bytes)?;
    Ok(Key { bytes, metadata })
}

/// Reads the key, or makes one. Of two processes that make one at the same time, both end with the same.
fn key(file: &Path) -> io::Result<Key> {
    match read(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        there => return there,
    }
    let mut fresh = [0; 32];
    getrandom::fill(&mut fresh).map_err(io::Error::other)?;
    let temporary = file.with_extension(format!("{}.tmp", std::process::id()));
    let mut new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    new.write_all(&fresh).and_then(|()| new.sync_all())?;
    // A link fails where the name is taken already: the first one there wins, and is never seen half written.
    let linked = fs::hard_link(&temporary, file);
    fs::remove_file(&temporary)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => read(file),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn keys_last_and_differ_by_purpose() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("state");
        let first = StateDir::open(&path).expect("made");
        let second = StateDir::open(&path).expect("opened");
        assert_eq!(first.key_for("a"), second.key_for("a"));
        assert_ne!(first.key_for("a"), first.key_for("b"));
        let mode = |path: &Path| fs::metadata(path).expect("there").mode() & 0o777;
        assert_eq!((mode(&path), mode(&path.join("host.key"))), (0o700, 0o600));
    }

    #[test]
    fn an_open_directory_and_a_damaged_key_are_refused_with_the_mend() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("state");
        let mode =
            |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
        let hint = |expected: &str| {
            let error = StateDir::open(&path).expect_err(expected);
            let hint = error.hint().expect("a hint");
            assert!(hint.contains(expected), "{error}: {hint}");
        };
        fs::create_dir(&path).expect("made");
        mode(&path, 0o770);
        hint("chmod 700 '");
        mode(&path, 0o700);
        StateDir::open(&path).expect("opened");
        // Whoever could write it may have put a key and approvals into it.
        mode(&path, 0o770);
        hint("rm -r '");
        mode(&path, 0o700);
        let key = path.join("host.key");
        mode(&key, 0o640);
        hint("rm -r '");
        assert!(matches!(StateDir::open(&path), Err(StateError::OpenKey { mode: 0o640, .. })));
        mode(&key, 0o600);
        StateDir::open(&path).expect("opened");
        fs::write(&key, b"short").expect("a file");
        assert!(matches!(StateDir::open(&path), Err(StateError::Key { length: 5, .. })));
    }

    /// H4: only a test that runs as root can give a file away; elsewhere the answer for another user is looked at.
    #[test]
    fn what_somebody_else_made_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("state");
        StateDir::open(&path).expect("made");
        let key = path.join("host.key");
        let (us, nobody) = (rustix::process::geteuid().as_raw(), 65_534);
        let theirs = owned(&fs::metadata(&key).expect("there"), us + 1, &key, &path).expect_err("of another");
        assert!(theirs.hint().is_some_and(|hint| hint.contains("rm -r '")), "{theirs}");
        if us != 0 {
            return;
        }
        for given in [&key, &path] {
            std::os::unix::fs::chown(given, Some(nobody), None).expect("given away");
            let error = StateDir::open(&path).expect_err("of another");
            assert!(matches!(&error, StateError::Foreign { path, owner: 65_534, .. } if path == given), "{error}");
            std::os::unix::fs::chown(given, Some(us), None).expect("taken back");
        }
        StateDir::open(&path).expect("opened");
    }

    /// H4: a state that is pulled brings its approvals along, so none is ever committed.
    #[test]
    fn the_directory_stays_out_of_version_control() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("state");
        StateDir::open(&path).expect("made");
        let ignore = path.join(".gitignore");
        assert_eq!(fs::read_to_string(&ignore).expect("there"), "*\n");
        fs::write(&ignore, "mine").expect("a file");
        StateDir::open(&path).expect("opened");
        assert_eq!(fs::read_to_string(&ignore).expect("there"), "mine");
    }
}
