//! The layers around `/mcp`: whose request it is, that its body comes in time, and that a limit of its agent is said as HTTP
//! says it.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER},
    },
    middleware::Next,
    response::{IntoResponse, Response},
};
use tokio::time::timeout;

use super::{
    connection::Peer,
    peers::{CLIENT, Peers},
};
use crate::pipeline::MAX_MESSAGE;

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

/// Finds out whose request it is, and counts it, where a proxy speaks for many.
pub(super) async fn whose(State(peers): State<Arc<Peers>>, request: Request, next: Next) -> Response {
    // Every connection has one.
    let peer = request.extensions().get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |Peer(peer)| *peer);
    let client = peers.client(peer, request.headers());
    let seat = (client != peer.to_canonical()).then(|| peers.request(client)).transpose();
    let Ok(_seat) = seat else { return slow_down(StatusCode::TOO_MANY_REQUESTS.into_response(), SOON) };
    CLIENT.scope(client, next.run(request)).await
}

/// Reads the body in the time that it has, answers, and says so where the agent has to slow down.
pub(super) async fn bounded(request: Request, next: Next) -> Response {
    let (mut head, body) = request.into_parts();
    if announced(&head.headers).is_some_and(|length| length > MAX_MESSAGE as u64) {
        return close(StatusCode::PAYLOAD_TOO_LARGE);
    }
    let body = match timeout(BODY_TIME, to_bytes(body, MAX_MESSAGE)).await {
        Ok(Ok(body)) => Body::from(body),
        // Longer than a message may be; of a client that is gone nobody reads the answer.
        Ok(Err(_)) => return close(StatusCode::PAYLOAD_TOO_LARGE),
        Err(_) => return close(StatusCode::REQUEST_TIMEOUT),
    };
    let told = SlowDown::default();
    head.extensions.insert(told.clone());
    let response = next.run(Request::from_parts(head, body)).await;
    match told.0.get() {
        // A stream has begun as a success, and holds the refusal as the result of the call.
        Some(again) if is_json(response.headers()) => {
            let mut response = response;
            *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
            slow_down(response, again.as_secs())
        }
        Some(_) | None => response,
    }
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
