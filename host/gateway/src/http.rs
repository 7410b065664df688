//! The door of HTTP: `/mcp` for both eras, the routes with `/openapi.json`, `/healthz`, `/readyz`.

mod connection;
mod peers;
mod request;
mod rest;
mod tls;
mod unread;

use std::{future::ready, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Json, Router, extract::Path, http::StatusCode, response::IntoResponse, routing::get};
use ipnet::IpNet;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_util::sync::CancellationToken;

use self::{connection::Accepted, peers::Peers};
pub(crate) use self::{peers::CLIENT, request::SlowDown};
pub use self::{
    peers::PeerBounds,
    tls::{Tls, TlsError},
};
use crate::{
    auth::{self, Bindings, METADATA, Tokens},
    desk::store_trouble,
    handler::{ServerName, Shared, Who},
    pipeline::{Gateway, MAX_MESSAGE},
    routes::{Hosts, RouteDoor, is_open, respond},
    sessions::Sessions,
    threads::{self, Linger, Threads},
};

/// How long requests in flight may take to end once the host is told to stop.
const GRACE: Duration = Duration::from_secs(5);
/// Connections that wait for a thread to take them up.
const MAX_HANDED: usize = 128;
/// Names that `Host` may have on a door of this machine alone: a page in a browser that has another name for the address is
/// somebody else's (DNS rebinding; ../shared/THREATS.md, A7).
const OWN_HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// The listening socket, bound before anything is served through it, and before any thread of the process starts.
#[derive(Debug)]
pub struct HttpDoor {
    listener: std::net::TcpListener,
    address: SocketAddr,
    terms: HttpTerms,
}

/// On which terms a door is open.
#[derive(Clone, Debug)]
pub struct HttpTerms {
    /// Whether callers have to say who they are.
    pub asks: bool,
    /// The certificate, where the door speaks TLS itself.
    pub tls: Option<Arc<Tls>>,
    /// Where proxies are whose word on their clients is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Names that `Host` may have beside those of this machine.
    pub public_hosts: Vec<String>,
    /// How many connections there may be.
    pub bounds: PeerBounds,
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

impl HttpTerms {
    /// For a door of one machine, at which nobody is asked who they are.
    pub fn of_this_machine() -> Self {
        let bounds = PeerBounds { all: 256, of_address: 256 };
        Self { asks: false, tls: None, trusted_proxies: Vec::new(), public_hosts: Vec::new(), bounds }
    }
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
    /// Binds `address`, which must be of this machine alone unless callers have to say who they are.
    ///
    /// # Errors
    /// When it is not, or is taken.
    pub fn bind(address: SocketAddr, terms: HttpTerms) -> Result<Self, HttpError> {
        if !terms.asks && !address.ip().is_loopback() {
            return Err(HttpError::NotLoopback { address });
        }
        let bind = |source| HttpError::Bind { address, source };
        let listener = std::net::TcpListener::bind(address).map_err(bind)?;
        listener.set_nonblocking(true).map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        Ok(Self { listener, address, terms })
    }

    /// Whether keys and tokens cross the network for everybody on the way to read.
    pub fn is_in_the_clear(&self) -> bool {
        !self.address.ip().is_loopback() && self.terms.tls.is_none() && self.terms.trusted_proxies.is_empty()
    }

    /// The certificate, where the door speaks TLS itself.
    pub fn tls(&self) -> Option<&Arc<Tls>> {
        self.terms.tls.as_ref()
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
        let HttpTerms { asks: _, tls, trusted_proxies, public_hosts, bounds } = self.terms;
        let peers = Peers::new(bounds, trusted_proxies);
        let router = router(gateway, &name, &public_hosts, &peers, &shutdown);
        let lingers = std::iter::repeat_with(Linger::new).flat_map(|linger| [linger.clone(), linger]);
        let (senders, threads): (Vec<_>, Vec<_>) = (0..threads::count())
            .zip(lingers)
            .map(|(number, linger)| {
                let (sender, handed) = mpsc::channel(MAX_HANDED);
                let (tls, router, shutdown) = (tls.clone(), router.clone(), shutdown.clone());
                let name = format!("portcullis-{number}");
                let answered = linger.clone();
                let serve = move || serve(handed, tls, router, answered, shutdown);
                (sender, threads::on_own_threads(name, Threads::One, linger, serve))
            })
            .unzip();
        let all = futures::future::try_join_all(threads);
        tokio::select! {
            ended = all => ended.map(drop).map_err(HttpError::Serve),
            () = connection::accept(listener, peers, &senders) => Ok(()),
        }
    }
}

fn router(
    gateway: Arc<Gateway>,
    name: &ServerName,
    public_hosts: &[String],
    peers: &Arc<Peers>,
    shutdown: &CancellationToken,
) -> Router {
    // What clients know this host by, where the configuration says that, and this machine.
    let own = gateway.keeper().tokens().map(Tokens::authority);
    let hosts = OWN_HOSTS.into_iter().map(str::to_owned).chain(public_hosts.iter().cloned()).chain(own);
    let hosts: Vec<_> = hosts.collect();
    let routes =
        RouteDoor::new(Arc::clone(&gateway), Hosts::new(hosts.iter().map(String::as_str)), &OWN_HOSTS, &name.0);
    let handler = Shared::new(Arc::clone(&gateway), name, None).handler(Who::Asked);
    let config = StreamableHttpServerConfig::default()
        .with_json_response(true)
        .with_max_request_body_bytes(MAX_MESSAGE)
        .with_cancellation_token(shutdown.child_token())
        .with_allowed_hosts(hosts)
        // A page in a browser has an Origin; only pages of this machine may have one here.
        .with_allowed_origins(["http://localhost:*", "http://127.0.0.1:*", "http://[::1]:*"].map(str::to_owned))
        .enforce_origin_validation();
    let mcp = StreamableHttpService::new(move || Ok(handler.for_caller()), Arc::new(Sessions::new()), config);
    let guard = axum::middleware::from_fn_with_state(Bindings::new(Arc::clone(gateway.keeper())), auth::guard);
    let whose = axum::middleware::from_fn_with_state(Arc::clone(peers), request::whose);
    // Whatever is nothing else. The same layers, in the same order.
    let routes = Router::new()
        .fallback(respond)
        .with_state(routes)
        .layer(axum::middleware::from_fn(request::bounded))
        .layer(guard.clone())
        .layer(whose.clone())
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&gateway), is_open));
    let router = Router::new()
        .route_service("/mcp", mcp)
        // The innermost first: who it is is asked before a body is read, and from where before that.
        .route_layer(axum::middleware::from_fn(request::bounded))
        .route_layer(guard);
    let router = match gateway.keeper().tokens() {
        Some(tokens) => described(router, tokens, name),
        None => router,
    };
    router
        .route_layer(whose)
        .route("/healthz", get(async || StatusCode::OK))
        .route("/readyz", get(move || readiness(Arc::clone(&gateway))))
        .fallback_service(routes)
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

/// One thread's server: after the shutdown, what is in flight has a while to end.
async fn serve(
    handed: mpsc::Receiver<Accepted>,
    tls: Option<Arc<Tls>>,
    router: Router,
    linger: Linger,
    shutdown: CancellationToken,
) {
    let forced = async {
        shutdown.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        () = connection::serve(handed, tls, router, linger, shutdown.clone()) => (),
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
