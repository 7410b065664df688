//! The state directory: private to its owner, with the key that everything in it is sealed by.

use std::{
    fs::{self, DirBuilder, OpenOptions},
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
            Self::Open { path, .. } => Some(format!("chmod 700 {}", path.display())),
            Self::Key { path, .. } => Some(format!("rm {}", path.display())),
        }
    }
}

impl StateDir {
    /// Opens the directory at `path`, or makes it with mode 0700 and a fresh key.
    ///
    /// # Errors
    /// When it cannot be made, is open to others, or its key is damaged.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| StateError::Io { path, source }
        };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io(path))?;
        let path = path.canonicalize().map_err(io(path))?;
        let mode = fs::metadata(&path).map_err(io(&path))?.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(StateError::Open { path, mode });
        }
        let file = path.join("host.key");
        let key = key(&file).map_err(io(&file))?;
        match <[u8; 32]>::try_from(key) {
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

/// Reads the key, or makes one. Of two processes that make one at the same time, both end with the same.
fn key(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match fs::File::open(file) {
        Ok(mut file) => {
            file.read_to_end(&mut bytes)?;
            return Ok(bytes);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
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
        Ok(()) | Err(_) => fs::read(file),
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
        StateDir::open(&path).expect("made");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o770)).expect("a mode");
        let error = StateDir::open(&path).expect_err("open to the group");
        assert!(error.hint().expect("a hint").starts_with("chmod 700"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("a mode");
        fs::write(path.join("host.key"), b"short").expect("a file");
        assert!(matches!(StateDir::open(&path), Err(StateError::Key { length: 5, .. })));
    }
}
