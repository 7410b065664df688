//! Writes of other processes, as the server announces them. An announcement only wakes: what happened is in the stream, so
//! that one that is lost costs time and nothing else.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::StreamExt;
use redis::{Client, ErrorKind, RedisResult};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use super::{
    link::{CONNECT, SILENCE},
    nodes::Nodes,
    scripts::{announced, channel},
};
use crate::{contract::BucketName, waiters::Waiters};

/// The pause before the announcements are asked for again.
const PAUSE: Duration = Duration::from_millis(200);

/// What this process is told of.
#[derive(Default)]
pub(super) struct Watch {
    pub(super) waiters: Waiters,
    wanted: Mutex<HashSet<BucketName>>,
    more: Notify,
}

impl Watch {
    /// From now on the bucket's waiters are woken.
    pub(super) fn want(&self, bucket: &BucketName) {
        if self.lock().insert(bucket.clone()) {
            self.more.notify_one();
        }
    }

    /// Listens for as long as the engine lives.
    pub(super) async fn run(&self, nodes: &Nodes) {
        for turn in 0.. {
            // Nobody waits: no connection.
            while self.lock().is_empty() {
                self.more.notified().await;
            }
            // The nodes of a cluster pass announcements on, so that any of them will do; the next one, where one is away.
            let clients = nodes.clients();
            let Some(client) = clients.get(turn % clients.len()) else { continue };
            // However it ended: what was announced meanwhile is looked for by the waiters themselves.
            _ = self.listen(client).await;
            sleep(PAUSE).await;
        }
    }

    async fn listen(&self, client: &Client) -> RedisResult<()> {
        let (mut sink, mut stream) = within(client.get_async_pubsub()).await?.split();
        let mut heard: HashSet<BucketName> = HashSet::new();
        loop {
            let wanted: Vec<_> = self.lock().iter().filter(|bucket| !heard.contains(*bucket)).cloned().collect();
            for bucket in wanted {
                within(sink.subscribe(channel(&bucket))).await?;
                // What was written before this was in force is found by looking again.
                self.waiters.wake(&bucket, 0);
                heard.insert(bucket);
            }
            tokio::select! {
                () = self.more.notified() => {}
                // One that hangs ends no connection: it is asked for what it was asked for already.
                () = sleep(SILENCE) => {
                    if let Some(bucket) = heard.iter().next() {
                        within(sink.subscribe(channel(bucket))).await?;
                    }
                }
                message = stream.next() => {
                    let Some(message) = message else { return Ok(()) };
                    let Some(bucket) = announced(message.get_channel_name()) else { continue };
                    if !self.waiters.wake(&bucket, 0) {
                        self.lock().remove(&bucket);
                        heard.remove(&bucket);
                        within(sink.unsubscribe(channel(&bucket))).await?;
                    }
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<BucketName>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the server does not answer in time is an error too.
async fn within<T>(answer: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
    timeout(CONNECT, answer).await.unwrap_or_else(|_| Err((ErrorKind::Io, "the server did not answer in time").into()))
}
