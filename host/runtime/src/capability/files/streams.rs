//! A file's bytes as streams. Work never runs on the threads that serve, and growth is charged like any other.

use std::{fs::File, io, mem, os::unix::fs::FileExt, sync::Arc};

use bytes::Bytes;
use wasmtime_wasi::p2::{
    DynInputStream, InputStream, OutputStream, Pollable, StreamError, StreamResult,
    bindings::filesystem::types::ErrorCode,
};

use super::{
    descriptor::Open,
    directory::Task,
    told::{Fault, Told},
};

/// Bytes that a guest may hand over in one write, and so the host's memory for each stream.
const CHUNK: usize = 64 << 10;

/// Upstream's stream, but for its blocking read: that would hold the thread it is called on.
pub(super) struct Reading {
    pub(super) inner: DynInputStream,
    pub(super) _open: Arc<Open>,
    pub(super) _place: Arc<()>,
}

#[wasmtime_wasi::async_trait]
impl InputStream for Reading {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        self.inner.read(size)
    }

    async fn blocking_read(&mut self, size: usize) -> StreamResult<Bytes> {
        // Begins to read, where nothing is there yet.
        let there = self.inner.read(size)?;
        if !there.is_empty() || size == 0 {
            return Ok(there);
        }
        self.inner.ready().await;
        self.inner.read(size)
    }

    async fn cancel(&mut self) {
        self.inner.cancel().await;
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Reading {
    async fn ready(&mut self) {
        self.inner.ready().await;
    }
}

/// Writes to a file, within its directory's quota.
pub(super) struct Writing {
    open: Arc<Open>,
    told: Arc<Told>,
    /// Where the next byte goes; none is the end of the file, whatever that is then.
    at: Option<u64>,
    state: State,
    _place: Arc<()>,
}

enum State {
    Ready,
    /// One write at a time: nothing heaps up.
    Busy(Task<u64>),
    Failed(io::Error),
    Closed,
}

impl Writing {
    pub(super) fn new(open: Arc<Open>, told: Arc<Told>, at: Option<u64>, place: Arc<()>) -> Self {
        Self { open, told, at, state: State::Ready, _place: place }
    }

    async fn settle(&mut self) {
        let State::Busy(task) = &mut self.state else { return };
        self.state = match task.await {
            Ok(written) => {
                self.at = self.at.map(|at| at.saturating_add(written));
                State::Ready
            }
            Err(Fault::Refused(refusal)) => {
                let directory = &self.open.directory;
                self.told.refused(&directory.grant, directory.configured.as_ref(), &self.open.path, refusal);
                State::Failed(refusal.errno().into())
            }
            Err(Fault::Io(error)) => State::Failed(error),
            Err(Fault::Fs(error)) => State::Failed(io::Error::other(error)),
        };
    }

    /// What went wrong before, once; after that the stream is closed.
    fn failure(&mut self) -> StreamResult<()> {
        match mem::replace(&mut self.state, State::Closed) {
            State::Failed(error) => Err(StreamError::LastOperationFailed(error.into())),
            State::Closed => Err(StreamError::Closed),
            going_on @ (State::Ready | State::Busy(_)) => {
                self.state = going_on;
                Ok(())
            }
        }
    }
}

#[wasmtime_wasi::async_trait]
impl OutputStream for Writing {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.failure()?;
        if matches!(self.state, State::Busy(_)) {
            return Err(StreamError::trap("a write before the last one was done"));
        }
        // Nothing to do, and nothing is kept of it, so that it need not be counted (GHSA-5m8g-xhq4-4h93).
        if bytes.is_empty() {
            return Ok(());
        }
        let (open, at) = (Arc::clone(&self.open), self.at);
        self.state = State::Busy(Task::spawn(async move {
            let directory = Arc::clone(&open.directory);
            directory.change(move |books| write(&open, books, &bytes, at)).await
        }));
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.failure()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.failure()?;
        Ok(if matches!(self.state, State::Busy(_)) { 0 } else { CHUNK })
    }

    /// What was handed over is written, also where the guest drops the stream before it is.
    async fn cancel(&mut self) {
        self.settle().await;
        self.state = State::Closed;
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Writing {
    async fn ready(&mut self) {
        self.settle().await;
    }
}

/// Writes all of `bytes` at this place, or at the end. With the directory's turn in hand.
pub(super) fn write(open: &Open, books: &super::books::Books, bytes: &[u8], at: Option<u64>) -> Result<u64, Fault> {
    let file: &File = open.file()?;
    let at = match at {
        Some(at) => at,
        None => file.metadata()?.len(),
    };
    let length = bytes.len() as u64;
    let end = at.checked_add(length).ok_or(ErrorCode::FileTooLarge)?;
    open.directory.resize(books, file, end, || Ok(file.write_all_at(bytes, at)?))?;
    Ok(length)
}
