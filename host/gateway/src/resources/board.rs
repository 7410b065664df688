//! Who is told of which resource: the listeners of both eras, what is due to each, and its delivery.
//!
//! What is due is kept as a set, so that a client that is slow gets each address once, and costs nobody else anything.
//! Whether a listener may still know is asked at the last moment, with the role of then.

use std::{
    collections::{BTreeSet, HashMap},
    hash::{Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use portcullis_policy::{Agent, AgentName, Principal, RoleName, may_read};
use portcullis_store::BucketName;
use rmcp::{Peer, RoleServer, model::ResourceUpdatedNotificationParam, service::SubscriptionSink};
use tokio::runtime::Handle;

use super::{Address, view};
use crate::auth::Doorkeeper;

/// Listeners at one time; there are no more sessions and connections than that.
const MAX_LISTENERS: usize = 10_000;
/// Subscriptions of one session or one `subscriptions/listen`.
pub(super) const MAX_OF_LISTENER: usize = 256;
/// Subscriptions of one principal, over all that it has open: each is an address of up to 2 KiB.
const MAX_OF_PRINCIPAL: usize = 4096;
/// How long a notification may wait for a client that does not read.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two deliveries to one listener: what changes faster is told once.
const GAP: Duration = Duration::from_millis(20);
/// Between two `list_changed` to one listener.
const LIST_GAP: Duration = Duration::from_millis(500);

/// The listeners.
pub(super) struct Board {
    keeper: Arc<Doorkeeper>,
    tasks: Handle,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    next: u64,
    listeners: HashMap<u64, Listener>,
    /// Who is told of which address.
    by_uri: HashMap<String, BTreeSet<u64>>,
}

struct Listener {
    reader: Reader,
    /// Where notifications go; none until the client has been told that it listens.
    to: Option<To>,
    /// Whether it is told that the list changed.
    list: bool,
    uris: HashMap<String, BucketName>,
    due: BTreeSet<String>,
    list_due: bool,
    list_told: Option<Instant>,
    /// Whether a task is at work on what is due.
    delivering: bool,
}

/// Where notifications go.
#[derive(Clone, Debug)]
pub(crate) enum To {
    /// A session of the older era.
    Session(Peer<RoleServer>),
    /// A `subscriptions/listen` of the newer one.
    Listen(SubscriptionSink),
}

/// For whom. What an agent's role says is looked up when it is needed.
#[derive(Clone, Debug)]
enum Reader {
    Operator,
    Loopback,
    Agent(Arc<Agent>),
}

impl Reader {
    /// What makes two of them one: of an agent that a token names, the role that the token says too.
    fn identity(&self) -> (u8, Option<&AgentName>, Option<&RoleName>) {
        match self {
            Self::Operator => (0, None, None),
            Self::Loopback => (1, None, None),
            Self::Agent(agent) => {
                (2, Some(agent.name()), agent.role().filter(|_| agent.is_vouched()).map(|role| role.name()))
            }
        }
    }
}

impl PartialEq for Reader {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for Reader {}

impl Hash for Reader {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

impl Reader {
    fn of(principal: &Principal) -> Self {
        match principal {
            Principal::LocalOperator => Self::Operator,
            Principal::Loopback => Self::Loopback,
            Principal::Agent(agent) => Self::Agent(Arc::clone(agent)),
        }
    }

    /// Who that is now; nobody, where the configuration has the agent no more.
    fn now(&self, keeper: &Doorkeeper) -> Option<Principal> {
        match self {
            Self::Operator => Some(Principal::LocalOperator),
            Self::Loopback => Some(Principal::Loopback),
            Self::Agent(agent) => keeper.again(agent),
        }
    }
}

/// One change of a key that has an address.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) uri: String,
    /// Whether the key came or went, as far as is known.
    pub(super) list: bool,
}

/// What a task that delivers does next.
enum Next {
    Nothing,
    Later(Duration),
    Now { to: To, uris: Vec<String>, list: bool },
}

impl Board {
    pub(super) fn new(keeper: Arc<Doorkeeper>, tasks: Handle) -> Arc<Self> {
        Arc::new(Self { keeper, tasks, inner: Mutex::default() })
    }

    /// A place for a listener; none where there are too many. With `list`, it is told when keys come and go.
    pub(super) fn join(self: &Arc<Self>, principal: &Principal, list: bool) -> Option<Seat> {
        let mut inner = self.lock();
        if inner.listeners.len() >= MAX_LISTENERS {
            tracing::warn!("too many listeners; one more is not told of changes");
            return None;
        }
        let number = inner.next;
        inner.next += 1;
        let listener = Listener {
            reader: Reader::of(principal),
            to: None,
            list,
            uris: HashMap::new(),
            due: BTreeSet::new(),
            list_due: false,
            list_told: None,
            delivering: false,
        };
        inner.listeners.insert(number, listener);
        Some(Seat { board: Arc::clone(self), number })
    }

    /// Tells of changes, in one bucket.
    pub(super) fn changed(self: &Arc<Self>, changes: &[Told]) {
        {
            let mut inner = self.lock();
            for told in changes {
                for number in inner.by_uri.get(&told.uri).cloned().into_iter().flatten() {
                    if let Some(listener) = inner.listeners.get_mut(&number) {
                        listener.due.insert(told.uri.clone());
                        self.wake(number, listener);
                    }
                }
            }
        }
        if changes.iter().any(|told| told.list) {
            self.list_changed(|principal| changes.iter().any(|told| told.list && may_read(principal, &told.uri)));
        }
    }

    /// Tells that anything in a bucket may have changed.
    pub(super) fn all_changed(self: &Arc<Self>, bucket: &BucketName) {
        {
            let mut inner = self.lock();
            for (number, listener) in &mut inner.listeners {
                let there = listener.uris.iter().filter(|(_, of)| *of == bucket).map(|(uri, _)| uri.clone());
                listener.due.extend(there.collect::<Vec<_>>());
                self.wake(*number, listener);
            }
        }
        self.list_changed(|principal| view::sees(principal, bucket.as_str()));
    }

    /// Tells everyone whose list can be another now that the rules are.
    pub(super) fn rules_changed(self: &Arc<Self>) {
        self.list_changed(|principal| matches!(principal, Principal::Agent(_)));
    }

    /// Tells those whose list is concerned. Rules are compared without the lock, once a principal.
    fn list_changed(self: &Arc<Self>, concerned: impl Fn(&Principal) -> bool) {
        let waiting: Vec<_> = {
            let inner = self.lock();
            let listeners = inner.listeners.iter().filter(|(_, listener)| listener.list && !listener.list_due);
            listeners.map(|(number, listener)| (*number, listener.reader.clone())).collect()
        };
        let mut known: HashMap<Reader, bool> = HashMap::new();
        for (number, reader) in waiting {
            let is = *known
                .entry(reader)
                .or_insert_with_key(|reader| reader.now(&self.keeper).is_some_and(|principal| concerned(&principal)));
            if is && let Some(listener) = self.lock().listeners.get_mut(&number) {
                listener.list_due = true;
                self.wake(number, listener);
            }
        }
    }

    /// The buckets of all subscriptions, and everyone whose list is watched.
    pub(super) fn wanted(&self) -> (BTreeSet<BucketName>, Vec<Principal>) {
        let inner = self.lock();
        let buckets = inner.listeners.values().flat_map(|listener| listener.uris.values().cloned()).collect();
        let readers: std::collections::HashSet<_> =
            inner.listeners.values().filter(|listener| listener.list).map(|listener| listener.reader.clone()).collect();
        drop(inner);
        (buckets, readers.iter().filter_map(|reader| reader.now(&self.keeper)).collect())
    }

    /// Sees to it that what is due is delivered.
    fn wake(self: &Arc<Self>, number: u64, listener: &mut Listener) {
        let due = listener.list_due || !listener.due.is_empty();
        if due && listener.to.is_some() && !listener.delivering {
            listener.delivering = true;
            let board = Arc::clone(self);
            self.tasks.spawn(async move { board.deliver(number).await });
        }
    }

    async fn deliver(&self, number: u64) {
        loop {
            match self.next(number) {
                Next::Nothing => return,
                Next::Later(time) => tokio::time::sleep(time).await,
                Next::Now { to, uris, list } => match self.tell(number, &to, &uris, list).await {
                    Took::All => tokio::time::sleep(GAP).await,
                    Took::Some(taken) => {
                        self.put_back(number, uris.into_iter().skip(taken), list);
                        tokio::time::sleep(PATIENCE).await;
                    }
                    Took::Gone => {
                        self.leave(number);
                        return;
                    }
                },
            }
        }
    }

    fn next(&self, number: u64) -> Next {
        let mut inner = self.lock();
        let Some(listener) = inner.listeners.get_mut(&number) else { return Next::Nothing };
        let Some(to) = listener.to.clone() else {
            listener.delivering = false;
            return Next::Nothing;
        };
        let until = listener.list_told.map_or(Duration::ZERO, |told| LIST_GAP.saturating_sub(told.elapsed()));
        let list = listener.list_due && until.is_zero();
        if listener.due.is_empty() && !list {
            if listener.list_due {
                return Next::Later(until);
            }
            listener.delivering = false;
            return Next::Nothing;
        }
        if list {
            (listener.list_due, listener.list_told) = (false, Some(Instant::now()));
        }
        Next::Now { to, uris: std::mem::take(&mut listener.due).into_iter().collect(), list }
    }

    /// Tells a client, one after the other, of what it still wants to hear and may know.
    async fn tell(&self, number: u64, to: &To, uris: &[String], list: bool) -> Took {
        for (taken, uri) in uris.iter().enumerate() {
            // Before each, since a slow client takes its time: a role that was narrowed meanwhile ends it.
            if !self.may_know(number, uri) {
                continue;
            }
            let tell = async {
                match to {
                    To::Session(peer) => {
                        peer.notify_resource_updated(ResourceUpdatedNotificationParam::new(uri)).await.is_ok()
                    }
                    To::Listen(sink) => sink.notify_resource_updated(uri).await.is_ok(),
                }
            };
            match tokio::time::timeout(PATIENCE, tell).await {
                Ok(true) => {}
                Ok(false) => return Took::Gone,
                Err(_) => return Took::Some(taken),
            }
        }
        let tell = async {
            match to {
                _ if !list => true,
                To::Session(peer) => peer.notify_resource_list_changed().await.is_ok(),
                To::Listen(sink) => sink.notify_resource_list_changed().await.is_ok(),
            }
        };
        match tokio::time::timeout(PATIENCE, tell).await {
            Ok(true) => Took::All,
            Ok(false) => Took::Gone,
            Err(_) => Took::Some(uris.len()),
        }
    }

    fn may_know(&self, number: u64, uri: &str) -> bool {
        let reader = {
            let inner = self.lock();
            let listener = inner.listeners.get(&number).filter(|listener| listener.uris.contains_key(uri));
            listener.map(|listener| listener.reader.clone())
        };
        let principal = reader.and_then(|reader| reader.now(&self.keeper));
        principal.is_some_and(|principal| may_read(&principal, uri))
    }

    /// What a client did not take stays due, unless it does not want it any more.
    fn put_back(&self, number: u64, uris: impl Iterator<Item = String>, list: bool) {
        if let Some(listener) = self.lock().listeners.get_mut(&number) {
            let wanted = uris.filter(|uri| listener.uris.contains_key(uri)).collect::<Vec<_>>();
            listener.due.extend(wanted);
            listener.list_due |= list;
        }
    }

    fn leave(&self, number: u64) {
        let mut inner = self.lock();
        let Some(listener) = inner.listeners.remove(&number) else { return };
        for uri in listener.uris.keys() {
            inner.forget(uri, number);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn forget(&mut self, uri: &str, number: u64) {
        if let Some(numbers) = self.by_uri.get_mut(uri) {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.by_uri.remove(uri);
            }
        }
    }
}

/// How much of it a client took.
enum Took {
    All,
    /// So many addresses, and then it took no more.
    Some(usize),
    /// It is not there any more.
    Gone,
}

/// A listener's place: when it goes, so does what it was told of.
pub(crate) struct Seat {
    board: Arc<Board>,
    number: u64,
}

impl Seat {
    /// Where notifications go from now on, beginning with those that are due already.
    pub(crate) fn attach(&self, to: To) {
        let mut inner = self.board.lock();
        if let Some(listener) = inner.listeners.get_mut(&self.number) {
            listener.to = Some(to);
            self.board.wake(self.number, listener);
        }
    }

    /// Whether there was room for it.
    pub(super) fn subscribe(&self, address: &Address) -> bool {
        let mut inner = self.board.lock();
        let Some(listener) = inner.listeners.get(&self.number) else { return false };
        let uri = address.to_string();
        if listener.uris.contains_key(&uri) {
            return true;
        }
        let of_principal = inner.listeners.values().filter(|other| other.reader == listener.reader);
        let has = of_principal.map(|other| other.uris.len()).sum::<usize>();
        if listener.uris.len() >= MAX_OF_LISTENER || has >= MAX_OF_PRINCIPAL {
            return false;
        }
        if let Some(listener) = inner.listeners.get_mut(&self.number) {
            listener.uris.insert(uri.clone(), address.bucket().clone());
        }
        inner.by_uri.entry(uri).or_default().insert(self.number);
        true
    }

    /// What it was not told of it is not told of either.
    pub(crate) fn unsubscribe(&self, uri: &str) {
        let mut inner = self.board.lock();
        if let Some(listener) = inner.listeners.get_mut(&self.number) {
            listener.uris.remove(uri);
            listener.due.remove(uri);
        }
        inner.forget(uri, self.number);
    }
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Seat").field(&self.number).finish()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.board.leave(self.number);
    }
}
