//! The interface's functions: check, record, act. A refusal becomes the guest's error here and nowhere else.

use std::sync::Arc;

use wasmtime::component::{Resource, ResourceTableError};
use wasmtime_wasi::{
    filesystem::Descriptor,
    p2::{
        DynInputStream, DynOutputStream, FsError, FsResult,
        bindings::filesystem::{
            preopens,
            types::{
                self, Advice, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, DirectoryEntryStream,
                ErrorCode, HostDescriptor, HostDirectoryEntryStream, MetadataHashValue, NewTimestamp, OpenFlags,
                PathFlags,
            },
        },
    },
};

use super::{
    MAX_DESCRIPTORS, MAX_PATH, MAX_STREAMS, View,
    descriptor::{Open, Upstream, now},
    directory::{self, Asked},
    entries::Entries,
    streams::{Reading, Writing, write},
    told::{Fault, Refusal},
};

type Fd = Resource<Descriptor>;

impl View<'_> {
    fn open(&self, fd: &Fd) -> Result<Arc<Open>, ResourceTableError> {
        Ok(Arc::clone(self.table.get(&Resource::<Arc<Open>>::new_borrow(fd.rep()))?))
    }

    fn push(&mut self, open: Open) -> FsResult<Fd> {
        Ok(Resource::new_own(self.table.push(Arc::new(open))?.rep()))
    }

    /// Records a refusal, and makes the guest's error of any fault.
    fn end<T>(&self, open: &Open, path: Option<&str>, done: Result<T, Fault>) -> FsResult<T> {
        let refusal = match done {
            Ok(value) => return Ok(value),
            Err(Fault::Io(error)) => return self.end(open, path, Err(FsError::from(error).into())),
            // What upstream refuses by its path, reading included, leads out of the directory.
            Err(Fault::Fs(error)) => {
                let outside = path.is_some() && matches!(error.downcast_ref(), Some(ErrorCode::NotPermitted));
                if !outside {
                    return Err(error);
                }
                Refusal::Outside
            }
            Err(Fault::Refused(refusal)) => refusal,
        };
        let path = path.map_or_else(|| open.path.clone(), |path| open.join(path));
        let directory = &open.directory;
        self.ctx.told.refused(&directory.grant, directory.configured.as_ref(), &path, refusal);
        Err(refusal.code().into())
    }

    /// Runs an operation of upstream's that changes nothing.
    async fn look<T: Send + 'static>(
        &mut self,
        fd: Fd,
        path: Option<&str>,
        work: impl FnOnce(&mut Upstream, Fd) -> FsResult<T> + Send + 'static,
    ) -> FsResult<T> {
        let open = self.open(&fd)?;
        check_path(path)?;
        let at = Arc::clone(&open);
        let done = open.directory.look(move || {
            let mut upstream = Upstream::new();
            let fd = upstream.put(&at)?;
            Ok(work(&mut upstream, fd)?)
        });
        let done = done.await;
        self.end(&open, path, done)
    }

    /// Runs a change, where the directory may be written.
    async fn change<T: Send + 'static>(
        &mut self,
        fd: Fd,
        path: Option<&str>,
        work: impl FnOnce(&Arc<Open>, &Arc<super::books::Books>) -> Result<T, Fault> + Send + 'static,
    ) -> FsResult<T> {
        let open = self.open(&fd)?;
        check_path(path)?;
        let at = Arc::clone(&open);
        let done = open.directory.change(move |books| work(&at, books)).await;
        self.end(&open, path, done)
    }

    /// A place for one more of what a call may hold so many of.
    fn place(held: &Arc<()>, most: usize, refusal: Refusal) -> Result<Arc<()>, Refusal> {
        // The call's own is one.
        if Arc::strong_count(held) <= most { Ok(Arc::clone(held)) } else { Err(refusal) }
    }

    fn descriptor(&self) -> Result<Arc<()>, Refusal> {
        Self::place(&self.ctx.descriptors, MAX_DESCRIPTORS, Refusal::Descriptors)
    }

    fn stream(&self) -> Result<Arc<()>, Refusal> {
        Self::place(&self.ctx.streams, MAX_STREAMS, Refusal::Streams)
    }

    fn writing(&mut self, fd: &Fd, at: Option<u64>) -> FsResult<Resource<DynOutputStream>> {
        let open = self.open(fd)?;
        open.file()?;
        let allowed = open.directory.check_write().and_then(|_| self.stream()).map_err(Fault::from);
        let place = self.end(&open, None, allowed)?;
        let stream: DynOutputStream = Box::new(Writing::new(open, Arc::clone(&self.ctx.told), at, place));
        Ok(self.table.push(stream)?)
    }
}

fn check_path(path: Option<&str>) -> FsResult<()> {
    if path.is_some_and(|path| path.len() > MAX_PATH) { Err(ErrorCode::NameTooLong.into()) } else { Ok(()) }
}

impl preopens::Host for View<'_> {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Fd, String)>> {
        let directories = Arc::clone(&self.ctx.directories);
        let all = directories.all.iter().map(|directory| {
            let path = directory.grant.guest().to_owned();
            // Another handle of the one descriptor that is open for all calls: only the table bounds these.
            let (what, directory) = (Descriptor::Dir(directory.top.clone()), Arc::clone(directory));
            let open = Arc::new(Open { directory, path: path.clone(), what, _held: None, _place: None });
            Ok((Resource::new_own(self.table.push(open)?.rep()), path))
        });
        all.collect()
    }
}

impl types::Host for View<'_> {
    fn convert_error_code(&mut self, error: FsError) -> wasmtime::Result<ErrorCode> {
        error.downcast()
    }

    fn filesystem_error_code(&mut self, error: Resource<wasmtime::Error>) -> wasmtime::Result<Option<ErrorCode>> {
        // Of streams alone, which carry the system's errors; refusals are among them.
        Ok(self.table.get(&error)?.downcast_ref::<std::io::Error>().map(ErrorCode::from))
    }
}

impl HostDescriptor for View<'_> {
    async fn open_at(
        &mut self,
        fd: Fd,
        path_flags: PathFlags,
        path: String,
        open_flags: OpenFlags,
        flags: DescriptorFlags,
    ) -> FsResult<Fd> {
        let at = self.open(&fd)?;
        check_path(Some(&path))?;
        let asked = Asked { path: path_flags, open: open_flags, flags };
        asked.check()?;
        let allowed = match at.directory.check_write() {
            Err(refusal) if asked.writes() => Err(refusal.into()),
            Ok(_) | Err(_) => self.descriptor().map_err(Fault::from),
        };
        let place = self.end(&at, Some(&path), allowed)?;
        let (from, name) = (Arc::clone(&at), path.clone());
        let opened = if at.directory.books.is_some() {
            // Alone, also where it only reads: whether a file is open decides what its removal frees.
            at.directory.change(move |books| directory::open_at(&from, Some(books), &name, asked)).await
        } else {
            at.directory.look(move || directory::open_at(&from, None, &name, asked)).await
        };
        let (what, held) = self.end(&at, Some(&path), opened)?;
        let directory = Arc::clone(&at.directory);
        self.push(Open { directory, path: at.join(&path), what, _held: held, _place: Some(place) })
    }

    async fn write(&mut self, fd: Fd, bytes: Vec<u8>, offset: u64) -> FsResult<u64> {
        self.change(fd, None, move |open, books| write(open, books, &bytes, Some(offset))).await
    }

    async fn set_size(&mut self, fd: Fd, size: u64) -> FsResult<()> {
        self.change(fd, None, move |open, books| {
            let file = open.file()?;
            open.directory.resize(books, file, size, || Ok(file.set_len(size)?))
        })
        .await
    }

    async fn create_directory_at(&mut self, fd: Fd, path: String) -> FsResult<()> {
        let name = path.clone();
        self.change(fd, Some(&path), move |at, books| directory::create_directory(at, books, name)).await
    }

    async fn unlink_file_at(&mut self, fd: Fd, path: String) -> FsResult<()> {
        let name = path.clone();
        self.change(fd, Some(&path), move |at, books| {
            directory::remove(at, books, name, |up, fd, name| now(up.view().unlink_file_at(fd, name)))
        })
        .await
    }

    async fn remove_directory_at(&mut self, fd: Fd, path: String) -> FsResult<()> {
        let name = path.clone();
        self.change(fd, Some(&path), move |at, books| {
            directory::remove(at, books, name, |up, fd, name| now(up.view().remove_directory_at(fd, name)))
        })
        .await
    }

    async fn rename_at(&mut self, fd: Fd, old: String, new_fd: Fd, new: String) -> FsResult<()> {
        let (from, to) = (self.open(&fd)?, self.open(&new_fd)?);
        check_path(Some(&new))?;
        // A directory of its own has a quota of its own: programs copy, as between two disks.
        if !Arc::ptr_eq(&from.directory, &to.directory) {
            return Err(ErrorCode::CrossDevice.into());
        }
        let name = old.clone();
        self.change(fd, Some(&old), move |from, books| directory::rename(from, name, &to, new, books)).await
    }

    async fn set_times(&mut self, fd: Fd, accessed: NewTimestamp, modified: NewTimestamp) -> FsResult<()> {
        self.change(fd, None, move |open, _| {
            let mut upstream = Upstream::new();
            let fd = upstream.put(open)?;
            Ok(now(upstream.view().set_times(fd, accessed, modified))?)
        })
        .await
    }

    async fn set_times_at(
        &mut self,
        fd: Fd,
        flags: PathFlags,
        path: String,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FsResult<()> {
        let name = path.clone();
        self.change(fd, Some(&path), move |open, _| {
            let mut upstream = Upstream::new();
            let fd = upstream.put(open)?;
            Ok(now(upstream.view().set_times_at(fd, flags, name, accessed, modified))?)
        })
        .await
    }

    async fn link_at(&mut self, _: Fd, _: PathFlags, _: String, new_fd: Fd, new: String) -> FsResult<()> {
        let at = self.open(&new_fd)?;
        self.end(&at, Some(&new), Err(Refusal::Link.into()))
    }

    async fn symlink_at(&mut self, fd: Fd, _: String, new: String) -> FsResult<()> {
        let at = self.open(&fd)?;
        self.end(&at, Some(&new), Err(Refusal::Link.into()))
    }

    fn read_via_stream(&mut self, fd: Fd, offset: u64) -> FsResult<Resource<DynInputStream>> {
        let open = self.open(&fd)?;
        let place = self.stream().map_err(Fault::from);
        let place = self.end(&open, None, place)?;
        let mut upstream = Upstream::new();
        let fd = upstream.put(&open)?;
        let stream = upstream.view().read_via_stream(fd, offset)?;
        let inner = upstream.table.delete(stream)?;
        let stream: DynInputStream = Box::new(Reading { inner, _open: open, _place: place });
        Ok(self.table.push(stream)?)
    }

    fn write_via_stream(&mut self, fd: Fd, offset: u64) -> FsResult<Resource<DynOutputStream>> {
        self.writing(&fd, Some(offset))
    }

    fn append_via_stream(&mut self, fd: Fd) -> FsResult<Resource<DynOutputStream>> {
        self.writing(&fd, None)
    }

    async fn read_directory(&mut self, fd: Fd) -> FsResult<Resource<DirectoryEntryStream>> {
        let open = self.open(&fd)?;
        let place = self.descriptor().map_err(Fault::from);
        let place = self.end(&open, None, place)?;
        let entries = Entries::open(Arc::clone(&open), place).await;
        let entries = self.end(&open, None, entries)?;
        Ok(Resource::new_own(self.table.push(entries)?.rep()))
    }

    async fn read(&mut self, fd: Fd, length: u64, offset: u64) -> FsResult<(Vec<u8>, bool)> {
        self.look(fd, None, move |up, fd| now(up.view().read(fd, length, offset))).await
    }

    async fn advise(&mut self, fd: Fd, offset: u64, length: u64, advice: Advice) -> FsResult<()> {
        self.look(fd, None, move |up, fd| now(up.view().advise(fd, offset, length, advice))).await
    }

    async fn sync(&mut self, fd: Fd) -> FsResult<()> {
        // What cannot be written has nothing of this call's to write out.
        if self.open(&fd)?.directory.books.is_none() {
            return Ok(());
        }
        self.look(fd, None, |up, fd| now(up.view().sync(fd))).await
    }

    async fn sync_data(&mut self, fd: Fd) -> FsResult<()> {
        if self.open(&fd)?.directory.books.is_none() {
            return Ok(());
        }
        self.look(fd, None, |up, fd| now(up.view().sync_data(fd))).await
    }

    async fn get_flags(&mut self, fd: Fd) -> FsResult<DescriptorFlags> {
        self.look(fd, None, |up, fd| now(up.view().get_flags(fd))).await
    }

    async fn get_type(&mut self, fd: Fd) -> FsResult<DescriptorType> {
        self.look(fd, None, |up, fd| now(up.view().get_type(fd))).await
    }

    async fn stat(&mut self, fd: Fd) -> FsResult<DescriptorStat> {
        self.look(fd, None, |up, fd| now(up.view().stat(fd))).await
    }

    async fn stat_at(&mut self, fd: Fd, flags: PathFlags, path: String) -> FsResult<DescriptorStat> {
        let name = path.clone();
        self.look(fd, Some(&path), move |up, fd| now(up.view().stat_at(fd, flags, name))).await
    }

    async fn readlink_at(&mut self, fd: Fd, path: String) -> FsResult<String> {
        let name = path.clone();
        self.look(fd, Some(&path), move |up, fd| now(up.view().readlink_at(fd, name))).await
    }

    async fn metadata_hash(&mut self, fd: Fd) -> FsResult<MetadataHashValue> {
        self.look(fd, None, |up, fd| now(up.view().metadata_hash(fd))).await
    }

    async fn metadata_hash_at(&mut self, fd: Fd, flags: PathFlags, path: String) -> FsResult<MetadataHashValue> {
        let name = path.clone();
        self.look(fd, Some(&path), move |up, fd| now(up.view().metadata_hash_at(fd, flags, name))).await
    }

    async fn is_same_object(&mut self, one: Fd, other: Fd) -> wasmtime::Result<bool> {
        let other = self.open(&other)?;
        let same = self.look(one, None, move |up, one| {
            let other = up.put(&other)?;
            now(up.view().is_same_object(one, other)).map_err(FsError::trap)
        });
        // Nothing that a guest does makes it fail, and the interface has no error here.
        same.await.map_err(wasmtime::Error::from)
    }

    fn drop(&mut self, fd: Fd) -> wasmtime::Result<()> {
        self.table.delete(Resource::<Arc<Open>>::new_own(fd.rep()))?;
        Ok(())
    }
}

impl HostDirectoryEntryStream for View<'_> {
    async fn read_directory_entry(
        &mut self,
        entries: Resource<DirectoryEntryStream>,
    ) -> FsResult<Option<DirectoryEntry>> {
        self.table.get_mut(&Resource::<Entries>::new_borrow(entries.rep()))?.next().await
    }

    fn drop(&mut self, entries: Resource<DirectoryEntryStream>) -> wasmtime::Result<()> {
        self.table.delete(Resource::<Entries>::new_own(entries.rep()))?;
        Ok(())
    }
}
