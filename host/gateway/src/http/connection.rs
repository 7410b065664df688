//! One connection, from its acceptance to its end: everything that a peer could hold on to has a time.

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::{
    paths::Paths,
    peers::{Full, Peers, Seat},
    rest::Rest,
    tls::Tls,
    unread::Unread,
};
use crate::threads::Linger;

/// How long the head of a request may take, from the end of the reply before it: so it is also how long an idle connection is
/// kept. Clients that keep theirs keep them for some seconds (httpx 5 s, undici 4 s), or notice that one is closed.
pub(super) const HEAD_TIME: Duration = Duration::from_secs(30);
/// Bytes of a head: a token has some kilobytes, and proxies add a few headers. More is answered 431, as are more than 100
/// headers, hyper's own bound.
const MAX_HEAD: usize = 64 << 10;
/// How long a peer may take nothing of what is written to it.
const UNREAD_TIME: Duration = Duration::from_secs(30);
/// How long the first messages of TLS may take.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// How long to wait after a connection could not be accepted.
const BREATH: Duration = Duration::from_millis(100);

/// A connection on its way to the thread that serves it.
pub(super) struct Accepted {
    stream: std::net::TcpStream,
    peer: SocketAddr,
    seat: Seat,
}

/// The other end of the connection that a request came by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

/// Takes connections in and hands them out. Never ends.
pub(super) async fn accept(listener: TcpListener, peers: Arc<Peers>, threads: &[mpsc::Sender<Accepted>]) {
    let mut turns = threads.iter().cycle();
    let mut turned_away = TurnedAway::default();
    loop {
        let accepted = async {
            let (stream, peer) = listener.accept().await?;
            let seat = match peers.connect(peer.ip()) {
                Ok(seat) => seat,
                Err(full) => {
                    turned_away.tell(full, peer.ip());
                    return Ok(None);
                }
            };
            // Without it every streamed reply waits 40 ms for an acknowledgement that the client delays.
            stream.set_nodelay(true)?;
            Ok::<_, std::io::Error>(Some(Accepted { stream: stream.into_std()?, peer, seat }))
        };
        match accepted.await {
            Ok(None) => {}
            Ok(Some(accepted)) => {
                if let Some(thread) = turns.next() {
                    // A thread that is gone has told why.
                    _ = thread.send(accepted).await;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                // Out of descriptors, most likely: others have to end first.
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

/// Connections that were closed at once. Anybody can make them: the log has a line for each power of two.
#[derive(Default)]
struct TurnedAway(u64);

impl TurnedAway {
    fn tell(&mut self, Full(limit): Full, peer: IpAddr) {
        self.0 += 1;
        if self.0.is_power_of_two() {
            tracing::warn!(%peer, limit, count = self.0, "connections were closed at once: there are too many already");
        }
    }
}

/// One thread's share: serves what it is handed until `shutdown`, and then what is left of it.
pub(super) async fn serve(
    mut handed: mpsc::Receiver<Accepted>,
    tls: Option<Arc<Tls>>,
    paths: Paths,
    linger: Linger,
    shutdown: CancellationToken,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            // Those that have ended are let go of.
            Some(_) = connections.join_next() => {}
            accepted = handed.recv() => {
                let Some(accepted) = accepted else { break };
                let way = Way { paths: paths.clone(), linger: linger.clone(), shutdown: shutdown.clone() };
                connections.spawn(connection(accepted, tls.clone(), way));
            }
        }
    }
    drop(handed);
    while connections.join_next().await.is_some() {}
}

/// Where the requests of a connection go.
struct Way {
    paths: Paths,
    linger: Linger,
    shutdown: CancellationToken,
}

async fn connection(accepted: Accepted, tls: Option<Arc<Tls>>, way: Way) {
    let Accepted { stream, peer, seat: _seat } = accepted;
    // A connection that is gone already is no loss.
    let Ok(stream) = TcpStream::from_std(stream) else { return };
    let stream = Unread::new(stream, UNREAD_TIME);
    match tls {
        None => converse(stream, peer, way).await,
        Some(tls) => match timeout(HANDSHAKE_TIME, TlsAcceptor::from(tls.current()).accept(stream)).await {
            Ok(Ok(stream)) => converse(stream, peer, way).await,
            Ok(Err(error)) => {
                tracing::debug!(peer = %peer.ip(), %error, "a client and this host found no TLS in common")
            }
            Err(_) => tracing::debug!(peer = %peer.ip(), "a client did not finish its TLS handshake"),
        },
    }
}

async fn converse<S>(stream: S, peer: SocketAddr, Way { paths, linger, shutdown }: Way)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let peer = Peer(peer.ip());
    let answer = service_fn(move |request: hyper::Request<Incoming>| {
        let (mut request, rest) = Rest::of(request);
        request.extensions_mut().insert(peer);
        let (paths, linger) = (paths.clone(), linger.clone());
        async move {
            let _asked = linger.asked();
            let response = paths.answer(request).await;
            Ok::<_, Infallible>(rest.settle(response).await)
        }
    });
    let server = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), answer);
    let mut server = pin!(server);
    let ended = tokio::select! {
        ended = server.as_mut() => ended,
        () = shutdown.cancelled() => {
            server.as_mut().graceful_shutdown();
            server.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended");
    }
}
