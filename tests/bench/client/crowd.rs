//! Many connections to one server, each with a request of its own caller.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{
    Request,
    http::{Connection, bearing, message},
};

/// Connections that are kept, by number.
pub(crate) struct Crowd {
    address: SocketAddr,
    connections: Vec<Connection>,
}

/// A request of one caller as it is sent, made before it is timed.
pub(crate) struct Prepared {
    request: Request,
    message: Vec<u8>,
}

impl Crowd {
    pub(crate) fn open(address: SocketAddr, count: usize) -> anyhow::Result<Self> {
        let connections = (0..count).map(|_| Connection::open(address)).collect::<anyhow::Result<_>>()?;
        Ok(Self { address, connections })
    }

    /// Makes a request of who has this key.
    pub(crate) fn prepare(&self, request: Request, key: &str) -> Prepared {
        let message = message(&request, self.address, &bearing(key));
        Prepared { request, message }
    }

    /// Sends a request by a connection that has none under way.
    pub(crate) fn send(&mut self, at: usize, prepared: &Prepared) -> anyhow::Result<()> {
        self.connection(at)?.send(&prepared.message)
    }

    /// Waits until something comes; the connections whose replies are whole. None where nothing came within the time.
    pub(crate) fn answered(&mut self, within: Option<Duration>) -> anyhow::Result<Vec<usize>> {
        let within = within.map(Timespec::try_from).transpose()?;
        let mut waits: Vec<_> =
            self.connections.iter().map(|connection| PollFd::new(&connection.stream, PollFlags::IN)).collect();
        poll(&mut waits, within.as_ref())?;
        let readable: Vec<_> = waits.iter().map(|wait| !wait.revents().is_empty()).collect();
        let mut whole = Vec::new();
        for (at, (connection, readable)) in self.connections.iter_mut().zip(readable).enumerate() {
            if readable && connection.receive()?.is_some() {
                whole.push(at);
            }
        }
        Ok(whole)
    }

    /// Checks the reply, and makes room for the next.
    pub(crate) fn take(&mut self, at: usize, prepared: &Prepared) -> anyhow::Result<()> {
        self.connection(at)?.take(&prepared.request)
    }

    fn connection(&mut self, at: usize) -> anyhow::Result<&mut Connection> {
        self.connections.get_mut(at).context("there is no such connection")
    }
}
