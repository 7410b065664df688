//! Secrets: read when a plugin is loaded, put into requests by the host, and seen by no guest.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read},
    os::unix::{ffi::OsStringExt, process::CommandExt as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderName, HeaderValue};
use portcullis_audit::Secret;
use portcullis_policy::{RequestTarget, SecretGrant, SecretSource};

use super::mask::Needles;
use crate::{capability::Terms, plugin::LoadError};

/// Bytes that a source may give. Servers commonly stop at 8 KiB of headers, and a file that is larger is the wrong one.
const MAX_BYTES: u64 = 64 << 10;
/// What a command has to print a secret: password stores that ask a person's token take some seconds.
const COMMAND_TIME: Duration = Duration::from_secs(10);
/// Between two looks at whether a command that has printed all has ended, too.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The secrets of one plugin.
#[derive(Debug)]
pub(super) struct Secrets(Vec<(SecretGrant, HeaderName, Secret<HeaderValue>)>);

impl Secrets {
    /// Reads what `terms` grant, each source once.
    ///
    /// # Errors
    /// When one cannot be had, is empty, or is no value of a header.
    pub(super) fn read(terms: &Terms) -> Result<Self, LoadError> {
        let mut values = BTreeMap::<&str, Secret<HeaderValue>>::new();
        let mut secrets = Vec::new();
        for grant in terms.grants.secrets() {
            let name = grant.name();
            let fault = |Fault { reason, hint }| LoadError::Secret { name: name.to_owned(), reason, hint };
            let header = HeaderName::from_bytes(grant.header().as_bytes())
                .map_err(|_| fault(Fault::new("its header is none", "write another `header`")))?;
            let value = match values.get(name) {
                Some(value) => value.clone(),
                None => {
                    let source = terms.secrets.get(name).ok_or_else(|| Fault {
                        reason: "there is no such secret".into(),
                        hint: format!("write `[secrets.{name}]` with `env`, `file` or `command`"),
                    });
                    source.and_then(value).map_err(fault)?
                }
            };
            values.insert(name, value.clone());
            secrets.push((grant.clone(), header, value));
        }
        Ok(Self(secrets))
    }

    /// Adds those that go to `target`, in place of the guest's own headers. Whether there were any.
    pub(super) fn add(&self, target: &RequestTarget, headers: &mut HeaderMap) -> bool {
        let mut added = false;
        for (_, header, value) in self.0.iter().filter(|(grant, ..)| grant.goes_to(target)) {
            headers.insert(header, value.expose().clone());
            added = true;
        }
        added
    }

    /// What no response may show: all of them, since one server could tell another.
    pub(super) fn needles(&self) -> Needles {
        Needles::new(self.0.iter().map(|(.., value)| value.expose().as_bytes().to_vec()))
    }
}

struct Fault {
    reason: String,
    hint: String,
}

impl Fault {
    fn new(reason: &str, hint: &str) -> Self {
        Self { reason: reason.into(), hint: hint.into() }
    }
}

fn value(source: &SecretSource) -> Result<Secret<HeaderValue>, Fault> {
    let mut bytes = match source {
        SecretSource::Env(variable) => variable_of_the_host(variable)?,
        SecretSource::File(path) => file(path).map_err(|error| Fault {
            reason: format!("the file `{}` cannot be used: {error}", path.display()),
            hint: "write the path of a regular file of at most 64 KiB that the host may read".into(),
        })?,
        SecretSource::Command(command) => output(command).map_err(|reason| Fault {
            reason,
            hint: "write a command that prints the secret within ten seconds, asks nothing and ends with 0".into(),
        })?,
    };
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    if bytes.is_empty() {
        return Err(Fault::new("it is empty", "give it a value"));
    }
    let mut value = HeaderValue::from_maybe_shared(bytes::Bytes::from(bytes))
        .map_err(|_| Fault::new("it is no value of a header", "give it a value in one line of text"))?;
    value.set_sensitive(true);
    Ok(Secret::new(value))
}

fn variable_of_the_host(variable: &str) -> Result<Vec<u8>, Fault> {
    std::env::var_os(variable).map(OsStringExt::into_vec).ok_or_else(|| Fault {
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
    use std::sync::Arc;

    use portcullis_policy::{Effective, Grants, PluginName};

    use super::*;

    const ORIGIN: &str = "https://a.example";

    fn terms(source: SecretSource) -> Terms {
        let granted = serde_json::json!({ "secrets": [{ "name": "key", "header": "X-Key", "to": ORIGIN }] });
        let grants: Arc<Grants> = Arc::new(serde_json::from_value(granted).expect("grants"));
        Terms {
            plugin: PluginName::new("p").expect("a name"),
            concurrency: 1,
            grants: Effective::new(Arc::clone(&grants), grants),
            secrets: Arc::new(BTreeMap::from([("key".to_owned(), source)])),
        }
    }

    /// The header that a request gets, or the reason why the plugin is not loaded.
    fn told(source: SecretSource) -> Result<String, String> {
        let secrets = Secrets::read(&terms(source)).map_err(|error| match error {
            LoadError::Secret { reason, hint, .. } => {
                assert!(!hint.is_empty());
                reason
            }
            other => panic!("{other:?}"),
        })?;
        assert!(!format!("{secrets:?} {:?}", secrets.needles()).contains("canary"));
        let mut headers = HeaderMap::new();
        headers.insert("x-key", HeaderValue::from_static("the guest's own"));
        assert!(secrets.add(&RequestTarget::parse("https://a.example/x").expect("a target"), &mut headers));
        assert!(!format!("{headers:?}").contains("canary"), "{headers:?}");
        for other in ["https://a.example:8443/", "http://a.example/", "https://b.a.example/", "https://example/"] {
            let mut headers = HeaderMap::new();
            assert!(!secrets.add(&RequestTarget::parse(other).expect("a target"), &mut headers), "{other}");
            assert!(headers.is_empty(), "{other}");
        }
        let values: Vec<_> = headers.get_all("x-key").iter().collect();
        assert_eq!(values.len(), 1);
        Ok(String::from_utf8_lossy(values[0].as_bytes()).into_owned())
    }

    fn shell(script: &str) -> SecretSource {
        SecretSource::Command(["sh", "-c", script].map(String::from).to_vec())
    }

    #[test]
    fn each_source_gives_one_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        for (written, expected) in [
            ("canary", Ok("canary")),
            ("canary\n", Ok("canary")),
            ("Bearer canary\n", Ok("Bearer canary")),
            ("canary\n\n", Err("it is no value of a header")),
            ("can\r\nary", Err("it is no value of a header")),
            ("can\0ary", Err("it is no value of a header")),
            ("\n", Err("it is empty")),
            ("", Err("it is empty")),
        ] {
            fs::write(&path, written).expect("a file");
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(told(SecretSource::File(path.clone())), expected, "{written:?}");
            let printf =
                shell(&format!("printf '%b' '{}'", written.escape_default().to_string().replace("\\u{0}", "\\0000")));
            assert_eq!(told(printf), expected, "{written:?}");
        }
        let path = std::env::var("PATH").expect("a path");
        assert_eq!(told(SecretSource::Env("PATH".into())), Ok(path));
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
            let told = told(source).expect_err(expected);
            assert!(told.contains(expected), "no {expected:?} in {told:?}");
            assert!(!told.contains("canary;") && !told.contains("echo"), "{told}");
        }
    }
}
