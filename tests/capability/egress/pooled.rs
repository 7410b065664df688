//! Connections: shared by the calls of a plugin where nothing is left on them, and by nobody else.

use std::time::Duration;

use portcullis_artifacts as guests;
use serde_json::json;

use super::{
    cancel::states_to,
    get, send,
    server::{Answer, Names, Server, ok},
    told,
};
use crate::house::{House, built, patient};

async fn open(server: &Server, private: &[&str]) -> House {
    let entries = private.iter().map(|entry| entry.replace("PORT", &server.port().to_string()));
    let grants = format!("http = [{}]", entries.collect::<Vec<_>>().join(", "));
    let guest = |name| built(name, guests::WITH_HTTP, patient()).granted(&*grants);
    let hostile = built("hostile", guests::HTTP_HOSTILE, patient()).granted(&*grants);
    let names = Names::default().with("ok.example", &["127.0.0.1"]).with("also.example", &["127.0.0.1"]);
    House::resolving(4, names.resolve(), vec![guest("web"), guest("other"), hostile]).await
}

const ALL: &str = "{ allow = '* http://*.example:PORT/**', private = ['127.0.0.0/8'] }";

/// Sends once, whole, and returns the connection on which it came.
async fn connection(house: &House, server: &Server, url: &str) -> usize {
    assert_eq!(send(house, "GET", url, &[], None).await["body"], "on");
    server.seen().pop().expect("a request").connection
}

#[tokio::test(flavor = "multi_thread")]
async fn two_calls_share_a_connection_and_two_plugins_do_not() {
    let server = Server::start(|_| ok("on")).await;
    let house = open(&server, &[ALL]).await;
    let url = server.url("ok.example", "/");
    for _ in 0..5 {
        assert_eq!(connection(&house, &server, &url).await, 0);
    }
    assert_eq!(connection(&house, &server, &server.url("also.example", "/")).await, 1, "another host");
    assert_eq!(connection(&house, &server, &url).await, 0);
    let other = house.answer("other_count", json!({ "url": url })).await;
    assert_eq!((other, server.accepted()), (json!(2), 3), "another plugin");
}

/// What one grant opened is not used under another, though host and port are the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_belongs_to_the_ranges_that_were_open() {
    let server = Server::start(|_| ok("on")).await;
    let house = open(
        &server,
        &[
            "{ allow = 'GET http://ok.example:PORT/in/**', private = ['127.0.0.1'] }",
            "{ allow = 'GET http://ok.example:PORT/wide/**', private = ['127.0.0.0/8'] }",
            "'GET http://ok.example:PORT/out/**'",
        ],
    )
    .await;
    assert_eq!(connection(&house, &server, &server.url("ok.example", "/in/a")).await, 0);
    let out = get(&house, &server.url("ok.example", "/out/a")).await;
    assert_eq!(out, "failed: ErrorCode::DestinationIpProhibited", "the connection at hand is not its own");
    assert_eq!(connection(&house, &server, &server.url("ok.example", "/wide/a")).await, 1);
    assert_eq!(connection(&house, &server, &server.url("ok.example", "/in/b")).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_was_not_read_takes_its_connection_along() {
    let large = "x".repeat(1 << 20);
    let server = Server::start(move |seen| if seen.line().contains("/large") { ok(&large) } else { ok("on") }).await;
    let house = open(&server, &[ALL]).await;
    let (small, large) = (server.url("ok.example", "/"), server.url("ok.example", "/large"));
    assert_eq!(connection(&house, &server, &small).await, 0);
    for path in [&small, &large] {
        let before = server.accepted();
        assert_eq!(get(&house, path).await, "200");
        let left = server.seen().pop().expect("a request").connection;
        assert_ne!(connection(&house, &server, &small).await, left, "{path}");
        assert_eq!(server.accepted(), before + 1, "{path}");
    }
}

/// A server that sends more than it was asked for: the rest is nobody's.
#[tokio::test(flavor = "multi_thread")]
async fn no_call_reads_what_was_left_for_another() {
    let extra = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\non".to_vec();
    let bad = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nbad".to_vec();
    let server = Server::start(move |seen| match seen.line().contains("/extra") {
        true => Answer::Bytes([extra.clone(), bad.clone()].concat()),
        false => ok("on"),
    })
    .await;
    let house = open(&server, &[ALL]).await;
    for _ in 0..20 {
        assert_eq!(send(&house, "GET", &server.url("ok.example", "/extra"), &[], None).await["body"], "on");
        assert_eq!(send(&house, "GET", &server.url("ok.example", "/"), &[], None).await["body"], "on");
    }
}

/// The state of a socket whose other end is closed.
#[cfg(target_os = "linux")]
const CLOSE_WAIT: &str = "08";

/// The server closes when it likes. What is closed is not used again.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_the_server_closed_is_replaced() {
    let server = Server::start(|_| Answer::Close(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\non".to_vec())).await;
    let house = open(&server, &[ALL]).await;
    for round in 1..=20 {
        let posted = send(&house, "POST", &server.url("ok.example", "/"), &[], Some("body")).await;
        assert_eq!(posted["body"], "on", "{}", told(&posted));
        // A request that crosses the end of its connection is lost, as with any client; so not before this side knows of it.
        // One that lies idle then is closed when it is taken, or swept after a while.
        let closed = async {
            while server.open() > 0 || states_to(server.port()).iter().any(|state| state != CLOSE_WAIT) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            // What the kernel knows, the runtime is told.
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert!(tokio::time::timeout(Duration::from_secs(10), closed).await.is_ok(), "{}", server.open());
        assert_eq!(server.accepted(), round);
    }
}

/// Upstream ends the body of a call that is gone as if it were whole. A server must not take half an upload for one,
/// and nothing that follows for its end.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_was_given_up_is_never_whole() {
    let server = Server::start(|_| ok("")).await;
    let house = open(&server, &["{ allow = '* http://ok.example:PORT/**', private = ['127.0.0.0/8'] }"]).await;
    let authority = format!("ok.example:{}", server.port());
    for announced in [None, Some("100")] {
        // Answered with the first piece, so that the guest ends with the body open.
        let arguments = json!({ "authority": authority, "path": "/early", "announced": announced });
        assert_eq!(house.answer("hostile_abandon", arguments).await, 200);
        // Not answered before its end, so that the call is given up from outside.
        let arguments = json!({ "authority": authority, "path": "/", "announced": announced });
        let call = tokio::time::timeout(Duration::from_millis(100), house.call("hostile_abandon", arguments));
        assert!(call.await.is_err(), "the server waits for the rest, and the guest for the server");
    }
    let closed = async {
        while server.open() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(30), closed).await.is_ok(), "{} stay open", server.open());
    let seen = server.seen();
    assert_eq!(seen.len(), 4, "{seen:?}");
    for seen in seen {
        assert!(seen.line().starts_with("POST /"), "the end of an upload as a request: {seen:?}");
        assert!(seen.line().contains("/early") || seen.head.ends_with("(cut off)"), "{seen:?}");
        assert!(!seen.body.ends_with(b"0\r\n\r\n"), "{seen:?}");
    }
}
