//! MCP's messages as lines of JSON, both ways: what a client says on a pipe or on the socket, and what it is told.
//!
//! It does what `rmcp`'s own transport of lines does (`rmcp::transport::async_rw`), with two differences, both measured
//! (`tests/bench/README.md`, "The messages of a pipe"): a plain `tools/call` is read at once, where `rmcp` tries one kind of
//! message after the other on a copy; and the messages of one moment are written together.

use std::{
    fmt,
    future::{Future, poll_fn},
    io,
    marker::PhantomData,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::Duration,
};

use rmcp::{
    ErrorData, RoleServer,
    model::{
        CallToolRequest, CallToolRequestMethod, CallToolRequestParams, ClientRequest, JsonObject, JsonRpcVersion2_0,
        RequestId, RequestMetaObject,
    },
    service::{RxJsonRpcMessage, TxJsonRpcMessage},
    transport::{
        Transport,
        async_rw::{JsonRpcMessageCodec, JsonRpcMessageCodecError},
    },
};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::Notify,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::{
    bytes::{Bytes, BytesMut},
    codec::{AnyDelimiterCodec, AnyDelimiterCodecError, Decoder},
    task::AbortOnDropHandle,
};

use crate::{pipeline::MAX_MESSAGE, threads::Linger};

/// Bytes of messages that wait to be written; whoever has more to say waits until the client has read.
const MAX_WAITING: usize = 64 << 10;
/// Bytes of messages that wait while the client is still heard: one that asks on and on and reads nothing has to read first.
const MOST_WAITING: usize = 2 * MAX_MESSAGE;
/// How long such a client may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes that are asked for in one read.
const PIECE: usize = 16 << 10;
/// How long the last messages may take once the client has nothing more to ask.
const LAST_MESSAGES: Duration = Duration::from_secs(5);
/// How often the writer lets those go first who are about to say something.
const TURNS: u32 = 3;

/// A client: where it is read, and where it is written to.
pub(crate) struct Lines<R> {
    read: R,
    unread: BytesMut,
    /// The last line was long, and its memory is still that of `unread`.
    long: bool,
    lines: AnyDelimiterCodec,
    outbox: Arc<Outbox>,
    /// A message was refused, and the client may not have read that yet.
    refused: bool,
    /// Until when the client has to read, where too much waits for it.
    until: Option<Instant>,
}

impl<R: AsyncRead + Unpin + Send> Lines<R> {
    /// The transport, and the task that writes its messages. `linger` knows whether more answers are on their way.
    pub(crate) fn new(read: R, write: impl AsyncWrite + Unpin + Send + 'static, linger: Linger) -> (Self, Writing) {
        let outbox = Arc::<Outbox>::default();
        let lines = AnyDelimiterCodec::new_with_max_length(b"\n".to_vec(), Vec::new(), MAX_MESSAGE);
        let writing = tokio::spawn(write_together(Arc::clone(&outbox), write, linger));
        let transport = Self { read, unread: BytesMut::new(), long: false, lines, outbox, refused: false, until: None };
        (transport, Writing(AbortOnDropHandle::new(writing)))
    }

    /// The next line; none at the end. What was read of it is kept where this is dropped before its end.
    async fn line(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            match self.lines.decode(&mut self.unread) {
                Ok(Some(line)) => {
                    self.long |= line.len() > MAX_WAITING;
                    return Ok(Some(line));
                }
                Ok(None) => {
                    if std::mem::take(&mut self.long) {
                        self.unread = BytesMut::from(self.unread.as_ref());
                    }
                    self.unread.reserve(PIECE);
                    if self.read.read_buf(&mut self.unread).await? == 0 {
                        return Ok(None);
                    }
                }
                // The rest of it is passed over.
                Err(AnyDelimiterCodecError::MaxChunkLengthExceeded) => {
                    self.long = true;
                    tracing::error!(limit = MAX_MESSAGE, "a message is longer than the limit, and was not read");
                }
                Err(AnyDelimiterCodecError::Io(error)) => return Err(error),
            }
        }
    }
}

impl<R: AsyncRead + Unpin + Send> Transport<RoleServer> for Lines<R> {
    type Error = io::Error;

    fn send(
        &mut self,
        message: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        let said = self.outbox.say(&message);
        let outbox = Arc::clone(&self.outbox);
        async move {
            said?;
            outbox.room(MAX_WAITING).await
        }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        loop {
            // Whoever sends nonsense and reads nothing is not read any further.
            let most = if std::mem::take(&mut self.refused) { MAX_WAITING } else { MOST_WAITING };
            if self.outbox.has_more_than(most) {
                self.refused = most == MAX_WAITING;
                let until = *self.until.get_or_insert_with(|| Instant::now() + PATIENCE);
                let Ok(room) = timeout_at(until, self.outbox.room(most)).await else {
                    tracing::warn!("a client that reads nothing of what it asks for is not served any more");
                    return None;
                };
                room.ok()?;
                self.refused = false;
            }
            // It read in time, whether this waited for it or was away meanwhile.
            self.until = None;
            let line = match self.line().await {
                Ok(line) => line?,
                Err(error) => {
                    tracing::error!(%error, "a client could not be read");
                    return None;
                }
            };
            match read(&line) {
                Ok(Some(message)) => return Some(message),
                Ok(None) => {}
                Err(why) => {
                    tracing::debug!(why, "a message was refused");
                    let refusal = ErrorData::invalid_request("Invalid request", None);
                    self.outbox.say(&TxJsonRpcMessage::<RoleServer>::error(refusal, None)).ok()?;
                    self.refused = true;
                }
            }
        }
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        self.outbox.close();
        Ok(())
    }
}

impl<R> Drop for Lines<R> {
    fn drop(&mut self) {
        self.outbox.close();
    }
}

/// Writes the messages of a transport; dropped, it stops.
pub(crate) struct Writing(AbortOnDropHandle<io::Result<()>>);

impl Writing {
    /// Waits until all is written, once the transport is closed. A client that does not read has five seconds, and one that
    /// is gone needs nothing.
    pub(crate) async fn ended(self) {
        _ = timeout(LAST_MESSAGES, self.0).await;
    }
}

/// The most frequent message by far, in its plainest form. Whatever has more to it is left to `rmcp`, and so is whatever
/// begins as an array: what is derived would take the fields in their order.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainCall {
    #[serde(rename = "jsonrpc")]
    _version: JsonRpcVersion2_0,
    id: RequestId,
    #[serde(rename = "method")]
    _method: CallToolRequestMethod,
    #[serde(deserialize_with = "object")]
    params: PlainParams,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainParams {
    name: String,
    arguments: Option<JsonObject>,
    #[serde(rename = "_meta")]
    meta: Option<JsonObject>,
}

/// Reads an object, and nothing else that could stand for one.
fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    struct Object<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map))
        }
    }

    from.deserialize_map(Object(PhantomData))
}

/// A plain call, where a line is one.
fn plain(line: &[u8]) -> Option<PlainCall> {
    let mut text = serde_json::Deserializer::from_slice(line);
    let call = object(&mut text).ok()?;
    text.end().ok()?;
    Some(call)
}

impl From<PlainCall> for RxJsonRpcMessage<RoleServer> {
    fn from(call: PlainCall) -> Self {
        let PlainCall { id, params: PlainParams { name, arguments, meta }, .. } = call;
        let mut params = CallToolRequestParams::new(name);
        params.arguments = arguments;
        let mut request = CallToolRequest::new(params);
        if let Some(meta) = meta {
            request.extensions.insert(RequestMetaObject::from(meta));
        }
        Self::request(ClientRequest::CallToolRequest(request), id)
    }
}

/// What a line says; nothing where it is to be passed over, which is what is no JSON as well: no answer could name it, and
/// one that is no JSON to the other side either would be answered in turn.
fn read(line: &[u8]) -> Result<Option<RxJsonRpcMessage<RoleServer>>, String> {
    if let Some(call) = plain(line) {
        return Ok(Some(call.into()));
    }
    if line.is_empty() || line == b"\r" {
        return Ok(None);
    }
    let mut whole = BytesMut::from([line, b"\n"].concat().as_slice());
    match JsonRpcMessageCodec::default().decode(&mut whole) {
        Ok(message) => Ok(message),
        Err(JsonRpcMessageCodecError::Serde(error)) if error.is_syntax() || error.is_eof() => {
            tracing::debug!(%error, "what is no JSON was passed over");
            Ok(None)
        }
        Err(error) => Err(error.to_string()),
    }
}

/// What is said and not written yet.
#[derive(Default)]
struct Outbox {
    waiting: Mutex<Waiting>,
    /// Something was said, or it is the end.
    said: Notify,
    /// What waited is being written, or will never be.
    room: Notify,
}

#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// Nothing more will be said.
    closed: bool,
    /// The client reads no more.
    gone: bool,
}

impl Outbox {
    /// Adds a message, in the order in which this is called.
    fn say(&self, message: &TxJsonRpcMessage<RoleServer>) -> io::Result<()> {
        let mut waiting = self.waiting();
        if waiting.gone || waiting.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let before = waiting.bytes.len();
        if let Err(error) = serde_json::to_writer(&mut waiting.bytes, message) {
            waiting.bytes.truncate(before);
            return Err(error.into());
        }
        waiting.bytes.push(b'\n');
        drop(waiting);
        if before == 0 {
            self.said.notify_one();
        }
        Ok(())
    }

    fn has_more_than(&self, most: usize) -> bool {
        let waiting = self.waiting();
        waiting.gone || waiting.bytes.len() > most
    }

    /// Waits until no more than `most` bytes wait.
    async fn room(&self, most: usize) -> io::Result<()> {
        loop {
            let room = self.room.notified();
            {
                let waiting = self.waiting();
                if waiting.gone {
                    return Err(io::ErrorKind::BrokenPipe.into());
                }
                if waiting.bytes.len() <= most {
                    return Ok(());
                }
            }
            room.await;
        }
    }

    fn close(&self) {
        self.waiting().closed = true;
        self.said.notify_one();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes what waits, all of it at once, until nothing more will be said or the client is gone.
async fn write_together(outbox: Arc<Outbox>, mut client: impl AsyncWrite + Unpin, linger: Linger) -> io::Result<()> {
    let outbox = Reader(outbox);
    let mut bytes = Vec::new();
    loop {
        let (mut length, closed) = {
            let waiting = outbox.0.waiting();
            (waiting.bytes.len(), waiting.closed)
        };
        if length == 0 {
            if closed {
                return Ok(());
            }
            outbox.0.said.notified().await;
            continue;
        }
        // Answers that are as good as there go along.
        for _ in 0..TURNS {
            if !linger.is_asked() {
                break;
            }
            others_first().await;
            let now = outbox.0.waiting().bytes.len();
            if now == length {
                break;
            }
            length = now;
        }
        std::mem::swap(&mut bytes, &mut outbox.0.waiting().bytes);
        outbox.0.room.notify_waiters();
        client.write_all(&bytes).await?;
        client.flush().await?;
        bytes.clear();
        // A long message is no reason to keep its memory.
        bytes.shrink_to(MAX_WAITING);
    }
}

/// Goes behind whatever else is ready to run on this thread, where another thread can still take it over.
async fn others_first() {
    let mut went = false;
    poll_fn(|context| {
        if std::mem::replace(&mut went, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Whoever reads what is said, until this is dropped.
struct Reader(Arc<Outbox>);

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.waiting().gone = true;
        self.0.room.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use proptest::prelude::*;
    use rmcp::model::ServerJsonRpcMessage;
    use serde_json::{Value, json};
    use tokio::{
        io::{DuplexStream, duplex},
        task::yield_now,
    };

    use super::*;

    /// Far less than waits.
    const PIPE: usize = 1024;

    fn client() -> (Lines<DuplexStream>, Writing, DuplexStream, DuplexStream) {
        let (ours, asks) = duplex(PIPE);
        let (told, out) = duplex(PIPE);
        let (lines, writing) = Lines::new(ours, out, Linger::new());
        (lines, writing, asks, told)
    }

    fn answer(text: &str) -> TxJsonRpcMessage<RoleServer> {
        ServerJsonRpcMessage::error(ErrorData::internal_error(text.to_owned(), None), Some(RequestId::Number(1)))
    }

    /// As `rmcp` reads it.
    fn read_by_rmcp(line: &[u8]) -> Option<RxJsonRpcMessage<RoleServer>> {
        JsonRpcMessageCodec::default().decode(&mut BytesMut::from([line, b"\n"].concat().as_slice())).ok().flatten()
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((".{0,6}", inner), 0..4).prop_map(|entries| entries.into_iter().collect()),
            ]
        })
    }

    /// Calls, plain ones and others, in which any part may be missing, of another kind, or too much.
    fn any_call() -> impl Strategy<Value = Value> {
        let part = |usual: Value| prop_oneof![8 => Just(Some(usual)), 1 => Just(None), 1 => any_json().prop_map(Some)];
        let object = prop_oneof![4 => any_json().prop_filter("an object", Value::is_object), 1 => any_json()];
        let meta = prop_oneof![Just(json!({ "progressToken": 7 })), any_json()];
        let more = prop_oneof![
            12 => Just(None),
            1 => Just(Some("task")),
            1 => Just(Some("requestState")),
            1 => Just(Some("result")),
            1 => Just(Some("unknown")),
        ];
        let params = (part(json!("echo")), prop::option::of(object), prop::option::of(meta), more.clone(), any_json());
        let params = params.prop_map(|(name, arguments, meta, more, other)| {
            let fields = [("name", name), ("arguments", arguments), ("_meta", meta), (more.unwrap_or(""), Some(other))];
            let fields = fields.into_iter().filter(|(name, _)| !name.is_empty());
            Value::Object(fields.filter_map(|(name, value)| Some((name.to_owned(), value?))).collect())
        });
        let params = prop_oneof![9 => params.prop_map(Some), 1 => Just(None)];
        let id = prop_oneof![any::<i64>().prop_map(Value::from), ".{0,8}".prop_map(Value::from), any_json()];
        let heads = (part(json!("2.0")), part(json!("tools/call")), prop::option::weighted(0.9, id));
        (heads, params, more, any_json()).prop_map(|((version, method, id), params, more, other)| {
            let mut fields = vec![("jsonrpc", version), ("id", id), ("method", method), ("params", params)];
            fields.extend(more.map(|name| (name, Some(other))));
            Value::Object(fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect())
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

        #[test]
        fn every_message_is_read_as_rmcp_reads_it(call in any_call()) {
            let line = call.to_string();
            let [ours, theirs] = [read(line.as_bytes()).ok().flatten(), read_by_rmcp(line.as_bytes())];
            prop_assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
            // Extensions say nothing of themselves, and are the metadata on the wire.
            let wire = |message: Option<RxJsonRpcMessage<RoleServer>>| serde_json::to_value(message).expect("JSON");
            prop_assert_eq!(wire(ours), wire(theirs));
        }
    }

    #[test]
    fn a_plain_call_is_read_at_once_and_nothing_else() {
        let far = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"a":1e400},"_meta":{}}}"#;
        assert!(plain(far).is_none(), "a number that is none");
        for (line, is_plain) in [
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"a":1},"_meta":{}}}"#,
                true,
            ),
            (r#"{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{"name":"echo"}}"#, true),
            (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","name":"other"}}"#, false),
            (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","requestState":"s"}}"#, false),
            (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo"},"result":{}}"#, false),
            (r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"echo"}}"#, false),
            (r#"{"jsonrpc":"1.0","id":1,"method":"tools/call","params":{"name":"echo"}}"#, false),
            (r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#, false),
            (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo"}} {}"#, false),
            (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":["echo",{"a":1},null]}"#, false),
            (r#"["2.0",1,"tools/call",{"name":"echo"}]"#, false),
            (r#"["2.0",1,"tools/call",["echo",null,null]]"#, false),
        ] {
            assert_eq!(plain(line.as_bytes()).is_some(), is_plain, "{line}");
            let ours = read(line.as_bytes()).ok().flatten();
            assert_eq!(format!("{ours:?}"), format!("{:?}", read_by_rmcp(line.as_bytes())), "{line}");
        }
    }

    /// What is no message is passed over or refused, and none of it hides the next; least of all the end of a line that is
    /// too long, which could be a message by itself.
    #[tokio::test]
    async fn what_is_no_message_ends_nothing() {
        let (mut lines, _writing, mut asks, mut told) = client();
        let asking = tokio::spawn(async move {
            let ping = |id| format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"ping\"}}\n");
            let long = " ".repeat(MAX_MESSAGE);
            let said = [
                "\n\r\nnonsense\n{\"half\":\n",
                "{\"jsonrpc\":\"2.0\"}\n",
                &ping(1),
                &long,
                &ping(2),
                &ping(3),
                "{\"jsonrpc\":\"2.0\",\"id\":4,\"method\":\"ping\"}",
            ];
            for piece in said {
                asks.write_all(piece.as_bytes()).await.expect("read");
            }
        });
        let mut ids = Vec::new();
        while let Some(message) = lines.receive().await {
            ids.push(serde_json::to_value(&message).expect("JSON")["id"].clone());
        }
        assert_eq!(ids, [json!(1), json!(3)]);
        assert!(lines.unread.capacity() < MAX_WAITING, "the memory of the long one is not kept");
        asking.await.expect("all was said");
        drop(lines);
        let mut text = String::new();
        told.read_to_string(&mut text).await.expect("text");
        let refusals: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let codes: Vec<_> = refusals.iter().map(|refusal| &refusal["error"]["code"]).collect();
        assert_eq!(codes, [&json!(-32600)], "for the one that is JSON and no message");
    }

    /// Memory is bounded by what the client reads.
    #[tokio::test]
    async fn whoever_says_more_than_the_client_reads_waits() {
        let (mut lines, writing, _asks, mut told) = client();
        let text = "x".repeat(MAX_WAITING);
        lines.send(answer(&text)).await.expect("there is room for the writer's");
        yield_now().await;
        let mut later = Vec::new();
        for _ in 0..3 {
            later.push(lines.send(answer(&text)).boxed());
        }
        for _ in 0..50 {
            yield_now().await;
            assert!(futures::poll!(later[2].as_mut()).is_pending(), "nobody reads");
        }
        let mut read = vec![0; 4 * MAX_WAITING];
        told.read_exact(&mut read).await.expect("four messages");
        for sent in &mut later {
            sent.await.expect("room");
        }
        lines.close().await.expect("closed");
        drop(told);
        writing.ended().await;
    }

    #[tokio::test]
    async fn whoever_sends_nonsense_and_reads_nothing_is_not_read_further() {
        let (mut lines, _writing, mut asks, told) = client();
        let nonsense = "{\"jsonrpc\":\"2.0\"}\n".repeat(PIPE);
        let asking = tokio::spawn(async move { asks.write_all(nonsense.repeat(64).as_bytes()).await });
        let receiving = timeout(Duration::from_millis(300), lines.receive()).await;
        assert!(receiving.is_err() && !asking.is_finished());
        let waiting = lines.outbox.waiting().bytes.len();
        assert!(waiting <= 2 * MAX_WAITING, "{waiting}");
        // One that is gone is no client any more.
        drop(told);
        assert!(lines.receive().await.is_none());
    }

    /// Its requests are in order, and it is not heard either until it has read some of the answers.
    #[tokio::test]
    async fn whoever_asks_on_and_on_and_reads_nothing_is_not_heard() {
        let (mut lines, _writing, mut asks, mut told) = client();
        let text = "x".repeat(MAX_MESSAGE);
        for _ in 0..3 {
            drop(lines.send(answer(&text)));
            yield_now().await;
        }
        // One is with the writer.
        drop(lines.send(answer(&text)));
        asks.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n").await.expect("there is room");
        assert!(timeout(Duration::from_millis(200), lines.receive()).await.is_err());
        let reading = tokio::spawn(async move { tokio::io::copy(&mut told, &mut tokio::io::sink()).await });
        assert!(lines.receive().await.is_some());
        // That it had to wait once is no reason to end it at once the next time.
        lines.until = Some(Instant::now());
        asks.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"ping\"}\n").await.expect("there is room");
        assert!(lines.receive().await.is_some() && lines.until.is_none());
        // And where it never reads, that is its end.
        let (mut lines, _writing, _asks, _told) = client();
        for _ in 0..4 {
            drop(lines.send(answer(&text)));
            yield_now().await;
        }
        lines.until = Some(Instant::now() + Duration::from_millis(100));
        assert!(lines.receive().await.is_none());
        reading.abort();
    }

    #[tokio::test]
    async fn messages_of_one_moment_are_written_together_and_the_last_before_the_end() {
        let (mut lines, writing, _asks, mut told) = client();
        for text in ["first", "second"] {
            lines.send(answer(text)).await.expect("room");
        }
        let mut bytes = Vec::with_capacity(PIPE);
        told.read_buf(&mut bytes).await.expect("both");
        assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count(), 2);
        let last = lines.send(answer("last")).boxed();
        lines.close().await.expect("closed");
        last.await.expect("said");
        assert!(lines.send(answer("too late")).await.is_err());
        writing.ended().await;
        let mut rest = String::new();
        told.read_to_string(&mut rest).await.expect("text");
        assert_eq!(rest.lines().count(), 1);
    }
}
