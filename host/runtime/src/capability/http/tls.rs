//! TLS to servers: the platform's roots, the host's name, HTTP/1.1.

use std::{io, sync::Arc};

use portcullis_policy::Host;
use tokio::{net::TcpStream, sync::OnceCell};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, RootCertStore, crypto, pki_types::ServerName},
};

/// The roots of the platform, or of `SSL_CERT_FILE` and `SSL_CERT_DIR`: read once, when a first request needs them.
static ROOTS: OnceCell<Arc<RootCertStore>> = OnceCell::const_new();

/// TLS of one plugin. Sessions that are resumed are its own.
#[derive(Default)]
pub(super) struct Tls(OnceCell<TlsConnector>);

impl Tls {
    /// Shakes hands with who must be `host`.
    ///
    /// # Errors
    /// Those of rustls inside an error of I/O, as `fault::of_tls` reads them.
    pub(super) async fn connect(&self, host: &Host, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let connector = self.0.get_or_try_init(connector).await?;
        let name = match host {
            Host::Name(name) => ServerName::try_from(name.clone()).map_err(io::Error::other)?,
            Host::Address(address) => ServerName::from(*address),
        };
        connector.connect(name, stream).await
    }
}

async fn connector() -> io::Result<TlsConnector> {
    let roots = ROOTS.get_or_try_init(|| async { tokio::task::spawn_blocking(roots).await.map_err(io::Error::other) });
    let roots = Arc::clone(roots.await?);
    let mut config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config).into())
}

fn roots() -> Arc<RootCertStore> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "some root certificates cannot be read");
    }
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        tracing::warn!(
            "there are no root certificates: no request over TLS will succeed (`SSL_CERT_FILE` names a file)"
        );
    }
    Arc::new(roots)
}
