//! The connection: made when it is needed, shared by all operations, and made anew with growing pauses when it is gone.

use std::{
    sync::{
        Arc, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, PushInfo, PushKind, RedisError, ServerErrorKind, Value,
    aio::MultiplexedConnection,
};
use tokio::{sync::Mutex, time::timeout_at};

use crate::contract::StoreError;

/// How long a connection may take to be made, and half of what the operation has left: others may have to be asked after it.
pub(super) const CONNECT: Duration = Duration::from_secs(2);
/// An attempt that had less time than this says nothing about the server.
const ENOUGH: Duration = Duration::from_millis(250);
/// The pause after the first attempt that fails; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Operations fail at once meanwhile.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What the server adds to the error of a command within a script.
const IN_A_SCRIPT: &str = "on @user_script";

/// How long a server may leave unanswered, or unacknowledged, what was sent to it. One that hangs or lost its power ends no
/// connection, and operations would wait for it, each until its deadline, while another has its place already.
pub(super) const SILENCE: Duration = Duration::from_secs(10);

/// The connection to a server.
pub(super) struct Link {
    client: Client,
    state: Mutex<State>,
    /// The generation of the last connection that was seen to end.
    ended: Arc<AtomicU64>,
    /// The last attempt to connect failed.
    away: AtomicBool,
    silence: std::sync::Mutex<Option<Silence>>,
}

/// Nothing was answered on a connection, though operations waited for it to their deadlines.
struct Silence {
    generation: u64,
    since: Instant,
    /// When the last of them gave up.
    last: Instant,
}

struct State {
    up: Option<MultiplexedConnection>,
    /// How many connections there were.
    generation: u64,
    retry_at: Option<Instant>,
    pause: Duration,
    reason: String,
}

/// Why a server did not do what it was asked.
pub(super) enum NotSaid {
    /// It cannot be reached. Nothing was sent, or nothing that writes.
    Away(StoreError),
    /// The node at this address has what this is about. Nothing was done.
    Moved(String),
    /// The same for this once, where it is said before that the other was asked for.
    Ask(String),
    /// For another reason.
    Failed(StoreError),
}

impl Link {
    pub(super) fn new(client: Client) -> Self {
        let state = State { up: None, generation: 0, retry_at: None, pause: FIRST_PAUSE, reason: String::new() };
        Self {
            client,
            state: Mutex::new(state),
            ended: Arc::default(),
            away: AtomicBool::new(false),
            silence: std::sync::Mutex::default(),
        }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// A connection, and its generation. Nothing of the operation has been sent when this fails.
    async fn connection(&self, deadline: Instant) -> Result<(MultiplexedConnection, u64), NotSaid> {
        let away = |reason: String| NotSaid::Away(StoreError::Unavailable(reason));
        let now = Instant::now();
        let patience = tokio::time::Instant::from_std(now + CONNECT.min(deadline.saturating_duration_since(now) / 2));
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            // Somebody tries again, and the others need not wait for it.
            Err(_) if self.away.load(Ordering::Acquire) => return Err(away("the server cannot be reached".to_owned())),
            Err(_) => {
                let state = timeout_at(patience, self.state.lock()).await;
                state.map_err(|_| away("the connection to the server takes too long to be made".to_owned()))?
            }
        };
        if let Some(up) = &state.up
            && self.ended.load(Ordering::Acquire) < state.generation
        {
            return Ok((up.clone(), state.generation));
        }
        state.up = None;
        // Others may have taken most of it.
        let time = patience.saturating_duration_since(tokio::time::Instant::now());
        if state.retry_at.is_some_and(|at| now < at) {
            return Err(away(state.reason.clone()));
        }
        let generation = state.generation + 1;
        let ended = Arc::clone(&self.ended);
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let config = config.set_push_sender(move |push: PushInfo| {
            if push.kind == PushKind::Disconnection {
                ended.fetch_max(generation, Ordering::AcqRel);
            }
            Ok::<(), redis::aio::SendError>(())
        });
        let made = timeout_at(patience, self.client.get_multiplexed_async_connection_with_config(&config)).await;
        let reason = match made {
            Ok(Ok(up)) => {
                (state.generation, state.retry_at, state.pause) = (generation, None, FIRST_PAUSE);
                state.up = Some(up.clone());
                self.away.store(false, Ordering::Release);
                return Ok((up, generation));
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) if time < ENOUGH => {
                return Err(away("the deadline passed before the server was reached".to_owned()));
            }
            Err(_) => "the server did not answer in time".to_owned(),
        };
        state.retry_at = Some(Instant::now() + state.pause);
        state.pause = (state.pause * 2).min(LONGEST_PAUSE);
        state.reason = format!("cannot connect to the server: {reason}");
        self.away.store(true, Ordering::Release);
        Err(away(state.reason.clone()))
    }

    /// Sends a command, and the other one where the server does not know the script; `asking` says first that another node
    /// sent it here. `writes` says what is not known when the connection goes away in the middle.
    pub(super) async fn send(
        &self,
        command: &Cmd,
        otherwise: impl Fn() -> Option<Cmd>,
        asking: bool,
        writes: bool,
        deadline: Instant,
    ) -> Result<Value, NotSaid> {
        if Instant::now() >= deadline {
            return Err(NotSaid::Failed(StoreError::TimedOut));
        }
        let (connection, generation) = self.connection(deadline).await?;
        let sent = async {
            match say(connection.clone(), command, asking).await {
                Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => match otherwise() {
                    Some(command) => say(connection, &command, asking).await,
                    None => Err(error),
                },
                answer => answer,
            }
        };
        let began = Instant::now();
        let answer = timeout_at(deadline.into(), sent).await;
        match &answer {
            Ok(_) => *self.silence() = None,
            Err(_) => self.unheard(began, generation),
        }
        Err(match answer {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) if is_answer(&error) => refused(&error, writes),
            Ok(Err(error)) => {
                self.ended.fetch_max(generation, Ordering::AcqRel);
                let reason = format!("the connection to the server went away: {error}");
                // Whoever only reads may ask again.
                match writes {
                    true => NotSaid::Failed(StoreError::UnknownOutcome(reason)),
                    false => NotSaid::Away(StoreError::Unavailable(reason)),
                }
            }
            Err(_) if writes => {
                NotSaid::Failed(StoreError::UnknownOutcome("the deadline passed before the server answered".to_owned()))
            }
            Err(_) => NotSaid::Failed(StoreError::TimedOut),
        })
    }

    /// Nothing was heard of what was sent at this time. Where that goes on for too long, the connection is given up: making
    /// the next one shows whether the server is there.
    fn unheard(&self, sent: Instant, generation: u64) {
        let now = Instant::now();
        let mut silence = self.silence();
        // Of the same connection, and not one of an hour ago.
        let goes_on =
            |before: &Silence| before.generation == generation && sent.saturating_duration_since(before.last) < SILENCE;
        let since = silence.take().filter(goes_on).map_or(sent, |before| before.since.min(sent));
        if now.saturating_duration_since(since) < SILENCE {
            *silence = Some(Silence { generation, since, last: now });
        } else {
            self.ended.fetch_max(generation, Ordering::AcqRel);
        }
    }

    fn silence(&self) -> MutexGuard<'_, Option<Silence>> {
        self.silence.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn say(mut connection: MultiplexedConnection, command: &Cmd, asking: bool) -> redis::RedisResult<Value> {
    if !asking {
        return said(connection.send_packed_command(command).await);
    }
    // In one piece: it holds for the next command of the connection, and others share it.
    let mut both = redis::pipe();
    both.cmd("ASKING").ignore().add_command(command.clone());
    let answers = connection.send_packed_commands(&both, 1, 1).await?;
    said(answers.into_iter().next().ok_or_else(|| RedisError::from((ErrorKind::UnexpectedReturnType, "no answer"))))
}

/// What the server says is an error comes as a value too.
fn said(answer: redis::RedisResult<Value>) -> redis::RedisResult<Value> {
    match answer {
        Ok(Value::ServerError(error)) => Err(error.into()),
        answer => answer,
    }
}

/// Whether the server itself said so.
fn is_answer(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension | ErrorKind::AuthenticationFailed)
}

/// What an error means that the server gives as its answer.
fn refused(error: &RedisError, writes: bool) -> NotSaid {
    if let Some((address, _)) = error.redirect_node() {
        let asks = error.kind() == ErrorKind::Server(ServerErrorKind::Ask);
        return if asks { NotSaid::Ask(address.to_owned()) } else { NotSaid::Moved(address.to_owned()) };
    }
    let reason = format!("the server refused: {error}");
    // A script that ended in the middle, as where a right to one of its commands is missing: what came before that stands.
    // All other refusals come before the first step.
    if writes && reason.contains(IN_A_SCRIPT) {
        return NotSaid::Failed(StoreError::UnknownOutcome(reason));
    }
    // A node that knows of no owner of the slot, such as one that was taken out of its cluster: others may know.
    if error.code() == Some("CLUSTERDOWN") {
        return NotSaid::Away(StoreError::Unavailable(reason));
    }
    NotSaid::Failed(match error.code() {
        // Memory, disk, roles and rights, which operators see to.
        Some(
            "OOM" | "MISCONF" | "READONLY" | "LOADING" | "MASTERDOWN" | "BUSY" | "TRYAGAIN" | "NOREPLICAS" | "NOAUTH"
            | "NOPERM" | "WRONGPASS",
        ) => StoreError::Unavailable(reason),
        _ => StoreError::Other(reason),
    })
}
