//! The door of standard input and output: one client, who started the process and so is its operator.

use std::{io, sync::Arc, time::Duration};

use rmcp::{
    service::serve_server_with_ct,
    transport::{async_rw::AsyncRwTransport, stdio_pipes},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, duplex},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    handler::{ServerName, Shared, Who},
    pipeline::{Gateway, MAX_MESSAGE},
    threads::{self, Linger, Threads},
};

/// Bytes of messages that wait to be written; whoever has more to say waits until the client has read.
const MAX_WAITING: usize = 64 << 10;
/// How long the last messages may take once the client has nothing more to ask.
const LAST_MESSAGES: Duration = Duration::from_secs(5);

/// The client could not be served.
#[derive(Debug, thiserror::Error)]
pub enum StdioError {
    /// The first messages were no MCP.
    #[error("the client on standard input did not speak MCP: {0}")]
    Handshake(String),
    /// The task that serves died.
    #[error("the server on standard output failed: {0}")]
    Service(String),
}

/// Serves the client on standard input until it closes, or `shutdown` comes.
///
/// # Errors
/// When the client does not speak MCP.
pub async fn serve_stdio(
    gateway: Arc<Gateway>,
    name: ServerName,
    who: Who,
    shutdown: CancellationToken,
) -> Result<(), StdioError> {
    let linger = Linger::new();
    let answered = linger.clone();
    let serve = move || serve(gateway, name, who, answered, shutdown);
    threads::on_own_threads("portcullis-door".into(), Threads::Pair, linger, serve)
        .await
        .map_err(|error| StdioError::Service(error.to_string()))?
}

async fn serve(
    gateway: Arc<Gateway>,
    name: ServerName,
    who: Who,
    linger: Linger,
    shutdown: CancellationToken,
) -> Result<(), StdioError> {
    let handler = Shared::new(gateway, &name, Some(linger)).handler(who);
    let (read, write) = stdio_pipes();
    // rmcp writes each message for itself. Those of one moment leave together, and the last when its end is dropped.
    let (waiting, messages) = duplex(MAX_WAITING);
    let writing = tokio::spawn(write_together(waiting, write));
    let transport = AsyncRwTransport::new_server(read, messages).with_max_line_length(MAX_MESSAGE);
    let ended = match serve_server_with_ct(handler, transport, shutdown.child_token()).await {
        Ok(service) => service.waiting().await.map(drop).map_err(|error| StdioError::Service(error.to_string())),
        // A client that leaves before it says anything has nothing to complain of.
        Err(rmcp::service::ServerInitializeError::ConnectionClosed(_)) => Ok(()),
        Err(_) if shutdown.is_cancelled() => Ok(()),
        Err(error) => Err(StdioError::Handshake(error.to_string())),
    };
    // A client that does not read has had its time, and one that is gone needs nothing.
    _ = timeout(LAST_MESSAGES, writing).await;
    ended
}

/// Writes what waits, all of it at once, until nothing more will come or the client is gone.
async fn write_together(mut waiting: impl AsyncRead + Unpin, mut client: impl AsyncWrite + Unpin) -> io::Result<()> {
    let mut messages = Vec::with_capacity(MAX_WAITING);
    while waiting.read_buf(&mut messages).await? > 0 {
        client.write_all(&messages).await?;
        client.flush().await?;
        messages.clear();
    }
    Ok(())
}
