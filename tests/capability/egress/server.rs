//! A server on this machine that records what it is sent, byte by byte, and answers by a script; and a resolver.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use portcullis_runtime::Resolve;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinHandle,
};

/// One request, as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Which connection it came on, from 0.
    pub(crate) connection: usize,
    /// Request line and headers.
    pub(crate) head: String,
    /// What followed the head, framing included.
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    pub(crate) fn headers(&self, name: &str) -> Vec<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }
}

/// What to do with a request.
pub(crate) enum Answer {
    /// Send this, and take the next one.
    Bytes(Vec<u8>),
    /// Send this, each piece after the one before was taken by the system.
    Pieces(Vec<Vec<u8>>),
    /// Send the first, then the second again and again.
    Endless(Vec<u8>, Vec<u8>),
    /// Send this, and then nothing, and keep the connection.
    Stall(Vec<u8>),
    /// Send this, and close.
    Close(Vec<u8>),
}

/// A whole response with this body, which keeps the connection.
pub(crate) fn ok(body: &str) -> Answer {
    Answer::Bytes(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes())
}

type Script = dyn Fn(&Seen) -> Answer + Send + Sync;

/// The server. Dropped, it is gone.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    accepted: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Server {
    /// On 127.0.0.1, answering by `script`.
    pub(crate) async fn start(script: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1:0", script).await
    }

    pub(crate) async fn start_at(address: &str, script: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(address).await.expect("a listener");
        let address = listener.local_addr().expect("an address");
        let (seen, accepted, open) = (Arc::default(), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let script: Arc<Script> = Arc::new(script);
        let accepting = {
            let (seen, accepted, open) = (Arc::clone(&seen), Arc::clone(&accepted), Arc::clone(&open));
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let connection = accepted.fetch_add(1, Ordering::SeqCst);
                    open.fetch_add(1, Ordering::SeqCst);
                    let (seen, script, open) = (Arc::clone(&seen), Arc::clone(&script), Arc::clone(&open));
                    tokio::spawn(async move {
                        // A client may go away at any time.
                        let _ = serve(stream, connection, &seen, &*script).await;
                        open.fetch_sub(1, Ordering::SeqCst);
                    });
                }
            })
        };
        Self { address, seen, accepted, open, accepting }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Its URL by `host`.
    pub(crate) fn url(&self, host: &str, path: &str) -> String {
        format!("http://{host}:{}{path}", self.port())
    }

    /// Every request so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no panic").clone()
    }

    /// How many connections were made.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// How many connections are open.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

/// One connection, request by request.
pub(crate) async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    connection: usize,
    seen: &Mutex<Vec<Seen>>,
    script: &Script,
) -> io::Result<()> {
    let mut read = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = find(&read, b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut read).await? == 0 {
                return Ok(());
            }
        };
        let head = String::from_utf8_lossy(&read[..end]).into_owned();
        read.drain(..end);
        let mut request = Seen { connection, head, body: Vec::new() };
        let begun = request.headers("x-answer") == ["early"] || request.line().contains("/early");
        let length = request.headers("content-length").first().map(|text| text.parse::<usize>().expect("a length"));
        let chunked = !request.headers("transfer-encoding").is_empty();
        let whole = |read: &[u8]| match length {
            Some(length) => (read.len() >= length).then_some(length),
            // Nobody sends ahead here; looking through all of it each time would take too long.
            None if chunked => read.ends_with(b"0\r\n\r\n").then_some(read.len()),
            None => Some(0),
        };
        let taken = loop {
            if let Some(taken) = whole(&read).or_else(|| (begun && !read.is_empty()).then_some(read.len())) {
                break taken;
            }
            if stream.read_buf(&mut read).await? == 0 {
                request.body = read;
                request.head.push_str("(cut off)");
                seen.lock().expect("no panic").push(request);
                return Ok(());
            }
        };
        request.body = read.drain(..taken).collect();
        let answer = script(&request);
        seen.lock().expect("no panic").push(request);
        match answer {
            Answer::Bytes(bytes) => stream.write_all(&bytes).await?,
            Answer::Pieces(pieces) => {
                for piece in pieces {
                    stream.write_all(&piece).await?;
                    stream.flush().await?;
                    tokio::task::yield_now().await;
                }
            }
            Answer::Endless(head, piece) => {
                stream.write_all(&head).await?;
                loop {
                    stream.write_all(&piece).await?;
                }
            }
            Answer::Stall(bytes) => {
                stream.write_all(&bytes).await?;
                // Until the client is gone.
                while stream.read_buf(&mut read).await? > 0 {}
                return Ok(());
            }
            Answer::Close(bytes) => {
                stream.write_all(&bytes).await?;
                return stream.shutdown().await;
            }
        }
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

/// Names of a test's own, and how often each was asked for.
#[derive(Clone, Default)]
pub(crate) struct Names {
    answers: Arc<Mutex<BTreeMap<String, Vec<Vec<IpAddr>>>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Names {
    /// `name` has these addresses, always.
    pub(crate) fn with(self, name: &str, addresses: &[&str]) -> Self {
        self.in_turn(name, &[addresses])
    }

    /// `name` has the first addresses at first, then the next, and so on; the last ones stay.
    pub(crate) fn in_turn(self, name: &str, answers: &[&[&str]]) -> Self {
        let parsed = |addresses: &&[&str]| addresses.iter().map(|text| text.parse().expect(text)).collect();
        self.answers.lock().expect("no panic").insert(name.to_owned(), answers.iter().map(parsed).collect());
        self
    }

    /// What was asked for, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no panic").clone()
    }

    /// As the host's resolver. `slow.*` is never answered.
    pub(crate) fn resolve(&self) -> Resolve {
        let names = self.clone();
        Arc::new(move |name| {
            names.asked.lock().expect("no panic").push(name.clone());
            let mut answers = names.answers.lock().expect("no panic");
            let found = answers.get_mut(&name).map(|left| match left.len() {
                0 | 1 => left.first().cloned().unwrap_or_default(),
                _ => left.remove(0),
            });
            Box::pin(async move {
                if name.starts_with("slow.") {
                    std::future::pending::<()>().await;
                }
                found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such name at 10.1.2.3"))
            })
        })
    }
}
