//! The certificate of the door, and that another takes its place while the host runs.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    version::{TLS12, TLS13},
};

/// Longest file of certificates or of a key: chains have a few kilobytes.
const MAX_FILE: u64 = 1 << 20;

/// The certificate and its key, as they were when they were last in order.
#[derive(Debug)]
pub struct Tls {
    cert: PathBuf,
    key: PathBuf,
    current: ArcSwap<ServerConfig>,
}

/// A certificate or a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("could not read `{}`", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others than the host's user may read the key.
    #[error("the key `{}` can be read by others than its owner: mode {mode:03o}", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// The mode that it has.
        mode: u32,
    },
    /// A file holds no certificate, or no key.
    #[error("`{}` has no {what} in PEM", path.display())]
    Nothing {
        /// Which.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// They do not fit each other, or the library knows no such key.
    #[error("the certificate `{}` and its key cannot be used: {source}", cert.display())]
    Unfit {
        /// The certificate.
        cert: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

impl TlsError {
    /// What to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Open { path, .. } => Some(format!("chmod 600 {}", path.display())),
            Self::Nothing { what, .. } => Some(format!("a file with `-----BEGIN {}-----`", what.to_uppercase())),
            Self::Unfit { .. } => Some("the chain, the host's own certificate first, and the key of that one".into()),
            Self::Read { .. } => None,
        }
    }
}

impl Tls {
    /// Reads both files.
    ///
    /// # Errors
    /// When they cannot be used.
    pub fn open(cert: PathBuf, key: PathBuf) -> Result<Arc<Self>, TlsError> {
        let current = ArcSwap::from_pointee(read(&cert, &key)?);
        Ok(Arc::new(Self { cert, key, current }))
    }

    /// Reads both files again: connections from now on have what is in them. What was in order goes on where they are not.
    ///
    /// # Errors
    /// When they cannot be used.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.current.store(Arc::new(read(&self.cert, &self.key)?));
        Ok(())
    }

    /// The two files.
    pub fn files(&self) -> [&Path; 2] {
        [&self.cert, &self.key]
    }

    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }
}

fn read(cert: &Path, key: &Path) -> Result<ServerConfig, TlsError> {
    let chain = CertificateDer::pem_slice_iter(&bytes(cert)?).collect::<Result<Vec<_>, _>>();
    let nothing = |path: &Path, what| TlsError::Nothing { path: path.to_owned(), what };
    let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or_else(|| nothing(cert, "certificate"))?;
    let mode = fs::metadata(key).map_err(|source| TlsError::Read { path: key.to_owned(), source })?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(TlsError::Open { path: key.to_owned(), mode });
    }
    let secret = PrivateKeyDer::from_pem_slice(&bytes(key)?).map_err(|_| nothing(key, "private key"))?;
    let unfit = |source| TlsError::Unfit { cert: cert.to_owned(), source };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(unfit)?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(unfit)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn bytes(path: &Path) -> Result<Vec<u8>, TlsError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes));
    read.map_err(|source| TlsError::Read { path: path.to_owned(), source })?;
    Ok(bytes)
}
