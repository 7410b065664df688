//! Hosts of requests and the patterns over them. No name is looked up here.

use std::{fmt, net::IpAddr};

use super::url::UrlFault;

/// Longest name of a host, in bytes (RFC 1035, section 2.3.4, without the last dot).
const MAX_NAME: usize = 253;
/// Longest label of a name, in bytes (RFC 1035, section 2.3.4).
const MAX_LABEL: usize = 63;

/// A host in its one normal form: a name in lower case as ASCII (UTS 46, as browsers do it), or an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A name, without a dot at the end.
    Name(String),
    /// An address that was written as one.
    Address(IpAddr),
}

impl Host {
    /// The host that `text` is, an IPv6 address in brackets.
    ///
    /// Whatever means the same as another spelling, but does not look like it, is refused: an IPv4 address in any form
    /// but `127.0.0.1`, one inside an IPv6 address, a dot at the end, a percent sign.
    pub(super) fn parse(text: &str) -> Result<Self, UrlFault> {
        let fault = |expected| Err(UrlFault::Host { expected });
        // Four bytes a character at most, before the name becomes ASCII.
        if text.is_empty() || text.len() > 4 * MAX_NAME {
            return fault("from 1 to 253 bytes");
        }
        if text.contains('%') {
            return fault("no `%`");
        }
        match url::Host::parse(text) {
            Ok(url::Host::Ipv4(address)) if address.to_string() == text => Ok(Self::Address(address.into())),
            Ok(url::Host::Ipv4(_)) => fault("an IPv4 address as four decimal numbers"),
            Ok(url::Host::Ipv6(address)) if address.to_ipv4_mapped().is_some() => fault("an IPv4 address as such"),
            Ok(url::Host::Ipv6(address)) => Ok(Self::Address(address.into())),
            Ok(url::Host::Domain(name)) if is_name(&name) => Ok(Self::Name(name)),
            Ok(url::Host::Domain(_)) => fault("labels of 1 to 63 letters, digits, `-` and `_`, and no dot at the end"),
            Err(_) => fault("a name or an IP address"),
        }
    }
}

fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    let label = |label: &str| (1..=MAX_LABEL).contains(&label.len()) && label.bytes().all(allowed);
    name.len() <= MAX_NAME && name.split('.').all(label)
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// Which hosts an entry is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum HostPattern {
    /// This one.
    Exact(Host),
    /// `*.example.com`: one label before the name, never the name itself.
    Label(String),
    /// `**.example.com`: one label or more before the name, never the name itself.
    Labels(String),
}

impl HostPattern {
    pub(super) fn parse(text: &str) -> Result<Self, UrlFault> {
        let below = |name: &str| match Host::parse(name)? {
            Host::Name(name) => Ok(name),
            Host::Address(_) => Err(UrlFault::Host { expected: "a name after `*.`" }),
        };
        if let Some(name) = text.strip_prefix("**.") {
            return below(name).map(Self::Labels);
        }
        if let Some(name) = text.strip_prefix("*.") {
            return below(name).map(Self::Label);
        }
        if text.contains('*') {
            return Err(UrlFault::Host { expected: "`*.` or `**.` before a name, and no other `*`" });
        }
        Host::parse(text).map(Self::Exact)
    }

    pub(super) fn matches(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::Exact(exact), host) => exact == host,
            (Self::Label(name), Host::Name(host)) => before(host, name).is_some_and(|label| !label.contains('.')),
            (Self::Labels(name), Host::Name(host)) => before(host, name).is_some(),
            (Self::Label(_) | Self::Labels(_), Host::Address(_)) => false,
        }
    }

    /// Whether whatever `other` matches, this matches too.
    pub(super) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::Exact(host)) => self.matches(host),
            (Self::Exact(_), Self::Label(_) | Self::Labels(_)) | (Self::Label(_), Self::Labels(_)) => false,
            (Self::Label(ours), Self::Label(theirs)) => ours == theirs,
            (Self::Labels(ours), Self::Label(theirs) | Self::Labels(theirs)) => {
                ours == theirs || before(theirs, ours).is_some()
            }
        }
    }

    /// Whether some host matches both. Names form a tree, so that one of two that overlap covers the other.
    pub(super) fn may_overlap(&self, other: &Self) -> bool {
        self.covers(other) || other.covers(self)
    }
}

/// What stands before `.name` in `host`, if that is where it ends.
fn before<'a>(host: &'a str, name: &str) -> Option<&'a str> {
    host.strip_suffix(name)?.strip_suffix('.').filter(|before| !before.is_empty())
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => host.fmt(f),
            Self::Label(name) => write!(f, "*.{name}"),
            Self::Labels(name) => write!(f, "**.{name}"),
        }
    }
}
