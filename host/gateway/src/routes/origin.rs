//! Which pages of browsers, and which names of this host, a request may come from and by.
//!
//! rmcp checks the same of `/mcp`, with the same lists; it does not lend its checks. A route may be a `GET`, which browsers send
//! for an image of any page, without an `Origin`: there `Sec-Fetch-Site` says it.

use axum::http::{
    HeaderMap, Uri,
    header::{HOST, ORIGIN},
    uri::Authority,
};

/// What a browser says of where a request begins (Fetch Metadata Request Headers, section 2.3). Other clients do not send it.
const SITE: &str = "sec-fetch-site";

/// The names that this host has, and of which machine pages may be.
#[derive(Clone, Debug)]
pub(crate) struct Hosts {
    /// Names, each with a port where only that one is meant.
    names: Vec<(String, Option<u16>)>,
}

/// Why a request is refused, whoever it is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Stranger {
    /// It is for a host of another name.
    #[error("the `Host` of the request is not one of this host")]
    Host,
    /// A page of another machine made it.
    #[error("a page of another origin made the request")]
    Origin,
}

impl Hosts {
    /// Those with these names, as they are written in the configuration.
    pub(crate) fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let read = |name: &str| match name.parse::<Authority>() {
            Ok(authority) => (bare(authority.host()), authority.port_u16()),
            Err(_) => (bare(name), None),
        };
        Self { names: names.map(read).collect() }
    }

    /// Whether a request may come in.
    ///
    /// # Errors
    /// When it comes by another name, or from a page of another machine.
    pub(super) fn check(&self, uri: &Uri, headers: &HeaderMap, own: &[&str]) -> Result<(), Stranger> {
        let mut hosts = headers.get_all(HOST).iter();
        let host = match (hosts.next(), hosts.next()) {
            (Some(host), None) => host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()),
            (None, None) => uri.authority().cloned(),
            (_, Some(_)) => None,
        };
        let host = host.ok_or(Stranger::Host)?;
        let (name, port) = (bare(host.host()), host.port_u16());
        let ours = self.names.iter().any(|(own, only)| *own == name && (only.is_none() || *only == port));
        if !ours {
            return Err(Stranger::Host);
        }
        let mut origins = headers.get_all(ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (None, _) => {
                let site = headers.get(SITE).map(|site| site.as_bytes());
                let elsewhere = site.is_some_and(|site| site != b"same-origin" && site != b"none");
                if elsewhere { Err(Stranger::Origin) } else { Ok(()) }
            }
            (Some(origin), None) => {
                let origin = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
                let near = origin.is_some_and(|origin| {
                    let plain = origin.scheme_str() == Some("http");
                    plain && origin.host().is_some_and(|host| own.contains(&bare(host).as_str()))
                });
                if near { Ok(()) } else { Err(Stranger::Origin) }
            }
            (Some(_), Some(_)) => Err(Stranger::Origin),
        }
    }
}

fn bare(host: &str) -> String {
    host.trim_matches(['[', ']']).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn names_and_origins_are_this_hosts() {
        let own = ["localhost", "127.0.0.1", "::1"];
        let hosts = Hosts::new(own.into_iter().chain(["tools.example", "other.example:8443"]));
        let check = |headers: &[(&'static str, &'static str)], expected: Result<(), Stranger>| {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(*name, HeaderValue::from_static(value));
            }
            assert_eq!(hosts.check(&Uri::from_static("/a"), &map, &own), expected, "{headers:?}");
        };
        for host in
            ["127.0.0.1:8080", "localhost", "LOCALHOST:1", "[::1]:8080", "tools.example:99", "other.example:8443"]
        {
            check(&[("host", host)], Ok(()));
        }
        for host in ["evil.example", "other.example", "other.example:1", "tools.example.evil", "a b", ""] {
            check(&[("host", host)], Err(Stranger::Host));
        }
        check(&[], Err(Stranger::Host));
        check(&[("host", "localhost"), ("host", "localhost")], Err(Stranger::Host));
        let from = |name, value, expected| check(&[("host", "localhost"), (name, value)], expected);
        for origin in ["http://localhost:3000", "http://127.0.0.1", "http://[::1]:1"] {
            from("origin", origin, Ok(()));
        }
        for origin in [
            "null",
            "http://evil.example",
            "http://localhost.evil.example",
            "https://localhost",
            "file://",
            "localhost",
            "x y",
        ] {
            from("origin", origin, Err(Stranger::Origin));
        }
        from(SITE, "cross-site", Err(Stranger::Origin));
        from(SITE, "same-site", Err(Stranger::Origin));
        from(SITE, "same-origin", Ok(()));
        from(SITE, "none", Ok(()));
        check(&[("host", "localhost"), ("origin", "http://localhost:1"), (SITE, "same-site")], Ok(()));
        check(
            &[("host", "localhost"), ("origin", "http://localhost:1"), ("origin", "http://evil")],
            Err(Stranger::Origin),
        );
    }
}
