//! An issuer whose certificate is of an authority that only its own site knows.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    sync::Arc,
};

use serde_json::json;
use tokio_rustls::rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::ring,
    pki_types::{PrivateKeyDer, pem::PemObject},
};

use super::{
    AUDIENCE,
    issuer::{Key, now},
    list, oauth,
};
use crate::host::{Folder, Served, plugins, stderr, usual_plugins};

/// Speaks TLS on loopback and publishes one key. Ends with the test process. Its address, and its certificate in PEM.
fn start(key: &Key) -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let secret = PrivateKeyDer::from_pem_slice(made.signing_key.serialize_pem().as_bytes()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], secret)
        .expect("a configuration");
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("https://localhost:{}", listener.local_addr().expect("an address").port());
    let description = json!({ "issuer": url, "jwks_uri": format!("{url}/keys") }).to_string();
    let keys = json!({ "keys": [key.jwk()] }).to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).expect("TLS"), stream);
            let mut line = String::new();
            // Who does not trust it goes away.
            if BufReader::new(&mut stream).read_line(&mut line).is_err() {
                continue;
            }
            let body = if line.contains("/keys") { &keys } else { &description };
            let length = body.len();
            let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
            _ = stream.write_all(head.as_bytes()).and_then(|()| stream.flush());
            stream.conn.send_close_notify();
            _ = stream.conn.complete_io(&mut stream.sock);
        }
    });
    (url, made.cert.pem())
}

#[test]
fn an_authority_of_ones_own_is_trusted_where_it_is_named() {
    let key = Key::new("one", "ES256");
    let (issuer, pem) = start(&key);
    let claims = json!({ "iss": issuer, "aud": AUDIENCE, "sub": "bob", "role": "reader", "exp": now() + 600 });
    let token = key.sign(&claims);
    let folder = |more: &str| Folder::new(&format!("{}{}", plugins(&usual_plugins()), oauth(&issuer, AUDIENCE, more)));
    let serve = |folder: &Folder| Served::start(folder.command(&["serve", "--harden"]), "serving at ");
    // The system does not know it.
    let without = folder("");
    let host = serve(&without);
    assert!(host.logged("no token opens").contains("cannot be reached"));
    assert_eq!(list(&host, &token).status, 401);
    // Nor does another authority speak for it.
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let wrong = folder("ca = \"ca.pem\"");
    fs::write(wrong.path().join("ca.pem"), other.cert.pem()).expect("a file");
    let host = serve(&wrong);
    assert!(host.logged("no token opens").contains("cannot be reached"));
    assert_eq!(list(&host, &token).status, 401);
    fs::write(wrong.path().join("ca.pem"), "none").expect("a file");
    let doctor = wrong.run(&["doctor"]);
    assert!(String::from_utf8_lossy(&doctor.stdout).contains("`auth.oauth.ca` cannot be used"), "{doctor:?}");
    // In a folder that nothing else opens.
    let good = folder("ca = \"trust/ca.pem\"");
    fs::create_dir(good.path().join("trust")).expect("a folder");
    fs::write(good.path().join("trust/ca.pem"), pem).expect("a file");
    let host = serve(&good);
    assert_eq!(list(&host, &token).status, 200);
    drop(host);
    for more in ["ca = \"ca.pem\"\njwks = \"keys.json\"", "ca = \"\""] {
        let output = Folder::unapproved(&oauth(&issuer, AUDIENCE, more)).run(&["check"]);
        let told = stderr(&output);
        assert!(
            output.status.code() == Some(1) && told.contains("`auth.oauth.ca` must be") && told.contains("hint: "),
            "{told}"
        );
    }
}
