//! TLS by the host itself: which versions, which certificate, and that a new one takes its place.

use std::{fs, io::BufReader, net::TcpStream, os::unix::fs::PermissionsExt, path::Path, sync::Arc};

use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, StreamOwned, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, ServerName},
    version::{TLS12, TLS13},
};

use crate::{
    host::{Folder, Served, eventually, plugins, stderr, usual_plugins},
    raw,
};

/// A certificate that signs itself, in place of the one that lies there.
fn certify(folder: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["tools.example".to_owned()]).expect("a certificate");
    // The key last: until then the two do not fit each other, which must do no harm.
    fs::write(folder.join("cert.pem"), made.cert.pem()).expect("a certificate");
    let key = folder.join("key.pem");
    fs::write(&key, made.signing_key.serialize_pem()).expect("a key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("a mode");
    made.cert.der().clone()
}

/// A connection of a client that trusts one certificate.
fn connect(
    host: &Served,
    trusted: &CertificateDer<'static>,
    version: &'static SupportedProtocolVersion,
) -> Option<StreamOwned<ClientConnection, TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).expect("a certificate");
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = ServerName::try_from("tools.example").expect("a name");
    let mut client = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut stream = TcpStream::connect(&host.address).expect("a connection");
    while client.is_handshaking() {
        client.complete_io(&mut stream).ok()?;
    }
    Some(StreamOwned::new(client, stream))
}

fn healthz(mut stream: StreamOwned<ClientConnection, TcpStream>) -> u16 {
    use std::io::Write;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: tools.example\r\nConnection: close\r\n\r\n").expect("a request");
    raw::head(&mut BufReader::new(stream)).0
}

#[test]
fn the_door_speaks_tls_and_takes_a_new_certificate() {
    let folder = Folder::new(&plugins(&usual_plugins()));
    let path = folder.path().join("portcullis.toml");
    let config = fs::read_to_string(&path).expect("a configuration");
    fs::write(&path, format!("{config}[server.tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n")).expect("a file");
    let missing = folder.run(&["serve"]);
    assert!(missing.status.code() == Some(1) && stderr(&missing).contains("Could not read `"), "{}", stderr(&missing));
    let first = certify(folder.path());
    let key = folder.path().join("key.pem");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).expect("a mode");
    let open = folder.run(&["serve"]);
    let said = stderr(&open);
    assert!(
        open.status.code() == Some(1) && said.contains("others than its owner") && said.contains("chmod 600"),
        "{said}"
    );
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("a mode");
    let host = Served::start(folder.command(&["serve", "--harden"]), "serving at ");
    for (version, spoken) in [(&TLS13, ProtocolVersion::TLSv1_3), (&TLS12, ProtocolVersion::TLSv1_2)] {
        let stream = connect(&host, &first, version).expect("TLS");
        assert_eq!(stream.conn.protocol_version(), Some(spoken));
        assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
        assert_eq!(healthz(stream), 200);
    }
    // In the clear nothing is answered.
    let plain = raw::open(&host.address, "GET", "/healthz", &[], b"");
    let mut said = Vec::new();
    _ = std::io::Read::read_to_end(&mut BufReader::new(plain), &mut said);
    assert!(!said.starts_with(b"HTTP/"), "{said:?}");
    // A new pair takes over; one that does not fit leaves the old one where it is.
    let second = certify(folder.path());
    eventually(|| connect(&host, &second, &TLS13).is_some());
    fs::write(folder.path().join("cert.pem"), "nonsense").expect("a file");
    host.logged("the certificate in use stays");
    assert_eq!(healthz(connect(&host, &second, &TLS13).expect("TLS")), 200);
}
