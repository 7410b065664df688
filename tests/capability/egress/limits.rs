//! E16, S16, S18, S19, S22: bodies without end, servers without haste, and requests without number.

use std::time::{Duration, Instant};

use portcullis_artifacts as guests;
use portcullis_audit::Outcome;
use portcullis_policy::Limits;
use serde_json::{Value, json};

use super::{
    answer, get,
    server::{Answer, Names, Server, ok},
    told,
};
use crate::house::{House, built, deadline, patient};

const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

/// What each path is answered with.
async fn server() -> Server {
    Server::start(|seen| {
        let piece = || [b"10000\r\n".to_vec(), vec![b'x'; 1 << 16], b"\r\n".to_vec()].concat();
        match seen.line().split(' ').nth(1).unwrap_or_default() {
            "/endless" => Answer::Endless(CHUNKED.to_vec(), piece()),
            "/huge" => {
                Answer::Endless(b"HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\n".to_vec(), vec![0; 1 << 16])
            }
            // Nobody unpacks it: a bomb is as many bytes as it is.
            "/bomb" => Answer::Bytes(
                [
                    b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 1000\r\n\r\n".to_vec(),
                    vec![0x1f; 1000],
                ]
                .concat(),
            ),
            "/half" => Answer::Bytes(
                [b"HTTP/1.1 200 OK\r\ncontent-length: 33554432\r\n\r\n".to_vec(), vec![b'x'; 32 << 20]].concat(),
            ),
            "/headers" => Answer::Endless(
                b"HTTP/1.1 200 OK\r\n".to_vec(),
                [b"x: ".to_vec(), vec![b'y'; 1000], b"\r\n".to_vec()].concat(),
            ),
            "/fields" => Answer::Endless(b"HTTP/1.1 200 OK\r\n".to_vec(), b"a: b\r\n".to_vec()),
            "/one-header" => Answer::Endless(b"HTTP/1.1 200 OK\r\nx: ".to_vec(), vec![b'y'; 1000]),
            "/continue" => Answer::Endless(Vec::new(), b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()),
            "/trailers" => Answer::Endless([CHUNKED, b"0\r\n"].concat(), b"x: y\r\n".to_vec()),
            "/extension" => Answer::Endless([CHUNKED, b"1;"].concat(), vec![b'y'; 1000]),
            "/upgrade" => {
                Answer::Stall(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n".to_vec())
            }
            "/garbage" => Answer::Stall(b"SSH-2.0-x\r\n".to_vec()),
            "/two-lengths" => {
                Answer::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\non!".to_vec())
            }
            "/cut" => Answer::Close(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\non".to_vec()),
            "/closed" => Answer::Close(Vec::new()),
            "/silent" => Answer::Stall(Vec::new()),
            "/stall" => Answer::Stall(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\non".to_vec()),
            "/empty" => ok(""),
            _ => ok("on"),
        }
    })
    .await
}

async fn open(limits: Limits) -> (House, Server) {
    let server = server().await;
    let grants =
        format!("http = [{{ allow = '* http://ok.example:{}/**', private = ['127.0.0.0/8'] }}]", server.port());
    let guest = |name, path| built(name, path, limits.clone()).granted(&*grants);
    let guests = vec![guest("web", guests::WITH_HTTP), guest("hostile", guests::HTTP_HOSTILE)];
    (House::resolving(2, Names::default().with("ok.example", &["127.0.0.1"]).resolve(), guests).await, server)
}

#[tokio::test(flavor = "multi_thread")]
async fn e16_responses_without_end_end() {
    let (house, server) = open(Limits { fuel: None, ..patient() }).await;
    let size = "broke off: HTTP response body size exceeds limit: 67108864 bytes";
    let head = "failed: ErrorCode::HttpResponseHeaderSectionSize(Some(65536))";
    for (path, expected) in [
        ("/endless", size),
        ("/huge", size),
        ("/bomb", "1000"),
        ("/half", "33554432"),
        ("/headers", head),
        ("/one-header", head),
        ("/fields", head),
        ("/trailers", "broke off: "),
        ("/extension", "broke off: "),
        ("/upgrade", "failed: ErrorCode::HttpProtocolError"),
        ("/garbage", "failed: ErrorCode::HttpProtocolError"),
        ("/two-lengths", "failed: ErrorCode::HttpProtocolError"),
        ("/cut", "broke off: incomplete HTTP response"),
        ("/closed", "failed: ErrorCode::HttpResponseIncomplete"),
    ] {
        let found = told(&house.answer("web_count", json!({ "url": server.url("ok.example", path) })).await);
        assert!(found.contains(expected), "{path}: no {expected:?} in {found:?}");
        assert!(!found.contains("127.0.0.1") && !found.contains("hyper"), "{path}: {found}");
        house.alive().await;
    }
    let begun = server.open();
    assert_eq!(get(&house, &server.url("ok.example", "/")).await, "200");
    assert!(server.open() <= begun + 1, "connections whose responses broke off are closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn s16_request_bodies_end_at_their_size_and_their_count() {
    let (house, server) = open(Limits { fuel: None, ..patient() }).await;
    let here = format!("ok.example:{}", server.port());
    let upload = async |pieces: u64, size: u32, announced: Option<&str>| {
        let arguments = json!({ "authority": here, "pieces": pieces, "size": size, "announced": announced });
        told(&house.answer("hostile_upload", arguments).await)
    };
    let large = "HttpRequestBodySize(Some(16777216))";
    assert_eq!(upload(256, 1 << 16, None).await, "200");
    assert!(upload(257, 1 << 16, None).await.contains(large));
    assert!(upload(1 << 20, 1 << 16, None).await.contains(large));
    assert!(upload(1, 1, Some("16777217")).await.contains(large));
    assert_eq!(upload(100_000, 0, None).await, "200");
    let pieces = upload(100_000_000, 0, None).await;
    assert!(pieces.contains("the request body has more than 131072 pieces"), "{pieces}");
    let bodies: Vec<_> = server.seen().into_iter().filter(|seen| !seen.head.ends_with("(cut off)")).collect();
    assert_eq!(bodies.len(), 2, "what is too large is cut off");
    assert_eq!(bodies[1].body, b"0\r\n\r\n", "empty pieces are nothing");
}

/// What waits to be sent is memory of the host's: a few pieces a body, and few bodies.
#[tokio::test(flavor = "multi_thread")]
async fn s16_bodies_that_are_never_sent_hold_little() {
    let (house, _server) = open(patient()).await;
    let held = house.answer("hostile_bodies", json!({ "count": 1_000 })).await;
    assert_eq!(held, 64 * 2 * (64 << 10) + 936 * 2, "bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn s18_s19_a_slow_server_costs_a_call_its_time_and_nothing_else() {
    let limit = Duration::from_millis(300);
    let (house, server) = open(deadline(limit)).await;
    for path in ["/silent", "/stall", "/continue"] {
        let arguments = json!({ "url": server.url("ok.example", path) });
        house.check("web_count", arguments, Outcome::Deadline, "did not finish within 300ms (limit `deadline`)").await;
    }
    let (house, server) = open(patient()).await;
    let hurried = async |path: &str, options: Value| {
        let arguments =
            json!({ "method": "GET", "url": server.url("ok.example", path), "headers": [], "options": options });
        told(&answer(&house, "web_send", arguments).await)
    };
    let began = Instant::now();
    let timeout = "failed: ErrorCode::HttpResponseTimeout";
    assert_eq!(hurried("/silent", json!({ "first_byte": 1_000_000 })).await, timeout);
    assert_eq!(hurried("/continue", json!({ "first_byte": 1_000_000 })).await, timeout);
    assert_eq!(hurried("/stall", json!({ "between_bytes": 1_000_000 })).await, "broke off: connection read timeout");
    assert!(began.elapsed() < Duration::from_secs(15), "the guest's own times are shorter than the host's");
}

/// GHSA-w4qr-3hjj-6m5x: a time of zero, and one without end, are times.
#[tokio::test(flavor = "multi_thread")]
async fn s22_zero_and_maximal_times_do_no_harm() {
    let (house, server) = open(patient()).await;
    for nanoseconds in [0, 1, i64::MAX as u64, u64::MAX] {
        for key in ["connect", "first_byte", "between_bytes"] {
            let options = json!({ key: nanoseconds });
            let arguments =
                json!({ "method": "GET", "url": server.url("ok.example", "/"), "headers": [], "options": options });
            let found = told(&answer(&house, "web_send", arguments).await);
            let late = ["DnsTimeout", "ConnectionTimeout", "HttpResponseTimeout", "connection read timeout"];
            let fine =
                found.contains("\"status\":200") || (nanoseconds < 2 && late.iter().any(|error| found.contains(error)));
            assert!(fine, "{key} = {nanoseconds}: {found}");
            house.alive().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_has_so_many_requests_and_so_many_at_one_time() {
    let (house, server) = open(patient()).await;
    let flood = async |path: &str, count: u32, patience: Option<u64>| {
        let authority = format!("ok.example:{}", server.port());
        let arguments = json!({ "authority": authority, "path": path, "count": count, "patience": patience });
        let told: Vec<String> =
            serde_json::from_value(house.answer("hostile_flood", arguments).await).expect("outcomes");
        told
    };
    // Nothing is left to read of these, so that each makes room for the next.
    let told = flood("/empty", 70, None).await;
    let refused = "failed: ErrorCode::InternalError(Some(\"more than 64 requests in one call\"))";
    assert_eq!((&told[..64], &told[64..]), (&["200"; 64].map(String::from)[..], &[refused; 6].map(String::from)[..]));
    assert_eq!(server.seen().len(), 64);
    assert!(server.accepted() <= 8, "{} connections", server.accepted());
    // Of these two bytes, which the guest never reads.
    let told = flood("/", 9, Some(1_000_000_000)).await;
    assert_eq!(told.iter().filter(|told| *told == "200").count(), 8, "{told:?}");
    assert_eq!(told.iter().filter(|told| *told == "failed: ErrorCode::ConnectionLimitReached").count(), 1, "{told:?}");
}
