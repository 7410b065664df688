//! A command at the host that runs: one request, and its answer.

use std::{io, os::unix::net::UnixStream as Stream};

use portcullis_catalogue::Progress;
use serde_json::{Map, Value};
use tokio::{
    io::BufReader,
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use super::{
    line,
    wire::{Answer, MAX_ANSWER, MAX_REQUEST, Request},
};
use crate::{
    consent::Confirmed,
    desk::{Called, KvAnswer, KvRefusal, KvRequest, Listed},
};

/// A connection to the host, which has said welcome.
#[derive(Debug)]
pub struct Errand {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    host: u32,
}

/// What was asked was not answered.
#[derive(Debug, thiserror::Error)]
pub enum ErrandError {
    /// The host went away, or the connection failed.
    #[error("the host that runs here (process {host}) went away, and whether it did what was asked is not known")]
    Gone {
        /// Its process.
        host: u32,
        /// Why, where the system said.
        source: Option<io::Error>,
    },
    /// What is asked is longer than a host reads. Nothing was sent.
    #[error("what is asked of the host that runs here is too long")]
    Long(#[source] io::Error),
    /// The host cannot do it.
    #[error("{0}")]
    Failed(String),
}

impl Errand {
    /// Over a connection that [`visit`](super::visit) or [`seek`](super::seek) found. Within a runtime.
    ///
    /// # Errors
    /// When the runtime does not take it.
    pub fn new(stream: Stream, host: u32) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let (reader, writer) = UnixStream::from_std(stream)?.into_split();
        Ok(Self { reader: BufReader::new(reader), writer, host })
    }

    /// The host's process.
    pub fn host(&self) -> u32 {
        self.host
    }

    /// Calls a tool as the operator of this machine, who has said yes to what is `confirmed`. Dropped before its end, the
    /// call is stopped.
    ///
    /// # Errors
    /// When the host goes away.
    pub async fn call(
        &mut self,
        tool: &str,
        arguments: Map<String, Value>,
        confirmed: Option<Confirmed>,
        mut report: impl FnMut(Progress),
    ) -> Result<Called, ErrandError> {
        let mut answer = self.ask(&Request::Call { tool: tool.to_owned(), arguments, confirmed }).await?;
        loop {
            match answer {
                Answer::Progress { progress, total, message } => report(Progress { progress, total, message }),
                Answer::Called(called) => return Ok(*called),
                other => return Err(unexpected(other)),
            }
            answer = self.next().await?;
        }
    }

    /// The plugins, once the host has looked at its files again.
    ///
    /// # Errors
    /// When the host goes away.
    pub async fn list(&mut self) -> Result<Listed, ErrandError> {
        match self.ask(&Request::List).await? {
            Answer::Listed(listed) => Ok(*listed),
            other => Err(unexpected(other)),
        }
    }

    /// Has the host look at its files now: what was written before holds when this returns.
    ///
    /// # Errors
    /// When the host goes away.
    pub async fn reload(&mut self) -> Result<(), ErrandError> {
        match self.ask(&Request::Reload).await? {
            Answer::Reloaded => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    /// Shared context.
    ///
    /// # Errors
    /// When the host goes away; what the store says is in the answer.
    pub async fn kv(&mut self, request: KvRequest) -> Result<Result<KvAnswer, KvRefusal>, ErrandError> {
        match self.ask(&Request::Kv(request)).await? {
            Answer::Kv(answer) => Ok(*answer),
            other => Err(unexpected(other)),
        }
    }

    async fn ask(&mut self, request: &Request) -> Result<Answer, ErrandError> {
        match line::write(&mut self.writer, request, MAX_REQUEST).await {
            Ok(()) => self.next().await,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(ErrandError::Long(error)),
            Err(error) => Err(self.gone(Some(error))),
        }
    }

    async fn next(&mut self) -> Result<Answer, ErrandError> {
        match line::read(&mut self.reader, MAX_ANSWER).await {
            Ok(Some(line)) => serde_json::from_slice(&line).map_err(|error| self.gone(Some(error.into()))),
            Ok(None) => Err(self.gone(None)),
            Err(error) => Err(self.gone(Some(error))),
        }
    }

    fn gone(&self, source: Option<io::Error>) -> ErrandError {
        ErrandError::Gone { host: self.host, source }
    }
}

fn unexpected(answer: Answer) -> ErrandError {
    match answer {
        Answer::Failed { what } => ErrandError::Failed(what),
        _ => ErrandError::Failed("the host answered something else".to_owned()),
    }
}
