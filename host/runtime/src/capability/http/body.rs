//! Bodies, counted: what a guest sends, and what it reads.

use std::{
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::{
    runtime::Handle,
    sync::OwnedSemaphorePermit,
    time::{Sleep, sleep},
};
use wasmtime_wasi_http::{Error, WasiBody};

use super::{
    MAX_RESPONSE_BYTES, Spent,
    fault::{self, BodyFault},
    line::Line,
    mask::{Masker, Needles},
    pool::{Pool, Route},
};

/// Bytes of a request body: what a tool uploads is a document, not an archive.
const MAX_REQUEST_BYTES: u64 = 16 << 20;
/// Pieces of a request body, empty ones too: they cost no memory over HTTP/1.1, but a hand-over between threads each
/// (GHSA-f8mm-ggr3-89wh). So many that [`MAX_REQUEST_BYTES`] may come in pieces of 128 bytes.
const MAX_PIECES: u64 = 1 << 17;

/// What a guest sends. Its trailers are not.
pub(super) struct Outgoing {
    inner: WasiBody,
    spent: Arc<Spent>,
    sent: u64,
    pieces: u64,
    /// What `Content-Length` announced.
    announced: Option<u64>,
    /// Dropped with this, once hyper is done with it.
    alive: Arc<()>,
}

impl Outgoing {
    pub(super) fn new(inner: WasiBody, announced: Option<u64>, spent: Arc<Spent>) -> Result<Self, BodyFault> {
        if announced.is_some_and(|length| length > MAX_REQUEST_BYTES) {
            return Err(BodyFault::Large(MAX_REQUEST_BYTES));
        }
        Ok(Self { inner, spent, sent: 0, pieces: 0, announced, alive: Arc::default() })
    }

    /// What lives as long as this does.
    pub(super) fn alive(&self) -> &Arc<()> {
        &self.alive
    }

    /// What stays within every bound.
    fn counted(&mut self, data: Bytes) -> Result<Bytes, BodyFault> {
        self.pieces += 1;
        self.sent = self.sent.saturating_add(data.len() as u64);
        match self.announced {
            _ if self.pieces > MAX_PIECES => Err(BodyFault::Pieces(MAX_PIECES)),
            _ if self.sent > MAX_REQUEST_BYTES => Err(BodyFault::Large(MAX_REQUEST_BYTES)),
            Some(length) if self.sent > length => Err(BodyFault::Length(length)),
            Some(_) | None => Ok(data),
        }
    }

    /// Whether what came is all that was to come. Upstream ends a body like a whole one when its call is dropped.
    fn whole(&self) -> Result<(), BodyFault> {
        match self.announced {
            Some(length) if self.sent != length => Err(BodyFault::Length(length)),
            _ if self.spent.over.load(Ordering::Acquire) => Err(BodyFault::Abandoned),
            Some(_) | None => Ok(()),
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        loop {
            let frame = match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(_)) => return Poll::Ready(Some(Err(BodyFault::Abandoned))),
                None => return Poll::Ready(self.whole().err().map(Err)),
            };
            if let Ok(data) = frame.into_data() {
                match self.counted(data) {
                    Ok(data) if data.is_empty() => {}
                    counted => return Poll::Ready(Some(counted.map(Frame::data))),
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.announced
            .map_or_else(|| self.inner.size_hint(), |length| SizeHint::with_exact(length - self.sent.min(length)))
    }
}

/// What a guest reads. Dropped before its end, it takes its connection along.
pub(super) struct Incoming {
    inner: hyper::body::Incoming,
    masker: Masker,
    /// Trailers that wait for what the masker held back.
    trailers: Option<http::HeaderMap>,
    needles: Needles,
    spent: Arc<Spent>,
    between_bytes: Duration,
    /// Where timers run: the guest may read on another runtime than the one it asked on.
    runtime: Handle,
    timer: Option<Pin<Box<Sleep>>>,
    ended: bool,
    used: Option<Used>,
}

/// What comes free at the end of a response.
pub(super) struct Used {
    pub(super) pool: Arc<Pool>,
    pub(super) route: Route,
    pub(super) line: Line,
    pub(super) place: OwnedSemaphorePermit,
}

impl Incoming {
    pub(super) fn new(
        inner: hyper::body::Incoming,
        needles: Needles,
        spent: Arc<Spent>,
        between_bytes: Duration,
        used: Used,
    ) -> Self {
        let runtime = used.pool.runtime().clone();
        let masker = Masker::new(needles.clone());
        let (trailers, timer, used) = (None, None, Some(used));
        let mut body =
            Self { inner, masker, trailers, needles, spent, between_bytes, runtime, timer, ended: false, used };
        body.settle();
        body
    }

    /// Gives the connection back, once nothing of this response is on it any more.
    fn settle(&mut self) {
        let over = self.ended || self.inner.is_end_stream();
        if let Some(Used { pool, route, line, place }) = self.used.take_if(|_| over) {
            pool.give(route, line);
            drop(place);
        }
    }

    fn counted(&self, data: &Bytes) -> Result<(), Error> {
        let length = data.len() as u64;
        let before = self.spent.received.fetch_add(length, Ordering::Relaxed);
        if before.saturating_add(length) > MAX_RESPONSE_BYTES {
            return Err(Error::HttpResponseBodySize(Some(MAX_RESPONSE_BYTES)));
        }
        Ok(())
    }

    fn fail(&mut self, error: Error) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.ended = true;
        self.used = None;
        Poll::Ready(Some(Err(error)))
    }

    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (runtime, between_bytes) = (&self.runtime, self.between_bytes);
        let timer = self.timer.get_or_insert_with(|| {
            let _here = runtime.enter();
            Box::pin(sleep(between_bytes))
        });
        timer.as_mut().poll(cx)
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        while !this.ended {
            let mut frame = Pin::new(&mut this.inner).poll_frame(cx);
            if let (Poll::Pending, Some(used)) = (&frame, &mut this.used) {
                used.line.poll(cx);
                frame = Pin::new(&mut this.inner).poll_frame(cx);
            }
            let Poll::Ready(frame) = frame else {
                ready!(this.wait(cx));
                return this.fail(Error::ConnectionReadTimeout);
            };
            this.timer = None;
            let frame = match frame {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => {
                    tracing::debug!(%error, "a response broke off");
                    return this.fail(fault::of_hyper(&error));
                }
                None => {
                    this.ended = true;
                    break;
                }
            };
            match frame.into_data() {
                Ok(data) => {
                    if let Err(error) = this.counted(&data) {
                        return this.fail(error);
                    }
                    this.settle();
                    let shown = this.masker.feed(data);
                    if !shown.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(shown))));
                    }
                }
                Err(frame) => {
                    this.trailers = frame.into_trailers().ok();
                    this.ended = true;
                }
            }
        }
        this.settle();
        let held = this.masker.finish();
        if !held.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(held))));
        }
        Poll::Ready(this.trailers.take().map(|mut trailers| {
            this.needles.mask_headers(&mut trailers);
            this.spent.fields.fetch_add(trailers.len() as u64, Ordering::Relaxed);
            Ok(Frame::trailers(trailers))
        }))
    }
}
