//! One granted directory: how work on it leaves the threads that serve, and the operations that change it.

use std::{
    fs::File,
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use cap_fs_ext::{FollowSymlinks, OpenOptionsFollowExt, OpenOptionsSyncExt};
use cap_std::fs::{MetadataExt, OpenOptions};
use portcullis_policy::{Access, FileGrant};
use tokio::{sync::Semaphore, task::JoinHandle};
use wasmtime::component::Resource;
use wasmtime_wasi::{
    filesystem::{Descriptor, Dir, File as WasiFile, FsPerms, OpenMode},
    p2::{
        FsResult,
        bindings::filesystem::types::{DescriptorFlags, ErrorCode, HostDescriptor as _, OpenFlags, PathFlags},
    },
};

use super::{
    books::{self, Books},
    descriptor::{Hold, Open, Upstream, now},
    told::{Fault, Refusal},
};

/// A directory of a plugin, opened.
pub(crate) struct Directory {
    /// On what terms.
    pub(super) grant: FileGrant,
    /// The same entry as it is configured, where that may be more.
    pub(super) configured: Option<FileGrant>,
    /// The directory itself.
    pub(super) top: Dir,
    /// Of one that may be written.
    pub(super) books: Option<Arc<Books>>,
    /// For operations that block: a plugin holds no more threads than this, however many calls and streams it has.
    pub(super) threads: Arc<Semaphore>,
}

impl Directory {
    pub(super) fn perms(&self) -> FsPerms {
        match self.grant.access() {
            Access::Read => FsPerms::ReadOnly,
            Access::ReadWrite => FsPerms::ReadWrite,
        }
    }

    /// Whether it may be changed at all.
    pub(super) fn check_write(&self) -> Result<&Arc<Books>, Refusal> {
        self.books.as_ref().ok_or(Refusal::ReadOnly)
    }

    /// Runs what changes nothing, on a thread for blocking.
    pub(super) async fn look<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let thread = Arc::clone(&self.threads).acquire_owned().await.map_err(io::Error::other)?;
        Task::blocking(move || {
            let _thread = thread;
            work()
        })
        .await
    }

    /// Runs a change, alone: the turn ends with the work, also where nobody waits for it any more.
    pub(super) async fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Books>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let books = Arc::clone(self.check_write()?);
        let turn = books.turn().await;
        let thread = Arc::clone(&self.threads).acquire_owned().await.map_err(io::Error::other)?;
        Task::blocking(move || {
            let _held = (turn, thread);
            work(&books)
        })
        .await
    }

    /// Changes a file so that it is no longer than `end`, or as long as it was; within the quota.
    pub(super) fn resize<T>(
        &self,
        books: &Books,
        file: &File,
        end: u64,
        act: impl FnOnce() -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let before = file.metadata()?;
        books.room(self.grant.quota(), end.saturating_sub(before.len()), 0)?;
        let done = act();
        books.resized(books::id(&before), before.len(), file.metadata()?.len());
        done
    }
}

/// What was asked of `open-at`.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    pub(super) path: PathFlags,
    pub(super) open: OpenFlags,
    pub(super) flags: DescriptorFlags,
}

impl Asked {
    /// Whether it could change anything.
    pub(super) fn writes(self) -> bool {
        self.open.intersects(OpenFlags::CREATE | OpenFlags::TRUNCATE) || self.flags.contains(DescriptorFlags::WRITE)
    }

    /// What makes no sense, or is not there: the rules are upstream's.
    pub(super) fn check(self) -> Result<(), ErrorCode> {
        let synchronous = DescriptorFlags::FILE_INTEGRITY_SYNC
            | DescriptorFlags::DATA_INTEGRITY_SYNC
            | DescriptorFlags::REQUESTED_WRITE_SYNC;
        if self.flags.intersects(synchronous) {
            return Err(ErrorCode::Unsupported);
        }
        let making = OpenFlags::CREATE | OpenFlags::EXCLUSIVE | OpenFlags::TRUNCATE;
        if self.open.contains(OpenFlags::DIRECTORY) && self.open.intersects(making) {
            return Err(ErrorCode::Invalid);
        }
        Ok(())
    }

    fn mode(self) -> OpenMode {
        let write = if self.writes() { OpenMode::WRITE } else { OpenMode::empty() };
        let read = self.flags.contains(DescriptorFlags::READ) || !self.flags.contains(DescriptorFlags::WRITE);
        if read { write | OpenMode::READ } else { write }
    }
}

/// Opens `path` from `at`: a regular file or a directory, and nothing that could block.
pub(super) fn open_at(
    at: &Open,
    books: Option<&Arc<Books>>,
    path: &str,
    asked: Asked,
) -> Result<(Descriptor, Option<Hold>), Fault> {
    let dir = at.beneath()?;
    let follow = asked.path.contains(PathFlags::SYMLINK_FOLLOW);
    let there = if follow { dir.metadata(path) } else { dir.symlink_metadata(path) };
    let there = match there {
        // A link that is not to be followed is the system's to refuse.
        Ok(meta) if meta.is_file() || meta.is_dir() || meta.is_symlink() => true,
        Ok(_) => return Err(Refusal::Kind.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound && asked.open.contains(OpenFlags::CREATE) => false,
        Err(error) => return Err(error.into()),
    };
    if let (false, Some(books)) = (there, books) {
        books.room(at.directory.grant.quota(), 0, 1)?;
    }
    let mode = asked.mode();
    let mut options = OpenOptions::new();
    options.read(mode.contains(OpenMode::READ)).write(mode.contains(OpenMode::WRITE));
    match asked.open.contains(OpenFlags::CREATE) {
        true if asked.open.contains(OpenFlags::EXCLUSIVE) => options.create_new(true),
        create => options.create(create),
    };
    options.follow(if follow { FollowSymlinks::Yes } else { FollowSymlinks::No });
    // What took its place since may be a FIFO, which would wait for its other end.
    options.nonblock(true);
    let file = dir.open_with(path, &options)?.into_std();
    let meta = file.metadata()?;
    let perms = at.directory.perms();
    if meta.is_dir() {
        return Ok((Descriptor::Dir(Dir::new(file, perms, mode, true)), None));
    }
    if !meta.is_file() {
        return Err(Refusal::Kind.into());
    }
    if asked.open.contains(OpenFlags::DIRECTORY) {
        return Err(ErrorCode::NotDirectory.into());
    }
    let id = books::id(&meta);
    if let Some(books) = books {
        if !there {
            books.made();
        }
        // Only what was seen to be a regular file.
        if asked.open.contains(OpenFlags::TRUNCATE) && meta.len() > 0 {
            at.directory.resize(books, &file, 0, || Ok(file.set_len(0)?))?;
        }
    }
    let held = books.map(|books| Hold::new(books, id));
    Ok((Descriptor::File(WasiFile::new(file, perms, mode, true)), held))
}

/// Makes the directory `path`.
pub(super) fn create_directory(at: &Open, books: &Books, path: String) -> Result<(), Fault> {
    books.room(at.directory.grant.quota(), 0, 1)?;
    let mut upstream = Upstream::new();
    let fd = upstream.put(at)?;
    now(upstream.view().create_directory_at(fd, path))?;
    books.made();
    Ok(())
}

/// Removes what `path` names, by upstream's `remove`.
pub(super) fn remove(
    at: &Open,
    books: &Books,
    path: String,
    remove: impl FnOnce(&mut Upstream, Resource<Descriptor>, String) -> FsResult<()>,
) -> Result<(), Fault> {
    let meta = at.beneath()?.symlink_metadata(&path)?;
    let mut upstream = Upstream::new();
    let fd = upstream.put(at)?;
    remove(&mut upstream, fd, path)?;
    books.removed(&meta);
    Ok(())
}

/// Renames within one granted directory; what stood at the new name is removed.
pub(super) fn rename(from: &Open, old: String, to: &Open, new: String, books: &Books) -> Result<(), Fault> {
    let named = |at: &Open, path: &str| at.beneath()?.symlink_metadata(path.trim_end_matches('/')).map_err(Fault::Io);
    let moved = named(from, &old)?;
    // One that cannot be looked at is upstream's to refuse.
    let replaced = named(to, &new).ok();
    let mut upstream = Upstream::new();
    let (fd, new_fd) = (upstream.put(from)?, upstream.put(to)?);
    now(upstream.view().rename_at(fd, old, new_fd, new))?;
    // Of two names of one file, renaming leaves both (POSIX, `rename`).
    if let Some(replaced) = replaced.filter(|meta| (meta.dev(), meta.ino()) != (moved.dev(), moved.ino())) {
        books.removed(&replaced);
    }
    Ok(())
}

/// Work on a thread or task of its own. Dropped before it began, it does not begin; afterwards it goes on to its end.
pub(super) struct Task<T>(JoinHandle<Result<T, Fault>>);

impl<T: Send + 'static> Task<T> {
    pub(super) fn blocking(work: impl FnOnce() -> Result<T, Fault> + Send + 'static) -> Self {
        Self(tokio::task::spawn_blocking(work))
    }

    pub(super) fn spawn(work: impl Future<Output = Result<T, Fault>> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, Fault>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|ended| ended.map_err(io::Error::other)?)
    }
}
