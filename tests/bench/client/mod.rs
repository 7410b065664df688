//! One lean client for both sides, so that what it costs is small and the same: requests are made before they are
//! timed, and replies are looked at only as far as it takes to see that they are the right ones.

mod crowd;
mod http;
mod stdio;

use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};

pub(crate) use self::{
    crowd::{Crowd, Prepared},
    http::Http,
    stdio::Stdio,
};

/// A request, ready to be sent again and again.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    method: &'static str,
    tool: Option<String>,
    params: Value,
    /// What a reply to it contains.
    answer: String,
}

impl Request {
    /// A call of `tool` whose reply contains `answer`.
    pub(crate) fn call(tool: &str, arguments: &Value, answer: &str) -> Self {
        let params = json!({ "name": tool, "arguments": arguments });
        Self { method: "tools/call", tool: Some(tool.to_owned()), params, answer: answer.to_owned() }
    }

    /// The trivial call that most parts measure.
    pub(crate) fn echo() -> Self {
        let text = "the quick brown fox";
        Self::call("echo_echo", &json!({ "text": text }), text)
    }

    /// The list of tools, which contains `answer`.
    pub(crate) fn list(answer: &str) -> Self {
        Self { method: "tools/list", tool: None, params: json!({}), answer: answer.to_owned() }
    }

    /// Refuses a reply that is not the one expected.
    fn check(&self, reply: &[u8]) -> anyhow::Result<()> {
        // What is searched for is near the beginning, however long the reply is.
        let head = reply.get(..reply.len().min(4096)).unwrap_or(reply);
        let text = std::str::from_utf8(head)
            .or_else(|error| std::str::from_utf8(head.get(..error.valid_up_to()).unwrap_or_default()));
        let text = text.context("the reply is no UTF-8")?;
        if text.contains(&self.answer) && !text.contains("\"isError\":true") {
            return Ok(());
        }
        bail!("not the reply to `{}` that was expected: {text}", self.method)
    }
}

/// A connection to a server, of whichever transport.
pub(crate) trait Client {
    /// Sends `request`, and waits for the reply; the time between.
    fn once(&mut self, request: &Request) -> anyhow::Result<Duration>;

    /// Sends `request` `count` times, with `in_flight` of them unanswered at a time; the time of all.
    fn many(&mut self, request: &Request, count: usize, in_flight: usize) -> anyhow::Result<Duration>;

    /// Sends `request` `count` times and leaves the replies alone.
    fn abandon(&mut self, request: &Request, count: usize) -> anyhow::Result<()>;

    /// The whole of one reply.
    fn reply(&mut self, request: &Request) -> anyhow::Result<Value>;

    /// The server's process.
    fn server(&self) -> &crate::server::Process;
}
