//! One connection to a server, moved along by whoever waits for it.
//!
//! hyper leaves it to others to poll a connection. A task of its own would have each request, each response and each
//! piece of a body handed from thread to thread, which costs more than the rest of a small request. So the request that
//! waits for the response polls it, then the body that is read; what lies idle in the pool is looked at when it is taken.
//! Only a request body that outlasts the head of its response needs a task: the guest may wait for that alone.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{Arc, Weak},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use futures::poll;
use hyper::client::conn::{
    TrySendError,
    http1::{Connection, SendRequest},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    runtime::{Handle, Id},
    task::JoinHandle,
};
use wasmtime_wasi_http::io::TokioIo;

use super::body::Outgoing;

/// How long whoever waits for a response looks for it before it sleeps: servers of this machine, and of the same rack, answer
/// within it, and a processor that sleeps takes 25 to 40 µs to wake on a virtual machine.
const NEAR: Duration = Duration::from_micros(100);

/// One connection. Dropped, it is closed at once, whatever is on it.
pub(super) struct Line {
    sender: SendRequest<Outgoing>,
    /// Whether a request was sent over it before. The server may have closed it since.
    pub(super) reused: bool,
    /// The runtime that sees what its socket does. A waiter on the same one is woken without a way round.
    pub(super) home: Id,
    driver: Driver,
    /// The request body that was sent last, as long as it is still on its way.
    sending: Weak<()>,
}

enum Driver {
    Waiter(Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>),
    Task { _task: AbortOnDrop<()> },
    Over,
}

/// Stops a task that nobody needs any more.
pub(super) struct AbortOnDrop<T>(pub(super) JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Line {
    /// A connection whose socket was made on the current runtime.
    pub(super) fn new<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        sender: SendRequest<Outgoing>,
        connection: Connection<TokioIo<S>, Outgoing>,
    ) -> Self {
        Self {
            sender,
            reused: false,
            home: Handle::current().id(),
            driver: Driver::Waiter(Box::pin(connection)),
            sending: Weak::new(),
        }
    }

    /// Sends a request; its response as soon as the head is there.
    pub(super) async fn send(
        &mut self,
        request: http::Request<Outgoing>,
    ) -> Result<http::Response<hyper::body::Incoming>, TrySendError<http::Request<Outgoing>>> {
        self.sending = Arc::downgrade(request.body().alive());
        let mut response = pin!(self.sender.try_send_request(request));
        let driver = &mut self.driver;
        let mut answered = pin!(poll_fn(|cx| {
            driver.poll(cx);
            response.as_mut().poll(cx)
        }));
        let sent = Instant::now();
        loop {
            if let Poll::Ready(answer) = poll!(answered.as_mut()) {
                return answer;
            }
            if sent.elapsed() > NEAR {
                return answered.await;
            }
            // To what else is ready, and to the sockets.
            tokio::task::yield_now().await;
        }
    }

    /// Moves the connection along, as far as it goes now; `cx` is woken when it goes on.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) {
        self.driver.poll(cx);
    }

    /// Whether another request may be sent over it, as it looks now.
    pub(super) fn is_free(&mut self) -> bool {
        self.driver.poll(&mut Context::from_waker(Waker::noop()));
        self.sender.is_ready()
    }

    /// Waits until another request may be sent over it. Whether that came to be.
    pub(super) async fn free(&mut self) -> bool {
        let mut ready = pin!(self.sender.ready());
        let driver = &mut self.driver;
        poll_fn(|cx| {
            driver.poll(cx);
            ready.as_mut().poll(cx)
        })
        .await
        .is_ok()
    }

    /// Gives the connection a task on `runtime` where a request body is still on its way.
    pub(super) fn settle(&mut self, runtime: &Handle) {
        if self.sending.strong_count() == 0 {
            return;
        }
        self.driver = match std::mem::replace(&mut self.driver, Driver::Over) {
            Driver::Waiter(connection) => Driver::Task {
                _task: AbortOnDrop(runtime.spawn(async move {
                    if let Err(error) = connection.await {
                        tracing::debug!(%error, "a connection ended");
                    }
                })),
            },
            driver => driver,
        };
    }
}

impl Driver {
    fn poll(&mut self, cx: &mut Context<'_>) {
        let Self::Waiter(connection) = self else { return };
        if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection ended");
            }
            *self = Self::Over;
        }
    }
}
