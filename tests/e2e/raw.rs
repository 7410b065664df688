//! HTTP by hand: what a client library would refuse to send, and headers that it would hide.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
};

use serde_json::{Value, json};

use crate::host::{PATIENCE, text};

/// One reply, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The last message of the body, plain or streamed.
    pub(crate) fn message(&self) -> Value {
        let lines = self.body.lines().map(|line| line.strip_prefix("data:").unwrap_or(line).trim());
        lines.filter_map(|line| serde_json::from_str(line).ok()).next_back().unwrap_or(Value::Null)
    }
}

/// Opens a connection and sends the head of a request with these headers.
pub(crate) fn open_head(address: &str, method: &str, path: &str, headers: &[(&str, &str)]) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\nHost: {address}\r\n");
    head.extend(headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")));
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).expect("a head");
    stream
}

/// Opens a connection and sends a request; the reply is read by [`answer`] or by hand.
pub(crate) fn open(address: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        head.push_str(&format!("Host: {address}\r\n"));
    }
    head.extend(headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")));
    head.push_str("\r\n");
    // A host that refuses early may have closed its side already.
    _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    stream
}

/// Reads a whole reply.
pub(crate) fn answer(stream: TcpStream) -> Answer {
    let mut reader = BufReader::new(stream);
    let (status, headers) = head(&mut reader);
    let mut body = text(&mut reader);
    if headers.iter().any(|(name, value)| name.eq_ignore_ascii_case("transfer-encoding") && value == "chunked") {
        body = unchunked(&body);
    }
    Answer { status, headers, body }
}

/// Reads the head of a reply.
pub(crate) fn head(reader: &mut impl BufRead) -> (u16, Vec<(String, String)>) {
    let mut line = String::new();
    reader.read_line(&mut line).expect("a status line");
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a header");
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    (status, headers)
}

fn unchunked(mut body: &str) -> String {
    let mut text = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let Ok(size) = usize::from_str_radix(size, 16) else {
            break;
        };
        let Some(chunk) = rest.get(..size).filter(|chunk| !chunk.is_empty()) else {
            break;
        };
        text.push_str(chunk);
        body = rest.get(size + 2..).unwrap_or_default();
    }
    text
}

/// What every request of MCP carries.
pub(crate) const USUAL: [(&str, &str); 2] =
    [("Content-Type", "application/json"), ("Accept", "application/json, text/event-stream")];

/// Posts a body to `/mcp`.
pub(crate) fn post(address: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    answer(open(address, "POST", "/mcp", headers, body))
}

/// A request of the newer era, with its headers and metadata.
pub(crate) fn modern(address: &str, method: &str, params: Value) -> Answer {
    answer(open_modern(address, method, params))
}

/// The same, with the reply left to read.
pub(crate) fn open_modern(address: &str, method: &str, params: Value) -> TcpStream {
    open_modern_with(address, method, params, &[])
}

/// The same, with further headers.
pub(crate) fn open_modern_with(address: &str, method: &str, mut params: Value, more: &[(&str, &str)]) -> TcpStream {
    let version = "2026-07-28";
    let client = json!({ "name": "test", "version": "1" });
    let meta = params.as_object_mut().expect("an object").entry("_meta").or_insert_with(|| json!({}));
    meta["io.modelcontextprotocol/protocolVersion"] = version.into();
    meta["io.modelcontextprotocol/clientInfo"] = client;
    meta["io.modelcontextprotocol/clientCapabilities"] = json!({});
    let name = params["name"].as_str().or(params["uri"].as_str()).unwrap_or_default().to_owned();
    let mut headers = USUAL.to_vec();
    headers.extend(more);
    headers.extend([("MCP-Protocol-Version", version), ("Mcp-Method", method)]);
    if !name.is_empty() {
        headers.push(("Mcp-Name", &name));
    }
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
    open(address, "POST", "/mcp", &headers, body.as_bytes())
}

/// Calls a tool in the newer era.
pub(crate) fn call(address: &str, tool: &str, arguments: Value) -> Value {
    modern(address, "tools/call", json!({ "name": tool, "arguments": arguments })).message()
}

/// A session of the older era.
pub(crate) struct Session {
    address: String,
    id: String,
}

impl Session {
    /// Initializes one.
    pub(crate) fn open(address: &str) -> Self {
        let client = json!({ "name": "test", "version": "1" });
        let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client });
        let body = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params });
        let answer = post(address, &USUAL, body.to_string().as_bytes());
        assert_eq!(answer.status, 200, "{answer:?}");
        let id = answer.header("mcp-session-id").expect("a session").to_owned();
        let session = Self { address: address.to_owned(), id };
        session.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        session
    }

    fn headers(&self) -> Vec<(&str, &str)> {
        let mut headers = USUAL.to_vec();
        headers.extend([("Mcp-Session-Id", self.id.as_str()), ("MCP-Protocol-Version", "2025-11-25")]);
        headers
    }

    /// Posts a message.
    pub(crate) fn send(&self, message: &Value) -> Answer {
        post(&self.address, &self.headers(), message.to_string().as_bytes())
    }

    /// Opens the stream of what the host says by itself.
    pub(crate) fn listen(&self) -> BufReader<TcpStream> {
        let mut reader = BufReader::new(open(&self.address, "GET", "/mcp", &self.headers(), b""));
        assert_eq!(head(&mut reader).0, 200);
        reader
    }

    /// Ends the session.
    pub(crate) fn delete(&self) -> Answer {
        answer(open(&self.address, "DELETE", "/mcp", &self.headers(), b""))
    }
}

/// Waits for a line of a stream that contains `text`.
pub(crate) fn heard(stream: &mut impl BufRead, text: &str) -> String {
    loop {
        let mut line = String::new();
        assert!(stream.read_line(&mut line).expect("a line in time") > 0, "the stream ended without {text:?}");
        if line.contains(text) {
            return line;
        }
    }
}
