//! E15, S21: what a guest may put into a request, and what of it travels.

use portcullis_artifacts as guests;
use portcullis_audit::Outcome;
use serde_json::json;

use super::{
    send,
    server::{Names, Server, ok},
    told,
};
use crate::house::{House, built, patient};

async fn open() -> (House, Server) {
    let server = Server::start(|_| ok("on")).await;
    let grants =
        format!("http = [{{ allow = '* http://ok.example:{}/**', private = ['127.0.0.0/8'] }}]", server.port());
    let guest = |name, path| built(name, path, patient()).granted(&*grants);
    let guests = vec![guest("web", guests::WITH_HTTP), guest("hostile", guests::HTTP_HOSTILE)];
    (House::resolving(2, Names::default().with("ok.example", &["127.0.0.1"]).resolve(), guests).await, server)
}

#[tokio::test(flavor = "multi_thread")]
async fn e15_framing_and_connections_are_the_host_s() {
    let (house, server) = open().await;
    let url = server.url("ok.example", "/");
    for (header, error) in [
        ("connection: close", "header: HeaderError::Forbidden"),
        ("expect: 100-continue", "header: HeaderError::Forbidden"),
        ("host: a.example", "header: HeaderError::Forbidden"),
        ("http2-settings: x", "header: HeaderError::Forbidden"),
        ("Keep-Alive: 5", "header: HeaderError::Forbidden"),
        ("proxy-authorization: x", "header: HeaderError::Forbidden"),
        ("Proxy-Connection: x", "header: HeaderError::Forbidden"),
        ("proxy-anything: x", "header: HeaderError::Forbidden"),
        ("te: trailers", "header: HeaderError::Forbidden"),
        ("trailer: x-a", "header: HeaderError::Forbidden"),
        ("Transfer-Encoding: chunked", "header: HeaderError::Forbidden"),
        ("upgrade: websocket", "header: HeaderError::Forbidden"),
        ("x-a: b\r\nhost: a.example", "header: HeaderError::InvalidSyntax"),
        ("x-a: b\nc", "header: HeaderError::InvalidSyntax"),
        ("x-a: b\0", "header: HeaderError::InvalidSyntax"),
        ("x a: b", "header: HeaderError::InvalidSyntax"),
        ("x-a\r\n: b", "header: HeaderError::InvalidSyntax"),
    ] {
        let result = send(&house, "POST", &url, &[header], Some("body")).await;
        assert_eq!(told(&result), error, "{header:?}");
    }
    let two = send(&house, "POST", &url, &["content-length: 4", "content-length: 5"], Some("body")).await;
    assert_eq!(told(&two), "header: HeaderError::InvalidSyntax");
    for length in ["+4", "4, 4", "-1", "0x4", "18446744073709551616"] {
        let result = send(&house, "POST", &url, &[&format!("content-length: {length}")], Some("body")).await;
        assert!(["header: HeaderError::InvalidSyntax", "no body"].contains(&&*told(&result)), "{length}: {result}");
    }
    assert_eq!(server.accepted(), 0, "nothing of these was sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn e15_what_is_sent_is_framed_once() {
    let (house, server) = open().await;
    let url = server.url("ok.example", "/");
    let body = "x".repeat(10_000);
    let whole = send(&house, "POST", &url, &["content-length: 10000", "x-a: 1"], Some(&body)).await;
    assert_eq!(whole["body"], "on", "{whole}");
    let piecemeal = send(&house, "PUT", &url, &[], Some("body")).await;
    assert_eq!(piecemeal["body"], "on", "{piecemeal}");
    let nothing = send(&house, "DELETE", &url, &["content-length: 0"], None).await;
    assert_eq!(nothing["body"], "on", "{nothing}");
    let seen = server.seen();
    let none = Vec::<&str>::new();
    assert_eq!(
        (seen[0].headers("content-length"), seen[0].headers("transfer-encoding")),
        (vec!["10000"], none.clone())
    );
    assert_eq!(seen[0].body, body.as_bytes());
    assert_eq!((seen[1].headers("content-length"), seen[1].headers("transfer-encoding")), (none, vec!["chunked"]));
    assert_eq!(seen[1].body, b"4\r\nbody\r\n0\r\n\r\n");
    assert!(seen[2].headers("transfer-encoding").is_empty() && seen[2].body.is_empty());
}

/// A body that is longer or shorter than it said never becomes a whole request, and nothing of it a second one.
#[tokio::test(flavor = "multi_thread")]
async fn e15_a_wrong_length_and_trailers() {
    let (house, server) = open().await;
    let here = format!("ok.example:{}", server.port());
    let upload = async |announced: Option<&str>, pieces: u32, trailer: Option<&str>| {
        let arguments =
            json!({ "authority": here, "pieces": pieces, "size": 5, "announced": announced, "trailer": trailer });
        told(&house.answer("hostile_upload", arguments).await)
    };
    for (announced, pieces) in [("4", 1), ("6", 1), ("11", 2), ("5", 0)] {
        let error = upload(Some(announced), pieces, None).await;
        assert!(error.contains("HttpRequestBodySize") || error.contains("LastOperationFailed"), "{announced}: {error}");
    }
    for seen in server.seen() {
        assert!(seen.head.ends_with("(cut off)"), "{seen:?}");
    }
    let before = server.seen().len();
    for trailer in ["host", "transfer-encoding", "te", "proxy-connection"] {
        assert_eq!(upload(None, 1, Some(trailer)).await, "trailer: HeaderError::Forbidden");
    }
    for trailer in ["x-trailer", "content-length", "authorization"] {
        assert_eq!(upload(None, 1, Some(trailer)).await, "200", "{trailer}");
    }
    let sent: Vec<_> =
        server.seen().split_off(before).into_iter().filter(|seen| !seen.head.ends_with("(cut off)")).collect();
    assert_eq!(sent.len(), 3);
    for seen in sent {
        assert_eq!(seen.body, b"5\r\nxxxxx\r\n0\r\n\r\n", "no trailer is sent");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s21_fields_are_bounded_in_count_and_size() {
    let (house, server) = open().await;
    let trap = "total size of fields exceeds limit";
    house.check("hostile_fields", json!({ "count": 100_000 }), Outcome::Trapped, trap).await;
    let arguments = json!({ "method": "GET", "url": server.url("ok.example", "/"), "headers": [format!("x: {}", "x".repeat(17 << 10))] });
    house.check("web_send", arguments, Outcome::Trapped, trap).await;
    let headers: Vec<_> = (0..129).map(|index| format!("x-{index}: ")).collect();
    let headers: Vec<_> = headers.iter().map(String::as_str).collect();
    let url = server.url("ok.example", "/");
    let many = send(&house, "GET", &url, &headers, None).await;
    assert_eq!(told(&many), "failed: ErrorCode::HttpRequestHeaderSectionSize(Some(128))");
    assert_eq!(send(&house, "GET", &url, &headers[..128], None).await["status"], 200);
    // Maps of fields that are no request's: as many as the fields of a call.
    let maps = house.answer("hostile_maps", json!({ "count": 9_000 })).await;
    assert_eq!(told(&maps), "4096: HeaderError::Forbidden");
}
