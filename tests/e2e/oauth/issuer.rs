//! A small issuer of the tests' own on loopback: it publishes keys, signs what it is told to, and approves at once.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
        RsaPublicKeyComponents,
    },
};
use serde_json::{Value, json};

/// Made for these tests, and used for nothing else: ring makes no RSA keys.
const RSA: &[u8] = include_bytes!("rsa.der");

pub(crate) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs()
}

enum Pair {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

/// A key that signs.
pub(crate) struct Key {
    pub(crate) kid: String,
    pair: Pair,
}

impl Key {
    pub(crate) fn new(kid: &str, algorithm: &str) -> Self {
        let random = SystemRandom::new();
        let pair = match algorithm {
            "RS256" => Pair::Rsa(RsaKeyPair::from_pkcs8(RSA).expect("a key")),
            "ES256" => {
                let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
                let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
                Pair::Ec(EcdsaKeyPair::from_pkcs8(algorithm, made.as_ref(), &random).expect("a key"))
            }
            _ => {
                let made = Ed25519KeyPair::generate_pkcs8(&random).expect("a key");
                Pair::Ed(Ed25519KeyPair::from_pkcs8(made.as_ref()).expect("a key"))
            }
        };
        Self { kid: kid.to_owned(), pair }
    }

    pub(crate) fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::Ec(_) => "ES256",
            Pair::Ed(_) => "EdDSA",
        }
    }

    /// The public half.
    pub(crate) fn jwk(&self) -> Value {
        match &self.pair {
            Pair::Rsa(pair) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({ "kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.kid, "n": b64(public.n), "e": b64(public.e) })
            }
            Pair::Ec(pair) => {
                let point = pair.public_key().as_ref();
                json!({ "kty": "EC", "crv": "P-256", "kid": self.kid, "x": b64(&point[1..33]), "y": b64(&point[33..]) })
            }
            Pair::Ed(pair) => json!({ "kty": "OKP", "crv": "Ed25519", "kid": self.kid, "x": b64(pair.public_key()) }),
        }
    }

    /// A token with this head and these claims.
    pub(crate) fn sign_with(&self, head: &Value, claims: &Value) -> String {
        let text = format!("{}.{}", b64(head.to_string()), b64(claims.to_string()));
        let random = SystemRandom::new();
        let signature = match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, text.as_bytes(), &mut signature).expect("signed");
                signature
            }
            Pair::Ec(pair) => pair.sign(&random, text.as_bytes()).expect("signed").as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(text.as_bytes()).as_ref().to_vec(),
        };
        format!("{text}.{}", b64(signature))
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        self.sign_with(&json!({ "alg": self.algorithm(), "typ": "at+jwt", "kid": self.kid }), claims)
    }
}

/// How the issuer answers where its keys are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    Well,
    Away,
    Redirecting,
    Silent,
    Endless,
    AsAnother,
}

struct State {
    keys: Vec<Arc<Key>>,
    manner: Manner,
    asked: usize,
    audience: String,
    /// By code: the digest of what the client must show for it.
    codes: HashMap<String, String>,
}

/// The issuer. Ends with the test process.
pub(crate) struct Issuer {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
}

impl Issuer {
    pub(crate) fn start(audience: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let keys = vec![Arc::new(Key::new("first", "ES256"))];
        let state = State { keys, manner: Manner::Well, asked: 0, audience: audience.into(), codes: HashMap::new() };
        let state = Arc::new(Mutex::new(state));
        let (at, shared) = (url.clone(), Arc::clone(&state));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (at, shared) = (at.clone(), Arc::clone(&shared));
                std::thread::spawn(move || serve(&stream, &at, &shared));
            }
        });
        Self { url, state }
    }

    pub(crate) fn publish(&self, keys: &[&Arc<Key>]) {
        self.state.lock().expect("a lock").keys = keys.iter().map(|key| Arc::clone(key)).collect();
    }

    pub(crate) fn key(&self) -> Arc<Key> {
        Arc::clone(&self.state.lock().expect("a lock").keys[0])
    }

    pub(crate) fn behave(&self, manner: Manner) {
        self.state.lock().expect("a lock").manner = manner;
    }

    /// How often its keys were asked for.
    pub(crate) fn asked(&self) -> usize {
        self.state.lock().expect("a lock").asked
    }

    /// Claims that are as they must be.
    pub(crate) fn claims(&self, sub: &str, role: &str) -> Value {
        let audience = self.state.lock().expect("a lock").audience.clone();
        json!({ "iss": self.url, "aud": audience, "sub": sub, "role": role, "iat": now(), "exp": now() + 3600 })
    }

    pub(crate) fn token(&self, sub: &str, role: &str) -> String {
        self.key().sign(&self.claims(sub, role))
    }
}

fn serve(stream: &TcpStream, url: &str, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    if reader.read_line(&mut line).is_err() {
        return;
    }
    let target = line.split(' ').nth(1).unwrap_or("/").to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header).is_err() || header.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let body = String::from_utf8_lossy(&body).into_owned();
    let manner = state.lock().expect("a lock").manner;
    let mut stream = stream;
    let send = |mut stream: &TcpStream, status: &str, more: &str, body: &str| {
        let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\n{more}");
        // The other side may have had enough.
        _ = write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len());
    };
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let field = |text: &str, name: &str| {
        let pair = text.split('&').find_map(|pair| pair.split_once('=').filter(|(found, _)| *found == name));
        pair.map(|(_, value)| unescaped(value)).unwrap_or_default()
    };
    match path {
        "/keys" => {
            state.lock().expect("a lock").asked += 1;
            match manner {
                Manner::Away => send(stream, "503 Away", "", ""),
                Manner::Redirecting => send(stream, "302 Found", &format!("Location: {url}/real-keys\r\n"), ""),
                Manner::Silent => std::thread::sleep(Duration::from_secs(600)),
                Manner::Endless => {
                    _ = write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{{\"keys\":[");
                    while stream.write_all(&[b' '; 65536]).is_ok() {}
                }
                Manner::Well | Manner::AsAnother => send(stream, "200 OK", "", &keys(state)),
            }
        }
        "/real-keys" => send(stream, "200 OK", "", &keys(state)),
        "/.well-known/oauth-authorization-server" => {
            let issuer = if manner == Manner::AsAnother { "https://other.example" } else { url };
            let description = json!({
                "issuer": issuer, "jwks_uri": format!("{url}/keys"),
                "authorization_endpoint": format!("{url}/authorize"), "token_endpoint": format!("{url}/token"),
                "registration_endpoint": format!("{url}/register"), "response_types_supported": ["code"],
                "grant_types_supported": ["authorization_code", "client_credentials"],
                "code_challenge_methods_supported": ["S256"],
                "token_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post"],
            });
            send(stream, "200 OK", "", &description.to_string());
        }
        "/register" => {
            let mut client: Value = serde_json::from_str(&body).expect("a client");
            client["client_id"] = "client".into();
            send(stream, "201 Created", "", &client.to_string());
        }
        "/authorize" => {
            let mut state = state.lock().expect("a lock");
            let code = format!("code-{}", state.codes.len());
            state.codes.insert(code.clone(), field(query, "code_challenge"));
            let to = format!("{}?code={code}&state={}", field(query, "redirect_uri"), field(query, "state"));
            send(stream, "302 Found", &format!("Location: {to}\r\n"), "");
        }
        "/token" => {
            let granted = match field(&body, "grant_type").as_str() {
                "client_credentials" => true,
                _ => {
                    let shown = ring::digest::digest(&ring::digest::SHA256, field(&body, "code_verifier").as_bytes());
                    let code = state.lock().expect("a lock").codes.remove(&field(&body, "code"));
                    code.is_some_and(|challenge| challenge == b64(shown))
                }
            };
            // RFC 8707: the client says for whom the token is.
            if !granted || field(&body, "resource") != state.lock().expect("a lock").audience {
                return send(stream, "400 Bad Request", "", "{\"error\":\"invalid_grant\"}");
            }
            let issuer = Issuer { url: url.to_owned(), state: Arc::new(Mutex::new(copy(state))) };
            let token = issuer.token("client|1", "worker");
            let answer = json!({ "access_token": token, "token_type": "Bearer", "expires_in": 3600 });
            send(stream, "200 OK", "", &answer.to_string());
        }
        _ => send(stream, "404 Not Found", "", ""),
    }
}

fn copy(state: &Mutex<State>) -> State {
    let state = state.lock().expect("a lock");
    let (keys, audience) = (state.keys.clone(), state.audience.clone());
    State { keys, manner: state.manner, asked: 0, audience, codes: HashMap::new() }
}

fn keys(state: &Mutex<State>) -> String {
    let keys: Vec<_> = state.lock().expect("a lock").keys.iter().map(|key| key.jwk()).collect();
    json!({ "keys": keys }).to_string()
}

fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next(), rest.next()].map(|digit| digit.expect("a digit"));
                u8::from_str_radix(std::str::from_utf8(&digits).expect("digits"), 16).expect("a byte")
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).expect("text")
}

/// A proxy in front of a host whose port nobody knows before it runs.
pub(crate) struct Proxy {
    pub(crate) address: String,
    to: Arc<Mutex<String>>,
}

impl Proxy {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let to = Arc::new(Mutex::new(String::new()));
        let target = Arc::clone(&to);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let host = TcpStream::connect(&*target.lock().expect("a lock")).expect("the host");
                for (mut from, mut to) in [(&client, &host), (&host, &client)]
                    .map(|(from, to)| (from.try_clone().expect("a stream"), to.try_clone().expect("a stream")))
                {
                    std::thread::spawn(move || {
                        _ = std::io::copy(&mut from, &mut to);
                        _ = to.shutdown(std::net::Shutdown::Write);
                    });
                }
            }
        });
        Self { address, to }
    }

    pub(crate) fn lead_to(&self, address: &str) {
        address.clone_into(&mut self.to.lock().expect("a lock"));
    }
}
