//! What children made, kept from one start to the next: native code and descriptions.
//!
//! `Component::deserialize` trusts its input blindly, so **only bytes that carry our MAC over what they are and what
//! they hold are ever used**. The same open file is verified and then mapped; a path is never resolved twice.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    time::SystemTime,
};

use hmac::Mac;
use portcullis_policy::Digest;

use crate::state::{StateDir, StateError, keyed};

/// Length of the MAC at the end of a file.
const MAC: usize = 32;
/// Files of one kind that are kept; the ones unused for longest go first.
const MAX_FILES: usize = 128;
/// Bytes that are read and hashed at a time.
const CHUNK: usize = 256 << 10;

/// What a file holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Native code for one engine.
    Native,
    /// A component's description.
    Description,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Description => "description",
        }
    }
}

/// A file whose MAC was right when this was made: the one proof that loading native code asks for.
pub(crate) struct Verified {
    pub(crate) file: File,
    /// Bytes before the MAC.
    pub(crate) length: u64,
}

/// The directory of the cache.
#[derive(Debug)]
pub(crate) struct Cache {
    dir: PathBuf,
    key: [u8; 32],
}

impl Cache {
    pub(crate) fn open(state: &StateDir) -> Result<Self, StateError> {
        Ok(Self { dir: state.subdirectory("cache")?, key: state.key_for("cache") })
    }

    fn path(&self, kind: Kind, component: Digest, variant: &str) -> PathBuf {
        self.dir.join(format!("{component}-{variant}.{}", kind.as_str()))
    }

    /// A MAC over what the file is; what it holds comes after.
    fn mac(&self, kind: Kind, component: Digest, variant: &str) -> hmac::Hmac<sha2::Sha256> {
        let mut mac = keyed(&self.key);
        mac.update(format!("portcullis cache 1\0{}\0{component}\0{variant}\0", kind.as_str()).as_bytes());
        mac
    }

    /// The file for `component` and `variant`, verified. What is missing or damaged is `None`: it is made again.
    pub(crate) fn get(&self, kind: Kind, component: Digest, variant: &str) -> Option<Verified> {
        let path = self.path(kind, component, variant);
        let read = || -> io::Result<Option<Verified>> {
            let nofollow = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
            let mut file = OpenOptions::new().read(true).custom_flags(nofollow).open(&path)?;
            let length = file.metadata()?.len().saturating_sub(MAC as u64);
            let mut mac = self.mac(kind, component, variant);
            let mut left = length;
            let mut chunk = vec![0; CHUNK];
            while left > 0 {
                let wanted = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
                let Some(part) = chunk.get_mut(..wanted) else { break };
                file.read_exact(part)?;
                mac.update(part);
                left -= wanted as u64;
            }
            let mut tag = [0; MAC];
            file.read_exact(&mut tag)?;
            Ok(mac.verify_slice(&tag).is_ok().then_some(Verified { file, length }))
        };
        match read() {
            Ok(Some(verified)) => Some(verified),
            Ok(None) => {
                tracing::warn!(path = %path.display(), "a file of the cache was not made by this host; it is made again");
                None
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a file of the cache could not be read; it is made again");
                None
            }
        }
    }

    /// The bytes for `component` and `variant`, verified and read in one go.
    pub(crate) fn read(&self, kind: Kind, component: Digest, variant: &str) -> Option<Vec<u8>> {
        let mut bytes = fs::read(self.path(kind, component, variant)).ok()?;
        let tag = bytes.split_off(bytes.len().checked_sub(MAC)?);
        let mut mac = self.mac(kind, component, variant);
        mac.update(&bytes);
        mac.verify_slice(&tag).is_ok().then_some(bytes)
    }

    /// Keeps `bytes`: whole or not at all.
    pub(crate) fn put(&self, kind: Kind, component: Digest, variant: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(kind, component, variant);
        let mut mac = self.mac(kind, component, variant);
        mac.update(bytes);
        let mut unique = [0; 8];
        getrandom::fill(&mut unique).map_err(io::Error::other)?;
        let temporary = self.dir.join(format!("{:016x}.tmp", u64::from_ne_bytes(unique)));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        let written = file
            .write_all(bytes)
            .and_then(|()| file.write_all(&mac.finalize().into_bytes()))
            .and_then(|()| fs::rename(&temporary, &path));
        if written.is_err() {
            _ = fs::remove_file(&temporary);
        }
        written?;
        self.evict(kind)
    }

    /// Removes the oldest beyond [`MAX_FILES`]. Another process may do the same at this moment: what is gone is gone.
    fn evict(&self, kind: Kind) -> io::Result<()> {
        let there = |done: io::Result<SystemTime>| match done {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            done => done.map(Some),
        };
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            if entry.path().extension().is_some_and(|extension| extension == kind.as_str())
                && let Some(modified) = there(entry.metadata().and_then(|metadata| metadata.modified()))?
            {
                files.push((modified, entry.path()));
            }
        }
        files.sort();
        let surplus = files.len().saturating_sub(MAX_FILES);
        files.into_iter().take(surplus).try_for_each(|(_, path)| match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S30: a flipped bit, another engine's code, another component's code and an attacker's file are all refused.
    #[test]
    fn only_what_this_host_made_is_used() {
        let dir = tempfile::tempdir().expect("a directory");
        let state = StateDir::open(&dir.path().join("state")).expect("a state directory");
        let cache = Cache::open(&state).expect("a cache");
        let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
        cache.put(Kind::Native, one, "a", b"native code").expect("kept");
        assert_eq!(cache.get(Kind::Native, one, "a").expect("verified").length, 11);
        assert_eq!(cache.read(Kind::Native, one, "a").as_deref(), Some(b"native code".as_slice()));

        let refused = |kind, digest, variant: &str, why: &str| {
            assert!(cache.get(kind, digest, variant).is_none(), "{why}");
            assert!(cache.read(kind, digest, variant).is_none(), "{why}");
        };
        let path = cache.path(Kind::Native, one, "a");
        for (kind, digest, variant) in
            [(Kind::Native, two, "a"), (Kind::Native, one, "b"), (Kind::Description, one, "a")]
        {
            fs::copy(&path, cache.path(kind, digest, variant)).expect("a copy");
            refused(kind, digest, variant, "a file under another name");
        }
        let good = fs::read(&path).expect("a file");
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).expect("a file");
            refused(Kind::Native, one, "a", "a flipped bit");
        }
        for length in 0..good.len() {
            fs::write(&path, &good[..length]).expect("a file");
            refused(Kind::Native, one, "a", "a truncated file");
        }
        fs::remove_file(&path).expect("removed");
        std::os::unix::fs::symlink(cache.path(Kind::Native, two, "a"), &path).expect("a link");
        assert!(cache.get(Kind::Native, one, "a").is_none(), "a symbolic link");
    }

    #[test]
    fn old_files_go() {
        let dir = tempfile::tempdir().expect("a directory");
        let state = StateDir::open(&dir.path().join("state")).expect("a state directory");
        let cache = Cache::open(&state).expect("a cache");
        for i in 0..MAX_FILES + 3 {
            cache.put(Kind::Description, Digest::of(&i.to_le_bytes()), "1", b"x").expect("kept");
        }
        assert_eq!(fs::read_dir(&cache.dir).expect("a directory").count(), MAX_FILES);
    }

    /// Processes share a cache, and make room in it at the same time.
    #[test]
    fn several_may_make_room_at_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let state = StateDir::open(&dir.path().join("state")).expect("a state directory");
        let keep = &|number: usize| {
            let cache = Cache::open(&state).expect("a cache");
            for i in 0..MAX_FILES * 4 {
                let digest = Digest::of(format!("{number} {i}").as_bytes());
                cache.put(Kind::Description, digest, "1", b"x").expect("kept");
            }
        };
        std::thread::scope(|threads| (0..4).for_each(|number| _ = threads.spawn(move || keep(number))));
    }
}
