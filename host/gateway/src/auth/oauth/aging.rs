//! The age of an issuer's keys, from the token that is shown to the fetch, with a clock that the test sets.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use axum::http::{HeaderMap, Uri, header::AUTHORIZATION};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use portcullis_audit::Ledger;
use portcullis_policy::{RoleName, RoleRules, Statutes};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;
use crate::auth::{Doorkeeper, KeyRing, Refused};

/// Seconds since 1970, as the keeper sees it.
static NOW: AtomicU64 = AtomicU64::new(1_800_000_000);
static AWAY: AtomicBool = AtomicBool::new(false);
const AUDIENCE: &str = "https://tools.example/mcp";

fn clock() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW.load(Ordering::Relaxed))
}

/// An issuer on loopback that is away when it is told to be.
async fn issuer(jwk: Value) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let described = json!({ "issuer": url, "jwks_uri": format!("{url}/keys") }).to_string();
    let keys = json!({ "keys": [jwk] }).to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 2048];
            let read = stream.read(&mut head).await.unwrap_or_default();
            let body = if head[..read].starts_with(b"GET /keys") { &keys } else { &described };
            let status = if AWAY.load(Ordering::Relaxed) { "503 Away" } else { "200 OK" };
            let length = body.len();
            let answer = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
            _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    url
}

/// A day without the issuer is survived, and no more; and then its keys have to come again.
#[tokio::test]
async fn keys_that_nobody_confirmed_for_a_day_open_nothing() {
    let made = Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new()).expect("a key");
    let pair = Ed25519KeyPair::from_pkcs8(made.as_ref()).expect("a key");
    let b64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "kid": "1", "x": b64(pair.public_key().as_ref()) });
    let url = issuer(jwk).await;
    let claims = json!({ "iss": url, "aud": AUDIENCE, "sub": "bob", "role": "reader", "exp": 1_900_000_000 });
    let head = json!({ "alg": "EdDSA", "kid": "1" });
    let text = format!("{}.{}", b64(head.to_string().as_bytes()), b64(claims.to_string().as_bytes()));
    let token = format!("{text}.{}", b64(pair.sign(text.as_bytes()).as_ref()));

    let dir = tempfile::tempdir().expect("a directory");
    let ledger = Ledger::open(&dir.path().join("audit.jsonl"), "s".into(), &[7; 32], clock).expect("a ledger");
    let role = RoleName::new("reader").expect("a name");
    let statutes = Statutes::new(BTreeMap::from([(role, RoleRules::default())]), BTreeMap::new()).expect("statutes");
    let settings = OAuth::new(url, AUDIENCE.into(), "role".into(), Vec::new(), None).expect("settings");
    let keeper = Doorkeeper::with_tokens(statutes, KeyRing::default(), Some(settings), Arc::new(ledger), clock);
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, format!("Bearer {token}").parse().expect("a header"));
    let show = async || keeper.admit(&headers, &Uri::from_static("/mcp")).await.map(|pass| pass.principal.to_string());

    assert_eq!(show().await, Ok("token.bob".into()));
    AWAY.store(true, Ordering::Relaxed);
    let day = 24 * 3600;
    NOW.fetch_add(day, Ordering::Relaxed);
    assert_eq!(show().await, Ok("token.bob".into()), "to the last second");
    NOW.fetch_add(1, Ordering::Relaxed);
    assert_eq!(show().await, Err(Refused::Token(TokenRefusal::NoKey)), "a token that was taken before, too");
    AWAY.store(false, Ordering::Relaxed);
    NOW.fetch_add(3600, Ordering::Relaxed);
    assert_eq!(show().await, Ok("token.bob".into()), "and the issuer is asked by whoever comes");
}
