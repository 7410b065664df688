//! What an issuer publishes: fetched by the host itself, with the bounds that plugins' requests have.
//!
//! No redirects, no proxy variables, HTTP/1.1, TLS by the platform's roots or the operator's own, and so many bytes and seconds.

use std::{
    fs::File,
    io::{self, Read},
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::Duration,
};

use http_body_util::{BodyExt, Empty, Limited};
use hyper::{
    Request, StatusCode,
    body::Bytes,
    client::conn::http1,
    header::{ACCEPT, ACCEPT_ENCODING, HOST},
};
use hyper_util::rt::TokioIo;
use portcullis_policy::is_global;
use serde::Deserialize;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore, crypto,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};
use url::{Position, Url};

use super::{
    key_set::{KeySet, KeySetError, MAX_SET},
    settings::{OAuth, is_https, is_of_this_machine},
};

/// How long all of it may take: a client may be waiting.
const PATIENCE: Duration = Duration::from_secs(10);
/// Largest description of an issuer, in bytes; they have some three thousand.
const MAX_DESCRIPTION: usize = 64 * 1024;
/// Largest head of a reply, in bytes.
const MAX_HEAD: usize = 32 * 1024;
/// Longest file of authorities, in bytes: a system's whole list has some two hundred thousand.
const MAX_ROOTS: u64 = 1 << 20;
/// Most addresses of a name that are tried.
const MAX_ADDRESSES: usize = 4;

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("`{host}` did not answer within {} seconds", PATIENCE.as_secs())]
    Late { host: String },
    #[error("`{host}` cannot be reached: {reason}")]
    Unreachable { host: String, reason: String },
    #[error("`{host}` has the address {address}, which is not global, and is not the issuer's own host")]
    NotGlobal { host: String, address: std::net::IpAddr },
    #[error("`{url}` answered {status}, expected 200; redirects are not followed")]
    Status { url: Url, status: u16 },
    #[error("what `{url}` sent cannot be read: {reason}")]
    Body { url: Url, reason: String },
    #[error("what `{url}` sent is no description of an issuer: {reason}")]
    Description { url: Url, reason: String },
    #[error("`{url}` describes another issuer than the configuration names")]
    OtherIssuer { url: Url },
    #[error("the issuer keeps its keys at an address without https: `{url}`")]
    NoTls { url: Url },
    #[error("the keys at `{url}` are of no use: {source}")]
    Keys { url: Url, source: KeySetError },
}

/// What is read of an issuer's description (RFC 8414, section 2).
#[derive(Deserialize)]
struct Description {
    issuer: String,
    jwks_uri: String,
}

/// The keys that the issuer publishes at this moment.
///
/// # Errors
/// When they cannot be had.
pub(super) async fn keys(settings: &OAuth) -> Result<KeySet, FetchError> {
    let late = |_| FetchError::Late { host: host(&settings.issuer_url) };
    timeout(PATIENCE, find(settings)).await.map_err(late)?
}

async fn find(settings: &OAuth) -> Result<KeySet, FetchError> {
    let url = described(settings).await?;
    if !is_https(&url) || (url.scheme() == "http" && !is_of_this_machine(&settings.issuer_url)) {
        return Err(FetchError::NoTls { url });
    }
    // The operator wrote the issuer's host, and whoever answers there this one.
    let anywhere = url.host() == settings.issuer_url.host();
    let text = get(settings, &url, anywhere, MAX_SET).await?;
    KeySet::parse(&text).map_err(|source| FetchError::Keys { url, source })
}

/// Where the keys are, as the first of the well-known places says that answers.
async fn described(settings: &OAuth) -> Result<Url, FetchError> {
    let mut last = None;
    for url in places(&settings.issuer_url) {
        let text = match get(settings, &url, true, MAX_DESCRIPTION).await {
            Ok(text) => text,
            Err(error @ FetchError::Status { .. }) => {
                last.get_or_insert(error);
                continue;
            }
            Err(error) => return Err(error),
        };
        let none = |reason: String| FetchError::Description { url: url.clone(), reason };
        let found: Description = serde_json::from_slice(&text).map_err(|error| none(error.to_string()))?;
        // RFC 8414, section 3.3: otherwise one issuer could speak for another.
        if found.issuer != settings.issuer {
            return Err(FetchError::OtherIssuer { url });
        }
        return Url::parse(&found.jwks_uri).map_err(|error| none(format!("`jwks_uri`: {error}")));
    }
    let none = || FetchError::Unreachable { host: host(&settings.issuer_url), reason: "it has no address".into() };
    Err(last.unwrap_or_else(none))
}

/// RFC 8414, section 3, and OpenID Connect Discovery 1.0, section 4, as the MCP specification orders them.
fn places(issuer: &Url) -> Vec<Url> {
    let path = issuer.path().trim_end_matches('/');
    let inserted =
        ["oauth-authorization-server", "openid-configuration"].map(|name| format!("/.well-known/{name}{path}"));
    let appended = (!path.is_empty()).then(|| format!("{path}/.well-known/openid-configuration"));
    let at = |path: String| {
        let mut url = issuer.clone();
        url.set_path(&path);
        url
    };
    inserted.into_iter().chain(appended).map(at).collect()
}

fn host(url: &Url) -> String {
    url.host_str().unwrap_or_default().to_owned()
}

/// What lies at an address, where that is at most `most` bytes.
async fn get(settings: &OAuth, url: &Url, anywhere: bool, most: usize) -> Result<Bytes, FetchError> {
    let stream = connect(url, anywhere).await?;
    if url.scheme() != "https" {
        return exchange(url, stream, most).await;
    }
    let unreachable = |error: io::Error| FetchError::Unreachable { host: host(url), reason: error.to_string() };
    let name = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let name = ServerName::try_from(name).map_err(|error| unreachable(io::Error::other(error)))?;
    let stream = connector(settings).await.map_err(unreachable)?.connect(name, stream).await.map_err(unreachable)?;
    exchange(url, stream, most).await
}

async fn connect(url: &Url, anywhere: bool) -> Result<TcpStream, FetchError> {
    let unreachable = |error: io::Error| FetchError::Unreachable { host: host(url), reason: error.to_string() };
    let port = url.port_or_known_default().unwrap_or(443);
    let name = host(url);
    let found = tokio::net::lookup_host((name.trim_matches(['[', ']']), port)).await.map_err(unreachable)?;
    let found: Vec<SocketAddr> = found.collect();
    // All are looked at, and no others connected to.
    if let Some(local) = found.iter().find(|found| !anywhere && !is_global(found.ip())) {
        return Err(FetchError::NotGlobal { host: name, address: local.ip() });
    }
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in found.into_iter().take(MAX_ADDRESSES) {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(unreachable(last))
}

async fn exchange<S>(url: &Url, stream: S, most: usize) -> Result<Bytes, FetchError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let body = |reason: String| FetchError::Body { url: url.clone(), reason };
    let broken = |error: hyper::Error| body(error.to_string());
    let handshake = http1::Builder::new().max_buf_size(MAX_HEAD).handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(broken)?;
    // Ends with this future.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let authority = url.port().map_or_else(|| host(url), |port| format!("{}:{port}", host(url)));
    let request = Request::get(&url[Position::BeforePath..Position::AfterQuery])
        .header(HOST, authority)
        .header(ACCEPT, "application/json")
        .header(ACCEPT_ENCODING, "identity")
        .body(Empty::<Bytes>::new())
        .map_err(|error| body(error.to_string()))?;
    let response = sender.send_request(request).await.map_err(broken)?;
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status { url: url.clone(), status: response.status().as_u16() });
    }
    let collected = Limited::new(response.into_body(), most).collect().await;
    Ok(collected.map_err(|error| body(error.to_string()))?.to_bytes())
}

/// Made for each: it is once in minutes, and an operator may have renewed the roots.
async fn connector(settings: &OAuth) -> io::Result<TlsConnector> {
    let ca = settings.ca.clone();
    let roots = tokio::task::spawn_blocking(move || match ca {
        Some(path) => own_roots(&path),
        None => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            Ok(roots)
        }
    });
    let roots = roots.await.map_err(io::Error::other)??;
    let mut config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config).into())
}

/// The authorities in a file: all of them, or none.
fn own_roots(path: &Path) -> io::Result<RootCertStore> {
    let mut text = Vec::new();
    // One byte more, by which one that is longer is known: cut, it would be some of them.
    let read = File::open(path).and_then(|file| file.take(MAX_ROOTS + 1).read_to_end(&mut text)).map_err(of_ca)?;
    if read as u64 > MAX_ROOTS {
        return Err(of_ca(format!("it is longer than {MAX_ROOTS} bytes")));
    }
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        roots.add(certificate.map_err(of_ca)?).map_err(of_ca)?;
    }
    if roots.is_empty() {
        return Err(of_ca("it has no certificate in PEM"));
    }
    Ok(roots)
}

fn of_ca(reason: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("the file `auth.oauth.ca` cannot be used: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUTHORITY: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIBiTCCAS+gAwIBAgIUSDsZmQJXvfMoRNDukWERGAIi/qUwCgYIKoZIzj0EAwIw\n\
GTEXMBUGA1UEAwwOdGVzdCBhdXRob3JpdHkwIBcNMjYxMTIyMDAyNzM3WhgPMjEy\n\
NjEwMjkwMDI3MzdaMBkxFzAVBgNVBAMMDnRlc3QgYXV0aG9yaXR5MFkwEwYHKoZI\n\
zj0CAQYIKoZIzj0DAQcDQgAEbeiUNpbOn+b6sG34OlYDGZ+sMC7wRoJ/IEElkEW/\n\
zbbu8wnUvpezAEC74AJFU1IAvNZPhjUOYrs8lOob5F/Yp6NTMFEwHQYDVR0OBBYE\n\
FEfpB0LTD9LXnxKhdL1pxCSLy3SoMB8GA1UdIwQYMBaAFEfpB0LTD9LXnxKhdL1p\n\
xCSLy3SoMA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIhAPgZXFOl\n\
zcwM1iNeL9t9MK8MyzLwnPXCjU0P8c5bn7X5AiBkkpnf+pSQTGK+V3gukX1+wW+E\n\
ISGUuvmuxEoZ6W2UCA==\n\
-----END CERTIFICATE-----\n";

    /// All of its authorities or none: the ones at the beginning of a file that is too long are none.
    #[test]
    fn a_file_of_authorities_is_read_whole_or_not_at_all() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("ca.pem");
        let mut text = AUTHORITY.to_owned();
        text.push_str(&"\n".repeat(usize::try_from(MAX_ROOTS).expect("a size") - text.len()));
        std::fs::write(&path, &text).expect("a file");
        assert_eq!(own_roots(&path).expect("as long as may be").len(), 1);
        text.push('\n');
        std::fs::write(&path, &text).expect("a file");
        let told = own_roots(&path).expect_err("longer").to_string();
        assert!(told.contains("longer than 1048576 bytes"), "{told}");
    }

    #[test]
    fn the_well_known_places_of_an_issuer() {
        let check = |issuer: &str, expected: &[&str]| {
            let found: Vec<_> = places(&issuer.parse().expect(issuer)).iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{issuer}");
        };
        let root = "https://id.example/.well-known";
        for issuer in ["https://id.example", "https://id.example/"] {
            check(issuer, &[&format!("{root}/oauth-authorization-server"), &format!("{root}/openid-configuration")]);
        }
        check(
            "https://id.example/realms/a",
            &[
                &format!("{root}/oauth-authorization-server/realms/a"),
                &format!("{root}/openid-configuration/realms/a"),
                "https://id.example/realms/a/.well-known/openid-configuration",
            ],
        );
    }
}
