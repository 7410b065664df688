//! The file: JSON lines, appended by every process that uses the state directory, whole lines in one `write`.
//!
//! Each process is a session with a gapless sequence of its own, so that no process waits for another. Lines of calls are
//! staged, and those that are staged at one moment share a `write`, which would cost more than the sandbox of a call
//! otherwise (`tests/bench/README.md`). Meanwhile others stage the next.

use std::{
    fs::{File, OpenOptions},
    future::poll_fn,
    io::{self, Write},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError, atomic::AtomicU64},
    task::Poll,
    time::{SystemTime, UNIX_EPOCH},
};

use hmac::{Hmac, KeyInit, Mac};
use portcullis_policy::hex;
use serde::Serialize;
use sha2::Sha256;

use crate::Event;

/// Where the time comes from.
pub type Clock = fn() -> SystemTime;

/// The ledger could not be written; what was to be recorded must not happen.
#[derive(Debug, thiserror::Error)]
#[error("the audit log could not be written")]
pub struct AuditError(#[from] io::Error);

/// How often a line lets others go first before it waits for whoever writes.
const TURNS: u32 = 8;

/// The open file.
#[derive(Debug)]
pub struct Ledger {
    /// Taken before the tail, by whoever writes.
    file: Mutex<Pen>,
    tail: Mutex<Tail>,
    pub(crate) calls: AtomicU64,
    mac: Hmac<Sha256>,
    clock: Clock,
    session: String,
}

#[derive(Debug)]
struct Pen {
    file: File,
    /// What is being written; kept for its memory.
    lines: Lines,
}

/// Lines and where each of them ends.
#[derive(Debug, Default)]
struct Lines {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

#[derive(Debug)]
struct Tail {
    /// The number of the next line.
    next: u64,
    /// The last write left part of a line.
    torn: bool,
    /// Those that wait to be written.
    lines: Lines,
    /// What comes of them.
    batch: Arc<Batch>,
}

/// What came of lines that share a `write`: how many bytes of them stand in the file.
#[derive(Debug, Default)]
struct Batch(OnceLock<Result<usize, io::ErrorKind>>);

/// A line on its way into the file. Whoever has it asks [`Ledger::settle`] what came of it.
#[derive(Debug)]
pub(crate) struct Staged {
    batch: Arc<Batch>,
    end: usize,
    seq: u64,
}

#[derive(Serialize)]
struct Line<'a> {
    seq: u64,
    session: &'a str,
    time_ms: u64,
    #[serde(flatten)]
    event: &'a Event<'a>,
}

impl Ledger {
    /// Opens the file at `path`, or makes it, readable by its owner alone. `session` names this process uniquely;
    /// `key` is the one that arguments are recorded under.
    ///
    /// # Errors
    /// When the file cannot be opened for appending.
    pub fn open(path: &Path, session: String, key: &[u8; 32], clock: Clock) -> Result<Self, AuditError> {
        let mut options = OpenOptions::new();
        options.create(true).append(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        Self::of(options.open(path)?, session, key, clock)
    }

    fn of(file: File, session: String, key: &[u8; 32], clock: Clock) -> Result<Self, AuditError> {
        let mac = Hmac::new_from_slice(key).map_err(|_| io::Error::other("the key has no valid length"))?;
        let file = Mutex::new(Pen { file, lines: Lines::default() });
        let tail = Tail { next: 1, torn: false, lines: Lines::default(), batch: Arc::default() };
        Ok(Self { file, tail: Mutex::new(tail), calls: AtomicU64::new(1), mac, clock, session })
    }

    /// Appends `event` and returns its number in this session. It has reached the operating system when this returns:
    /// a crash of the process does not lose it; a crash of the machine may.
    ///
    /// # Errors
    /// When the line could not be written whole. The next line starts on a line of its own.
    pub fn append(&self, event: &Event<'_>) -> Result<u64, AuditError> {
        self.settle(&self.stage(event)?)
    }

    /// Stages `event`: it is written with whatever else is staged, by the first who cannot wait.
    ///
    /// # Errors
    /// When it is no JSON.
    pub(crate) fn stage(&self, event: &Event<'_>) -> Result<Staged, AuditError> {
        self.tail().stage(&self.session, self.time_ms(), event)
    }

    /// Makes sure that a staged line has reached the operating system, as [`Self::append`] does.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn settle(&self, staged: &Staged) -> Result<u64, AuditError> {
        if !staged.is_settled() {
            let pen = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            // Somebody may have done it while this waited.
            if !staged.is_settled() {
                self.write(pen);
            }
        }
        staged.outcome()
    }

    /// The same, after whatever else is ready to run on this thread has had the occasion to stage its own.
    ///
    /// # Errors
    /// As there.
    pub(crate) async fn settle_together(&self, staged: &Staged) -> Result<u64, AuditError> {
        let mut turns = 0;
        poll_fn(|context| {
            if staged.is_settled() {
                return Poll::Ready(());
            }
            turns += 1;
            if turns > 1 {
                match self.file.try_lock() {
                    Ok(pen) => {
                        if !staged.is_settled() {
                            self.write(pen);
                        }
                        return Poll::Ready(());
                    }
                    // Whoever writes began before this line was staged.
                    Err(TryLockError::WouldBlock) if turns < TURNS => {}
                    Err(_) => return Poll::Ready(()),
                }
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        self.settle(staged)
    }

    /// Writes what is staged, and tells those who staged it.
    fn write(&self, mut pen: MutexGuard<'_, Pen>) {
        let Pen { file, lines } = &mut *pen;
        let (batch, torn) = {
            let mut tail = self.tail();
            std::mem::swap(lines, &mut tail.lines);
            (std::mem::take(&mut tail.batch), std::mem::take(&mut tail.torn))
        };
        // One `write`, so that lines of several processes never mix.
        let written = file.write(&lines.bytes).map_err(|error| error.kind());
        if written.unwrap_or(0) < lines.bytes.len() {
            self.tail().cut(lines, written, torn);
        }
        lines.bytes.clear();
        lines.ends.clear();
        // Nobody else writes what came of this batch: whoever took it does.
        _ = batch.0.set(written);
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn time_ms(&self) -> u64 {
        (self.clock)().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
    }

    /// What stands in the file for some arguments: equal for equal bytes, and nothing to guess from without the key.
    pub(crate) fn mac(&self, bytes: &[u8]) -> String {
        let mut mac = self.mac.clone();
        mac.update(bytes);
        hex(&mac.finalize().into_bytes())
    }

    pub(crate) fn now(&self) -> SystemTime {
        (self.clock)()
    }
}

impl Tail {
    fn stage(&mut self, session: &str, time_ms: u64, event: &Event<'_>) -> Result<Staged, AuditError> {
        let Lines { bytes, ends } = &mut self.lines;
        let before = bytes.len();
        if self.torn && before == 0 {
            bytes.push(b'\n');
        }
        let line = Line { seq: self.next, session, time_ms, event };
        if let Err(error) = serde_json::to_writer(&mut *bytes, &line) {
            bytes.truncate(before);
            return Err(io::Error::from(error).into());
        }
        bytes.push(b'\n');
        let end = bytes.len();
        ends.push(end);
        let seq = self.next;
        self.next += 1;
        Ok(Staged { batch: Arc::clone(&self.batch), end, seq })
    }

    /// Not all of `lines` came into the file, which was `torn` before. A line that is not whole there has no number, and the
    /// next begins on a line of its own. Those that were staged meanwhile have later numbers: they share its fate.
    fn cut(&mut self, lines: &Lines, written: Result<usize, io::ErrorKind>, torn: bool) {
        let bytes = written.unwrap_or(0);
        let whole = lines.ends.partition_point(|end| *end <= bytes);
        self.next -= (lines.ends.len() - whole + self.lines.ends.len()) as u64;
        let ended = whole.checked_sub(1).and_then(|last| lines.ends.get(last)).copied().unwrap_or(0);
        self.torn = if bytes > 0 { bytes > ended } else { torn };
        self.lines.bytes.clear();
        self.lines.ends.clear();
        _ = std::mem::take(&mut self.batch).0.set(written.map(|_| 0));
    }
}

impl Staged {
    fn is_settled(&self) -> bool {
        self.batch.0.get().is_some()
    }

    /// What came of it, once it was written.
    fn outcome(&self) -> Result<u64, AuditError> {
        match self.batch.0.get() {
            Some(Ok(bytes)) if self.end <= *bytes => Ok(self.seq),
            Some(Err(kind)) => Err(io::Error::from(*kind).into()),
            // The disk is full, most likely.
            Some(Ok(_)) | None => Err(io::Error::new(io::ErrorKind::StorageFull, "the line was cut short").into()),
        }
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::{
        io::Read,
        os::{fd::OwnedFd, unix::net::UnixStream},
        thread,
        time::Duration,
    };

    use super::*;

    /// More than a socket holds.
    const MANY: usize = 20_000;

    /// A ledger whose file takes a part of what is written, and its other end. Open, so that there is no end to read.
    fn small(impatience: Option<Duration>) -> (Ledger, UnixStream) {
        let (ours, theirs) = UnixStream::pair().expect("sockets");
        theirs.set_nonblocking(true).expect("a flag");
        ours.set_nonblocking(impatience.is_none()).expect("a flag");
        ours.set_write_timeout(impatience).expect("a time");
        let file = File::from(OwnedFd::from(ours));
        (Ledger::of(file, "s1".into(), &[0; 32], || UNIX_EPOCH).expect("a ledger"), theirs)
    }

    fn stage(ledger: &Ledger) -> Staged {
        ledger.stage(&Event::HostStopped).expect("JSON")
    }

    /// The numbers of whole lines.
    fn numbers(text: Vec<u8>) -> Vec<u64> {
        let text = String::from_utf8(text).expect("text");
        let numbers = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        numbers.filter_map(|line| line["seq"].as_u64()).collect()
    }

    /// Lines before the cut are there, the others are not, and the next begins on a line of its own, with the number of the
    /// first that is missing.
    #[test]
    fn of_a_write_that_is_cut_short_the_whole_lines_count() {
        let (ledger, mut theirs) = small(None);
        let staged: Vec<_> = (0..MANY).map(|_| stage(&ledger)).collect();
        let written: Vec<_> = staged.iter().map(|staged| ledger.settle(staged).is_ok()).collect();
        let whole = written.iter().filter(|written| **written).count();
        assert!(whole > 0 && whole < written.len(), "{whole} of {}", written.len());
        assert!(written.iter().take(whole).all(|written| *written), "those before the cut");
        let mut text = Vec::new();
        _ = theirs.read_to_end(&mut text);
        let next = stage(&ledger);
        assert_eq!(ledger.settle(&next).expect("room"), whole as u64 + 1);
        _ = theirs.read_to_end(&mut text);
        assert_eq!(numbers(text), (1..=whole as u64 + 1).collect::<Vec<_>>());
    }

    /// What is staged while others write has numbers behind theirs, and is not there without them.
    #[test]
    fn what_is_staged_during_a_write_that_is_cut_short_is_not_there() {
        let (ledger, mut theirs) = small(Some(Duration::from_millis(300)));
        let staged: Vec<_> = (0..MANY).map(|_| stage(&ledger)).collect();
        let (whole, later) = thread::scope(|scope| {
            let writing = scope.spawn(|| staged.iter().filter(|staged| ledger.settle(staged).is_ok()).count());
            while ledger.file.try_lock().is_ok() && !writing.is_finished() {
                thread::yield_now();
            }
            let later = stage(&ledger);
            assert!(later.seq > MANY as u64, "it was staged meanwhile");
            (writing.join().expect("an end"), later)
        });
        assert!(whole > 0 && whole < MANY, "{whole}");
        let mut text = Vec::new();
        // There is room again.
        _ = theirs.read_to_end(&mut text);
        assert!(ledger.settle(&later).is_err());
        assert_eq!(ledger.append(&Event::HostStopped).expect("room"), whole as u64 + 1);
        _ = theirs.read_to_end(&mut text);
        assert_eq!(numbers(text), (1..=whole as u64 + 1).collect::<Vec<_>>());
    }
}
