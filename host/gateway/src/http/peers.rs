//! Who is connected: how many in all, how many of one address, and for whom a proxy speaks.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
};

use axum::http::{HeaderMap, header::FORWARDED};
use ipnet::IpNet;

/// The older header of proxies (MDN, "X-Forwarded-For"); RFC 7239 has `Forwarded`.
const X_FORWARDED_FOR: &str = "x-forwarded-for";
/// Bits of an IPv6 address that are one network's: whoever has one address has all of those (RFC 6177).
const NETWORK: u32 = 64;
/// Addresses of a chain of proxies that are looked at.
const MAX_CHAIN: usize = 16;

tokio::task_local! {
    /// The client of the request that is being answered: for the audit log.
    pub(crate) static CLIENT: IpAddr;
}

/// Connections, counted.
#[derive(Debug)]
pub(crate) struct Peers {
    bounds: PeerBounds,
    proxies: Vec<IpNet>,
    counts: Mutex<Counts>,
}

/// How many connections there may be at one time.
#[derive(Clone, Copy, Debug)]
pub struct PeerBounds {
    /// In all.
    pub all: usize,
    /// From one address, or one /64 of IPv6; for clients behind a trusted proxy, requests at one time.
    pub of_address: usize,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// One connection or request, counted until it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    peers: Arc<Peers>,
    connection: bool,
    address: Option<IpAddr>,
}

/// Which bound is reached: its key in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full(pub(crate) &'static str);

impl Peers {
    pub(crate) fn new(bounds: PeerBounds, proxies: Vec<IpNet>) -> Arc<Self> {
        Arc::new(Self { bounds, proxies, counts: Mutex::default() })
    }

    /// A seat for a connection. A trusted proxy has as many as there are: it speaks for many.
    pub(crate) fn connect(self: &Arc<Self>, peer: IpAddr) -> Result<Seat, Full> {
        let peer = peer.to_canonical();
        self.sit(true, (!self.is_proxy(peer)).then_some(peer))
    }

    /// A seat for a request whose client is not the peer of its connection.
    pub(crate) fn request(self: &Arc<Self>, client: IpAddr) -> Result<Seat, Full> {
        self.sit(false, Some(client))
    }

    fn sit(self: &Arc<Self>, connection: bool, address: Option<IpAddr>) -> Result<Seat, Full> {
        let address = address.map(network);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if connection && counts.all >= self.bounds.all {
            return Err(Full("max-connections"));
        }
        if let Some(address) = address {
            let count = counts.by_address.entry(address).or_default();
            if *count >= self.bounds.of_address {
                return Err(Full("max-connections-per-address"));
            }
            *count += 1;
        }
        counts.all += usize::from(connection);
        Ok(Seat { peers: Arc::clone(self), connection, address })
    }

    /// Whose request it is that came through `peer`: what a trusted proxy says, and of nobody else.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.is_proxy(peer) {
            return peer;
        }
        // What stands last was written by the proxy that is next to this host; what stands before it, by anybody. So from
        // the end to the first address that is no trusted proxy.
        let mut client = peer;
        for address in chain(headers).into_iter().take(MAX_CHAIN) {
            match address {
                Some(address) => client = address,
                // What is no address was not written by a proxy that knew: nobody before it is believed.
                None => break,
            }
            if !self.is_proxy(client) {
                break;
            }
        }
        client
    }

    fn is_proxy(&self, address: IpAddr) -> bool {
        self.proxies.iter().any(|network| network.contains(&address))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut counts = self.peers.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all -= usize::from(self.connection);
        if let Some(address) = self.address
            && let Some(count) = counts.by_address.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                counts.by_address.remove(&address);
            }
        }
    }
}

/// The network that an address is counted as.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> NETWORK << NETWORK)),
    }
}

/// The addresses that proxies have written, the last first. `Forwarded` is looked at where there is one.
fn chain(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let values = |name| {
        let texts = headers.get_all(name).iter().map(|value: &axum::http::HeaderValue| value.to_str().unwrap_or("?"));
        texts.flat_map(|text| text.split(',')).collect::<Vec<_>>()
    };
    let forwarded = values(FORWARDED.as_str());
    let nodes: Vec<_> = if forwarded.is_empty() {
        values(X_FORWARDED_FOR).into_iter().map(|node| address(node.trim())).collect()
    } else {
        forwarded.into_iter().map(for_parameter).collect()
    };
    nodes.into_iter().rev().collect()
}

/// `for=` of one element (RFC 7239, section 4).
fn for_parameter(element: &str) -> Option<IpAddr> {
    let node = element.split(';').find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        name.eq_ignore_ascii_case("for").then(|| value.trim().trim_matches('"'))
    })?;
    address(node)
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address(node: &str) -> Option<IpAddr> {
    let bare = match node.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None => match node.split_once(':') {
            Some((before, after)) if !after.contains(':') => before,
            _ => node,
        },
    };
    bare.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn peers(all: usize, of_address: usize) -> Arc<Peers> {
        Peers::new(PeerBounds { all, of_address }, vec!["10.0.0.0/8".parse().expect("a network")])
    }

    #[test]
    fn a_proxy_is_believed_and_nobody_else() {
        let check = |peer: &str, headers: &[(&'static str, &str)], expected: &str| {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(*name, value.parse().expect("a value"));
            }
            assert_eq!(peers(9, 9).client(ip(peer), &map), ip(expected), "{peer} {headers:?}");
        };
        check("192.0.2.9", &[("x-forwarded-for", "198.51.100.1")], "192.0.2.9");
        check("192.0.2.9", &[("forwarded", "for=198.51.100.1")], "192.0.2.9");
        check("10.0.0.1", &[], "10.0.0.1");
        check("10.0.0.1", &[("x-forwarded-for", "198.51.100.1")], "198.51.100.1");
        check("::ffff:10.0.0.1", &[("x-forwarded-for", "198.51.100.1")], "198.51.100.1");
        // What the client wrote stands before what the proxy wrote.
        check("10.0.0.1", &[("x-forwarded-for", "203.0.113.5, 198.51.100.1")], "198.51.100.1");
        check(
            "10.0.0.1",
            &[("x-forwarded-for", "203.0.113.5"), ("x-forwarded-for", "198.51.100.1, 10.2.2.2")],
            "198.51.100.1",
        );
        check("10.0.0.1", &[("x-forwarded-for", "203.0.113.5, unknown, 10.2.2.2")], "10.2.2.2");
        check("10.0.0.1", &[("x-forwarded-for", "198.51.100.1:4711")], "198.51.100.1");
        check("10.0.0.1", &[("forwarded", "for=203.0.113.5, For=\"[2001:db8::1]:80\";proto=https")], "2001:db8::1");
        check("10.0.0.1", &[("forwarded", "for=198.51.100.1"), ("x-forwarded-for", "203.0.113.5")], "198.51.100.1");
        check("10.0.0.1", &[("forwarded", "proto=https")], "10.0.0.1");
    }

    #[test]
    fn seats_come_free_with_their_owners() {
        let peers = peers(3, 2);
        let one = peers.connect(ip("192.0.2.1")).expect("a seat");
        let two = peers.connect(ip("::ffff:192.0.2.1")).expect("a seat");
        assert_eq!(peers.connect(ip("192.0.2.1")).expect_err("a third"), Full("max-connections-per-address"));
        let three = peers.connect(ip("10.0.0.1")).expect("a proxy's");
        assert_eq!(peers.connect(ip("192.0.2.2")).expect_err("a fourth"), Full("max-connections"));
        assert_eq!(peers.request(ip("192.0.2.1")).expect_err("of the same"), Full("max-connections-per-address"));
        drop((one, two, three));
        assert!(peers.counts.lock().expect("counts").by_address.is_empty());
        let _one = peers.connect(ip("2001:db8::1")).expect("a seat");
        let _two = peers.connect(ip("2001:db8::2:1")).expect("a seat");
        assert!(peers.connect(ip("2001:db8::3")).is_err(), "one network");
        peers.connect(ip("2001:db8:0:1::1")).expect("another");
    }
}
