//! HTTP/1.1 over connections that are kept, in the era without sessions, whose replies are plain JSON.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use rustix::event::{PollFd, PollFlags, poll};
use serde_json::{Value, json};

use crate::{
    client::{Client, Request},
    server::Process,
};

const VERSION: &str = "2026-07-28";

/// Connections to a server.
pub(crate) struct Http {
    process: Process,
    address: SocketAddr,
    connections: Vec<Connection>,
    abandoned: Vec<TcpStream>,
    /// The header with a key or a token, where one is shown.
    shown: String,
}

impl Http {
    /// Opens one connection; others come when they are needed.
    pub(crate) fn open(process: Process, address: SocketAddr) -> anyhow::Result<Self> {
        let connections = vec![Connection::open(address)?];
        Ok(Self { process, address, connections, abandoned: Vec::new(), shown: String::new() })
    }

    /// The same, showing a key or a token with each request.
    pub(crate) fn showing(self, bearer: &str) -> Self {
        Self { shown: bearing(bearer), ..self }
    }

    /// Where the server listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// The header that shows a key or a token.
pub(super) fn bearing(bearer: &str) -> String {
    format!("Authorization: Bearer {bearer}\r\n")
}

impl Client for Http {
    fn once(&mut self, request: &Request) -> anyhow::Result<Duration> {
        let message = message(request, self.address, &self.shown);
        let connection = self.connections.first_mut().context("there is no connection")?;
        let began = Instant::now();
        connection.send(&message)?;
        while connection.receive()?.is_none() {}
        let took = began.elapsed();
        connection.take(request)?;
        Ok(took)
    }

    fn many(&mut self, request: &Request, count: usize, in_flight: usize) -> anyhow::Result<Duration> {
        while self.connections.len() < in_flight {
            self.connections.push(Connection::open(self.address)?);
        }
        let message = message(request, self.address, &self.shown);
        let connections = self.connections.get_mut(..in_flight).unwrap_or_default();
        let began = Instant::now();
        let (mut sent, mut received) = (0, 0);
        for connection in connections.iter_mut().take(count) {
            connection.send(&message)?;
            sent += 1;
        }
        while received < count {
            let mut waits: Vec<_> =
                connections.iter().map(|connection| PollFd::new(&connection.stream, PollFlags::IN)).collect();
            poll(&mut waits, None)?;
            let readable: Vec<_> = waits.iter().map(|wait| !wait.revents().is_empty()).collect();
            for (connection, readable) in connections.iter_mut().zip(readable) {
                if !readable || connection.receive()?.is_none() {
                    continue;
                }
                connection.take(request)?;
                received += 1;
                if sent < count {
                    connection.send(&message)?;
                    sent += 1;
                }
            }
        }
        Ok(began.elapsed())
    }

    fn abandon(&mut self, request: &Request, count: usize) -> anyhow::Result<()> {
        let message = message(request, self.address, &self.shown);
        for _ in 0..count {
            let mut connection = Connection::open(self.address)?;
            connection.send(&message)?;
            self.abandoned.push(connection.stream);
        }
        Ok(())
    }

    fn reply(&mut self, request: &Request) -> anyhow::Result<Value> {
        let message = message(request, self.address, &self.shown);
        let connection = self.connections.first_mut().context("there is no connection")?;
        connection.send(&message)?;
        while connection.receive()?.is_none() {}
        let reply = serde_json::from_slice(connection.body())?;
        connection.take(request)?;
        Ok(reply)
    }

    fn server(&self) -> &Process {
        &self.process
    }
}

pub(super) fn message(request: &Request, address: SocketAddr, shown: &str) -> Vec<u8> {
    let mut params = request.params.clone();
    if let Some(params) = params.as_object_mut() {
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": VERSION,
            "io.modelcontextprotocol/clientInfo": { "name": "bench", "version": "1" },
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        params.insert("_meta".into(), meta);
    }
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": request.method, "params": params }).to_string();
    let name = request.tool.as_ref().map_or_else(String::new, |tool| format!("Mcp-Name: {tool}\r\n"));
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: {VERSION}\r\n\
         Mcp-Method: {}\r\n{name}{shown}Content-Length: {}\r\n\r\n",
        request.method,
        body.len()
    );
    format!("{head}{body}").into_bytes()
}

/// One connection, with one request at a time.
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    buffer: Vec<u8>,
    /// Bytes that hold something.
    filled: usize,
    /// Where the body begins and ends, once its head is here.
    body: Option<(usize, usize)>,
}

impl Connection {
    pub(super) fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; 1 << 20], filled: 0, body: None })
    }

    pub(super) fn send(&mut self, message: &[u8]) -> anyhow::Result<()> {
        Ok(self.stream.write_all(message)?)
    }

    /// Reads what is there; something when the reply is whole.
    pub(super) fn receive(&mut self) -> anyhow::Result<Option<()>> {
        let room = self.buffer.get_mut(self.filled..).unwrap_or_default();
        let read = self.stream.read(room)?;
        if read == 0 {
            bail!("the server closed the connection");
        }
        self.filled += read;
        if self.body.is_none() {
            self.body = body(self.buffer.get(..self.filled).unwrap_or_default())?;
        }
        Ok(self.body.filter(|(_, end)| self.filled >= *end).map(drop))
    }

    fn body(&self) -> &[u8] {
        let (start, end) = self.body.unwrap_or_default();
        self.buffer.get(start..end).unwrap_or_default()
    }

    /// Checks the reply, and makes room for the next.
    pub(super) fn take(&mut self, request: &Request) -> anyhow::Result<()> {
        request.check(self.body())?;
        (self.filled, self.body) = (0, None);
        Ok(())
    }
}

/// Where the body of a reply begins and ends, once its head is whole.
fn body(bytes: &[u8]) -> anyhow::Result<Option<(usize, usize)>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(bytes.get(..end).unwrap_or_default())?.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.with_context(|| format!("a reply without a length: {head}"))?.trim().parse()?;
    Ok(Some((end + 4, end + 4 + length)))
}
