//! The door of standard input and output: one client, who started the process and so is its operator.

use std::sync::Arc;

use rmcp::{
    service::serve_server_with_ct,
    transport::{async_rw::AsyncRwTransport, stdio_pipes},
};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::{
    handler::{ServerName, Shared, Who},
    pipeline::{Gateway, MAX_MESSAGE},
    threads,
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
    let others = Handle::current();
    threads::on_own_thread("portcullis-door".into(), move || serve(gateway, name, who, others, shutdown))
        .await
        .map_err(|error| StdioError::Service(error.to_string()))?
}

async fn serve(
    gateway: Arc<Gateway>,
    name: ServerName,
    who: Who,
    others: Handle,
    shutdown: CancellationToken,
) -> Result<(), StdioError> {
    let handler = Shared::new(gateway, &name, Some(others)).handler(who);
    let (read, write) = stdio_pipes();
    let transport = AsyncRwTransport::new_server(read, write).with_max_line_length(MAX_MESSAGE);
    let service = match serve_server_with_ct(handler, transport, shutdown.child_token()).await {
        Ok(service) => service,
        // A client that leaves before it says anything has nothing to complain of.
        Err(rmcp::service::ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
        Err(_) if shutdown.is_cancelled() => return Ok(()),
        Err(error) => return Err(StdioError::Handshake(error.to_string())),
    };
    service.waiting().await.map(drop).map_err(|error| StdioError::Service(error.to_string()))
}
