//! The door of Streamable HTTP: `/mcp` for both eras, `/healthz`, `/readyz`.

use std::{future::ready, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Json, Router, extract::Path, http::StatusCode, response::IntoResponse, routing::get, serve::Listener};
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;

use crate::{
    auth::{self, Bindings, METADATA, Tokens},
    desk::store_trouble,
    handler::{ServerName, Shared, Who},
    pipeline::{Gateway, MAX_MESSAGE},
    sessions::Sessions,
    threads,
};

/// How long requests in flight may take to end once the host is told to stop.
const GRACE: Duration = Duration::from_secs(5);
/// Connections that wait for a thread to take them up.
const MAX_HANDED: usize = 128;
/// How long to wait after a connection could not be accepted.
const BREATH: Duration = Duration::from_millis(100);

/// The listening socket, bound before anything is served through it, and before any thread of the process starts.
#[derive(Debug)]
pub struct HttpDoor {
    listener: std::net::TcpListener,
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
            Self::NotLoopback { address } => Some(format!(
                "listen on this machine alone, `127.0.0.1:{}`, or name agents, `[agents.NAME]`, or an issuer, `[auth.oauth]`",
                address.port()
            )),
            Self::Bind { address, source } if source.kind() == io::ErrorKind::AddrInUse => {
                Some(format!("another program uses it; take another port: `{}:0` picks a free one", address.ip()))
            }
            Self::Bind { .. } | Self::Serve(_) => None,
        }
    }
}

impl HttpDoor {
    /// Binds `address`, which must be of this machine alone unless callers have to say who they are (`asks`).
    ///
    /// # Errors
    /// When it is not, or is taken.
    pub fn bind(address: SocketAddr, asks: bool) -> Result<Self, HttpError> {
        if !asks && !address.ip().is_loopback() {
            return Err(HttpError::NotLoopback { address });
        }
        let bind = |source| HttpError::Bind { address, source };
        let listener = std::net::TcpListener::bind(address).map_err(bind)?;
        listener.set_nonblocking(true).map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        Ok(Self { listener, address })
    }

    /// The address, with the port that was picked.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown`: connections are handed to the threads in turn, and stay where they are.
    ///
    /// # Errors
    /// When the listener or a thread fails.
    pub async fn serve(
        self,
        gateway: Arc<Gateway>,
        name: ServerName,
        shutdown: CancellationToken,
    ) -> Result<(), HttpError> {
        let listener = TcpListener::from_std(self.listener).map_err(HttpError::Serve)?;
        let router = router(gateway, &name, &shutdown);
        let (senders, threads): (Vec<_>, Vec<_>) = (0..threads::count())
            .map(|number| {
                let (sender, streams) = mpsc::channel(MAX_HANDED);
                let (door, router) = (Handed { streams, address: self.address }, router.clone());
                let shutdown = shutdown.clone();
                let name = format!("portcullis-{number}");
                (sender, threads::on_own_thread(name, move || serve(door, router, shutdown)))
            })
            .unzip();
        let all = futures::future::try_join_all(threads);
        tokio::select! {
            ended = all => ended.map(drop).map_err(HttpError::Serve),
            () = accept(listener, &senders) => Ok(()),
        }
    }
}

/// Takes connections in and hands them out. Never ends.
async fn accept(listener: TcpListener, threads: &[mpsc::Sender<std::net::TcpStream>]) {
    let mut turns = threads.iter().cycle();
    loop {
        let accepted = async {
            let (stream, _) = listener.accept().await?;
            // Without it every streamed reply waits 40 ms for an acknowledgement that the client delays.
            stream.set_nodelay(true)?;
            stream.into_std()
        };
        match accepted.await {
            Ok(stream) => {
                if let Some(thread) = turns.next() {
                    // A thread that is gone has told why.
                    _ = thread.send(stream).await;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                // Out of descriptors, most likely: others have to end first.
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

/// A thread's share of the connections.
struct Handed {
    streams: mpsc::Receiver<std::net::TcpStream>,
    address: SocketAddr,
}

impl Listener for Handed {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            let Some(stream) = self.streams.recv().await else { return std::future::pending().await };
            let peer = stream.peer_addr();
            // A connection that is gone already is no loss.
            if let (Ok(stream), Ok(peer)) = (TcpStream::from_std(stream), peer) {
                return (stream, peer);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

fn router(gateway: Arc<Gateway>, name: &ServerName, shutdown: &CancellationToken) -> Router {
    let own = gateway.keeper().tokens().map(Tokens::authority);
    let handler = Shared::new(Arc::clone(&gateway), name, None).handler(Who::Asked);
    let config = StreamableHttpServerConfig::default()
        .with_json_response(true)
        .with_max_request_body_bytes(MAX_MESSAGE)
        .with_cancellation_token(shutdown.child_token())
        // What clients know this host by, where the configuration says that, and this machine.
        .with_allowed_hosts(["localhost", "127.0.0.1", "::1"].map(str::to_owned).into_iter().chain(own))
        // A page in a browser has an Origin; only pages of this machine may have one here.
        .with_allowed_origins(["http://localhost:*", "http://127.0.0.1:*", "http://[::1]:*"].map(str::to_owned))
        .enforce_origin_validation();
    let mcp = StreamableHttpService::new(move || Ok(handler.for_caller()), Arc::new(Sessions::new()), config);
    let guard = axum::middleware::from_fn_with_state(Bindings::new(Arc::clone(gateway.keeper())), auth::guard);
    let router = Router::new().route_service("/mcp", mcp).route_layer(guard);
    let router = match gateway.keeper().tokens() {
        Some(tokens) => described(router, tokens, name),
        None => router,
    };
    router
        .route("/healthz", get(async || StatusCode::OK))
        .route("/readyz", get(move || readiness(Arc::clone(&gateway))))
}

/// With what says where tokens are to be had: for the whole host, and for the address that clients have, behind a proxy
/// too (RFC 9728, section 3.1). Anybody may read it.
fn described(router: Router, tokens: &Tokens, name: &ServerName) -> Router {
    let metadata = Json(tokens.metadata(&name.0));
    let own = tokens.path().trim_matches('/').to_owned();
    let whole = metadata.clone();
    let of_path = move |Path(path): Path<String>| {
        let there = path == "mcp" || path == own;
        ready(if there { metadata.clone().into_response() } else { StatusCode::NOT_FOUND.into_response() })
    };
    router.route(METADATA, get(move || ready(whole.clone()))).route(&format!("{METADATA}/{{*path}}"), get(of_path))
}

/// One thread's server.
async fn serve(door: Handed, router: Router, shutdown: CancellationToken) {
    let told = shutdown.clone();
    let server = axum::serve(door, router).with_graceful_shutdown(async move { told.cancelled().await });
    let forced = async {
        shutdown.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        // It never fails; it ends at the shutdown.
        _ = server.into_future() => (),
        () = forced => (),
    }
}

/// Red while the lock is not the accepted one, a plugin is missing or broken, or the store is away. One that waits for an
/// operator's word is as it should be.
async fn readiness(gateway: Arc<Gateway>) -> (StatusCode, String) {
    let snapshot = gateway.catalogue().snapshot();
    let faults = snapshot.plugins().iter().filter(|plugin| plugin.state.is_fault()).map(|plugin| plugin.name.as_str());
    let lock = snapshot.trouble().map(|_| "the lock");
    // Why is the operator's: anybody may ask here.
    let store = store_trouble(gateway.store()).await.map(|_| "the store");
    let faults: Vec<_> = lock.into_iter().chain(store).chain(faults).collect();
    if faults.is_empty() {
        (StatusCode::OK, "ready\n".into())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, format!("not in order: {}\n", faults.join(", ")))
    }
}
