//! The parent's side: starts a child, feeds it, and names the limit that it ended at.

use std::{
    ffi::OsString,
    io,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::Command,
    sync::Semaphore,
};

use crate::worker::{ANSWER, Job, REFUSAL, WorkerError, WorkerLimits};

/// Wall time of a child: a machine under load gives a child at low priority little, but not nothing.
const MAX_TIME: Duration = Duration::from_secs(15 * 60);
/// Bytes of a child's standard error that are looked at.
const MAX_STDERR: u64 = 4 << 10;

/// How the program that this process is is started as a child.
#[derive(Clone, Debug)]
pub struct WorkerCommand {
    /// The program.
    pub program: PathBuf,
    /// Arguments before the job and its limits.
    pub arguments: Vec<OsString>,
    /// What each child may use.
    pub limits: WorkerLimits,
}

/// Runs children, so many at a time.
#[derive(Debug)]
pub(crate) struct Worker {
    command: WorkerCommand,
    slots: Semaphore,
}

impl Worker {
    pub(crate) fn new(command: WorkerCommand) -> Self {
        let slots = std::thread::available_parallelism().map_or(1, |threads| threads.get().div_ceil(2));
        Self { command, slots: Semaphore::new(slots) }
    }

    /// Has a child do `job` on `bytes`.
    ///
    /// # Errors
    /// When the bytes are at fault, the child ends at a limit, or it cannot run.
    pub(crate) async fn run(&self, job: Job, bytes: &[u8]) -> Result<Vec<u8>, WorkerError> {
        let name = job.verb();
        let unusable = |error: io::Error| WorkerError::Unusable { job: name, reason: error.to_string() };
        let _slot = self.slots.acquire().await.map_err(|error| unusable(io::Error::other(error)))?;
        let limits = self.command.limits;
        let mut child = Command::new(&self.command.program)
            .args(&self.command.arguments)
            .arg(job.as_str())
            .args([limits.cpu.as_secs().max(1).to_string(), limits.memory.to_string()])
            .env_clear()
            // This program's allocator would begin with a gibibyte of address space, which is all that a child has.
            .env("MIMALLOC_ARENA_RESERVE", "16MiB")
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(unusable)?;
        let (Some(mut stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(unusable(io::Error::other("no pipes")));
        };
        let feed = async move {
            // A child that ends early breaks the pipe; how it ended says more.
            _ = stdin.write_all(bytes).await;
        };
        let (mut answer, mut complaint) = (Vec::new(), Vec::new());
        let (mut stdout, mut stderr) = (stdout.take(job.max_answer() + 2), stderr.take(MAX_STDERR));
        let talk = async {
            let (read, heard) = (stdout.read_to_end(&mut answer), stderr.read_to_end(&mut complaint));
            let ((), read, heard) = tokio::join!(feed, read, heard);
            read.and(heard)?;
            // Ends a child that would write on past the bounds; one that is done has closed its pipes.
            drop((stdout, stderr));
            child.wait().await
        };
        let status = tokio::time::timeout(MAX_TIME, talk)
            .await
            .map_err(|_| WorkerError::Time { job: name, limit: MAX_TIME })?
            .map_err(unusable)?;
        if answer.len() as u64 > job.max_answer() + 1 {
            return Err(WorkerError::Answer { job: name, limit: job.max_answer() });
        }
        if !status.success() {
            return Err(self.ended(name, status, &complaint));
        }
        match answer.split_first() {
            Some((&ANSWER, _)) => {
                answer.remove(0);
                Ok(answer)
            }
            Some((&REFUSAL, text)) => Err(WorkerError::Refused(String::from_utf8_lossy(text).into_owned())),
            Some(_) | None => Err(WorkerError::Crashed { job: name, how: "no answer".into() }),
        }
    }

    /// Which limit a child ended at.
    fn ended(&self, job: &'static str, status: ExitStatus, complaint: &[u8]) -> WorkerError {
        let limits = self.command.limits;
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        if signal == Some(rustix::process::Signal::XCPU.as_raw()) {
            return WorkerError::Cpu { job, limit: limits.cpu };
        }
        let complaint = String::from_utf8_lossy(complaint);
        // What Rust's allocator says before it aborts, and what a failed `mmap` says.
        if complaint.contains("memory allocation of") || complaint.contains("Cannot allocate memory") {
            return WorkerError::Memory { job, limit: limits.memory };
        }
        let how = match signal {
            Some(signal) => format!("signal {signal}"),
            None => complaint.lines().next().unwrap_or("without a word").to_owned(),
        };
        WorkerError::Crashed { job, how }
    }
}
