//! The servers: one, or the nodes of a cluster. Each node says where a bucket lies that it has not (`MOVED`), and that is
//! remembered; where the node there cannot be reached, the others are asked again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use redis::{Client, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, Value};

use super::link::{Link, NotSaid};
use crate::contract::{BucketName, StoreError};

/// How often an operation is sent on: a slot moves from one node to another, and its old owner may be asked once more.
const MAX_HOPS: usize = 5;
/// Nodes that are known at one time; a cluster has at most about a thousand.
const MAX_NODES: usize = 1024;

/// How long a server may leave unacknowledged what was sent to it: one that lost its power says nothing, and would be waited
/// for by each operation until the system gives it up after a quarter of an hour.
#[cfg(target_os = "linux")]
const SILENCE: Duration = Duration::from_secs(10);

/// What a command is about, which decides where it goes.
pub(super) type Place<'p> = Option<&'p BucketName>;

/// All servers.
pub(super) struct Nodes {
    /// Of the server that was named, for others like it.
    info: ConnectionInfo,
    first: Arc<Link>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// By address, as another node told it.
    links: HashMap<String, Arc<Link>>,
    /// Where the node is that has a bucket, or the registry. The first has all others.
    places: HashMap<Option<BucketName>, String>,
}

impl Nodes {
    /// # Errors
    /// When the address is none.
    pub(super) fn new(info: ConnectionInfo) -> redis::RedisResult<Self> {
        let first = Arc::new(Link::new(Client::open(info.clone())?));
        Ok(Self { info, first, known: Mutex::default() })
    }

    /// A client of each server that is known, the first before the others.
    pub(super) fn clients(&self) -> Vec<Client> {
        let known = self.known();
        std::iter::once(&self.first).chain(known.links.values()).map(|link| link.client().clone()).collect()
    }

    /// Sends a command to the server that has `place`, and the other one where that does not know the script. `writes` says
    /// what is not known when the connection goes away in the middle.
    pub(super) async fn send(
        &self,
        place: Place<'_>,
        command: &Cmd,
        otherwise: impl Fn() -> Option<Cmd>,
        writes: bool,
        deadline: Instant,
    ) -> Result<Value, StoreError> {
        let mut link = self.link(place);
        let mut asking = false;
        // Those that can be asked where a bucket is, once the node that had it is away; and what that one said.
        let mut others: Option<Vec<Arc<Link>>> = None;
        let mut gone = None;
        for _ in 0..MAX_HOPS {
            let not_said = match link.send(command, &otherwise, asking, writes, deadline).await {
                Ok(value) => return Ok(value),
                Err(not_said) => not_said,
            };
            asking = matches!(not_said, NotSaid::Ask(_));
            link = match not_said {
                NotSaid::Failed(error) => return Err(error),
                NotSaid::Moved(address) => self.learn(&address, Some(place))?,
                // The slot is on its way: this once.
                NotSaid::Ask(address) => self.learn(&address, None)?,
                NotSaid::Away(error) => {
                    let others = others.get_or_insert_with(|| self.all_but(&link));
                    gone = Some(error.clone());
                    others.pop().ok_or(error)?
                }
            };
        }
        let around = || StoreError::Unavailable("the nodes of the cluster send from one to another".to_owned());
        Err(gone.unwrap_or_else(around))
    }

    fn link(&self, place: Place<'_>) -> Arc<Link> {
        let known = self.known();
        if known.places.is_empty() {
            return Arc::clone(&self.first);
        }
        let link = known.places.get(&place.cloned()).and_then(|address| known.links.get(address));
        Arc::clone(link.unwrap_or(&self.first))
    }

    /// The node at this address, which has the place, where one is given.
    fn learn(&self, address: &str, place: Option<Place<'_>>) -> Result<Arc<Link>, StoreError> {
        let strange = || StoreError::Unavailable(format!("the cluster names `{address}`, which is no address"));
        let mut known = self.known();
        let link = match known.links.get(address) {
            Some(link) => Arc::clone(link),
            None if known.links.len() < MAX_NODES => {
                let info = self.info.clone().set_addr(self.address(address).ok_or_else(strange)?);
                let link = Arc::new(Link::new(Client::open(info).map_err(|_| strange())?));
                known.links.insert(address.to_owned(), Arc::clone(&link));
                link
            }
            None => return Err(StoreError::Unavailable(format!("the cluster has more than {MAX_NODES} nodes"))),
        };
        if let Some(place) = place {
            known.places.insert(place.cloned(), address.to_owned());
        }
        Ok(link)
    }

    /// As the node is named, by the protocol that the first is spoken to. One without a host is on the first one's.
    fn address(&self, named: &str) -> Option<ConnectionAddr> {
        let (host, port) = named.rsplit_once(':')?;
        let port = port.parse().ok()?;
        let host = |own: &str| if host.is_empty() { own } else { host }.trim_matches(['[', ']']).to_owned();
        Some(match self.info.addr().clone() {
            ConnectionAddr::Tcp(own, _) => ConnectionAddr::Tcp(host(&own), port),
            ConnectionAddr::TcpTls { host: own, insecure, tls_params, .. } => {
                ConnectionAddr::TcpTls { host: host(&own), port, insecure, tls_params }
            }
            _ => return None,
        })
    }

    fn all_but(&self, away: &Arc<Link>) -> Vec<Arc<Link>> {
        let known = self.known();
        let all = known.links.values().chain([&self.first]).filter(|link| !Arc::ptr_eq(link, away));
        all.cloned().collect()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an address says, with push messages, by which the end of a connection is seen at once.
pub(super) fn info(url: &str, user: Option<String>, password: Option<String>) -> redis::RedisResult<ConnectionInfo> {
    let info = url.into_connection_info()?;
    let mut settings = info.redis_settings().clone().set_protocol(redis::ProtocolVersion::RESP3);
    if let Some(user) = user {
        settings = settings.set_username(user);
    }
    if let Some(password) = password {
        settings = settings.set_password(password);
    }
    #[cfg(target_os = "linux")]
    let info = info.clone().set_tcp_settings(info.tcp_settings().clone().set_user_timeout(SILENCE));
    Ok(info.set_redis_settings(settings))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_where_the_cluster_names_it() {
        let nodes = |url: &str| Nodes::new(info(url, None, None).expect("an address")).expect("nodes");
        let named = |url: &str, named: &str| nodes(url).address(named).map(|address| address.to_string());
        let (plain, safe) = ("redis://first:7000", "rediss://first:7000");
        assert_eq!(named(plain, "10.0.0.2:7001").as_deref(), Some("10.0.0.2:7001"));
        assert_eq!(named(plain, ":7001").as_deref(), Some("first:7001"));
        assert_eq!(named(plain, "[2001:db8::1]:7001"), named(plain, "2001:db8::1:7001"));
        assert_eq!(named(safe, "second:7001").as_deref(), Some("second:7001"));
        assert!(matches!(nodes(safe).address("second:7001"), Some(ConnectionAddr::TcpTls { insecure: false, .. })));
        for no_address in ["", "second", "second:", "second:70000", "second:seven"] {
            assert_eq!(named(plain, no_address), None, "{no_address}");
        }
    }
}
