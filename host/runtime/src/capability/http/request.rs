//! Whether a request may be sent, before anything is looked up. Nothing is sent here.

use std::{collections::BTreeSet, fmt::Write as _};

use http::{HeaderMap, HeaderValue, Method, Uri, header, request::Parts};
use portcullis_audit::CallNotes;
use portcullis_policy::{Effective, HttpDecision, HttpDenied, IpRange, PluginName, RequestTarget};
use wasmtime_wasi_http::Error;

use super::{is_forbidden, secrets::Secrets};

/// Bytes of a query. Servers commonly stop at 8 KiB for the whole request line.
const MAX_QUERY: usize = 8 << 10;
/// Header fields of a request; clients send a dozen.
const MAX_FIELDS: usize = 128;
/// Characters of a refused target that are recorded. The guest chose them.
const MAX_SHOWN: usize = 300;

/// A request that is allowed, in its own parts: what is sent is made of these and nothing else of what the guest named.
#[derive(Debug)]
pub(super) struct Checked {
    method: Method,
    pub(super) target: RequestTarget,
    query: Option<String>,
    /// The ranges of addresses that are not global and that it may go to.
    pub(super) private: BTreeSet<IpRange>,
}

/// A request that may not be sent.
#[derive(Debug)]
pub(super) struct Refused {
    target: String,
    reason: String,
    /// What an operator who wants it to be sent does.
    mend: Option<Mend>,
}

#[derive(Debug)]
enum Mend {
    Grant,
    Approve,
}

/// Method, scheme, authority and path, then the grants.
pub(super) fn check(parts: &Parts, grants: &Effective) -> Result<Checked, Refused> {
    let Parts { method, uri, .. } = parts;
    let scheme = uri.scheme_str().unwrap_or_default();
    let authority = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
    let target = RequestTarget::of_parts(scheme, authority, uri.path());
    let target = target.map_err(|fault| Refused::malformed(method, uri, &fault.to_string()))?;
    let (reason, mend) = match grants.http(method.as_str(), &target) {
        HttpDecision::Allowed { private, .. } => {
            let query = match uri.query() {
                Some(query) if !is_query(query) => {
                    return Err(Refused::malformed(method, uri, "must have a query of at most 8 KiB of plain ASCII"));
                }
                query => query.map(str::to_owned),
            };
            return Ok(Checked { method: method.clone(), target, query, private });
        }
        HttpDecision::Denied(denied) => {
            let mend = match denied {
                HttpDenied::NoEntry => Some(Mend::Grant),
                HttpDenied::Unapproved(_) => Some(Mend::Approve),
                HttpDenied::Method | HttpDenied::Entry(_) => None,
            };
            (denied.to_string(), mend)
        }
    };
    Err(Refused { target: shown(&format!("{method} {target}")), reason, mend })
}

/// RFC 3986, section 3.4, and what browsers leave as it is beside it; upstream lets bytes past ASCII through.
fn is_query(query: &str) -> bool {
    query.len() <= MAX_QUERY && query.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
}

/// Escaped, and cut.
fn shown(text: &str) -> String {
    text.chars().take(MAX_SHOWN).flat_map(char::escape_debug).collect()
}

impl Refused {
    fn malformed(method: &Method, uri: &Uri, fault: &str) -> Self {
        let authority = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
        // User info may be a password.
        let host = authority.rsplit_once('@').map_or(authority.to_owned(), |(_, host)| format!("…@{host}"));
        let url = format!("{method} {}://{host}{}", uri.scheme_str().unwrap_or_default(), uri.path());
        Self { target: shown(&url), reason: format!("the URL {fault}"), mend: None }
    }

    /// Tells the ledger, and the operator as often as that took it: the guest decides how often it asks.
    pub(super) fn note(&self, plugin: &PluginName, notes: &CallNotes) {
        let Self { target, reason, mend } = self;
        if !notes.denied("http", target, reason) {
            return;
        }
        let hint = match mend {
            // A `*` in a path would be a pattern.
            Some(Mend::Grant) if !target.contains('*') => {
                format!("hint: in `[plugins.{plugin}.grants]`: http = [\"{target}\"]")
            }
            Some(Mend::Approve) => format!("hint: it waits for approval: portcullis diff {plugin}"),
            Some(Mend::Grant) | None => String::new(),
        };
        tracing::warn!(%plugin, "a request was denied: {target}: {reason} {hint}");
    }
}

impl Checked {
    /// As it is shown: without its query, escaped and cut.
    pub(super) fn shown(&self) -> String {
        shown(&format!("{} {}", self.method, self.target))
    }

    /// `host` or `host:port`, as it stands in `Host` (RFC 9112, section 3.2).
    fn authority(&self) -> String {
        let mut text = self.target.host().to_string();
        if self.target.port() != self.target.scheme().default_port() {
            // Writing to a string cannot fail.
            let _ = write!(text, ":{}", self.target.port());
        }
        text
    }

    /// The head of what is sent: origin-form, `Host` of the target, no framing, the secrets that the target gets.
    ///
    /// # Errors
    /// When the guest set too many fields.
    pub(super) fn head(&self, mut headers: HeaderMap, secrets: &Secrets) -> Result<http::Request<()>, Error> {
        if headers.len() > MAX_FIELDS {
            return Err(Error::HttpRequestHeaderSectionSize(u32::try_from(MAX_FIELDS).ok()));
        }
        // Upstream asks the hooks when a field is made. That is not seen from here, so it is not relied on.
        let framing: Vec<_> = headers.keys().filter(|name| is_forbidden(name)).cloned().collect();
        for name in framing.into_iter().chain([header::CONTENT_LENGTH]) {
            headers.remove(name);
        }
        let invalid = |_| Error::HttpRequestUriInvalid;
        headers
            .insert(header::HOST, HeaderValue::try_from(self.authority()).map_err(|_| Error::HttpRequestUriInvalid)?);
        if secrets.add(&self.target, &mut headers) {
            // An echo that was compressed could not be masked.
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        let mut path = self.target.path();
        if let Some(query) = &self.query {
            path.push('?');
            path.push_str(query);
        }
        let mut head = http::Request::builder().method(&self.method).uri(path).body(()).map_err(invalid)?;
        *head.headers_mut() = headers;
        Ok(head)
    }
}
