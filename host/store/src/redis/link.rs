//! The connection: made when it is needed, shared by all operations, and made anew with growing pauses when it is gone.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, PushInfo, PushKind, RedisError, ServerErrorKind, Value,
    aio::MultiplexedConnection,
};
use tokio::{sync::Mutex, time::timeout_at};

use crate::contract::StoreError;

/// How long a connection may take to be made, within the operation's own deadline.
const CONNECT: Duration = Duration::from_secs(2);
/// The pause after the first attempt that fails; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Operations fail at once meanwhile.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What the server adds to the error of a command within a script.
const IN_A_SCRIPT: &str = "on @user_script";

/// The connection to a server.
pub(super) struct Link {
    client: Client,
    state: Mutex<State>,
    /// The generation of the last connection that was seen to end.
    ended: Arc<AtomicU64>,
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
        Self { client, state: Mutex::new(state), ended: Arc::new(AtomicU64::new(0)) }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// A connection, and its generation. Nothing of the operation has been sent when this fails.
    async fn connection(&self, deadline: Instant) -> Result<(MultiplexedConnection, u64), NotSaid> {
        let state = timeout_at(deadline.into(), self.state.lock()).await;
        let mut state = state.map_err(|_| NotSaid::Failed(StoreError::TimedOut))?;
        if let Some(up) = &state.up
            && self.ended.load(Ordering::Acquire) < state.generation
        {
            return Ok((up.clone(), state.generation));
        }
        state.up = None;
        let now = Instant::now();
        if state.retry_at.is_some_and(|at| now < at) {
            return Err(NotSaid::Away(StoreError::Unavailable(state.reason.clone())));
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
        let patience = deadline.min(now + CONNECT);
        let made = timeout_at(patience.into(), self.client.get_multiplexed_async_connection_with_config(&config)).await;
        let reason = match made {
            Ok(Ok(up)) => {
                (state.generation, state.retry_at, state.pause) = (generation, None, FIRST_PAUSE);
                state.up = Some(up.clone());
                return Ok((up, generation));
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the server did not answer in time".to_owned(),
        };
        // A deadline that was short says nothing about the server.
        if patience < deadline || Instant::now() < deadline {
            state.retry_at = Some(Instant::now() + state.pause);
            state.pause = (state.pause * 2).min(LONGEST_PAUSE);
        }
        state.reason = format!("cannot connect to the server: {reason}");
        Err(NotSaid::Away(StoreError::Unavailable(state.reason.clone())))
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
        Err(match timeout_at(deadline.into(), sent).await {
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
