//! The listening side: who comes, what they want, and how many at once.

use std::{
    io,
    os::unix::net::UnixListener as Listener,
    sync::{Arc, OnceLock},
    time::Duration,
};

use portcullis_policy::AgentName;
use rmcp::service::serve_server_with_ct;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, watch},
    task::{JoinHandle, JoinSet},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    line,
    place::{Owner, PlaceError},
    wire::{Answer, AnyHello, Hello, MAX_ANSWER, MAX_HELLO, MAX_REQUEST, PROTOCOL, Request, Wants, Welcome},
};
use crate::{
    desk::Desk,
    handler::{ServerName, Shared, Who},
    threads::{self, Linger, Threads},
    transport::Lines,
};

/// Connections at one time: clients of one user's desktop, and commands. Each can hold a message of some mebibytes.
const MAX_CONNECTIONS: usize = 128;
/// How long a hello may take: the peer is on this machine, and says it at once.
const HELLO: Duration = Duration::from_secs(5);
/// How long a peer that is sent away may take to read why.
const LAST_WORD: Duration = Duration::from_secs(1);
/// How long a command may be silent between two requests: `kv import` reads from a pipe that another program fills.
const IDLE: Duration = Duration::from_secs(600);
/// How long a command may take to read an answer.
const SEND: Duration = Duration::from_secs(60);
/// How long what goes on may take to end once the host is told to stop.
const GRACE: Duration = Duration::from_secs(5);
/// How long to wait after a connection could not be accepted: out of descriptors, most likely.
const BREATH: Duration = Duration::from_millis(100);
/// Reports of progress that wait to be written.
const MAX_REPORTS: usize = 16;

/// The socket, listening, and the directory that it is in.
#[derive(Debug)]
pub struct SocketDoor {
    owner: Owner,
    listener: Listener,
}

/// Who is connected.
#[derive(Debug)]
pub struct Connections {
    count: watch::Receiver<usize>,
    serving: JoinHandle<io::Result<Owner>>,
}

impl Connections {
    /// Waits until nobody is connected.
    pub async fn gone(&mut self) {
        // An error is a door that has ended.
        _ = self.count.wait_for(|count| *count == 0).await;
    }

    /// How many are connected.
    pub fn count(&self) -> usize {
        *self.count.borrow()
    }

    /// Waits for the end of the door, which the shutdown brings. The directory is given up when what is returned is dropped.
    ///
    /// # Errors
    /// When its thread died.
    pub async fn closed(self) -> io::Result<Owner> {
        self.serving.await.map_err(io::Error::other)?
    }
}

impl SocketDoor {
    /// Opens the door. Peers that come are taken in once it serves.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn open(mut owner: Owner) -> Result<Self, PlaceError> {
        let listener = owner.listen()?;
        Ok(Self { owner, listener })
    }

    /// Serves on threads of its own until `shutdown`.
    pub fn serve(self, desk: Arc<Desk>, name: ServerName, shutdown: CancellationToken) -> Connections {
        let (counter, count) = watch::channel(0);
        let serving = tokio::spawn(async move {
            let linger = Linger::new();
            let served =
                threads::on_own_threads("portcullis-socket".into(), Threads::Pair, linger.clone(), move || {
                    let hall = Hall { desk, name, linger, shared: OnceLock::new(), user: self.owner.user(), shutdown };
                    accept(self, Arc::new(hall), counter)
                });
            served.await?
        });
        Connections { count, serving }
    }
}

/// Takes connections in until the shutdown.
async fn accept(door: SocketDoor, hall: Arc<Hall>, count: watch::Sender<usize>) -> io::Result<Owner> {
    let listener = UnixListener::from_std(door.listener)?;
    let mut attended = JoinSet::new();
    loop {
        tokio::select! {
            () = hall.shutdown.cancelled() => break,
            Some(_) = attended.join_next(), if !attended.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let full = attended.len() >= MAX_CONNECTIONS;
                    attended.spawn(Arc::clone(&hall).attend(stream, full));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(BREATH).await;
                }
            },
        }
        count.send_if_modified(|count| std::mem::replace(count, attended.len()) != attended.len());
    }
    // Whoever comes now finds nobody, and looks again.
    drop(listener);
    _ = timeout(GRACE, async { while attended.join_next().await.is_some() {} }).await;
    Ok(door.owner)
}

/// What those who come find.
struct Hall {
    desk: Arc<Desk>,
    name: ServerName,
    linger: Linger,
    /// Made for the first client that speaks MCP.
    shared: OnceLock<Arc<Shared>>,
    user: u32,
    shutdown: CancellationToken,
}

/// Why somebody is sent away, and what to do instead.
type Away = (String, Option<String>);

impl Hall {
    /// One connection, to its end.
    async fn attend(self: Arc<Self>, stream: UnixStream, full: bool) {
        let peer = stream.peer_cred().map(|peer| peer.uid());
        let (read, mut writer) = stream.into_split();
        let mut reader = BufReader::new(read);
        let found = match peer {
            Ok(user) if user == self.user && !full => self.listen(&mut reader).await,
            Ok(user) if user == self.user => {
                Err((format!("the host has {MAX_CONNECTIONS} connections to its socket already"), None))
            }
            Ok(user) => {
                self.desk.gateway().keeper().record(&format!("a process of another user ({user}) came to the socket"));
                Err(("the host that runs here is another user's".to_owned(), None))
            }
            Err(error) => Err((format!("the host does not know whose process comes: {error}"), None)),
        };
        let welcome = match &found {
            Ok(_) => Welcome::Welcome { pid: std::process::id() },
            Err((what, hint)) => Welcome::Refused { what: what.clone(), hint: hint.clone() },
        };
        // A peer that left before it was answered has no complaint.
        let Ok(Ok(())) = timeout(SEND, line::write(&mut writer, &welcome, MAX_HELLO)).await else { return };
        match found {
            Ok(Visit::Client(who)) => self.converse(who, reader, writer).await,
            Ok(Visit::Command) => {
                tokio::select! {
                    _ = self.answer(reader, &mut writer) => {}
                    () = self.shutdown.cancelled() => {}
                }
                _ = writer.shutdown().await;
            }
            Err(_) => {
                _ = writer.shutdown().await;
                // A side that closes with something unread takes back what it has said.
                let mut rest = reader.take(MAX_HELLO as u64);
                _ = timeout(LAST_WORD, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
            }
        }
    }

    /// What a peer wants, where it may have it.
    async fn listen(&self, reader: &mut BufReader<OwnedReadHalf>) -> Result<Visit, Away> {
        let line = match timeout(HELLO, line::read(reader, MAX_HELLO)).await {
            Ok(Ok(Some(line))) => line,
            Ok(Ok(None) | Err(_)) | Err(_) => return Err(("nothing was said that is a hello".to_owned(), None)),
        };
        let hello = self.understood(&line)?;
        match hello.wants {
            Wants::Answers => Ok(Visit::Command),
            Wants::Mcp { agent: None } => Ok(Visit::Client(Who::Operator)),
            Wants::Mcp { agent: Some(agent) } => {
                let name = AgentName::new(agent).ok().filter(|name| self.desk.gateway().keeper().agent(name).is_some());
                let unknown = || ("the host that runs here knows no such agent".to_owned(), None);
                name.map(|name| Visit::Client(Who::Agent(name))).ok_or_else(unknown)
            }
        }
    }

    fn understood(&self, line: &[u8]) -> Result<Hello, Away> {
        let ours = env!("CARGO_PKG_VERSION");
        let nonsense = |_| ("nothing was said that is a hello".to_owned(), None);
        let any: AnyHello = serde_json::from_slice(line).map_err(nonsense)?;
        if any.portcullis != ours || any.protocol != PROTOCOL {
            let what = format!("the host that runs here is Portcullis {ours}, this one is {}", any.portcullis);
            let hint = format!("end it (process {}), and start this one", std::process::id());
            return Err((what, Some(hint)));
        }
        let hello: Hello = serde_json::from_slice(line).map_err(nonsense)?;
        if hello.config != self.desk.config() {
            let what = format!(
                "the host that runs in this state directory (process {}) serves `{}`, and not `{}`",
                std::process::id(),
                self.desk.config(),
                hello.config
            );
            let hint = "each configuration needs a state directory of its own: state-dir = \".portcullis-OTHER\"";
            return Err((what, Some(hint.to_owned())));
        }
        Ok(hello)
    }

    /// Serves a client of MCP.
    async fn converse(&self, who: Who, reader: BufReader<OwnedReadHalf>, writer: OwnedWriteHalf) {
        let gateway = self.desk.gateway();
        let shared =
            self.shared.get_or_init(|| Shared::new(Arc::clone(gateway), &self.name, Some(self.linger.clone())));
        let (lines, writing) = Lines::new(reader, writer, self.linger.clone());
        match serve_server_with_ct(shared.handler(who), lines, self.shutdown.child_token()).await {
            Ok(service) => _ = service.waiting().await,
            Err(rmcp::service::ServerInitializeError::ConnectionClosed(_)) => {}
            Err(error) if !self.shutdown.is_cancelled() => tracing::info!(%error, "a client did not speak MCP"),
            Err(_) => {}
        }
        writing.ended().await;
    }

    /// Answers a command, request by request.
    async fn answer(&self, mut reader: BufReader<OwnedReadHalf>, writer: &mut OwnedWriteHalf) -> io::Result<()> {
        loop {
            let Ok(line) = timeout(IDLE, line::read(&mut reader, MAX_REQUEST)).await else { return Ok(()) };
            let Some(line) = line? else { return Ok(()) };
            let answer = match serde_json::from_slice(&line) {
                Ok(Request::Call { tool, arguments, confirmed }) => {
                    let (reports, mut receiver) = mpsc::channel(MAX_REPORTS);
                    let mut call = std::pin::pin!(self.desk.call(&tool, arguments, confirmed, Some(reports)));
                    loop {
                        tokio::select! {
                            biased;
                            // A number that JSON has none for is no report.
                            Some(report) = receiver.recv() => {
                                if !report.progress.is_finite() { continue }
                                let (progress, total, message) = (report.progress, report.total, report.message);
                                send(writer, &Answer::Progress { progress, total, message }).await?;
                            }
                            called = &mut call => break called,
                            // Dropping the call stops it.
                            () = gone(&mut reader) => return Ok(()),
                        }
                    }
                }
                Ok(Request::List) => Answer::Listed(Box::new(self.desk.list().await)),
                Ok(Request::Reload) => {
                    self.desk.reload().await;
                    Answer::Reloaded
                }
                Ok(Request::Kv(request)) => tokio::select! {
                    answer = self.desk.kv(request) => answer,
                    () = gone(&mut reader) => return Ok(()),
                },
                Err(error) => Answer::Failed { what: format!("the host does not understand what was asked: {error}") },
            };
            match send(writer, &answer).await {
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    send(writer, &Answer::Failed { what: format!("the answer is too long: {error}") }).await?;
                }
                sent => sent?,
            }
        }
    }
}

/// What a peer comes for.
enum Visit {
    Client(Who),
    Command,
}

async fn send(writer: &mut OwnedWriteHalf, answer: &Answer) -> io::Result<()> {
    timeout(SEND, line::write(writer, answer, MAX_ANSWER))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// Ends when the peer is gone. What it says meanwhile is for later.
async fn gone(reader: &mut BufReader<OwnedReadHalf>) {
    match reader.fill_buf().await {
        Ok(said) if !said.is_empty() => std::future::pending().await,
        Ok(_) | Err(_) => {}
    }
}
