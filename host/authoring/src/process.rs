//! Toolchains as child processes: each has a time, can be stopped, and takes what it started along.

use std::io::{self, Read};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// Between two looks at a child: a build takes seconds, and nobody waits for a fiftieth of one.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Bytes that are kept of what a tool says, the last ones: an error and where it is.
const MAX_SAID: usize = 16 << 10;
/// How long to wait for the rest of what a tool said: something that it started may hold the pipe open for ever.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Has builds end early. Clones are the same switch.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Ends what runs with this switch, and what would begin.
    pub fn now(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// How a tool that was started did not come to its own end.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It took too long.
    #[error("`{program}` was stopped: it had not ended within {} minutes", time.as_secs() / 60)]
    TimedOut {
        /// The tool.
        program: &'static str,
        /// What it had.
        time: Duration,
    },
    /// Somebody said so.
    #[error("the build was stopped")]
    Stopped,
    /// The operating system says nothing of it.
    #[error("cannot wait for `{program}`")]
    Wait {
        /// The tool.
        program: &'static str,
        /// What happened.
        source: io::Error,
    },
}

/// A tool that runs, in a process group of its own. Whatever is left of the group ends with this value.
pub(crate) struct Running {
    child: Child,
    program: &'static str,
    ended: bool,
}

impl Running {
    /// Starts `command`, with nothing on its standard input.
    pub(crate) fn start(command: &mut Command, program: &'static str) -> io::Result<Self> {
        // A signal of the terminal does not reach the group, so that the switch is the one way to stop it.
        let child = command.stdin(Stdio::null()).process_group(0).spawn()?;
        Ok(Self { child, program, ended: false })
    }

    /// Reads one of its pipes on a thread, by `read`.
    pub(crate) fn reading<T: Send + 'static>(
        pipe: impl Read + Send + 'static,
        read: impl FnOnce(Box<dyn Read + Send>) -> T + Send + 'static,
    ) -> Reading<T> {
        let (done, result) = mpsc::channel();
        std::thread::spawn(move || {
            // Nobody listens any more where the tool was stopped.
            _ = done.send(read(Box::new(pipe)));
        });
        Reading(result)
    }

    pub(crate) fn stdout(&mut self) -> Option<impl Read + Send + 'static> {
        self.child.stdout.take()
    }

    pub(crate) fn stderr(&mut self) -> Option<impl Read + Send + 'static> {
        self.child.stderr.take()
    }

    /// Waits for its end, at most `time`. One that is late or stopped ends at once, with all that it has started.
    pub(crate) fn wait(&mut self, time: Duration, stop: &Stop) -> Result<ExitStatus, ProcessError> {
        let program = self.program;
        let began = Instant::now();
        loop {
            let ended = self.child.try_wait().map_err(|source| ProcessError::Wait { program, source })?;
            if let Some(status) = ended {
                self.ended = true;
                return Ok(status);
            }
            if stop.is_on() {
                self.kill();
                return Err(ProcessError::Stopped);
            }
            if began.elapsed() >= time {
                self.kill();
                return Err(ProcessError::TimedOut { program, time });
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn kill(&mut self) {
        // Until it is waited for, its number is nobody else's.
        if let Ok(group) = i32::try_from(self.child.id())
            && let Some(group) = Pid::from_raw(group)
        {
            _ = kill_process_group(group, Signal::KILL);
        }
        _ = self.child.wait();
        self.ended = true;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            self.kill();
        }
    }
}

/// What a thread reads from a pipe.
pub(crate) struct Reading<T>(mpsc::Receiver<T>);

impl<T> Reading<T> {
    /// What was read. None where something that outlived the tool holds the pipe.
    pub(crate) fn end(self) -> Option<T> {
        self.0.recv_timeout(LAST_WORDS).ok()
    }
}

/// The last of what a pipe gives, as text; all of it is read.
pub(crate) fn tail(mut pipe: impl Read) -> String {
    let mut kept = Vec::new();
    let mut buffer = [0; 8 << 10];
    while let Ok(read @ 1..) = pipe.read(&mut buffer) {
        kept.extend_from_slice(buffer.get(..read).unwrap_or_default());
        let extra = kept.len().saturating_sub(MAX_SAID);
        kept.drain(..extra);
    }
    String::from_utf8_lossy(&kept).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Running {
        Running::start(Command::new("sh").args(["-c", script]).stdout(Stdio::piped()), "sh").unwrap()
    }

    /// What a tool has started ends with it, also when it hides behind another.
    #[test]
    fn a_late_tool_ends_with_all_that_it_started() {
        let mut running = shell("sleep 1000 & sh -c 'sleep 1000' & echo there; wait");
        let said = Running::reading(running.stdout().unwrap(), tail);
        let error = running.wait(Duration::from_millis(300), &Stop::default()).unwrap_err();
        assert!(matches!(error, ProcessError::TimedOut { .. }), "{error}");
        // The pipe closes when the last of them is gone.
        assert_eq!(said.end().as_deref(), Some("there"));
    }

    #[test]
    fn the_switch_ends_what_runs_and_what_would_begin() {
        let stop = Stop::default();
        let mut running = shell("sleep 1000");
        let switch = stop.clone();
        std::thread::spawn(move || switch.now());
        let error = running.wait(Duration::from_secs(600), &stop).unwrap_err();
        assert!(matches!(error, ProcessError::Stopped), "{error}");
        let error = shell("sleep 1000").wait(Duration::from_secs(600), &stop).unwrap_err();
        assert!(matches!(error, ProcessError::Stopped), "{error}");
    }

    #[test]
    fn of_much_talk_the_end_is_kept() {
        let text = format!("{}the end", "x".repeat(5 * MAX_SAID));
        let kept = tail(text.as_bytes());
        assert!(kept.len() == MAX_SAID && kept.ends_with("the end"));
    }
}
