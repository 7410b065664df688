//! Patterns over HTTP requests: `METHODS URL`. What they cannot enforce they do not parse.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{
    GrantError,
    host::HostPattern,
    path::{Path, Reading},
    url::{Parts, RequestTarget, Scheme, UrlFault, write_origin},
};
use crate::ChangeKind;

/// Longest pattern, in bytes: comparing one with a request costs the product of their lengths at worst.
pub const MAX_PATTERN: usize = 1024;
/// Most methods of a pattern. HTTP has nine; WebDAV needs some more.
const MAX_METHODS: usize = 16;
/// Longest method, in bytes. The longest that is registered with IANA, `UPDATEREDIRECTREF`, has 17.
const MAX_METHOD: usize = 32;

/// Which requests an entry of `http` or `deny` is about.
///
/// `METHODS URL`, as in `GET,HEAD https://api.example.com/v1/**`. METHODS is one or several in upper case, or `*`; never
/// `CONNECT`, which has no path. The host is exact, `*.example.com` for one label, or `**.example.com` for one and more.
/// The port is the scheme's where none is written. In the path `*` stands for a run within a segment, and `**` for any
/// number of segments, none included: `/v1/**` matches `/v1`, too. A query is no part of what is matched.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HttpPattern {
    pub(super) methods: Methods,
    scheme: Scheme,
    host: HostPattern,
    port: u16,
    path: Path,
}

impl HttpPattern {
    /// Whether a request by `method` to `target` is one that this entry allows.
    pub(super) fn allows(&self, method: &Method, target: &RequestTarget) -> bool {
        self.matches(method, target, Reading::Exact)
    }

    /// Whether it is one that this entry denies: also when it is spelled so that most servers read it as one.
    pub(super) fn denies(&self, method: &Method, target: &RequestTarget) -> bool {
        self.matches(method, target, Reading::Decoded)
    }

    fn matches(&self, method: &Method, target: &RequestTarget, reading: Reading) -> bool {
        self.methods.have(method)
            && self.scheme == target.scheme()
            && self.port == target.port()
            && self.host.matches(target.host())
            && self.path.covers(target.path_parts(), reading)
    }

    /// Whether every URL of `other` is one of this, as `reading` reads it. Sound: `true` is never wrong.
    pub(super) fn covers_url(&self, other: &Self, reading: Reading) -> bool {
        self.scheme == other.scheme
            && self.port == other.port
            && self.host.covers(&other.host)
            && self.path.covers(&other.path, reading)
    }

    /// Whether some request may match both. Sound: `false` is never wrong.
    pub(super) fn may_overlap(&self, other: &Self) -> bool {
        self.methods.overlap(&other.methods)
            && self.scheme == other.scheme
            && self.port == other.port
            && self.host.may_overlap(&other.host)
            && self.path.may_overlap(&other.path)
    }

    /// This pattern with other methods.
    pub(super) fn with_methods(&self, methods: Methods) -> Self {
        Self { methods, ..self.clone() }
    }
}

impl FromStr for HttpPattern {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        let fault = |fault: String| GrantError::new(ChangeKind::Http, fault, text);
        if text.len() > MAX_PATTERN {
            return Err(fault(UrlFault::Long { max: MAX_PATTERN }.to_string()));
        }
        let (methods, url) = text
            .split_once(' ')
            .ok_or_else(|| fault("must have methods and a URL, as `GET https://api.example.com/v1/**`".into()))?;
        let methods = Methods::parse(methods).ok_or_else(|| {
            fault(
                "must begin with methods in upper case, as `GET` or `GET,POST`, without `CONNECT`, or with `*`".into(),
            )
        })?;
        let pattern = Self::read(methods, url).map_err(|error| fault(error.to_string()))?;
        // A name in another script is longer as ASCII, and what is written back has to be readable.
        if pattern.to_string().len() > MAX_PATTERN {
            return Err(fault(UrlFault::Long { max: MAX_PATTERN }.to_string()));
        }
        Ok(pattern)
    }
}

impl HttpPattern {
    fn read(methods: Methods, url: &str) -> Result<Self, UrlFault> {
        let parts = Parts::of(url)?;
        if parts.query.is_some() {
            return Err(UrlFault::Query);
        }
        let scheme = Scheme::parse(parts.scheme)?;
        let port = parts.port.unwrap_or(scheme.default_port());
        Ok(Self { methods, scheme, host: HostPattern::parse(parts.host)?, port, path: Path::glob(parts.path)? })
    }
}

impl fmt::Display for HttpPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.methods)?;
        write_origin(f, self.scheme, &self.host, self.port)?;
        self.path.fmt(f)
    }
}

impl TryFrom<String> for HttpPattern {
    type Error = GrantError;
    fn try_from(text: String) -> Result<Self, GrantError> {
        text.parse()
    }
}

impl From<HttpPattern> for String {
    fn from(pattern: HttpPattern) -> String {
        pattern.to_string()
    }
}

/// A method of HTTP in upper case. Methods are case-sensitive, but not to every server, so that no other case passes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Method(String);

impl Method {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let upper = text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
        let allowed = upper && (1..=MAX_METHOD).contains(&text.len()) && text != "CONNECT";
        allowed.then(|| Self(text.to_owned()))
    }
}

/// The methods of a pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Methods {
    /// `*`.
    Any,
    /// These, at least one.
    These(BTreeSet<Method>),
}

impl Methods {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Any);
        }
        let methods: BTreeSet<_> = text.split(',').map(Method::parse).collect::<Option<_>>()?;
        (methods.len() <= MAX_METHODS).then_some(Self::These(methods))
    }

    fn have(&self, method: &Method) -> bool {
        match self {
            Self::Any => true,
            Self::These(methods) => methods.contains(method),
        }
    }

    fn overlap(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) | (_, Self::Any) => true,
            (Self::These(ours), Self::These(theirs)) => !ours.is_disjoint(theirs),
        }
    }

    /// Those of these methods that no one of `others` has. `*` is only covered by `*`.
    pub(super) fn without<'a>(&self, mut others: impl Iterator<Item = &'a Self> + Clone) -> Option<Self> {
        match self {
            Self::Any => (!others.any(|other| *other == Self::Any)).then_some(Self::Any),
            Self::These(methods) => {
                let left = methods.iter().filter(|method| !others.clone().any(|other| other.have(method)));
                let left: BTreeSet<_> = left.cloned().collect();
                (!left.is_empty()).then_some(Self::These(left))
            }
        }
    }
}

impl fmt::Display for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::These(methods) => {
                for (index, Method(method)) in methods.iter().enumerate() {
                    write!(f, "{}{method}", if index == 0 { "" } else { "," })?;
                }
                Ok(())
            }
        }
    }
}
