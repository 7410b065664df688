//! E1 to E7, E13, E14, E18, E19: requests that no grant allows reach no resolver and no server.

use portcullis_artifacts as guests;
use serde_json::{Value, json};

use super::{
    DENIED, denied, get, send,
    server::{Answer, Names, Server, ok},
    told,
};
use crate::house::{House, built, patient};

/// Guests with `grants` beside a server that allows all, whose address every name has. `PORT` is the server's.
async fn open(grants: &str) -> (House, Server, Names) {
    let server = Server::start(|_| ok("on")).await;
    let mut names = Names::default();
    for name in
        ["ok.example", "a.ok.example", "a.b.ok.example", "evil.example", "ok.example.evil.com", "xn--bcher-kva.example"]
    {
        names = names.with(name, &["127.0.0.1"]);
    }
    let grants = grants.replace("PORT", &server.port().to_string());
    let web = built("web", guests::WITH_HTTP, patient()).granted(&*grants);
    let hostile = built("hostile", guests::HTTP_HOSTILE, patient()).granted(&*grants);
    let house = House::resolving(2, names.resolve(), vec![web, hostile]).await;
    (house, server, names)
}

/// Each of `requests` is denied, with this reason and target in the ledger, before anything is looked up.
async fn check(grants: &str, requests: &[(&str, &str, &str)]) {
    let (house, server, names) = open(grants).await;
    let port = server.port().to_string();
    let mut expected = Vec::new();
    for (method, url, reason) in requests {
        let url = url.replace("PORT", &port);
        assert_eq!(told(&send(&house, method, &url, &[], None).await), DENIED, "{method} {url}");
        expected.push(String::from(*reason));
        // The ledger has the first 16 of a call; each of these is a call.
    }
    let found: Vec<_> = denied(&house).into_iter().map(|(_, reason)| reason).collect();
    assert_eq!(found, expected);
    assert_eq!(names.asked(), Vec::<String>::new());
    assert_eq!(server.accepted(), 0);
    house.alive().await;
}

const OK: &str = "http = [{ allow = 'GET http://ok.example:PORT/v1/**', private = ['127.0.0.0/8'] }]";
const NONE: &str = "no entry of `http` allows it";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_granted_is_sent_in_the_host_s_own_words() {
    let (house, server, names) = open(OK).await;
    let url = server.url("OK.example", "/v1/%61?q=%2e%2E&r#fragment");
    assert_eq!(get(&house, &url).await, "200");
    let seen = server.seen();
    assert_eq!(seen[0].line(), "GET /v1/a?q=%2e%2E&r HTTP/1.1");
    assert_eq!(seen[0].headers("host"), [format!("ok.example:{}", server.port())]);
    assert_eq!(seen[0].head.lines().count(), 3, "{}", seen[0].head);
    assert_eq!(names.asked(), ["ok.example"]);
    assert_eq!(denied(&house), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn e1_e2_e3_e6_another_host_port_scheme_or_method() {
    check(
        OK,
        &[
            ("GET", "http://evil.example:PORT/v1/a", NONE),
            ("GET", "http://a.ok.example:PORT/v1/a", NONE),
            ("GET", "http://ok.example.evil.com:PORT/v1/a", NONE),
            ("GET", "http://ok.example/v1/a", NONE),
            ("GET", "http://ok.example:1/v1/a", NONE),
            ("GET", "https://ok.example:PORT/v1/a", NONE),
            ("POST", "http://ok.example:PORT/v1/a", NONE),
            ("GET", "http://ok.example:PORT/v2/a", NONE),
            ("CONNECT", "http://ok.example:PORT/v1/a", "the method is none in upper case, or `CONNECT`"),
            ("get", "http://ok.example:PORT/v1/a", "the method is none in upper case, or `CONNECT`"),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn e4_e5_e7_spellings_that_mean_another_host_or_path() {
    let user = "the URL must have no user info, which is what stands before `@`";
    let labels = "the URL must have a host with labels of 1 to 63 letters, digits, `-` and `_`, and no dot at the end";
    let decimal = "the URL must have a host with an IPv4 address as four decimal numbers";
    let mapped = "the URL must have a host with an IPv4 address as such";
    let dots = "the URL must have no segment `.` or `..` in its path, also encoded";
    check(
        OK,
        &[
            ("GET", "http://ok.example@evil.example:PORT/v1/a", user),
            ("GET", "http://ok.example:PORT@evil.example/v1/a", user),
            ("GET", "http://ok.example.:PORT/v1/a", labels),
            ("GET", "http://ok.example:PORT/v1/../v2", dots),
            ("GET", "http://ok.example:PORT/v1/%2e%2e/v2", dots),
            ("GET", "http://ok.example:PORT/v1/..%2fv2", "the URL must have no `%2F` in its path"),
            ("GET", "http://ok.example:PORT//v1/a", "the URL must have no empty segment `//` in its path"),
            ("GET", "http://2130706433:PORT/v1/a", decimal),
            ("GET", "http://0177.0.0.1:PORT/v1/a", decimal),
            ("GET", "http://0x7f.0.0.1:PORT/v1/a", decimal),
            ("GET", "http://127.1:PORT/v1/a", decimal),
            ("GET", "http://[::ffff:7f00:1]:PORT/v1/a", mapped),
            ("GET", "http://127.0.0.1:PORT/v1/a", NONE),
            ("GET", "http://[::1]:PORT/v1/a", NONE),
            ("GET", "http://0.0.0.0:PORT/v1/a", NONE),
            ("GET", "http://[::]:PORT/v1/a", NONE),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn e18_a_wildcard_is_about_labels() {
    let one = "http = [{ allow = 'GET http://*.ok.example:PORT/**', private = ['127.0.0.0/8'] }]";
    check(
        one,
        &[
            ("GET", "http://ok.example:PORT/", NONE),
            ("GET", "http://a.b.ok.example:PORT/", NONE),
            ("GET", "http://evil.example:PORT/", NONE),
        ],
    )
    .await;
    let (house, server, _) = open(one).await;
    assert_eq!(get(&house, &server.url("a.ok.example", "/")).await, "200");
    let (house, server, _) = open(&one.replace("*.", "**.")).await;
    assert_eq!(get(&house, &server.url("a.b.ok.example", "/")).await, "200");
    assert_eq!(get(&house, &server.url("ok.example", "/")).await, DENIED);
}

#[tokio::test(flavor = "multi_thread")]
async fn e19_nothing_granted_is_nothing() {
    for grants in ["", "http = []", "deny = ['GET http://a.example/']", "env = { A = 'b' }"] {
        check(grants, &[("GET", "http://ok.example:PORT/v1/a", NONE), ("GET", "http://127.0.0.1:PORT/", NONE)]).await;
    }
    let denying = format!("{OK}\ndeny = ['* http://ok.example:PORT/v1/secret/**']");
    let (house, server, _) = open(&denying).await;
    assert_eq!(get(&house, &server.url("ok.example", "/v1/secret/x")).await, DENIED);
    let reason = format!("an entry of `deny` matches it: `* http://ok.example:{}/v1/secret/**`", server.port());
    assert_eq!(denied(&house), [(format!("GET {}", server.url("ok.example", "/v1/secret/x")), reason)]);
}

/// The host follows no redirect; the guest that does asks like for any other request.
#[tokio::test(flavor = "multi_thread")]
async fn e13_a_redirect_is_the_guest_s_to_follow() {
    let server = Server::start(|seen| {
        let path = seen.line().split(' ').nth(1).unwrap_or_default();
        let to = path.strip_prefix("/to?").unwrap_or_default();
        Answer::Bytes(format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n").into_bytes())
    })
    .await;
    let names = Names::default().with("ok.example", &["127.0.0.1"]).with("in.example", &["10.0.0.1"]);
    let port = server.port();
    let grants = format!(
        "http = [{{ allow = 'GET http://ok.example:{port}/**', private = ['127.0.0.0/8'] }}, 'GET http://in.example/**']"
    );
    let web = built("web", guests::WITH_HTTP, patient()).granted(grants);
    let house = House::resolving(2, names.resolve(), vec![web]).await;
    for (to, expected) in [
        ("http://127.0.0.1/", DENIED),
        ("http://169.254.169.254/latest/meta-data/", DENIED),
        ("http://evil.example/", DENIED),
        ("http://in.example/", "failed: ErrorCode::DestinationIpProhibited"),
    ] {
        let url = server.url("ok.example", &format!("/to?{to}"));
        assert_eq!(get(&house, &url).await, "302");
        let followed = house.answer("web_follow", json!({ "url": url })).await;
        assert_eq!(told(&followed), expected, "{to}");
    }
    assert_eq!(server.seen().len(), 8, "each was answered once by itself and once before it was followed");
}

#[tokio::test(flavor = "multi_thread")]
async fn e14_the_target_is_origin_form_and_host_is_the_target_s() {
    let (house, server, _) = open(OK).await;
    let raw = async |authority: &str, path: &str| {
        told(&house.answer("hostile_raw", json!({ "authority": authority, "path": path })).await)
    };
    let here = format!("ok.example:{}", server.port());
    for path in
        ["http://evil.example/v1/a", "evil.example/", "*", "/v1/a b", "/v1/a\r\nHost: evil.example", "/v1/\u{0}"]
    {
        assert_eq!(raw(&here, path).await, "bad path", "{path:?}");
    }
    for authority in ["ok.example/v1/a?", "ok.example#", "ok example", "ok.example\r\nX: 1"] {
        assert_eq!(raw(authority, "/v1/a").await, "bad authority", "{authority:?}");
    }
    assert_eq!(server.accepted(), 0);
    assert_eq!(raw(&here, "/v1/a").await, "200");
    for header in ["host: evil.example", "Host: ok.example", ":authority: evil.example"] {
        let result = send(&house, "GET", &server.url("ok.example", "/v1/a"), &[header], None).await;
        assert!(told(&result).starts_with("header: HeaderError::"), "{header}: {result}");
    }
    let seen = server.seen();
    assert_eq!((seen.len(), seen[0].line()), (1, "GET /v1/a HTTP/1.1"));
    assert_eq!(seen[0].headers("host"), [here]);
}

/// What an operator reads of a refusal: no query, nothing raw, no password.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_told_without_query_or_password() {
    let (house, _server, _) = open(OK).await;
    for url in ["http://evil.example/a?key=hunter2", "http://me:hunter2@evil.example/a", "http://evil.example/%1b[31m"]
    {
        assert_eq!(get(&house, url).await, DENIED);
    }
    let told: Vec<_> = denied(&house).into_iter().map(|(target, _)| target).collect();
    assert_eq!(told, ["GET http://evil.example/a", "GET http://…@evil.example/a", "GET http://evil.example/%1b[31m"]);
    assert!(!Value::from(house.audit()).to_string().contains("hunter2"));
    // A call asks as often as it likes; the ledger has the first.
    let result = house.answer("hostile_flood", json!({ "authority": "evil.example", "path": "/", "count": 200 })).await;
    assert_eq!(result.as_array().map(Vec::len), Some(200));
    assert_eq!(denied(&house).len(), 3 + 16);
}
