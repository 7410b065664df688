//! Shared context as MCP resources: `kv://BUCKET/KEY`, of buckets that the configuration opens, for principals whose role
//! allows them. Reading, listing, and being told of changes; nothing here writes.
//!
//! Whatever may not be read is as if it were not there: one error for a wrong address, a closed bucket, a role that does
//! not allow it, and a key without an entry.

mod address;
mod board;
mod content;
mod cursor;
mod list;
mod view;
mod watch;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use portcullis_audit::{Event, Ledger, ReadOutcome};
use portcullis_policy::{Principal, may_read};
use portcullis_store::{BucketPattern, StoreError, Warehouse};
use rmcp::model::{ResourceContents, ResourceTemplate};
use tokio::runtime::Handle;

pub use self::address::Address;
pub(crate) use self::board::{Seat, To};
use self::{board::Board, cursor::Cursors, view::OpenBuckets, watch::Watches};
use crate::auth::Doorkeeper;

/// How long one request waits for the store.
const STORE_DEADLINE: Duration = Duration::from_secs(5);
/// Addresses of one `subscriptions/listen` that are looked at; more than it can get.
const MAX_ASKED: usize = 4 * board::MAX_OF_LISTENER;
/// Characters of an address, where it is none, that go into the record.
const MAX_SHOWN: usize = 256;

/// What clients may see of the store: as the configuration has it.
#[derive(Debug)]
pub struct SharedContext {
    /// The store.
    pub warehouse: Arc<Warehouse>,
    /// The buckets of the configuration, with whether each is open to clients. The most exact that fits a name decides.
    pub buckets: Vec<(BucketPattern, bool)>,
    /// A key of this host that is used for nothing but the cursors of lists.
    pub key: [u8; 32],
}

/// The resources of a host.
pub struct Resources {
    warehouse: Arc<Warehouse>,
    open: OpenBuckets,
    cursors: Cursors,
    ledger: Arc<Ledger>,
    board: Arc<Board>,
    watches: Watches,
}

/// Why a request about resources has no answer. `reply` turns it into MCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResourceError {
    /// There is nothing at the address, or not for this principal.
    NotFound,
    /// The cursor is not one that this principal got from this host.
    BadCursor,
    /// The store does not answer.
    Unavailable,
    /// It could not be recorded.
    NotRecorded,
    /// There are as many subscriptions as there may be.
    TooMany,
}

impl ResourceError {
    /// What an engine says is the operator's to read.
    fn store(error: StoreError) -> Self {
        tracing::warn!(%error, "shared context could not be read for a client");
        Self::Unavailable
    }
}

impl Resources {
    /// The resources in `context`; none where the configuration opens no bucket. What watches for changes runs on `tasks`.
    pub fn new(
        context: SharedContext,
        ledger: Arc<Ledger>,
        keeper: Arc<Doorkeeper>,
        tasks: Handle,
    ) -> Option<Arc<Self>> {
        let SharedContext { warehouse, buckets, key } = context;
        let open = OpenBuckets::new(buckets);
        if !open.any() {
            return None;
        }
        let board = Board::new(Arc::clone(&keeper), tasks.clone());
        let watches = Watches::new(Arc::clone(&warehouse), Arc::clone(&board), tasks.clone());
        let resources = Arc::new(Self { warehouse, open, cursors: Cursors::new(&key)?, ledger, board, watches });
        tasks.spawn(watch::look_after(Arc::downgrade(&resources), keeper));
        Some(resources)
    }

    /// What stands at `uri`. Recorded before it is handed out.
    ///
    /// # Errors
    /// When there is nothing for this principal, the store does not answer, or the record cannot be written.
    pub(crate) async fn read(&self, principal: &Principal, uri: &str) -> Result<ResourceContents, ResourceError> {
        let address = Address::parse(uri);
        let (found, outcome) = match &address {
            Some(address) if !self.is_for(principal, address) => (Err(ResourceError::NotFound), ReadOutcome::Denied),
            Some(address) => {
                let bucket = self.warehouse.bucket(address.bucket().clone());
                match self.warehouse.store().get(&bucket, address.key(), deadline(STORE_DEADLINE)).await {
                    Ok(Some(entry)) => (Ok(content::contents(address, &entry)), ReadOutcome::Ok),
                    Ok(None) => (Err(ResourceError::NotFound), ReadOutcome::NotFound),
                    Err(error) => (Err(ResourceError::store(error)), ReadOutcome::Unavailable),
                }
            }
            None => (Err(ResourceError::NotFound), ReadOutcome::NotFound),
        };
        let shown = match &address {
            Some(address) => address.to_string(),
            None => uri.chars().take(MAX_SHOWN).flat_map(char::escape_debug).collect(),
        };
        let event = Event::ResourceRead { principal: principal.as_str(), uri: &shown, outcome };
        if let Err(error) = self.ledger.append(&event) {
            let error = &error as &(dyn std::error::Error + 'static);
            tracing::error!(error, "shared context was not handed out: it could not be recorded");
            return Err(ResourceError::NotRecorded);
        }
        found
    }

    /// A template for each bucket that `principal` may see anything of.
    pub(crate) fn templates(&self, principal: &Principal) -> Vec<ResourceTemplate> {
        self.open.templates(principal)
    }

    /// Whether `principal` may read what stands there, if anything does.
    fn is_for(&self, principal: &Principal, address: &Address) -> bool {
        self.open.is_open(address.bucket()) && may_read(principal, &address.to_string())
    }

    /// A seat for a session of the older era, which is told when the list changes. None where too many sit already.
    pub(crate) async fn sit(self: &Arc<Self>, principal: &Principal, to: To) -> Option<Seat> {
        // First the watches, so that what they find at their beginning is not told as a change.
        self.watch_list(principal).await;
        let seat = self.board.join(principal, true)?;
        seat.attach(to);
        Some(seat)
    }

    /// A seat for a `subscriptions/listen` of the newer era, taken before it is acknowledged, with those of `uris` that
    /// it is about. From now on changes are kept for it until it is attached.
    pub(crate) fn sit_to_listen(
        &self,
        principal: &Principal,
        list: bool,
        uris: &[String],
    ) -> Option<(Seat, Vec<String>)> {
        let seat = self.board.join(principal, list)?;
        let mut taken = Vec::new();
        if list {
            // Other buckets that a pattern opens are found by who looks after the watches.
            self.open.named(principal).iter().for_each(|bucket| drop(self.watches.begin(bucket)));
        }
        for uri in uris.iter().take(MAX_ASKED) {
            let address = Address::parse(uri).filter(|address| self.is_for(principal, address));
            let Some(address) = address.filter(|_| !taken.contains(uri)) else { continue };
            if seat.subscribe(&address) && self.watches.begin(address.bucket()).is_some() {
                taken.push(uri.clone());
            }
        }
        Some((seat, taken))
    }

    /// Watches what a list of `principal` would show.
    pub(crate) async fn watch_list(&self, principal: &Principal) {
        match self.open.seen(principal, self.warehouse.store()).await {
            Ok(buckets) => self.watches.ensure(buckets.iter()).await,
            // Who looks after the watches begins them later.
            Err(error) => tracing::debug!(%error, "the buckets are not known"),
        }
    }

    /// Tells a session of each change of `uri` from now on.
    ///
    /// # Errors
    /// When it is not for this principal, or there are too many subscriptions. Whether an entry is there makes no
    /// difference: one may wait for it.
    pub(crate) async fn subscribe(&self, seat: &Seat, principal: &Principal, uri: &str) -> Result<(), ResourceError> {
        let address = Address::parse(uri).filter(|address| self.is_for(principal, address));
        let address = address.ok_or(ResourceError::NotFound)?;
        self.watches.ensure([address.bucket()].into_iter()).await;
        if seat.subscribe(&address) { Ok(()) } else { Err(ResourceError::TooMany) }
    }
}

impl std::fmt::Debug for Resources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resources").field("open", &self.open).finish_non_exhaustive()
    }
}

fn deadline(from_now: Duration) -> Instant {
    Instant::now() + from_now
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use portcullis_policy::Statutes;
    use portcullis_store::{Bucket, BucketName, Durability, EmbeddedOptions, Key, Limits, SetOptions, Store, Writer};

    use super::*;
    use crate::auth::KeyRing;

    async fn resources(folder: &tempfile::TempDir, log: &std::path::Path) -> Arc<Resources> {
        let path = folder.path().join("shared.redb");
        let options =
            EmbeddedOptions { path, durability: Durability::Relaxed, clock: Arc::new(SystemTime::now), check: false };
        let store = Store::embedded(options).expect("a store");
        let bucket = Bucket { name: BucketName::new("shared").expect("a name"), limits: Limits::default() };
        let (key, writer) = (Key::new("a").expect("a key"), Writer::default());
        let set = store.set(&bucket, key, b"value".to_vec(), SetOptions::default(), &writer, deadline(STORE_DEADLINE));
        set.await.expect("written");
        let ledger = Arc::new(Ledger::open(log, "s1".into(), &[0; 32], SystemTime::now).expect("a ledger"));
        let keeper = Doorkeeper::new(Statutes::default(), KeyRing::default(), Arc::clone(&ledger), SystemTime::now);
        let warehouse = Arc::new(Warehouse::new(store, []));
        let buckets = vec![(BucketPattern::new("shared").expect("a pattern"), true)];
        let context = SharedContext { warehouse, buckets, key: [1; 32] };
        Resources::new(context, ledger, keeper, Handle::current()).expect("an open bucket")
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn what_cannot_be_recorded_is_not_handed_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("audit.jsonl");
        for (log, expected) in [(&*log, Ok(())), ("/dev/full".as_ref(), Err(ResourceError::NotRecorded))] {
            let folder = tempfile::tempdir().expect("a folder");
            let found = resources(&folder, log).await.read(&Principal::LocalOperator, "kv://shared/a").await;
            assert_eq!(found.map(drop), expected, "{log:?}");
        }
    }
}
