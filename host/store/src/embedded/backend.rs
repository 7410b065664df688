//! The file as redb sees it. The lock over it is this engine's (`open.rs`), and outlives redb's view of it.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use redb::StorageBackend;

/// One view of the file. After an error redb's state in memory is worth nothing, and a new view takes its place; the old one
/// must write no more, whatever redb does when it is dropped.
#[derive(Clone, Debug)]
pub(super) struct View {
    file: Arc<File>,
    over: Arc<AtomicBool>,
}

impl View {
    pub(super) fn new(file: Arc<File>) -> Self {
        Self { file, over: Arc::new(AtomicBool::new(false)) }
    }

    /// From now on nothing is written through this view.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Release);
    }

    fn writable(&self) -> io::Result<()> {
        if self.over.load(Ordering::Acquire) { Err(io::Error::other("another view took its place")) } else { Ok(()) }
    }
}

impl StorageBackend for View {
    fn len(&self) -> io::Result<u64> {
        self.file.metadata().map(|metadata| metadata.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.writable()?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.writable()?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.writable()?;
        self.file.write_all_at(data, offset)
    }
}
