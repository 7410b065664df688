//! Secrets of the host: where they come from. Read once, by whoever needs one, and shown nowhere.

use std::{
    fs,
    io::{self, Read},
    os::unix::{ffi::OsStringExt, process::CommandExt as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use portcullis_audit::Secret;
use portcullis_policy::SecretSource;

/// Bytes that a source may give. Servers commonly stop at 8 KiB of headers, and a file that is larger is the wrong one.
const MAX_BYTES: u64 = 64 << 10;
/// What a command has to print a secret: password stores that ask a person's token take some seconds.
const COMMAND_TIME: Duration = Duration::from_secs(10);
/// Between two looks at whether a command that has printed all has ended, too.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A secret could not be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct SecretError {
    /// Why; nothing of its value.
    pub reason: String,
    /// What to write or to do instead.
    pub hint: String,
}

impl SecretError {
    pub(crate) fn new(reason: &str, hint: &str) -> Self {
        Self { reason: reason.into(), hint: hint.into() }
    }
}

/// Reads the secret at `source`, once. A line feed at its end is no part of it.
///
/// # Errors
/// When it cannot be had, is empty, or is larger than 64 KiB. Nothing of its value is in the error.
pub fn read_secret(source: &SecretSource) -> Result<Secret<Vec<u8>>, SecretError> {
    let mut bytes = match source {
        SecretSource::Env(variable) => variable_of_the_host(variable)?,
        SecretSource::File(path) => file(path).map_err(|error| SecretError {
            reason: format!("the file `{}` cannot be used: {error}", path.display()),
            hint: "write the path of a regular file of at most 64 KiB that the host may read".into(),
        })?,
        SecretSource::Command(command) => output(command).map_err(|reason| SecretError {
            reason,
            hint: "write a command that prints the secret within ten seconds, asks nothing and ends with 0".into(),
        })?,
    };
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    if bytes.is_empty() {
        return Err(SecretError::new("it is empty", "give it a value"));
    }
    Ok(Secret::new(bytes))
}

fn variable_of_the_host(variable: &str) -> Result<Vec<u8>, SecretError> {
    std::env::var_os(variable).map(OsStringExt::into_vec).ok_or_else(|| SecretError {
        reason: format!("the host has no variable `{variable}` in its environment"),
        hint: format!("start the host with `{variable}` set"),
    })
}

fn file(path: &Path) -> io::Result<Vec<u8>> {
    // Not to wait for the writer of a FIFO.
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let mut options = fs::OpenOptions::new();
    std::os::unix::fs::OpenOptionsExt::custom_flags(options.read(true), nonblock);
    let file = options.open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    bounded(file)
}

fn bounded(from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 64 KiB"));
    }
    Ok(bytes)
}

/// What `command` prints. Its standard error goes nowhere: it may quote the secret.
fn output(command: &[String]) -> Result<Vec<u8>, String> {
    let [program, arguments @ ..] = command else { return Err("the command is empty".into()) };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        // A group of its own, so that what it starts ends with it.
        .process_group(0)
        .spawn()
        .map_err(|error| format!("the command `{program}` could not be started: {error}"))?;
    let ended = printed(&mut child, program);
    if ended.is_err() {
        stop(&mut child);
    }
    ended
}

fn printed(child: &mut Child, program: &str) -> Result<Vec<u8>, String> {
    let late = || format!("the command `{program}` did not end within {} s", COMMAND_TIME.as_secs());
    let began = Instant::now();
    let stdout = child.stdout.take().ok_or_else(|| format!("the command `{program}` has no output"))?;
    let (done, read) = mpsc::channel();
    std::thread::spawn(move || {
        // Nobody listens any more after the time is over.
        let _ = done.send(bounded(stdout));
    });
    let bytes = read.recv_timeout(COMMAND_TIME).map_err(|_| late())?;
    let bytes = bytes.map_err(|error| format!("the output of the command `{program}` cannot be used: {error}"))?;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if began.elapsed() < COMMAND_TIME => std::thread::sleep(LOOK_EVERY),
            Ok(None) => return Err(late()),
            Err(error) => return Err(format!("the command `{program}` could not be waited for: {error}")),
        }
    };
    if status.success() { Ok(bytes) } else { Err(format!("the command `{program}` ended with {status}")) }
}

fn stop(child: &mut Child) {
    // What has ended already cannot be stopped, and needs not.
    if let Some(group) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> SecretSource {
        SecretSource::Command(["sh", "-c", script].map(String::from).to_vec())
    }

    #[test]
    fn what_cannot_be_had_is_told_without_a_value() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        fs::write(path("large"), vec![b'x'; MAX_BYTES as usize + 1]).expect("a file");
        assert!(Command::new("mkfifo").arg(path("fifo")).status().expect("mkfifo").success());
        for (source, expected) in [
            (SecretSource::Env("PORTCULLIS_NOT_SET".into()), "no variable `PORTCULLIS_NOT_SET`"),
            (SecretSource::File(path("missing")), "No such file"),
            (SecretSource::File(path("large")), "larger than 64 KiB"),
            (SecretSource::File(path("fifo")), "not a regular file"),
            (SecretSource::File(folder.path().into()), "not a regular file"),
            (SecretSource::Command(vec![]), "the command is empty"),
            (SecretSource::Command(vec!["/nonexistent/canary".into()]), "could not be started"),
            (shell("echo canary >&2; exit 3"), "ended with exit status: 3"),
            (shell("echo canary; kill -9 $$"), "ended with signal: 9"),
            (shell("yes canary"), "larger than 64 KiB"),
        ] {
            let told = read_secret(&source).expect_err(expected).to_string();
            assert!(told.contains(expected), "no {expected:?} in {told:?}");
            assert!(!told.contains("canary;") && !told.contains("echo"), "{told}");
        }
    }
}
