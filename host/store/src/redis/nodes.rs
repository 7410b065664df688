//! The servers: one, or the nodes of a cluster. Each node says where a bucket lies that it has not (`MOVED`), and that is
//! remembered; where the node there cannot be reached, the others are asked again.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use redis::{Client, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, Value};
use socket2::TcpKeepalive;

use super::link::{Link, NotSaid, SILENCE};
use crate::contract::{BucketName, StoreError};

/// How often an operation is sent on by those who answer: a slot moves from one node to another, and its old owner may be asked once more.
const MAX_HOPS: usize = 5;
/// Nodes that are known at one time; a cluster has at most about a thousand.
const MAX_NODES: usize = 1024;

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
        let (mut asking, mut hops) = (false, 0);
        // Those that can be asked where a bucket is, once the node that had it is away; and what that one said.
        let mut others: Option<Vec<Arc<Link>>> = None;
        let mut gone = None;
        loop {
            let not_said = match link.send(command, &otherwise, asking, writes, deadline).await {
                Ok(value) => {
                    if others.is_some() {
                        self.found(place, &link);
                    }
                    return Ok(value);
                }
                Err(not_said) => not_said,
            };
            asking = matches!(not_said, NotSaid::Ask(_));
            hops += usize::from(matches!(not_said, NotSaid::Moved(_) | NotSaid::Ask(_)));
            if hops > MAX_HOPS {
                let around = || StoreError::Unavailable("the nodes of the cluster send from one to another".to_owned());
                return Err(gone.unwrap_or_else(around));
            }
            link = match not_said {
                NotSaid::Failed(error) => return Err(error),
                NotSaid::Moved(address) => self.learn(&address, Some(place))?,
                // The slot is on its way: this once.
                NotSaid::Ask(address) => self.learn(&address, None)?,
                NotSaid::Away(error) => {
                    gone = Some(error.clone());
                    others.get_or_insert_with(|| self.all_but(&link)).pop().ok_or(error)?
                }
            };
        }
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
        let at = self.address(address).ok_or_else(strange)?;
        let mut known = self.known();
        if at == *self.info.addr() {
            if let Some(place) = place {
                known.places.remove(&place.cloned());
            }
            return Ok(Arc::clone(&self.first));
        }
        if known.links.len() == MAX_NODES {
            // Nodes that nothing is known to lie on: most of them are gone.
            let Known { links, places } = &mut *known;
            let has_some: HashSet<&String> = places.values().collect();
            links.retain(|address, _| has_some.contains(address));
        }
        let link = match known.links.get(address) {
            Some(link) => Arc::clone(link),
            None if known.links.len() < MAX_NODES => {
                let info = self.info.clone().set_addr(at);
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

    /// The node that answered, when the one that had the place was away.
    fn found(&self, place: Place<'_>, answered: &Arc<Link>) {
        let mut known = self.known();
        let Known { links, places } = &mut *known;
        match links.iter().find(|(_, link)| Arc::ptr_eq(link, answered)) {
            Some((address, _)) => places.insert(place.cloned(), address.clone()),
            None => places.remove(&place.cloned()),
        };
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
    // One that only listens has nothing that could go unacknowledged.
    let alive = TcpKeepalive::new().with_time(SILENCE / 2).with_interval(SILENCE / 4);
    let tcp = info.tcp_settings().clone().set_keepalive(alive);
    #[cfg(target_os = "linux")]
    let tcp = tcp.set_user_timeout(SILENCE);
    Ok(info.set_tcp_settings(tcp).set_redis_settings(settings))
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
