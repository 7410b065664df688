//! Where a request goes, in one normal form, and the faults of URLs. Strict: it mends nothing.

use std::fmt;

use super::{host::Host, path::Path};

/// Longest URL that is read, in bytes. Its path has a bound of its own.
pub(super) const MAX_URL: usize = 8192;

/// How a request travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// The scheme that `text` is, in any case.
    pub(super) fn parse(text: &str) -> Result<Self, UrlFault> {
        match text {
            _ if text.eq_ignore_ascii_case("http") => Ok(Self::Http),
            _ if text.eq_ignore_ascii_case("https") => Ok(Self::Https),
            _ => Err(UrlFault::Scheme),
        }
    }

    /// The scheme in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port where none is written.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Where a request goes: the proof that its URL has one reading only. What connects must use these parts and no others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestTarget {
    scheme: Scheme,
    host: Host,
    port: u16,
    path: Path,
}

impl RequestTarget {
    /// The target with these parts. Without a port it is the scheme's. `path` is the path alone, without a query.
    ///
    /// # Errors
    /// When a part is malformed, or could be read in two ways: dot segments, encoded slashes, a backslash, an empty
    /// segment, invalid or double percent-encoding, a host that [`Host`] refuses (../shared/THREATS.md, E4 to E7).
    pub fn new(scheme: &str, host: &str, port: Option<u16>, path: &str) -> Result<Self, UrlFault> {
        let (scheme, host) = (Scheme::parse(scheme)?, Host::parse(host)?);
        let port = port.unwrap_or(scheme.default_port());
        if port == 0 {
            return Err(UrlFault::Port);
        }
        Ok(Self { scheme, host, port, path: Path::literal(path)? })
    }

    /// The target of a request that a program hands over in parts. `authority` is a host, and a port where it has one.
    ///
    /// # Errors
    /// As [`RequestTarget::new`], and for user info.
    pub fn of_parts(scheme: &str, authority: &str, path: &str) -> Result<Self, UrlFault> {
        let (host, port) = split_authority(authority)?;
        Self::new(scheme, host, port, path)
    }

    /// The target that `url` names. Its query is no part of it.
    ///
    /// # Errors
    /// As [`RequestTarget::new`], and for user info or a fragment.
    pub fn parse(url: &str) -> Result<Self, UrlFault> {
        let parts = Parts::of(url)?;
        Self::new(parts.scheme, parts.host, parts.port, parts.path)
    }

    /// How it travels.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host to look up, to connect to and to name in `Host` and TLS.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port, never 0.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The path in its normal form, which begins with `/`.
    pub fn path(&self) -> String {
        self.path.to_string()
    }

    pub(super) fn path_parts(&self) -> &Path {
        &self.path
    }
}

impl fmt::Display for RequestTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_origin(f, self.scheme, &self.host, self.port)?;
        self.path.fmt(f)
    }
}

/// What is wrong with a URL. The text goes after a word for the URL: "the entry must …".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlFault {
    /// It is longer than it may be.
    #[error("must have at most {max} bytes")]
    Long {
        /// The bound.
        max: usize,
    },
    /// White space or a control character stands in it.
    #[error("must have no white space or control character in its URL")]
    Space,
    /// Its scheme is another one, or missing.
    #[error("must begin with `http://` or `https://`")]
    Scheme,
    /// A name or password stands before the host.
    #[error("must have no user info, which is what stands before `@`")]
    UserInfo,
    /// The host is none, or is written in a way that means another.
    #[error("must have a host with {expected}")]
    Host {
        /// What a host has.
        expected: &'static str,
    },
    /// The port is no number that a host can listen on.
    #[error("must have a port from 1 to 65535")]
    Port,
    /// There is no path.
    #[error("must have a path after the host, as `/` or `/**`")]
    NoPath,
    /// A query in a pattern, where it could not be enforced.
    #[error("must have no query: it is not matched")]
    Query,
    /// A fragment, which never travels.
    #[error("must have no fragment, which is what stands after `#`")]
    Fragment,
    /// Two slashes with nothing between them.
    #[error("must have no empty segment `//` in its path")]
    EmptySegment,
    /// `.` or `..` as a segment, plain or encoded.
    #[error("must have no segment `.` or `..` in its path, also encoded")]
    Dots,
    /// `**` beside something else in a segment.
    #[error("must have `**` only as a whole segment")]
    Depth,
    /// `%` without two hex digits.
    #[error("must have two hex digits after each `%` in its path")]
    Percent,
    /// Encoded bytes that are no text.
    #[error("must have UTF-8 in its path, also encoded")]
    Utf8,
    /// A character that a path may not have, or not encoded.
    #[error("must have no `{found}` in its path")]
    PathCharacter {
        /// The character, escaped.
        found: String,
    },
}

/// A URL, cut and not yet checked.
pub(super) struct Parts<'a> {
    pub(super) scheme: &'a str,
    pub(super) host: &'a str,
    pub(super) port: Option<u16>,
    pub(super) path: &'a str,
    pub(super) query: Option<&'a str>,
}

impl<'a> Parts<'a> {
    pub(super) fn of(url: &'a str) -> Result<Self, UrlFault> {
        if url.len() > MAX_URL {
            return Err(UrlFault::Long { max: MAX_URL });
        }
        if url.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(UrlFault::Space);
        }
        let (scheme, rest) = url.split_once("://").ok_or(UrlFault::Scheme)?;
        if rest.contains('#') {
            return Err(UrlFault::Fragment);
        }
        let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
        // A backslash ends the host for browsers. Here it stays in it, and is refused there.
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = split_authority(authority)?;
        Ok(Self { scheme, host, port, path, query })
    }
}

/// The host, an IPv6 address in its brackets, and the port where one is written.
fn split_authority(authority: &str) -> Result<(&str, Option<u16>), UrlFault> {
    if authority.contains('@') {
        return Err(UrlFault::UserInfo);
    }
    let end = authority.rfind(']').unwrap_or(0);
    let colon = authority.get(end..).and_then(|rest| rest.find(':')).map(|colon| end + colon);
    let (host, port) = authority.split_at(colon.unwrap_or(authority.len()));
    Ok((host, port.strip_prefix(':').map(read_port).transpose()?))
}

fn read_port(text: &str) -> Result<u16, UrlFault> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port != 0).ok_or(UrlFault::Port)
}

/// `https://host`, with the port if it is not the scheme's.
pub(super) fn write_origin(
    f: &mut fmt::Formatter<'_>,
    scheme: Scheme,
    host: impl fmt::Display,
    port: u16,
) -> fmt::Result {
    write!(f, "{}://{host}", scheme.as_str())?;
    if port == scheme.default_port() { Ok(()) } else { write!(f, ":{port}") }
}
