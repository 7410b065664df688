//! What a call leaves behind whatever happens to it: what it printed, and the memory that it reached.
//!
//! Standard output and error end here, bounded, and nowhere else: no byte of them can reach a transport.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::{
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamError, StreamResult},
};

/// Bytes kept of a call's standard output and error together; what comes later is dropped, and the log says so.
const MAX_BYTES: usize = 64 << 10;
/// Operations on the two streams in one call, empty ones included, before the guest is stopped: each costs the host
/// more than the guest (GHSA-5m8g-xhq4-4h93).
const MAX_OPERATIONS: u64 = 1_000_000;
/// Bytes that a guest may hand over in one write.
const CHUNK: usize = 64 << 10;

/// The guest used its output streams too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogFlood;

impl fmt::Display for LogFlood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "more than {MAX_OPERATIONS} operations on standard output and error")
    }
}

impl std::error::Error for LogFlood {}

/// How a line came into the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogSource {
    /// Through standard output.
    Stdout,
    /// Through standard error.
    Stderr,
    /// Through `wasi:logging`, at this level.
    Log(LogLevel),
}

/// The levels of `wasi:logging`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// What happens, step by step.
    Trace,
    /// What helps to find a fault.
    Debug,
    /// What an operator may want to know.
    Info,
    /// What may go wrong.
    Warn,
    /// What went wrong.
    Error,
    /// What ends the program.
    Critical,
}

impl LogSource {
    /// `stdout`, `stderr`, or the level.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Log(LogLevel::Trace) => "trace",
            Self::Log(LogLevel::Debug) => "debug",
            Self::Log(LogLevel::Info) => "info",
            Self::Log(LogLevel::Warn) => "warn",
            Self::Log(LogLevel::Error) => "error",
            Self::Log(LogLevel::Critical) => "critical",
        }
    }
}

/// One line that a guest printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// How it came.
    pub source: LogSource,
    /// The text, without the line feed; bytes that are no UTF-8 replaced. Escape it before a person's terminal sees it.
    pub text: String,
}

/// The log of one call.
#[derive(Debug, Default)]
pub(crate) struct CallLog {
    peak_memory: AtomicU64,
    operations: AtomicU64,
    printed: Mutex<Printed>,
}

#[derive(Debug, Default)]
struct Printed {
    /// In the order in which it came.
    chunks: Vec<(LogSource, Vec<u8>)>,
    bytes: usize,
    dropped: u64,
}

impl CallLog {
    pub(crate) fn peak_memory(&self, bytes: u64) {
        self.peak_memory.fetch_max(bytes, Ordering::Relaxed);
    }

    pub(crate) fn used_memory(&self) -> u64 {
        self.peak_memory.load(Ordering::Relaxed)
    }

    pub(crate) fn stdout(self: &Arc<Self>) -> Printer {
        Printer { log: Arc::clone(self), stream: LogSource::Stdout }
    }

    pub(crate) fn stderr(self: &Arc<Self>) -> Printer {
        Printer { log: Arc::clone(self), stream: LogSource::Stderr }
    }

    /// What was printed, line by line, and how many bytes were dropped past the bound.
    pub(crate) fn lines(&self) -> (Vec<LogLine>, u64) {
        let printed = self.printed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines = Vec::new();
        let mut open: [Option<Vec<u8>>; 2] = [None, None];
        for (source, chunk) in &printed.chunks {
            let [out, err] = &mut open;
            let source = *source;
            let line = match source {
                LogSource::Stdout => out,
                LogSource::Stderr => err,
                LogSource::Log(_) => {
                    let text = chunk.strip_suffix(b"\n").unwrap_or(chunk);
                    let texts = text.split(|byte| *byte == b'\n').map(String::from_utf8_lossy);
                    lines.extend(texts.map(|text| LogLine { source, text: text.into_owned() }));
                    continue;
                }
            };
            for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
                let text = line.get_or_insert_with(Vec::new);
                text.extend_from_slice(piece.strip_suffix(b"\n").unwrap_or(piece));
                if piece.ends_with(b"\n") {
                    lines.push(LogLine { source, text: String::from_utf8_lossy(text).into_owned() });
                    *line = None;
                }
            }
        }
        for (source, text) in [LogSource::Stdout, LogSource::Stderr].into_iter().zip(open) {
            lines.extend(text.map(|text| LogLine { source, text: String::from_utf8_lossy(&text).into_owned() }));
        }
        (lines, printed.dropped)
    }

    fn operation(&self) -> StreamResult<()> {
        if self.operations.fetch_add(1, Ordering::Relaxed) < MAX_OPERATIONS {
            Ok(())
        } else {
            Err(StreamError::Trap(LogFlood.into()))
        }
    }

    /// A line of `wasi:logging`.
    pub(crate) fn log(&self, level: LogLevel, context: &str, message: &str) -> Result<(), LogFlood> {
        if self.operations.fetch_add(1, Ordering::Relaxed) >= MAX_OPERATIONS {
            return Err(LogFlood);
        }
        let line = if context.is_empty() { format!("{message}\n") } else { format!("{context}: {message}\n") };
        self.print(LogSource::Log(level), line.as_bytes());
        Ok(())
    }

    fn print(&self, stream: LogSource, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let mut printed = self.printed.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = bytes.get(..MAX_BYTES - printed.bytes).unwrap_or(bytes);
        printed.dropped += (bytes.len() - kept.len()) as u64;
        if kept.is_empty() {
            return;
        }
        printed.bytes += kept.len();
        match printed.chunks.last_mut() {
            // Joined with what came before: a program may write byte by byte.
            Some((last, chunk)) if *last == stream => chunk.extend_from_slice(kept),
            Some(_) | None => printed.chunks.push((stream, kept.to_vec())),
        }
    }
}

/// One of the two streams.
#[derive(Clone)]
pub(crate) struct Printer {
    log: Arc<CallLog>,
    stream: LogSource,
}

impl IsTerminal for Printer {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Printer {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    /// WASI 0.3's way to a stream; its interfaces are not linked.
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }
}

impl OutputStream for Printer {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.log.operation()?;
        self.log.print(self.stream, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.log.operation()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.log.operation()?;
        Ok(CHUNK)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Printer {
    async fn ready(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_keep_their_stream_and_order() {
        let log = Arc::new(CallLog::default());
        let (mut out, mut err) = (log.stdout(), log.stderr());
        out.write("a".into()).expect("a write");
        err.write("x\n".into()).expect("a write");
        out.write("b\nc".into()).expect("a write");
        log.log(LogLevel::Warn, "disk", "half\nfull").expect("a line");
        log.log(LogLevel::Info, "", "done").expect("a line");
        let line = |source, text: &str| LogLine { source, text: text.into() };
        let (out, err, warn) = (LogSource::Stdout, LogSource::Stderr, LogSource::Log(LogLevel::Warn));
        let expected = [
            line(err, "x"),
            line(out, "ab"),
            line(warn, "disk: half"),
            line(warn, "full"),
            line(LogSource::Log(LogLevel::Info), "done"),
            line(out, "c"),
        ];
        assert_eq!(log.lines(), (expected.to_vec(), 0));
    }

    #[test]
    fn bytes_and_operations_are_bounded() {
        let log = Arc::new(CallLog::default());
        let mut out = log.stdout();
        for _ in 0..3 {
            out.write(vec![b'x'; MAX_BYTES / 2].into()).expect("a write");
        }
        assert_eq!(log.lines().1, MAX_BYTES as u64 / 2);
        for _ in 3..MAX_OPERATIONS {
            out.write(Bytes::new()).expect("an empty write");
        }
        assert!(matches!(out.write(Bytes::new()), Err(StreamError::Trap(error)) if error.is::<LogFlood>()));
    }
}
