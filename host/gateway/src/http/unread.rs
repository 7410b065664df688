//! A stream whose peer has to read: what is written to it waits no longer than so long.
//!
//! Without it a client that never reads keeps its connection and its reply for as long as it likes.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

/// A stream, and since when it has taken nothing.
pub(crate) struct Unread<S> {
    stream: S,
    patience: Duration,
    /// Allocated when it is first needed: most connections never wait.
    until: Option<Pin<Box<Sleep>>>,
    waits: bool,
}

impl<S> Unread<S> {
    pub(crate) fn new(stream: S, patience: Duration) -> Self {
        Self { stream, patience, until: None, waits: false }
    }

    /// What the stream says, unless it has waited too long.
    fn in_time<T>(&mut self, cx: &mut Context<'_>, said: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if said.is_ready() {
            self.waits = false;
            return said;
        }
        let patience = self.patience;
        let until = self.until.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + patience)));
        if !self.waits {
            self.waits = true;
            until.as_mut().reset(Instant::now() + patience);
        }
        match until.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Unread<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Unread<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let said = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.in_time(cx, said)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What is left to write is written by `poll_write`, and waits there.
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let said = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.in_time(cx, said)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let said = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.in_time(cx, said)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn whoever_reads_slowly_is_waited_for_and_whoever_never_does_is_not() {
        let (mut client, host) = duplex(8);
        let mut host = Unread::new(host, Duration::from_millis(500));
        let slow = async {
            let mut byte = [0];
            for _ in 0..16 {
                tokio::time::sleep(Duration::from_millis(50)).await;
                client.read_exact(&mut byte).await.expect("a byte");
            }
        };
        let (written, ()) = tokio::join!(host.write_all(&[7; 24]), slow);
        written.expect("each byte is in time");
        let never = host.write_all(&[7; 24]).await;
        assert_eq!(never.expect_err("nobody reads").kind(), io::ErrorKind::TimedOut);
    }
}
