//! What tells without reading a file that it is the one that was read: so that a change of one plugin reads no other.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, SystemTime},
};

/// A file that changed this short a time ago may change once more without its times showing it: clocks of file systems
/// tick every 4 ms to 2 s.
const SETTLED: Duration = Duration::from_secs(2);

/// A file as it lay there. Whoever changes a file changes its `ctime`, which nobody can set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    inode: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// That of the file at `path`; none where there is none, or where it changed too short a time before `now`.
    pub(crate) fn of(path: &Path, now: SystemTime) -> Option<Self> {
        let there = fs::metadata(path).ok()?;
        let changed = (there.ctime(), there.ctime_nsec());
        let since = Duration::new(u64::try_from(changed.0).ok()?, u32::try_from(changed.1).ok()?);
        let age = now.duration_since(SystemTime::UNIX_EPOCH + since).ok()?;
        (age >= SETTLED).then_some(Self {
            inode: (there.dev(), there.ino()),
            size: there.size(),
            modified: (there.mtime(), there.mtime_nsec()),
            changed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_file_that_was_read_has_its_stamp() {
        let dir = tempfile::tempdir().expect("a folder");
        let (file, other) = (dir.path().join("x"), dir.path().join("y"));
        fs::write(&file, "1").expect("written");
        let later = SystemTime::now() + SETTLED;
        assert_eq!(Stamp::of(&file, SystemTime::now()), None, "it may change again in this tick");
        let stamp = Stamp::of(&file, later).expect("settled");
        assert_eq!(Stamp::of(&file, later), Some(stamp));
        assert_eq!(Stamp::of(&other, later), None);
        // The same bytes, and the same time of writing, in another file.
        fs::write(&other, "1").expect("written");
        let opened = fs::File::options().write(true).open(&other).expect("a file");
        opened.set_modified(fs::metadata(&file).expect("there").modified().expect("a time")).expect("set");
        fs::rename(&other, &file).expect("replaced");
        let later = SystemTime::now() + SETTLED;
        assert_ne!(Stamp::of(&file, later), Some(stamp));
    }
}
