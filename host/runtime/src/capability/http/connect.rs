//! From a host to a connection: one look-up, every address checked, and those addresses connected to.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hyper::client::conn::http1;
use portcullis_policy::{Host, IpRange, Scheme, is_global};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    runtime::Handle,
    sync::Semaphore,
    time::{Instant, timeout, timeout_at},
};
use wasmtime_wasi_http::{Error, io::TokioIo};

use super::{fault, line::Line, pool::Route, tls::Tls};
use crate::capability::Resolve;

/// Look-ups of the process at one time: each holds a thread of the pool for blocking work, of which there are 512.
const MAX_LOOKUPS: usize = 32;
/// Look-ups of one plugin at one time, so that one whose name servers are slow leaves room for others.
const MAX_LOOKUPS_OF_PLUGIN: usize = 8;
/// When a look-up counts as over for [`MAX_LOOKUPS`], though the system may still be at it: nothing can stop it.
const LOOKUP_ENDS: Duration = Duration::from_secs(30);
/// Addresses of a host that are tried in turn.
const MAX_ADDRESSES: usize = 4;
/// Addresses that a name may have: what a DNS answer over UDP holds.
const MAX_FOUND: usize = 64;
/// Bytes of the head of a response, and of its trailers.
pub(super) const MAX_RESPONSE_HEAD: usize = 64 << 10;
/// Header fields of a response.
const MAX_RESPONSE_FIELDS: usize = 128;

static LOOKUPS: Semaphore = Semaphore::const_new(MAX_LOOKUPS);

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum ConnectFault {
    /// The host has an address that is not global, and that no grant opens.
    Prohibited(IpAddr),
    /// All else.
    Failed(Error),
}

impl From<Error> for ConnectFault {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// What connects for one plugin.
pub(super) struct Connector {
    /// Where connections live.
    pub(super) runtime: Handle,
    resolve: Resolve,
    lookups: Arc<Semaphore>,
    tls: Tls,
}

impl Connector {
    pub(super) fn new(runtime: Handle, resolve: Resolve) -> Self {
        Self { runtime, resolve, lookups: Arc::new(Semaphore::new(MAX_LOOKUPS_OF_PLUGIN)), tls: Tls::default() }
    }

    /// A connection along `route`, within `patience` for looking up and for connecting each.
    pub(super) async fn connect(&self, route: &Route, patience: Duration) -> Result<Line, ConnectFault> {
        let addresses = self.addresses(route, patience).await?;
        let deadline = Instant::now() + patience;
        let connecting = async {
            let stream = reach(&addresses, route.port, deadline).await?;
            // Requests are written whole; what is small should not wait for more.
            stream.set_nodelay(true).map_err(|error| failed(route, &error, fault::of_connect))?;
            match route.scheme {
                Scheme::Http => self.line(stream).await,
                Scheme::Https => {
                    let stream = self.tls.connect(&route.host, stream).await;
                    self.line(stream.map_err(|error| failed(route, &error, fault::of_tls))?).await
                }
            }
        };
        Ok(timeout_at(deadline, connecting).await.map_err(|_| Error::ConnectionTimeout)??)
    }

    /// The addresses of a host. All of them were checked, and no others are connected to.
    async fn addresses(&self, route: &Route, patience: Duration) -> Result<Vec<IpAddr>, ConnectFault> {
        let found = match &route.host {
            Host::Address(address) => vec![*address],
            Host::Name(name) => self.look_up(name, patience).await?,
        };
        if let Some(address) = found.iter().find(|address| !may_reach(**address, &route.private)) {
            return Err(ConnectFault::Prohibited(*address));
        }
        Ok(found.into_iter().take(MAX_ADDRESSES).collect())
    }

    async fn look_up(&self, name: &str, patience: Duration) -> Result<Vec<IpAddr>, Error> {
        let closed = |_| Error::ConfigurationError;
        let asked = async {
            let own = Arc::clone(&self.lookups).acquire_owned().await.map_err(closed)?;
            let any = LOOKUPS.acquire().await.map_err(closed)?;
            let found = (self.resolve)(name.to_owned());
            // A task of its own, which goes on when nobody waits any more: so long it takes its places.
            let lookup = self.runtime.spawn(async move {
                let _places = (own, any);
                timeout(LOOKUP_ENDS, found).await
            });
            lookup.await.map_err(|_| Error::ConfigurationError)
        };
        let found = timeout(patience, asked).await.map_err(|_| Error::DnsTimeout)??.map_err(|_| Error::DnsTimeout)?;
        let none = || Error::DnsError { rcode: None, info_code: None };
        let found = found.map_err(|error| {
            tracing::debug!(name, %error, "a look-up failed");
            none()
        })?;
        if found.is_empty() || found.len() > MAX_FOUND { Err(none()) } else { Ok(found) }
    }

    async fn line<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(&self, stream: S) -> Result<Line, Error> {
        let handshake = http1::Builder::new()
            .max_buf_size(MAX_RESPONSE_HEAD)
            .max_header_size(MAX_RESPONSE_HEAD)
            .max_headers(MAX_RESPONSE_FIELDS)
            .handshake(TokioIo::new(stream));
        let (sender, connection) = handshake.await.map_err(|error| fault::of_hyper(&error))?;
        Ok(Line::new(sender, connection))
    }
}

/// Whether `address` is global, or in a range that a grant opens.
fn may_reach(address: IpAddr, private: &BTreeSet<IpRange>) -> bool {
    is_global(address) || private.iter().any(|range| range.contains(address))
}

/// The first of `addresses` that answers. Each gets its share of the time, so that one that is silent leaves some.
async fn reach(addresses: &[IpAddr], port: u16, deadline: Instant) -> Result<TcpStream, Error> {
    let mut last = Error::DestinationNotFound;
    for (index, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - index).unwrap_or(1);
        last = match timeout(share, TcpStream::connect(SocketAddr::new(*address, port))).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => {
                tracing::debug!(%address, port, %error, "an address does not answer");
                fault::of_connect(&error)
            }
            Err(_) => Error::ConnectionTimeout,
        };
    }
    Err(last)
}

fn failed(route: &Route, error: &io::Error, fault: impl FnOnce(&io::Error) -> Error) -> Error {
    tracing::debug!(host = %route.host, port = route.port, %error, "a connection failed");
    fault(error)
}
