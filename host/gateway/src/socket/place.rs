//! Who owns a state directory: one process, by a lock that ends with it; and where in it its socket is.
//!
//! The lock decides, never the socket: one that a dead host left is nobody's, and the next owner replaces it. Nobody else
//! removes anything.

use std::{
    fs::{self, File, OpenOptions, Permissions, TryLockError},
    io::{self, Read, Seek, Write},
    os::{
        fd::AsRawFd,
        unix::{
            fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use super::{
    line,
    wire::{Hello, MAX_HELLO, Welcome},
};

/// The lock's file, which holds the number of its owner's process.
const LOCK: &str = "host.lock";
/// The socket.
const SOCKET: &str = "host.sock";
/// How long to wait for an owner that neither answers nor goes: one that starts compiles nothing before it answers, and a
/// command that holds the directory is a call with its deadline.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often to look whether it has.
const LOOK: Duration = Duration::from_millis(20);
/// Bytes of the longest path of a socket, with the zero at its end (unix(7); 104 on macOS).
const MAX_PATH: usize = if cfg!(target_os = "linux") { 108 } else { 104 };

/// A state directory that this process owns, until this is dropped.
#[derive(Debug)]
pub struct Owner {
    state: PathBuf,
    /// Holds the lock.
    _lock: File,
    /// The user that the directory belongs to.
    user: u32,
    listens: bool,
}

/// What is in a state directory.
#[derive(Debug)]
pub enum Found {
    /// Nobody: this process owns it now.
    Free(Owner),
    /// A host, which has said welcome, and its process.
    Host(UnixStream, u32),
}

/// The directory can be neither owned nor visited.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// The operating system refused.
    #[error("could not use `{}`", path.display())]
    Io {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The path of the socket does not fit.
    #[error("the path of the socket is longer than {} bytes: `{}`", MAX_PATH - 1, .0.display())]
    Long(PathBuf),
    /// Its owner neither answers nor ends.
    #[error("the state directory `{}` belongs to {}, which does not answer", state.display(), process(owner))]
    Silent {
        /// The directory.
        state: PathBuf,
        /// The owner's process, as its lock says.
        owner: Option<u32>,
    },
    /// The host that runs there does not take this one.
    #[error("{what}")]
    Refused {
        /// Why.
        what: String,
        /// What to do instead.
        hint: Option<String>,
    },
}

fn process(owner: &Option<u32>) -> String {
    owner.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

impl PlaceError {
    /// What to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Io { .. } => None,
            Self::Long(_) => Some("in the configuration: state-dir = \"SHORTER\"".to_owned()),
            Self::Silent { owner: Some(owner), .. } => {
                Some(format!("wait for it, or end it: kill {owner}; `ps -p {owner} -o args` says what it is"))
            }
            Self::Silent { owner: None, .. } => Some("wait for it, or end it".to_owned()),
            Self::Refused { hint, .. } => hint.clone(),
        }
    }
}

/// Takes the directory, or comes to the host that has it, whichever can be had first. Blocks, for 30 seconds at most.
///
/// # Errors
/// When neither can be had.
pub fn seek(state: &Path, hello: &Hello) -> Result<Found, PlaceError> {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(owner) = Owner::take(state)? {
            return Ok(Found::Free(owner));
        }
        if let Some((stream, pid)) = come(state, hello, until)? {
            return Ok(Found::Host(stream, pid));
        }
        if Instant::now() >= until {
            return Err(PlaceError::Silent { state: state.to_owned(), owner: owner_of(state) });
        }
        // It starts, ends, or is a command without a socket.
        thread::sleep(LOOK);
    }
}

/// Comes to the host that has the directory, where one does and answers.
///
/// # Errors
/// When it refuses.
pub fn visit(state: &Path, hello: &Hello) -> Result<Option<(UnixStream, u32)>, PlaceError> {
    come(state, hello, Instant::now() + PATIENCE)
}

/// The host's word to a hello; none where nobody listens, or whoever did is gone.
fn come(state: &Path, hello: &Hello, until: Instant) -> Result<Option<(UnixStream, u32)>, PlaceError> {
    let path = state.join(SOCKET);
    let io = |source| PlaceError::Io { path: path.clone(), source };
    let way = Way::to(state)?;
    let mut stream = match UnixStream::connect(&way.path) {
        Ok(stream) => stream,
        Err(error) if is_nobody(&error) => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    let said = match greet(&mut stream, hello, until) {
        Ok(Some(said)) => said,
        Ok(None) => return Ok(None),
        Err(error) if is_nobody(&error) => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    match serde_json::from_slice(&said) {
        Ok(Welcome::Welcome { pid }) => Ok(Some((stream, pid))),
        Ok(Welcome::Refused { what, hint }) => Err(PlaceError::Refused { what, hint }),
        Err(error) => Err(io(error.into())),
    }
}

/// Says hello, and reads what is said to it.
fn greet(stream: &mut UnixStream, hello: &Hello, until: Instant) -> io::Result<Option<Vec<u8>>> {
    let left = until.saturating_duration_since(Instant::now()).max(LOOK);
    stream.set_write_timeout(Some(left))?;
    stream.set_read_timeout(Some(left))?;
    stream.write_all(&line::made(hello, MAX_HELLO)?)?;
    let said = line::read_blocking(stream, MAX_HELLO)?;
    stream.set_write_timeout(None)?;
    stream.set_read_timeout(None)?;
    Ok(said)
}

/// Whether nobody listens any more, or does not answer in time.
fn is_nobody(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::WouldBlock
            | io::ErrorKind::TimedOut
    )
}

/// The process that has the lock, as far as its file says.
fn owner_of(state: &Path) -> Option<u32> {
    let mut text = String::new();
    File::open(state.join(LOCK)).ok()?.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

impl Owner {
    /// Takes the directory, where nobody has it. For a command that serves nobody and is soon over; a host listens.
    ///
    /// # Errors
    /// When the lock's file cannot be used.
    fn take(state: &Path) -> Result<Option<Self>, PlaceError> {
        let path = state.join(LOCK);
        let io = |source| PlaceError::Io { path: path.clone(), source };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut lock = options.open(&path).map_err(io)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        let written =
            lock.set_len(0).and_then(|()| lock.rewind()).and_then(|()| writeln!(lock, "{}", std::process::id()));
        // The number is for sentences alone: a full disk keeps nobody from serving.
        if let Err(error) = written {
            tracing::debug!(%error, "the lock does not say whose it is");
        }
        let user = fs::metadata(state).map_err(io)?.uid();
        Ok(Some(Self { state: state.to_owned(), _lock: lock, user, listens: false }))
    }

    /// The user that the directory belongs to, and whoever comes to the socket has to be.
    pub(super) fn user(&self) -> u32 {
        self.user
    }

    /// Listens on the socket, in place of what a host left that is dead: the lock says that it is.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn listen(&mut self) -> Result<UnixListener, PlaceError> {
        let path = self.state.join(SOCKET);
        let io = |source| PlaceError::Io { path: path.clone(), source };
        let way = Way::to(&self.state)?;
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io(error)),
        }
        let listener = UnixListener::bind(&way.path).map_err(io)?;
        self.listens = true;
        // Nobody else gets into the directory meanwhile: it has mode 0700.
        fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(io)?;
        listener.set_nonblocking(true).map_err(io)?;
        Ok(listener)
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        if self.listens {
            // Before the lock is given up, so that it is not the next owner's. One that stays is replaced.
            _ = fs::remove_file(self.state.join(SOCKET));
        }
    }
}

/// A path of the socket that fits into an address.
struct Way {
    path: PathBuf,
    /// Open while the path leads through it.
    _state: Option<File>,
}

impl Way {
    fn to(state: &Path) -> Result<Self, PlaceError> {
        let path = state.join(SOCKET);
        if path.as_os_str().len() < MAX_PATH {
            return Ok(Self { path, _state: None });
        }
        if !cfg!(target_os = "linux") {
            return Err(PlaceError::Long(path));
        }
        let folder = File::open(state).map_err(|source| PlaceError::Io { path: state.to_owned(), source })?;
        let short = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()));
        // A system without `/proc`.
        if !short.exists() {
            return Err(PlaceError::Long(path));
        }
        Ok(Self { path: short.join(SOCKET), _state: Some(folder) })
    }
}
