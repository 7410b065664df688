//! The file as redb sees it. The lock over it is this engine's (`open.rs`), and outlives redb's view of it.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use redb::StorageBackend;

/// Bytes of writes that wait to be written together, at most.
const MAX_PENDING: usize = 1 << 20;

/// One view of the file. After an error redb's state in memory is worth nothing, and a new view takes its place; the old one
/// must write no more, whatever redb does when it is dropped.
///
/// redb writes a commit page by page, and most of them lie beside each other: they are written together, when redb asks for
/// them to be on the disk. Nothing says that they are there before that.
#[derive(Clone, Debug)]
pub(super) struct View {
    file: Arc<File>,
    over: Arc<AtomicBool>,
    pending: Arc<Mutex<Pending>>,
}

/// What redb wrote since it last asked for it to be on the disk.
#[derive(Debug, Default)]
struct Pending {
    /// Where each write goes, how long it is, and where it stands in `bytes`; in the order in which they came.
    writes: Vec<(u64, usize, usize)>,
    bytes: Vec<u8>,
    /// What lies beside each other, put together; kept for its memory.
    run: Vec<u8>,
}

impl Pending {
    fn overlaps(&self, offset: u64, length: usize) -> bool {
        let (from, to) = (offset, offset.saturating_add(length as u64));
        self.writes.iter().any(|(at, length, _)| *at < to && from < at.saturating_add(*length as u64))
    }

    fn flush(&mut self, file: &File) -> io::Result<()> {
        // None of them overlap, so their order is nobody's.
        self.writes.sort_unstable();
        let mut writes = self.writes.iter().peekable();
        let mut done = Ok(());
        while let Some((offset, length, at)) = writes.next() {
            self.run.clear();
            self.run.extend_from_slice(self.bytes.get(*at..*at + *length).unwrap_or_default());
            let mut end = *offset + *length as u64;
            while let Some((_, length, at)) = writes.next_if(|(next, ..)| *next == end) {
                self.run.extend_from_slice(self.bytes.get(*at..*at + *length).unwrap_or_default());
                end += *length as u64;
            }
            done = file.write_all_at(&self.run, *offset);
            if done.is_err() {
                break;
            }
        }
        // After an error redb asks for nothing more of this view.
        self.writes.clear();
        self.bytes.clear();
        done
    }
}

impl View {
    pub(super) fn new(file: Arc<File>) -> Self {
        Self { file, over: Arc::default(), pending: Arc::default() }
    }

    /// From now on nothing is written through this view.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Release);
    }

    fn writable(&self) -> io::Result<()> {
        if self.over.load(Ordering::Acquire) { Err(io::Error::other("another view took its place")) } else { Ok(()) }
    }

    /// Writes what waits, if `needed`.
    fn flush(&self, needed: impl FnOnce(&Pending) -> bool) -> io::Result<()> {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if pending.writes.is_empty() || !needed(&pending) {
            return Ok(());
        }
        self.writable()?;
        pending.flush(&self.file)
    }
}

impl StorageBackend for View {
    fn len(&self) -> io::Result<u64> {
        self.flush(|_| true)?;
        self.file.metadata().map(|metadata| metadata.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.flush(|pending| pending.overlaps(offset, out.len()))?;
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.writable()?;
        self.flush(|_| true)?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.writable()?;
        self.flush(|_| true)?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.writable()?;
        self.flush(|pending| {
            pending.bytes.len().saturating_add(data.len()) > MAX_PENDING || pending.overlaps(offset, data.len())
        })?;
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let at = pending.bytes.len();
        pending.bytes.extend_from_slice(data);
        pending.writes.push((offset, data.len(), at));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_ends_in_the_file() {
        let file = Arc::new(tempfile::tempfile().expect("a file"));
        let view = View::new(Arc::clone(&file));
        let read = |offset, length| {
            let mut out = vec![0; length];
            view.read(offset, &mut out).map(|()| out)
        };
        view.set_len(64).expect("made");
        // Beside each other, apart, and over what waits.
        for (offset, data) in [(8, b"cd"), (6, b"ab"), (20, b"yz"), (7, b"BC")] {
            view.write(offset, data).expect("taken");
        }
        let mut out = [0; 4];
        file.read_exact_at(&mut out, 6).expect("read");
        assert_eq!(&out, b"abcd", "what was overwritten had to be written first");
        assert_eq!(read(6, 4).expect("read"), b"aBCd");
        assert_eq!(read(19, 4).expect("read"), b"\0yz\0");
        view.write(30, &vec![7; MAX_PENDING]).expect("more than waits at one time");
        view.write(0, b"x").expect("taken");
        view.sync_data().expect("written");
        let mut out = vec![0; 30 + MAX_PENDING];
        file.read_exact_at(&mut out, 0).expect("read");
        assert_eq!(
            (out[0], &out[6..10], &out[20..22], out[30], out[29 + MAX_PENDING]),
            (b'x', &b"aBCd"[..], &b"yz"[..], 7, 7)
        );
        view.write(0, b"!").expect("taken");
        view.end();
        assert!(view.sync_data().is_err() && view.write(0, b"?").is_err() && view.len().is_err());
        file.read_exact_at(&mut out[..1], 0).expect("read");
        assert_eq!(out[0], b'x', "a view that is over writes nothing");
    }
}
