//! Connections of one plugin, kept for a while after a response was read to its end. Nothing is sent here.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use portcullis_policy::{Host, IpRange, RequestTarget, Scheme};
use tokio::{
    runtime::Handle,
    time::{Instant, sleep, timeout},
};

use super::{
    connect::{ConnectFault, Connector},
    line::{AbortOnDrop, Line},
};
use crate::capability::Resolve;

/// How long a connection is kept that nobody uses; servers commonly close theirs after 60 s and more.
const IDLE: Duration = Duration::from_secs(30);
/// Connections that are kept for one route: as many as a call uses at one time.
const MAX_IDLE_OF_ROUTE: usize = 8;
/// Connections that are kept for a plugin, each with a descriptor of the host's; a guest may be granted any number of
/// hosts. The oldest makes room.
const MAX_IDLE: usize = 32;
/// How long a connection may take to be free after its response was read: the request body may still be on its way.
const SETTLES: Duration = Duration::from_secs(1);

/// What a connection was opened for. Only a request with all of it in common is sent over it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Route {
    pub(super) scheme: Scheme,
    pub(super) host: Host,
    pub(super) port: u16,
    /// The ranges that were open when its address was checked.
    pub(super) private: BTreeSet<IpRange>,
}

impl Route {
    pub(super) fn new(target: &RequestTarget, private: BTreeSet<IpRange>) -> Self {
        Self { scheme: target.scheme(), host: target.host().clone(), port: target.port(), private }
    }
}

/// The connections of one plugin.
pub(super) struct Pool {
    connector: Arc<Connector>,
    idle: Mutex<Idle>,
    this: Weak<Self>,
}

#[derive(Default)]
struct Idle {
    /// The youngest last.
    lines: HashMap<Route, Vec<(Instant, Line)>>,
    /// Closes what is too old, as long as there is something.
    sweeper: Option<AbortOnDrop<()>>,
}

impl Pool {
    /// An empty one, looked after on `runtime`.
    pub(super) fn new(runtime: Handle, resolve: Resolve) -> Arc<Self> {
        let connector = Arc::new(Connector::new(runtime, resolve));
        Arc::new_cyclic(|this| Self { connector, idle: Mutex::default(), this: this.clone() })
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.connector.runtime
    }

    /// A connection along `route` that was used before and is free: the youngest, of this runtime's own first. Doors serve
    /// on runtimes of one thread, and what another's connection brings is told by that thread.
    pub(super) fn take(&self, route: &Route) -> Option<Line> {
        let here = Handle::try_current().ok()?.id();
        let mut idle = self.idle();
        let lines = idle.lines.get_mut(route)?;
        while !lines.is_empty() {
            let own = lines.iter().rposition(|(_, line)| line.home == here);
            let (since, mut line) = lines.remove(own.unwrap_or(lines.len() - 1));
            if since.elapsed() < IDLE && line.is_free() {
                line.reused = true;
                return Some(line);
            }
        }
        None
    }

    /// A new connection, whose home is this runtime. Dropping the future gives it up.
    pub(super) async fn connect(&self, route: &Route, patience: Duration) -> Result<Line, ConnectFault> {
        self.connector.connect(route, patience).await
    }

    /// Takes a connection back whose response was read to its end.
    pub(super) fn give(&self, route: Route, mut line: Line) {
        if line.is_free() {
            return self.keep(route, line);
        }
        let this = self.this.clone();
        self.runtime().spawn(async move {
            if let (Ok(true), Some(pool)) = (timeout(SETTLES, line.free()).await, this.upgrade()) {
                pool.keep(route, line);
            }
        });
    }

    fn keep(&self, route: Route, line: Line) {
        let mut idle = self.idle();
        let lines = idle.lines.entry(route).or_default();
        if lines.len() >= MAX_IDLE_OF_ROUTE {
            lines.remove(0);
        }
        lines.push((Instant::now(), line));
        if idle.lines.values().map(Vec::len).sum::<usize>() > MAX_IDLE {
            let age = |lines: &&mut Vec<(Instant, Line)>| lines.first().map(|(since, _)| *since);
            let oldest = idle.lines.values_mut().filter(|lines| !lines.is_empty()).min_by_key(age);
            drop(oldest.map(|lines| lines.remove(0)));
        }
        if idle.sweeper.is_none() {
            idle.sweeper = Some(AbortOnDrop(self.runtime().spawn(sweep(self.this.clone()))));
        }
    }

    /// Whether something is left.
    fn sweep(&self) -> bool {
        let mut idle = self.idle();
        idle.lines.retain(|_, lines| {
            lines.retain_mut(|(since, line)| since.elapsed() < IDLE && line.is_free());
            !lines.is_empty()
        });
        if idle.lines.is_empty() {
            idle.sweeper = None;
        }
        !idle.lines.is_empty()
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn sweep(pool: Weak<Pool>) {
    loop {
        sleep(IDLE / 2).await;
        if !pool.upgrade().is_some_and(|pool| pool.sweep()) {
            break;
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("routes", &self.idle().lines.keys()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use hyper::client::conn::http1;
    use tokio::io::{DuplexStream, duplex};
    use wasmtime_wasi_http::io::TokioIo;

    use super::*;

    fn route(host: &str) -> Route {
        let target = RequestTarget::parse(&format!("http://{host}.example/")).expect("a target");
        Route::new(&target, BTreeSet::new())
    }

    /// A connection that is free, and its other end.
    async fn line() -> (Line, DuplexStream) {
        let (near, far) = duplex(64);
        let (sender, connection) = http1::handshake(TokioIo::new(near)).await.expect("a connection");
        let mut line = Line::new(sender, connection);
        assert!(line.free().await);
        (line, far)
    }

    fn kept(pool: &Pool) -> usize {
        pool.idle().lines.values().map(Vec::len).sum()
    }

    #[tokio::test]
    async fn few_are_kept_for_a_route_and_few_in_all_and_none_that_is_closed() {
        let pool = Pool::new(Handle::current(), Arc::new(|_| Box::pin(async { Ok(Vec::new()) })));
        let mut ends = Vec::new();
        for host in 0..10 {
            for _ in 0..MAX_IDLE_OF_ROUTE + 2 {
                let (line, end) = line().await;
                pool.give(route(&format!("h{host}")), line);
                ends.push(end);
            }
            assert_eq!(kept(&pool), (MAX_IDLE_OF_ROUTE * (host + 1)).min(MAX_IDLE));
        }
        assert!(pool.take(&route("h0")).is_none(), "the oldest made room");
        assert!(pool.take(&route("h9")).is_some_and(|line| line.reused));
        assert!(pool.take(&route("h10")).is_none());
        drop(ends);
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        assert!(pool.take(&route("h9")).is_none(), "the server closed it");
        assert!(!pool.sweep(), "what is closed is not kept");
        assert_eq!(kept(&pool), 0);
        assert!(pool.idle().sweeper.is_none(), "nothing is left to sweep");
    }
}
