//! The one thread that writes: takes what waits, one transaction, one commit, then answers all.
//!
//! A commit stands once its rows are in the log; redb has them in memory then, and durably with all others after a while.
//! What is too long for the log, and what comes after the disk failed, is a durable commit of redb's at once.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use redb::Durability as Commit;

use super::{
    Durability, Shared,
    apply::Batch,
    fault::{Fault, caught},
    log::Log,
    open,
    queue::{Answer, Done, Job, Work},
};
use crate::contract::{BucketName, StoreError};

/// How long at most until expired entries are swept: the clock may be set, so the writer looks from time to time.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// With relaxed durability, what is written is on the disk after this at the latest.
const SYNC_EVERY: Duration = Duration::from_millis(200);
/// After this at the latest, redb's part of the file has durably what the log has.
const EMPTY_EVERY: Duration = Duration::from_secs(1);

/// What the writer remembers from one commit to the next.
pub(super) struct Writer {
    shared: Arc<Shared>,
    durability: Durability,
    log: Log,
    commit: u64,
    next_due: Option<u64>,
    /// Whether redb has writes in memory only.
    ahead: bool,
    /// Since when a durable commit of redb's is wanted.
    unsynced: Option<Instant>,
}

/// How a transaction comes to stand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// In the log, and in redb's memory.
    Logged,
    /// In redb's memory: relaxed durability.
    Relaxed,
    /// In redb's part of the file, with all that was before it.
    Whole,
}

/// What a transaction is for, beside its jobs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Task {
    Write,
    Sweep,
    Sync,
}

/// What a transaction brought: the answers, and what is due next.
struct Outcome {
    answers: Vec<Answer>,
    versions: Vec<(BucketName, u64)>,
    next_due: Option<u64>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, durability: Durability, log: Log, commit: u64) -> Self {
        let ahead = !log.is_empty();
        // Due at once: what is due is not known before the first look.
        Self { shared, durability, log, commit, next_due: Some(0), ahead, unsynced: ahead.then(Instant::now) }
    }

    pub(super) fn run(mut self) {
        while let Some(jobs) = self.shared.queue.take(self.patience()) {
            if self.is_due() {
                // Of its own, so that what cannot be swept is in nobody's way.
                self.transact(Vec::new(), Task::Sweep);
            }
            if !jobs.is_empty() {
                self.transact(jobs, Task::Write);
            } else if self.must_sync() {
                self.transact(Vec::new(), Task::Sync);
            }
        }
        if self.ahead {
            // The last chance; where it fails, what relaxed durability allows to be lost is.
            self.transact(Vec::new(), Task::Sync);
        }
    }

    /// One transaction, and its answers.
    fn transact(&mut self, jobs: Vec<Job>, task: Task) {
        match self.commit(&jobs, task) {
            Ok(Outcome { answers, versions, next_due }) => {
                self.next_due = next_due;
                for (bucket, version) in &versions {
                    self.shared.waiters.wake(bucket, *version);
                }
                for (job, answer) in jobs.into_iter().zip(answers) {
                    // Nobody waits for it any more.
                    _ = job.reply.send(answer);
                }
            }
            // One by one, so that only those fail that touch what is damaged.
            Err(Fault::Damaged(_)) if jobs.len() > 1 => {
                jobs.into_iter().for_each(|job| self.transact(vec![job], task));
            }
            Err(fault) => self.failed(jobs, &fault),
        }
    }

    fn must_sync(&self) -> bool {
        self.unsynced.is_some_and(|since| since.elapsed() >= self.sync_every())
    }

    fn sync_every(&self) -> Duration {
        match self.durability {
            Durability::Always => EMPTY_EVERY,
            Durability::Relaxed => SYNC_EVERY,
        }
    }

    fn is_due(&self) -> bool {
        self.next_due.is_some_and(|at| at <= self.shared.time.now_ms())
    }

    /// How long to wait for jobs.
    fn patience(&self) -> Option<Duration> {
        let sweep = self.next_due.map(|at| {
            let left = Duration::from_millis(at.saturating_sub(self.shared.time.now_ms()));
            left.min(SWEEP_EVERY)
        });
        let sync = self.unsynced.map(|since| self.sync_every().saturating_sub(since.elapsed()));
        sweep.into_iter().chain(sync).min()
    }

    /// All jobs in one transaction. Those that are refused write nothing; an error ends all of them.
    fn commit(&mut self, jobs: &[Job], task: Task) -> Result<Outcome, Fault> {
        let shared = Arc::clone(&self.shared);
        let database = shared.database();
        let database = database.as_ref().ok_or_else(|| shared.away())?;
        let sync = task == Task::Sync || self.must_sync() || jobs.iter().any(|job| matches!(job.work, Work::Probe));
        let (outcome, way) = caught(|| {
            let mut transaction = database.begin_write()?;
            let mut batch = Batch::new(&transaction, shared.time.now_ms())?;
            if task == Task::Sweep {
                batch.sweep()?;
            }
            let mut answers = Vec::with_capacity(jobs.len());
            for job in jobs {
                answers.push(match apply(&mut batch, job) {
                    Ok(done) => Ok(done),
                    Err(Fault::Refused(error)) => Err(error),
                    Err(fault) => return Err(fault),
                });
            }
            let next_due = batch.next_due()?;
            let (versions, record) = batch.finish(self.commit + 1)?;
            if versions.is_empty() && !sync {
                transaction.abort()?;
                return Ok((Outcome { answers, versions, next_due }, None));
            }
            let way = match self.durability {
                _ if sync => Way::Whole,
                Durability::Relaxed => Way::Relaxed,
                Durability::Always if self.log.takes(&record) => Way::Logged,
                Durability::Always => Way::Whole,
            };
            if way == Way::Logged {
                // Before anybody can read it.
                self.log.append(self.commit + 1, &record)?;
            }
            if way == Way::Whole {
                open::durable(transaction)?;
            } else {
                transaction.set_durability(Commit::None)?;
                transaction.commit()?;
            }
            Ok((Outcome { answers, versions, next_due }, Some(way)))
        })?;
        let wrote = !outcome.versions.is_empty();
        self.commit += u64::from(wrote);
        match way {
            Some(Way::Whole) => {
                self.log.clear();
                // redb frees pages after a durable commit, in memory; until the next one it looks through its write buffer
                // at each page that it reads beyond its cache.
                let freed = wrote || self.ahead;
                self.unsynced = (freed && shared.is_beyond_cache()).then(Instant::now);
                self.ahead = false;
                shared.took(None);
            }
            Some(Way::Logged | Way::Relaxed) => {
                self.unsynced.get_or_insert_with(Instant::now);
                self.ahead = true;
            }
            None => {}
        }
        Ok(outcome)
    }

    /// Tells all jobs of a transaction that failed. The file is opened again first, and says whether it was written after all.
    fn failed(&mut self, jobs: Vec<Job>, fault: &Fault) {
        let reason = fault.reason();
        self.shared.took(Some(reason.clone()));
        let mut error = match fault {
            Fault::Damaged(_) | Fault::Storage(redb::Error::Corrupted(_)) => StoreError::Other(reason.clone()),
            Fault::Storage(_) | Fault::Refused(_) => StoreError::Unavailable(reason.clone()),
        };
        if fault.heals() {
            let before = self.shared.generation();
            self.shared.heal(before);
            self.log.close();
            self.ahead = !self.log.is_empty();
            self.unsynced = self.ahead.then(Instant::now);
            match self.written() {
                Ok(commit) if commit <= self.commit => self.commit = commit,
                // It stands in the file, and whether on the disk nobody knows.
                Ok(commit) => {
                    self.commit = commit;
                    error = StoreError::UnknownOutcome(reason);
                }
                Err(_) => error = StoreError::UnknownOutcome(reason),
            }
        }
        // Not at once again: the disk may be full for long.
        self.next_due = Some(self.shared.time.now_ms() + SWEEP_EVERY.as_millis() as u64);
        for job in jobs {
            _ = job.reply.send(Err(error.clone()));
        }
    }

    /// The last commit that stands in the file.
    fn written(&self) -> Result<u64, Fault> {
        let database = self.shared.database();
        let database = database.as_ref().ok_or_else(|| self.shared.away())?;
        caught(|| Ok(open::last_commit(database)?.0))
    }
}

fn apply(batch: &mut Batch<'_>, job: &Job) -> Result<Done, Fault> {
    match &job.work {
        Work::Write { writer, operations } => batch.write(&job.bucket, writer, operations).map(Done::Written),
        Work::Increment { writer, key, delta, options } => batch
            .increment(&job.bucket, writer, key, *delta, options)
            .map(|(number, version)| Done::Counted(number, version)),
        Work::Import { version, entries } => batch.import(&job.bucket, *version, entries).map(|()| Done::Settled),
        Work::Probe => Ok(Done::Settled),
        Work::Settle => batch.begin(&job.bucket).map(|()| Done::Settled),
    }
}
