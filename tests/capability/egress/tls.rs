//! TLS, and the environment of the host: through the real binary, whose roots and proxies come from its variables.

use std::{
    net::TcpListener,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use portcullis_artifacts as guests;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto, pki_types::PrivatePkcs8KeyDer},
};

use super::server::{Seen, ok, serve};
use crate::binary::Folder;

/// A server with a certificate of its own for `name`.
struct Tls {
    port: u16,
    certificate: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Tls {
    async fn start(name: &str, protocol: &str) -> Self {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let mut config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .expect("a server");
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let port = listener.local_addr().expect("an address").port();
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let all = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, all) = (acceptor.clone(), Arc::clone(&all));
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        let _ = serve(stream, 0, &all, &|_| ok("on")).await;
                    }
                });
            }
        });
        Self { port, certificate: made.cert.pem(), seen }
    }
}

/// A folder whose plugin may GET `origin`, approved.
fn folder(origin: &str) -> Folder {
    let folder = Folder::new(&format!(
        "[plugins.web]\nsource = {:?}\n[plugins.web.grants]\n\
         http = [{{ allow = \"GET {origin}/**\", private = [\"127.0.0.0/8\", \"::1\"] }}]\n",
        guests::WITH_HTTP
    ));
    folder.approve_all();
    folder
}

/// What a GET gives, where the host's environment has these variables.
async fn get(folder: Folder, url: String, variables: Vec<(&'static str, String)>) -> String {
    let run = move || {
        let arguments = json!({ "url": url }).to_string();
        let output =
            folder.command(&["call", "web_get", &arguments, "--json"]).envs(variables).output().expect("a run");
        let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        told.to_string()
    };
    tokio::task::spawn_blocking(run).await.expect("a run")
}

/// The roots of a host: the certificate in a file.
fn roots(folder: &Folder, certificate: &str) -> PathBuf {
    folder.write("roots.pem", certificate);
    folder.path().join("roots.pem")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_proves_its_name_by_a_root_of_the_host() {
    let right = Tls::start("localhost", "http/1.1").await;
    let wrong = Tls::start("other.example", "http/1.1").await;
    let other = Tls::start("localhost", "h2").await;
    let plain = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let plain_port = plain.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = plain.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
        }
    });
    for (port, root, expected) in [
        (right.port, &right.certificate, "200"),
        (wrong.port, &wrong.certificate, "TlsCertificateError"),
        (right.port, &wrong.certificate, "TlsCertificateError"),
        (right.port, &String::new(), "TlsCertificateError"),
        (
            other.port,
            &other.certificate,
            "TlsAlertReceived(TlsAlertReceivedPayload { alert-id: Some(120), alert-message: None })",
        ),
        (plain_port, &right.certificate, "TlsProtocolError"),
    ] {
        let origin = format!("https://localhost:{port}");
        let folder = folder(&origin);
        let roots = roots(&folder, root).display().to_string();
        let found = get(folder, format!("{origin}/a?b"), vec![("SSL_CERT_FILE", roots)]).await;
        assert!(found.contains(expected), "no {expected} in {found}");
    }
    let seen = right.seen.lock().expect("no panic").clone();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].line(), "GET /a?b HTTP/1.1");
    assert_eq!(seen[0].headers("host"), [format!("localhost:{}", right.port)]);
    for server in [&wrong, &other] {
        assert!(server.seen.lock().expect("no panic").is_empty(), "nothing is sent to who is not known");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn e17_proxies_of_the_environment_are_not_asked() {
    let proxy = TcpListener::bind("127.0.0.1:0").expect("a listener");
    proxy.set_nonblocking(true).expect("a listener that does not wait");
    let address = format!("http://{}", proxy.local_addr().expect("an address"));
    let secure = Tls::start("localhost", "http/1.1").await;
    let plain = super::server::Server::start(|_| ok("on")).await;
    for origin in [format!("https://localhost:{}", secure.port), format!("http://localhost:{}", plain.port())] {
        let folder = folder(&origin);
        let mut variables = vec![("SSL_CERT_FILE", roots(&folder, &secure.certificate).display().to_string())];
        for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
            variables.push((name, address.clone()));
        }
        let found = get(folder, format!("{origin}/"), variables).await;
        assert!(found.contains("200"), "{found}");
    }
    assert!(proxy.accept().is_err(), "the proxy was asked");
}
