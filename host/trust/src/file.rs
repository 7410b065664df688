//! Files that outlast a crash: read bounded and without waiting, written whole or not at all, locked for a while.
//!
//! Knows nothing of what they hold.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::{fs::OFlags, io::Errno};

/// Longest wait for another process that writes. A write takes well under a second, so something hangs after this.
const MAX_WAIT: Duration = Duration::from_secs(10);
/// Longest wait where anybody could make it longer: a write takes well under it.
const COURTESY: Duration = Duration::from_secs(1);
/// Time between two attempts: short beside the time that a write takes.
const POLL: Duration = Duration::from_millis(10);

/// A file that could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The operating system refused.
    #[error("could not use `{}`", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A pipe, a folder, a device or a symbolic link stands in its place.
    #[error("`{}` is not a regular file", path.display())]
    NotRegular {
        /// The file.
        path: PathBuf,
    },
    /// It is longer than anything that belongs there.
    #[error("`{}` is larger than {max} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The bound, in bytes.
        max: u64,
    },
    /// Another process held the lock on it for 10 s.
    #[error("another process has been writing `{}` for {} s", path.display(), MAX_WAIT.as_secs())]
    Busy {
        /// The file or folder that is locked.
        path: PathBuf,
    },
}

impl FileError {
    /// The command that mends it, or shows more.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Io { path, .. } => Some(format!("ls -ld '{}'", path.display())),
            Self::NotRegular { path } | Self::TooLarge { path, .. } => Some(format!("rm -r '{}'", path.display())),
            Self::Busy { path } => Some(format!("fuser -v '{}'", path.display())),
        }
    }
}

pub(crate) fn failed(path: &Path) -> impl FnOnce(io::Error) -> FileError {
    move |source| FileError::Io { path: path.to_owned(), source }
}

/// How far a write has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing is written yet.
    Begun,
    /// The new content stands in a file beside, and on the disk.
    Synced,
    /// The file has its new content.
    Renamed,
}

/// Makes a folder that only its owner can use, and those above it.
pub(crate) fn private_folder(path: &Path) -> Result<(), FileError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed(path))
}

/// The whole of a regular file of at most `max` bytes; `None` where there is none. Follows no link in the last part of
/// the path, and waits for no writer of a pipe.
pub(crate) fn read(path: &Path, max: u64) -> Result<Option<Vec<u8>>, FileError> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            return Err(FileError::NotRegular { path: path.to_owned() });
        }
        Err(error) => return Err(failed(path)(error)),
    };
    let metadata = file.metadata().map_err(failed(path))?;
    if !metadata.is_file() {
        return Err(FileError::NotRegular { path: path.to_owned() });
    }
    let too_large = || FileError::TooLarge { path: path.to_owned(), max };
    if metadata.len() > max {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default());
    // The file may grow while it is read.
    file.take(max.saturating_add(1)).read_to_end(&mut bytes).map_err(failed(path))?;
    if bytes.len() as u64 > max { Err(too_large()) } else { Ok(Some(bytes)) }
}

/// Gives the file at `path` the content `bytes` and the permissions `mode`, less the umask: after a crash at any point
/// it has its old content or the new one. The caller holds [`Exclusive`] over the folder's files of this kind, since
/// the name of the file beside is always the same: so that a crash leaves one behind at most.
pub(crate) fn write(path: &Path, bytes: &[u8], mode: u32, at: &dyn Fn(Phase)) -> Result<(), FileError> {
    at(Phase::Begun);
    let beside = beside(path);
    // What a crash left; and never write into something that was put there.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&beside)(error)),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside).map_err(failed(&beside))?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    at(Phase::Synced);
    let renamed = written.and_then(|()| fs::rename(&beside, path));
    if renamed.is_err() {
        _ = fs::remove_file(&beside);
    }
    renamed.map_err(failed(path))?;
    at(Phase::Renamed);
    sync_folder(path)
}

/// Makes what happened to the entry at `path` in its folder last.
pub(crate) fn sync_folder(path: &Path) -> Result<(), FileError> {
    let folder = path.parent().unwrap_or(path);
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed(folder))
}

fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.tmp"))
}

/// An advisory lock, held until this is dropped or the process ends, however it ends. Not inherited by children.
#[derive(Debug)]
pub(crate) struct Exclusive {
    _file: File,
}

impl Exclusive {
    /// Locks the file at `path`, made where it is missing.
    pub(crate) fn file(path: &Path) -> Result<Self, FileError> {
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
        Self::take(path, file.open(path).map_err(failed(path))?, MAX_WAIT)
    }

    /// Locks the folder at `path`.
    pub(crate) fn folder(path: &Path) -> Result<Self, FileError> {
        Self::of_folder(path, MAX_WAIT)
    }

    /// Locks the folder at `path` where that is soon possible. Some network file systems lock no folders.
    pub(crate) fn folder_for_a_moment(path: &Path) -> Option<Self> {
        Self::of_folder(path, COURTESY).ok()
    }

    fn of_folder(path: &Path, wait: Duration) -> Result<Self, FileError> {
        let flags = (OFlags::DIRECTORY | OFlags::NONBLOCK).bits().cast_signed();
        let folder = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(failed(path))?;
        Self::take(path, folder, wait)
    }

    fn take(path: &Path, file: File, wait: Duration) -> Result<Self, FileError> {
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::WouldBlock) if begun.elapsed() < wait => thread::sleep(POLL),
                Err(TryLockError::WouldBlock) => return Err(FileError::Busy { path: path.to_owned() }),
                Err(TryLockError::Error(error)) => return Err(failed(path)(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    #[test]
    fn only_bounded_regular_files_are_read_and_nothing_hangs() {
        let dir = tempfile::tempdir().expect("a folder");
        let check = |name: &str, max: u64, expected: Result<Option<&[u8]>, &str>| {
            let read = read(&dir.path().join(name), max).map_err(|error| error.to_string());
            match (read, expected) {
                (Ok(read), Ok(expected)) => assert_eq!(read.as_deref(), expected, "{name}"),
                (Err(error), Err(part)) => assert!(error.contains(part), "{name}: {error}"),
                (read, expected) => panic!("{name}: {read:?}, expected {expected:?}"),
            }
        };
        fs::write(dir.path().join("file"), b"12345").expect("a file");
        fs::create_dir(dir.path().join("folder")).expect("a folder");
        symlink(dir.path().join("file"), dir.path().join("link")).expect("a link");
        symlink("/dev/zero", dir.path().join("endless")).expect("a link");
        let fifo = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status().expect("mkfifo");
        assert!(made.success());
        check("file", 5, Ok(Some(b"12345")));
        check("missing", 5, Ok(None));
        check("file", 4, Err("larger than 4 bytes"));
        check("folder", 5, Err("not a regular file"));
        check("link", 5, Err("not a regular file"));
        check("endless", 5, Err("not a regular file"));
        check("pipe", 5, Err("not a regular file"));
    }

    #[test]
    fn a_write_replaces_what_was_left_and_what_was_planted() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("file");
        let victim = dir.path().join("victim");
        fs::write(&victim, b"untouched").expect("a file");
        symlink(&victim, beside(&path)).expect("a link");
        for content in [b"one".as_slice(), b"two"] {
            write(&path, content, 0o600, &|_| ()).expect("written");
            assert_eq!(fs::read(&path).expect("a file"), content);
        }
        assert_eq!(fs::read(&victim).expect("a file"), b"untouched");
        assert_eq!(fs::metadata(&path).expect("a file").mode() & 0o777, 0o600);
        assert!(!beside(&path).exists());
    }

    #[test]
    fn a_lock_excludes_until_it_is_dropped() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("lock");
        let held = Exclusive::file(&path).expect("locked");
        let second = File::open(&path).expect("there");
        assert!(matches!(second.try_lock(), Err(TryLockError::WouldBlock)));
        drop(held);
        assert!(second.try_lock().is_ok());
    }
}
