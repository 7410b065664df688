//! What the toolchains of JavaScript and Python have in common: where they are, how they run, which world they build.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::process::{ProcessError, Running, Stop, tail};
use crate::reading;

/// Where a plugin's WIT package is, unless its manifest says.
pub(crate) const WIT: &str = "wit";
/// A folder with the toolchains that `tests/setup/run` of the repository has installed.
const TOOLS: &str = "PORTCULLIS_TOOLS";
/// What a build may take: ten to twenty seconds are usual, and nothing is downloaded. What a source does when it is
/// loaded runs in it, and may never end.
const TIME: Duration = Duration::from_secs(5 * 60);
/// The largest component that the host reads.
const MAX_COMPONENT: u64 = 256 << 20;
/// What a toolchain gets of the environment. Nothing else: a source runs while it is built, and what it reads of its
/// environment then may end up in the component.
const ENVIRONMENT: [&str; 7] = ["PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "SSL_CERT_FILE", "SYSTEMROOT"];

/// Which toolchain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    JavaScript,
    Python,
}

impl Tool {
    fn program(self) -> &'static str {
        match self {
            Self::JavaScript => "node",
            Self::Python => "componentize-py",
        }
    }

    fn hint(self) -> &'static str {
        match self {
            Self::JavaScript => "install Node.js 20 or later as https://nodejs.org says",
            Self::Python => "install Python 3.11 or later",
        }
    }
}

/// Why there is no component of JavaScript or Python.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The toolchain is not there.
    #[error("`{what}` is not installed")]
    Missing {
        /// What is missing.
        what: &'static str,
        /// The command that installs it.
        hint: String,
    },
    /// It does not start.
    #[error("cannot run `{program}`")]
    Run {
        /// The tool.
        program: &'static str,
        /// What happened.
        source: io::Error,
    },
    /// It was started, and did not come to its own end.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// It refuses the plugin.
    #[error("the plugin does not build: `{program}` ended with {status}")]
    Refused {
        /// The tool.
        program: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// The last of what it said.
        said: String,
    },
    /// It said that all went well, and there is no component.
    #[error("`{program}` made no component that the host would read")]
    NoComponent {
        /// The tool.
        program: &'static str,
        /// What happened.
        source: io::Error,
    },
    /// There is nothing to begin with.
    #[error("there is no `{}`", path.display())]
    NoEntry {
        /// What was looked for.
        path: PathBuf,
        /// What to write.
        hint: String,
    },
    /// A link leads out of the plugin's folder, to what is nobody's business who builds it.
    #[error("`{}` leads out of the plugin's folder", path.display())]
    Outside {
        /// The link, or what is below it.
        path: PathBuf,
    },
    /// Two modules of one name.
    #[error("the module `{module}` has the name that componentize-py gives to the world's")]
    Clash {
        /// The name.
        module: String,
        /// What to write.
        hint: String,
    },
    /// The WIT cannot be used.
    #[error("the WIT in `{}` cannot be used: {message}", path.display())]
    Wit {
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        message: String,
        /// What to write.
        hint: Option<String>,
    },
}

impl ToolError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { hint, .. } | Self::NoEntry { hint, .. } | Self::Clash { hint, .. } => Some(hint.clone()),
            Self::Wit { hint, .. } => hint.clone(),
            Self::Outside { .. } => Some("put into the folder what it leads to".into()),
            Self::Run { .. } | Self::Process(_) | Self::Refused { .. } | Self::NoComponent { .. } => None,
        }
    }
}

/// Until when a toolchain may run, and what ends it before.
pub(crate) struct Bounds<'a> {
    pub(crate) time: Duration,
    pub(crate) stop: &'a Stop,
}

impl<'a> Bounds<'a> {
    /// The usual time, unless another is given.
    pub(crate) fn new(time: Option<Duration>, stop: &'a Stop) -> Self {
        Self { time: time.unwrap_or(TIME), stop }
    }
}

/// That a file or folder of the plugin in `dir` is in it, links and all.
pub(crate) fn is_own(dir: &Path, path: &Path) -> Result<(), ToolError> {
    if reading::is_inside(dir, path) { Ok(()) } else { Err(ToolError::Outside { path: path.into() }) }
}

/// One run of a toolchain, with a folder of its own that goes when it is over.
pub(crate) struct Job {
    folder: tempfile::TempDir,
}

impl Job {
    pub(crate) fn new() -> Result<Self, ToolError> {
        let made = tempfile::Builder::new().prefix("portcullis-build-").tempdir();
        Ok(Self { folder: made.map_err(|source| ToolError::Run { program: "mkdtemp", source })? })
    }

    /// Where the component goes.
    pub(crate) fn target(&self) -> PathBuf {
        self.folder.path().join("component.wasm")
    }

    /// A folder with nothing in it.
    pub(crate) fn nothing(&self) -> PathBuf {
        self.folder.path().join("nothing")
    }

    /// Runs the toolchain, and takes what it made.
    pub(crate) fn run(
        &mut self,
        mut command: Command,
        toolchain: Tool,
        bounds: &Bounds<'_>,
    ) -> Result<Vec<u8>, ToolError> {
        let program = toolchain.program();
        let own: Vec<_> =
            command.get_envs().map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned))).collect();
        command.env_clear();
        command.envs(ENVIRONMENT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command.envs(own.into_iter().filter_map(|(name, value)| Some((name, value?))));
        // What a toolchain leaves behind when it is stopped goes with the folder.
        command.env("TMPDIR", self.folder.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running = Running::start(&mut command, program).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => ToolError::Missing { what: program, hint: toolchain.hint().into() },
            _ => ToolError::Run { program, source },
        })?;
        let out = running.stdout().map(|pipe| Running::reading(pipe, tail));
        let err = running.stderr().map(|pipe| Running::reading(pipe, tail));
        let status = running.wait(bounds.time, bounds.stop)?;
        let [out, err] = [out, err].map(|reading| reading.and_then(|reading| reading.end()).unwrap_or_default());
        if !status.success() {
            let said = if err.is_empty() { out } else { err };
            return Err(ToolError::Refused { program, status, said });
        }
        read(&self.target()).map_err(|source| ToolError::NoComponent { program, source })
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_COMPONENT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_COMPONENT {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {MAX_COMPONENT} bytes")));
    }
    Ok(bytes)
}

/// The folder with toolchains that the environment names.
pub(crate) fn tools() -> Option<PathBuf> {
    let named = std::env::var_os(TOOLS).filter(|path| !path.is_empty())?;
    fs::canonicalize(named).ok()
}

/// A path of a manifest: relative, and not out of the folder.
pub(crate) fn inside(written: &str, key: &str) -> Result<PathBuf, String> {
    let wrong = || format!("`{key}` must be a path inside the folder: `{}`", written.escape_debug());
    let mut path = PathBuf::new();
    for part in Path::new(written).components() {
        match part {
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return Err(wrong()),
        }
    }
    if path.as_os_str().is_empty() { Err(wrong()) } else { Ok(path) }
}

/// The world to build for: the one that is named, or the only one. `key` is where the manifest names it.
pub(crate) fn world(wit: &Path, named: Option<&str>, key: &str) -> Result<String, ToolError> {
    let wrong = |message: String, hint| ToolError::Wit { path: wit.into(), message, hint };
    if !wit.exists() {
        return Err(wrong("it is not there".into(), Some("write it first: its exports are the tools".into())));
    }
    let (resolve, package) = reading::wit(wit).map_err(|reason| wrong(reason, None))?;
    let worlds: Vec<&str> = resolve
        .packages
        .get(package)
        .into_iter()
        .flat_map(|package| package.worlds.keys())
        .map(String::as_str)
        .collect();
    let first = worlds.first().copied().unwrap_or_default();
    let hint = (!first.is_empty()).then(|| key.replace("WORLD", first));
    match (named, worlds.as_slice()) {
        (Some(named), worlds) if worlds.contains(&named) => Ok(named.to_owned()),
        (None, [only]) => Ok((*only).to_owned()),
        (_, []) => Err(wrong("its package has no world".into(), None)),
        (Some(named), worlds) => Err(wrong(format!("there is no world `{named}`, but {}", worlds.join(", ")), hint)),
        (None, worlds) => Err(wrong(format!("it has several worlds: {}", worlds.join(", ")), hint)),
    }
}

/// A path as a shell takes it.
pub(crate) fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%:,".contains(c);
    if text.chars().all(plain) { text.into_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_world_is_named_where_there_are_several() {
        let dir = tempfile::tempdir().unwrap();
        let wit = dir.path().join("wit");
        let key = "\"world\": \"WORLD\"";
        let told = |error: ToolError| (error.to_string(), error.hint());
        assert!(told(world(&wit, None, key).unwrap_err()).0.ends_with("it is not there"));
        fs::create_dir(&wit).unwrap();
        fs::write(wit.join("a.wit"), "package a:b;\nworld one {}\n").unwrap();
        assert_eq!(world(&wit, None, key).unwrap(), "one");
        fs::write(wit.join("a.wit"), "package a:b;\nworld one {}\nworld two {}\n").unwrap();
        assert_eq!(world(&wit, Some("two"), key).unwrap(), "two");
        let (message, hint) = told(world(&wit, None, key).unwrap_err());
        assert!(message.ends_with("it has several worlds: one, two"), "{message}");
        assert_eq!(hint.as_deref(), Some("\"world\": \"one\""));
        let (message, _) = told(world(&wit, Some("three"), key).unwrap_err());
        assert!(message.ends_with("there is no world `three`, but one, two"), "{message}");
        fs::write(wit.join("a.wit"), "package a:b;\nworld {").unwrap();
        assert!(matches!(world(&wit, None, key), Err(ToolError::Wit { .. })));
    }

    #[test]
    fn paths_are_quoted_where_a_shell_would_split_them() {
        assert_eq!(quoted(Path::new("/a/b-c")), "/a/b-c");
        assert_eq!(quoted(Path::new("/a b/it's")), r"'/a b/it'\''s'");
    }

    #[test]
    fn a_toolchain_that_is_not_there_is_missing_and_one_that_refuses_is_quoted() {
        let stop = Stop::default();
        let usual = Bounds::new(None, &stop);
        let mut job = Job::new().unwrap();
        let error = job.run(Command::new("/nowhere/node"), Tool::JavaScript, &usual).unwrap_err();
        assert!(matches!(error, ToolError::Missing { what: "node", .. }), "{error}");
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo \"$HOME$PORTCULLIS_CANARY$OWN\" >&2; exit 3"]).env("OWN", "own").env("HOME", "home");
        // Safe to look for: nothing of this process' environment but what is listed gets there.
        let error = job.run(shell, Tool::Python, &usual).unwrap_err();
        let ToolError::Refused { said, status, .. } = &error else { panic!("{error}") };
        assert_eq!((&**said, status.code()), ("homeown", Some(3)));
        let error = job.run(Command::new("true"), Tool::Python, &usual).unwrap_err();
        assert!(matches!(error, ToolError::NoComponent { .. }), "{error}");
    }

    /// A source runs while it is built: what it could read of the environment would end up in what is built.
    #[test]
    fn a_toolchain_sees_little_of_the_environment() {
        let inherited: Vec<_> = std::env::vars_os().map(|(name, _)| name).filter(|name| *name != "PATH").collect();
        let stop = Stop::default();
        let usual = Bounds::new(None, &stop);
        let mut job = Job::new().unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-c", "env >&2; exit 1"]);
        let error = job.run(shell, Tool::Python, &usual).unwrap_err();
        let ToolError::Refused { said, .. } = &error else { panic!("{error}") };
        // Cargo sets it for tests.
        assert!(inherited.iter().any(|name| name == "CARGO_MANIFEST_DIR") && !said.contains("CARGO_"), "{said}");
    }
}
