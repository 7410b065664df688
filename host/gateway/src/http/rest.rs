//! What a refusal leaves of a request's body.
//!
//! Who is refused is answered before the body is read, and often before it has come. The server below would then close the
//! connection without a word, perhaps while the client sends its next request on it. So a short rest is read, as HTTP asks
//! of a server that keeps a connection (RFC 9112, section 9.3); where it is long or late, the answer says that the connection
//! ends.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderValue, header::CONNECTION},
    response::Response,
};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::time::timeout;

/// Bytes of a rest that is read.
const MAX_REST: usize = 64 << 10;
/// How long it may take.
const REST_TIME: Duration = Duration::from_secs(1);

/// Where a body comes back to that was not read to its end.
#[derive(Clone, Default)]
pub(super) struct Rest(Arc<Mutex<Option<Incoming>>>);

impl Rest {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Incoming>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request whose body comes back here.
    pub(super) fn of(request: hyper::Request<Incoming>) -> (Request, Self) {
        let rest = Self::default();
        let request = request.map(|body| {
            if body.is_end_stream() {
                Body::empty()
            } else {
                Body::new(Returned { body: Some(body), to: rest.clone() })
            }
        });
        (request, rest)
    }

    /// Reads what came back, or has the connection end with this response.
    pub(super) async fn settle(self, mut response: Response) -> Response {
        let Some(mut body) = self.lock().take() else { return response };
        if response.headers().contains_key(CONNECTION) {
            return response;
        }
        let read = async {
            let mut left = MAX_REST;
            while let Some(Ok(frame)) = body.frame().await {
                left = left.checked_sub(frame.data_ref().map_or(0, |data| data.len()))?;
            }
            body.is_end_stream().then_some(())
        };
        if timeout(REST_TIME, read).await.ok().flatten().is_none() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// A body that comes back unless it was read to its end.
struct Returned {
    body: Option<Incoming>,
    to: Rest,
}

impl HttpBody for Returned {
    type Data = <Incoming as HttpBody>::Data;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let Some(body) = self.body.as_mut() else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(context));
        // An error ends the connection by itself.
        if !matches!(frame, Some(Ok(_))) || self.is_end_stream() {
            self.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for Returned {
    fn drop(&mut self) {
        if let Some(body) = self.body.take() {
            *self.to.lock() = Some(body);
        }
    }
}
