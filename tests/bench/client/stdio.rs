//! JSON-RPC lines over the pipes of a child, in the era of `initialize`.

use std::{
    io::{BufRead, BufReader, Write},
    process::{ChildStdin, ChildStdout},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Value, json};

use crate::{
    client::{Client, Request},
    server::Process,
};

/// What a server tells when its tools changed.
const LIST_CHANGED: &[u8] = b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"";
/// Seconds that such news may take before it is given up on: many times what is promised.
const PATIENCE: i64 = 10;

/// A session with a child.
pub(crate) struct Stdio {
    process: Process,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    /// Kept from line to line.
    line: Vec<u8>,
    id: u64,
    /// The server told of a change, and nobody has asked.
    told: bool,
}

impl Stdio {
    /// Begins a session; the time from the start of the process to the reply to `initialize`.
    pub(crate) fn open(mut process: Process) -> anyhow::Result<(Self, Duration)> {
        let (stdin, stdout) = (process.stdin.take(), process.stdout.take());
        let mut session = Self {
            stdin: stdin.context("the child has no standard input")?,
            // Larger than any reply here, so that the client does not wait in the middle of one.
            stdout: BufReader::with_capacity(1 << 20, stdout.context("the child has no standard output")?),
            process,
            line: Vec::new(),
            id: 1_000_000,
            told: false,
        };
        let initialize = Request {
            method: "initialize",
            tool: None,
            params: json!({
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": { "name": "bench", "version": "1" },
            }),
            answer: "serverInfo".into(),
        };
        session.once(&initialize)?;
        let took = session.process.began.elapsed();
        session.stdin.write_all(b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}\n")?;
        Ok((session, took))
    }

    /// Waits until the server tells that its tools changed, or has told so since this was last asked.
    pub(crate) fn list_changed(&mut self) -> anyhow::Result<()> {
        while !std::mem::take(&mut self.told) {
            if self.stdout.buffer().is_empty() {
                let mut news = [PollFd::new(self.stdout.get_ref(), PollFlags::IN)];
                let within = Timespec { tv_sec: PATIENCE, tv_nsec: 0 };
                ensure!(poll(&mut news, Some(&within))? > 0, "the server told of no change within {PATIENCE} s");
            }
            self.read()?;
        }
        Ok(())
    }

    fn read(&mut self) -> anyhow::Result<()> {
        self.line.clear();
        if self.stdout.read_until(b'\n', &mut self.line)? == 0 {
            bail!("the server closed its standard output");
        }
        self.told |= self.line.starts_with(LIST_CHANGED);
        Ok(())
    }

    /// Reads the next reply; what the server only tells, such as that its list changed, is passed over.
    fn receive(&mut self, request: &Request) -> anyhow::Result<()> {
        loop {
            self.read()?;
            if !self.line.starts_with(b"{\"jsonrpc\":\"2.0\",\"method\"") {
                return request.check(&self.line);
            }
        }
    }

    /// Writes `count` requests in one go.
    fn send(&mut self, frame: &Frame, buffer: &mut Vec<u8>, count: usize) -> anyhow::Result<()> {
        buffer.clear();
        for _ in 0..count {
            self.id += 1;
            buffer.extend_from_slice(&frame.before);
            write!(buffer, "{}", self.id)?;
            buffer.extend_from_slice(&frame.after);
        }
        Ok(self.stdin.write_all(buffer)?)
    }
}

impl Client for Stdio {
    fn once(&mut self, request: &Request) -> anyhow::Result<Duration> {
        let (frame, mut buffer) = (Frame::of(request), Vec::with_capacity(1024));
        let began = Instant::now();
        self.send(&frame, &mut buffer, 1)?;
        self.receive(request)?;
        Ok(began.elapsed())
    }

    fn many(&mut self, request: &Request, count: usize, in_flight: usize) -> anyhow::Result<Duration> {
        let (frame, mut buffer) = (Frame::of(request), Vec::with_capacity(1 << 16));
        let began = Instant::now();
        let mut sent = in_flight.min(count);
        self.send(&frame, &mut buffer, sent)?;
        let mut received = 0;
        while received < count {
            self.receive(request)?;
            received += 1;
            let mut answered = 1;
            // Replies that are here already are answered together: the server sees them as one client's burst.
            while self.stdout.buffer().contains(&b'\n') {
                self.receive(request)?;
                received += 1;
                answered += 1;
            }
            let more = answered.min(count - sent);
            self.send(&frame, &mut buffer, more)?;
            sent += more;
        }
        Ok(began.elapsed())
    }

    fn abandon(&mut self, request: &Request, count: usize) -> anyhow::Result<()> {
        self.send(&Frame::of(request), &mut Vec::new(), count)
    }

    fn reply(&mut self, request: &Request) -> anyhow::Result<Value> {
        self.once(request)?;
        Ok(serde_json::from_slice(&self.line)?)
    }

    fn server(&self) -> &Process {
        &self.process
    }
}

/// A message around the place of its id.
struct Frame {
    before: Vec<u8>,
    after: Vec<u8>,
}

impl Frame {
    fn of(request: &Request) -> Self {
        let after = format!(",\"method\":\"{}\",\"params\":{}}}\n", request.method, request.params);
        Self { before: b"{\"jsonrpc\":\"2.0\",\"id\":".to_vec(), after: after.into() }
    }
}
