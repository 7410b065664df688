//! The file: JSON lines, one `write` a line, appended by every process that uses the state directory.
//!
//! Each process is a session with a gapless sequence of its own, so that no lock is on the path of a call.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::Path,
    sync::{Mutex, PoisonError, atomic::AtomicU64},
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
    /// Kept from line to line.
    buffer: Vec<u8>,
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
        let file = options.open(path)?;
        let mac = Hmac::new_from_slice(key).map_err(|_| io::Error::other("the key has no valid length"))?;
        let tail = Tail { file, next: 1, torn: false, buffer: Vec::with_capacity(1024) };
        Ok(Self { tail: Mutex::new(tail), calls: AtomicU64::new(1), mac, clock, session })
    }

    /// Appends `event` and returns its number in this session. It has reached the operating system when this returns:
    /// a crash of the process does not lose it; a crash of the machine may.
    ///
    /// # Errors
    /// When the line could not be written whole. The next line starts on a line of its own.
    pub fn append(&self, event: &Event<'_>) -> Result<u64, AuditError> {
        let time_ms = (self.clock)().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let Tail { file, next, torn, buffer } = &mut *tail;
        buffer.clear();
        if *torn {
            buffer.push(b'\n');
        }
        let line = Line { seq: *next, session: &self.session, time_ms, event };
        serde_json::to_writer(&mut *buffer, &line).map_err(io::Error::from)?;
        buffer.push(b'\n');
        // One `write`, so that lines of several processes never mix.
        let written = file.write(buffer)?;
        if written < buffer.len() {
            *torn = true;
            return Err(io::Error::new(io::ErrorKind::StorageFull, "the line was cut short").into());
        }
        *torn = false;
        let seq = *next;
        *next += 1;
        Ok(seq)
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
