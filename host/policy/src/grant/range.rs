//! Ranges of IP addresses that are not global, and that a grant opens.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::GrantError;
use crate::ChangeKind;

/// Shortest prefix of an IPv4 range: that of the widest ranges that are private, `10.0.0.0/8` and `127.0.0.0/8`.
const MIN_IPV4: u8 = 8;
/// Shortest prefix of an IPv6 range: that of `fc00::/7`.
const MIN_IPV6: u8 = 7;

/// A range of addresses: `10.0.0.0/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IpRange(IpNet);

impl IpRange {
    /// Whether `address` is in the range. An IPv4 address inside an IPv6 one counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }

    /// Whether all of `other` is in the range.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self.0.contains(&other.0)
    }

    /// What is in both. Of two ranges that meet, one holds the other.
    pub(super) fn both(&self, other: &Self) -> Option<Self> {
        [(self, other), (other, self)].into_iter().find_map(|(outer, inner)| outer.covers(inner).then_some(*inner))
    }
}

impl FromStr for IpRange {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        let fault = |fault: String| Err(GrantError::new(ChangeKind::Http, fault, text));
        let parsed = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        let Some(range) = parsed else {
            return fault("must have IP ranges as `private`, as `10.0.0.0/8`".into());
        };
        if range.trunc() != range {
            return fault(format!("must have `private` ranges that begin where they say, as `{}`", range.trunc()));
        }
        let least = match range {
            IpNet::V4(_) => MIN_IPV4,
            // Otherwise `::ffff:0:0/96` would open what only IPv4 ranges show.
            IpNet::V6(range) if range.addr().to_ipv4_mapped().is_some() => {
                return fault("must have IPv4 ranges in `private` written as such, as `10.0.0.0/8`".into());
            }
            IpNet::V6(_) => MIN_IPV6,
        };
        if range.prefix_len() < least {
            return fault(format!("must have `private` ranges no wider than `/{least}`: none is private as a whole"));
        }
        Ok(Self(range))
    }
}

impl fmt::Display for IpRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<String> for IpRange {
    type Error = GrantError;
    fn try_from(text: String) -> Result<Self, GrantError> {
        text.parse()
    }
}

impl From<IpRange> for String {
    fn from(range: IpRange) -> String {
        range.to_string()
    }
}
