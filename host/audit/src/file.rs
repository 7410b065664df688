//! The file: JSON lines, appended by every process that uses the state directory, whole lines in one `write`.
//!
//! Each process is a session with a gapless sequence of its own, so that no process waits for another. Lines of calls are
//! staged, and those that are staged at one moment share a `write`, which would cost more than the sandbox of a call
//! otherwise (`tests/bench/README.md`).

use std::{
    fs::{File, OpenOptions},
    future::poll_fn,
    io::{self, Write},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, atomic::AtomicU64},
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

/// The open file.
#[derive(Debug)]
pub struct Ledger {
    tail: Mutex<Tail>,
    pub(crate) calls: AtomicU64,
    mac: Hmac<Sha256>,
    clock: Clock,
    session: String,
}

#[derive(Debug)]
struct Tail {
    file: File,
    /// The number of the next line.
    next: u64,
    /// The last write left part of a line.
    torn: bool,
    /// Lines that wait to be written; kept from write to write.
    buffer: Vec<u8>,
    /// Where each of them ends.
    ends: Vec<usize>,
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
        let (buffer, ends) = (Vec::with_capacity(4096), Vec::with_capacity(16));
        let tail = Tail { file, next: 1, torn: false, buffer, ends, batch: Arc::default() };
        Ok(Self { tail: Mutex::new(tail), calls: AtomicU64::new(1), mac, clock, session })
    }

    /// Appends `event` and returns its number in this session. It has reached the operating system when this returns:
    /// a crash of the process does not lose it; a crash of the machine may.
    ///
    /// # Errors
    /// When the line could not be written whole. The next line starts on a line of its own.
    pub fn append(&self, event: &Event<'_>) -> Result<u64, AuditError> {
        let mut tail = self.tail();
        let staged = tail.stage(&self.session, self.time_ms(), event)?;
        tail.write();
        staged.outcome()
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
        if staged.batch.0.get().is_none() {
            let mut tail = self.tail();
            // Somebody may have done it while this waited.
            if staged.batch.0.get().is_none() {
                tail.write();
            }
        }
        staged.outcome()
    }

    /// The same, after whatever else is ready to run on this thread has had the occasion to stage its own.
    ///
    /// # Errors
    /// As there.
    pub(crate) async fn settle_together(&self, staged: &Staged) -> Result<u64, AuditError> {
        let mut waited = false;
        poll_fn(|context| {
            if std::mem::replace(&mut waited, true) || staged.batch.0.get().is_some() {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        self.settle(staged)
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
        let before = self.buffer.len();
        if self.torn && before == 0 {
            self.buffer.push(b'\n');
        }
        let line = Line { seq: self.next, session, time_ms, event };
        if let Err(error) = serde_json::to_writer(&mut self.buffer, &line) {
            self.buffer.truncate(before);
            return Err(io::Error::from(error).into());
        }
        self.buffer.push(b'\n');
        let end = self.buffer.len();
        self.ends.push(end);
        let seq = self.next;
        self.next += 1;
        Ok(Staged { batch: Arc::clone(&self.batch), end, seq })
    }

    /// Writes what is staged, and tells those who staged it.
    fn write(&mut self) {
        // One `write`, so that lines of several processes never mix.
        let written = self.file.write(&self.buffer).map_err(|error| error.kind());
        let bytes = written.unwrap_or(0);
        let whole = self.ends.partition_point(|end| *end <= bytes);
        // A line that is not in the file has no number, and the next one starts on a line of its own.
        self.next -= (self.ends.len() - whole) as u64;
        let ended = whole.checked_sub(1).and_then(|last| self.ends.get(last)).copied().unwrap_or(0);
        self.torn = if bytes > 0 { bytes > ended } else { self.torn };
        self.buffer.clear();
        self.ends.clear();
        // Nobody else writes what came of this batch: whoever has the tail does.
        _ = std::mem::take(&mut self.batch).0.set(written);
    }
}

impl Staged {
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
mod tests {
    use super::*;

    /// The file takes a part of what is written: lines before the cut are there, the others are not, and the next begins on
    /// a line of its own, with the number of the first that is missing.
    #[cfg(unix)]
    #[test]
    fn of_a_write_that_is_cut_short_the_whole_lines_count() {
        use std::{
            io::Read,
            os::{fd::OwnedFd, unix::net::UnixStream},
        };

        let (ours, mut theirs) = UnixStream::pair().expect("sockets");
        for end in [&ours, &theirs] {
            end.set_nonblocking(true).expect("a flag");
        }
        let file = File::from(OwnedFd::from(ours));
        let ledger = Ledger::of(file, "s1".into(), &[0; 32], || UNIX_EPOCH).expect("a ledger");
        let stage = || ledger.stage(&Event::HostStopped).expect("JSON");
        // More than a socket holds.
        let staged: Vec<_> = (0..20_000).map(|_| stage()).collect();
        let written: Vec<_> = staged.iter().map(|staged| ledger.settle(staged).is_ok()).collect();
        let whole = written.iter().filter(|written| **written).count();
        assert!(whole > 0 && whole < written.len(), "{whole} of {}", written.len());
        assert!(written.iter().take(whole).all(|written| *written), "those before the cut");
        let mut text = Vec::new();
        // Its other end is open, so that there is no end to read.
        _ = theirs.read_to_end(&mut text);
        let next = stage();
        assert_eq!(ledger.settle(&next).expect("room"), whole as u64 + 1);
        _ = theirs.read_to_end(&mut text);
        let text = String::from_utf8(text).expect("text");
        let numbers = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let numbers: Vec<_> = numbers.filter_map(|line| line["seq"].as_u64()).collect();
        assert_eq!(numbers, (1..=whole as u64 + 1).collect::<Vec<_>>());
    }
}
