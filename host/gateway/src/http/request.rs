//! The way in to `/mcp` and to the routes: whose request it is, who may come in, that its body comes in time, and that a
//! limit of its agent is said as HTTP says it.
//!
//! Plain functions around each other, and no layers of a router: those are a box each, which costs a call of a few
//! microseconds a tenth (`tests/bench/README.md`, "The way in").

use std::{
    future::Future,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{
    body::to_bytes,
    extract::Request,
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER},
    },
    response::{IntoResponse, Response},
};
use hyper::body::Bytes;
use tokio::time::timeout;

use super::{
    connection::Peer,
    peers::{CLIENT, Peers},
};
use crate::{
    auth::{Bindings, guard},
    pipeline::MAX_MESSAGE,
};

/// How long a body may take: 4 MiB then come at 140 kB/s, and a slower client has a call in bits.
pub(super) const BODY_TIME: Duration = Duration::from_secs(30);
/// When to come again where one's own requests have to end first, in seconds.
const SOON: u64 = 1;

/// Where the answer to a request leaves that its agent has to wait.
#[derive(Clone, Debug, Default)]
pub(crate) struct SlowDown(Arc<OnceLock<Duration>>);

impl SlowDown {
    /// The request was refused, and may be repeated after so long.
    pub(crate) fn after(&self, again: Duration) {
        // A request that holds several calls has waited enough after the first.
        _ = self.0.set(again);
    }
}

/// What everybody passes.
#[derive(Debug)]
pub(super) struct Entrance {
    pub(super) peers: Arc<Peers>,
    pub(super) bindings: Bindings,
}

impl Entrance {
    /// Has `inner` answer a request that may come in, with its body: who it is from is asked before that is read, and from
    /// where before that.
    pub(super) async fn pass<F>(&self, request: Request, inner: impl FnOnce(hyper::Request<Bytes>) -> F) -> Response
    where
        F: Future<Output = Response>,
    {
        let guarded = |request| guard(&self.bindings, request, |request| bounded(request, inner));
        whose(&self.peers, request, guarded).await
    }
}

/// Finds out whose request it is, and counts it, where a proxy speaks for many.
async fn whose<F>(peers: &Arc<Peers>, request: Request, next: impl FnOnce(Request) -> F) -> Response
where
    F: Future<Output = Response>,
{
    // Every connection has one.
    let peer = request.extensions().get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |Peer(peer)| *peer);
    let client = peers.client(peer, request.headers());
    let seat = (client != peer.to_canonical()).then(|| peers.request(client)).transpose();
    let Ok(_seat) = seat else { return slow_down(StatusCode::TOO_MANY_REQUESTS.into_response(), SOON) };
    CLIENT.scope(client, next(request)).await
}

/// Reads the body in the time that it has, answers, and says so where the agent has to slow down.
async fn bounded<F>(request: Request, next: impl FnOnce(hyper::Request<Bytes>) -> F) -> Response
where
    F: Future<Output = Response>,
{
    let (mut head, body) = request.into_parts();
    if announced(&head.headers).is_some_and(|length| length > MAX_MESSAGE as u64) {
        return close(StatusCode::PAYLOAD_TOO_LARGE);
    }
    let body = match timeout(BODY_TIME, to_bytes(body, MAX_MESSAGE)).await {
        Ok(Ok(body)) => body,
        // Longer than a message may be; of a client that is gone nobody reads the answer.
        Ok(Err(_)) => return close(StatusCode::PAYLOAD_TOO_LARGE),
        Err(_) => return close(StatusCode::REQUEST_TIMEOUT),
    };
    let told = SlowDown::default();
    head.extensions.insert(told.clone());
    let mut response = next(hyper::Request::from_parts(head, body)).await;
    // A stream has begun as a success, and holds the refusal as the result of the call.
    let again = told.0.get().filter(|_| is_json(response.headers()));
    let Some(again) = again else { return response };
    *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    slow_down(response, again.as_secs())
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn is_json(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"))
}

/// RFC 6585, section 4.
fn slow_down(mut response: Response, seconds: u64) -> Response {
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// What is left of the body is not read.
fn close(status: StatusCode) -> Response {
    (status, [(CONNECTION, HeaderValue::from_static("close"))]).into_response()
}
