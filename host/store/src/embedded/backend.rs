//! The file as redb sees it. The lock over it is this engine's (`open.rs`), and outlives redb's view of it.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use redb::StorageBackend;

use super::log::BASE;

/// Bytes of writes that wait to be written together, at most.
const MAX_PENDING: usize = 1 << 20;

/// One view of the file. After an error redb's state in memory is worth nothing, and a new view takes its place; the old one
/// must write no more, whatever redb does when it is dropped.
///
/// redb writes a commit page by page, and most of them lie beside each other: they are written together, when redb asks for
/// them to be on the disk. Nothing says that they are there before that.
///
/// redb's part of the file begins at [`BASE`], behind the log.
#[derive(Clone, Debug)]
pub(super) struct View {
    file: Arc<File>,
    over: Arc<AtomicBool>,
    pending: Arc<Mutex<Pending>>,
}

/// What redb wrote since it last asked for it to be on the disk. What could not be written stays: redb takes it for written, and
/// not every error of a write is one to it (it writes committed pages early to make room in its cache, and lets that fail).
#[derive(Debug, Default)]
struct Pending {
    writes: Vec<Write>,
    bytes: Vec<u8>,
    /// What lies beside each other, put together; kept for its memory.
    run: Vec<u8>,
}

/// A write that waits. No two of them overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Write {
    /// Where in the file.
    offset: u64,
    length: usize,
    /// Where in the bytes that wait.
    at: usize,
}

impl Write {
    fn end(self) -> u64 {
        self.offset.saturating_add(self.length as u64)
    }

    fn overlaps(self, offset: u64, length: usize) -> bool {
        self.offset < offset.saturating_add(length as u64) && offset < self.end()
    }
}

impl Pending {
    fn of(&self, write: Write) -> &[u8] {
        self.bytes.get(write.at..write.at + write.length).unwrap_or_default()
    }

    fn flush(&mut self, file: &File) -> io::Result<()> {
        let mut writes = std::mem::take(&mut self.writes);
        let mut run = std::mem::take(&mut self.run);
        // Since none overlap, their order is nobody's.
        writes.sort_unstable();
        let mut done = Ok(());
        let mut rest = writes.iter().copied().peekable();
        while let Some(mut last) = rest.next() {
            let offset = last.offset;
            run.clear();
            run.extend_from_slice(self.of(last));
            while let Some(next) = rest.next_if(|next| next.offset == last.end()) {
                run.extend_from_slice(self.of(next));
                last = next;
            }
            done = file.write_all_at(&run, offset);
            if done.is_err() {
                break;
            }
        }
        self.run = run;
        if done.is_ok() {
            writes.clear();
            self.bytes.clear();
        }
        self.writes = writes;
        done
    }

    /// Takes a write in; before that, writes what it would lie over, or what there is no room beside.
    fn push(&mut self, file: &File, offset: u64, data: &[u8]) -> io::Result<()> {
        let same = |write: &&Write| write.offset == offset && write.length == data.len();
        if let Some(write) = self.writes.iter().find(same).copied() {
            if let Some(bytes) = self.bytes.get_mut(write.at..write.at + write.length) {
                bytes.copy_from_slice(data);
            }
            return Ok(());
        }
        let full = self.bytes.len().saturating_add(data.len()) > MAX_PENDING;
        if full || self.writes.iter().any(|write| write.overlaps(offset, data.len())) {
            self.flush(file)?;
        }
        self.writes.push(Write { offset, length: data.len(), at: self.bytes.len() });
        self.bytes.extend_from_slice(data);
        Ok(())
    }

    /// Puts what waits over what was read of the file.
    fn overlay(&self, offset: u64, out: &mut [u8]) {
        let (length, end) = (out.len(), offset.saturating_add(out.len() as u64));
        for write in self.writes.iter().filter(|write| write.overlaps(offset, length)) {
            let from = write.offset.max(offset);
            let length = usize::try_from(write.end().min(end) - from).unwrap_or(0);
            let (source, target) = ((from - write.offset) as usize, (from - offset) as usize);
            let source = self.of(*write).get(source..source + length);
            if let (Some(source), Some(target)) = (source, out.get_mut(target..target + length)) {
                target.copy_from_slice(source);
            }
        }
    }
}

impl View {
    pub(super) fn new(file: Arc<File>) -> Self {
        Self { file, over: Arc::default(), pending: Arc::default() }
    }

    /// From now on nothing is written through this view.
    pub(super) fn end(&self) {
        let mut pending = self.pending();
        self.over.store(true, Ordering::Release);
        *pending = Pending::default();
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What waits, to be written: not once this view is over.
    fn writable(&self) -> io::Result<MutexGuard<'_, Pending>> {
        let pending = self.pending();
        if self.over.load(Ordering::Acquire) {
            return Err(io::Error::other("another view took its place"));
        }
        Ok(pending)
    }
}

impl StorageBackend for View {
    fn len(&self) -> io::Result<u64> {
        self.file.metadata().map(|metadata| metadata.len().saturating_sub(BASE))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let offset = in_file(offset)?;
        // What redb gave away before it asks for it again waits here, or is in the file.
        let pending = self.pending();
        if pending.writes.is_empty() {
            drop(pending);
            return self.file.read_exact_at(out, offset);
        }
        self.file.read_exact_at(out, offset)?;
        pending.overlay(offset, out);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut pending = self.writable()?;
        pending.flush(&self.file)?;
        self.file.set_len(in_file(len)?)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.writable()?.flush(&self.file)?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.writable()?.push(&self.file, in_file(offset)?, data)
    }
}

/// Where in the file what redb calls `offset` is.
fn in_file(offset: u64) -> io::Result<u64> {
    offset.checked_add(BASE).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(view: &View, offset: u64, length: usize) -> Vec<u8> {
        let mut out = vec![0; length];
        view.read(offset, &mut out).expect("read");
        out
    }

    fn on_disk(file: &File, offset: u64, length: usize) -> Vec<u8> {
        let mut out = vec![0; length];
        file.read_exact_at(&mut out, BASE + offset).expect("read");
        out
    }

    #[test]
    fn what_is_written_is_read_and_ends_in_the_file() {
        let file = Arc::new(tempfile::tempfile().expect("a file"));
        let view = View::new(Arc::clone(&file));
        view.set_len(64).expect("made");
        // Beside each other, apart, the same place again, and over what waits.
        for (offset, data) in [(8, b"cd"), (6, b"ab"), (20, b"xy"), (20, b"yz")] {
            view.write(offset, data).expect("taken");
        }
        assert_eq!(on_disk(&file, 6, 4), [0; 4], "it waits");
        assert_eq!((read(&view, 6, 4), read(&view, 19, 4)), (b"abcd".to_vec(), b"\0yz\0".to_vec()));
        assert_eq!((read(&view, 9, 2), read(&view, 7, 1)), (b"d\0".to_vec(), b"b".to_vec()));
        view.write(7, b"BC").expect("taken");
        assert_eq!(on_disk(&file, 6, 4), b"abcd", "what it lies over had to be written first");
        assert_eq!(read(&view, 6, 4), b"aBCd");
        view.write(30, &vec![7; MAX_PENDING]).expect("more than waits at one time");
        view.write(0, b"x").expect("taken");
        view.sync_data().expect("written");
        let all = on_disk(&file, 0, 30 + MAX_PENDING);
        assert_eq!((all[0], &all[6..10], &all[20..22]), (b'x', &b"aBCd"[..], &b"yz"[..]));
        assert!(all[30..].iter().all(|byte| *byte == 7));
        view.write(0, b"!").expect("taken");
        view.end();
        assert!(view.sync_data().is_err() && view.write(0, b"?").is_err() && view.set_len(1).is_err());
        assert_eq!((on_disk(&file, 0, 1), read(&view, 0, 1)), (b"x".to_vec(), b"x".to_vec()), "it writes nothing more");
    }

    /// redb lets some writes fail, and takes what was taken before for written.
    #[test]
    fn what_could_not_be_written_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        std::fs::write(&path, vec![0; BASE as usize + 64]).expect("written");
        let closed = Arc::new(File::open(&path).expect("opened to read"));
        let view = View::new(closed);
        view.write(3, b"abc").expect("taken");
        assert!(view.write(40, &vec![7; MAX_PENDING]).is_err(), "there is no room, and nothing can be written");
        assert_eq!((read(&view, 2, 5), read(&view, 40, 1)), (b"\0abc\0".to_vec(), vec![0]));
        assert!(view.sync_data().is_err());
        // As where the disk has room again: what waits is the same.
        let open = Arc::new(std::fs::OpenOptions::new().read(true).write(true).open(&path).expect("opened"));
        let healed = View { file: Arc::clone(&open), ..view };
        healed.sync_data().expect("written");
        assert_eq!(on_disk(&open, 2, 5), b"\0abc\0");
    }
}
