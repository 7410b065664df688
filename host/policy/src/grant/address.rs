//! Which addresses are of the network that all share, and which of a machine, a site or a test. Nothing is looked up.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// IPv4 that is not global (../shared/THREATS.md, "Egress"; IANA's registry of special purposes, RFC 6890).
const IPV4: [Ipv4Net; 15] = [
    v4(0, 0, 0, 0, 8),       // this network
    v4(10, 0, 0, 0, 8),      // private
    v4(100, 64, 0, 0, 10),   // shared by a provider's customers (RFC 6598); 100.100.100.200 is a cloud's metadata
    v4(127, 0, 0, 0, 8),     // loopback
    v4(169, 254, 0, 0, 16),  // link-local; 169.254.169.254 is most clouds' metadata
    v4(172, 16, 0, 0, 12),   // private
    v4(192, 0, 0, 0, 24),    // protocol assignments; 192.0.0.192 is a cloud's metadata
    v4(192, 0, 2, 0, 24),    // documentation
    v4(192, 88, 99, 0, 24),  // relays of 6to4
    v4(192, 168, 0, 0, 16),  // private
    v4(198, 18, 0, 0, 15),   // benchmarks
    v4(198, 51, 100, 0, 24), // documentation
    v4(203, 0, 113, 0, 24),  // documentation
    v4(224, 0, 0, 0, 4),     // multicast
    v4(240, 0, 0, 0, 4),     // reserved, and broadcast
];

/// IPv6 that is not global, though it is in [`UNICAST`]: what carries an IPv4 address, and what documents.
const IPV6: [Ipv6Net; 4] = [
    v6(0x2001, 0, 0, 23),      // protocol assignments, Teredo among them
    v6(0x2001, 0x0db8, 0, 32), // documentation
    v6(0x2002, 0, 0, 16),      // 6to4
    v6(0x3fff, 0, 0, 20),      // documentation
];

/// The only IPv6 addresses that are global at all (RFC 4291, section 2.4): so not `::`, `::1`, `::/96`, `fc00::/7`,
/// `fe80::/10`, `fec0::/10`, `ff00::/8`, nor NAT64's `64:ff9b::/96` and `64:ff9b:1::/48`, nor what is not assigned yet.
const UNICAST: Ipv6Net = v6(0x2000, 0, 0, 3);

/// Whether `address` is one that anybody on the Internet may have. An IPv4 address inside an IPv6 one counts as IPv4.
pub fn is_global(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => !IPV4.iter().any(|range| range.contains(&address)),
        IpAddr::V6(address) => UNICAST.contains(&address) && !IPV6.iter().any(|range| range.contains(&address)),
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(a: u16, b: u16, c: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(addresses: &[&str], expected: bool) {
        for text in addresses {
            assert_eq!(is_global(text.parse().expect(text)), expected, "{text}");
        }
    }

    #[test]
    fn every_range_ends_where_it_ends() {
        check(
            &[
                "0.0.0.0",
                "0.255.255.255",
                "10.0.0.0",
                "10.255.255.255",
                "100.64.0.0",
                "100.127.255.255",
                "127.0.0.0",
                "127.0.0.1",
                "127.255.255.255",
                "169.254.0.0",
                "169.254.255.255",
                "172.16.0.0",
                "172.31.255.255",
                "192.0.0.0",
                "192.0.0.255",
                "192.0.2.0",
                "192.0.2.255",
                "192.88.99.0",
                "192.88.99.255",
                "192.168.0.0",
                "192.168.255.255",
                "198.18.0.0",
                "198.19.255.255",
                "198.51.100.0",
                "198.51.100.255",
                "203.0.113.0",
                "203.0.113.255",
                "224.0.0.0",
                "239.255.255.255",
                "240.0.0.0",
                "255.255.255.255",
            ],
            false,
        );
        check(
            &[
                "1.0.0.0",
                "9.255.255.255",
                "11.0.0.0",
                "100.63.255.255",
                "100.128.0.0",
                "126.255.255.255",
                "128.0.0.0",
                "169.253.255.255",
                "169.255.0.0",
                "172.15.255.255",
                "172.32.0.0",
                "191.255.255.255",
                "192.0.1.0",
                "192.0.3.0",
                "192.88.98.255",
                "192.88.100.0",
                "192.167.255.255",
                "192.169.0.0",
                "198.17.255.255",
                "198.20.0.0",
                "198.51.99.255",
                "198.51.101.0",
                "203.0.112.255",
                "203.0.114.0",
                "223.255.255.255",
                "8.8.8.8",
            ],
            true,
        );
    }

    #[test]
    fn ipv6_is_global_only_where_nothing_else_is_inside() {
        check(
            &[
                "::",
                "::1",
                "::2",
                "::7f00:1",
                "::ffff:7f00:1",
                "::ffff:10.0.0.1",
                "::ffff:0:7f00:1",
                "64:ff9b::7f00:1",
                "64:ff9b::808:808",
                "64:ff9b:1::1",
                "100::1",
                "fc00::",
                "fd00:ec2::254",
                "fdff:ffff::1",
                "fe80::1",
                "febf::1",
                "fec0::1",
                "ff00::",
                "ff02::1",
                "2001::1",
                "2001:0:7f00:1::",
                "2001:1ff:ffff::",
                "2001:db8::1",
                "2002:7f00:1::",
                "2002:808:808::1",
                "3fff::1",
                "3fff:fff::1",
                "4000::1",
                "1fff::1",
                "5f00::1",
            ],
            false,
        );
        check(
            &[
                "2000::1",
                "2001:200::1",
                "2001:db7::1",
                "2001:db9::1",
                "2001:4860:4860::8888",
                "2003::1",
                "2606:4700:4700::1111",
                "2620:4f:8000::1",
                "3ffe::1",
                "3fff:1000::1",
                "::ffff:8.8.8.8",
            ],
            true,
        );
    }
}
