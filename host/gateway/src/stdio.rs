//! The door of standard input and output: one client, who started the process and so is its operator.

use std::sync::Arc;

use rmcp::{service::serve_server_with_ct, transport::stdio_pipes};
use tokio_util::sync::CancellationToken;

use crate::{
    handler::{ServerName, Shared, Who},
    pipeline::Gateway,
    threads::{self, Linger, Threads},
    transport::Lines,
};

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
    let handler = Shared::new(gateway, &name, Some(linger.clone())).handler(who);
    let (read, write) = stdio_pipes();
    let (lines, writing) = Lines::new(read, write, linger);
    let ended = match serve_server_with_ct(handler, lines, shutdown.child_token()).await {
        Ok(service) => service.waiting().await.map(drop).map_err(|error| StdioError::Service(error.to_string())),
        // A client that leaves before it says anything has nothing to complain of.
        Err(rmcp::service::ServerInitializeError::ConnectionClosed(_)) => Ok(()),
        Err(_) if shutdown.is_cancelled() => Ok(()),
        Err(error) => Err(StdioError::Handshake(error.to_string())),
    };
    writing.ended().await;
    ended
}
