//! What HTTP wants of a route: methods, names, origins, sizes; and that it is a door like the others.

use serde_json::json;

use super::{ask, ask_with, problem, said, usual};
use crate::{host::eventually, raw};

#[test]
fn methods_are_those_that_there_are() {
    let folder = usual();
    let host = folder.serve();
    let refused = |method: &str, target: &str, allow: &str| {
        let answer = ask(&host, method, target, "");
        problem(&answer, 405, "method-not-allowed");
        assert_eq!(answer.header("allow"), Some(allow), "{method} {target}");
    };
    refused("DELETE", "/echo/hi", "GET, HEAD, OPTIONS");
    refused("GET", "/echo", "POST, OPTIONS");
    refused("TRACE", "/echo", "POST, OPTIONS");
    refused("get", "/echo/hi", "GET, HEAD, OPTIONS");
    refused("NONSENSE", "/echo/hi", "GET, HEAD, OPTIONS");
    refused("POST", "/openapi.json", "GET, HEAD, OPTIONS");
    let options = ask(&host, "OPTIONS", "/echo/hi", "");
    assert_eq!((options.status, options.header("allow"), &*options.body), (204, Some("GET, HEAD, OPTIONS"), ""));
    assert!(options.header("access-control-allow-origin").is_none());
    // The answer to GET, without its body.
    let (head, get) = (ask(&host, "HEAD", "/echo/hi", ""), ask(&host, "GET", "/echo/hi", ""));
    assert_eq!((head.status, &*head.body), (200, ""));
    assert_eq!(head.header("content-length"), get.header("content-length"));
    assert_eq!(ask(&host, "HEAD", "/echo", "").status, 405);
    let head = ask(&host, "HEAD", "/openapi.json", "");
    assert_eq!((head.status, &*head.body), (200, ""));
    let calls = folder.audit().iter().filter(|line| line["event"] == "call.intent").count();
    assert_eq!(calls, 2, "nothing else was a call");
    for target in ["/echo/hi/", "/Echo/hi", "/%65cho/hi", "//echo/hi", "/echo/", "/echo//", "/mcp/echo", "/"] {
        problem(&ask(&host, "GET", target, ""), 404, "not-found");
    }
    // The host's own are what they were.
    assert_eq!(ask(&host, "GET", "/healthz", "").status, 200);
    assert_eq!(raw::call(&host.address, "echo_echo", json!({ "text": "on" }))["result"]["isError"], false);
}

#[test]
fn hosts_and_origins_are_checked() {
    let folder = usual();
    let host = folder.serve();
    let status =
        |method: &str, target: &str, headers: &[(&str, &str)]| ask_with(&host, method, target, headers, b"").status;
    for target in ["/echo/hi", "/openapi.json", "/nothing"] {
        for header in [
            ("Origin", "http://evil.example"),
            ("Origin", "null"),
            ("Origin", "http://localhost.evil.example:80"),
            ("Host", "evil.example"),
            // What a browser sends for an image of another page.
            ("Sec-Fetch-Site", "cross-site"),
            ("Sec-Fetch-Site", "same-site"),
        ] {
            let answer = ask_with(&host, "GET", target, &[header], b"");
            problem(&answer, 403, "forbidden");
        }
    }
    assert_eq!(status("GET", "/echo/hi", &[("Origin", "http://localhost:3000")]), 200);
    assert_eq!(status("GET", "/echo/hi", &[("Sec-Fetch-Site", "none")]), 200);
    // What a form of another page sends.
    let form = [("Origin", "http://evil.example"), ("Content-Type", "application/x-www-form-urlencoded")];
    assert_eq!(ask_with(&host, "POST", "/echo", &form, b"text=x").status, 403);
    assert_eq!(folder.audit().iter().filter(|line| line["event"] == "call.intent").count(), 2);
}

#[test]
fn bodies_are_bounded_json() {
    let folder = usual();
    let host = folder.serve();
    let json = ("Content-Type", "application/json");
    for headers in [
        &[][..],
        &[("Content-Type", "text/plain")],
        &[("Content-Type", "application/x-www-form-urlencoded")],
        &[json, ("Content-Encoding", "gzip")],
    ] {
        problem(&ask_with(&host, "POST", "/echo", headers, br#"{"text":"a"}"#), 415, "unsupported-media-type");
    }
    let utf8 = ("Content-Type", "application/json; charset=utf-8");
    assert_eq!(ask_with(&host, "POST", "/echo", &[utf8], br#"{"text":"a"}"#).status, 200);
    let long = format!("{{\"text\":\"{}\"}}", "x".repeat(4 << 20));
    problem(&ask(&host, "POST", "/echo", &long), 413, "too-large");
    // Without a length, and never so long.
    let mut chunked = b"40\r\n".to_vec();
    chunked.extend([b'x'; 0x40]);
    chunked.extend(b"\r\n");
    let endless =
        raw::open(&host.address, "POST", "/echo", &[json, ("Transfer-Encoding", "chunked")], &chunked.repeat(70_000));
    drop(endless);
    assert_eq!(ask(&host, "POST", "/echo", &"[".repeat(100_000)).status, 400);
    let long_path = ask(&host, "GET", &format!("/echo/{}", "x".repeat(60_000)), "");
    assert!([200, 414, 431].contains(&long_path.status), "{}", long_path.status);
    assert!([404, 414, 431].contains(&ask(&host, "GET", &"/a".repeat(30_000), "").status));
    assert_eq!(said(&ask(&host, "GET", "/echo/on", "")), json!({ "result": "on" }));
}

#[test]
fn a_client_that_goes_away_takes_its_guest_along() {
    let folder = usual();
    let host = folder.serve();
    let clients: Vec<_> = (0..20)
        .map(|_| {
            raw::open(
                &host.address,
                "POST",
                "/run/it/sleep",
                &[("Content-Type", "application/json")],
                br#"{"ms":600000}"#,
            )
        })
        .collect();
    let count = |member: &str, value: &str| folder.audit().iter().filter(|line| line[member] == value).count();
    eventually(|| count("tool", "outcomes_sleep") == 20);
    drop(clients);
    eventually(|| count("outcome", "cancelled") == 20);
    // More than the plugin has slots: they came back.
    assert_eq!(ask(&host, "GET", "/fail/x", "").status, 422);
}
