//! What a guest's handle stands for, and how upstream's operations run on it.

use std::{
    fs::File,
    future::Future,
    io,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use wasmtime::component::{Resource, ResourceTable};
use wasmtime_wasi::{
    filesystem::{Descriptor, WasiFilesystemCtx, WasiFilesystemCtxView},
    p2::{FsResult, bindings::filesystem::types::ErrorCode},
};

use super::{
    books::{Books, FileId},
    directory::Directory,
};

/// A file or directory that a call has open. Whatever works on it shares it: the last to end closes it.
pub(super) struct Open {
    pub(super) directory: Arc<Directory>,
    /// Where it is for the guest.
    pub(super) path: String,
    /// Made so that upstream works on the current thread, which is one for blocking.
    pub(super) what: Descriptor,
    /// Keeps the bytes of a removed file in the books.
    pub(super) _held: Option<Hold>,
    /// Its place among those that a call may have.
    pub(super) _place: Option<Arc<()>>,
}

impl Open {
    /// The directory that it is.
    ///
    /// # Errors
    /// When it is a file.
    pub(super) fn dir(&self) -> Result<&Arc<File>, ErrorCode> {
        match &self.what {
            Descriptor::Dir(dir) => Ok(&dir.dir),
            Descriptor::File(_) => Err(ErrorCode::NotDirectory),
        }
    }

    /// The file that it is.
    ///
    /// # Errors
    /// When it is a directory.
    pub(super) fn file(&self) -> Result<&Arc<File>, ErrorCode> {
        match &self.what {
            Descriptor::File(file) => Ok(&file.file),
            Descriptor::Dir(_) => Err(ErrorCode::BadDescriptor),
        }
    }

    /// A directory, for resolving paths that never leave it.
    pub(super) fn beneath(&self) -> Result<cap_std::fs::Dir, super::told::Fault> {
        Ok(cap_std::fs::Dir::from_std_file(self.dir()?.try_clone()?))
    }

    /// The guest's name of `path` from here.
    pub(super) fn join(&self, path: &str) -> String {
        format!("{}/{path}", self.path.trim_end_matches('/'))
    }
}

/// A file that is open, in the books of its directory.
pub(super) struct Hold {
    books: Arc<Books>,
    id: FileId,
}

impl Hold {
    pub(super) fn new(books: &Arc<Books>, id: FileId) -> Self {
        books.hold(id);
        Self { books: Arc::clone(books), id }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.books.release(self.id);
    }
}

/// Upstream's implementation with a table of its own, so that its operations can run apart from the call's store.
pub(super) struct Upstream {
    ctx: WasiFilesystemCtx,
    pub(super) table: ResourceTable,
}

impl Upstream {
    pub(super) fn new() -> Self {
        Self { ctx: WasiFilesystemCtx::default(), table: ResourceTable::new() }
    }

    pub(super) fn put(&mut self, open: &Open) -> FsResult<Resource<Descriptor>> {
        Ok(self.table.push(open.what.clone())?)
    }

    pub(super) fn view(&mut self) -> WasiFilesystemCtxView<'_> {
        WasiFilesystemCtxView { ctx: &mut self.ctx, table: &mut self.table }
    }
}

/// What an operation of upstream's gives that works on the current thread, and so is done when it is first looked at.
pub(super) fn now<T, E: From<io::Error>>(operation: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    match pin!(operation).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => Err(io::Error::other("an operation of files waits").into()),
    }
}
