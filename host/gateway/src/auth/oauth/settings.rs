//! `[auth.oauth]`: which issuer's tokens open the door, and what of them is looked at.

use std::path::PathBuf;

use url::{Host, Url};

/// Longest issuer and audience, in bytes.
const MAX_ADDRESS: usize = 512;
/// Longest name of a claim, in bytes.
const MAX_CLAIM: usize = 128;
/// Most scopes, and the longest, in bytes: all stand in one header.
const MAX_SCOPES: usize = 16;
const MAX_SCOPE: usize = 64;

/// Which tokens are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuth {
    pub(super) issuer: String,
    pub(super) issuer_url: Url,
    pub(super) audience: String,
    pub(super) audience_url: Url,
    pub(super) role_claim: String,
    pub(super) scopes: Vec<String>,
    pub(super) jwks: Option<PathBuf>,
    pub(super) ca: Option<PathBuf>,
}

/// `[auth.oauth]` says what cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`auth.oauth.{key}` must be {expected}")]
pub struct OAuthError {
    /// The key.
    pub key: &'static str,
    expected: &'static str,
    /// The line to write.
    pub hint: &'static str,
}

impl OAuth {
    /// Checks what is written. `issuer` is what tokens have in `iss`, letter for letter, and where its keys are found
    /// unless the file `jwks` has them. `audience` is the address of this host as its clients know it.
    ///
    /// # Errors
    /// When an address, a name or a scope is none.
    pub fn new(
        issuer: String,
        audience: String,
        role_claim: String,
        scopes: Vec<String>,
        jwks: Option<PathBuf>,
    ) -> Result<Self, OAuthError> {
        let wrong = |key, expected, hint| OAuthError { key, expected, hint };
        // RFC 8414, section 2: https, and neither query nor fragment. Clear text is for tests on this machine.
        let issuer_url = address(&issuer).filter(|url| is_https(url) && url.query().is_none()).ok_or(wrong(
            "issuer",
            "an address with https (http on this machine alone), without query and fragment",
            "issuer = \"https://id.example\"",
        ))?;
        // RFC 8707, section 2, and RFC 9728, section 1.2.
        let audience_url = address(&audience).filter(|url| url.query().is_none()).ok_or(wrong(
            "audience",
            "the address that clients have of this host, with http or https, without query and fragment",
            "audience = \"https://tools.example/mcp\"",
        ))?;
        if role_claim.is_empty() || role_claim.len() > MAX_CLAIM || role_claim.chars().any(char::is_control) {
            return Err(wrong("role-claim", "from 1 to 128 bytes of plain text", "role-claim = \"portcullis_role\""));
        }
        // RFC 6749, section 3.3.
        let is_scope = |scope: &String| {
            (1..=MAX_SCOPE).contains(&scope.len())
                && scope.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
        };
        if scopes.len() > MAX_SCOPES || !scopes.iter().all(is_scope) {
            let expected = "at most 16 names of 1 to 64 letters, digits and signs without `\"` and `\\`";
            return Err(wrong("scopes", expected, "scopes = [\"tools\"]"));
        }
        if jwks.as_ref().is_some_and(|file| file.file_name().is_none()) {
            return Err(wrong("jwks", "a file", "jwks = \"keys/issuer.json\""));
        }
        Ok(Self { issuer, issuer_url, audience, audience_url, role_claim, scopes, jwks, ca: None })
    }

    /// The same, where the issuer's certificate is of an authority of one's own: `ca` is a file of certificates in PEM, which
    /// are trusted for it in place of the system's. Read at each fetch.
    ///
    /// # Errors
    /// When the issuer is not asked, or not by TLS.
    pub fn with_ca(self, ca: PathBuf) -> Result<Self, OAuthError> {
        if self.jwks.is_some() || self.issuer_url.scheme() != "https" || ca.file_name().is_none() {
            let expected = "a file, for an issuer with https whose keys are not in a file (`jwks`)";
            return Err(OAuthError { key: "ca", expected, hint: "ca = \"tls/ca.pem\"" });
        }
        Ok(Self { ca: Some(ca), ..self })
    }

    /// The file of the authorities that are trusted for the issuer, where the system's are not.
    pub fn ca(&self) -> Option<&PathBuf> {
        self.ca.as_ref()
    }

    /// The file of the issuer's keys, where they come from one.
    pub fn jwks(&self) -> Option<&PathBuf> {
        self.jwks.as_ref()
    }

    /// The issuer, as it is written.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Host and port that clients know this host by, as they stand in requests.
    pub(crate) fn authority(&self) -> String {
        let host = self.audience_url.host_str().unwrap_or_default();
        self.audience_url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }
}

fn address(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok().filter(|_| text.len() <= MAX_ADDRESS && text.is_ascii())?;
    let plain = url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
    // It stands in headers, between quotes.
    let clean = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\');
    (plain && clean && url.has_host() && matches!(url.scheme(), "http" | "https")).then_some(url)
}

/// Whether what is read there is from who is meant: by TLS, or since it stays on this machine.
pub(super) fn is_https(url: &Url) -> bool {
    url.scheme() == "https" || is_of_this_machine(url)
}

/// Whether an address cannot leave this machine.
pub(super) fn is_of_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_refused_with_the_line() {
        let made = |issuer: &str, audience: &str, claim: &str, scopes: &[&str]| {
            let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
            OAuth::new(issuer.into(), audience.into(), claim.into(), scopes, None).map_err(|error| error.key)
        };
        let (issuer, audience) = ("https://id.example/realms/a", "https://tools.example/mcp");
        assert!(made(issuer, audience, "role", &["a:b", "c"]).is_ok());
        for good in ["http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1/x"] {
            assert!(made(good, audience, "role", &[]).is_ok(), "{good}");
        }
        let long = format!("https://id.example/{}", "x".repeat(500));
        for bad in [
            "http://id.example",
            "http://localhost.evil.example",
            "https://id.example?a",
            "https://id.example#a",
            "https://u@id.example",
            "https://",
            "id.example",
            "file:///etc/passwd",
            "https://id.example/\u{fc}",
            "https://id.example/\"",
            &long,
        ] {
            assert_eq!(made(bad, audience, "role", &[]), Err("issuer"), "{bad}");
        }
        for bad in ["https://tools.example/mcp#a", "urn:a", "https://tools.example/mcp?a=b", "x"] {
            assert_eq!(made(issuer, bad, "role", &[]), Err("audience"), "{bad}");
        }
        for bad in ["", "a\nb", &"x".repeat(129)] {
            assert_eq!(made(issuer, audience, bad, &[]), Err("role-claim"), "{bad}");
        }
        for bad in [&["a b"][..], &[""], &["a\""], &["x"; 17]] {
            assert_eq!(made(issuer, audience, "role", bad), Err("scopes"), "{bad:?}");
        }
    }
}
