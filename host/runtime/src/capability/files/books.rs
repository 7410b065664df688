//! What stands in a directory that may be written: how many bytes and entries, exact for all that this process does.
//!
//! Whoever changes a directory holds its turn until the change has really ended, also when nobody waits for it any more.
//! So growth is known before it happens. Two plugins with a grant of the same directory share its books.

use std::{
    collections::{HashMap, HashSet},
    ffi::{OsStr, OsString},
    fs::{File, Metadata},
    io,
    os::unix::fs::MetadataExt,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use cap_std::fs::{Dir, MetadataExt as _};
use rustix::fs::{Mode, OFlags, openat};
use tokio::sync::OwnedMutexGuard;

use super::told::Refusal;

/// Files and folders in a directory that is granted for writing: as many as are counted in a fraction of a second.
pub(super) const MAX_ENTRIES: u64 = 100_000;
/// Before growth is refused, the directory is counted anew, so that what the operator removed counts; this seldom.
const RECOUNT_AFTER: Duration = Duration::from_secs(60);

/// Device and inode: which file it is, whatever its name.
pub(super) type FileId = (u64, u64);

pub(super) fn id(meta: &Metadata) -> FileId {
    (meta.dev(), meta.ino())
}

/// The books of each directory that a plugin of this process may write. They outlive a reload while calls still run.
static ALL: LazyLock<Mutex<HashMap<FileId, Weak<Books>>>> = LazyLock::new(Mutex::default);

/// The books of one directory.
pub(super) struct Books {
    dir: File,
    turn: Arc<tokio::sync::Mutex<()>>,
    sums: Mutex<Sums>,
}

struct Sums {
    /// Lengths of all regular files, each once; of those that are removed and still open, too.
    bytes: u64,
    entries: u64,
    held: HashMap<FileId, Held>,
    counted: Instant,
}

/// A file that calls have open.
#[derive(Default)]
struct Held {
    handles: u32,
    /// Its length, once no name is left: the disk has it until the last handle is closed.
    removed: Option<u64>,
}

impl Books {
    /// The books of `dir`, counted now.
    ///
    /// # Errors
    /// When it cannot be read, or holds more than can be counted.
    pub(super) fn open(dir: &File) -> io::Result<Arc<Self>> {
        let id = id(&dir.metadata()?);
        let books = {
            let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
            all.retain(|_, books| books.strong_count() > 0);
            match all.get(&id).and_then(Weak::upgrade) {
                Some(books) => books,
                None => {
                    let sums = Sums { bytes: 0, entries: 0, held: HashMap::new(), counted: Instant::now() };
                    let books = Arc::new(Self { dir: dir.try_clone()?, turn: Arc::default(), sums: Mutex::new(sums) });
                    all.insert(id, Arc::downgrade(&books));
                    books
                }
            }
        };
        let _turn = books.turn.blocking_lock();
        books.count()?;
        drop(_turn);
        Ok(books)
    }

    /// Waits until nobody else changes the directory.
    pub(super) async fn turn(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.turn).lock_owned().await
    }

    /// Whether this much more fits. With the turn in hand.
    ///
    /// # Errors
    /// When it does not.
    pub(super) fn room(&self, quota: u64, bytes: u64, entries: u64) -> Result<(), Refusal> {
        let fits = || {
            let sums = self.sums();
            if bytes > 0 && sums.bytes.saturating_add(bytes) > quota {
                Err((Refusal::Quota, sums.counted))
            } else if entries > 0 && sums.entries.saturating_add(entries) > MAX_ENTRIES {
                Err((Refusal::Entries, sums.counted))
            } else {
                Ok(())
            }
        };
        match fits() {
            Ok(()) => Ok(()),
            Err((_, counted)) if counted.elapsed() > RECOUNT_AFTER => {
                // Where it cannot be counted any more, what was known before stands.
                _ = self.count();
                fits().map_err(|(refusal, _)| refusal)
            }
            Err((refusal, _)) => Err(refusal),
        }
    }

    /// A file has another length. With the turn in hand.
    pub(super) fn resized(&self, id: FileId, before: u64, after: u64) {
        let mut sums = self.sums();
        sums.bytes = sums.bytes.saturating_sub(before).saturating_add(after);
        if let Some(Held { removed: Some(length), .. }) = sums.held.get_mut(&id) {
            *length = after;
        }
    }

    /// A file or folder was made, empty. With the turn in hand.
    pub(super) fn made(&self) {
        self.sums().entries += 1;
    }

    /// A name is gone that `meta` was taken of before. With the turn in hand.
    pub(super) fn removed(&self, meta: &cap_std::fs::Metadata) {
        let mut sums = self.sums();
        sums.entries = sums.entries.saturating_sub(1);
        // Another name of the same file keeps its bytes.
        if !meta.is_file() || meta.nlink() > 1 {
            return;
        }
        match sums.held.get_mut(&(meta.dev(), meta.ino())) {
            Some(held) => held.removed = Some(meta.len()),
            None => sums.bytes = sums.bytes.saturating_sub(meta.len()),
        }
    }

    /// A call has a file open. With the turn in hand.
    pub(super) fn hold(&self, id: FileId) {
        self.sums().held.entry(id).or_default().handles += 1;
    }

    /// It has closed it.
    pub(super) fn release(&self, id: FileId) {
        let mut sums = self.sums();
        let Some(held) = sums.held.get_mut(&id) else { return };
        held.handles = held.handles.saturating_sub(1);
        if held.handles > 0 {
            return;
        }
        let removed = held.removed;
        sums.held.remove(&id);
        sums.bytes = sums.bytes.saturating_sub(removed.unwrap_or(0));
    }

    fn sums(&self) -> MutexGuard<'_, Sums> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts what is there. With the turn in hand.
    fn count(&self) -> io::Result<()> {
        let (bytes, entries) = count(&self.dir)?;
        let mut sums = self.sums();
        let removed = sums.held.values().filter_map(|held| held.removed).fold(0, u64::saturating_add);
        sums.bytes = bytes.saturating_add(removed);
        sums.entries = entries;
        sums.counted = Instant::now();
        Ok(())
    }
}

/// What was counted so far.
#[derive(Default)]
struct Count {
    bytes: u64,
    entries: u64,
    /// Files with several names, which count once.
    linked: HashSet<FileId>,
}

/// A folder on the way down, and those in it that are still to be counted.
struct Level {
    id: FileId,
    folders: Vec<OsString>,
}

impl Count {
    /// Counts what is in one folder, and names the folders in it.
    fn read(&mut self, dir: &File) -> io::Result<Level> {
        let mut folders = Vec::new();
        for entry in Dir::from_std_file(dir.try_clone()?).entries()? {
            let entry = entry?;
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                return Err(io::Error::other(format!("it holds more than {MAX_ENTRIES} files and folders")));
            }
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.file_name());
            } else if kind.is_file() {
                match entry.metadata() {
                    Ok(meta) if meta.nlink() > 1 && !self.linked.insert((meta.dev(), meta.ino())) => {}
                    Ok(meta) => self.bytes = self.bytes.saturating_add(meta.len()),
                    // What is removed meanwhile does not count.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(Level { id: id(&dir.metadata()?), folders })
    }
}

/// Bytes and entries beneath `dir`. Follows no link, and holds one descriptor, however deep it is.
fn count(dir: &File) -> io::Result<(u64, u64)> {
    let open = |from: &File, name: &OsStr| -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(openat(from, name, flags, Mode::empty())?))
    };
    let mut count = Count::default();
    let mut here = dir.try_clone()?;
    let mut levels = vec![count.read(&here)?];
    while let Some(level) = levels.last_mut() {
        if let Some(name) = level.folders.pop() {
            match open(&here, &name) {
                Ok(folder) => {
                    levels.push(count.read(&folder)?);
                    here = folder;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            continue;
        }
        levels.pop();
        if let Some(above) = levels.last() {
            here = open(&here, OsStr::new(".."))?;
            if id(&here.metadata()?) != above.id {
                return Err(io::Error::other("folders in it were moved while it was counted"));
            }
        }
    }
    Ok((count.bytes, count.entries))
}
