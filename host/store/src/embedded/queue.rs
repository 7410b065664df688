//! What waits to be written: bounded in number and bytes, taken by the writer all at once.

use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::contract::{Bucket, Entry, Key, Operation, SetOptions, StoreError, Version, Writer};

/// Most bytes that wait to be written, in KiB: four of the largest operations.
const MAX_KIB: usize = 64 << 10;
/// What an operation counts at least, so that at most 1024 wait.
const LEAST_KIB: usize = 64;

/// What is to be done.
pub(super) enum Work {
    Write {
        writer: Writer,
        operations: Vec<Operation>,
    },
    Increment {
        writer: Writer,
        key: Key,
        delta: i64,
        options: SetOptions,
    },
    Import {
        version: Version,
        entries: Vec<Entry>,
    },
    Settle,
    /// Nothing but a commit: whether the disk takes one.
    Probe,
}

impl Work {
    fn bytes(&self) -> usize {
        match self {
            Self::Write { operations, .. } => operations.iter().map(operation_bytes).sum(),
            Self::Import { entries, .. } => entries.iter().map(|entry| entry.value.len()).sum(),
            Self::Increment { .. } | Self::Settle | Self::Probe => 0,
        }
    }
}

fn operation_bytes(operation: &Operation) -> usize {
    match operation {
        Operation::Set { value, .. } => value.len(),
        Operation::Delete { .. } | Operation::Check { .. } => 0,
    }
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Done {
    Written(Vec<Option<Version>>),
    Counted(i64, Version),
    Settled,
}

pub(super) type Answer = Result<Done, StoreError>;

/// One operation that waits.
pub(super) struct Job {
    pub(super) bucket: Bucket,
    pub(super) work: Work,
    pub(super) reply: oneshot::Sender<Answer>,
    place: Arc<Place>,
    _room: OwnedSemaphorePermit,
}

/// Where a job is: whoever changes it first decides whether it is done.
struct Place(AtomicU8);

const WAITING: u8 = 0;
const TAKEN: u8 = 1;
const GIVEN_UP: u8 = 2;

impl Place {
    fn leave(&self, to: u8) -> bool {
        self.0.compare_exchange(WAITING, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// Gives the job up when it is dropped: a caller that goes away before the writer has begun leaves nothing behind.
struct Claim(Arc<Place>);

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.leave(GIVEN_UP);
    }
}

#[derive(Default)]
struct Waiting {
    jobs: Vec<Job>,
    closed: bool,
}

/// The queue.
pub(super) struct Queue {
    room: Arc<Semaphore>,
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

impl Queue {
    pub(super) fn new() -> Self {
        let room = Arc::new(Semaphore::new(MAX_KIB));
        Self { room, waiting: Mutex::default(), arrived: Condvar::new() }
    }

    /// Hands `work` to the writer and waits for what comes of it, no longer than until `deadline`.
    pub(super) async fn submit(&self, bucket: &Bucket, work: Work, deadline: Instant) -> Answer {
        let deadline = tokio::time::Instant::from_std(deadline);
        let kib = u32::try_from((work.bytes() >> 10).clamp(LEAST_KIB, MAX_KIB)).unwrap_or(u32::MAX);
        let room = tokio::time::timeout_at(deadline, Arc::clone(&self.room).acquire_many_owned(kib)).await;
        let room = room.map_err(|_| StoreError::TimedOut)?.map_err(|_| closed())?;
        let place = Arc::new(Place(AtomicU8::new(WAITING)));
        let claim = Claim(Arc::clone(&place));
        let (reply, answer) = oneshot::channel();
        {
            let mut waiting = self.lock();
            if waiting.closed {
                return Err(closed());
            }
            waiting.jobs.push(Job { bucket: bucket.clone(), work, reply, place, _room: room });
            if waiting.jobs.len() == 1 {
                self.arrived.notify_one();
            }
        }
        match tokio::time::timeout_at(deadline, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(StoreError::UnknownOutcome("the writer ended".to_owned())),
            Err(_) if claim.0.leave(GIVEN_UP) => Err(StoreError::TimedOut),
            Err(_) => Err(StoreError::UnknownOutcome("the deadline passed while it was written".to_owned())),
        }
    }

    /// All that waits, once something does or `patience` is over; none at the end. Jobs that were given up are not among it.
    pub(super) fn take(&self, patience: Option<Duration>) -> Option<Vec<Job>> {
        let mut waiting = self.lock();
        let until = patience.map(|patience| Instant::now() + patience);
        while waiting.jobs.is_empty() && !waiting.closed {
            waiting = match until.map(|until| until.saturating_duration_since(Instant::now())) {
                None => self.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => break,
                Some(left) => self.arrived.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
        if waiting.jobs.is_empty() && waiting.closed {
            return None;
        }
        let jobs = std::mem::take(&mut waiting.jobs);
        drop(waiting);
        Some(jobs.into_iter().filter(|job| job.place.leave(TAKEN)).collect())
    }

    /// What waits is still written, nothing more is taken.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.room.close();
        self.arrived.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable("the store is closed".to_owned())
}
