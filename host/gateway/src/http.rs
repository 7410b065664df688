//! The door of HTTP: `/mcp` for both eras, the routes with `/openapi.json`, `/healthz`, `/readyz`.

mod connection;
mod paths;
mod peers;
mod request;
mod rest;
mod tls;
mod unread;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use ipnet::IpNet;
use tokio::{net::TcpListener, sync::mpsc};
use tokio_util::sync::CancellationToken;

use self::{connection::Accepted, paths::Paths, peers::Peers};
pub(crate) use self::{peers::CLIENT, request::SlowDown};
pub use self::{
    peers::PeerBounds,
    tls::{Tls, TlsError},
};
use crate::{
    handler::ServerName,
    pipeline::Gateway,
    threads::{self, Linger, Threads},
};

/// How long requests in flight may take to end once the host is told to stop.
const GRACE: Duration = Duration::from_secs(5);
/// Connections that wait for a thread to take them up.
const MAX_HANDED: usize = 128;
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
        let paths = Paths::new(gateway, &name, &public_hosts, &peers, &shutdown);
        let lingers = std::iter::repeat_with(Linger::new).flat_map(|linger| [linger.clone(), linger]);
        let (senders, threads): (Vec<_>, Vec<_>) = (0..threads::count())
            .zip(lingers)
            .map(|(number, linger)| {
                let (sender, handed) = mpsc::channel(MAX_HANDED);
                let (tls, paths, shutdown) = (tls.clone(), paths.clone(), shutdown.clone());
                let name = format!("portcullis-{number}");
                let answered = linger.clone();
                let serve = move || serve(handed, tls, paths, answered, shutdown);
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

/// One thread's server: after the shutdown, what is in flight has a while to end.
async fn serve(
    handed: mpsc::Receiver<Accepted>,
    tls: Option<Arc<Tls>>,
    paths: Paths,
    linger: Linger,
    shutdown: CancellationToken,
) {
    let forced = async {
        shutdown.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        () = connection::serve(handed, tls, paths, linger, shutdown.clone()) => (),
        () = forced => (),
    }
}
