//! Who is told when the tools change: peers of the older era, and subscriptions of the newer one.

use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rmcp::{
    Peer, RoleServer,
    service::{SubscriptionContext, SubscriptionSink},
};

/// How long a notification may wait for a client that does not read.
const PATIENCE: Duration = Duration::from_secs(5);
/// Listeners that are kept; more clients than sessions there are not.
const MAX_LISTENERS: usize = 10_000;

/// The listeners, under numbers of ours: the ids of subscriptions are the clients' own, and collide.
#[derive(Debug, Default)]
pub(crate) struct Subscribers {
    next: AtomicU64,
    listeners: Mutex<HashMap<u64, Listener>>,
}

#[derive(Clone, Debug)]
enum Listener {
    Peer(Peer<RoleServer>),
    Subscription(SubscriptionSink),
}

impl Subscribers {
    /// A session of the older era, from its `initialized` on.
    pub(crate) fn add_peer(&self, peer: Peer<RoleServer>) {
        self.add(Listener::Peer(peer));
    }

    /// A `subscriptions/listen` of the newer era, until it ends.
    pub(crate) async fn listen(&self, subscription: SubscriptionContext) {
        let Some(number) = self.add(Listener::Subscription(subscription.sink().clone())) else {
            return;
        };
        subscription.cancelled().await;
        self.lock().remove(&number);
    }

    fn add(&self, listener: Listener) -> Option<u64> {
        let mut listeners = self.lock();
        listeners.retain(|_, listener| !matches!(listener, Listener::Peer(peer) if peer.is_transport_closed()));
        if listeners.len() >= MAX_LISTENERS {
            tracing::warn!("too many listeners; one more is not told of changes");
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        listeners.insert(number, listener);
        Some(number)
    }

    /// Tells everyone that the tools changed; who does not take it in time is left out.
    pub(crate) async fn tools_changed(&self) {
        let listeners: Vec<_> = self.lock().iter().map(|(number, listener)| (*number, listener.clone())).collect();
        let told = listeners.into_iter().map(|(number, listener)| async move {
            let tell = async {
                match &listener {
                    Listener::Peer(peer) => peer.notify_tool_list_changed().await.is_ok(),
                    Listener::Subscription(sink) => sink.notify_tool_list_changed().await.is_ok(),
                }
            };
            (number, tokio::time::timeout(PATIENCE, tell).await.unwrap_or(false))
        });
        for (number, reached) in futures::future::join_all(told).await {
            if !reached {
                self.lock().remove(&number);
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Listener>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
