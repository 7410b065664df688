//! The door of Streamable HTTP: `/mcp` for both eras, `/healthz`, `/readyz`.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    http::StatusCode,
    routing::get,
    serve::{Listener, ListenerExt},
};
use portcullis_policy::Principal;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    handler::{ServerName, Shared},
    pipeline::{Gateway, MAX_MESSAGE},
    sessions::Sessions,
};

/// How long requests in flight may take to end once the host is told to stop.
const GRACE: Duration = Duration::from_secs(5);

/// The listening socket, bound before anything is served through it.
#[derive(Debug)]
pub struct HttpDoor {
    listener: TcpListener,
    address: SocketAddr,
}

/// The door could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The address is reachable from other machines.
    #[error("`{address}` is reachable from other machines, and there is no authentication")]
    NotLoopback {
        /// The address.
        address: SocketAddr,
    },
    /// The operating system refused.
    #[error("could not listen on `{address}`")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The server ended by itself.
    #[error("the HTTP server failed")]
    Serve(#[source] io::Error),
}

impl HttpError {
    /// What to write instead.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotLoopback { address } => {
                Some(format!("listen on this machine alone: `127.0.0.1:{}`", address.port()))
            }
            Self::Bind { address, source } if source.kind() == io::ErrorKind::AddrInUse => {
                Some(format!("another program uses it; take another port: `{}:0` picks a free one", address.ip()))
            }
            Self::Bind { .. } | Self::Serve(_) => None,
        }
    }
}

impl HttpDoor {
    /// Binds `address`, which must be of this machine alone while there is no authentication.
    ///
    /// # Errors
    /// When it is not, or is taken.
    pub async fn bind(address: SocketAddr) -> Result<Self, HttpError> {
        if !address.ip().is_loopback() {
            return Err(HttpError::NotLoopback { address });
        }
        let bind = |source| HttpError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        Ok(Self { listener, address })
    }

    /// The address, with the port that was picked.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown`.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn serve(
        self,
        gateway: Arc<Gateway>,
        name: &ServerName,
        shutdown: CancellationToken,
    ) -> Result<(), HttpError> {
        let shared = Shared::new(Arc::clone(&gateway), name);
        let handler = shared.handler(Principal::Loopback);
        let port = self.address.port();
        let config = StreamableHttpServerConfig::default()
            .with_json_response(true)
            .with_max_request_body_bytes(MAX_MESSAGE)
            .with_cancellation_token(shutdown.child_token())
            // A page in a browser has an Origin; only pages of this machine may have one here.
            .with_allowed_origins([
                "http://localhost:*".to_owned(),
                "http://127.0.0.1:*".to_owned(),
                "http://[::1]:*".to_owned(),
            ])
            .enforce_origin_validation();
        let mcp = StreamableHttpService::new(move || Ok(handler.clone()), Arc::new(Sessions::new()), config);
        let ready = Arc::clone(&gateway);
        let router = Router::new()
            .route_service("/mcp", mcp)
            .route("/healthz", get(async || StatusCode::OK))
            .route("/readyz", get(async move || readiness(&ready)));
        tracing::debug!(port, "serving");
        // Without it every streamed reply waits 40 ms for an acknowledgement that the client delays.
        let listener = self.listener.tap_io(|stream| {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY could not be set");
            }
        });
        serve(listener, router, shutdown).await
    }
}

async fn serve<L>(listener: L, router: Router, shutdown: CancellationToken) -> Result<(), HttpError>
where
    L: Listener,
    L::Addr: std::fmt::Debug,
{
    let told = shutdown.clone();
    let server = axum::serve(listener, router).with_graceful_shutdown(async move { told.cancelled().await });
    let forced = async {
        shutdown.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        ended = server.into_future() => ended.map_err(HttpError::Serve),
        () = forced => Ok(()),
    }
}

/// Red while a plugin that is configured is not served.
fn readiness(gateway: &Gateway) -> (StatusCode, String) {
    let snapshot = gateway.catalogue().snapshot();
    let broken: Vec<_> =
        snapshot.plugins().iter().filter(|plugin| plugin.state.reason().is_some()).map(|p| p.name.as_str()).collect();
    if broken.is_empty() {
        (StatusCode::OK, "ready\n".into())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, format!("not served: {}\n", broken.join(", ")))
    }
}
