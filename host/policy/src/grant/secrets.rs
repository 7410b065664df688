//! Secrets by grant: which header of which requests the host fills in. No secret's value is known here.

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};

use super::{
    GrantError, check_entries,
    host::Host,
    url::{Parts, RequestTarget, Scheme, UrlFault, write_origin},
};
use crate::ChangeKind;

/// Longest name of a secret or a header, in bytes.
const MAX_NAME: usize = 128;
/// Headers that the host writes, or that say where a message ends (../shared/THREATS.md, "Egress").
const RESERVED: [&str; 10] = [
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// An entry of `secrets`: the host adds the secret `name` as `header` to requests to the origin `to`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct SecretGrant {
    name: String,
    header: String,
    to: Origin,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Origin {
    scheme: Scheme,
    host: Host,
    port: u16,
}

impl SecretGrant {
    /// The secret: a key of `[secrets]`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The header, in lower case.
    pub fn header(&self) -> &str {
        &self.header
    }

    /// Whether requests to `target` get it: those to its scheme, host and port exactly.
    pub fn goes_to(&self, target: &RequestTarget) -> bool {
        let Origin { scheme, host, port } = &self.to;
        (*scheme, host, *port) == (target.scheme(), target.host(), target.port())
    }
}

impl fmt::Display for SecretGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} as {} to {}", self.name, self.header, self.to)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_origin(f, self.scheme, &self.host, self.port)
    }
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Written {
    name: String,
    header: String,
    to: String,
}

impl TryFrom<Written> for SecretGrant {
    type Error = GrantError;

    fn try_from(written: Written) -> Result<Self, GrantError> {
        let Written { name, header, to } = written;
        let word = |text: &str, more: &[u8]| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || more.contains(&byte);
            (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(allowed)
        };
        let fault = |fault: String, found: &str| Err(GrantError::new(ChangeKind::Secrets, fault, found));
        if !word(&name, b"-_") {
            return fault("must have a `name` of 1 to 128 letters, digits, `-` and `_`".into(), &name);
        }
        let header = header.to_ascii_lowercase();
        // RFC 9110, section 5.6.2: `token`.
        if !word(&header, b"!#$%&'*+-.^_`|~") {
            return fault("must have the name of a `header`, as `x-api-key`".into(), &header);
        }
        if RESERVED.contains(&&*header) || header.starts_with("proxy-") {
            return fault("must have a `header` that the host does not write itself".into(), &header);
        }
        match origin(&to) {
            Ok(to) => Ok(Self { name, header, to }),
            Err(error) => fault(error, &to),
        }
    }
}

/// An origin alone: a path could not be kept apart from the rest of its host.
fn origin(text: &str) -> Result<Origin, String> {
    let read = || -> Result<_, UrlFault> {
        let parts = Parts::of(text)?;
        let (scheme, host) = (Scheme::parse(parts.scheme)?, Host::parse(parts.host)?);
        Ok((Origin { scheme, host, port: parts.port.unwrap_or(scheme.default_port()) }, parts))
    };
    let (origin, parts) = read().map_err(|error| error.to_string())?;
    if !matches!(parts.path, "" | "/") || parts.query.is_some() {
        return Err("must have nothing behind the host in `to`, as `https://api.example.com`".to_owned());
    }
    Ok(origin)
}

impl From<SecretGrant> for Written {
    fn from(grant: SecretGrant) -> Self {
        Self { to: grant.to.to_string(), name: grant.name, header: grant.header }
    }
}

/// In one order; two secrets in one header of one origin are refused.
pub(super) fn normal(mut entries: Vec<SecretGrant>) -> Result<Vec<SecretGrant>, GrantError> {
    check_entries(ChangeKind::Secrets, "secrets", entries.len())?;
    entries.sort_by_cached_key(ToString::to_string);
    entries.dedup();
    let mut places = BTreeSet::new();
    if let Some(twice) = entries.iter().find(|entry| !places.insert((&entry.header, entry.to.to_string()))) {
        return Err(GrantError::new(
            ChangeKind::Secrets,
            "must be the only one for its `header` and `to`",
            &twice.to_string(),
        ));
    }
    Ok(entries)
}
