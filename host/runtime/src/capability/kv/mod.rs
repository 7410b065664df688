//! `portcullis:host/kv`: shared context, in the buckets and below the prefixes that grants open.
//!
//! What is asked is checked against the grants (`bucket`), by whichever interface it came: `host` is ours, and
//! `capability/keyvalue` has those of WASI. What no grant lets be read is as if absent; what none lets be written is
//! refused, recorded and told (`told`). `changes` waits without a slot. What the store says becomes the guest's error in
//! `fault`, without its reasons, which are the operator's.

mod bucket;
mod changes;
mod fault;
mod host;
mod told;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use portcullis_audit::CallNotes;
use portcullis_policy::{BucketKeys, Buckets, Digest, Effective, KvGrant, PluginName, Principal};
use portcullis_store::{BucketName, Key, Store, Warehouse, Writer};
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};

pub(crate) use self::fault::Fault;
use self::told::Told;
use crate::{
    bindings::portcullis::host::kv,
    capability::{Surroundings, Terms},
    plugin::LoadError,
    sandbox::Sandbox,
    seat::Seat,
};

/// Operations on shared context that a call may do. A tenth of it reads every key of a bucket with the default limits, page
/// by page; each write of one costs a sync of the disk.
pub(crate) const MAX_OPERATIONS: u32 = 10_000;
/// Bytes of keys and values that a call may carry in and out together: four times what a bucket holds by default. Each byte
/// is copied by the host outside of the guest's fuel.
pub(crate) const MAX_BYTES: u64 = 256 << 20;
/// The most of a call's time that is kept for answering when the store, or a change, does not come.
const MAX_RESERVE: Duration = Duration::from_millis(500);
/// The part of a call's deadline that is kept, where that is less.
const RESERVED_PART: u32 = 20;

/// What a plugin may use of the store.
pub(crate) struct Shared {
    plugin: PluginName,
    digest: String,
    grants: Effective,
    /// What `grants` open, whoever calls.
    open: Vec<KvGrant>,
    warehouse: Arc<Warehouse>,
}

impl Shared {
    /// What `terms` grant to the component of this digest; none where they grant nothing.
    ///
    /// # Errors
    /// When no store is open.
    pub(crate) fn open(terms: &Terms, digest: Digest, around: &Surroundings) -> Result<Option<Self>, LoadError> {
        if terms.grants.configured().kv().is_empty() {
            return Ok(None);
        }
        let warehouse = Arc::clone(around.shared.as_ref().ok_or(LoadError::NoStore)?);
        let (plugin, grants) = (terms.plugin.clone(), terms.grants.clone());
        Ok(Some(Self { plugin, digest: digest.to_string(), open: grants.kv(), grants, warehouse }))
    }
}

/// What one call sees of the store.
pub(crate) struct Ctx {
    /// None without a grant: then nothing imports it.
    shared: Option<Arc<Shared>>,
    principal: Principal,
    /// When the call ends.
    deadline: Instant,
    /// How long before that the store has to have answered.
    reserve: Duration,
    seat: Arc<Seat>,
    told: Told,
    operations: u32,
    bytes: u64,
    /// Made with the first bucket: most calls open none.
    using: Option<Using>,
    /// Where listings of `wasi:keyvalue` stand whose cursors are numbers: by bucket and number. One more for each listing, of
    /// which a call has as many as operations.
    pub(crate) cursors: HashMap<(BucketName, u64), Key>,
}

/// The buckets of a call.
struct Using {
    buckets: Buckets,
    writer: Arc<Writer>,
    /// Those that were opened, once each: a guest may have thousands of handles.
    opened: BTreeMap<String, Arc<Opened>>,
}

/// A bucket that was opened.
pub(crate) struct Opened {
    shared: Arc<Shared>,
    pub(crate) bucket: portcullis_store::Bucket,
    keys: BucketKeys,
    writer: Arc<Writer>,
}

impl Opened {
    fn store(&self) -> &Store {
        self.shared.warehouse.store()
    }
}

/// A guest's handle.
#[allow(unreachable_pub, reason = "the bindings export the types of their resources")]
pub struct Bucket(Arc<Opened>);

impl Ctx {
    pub(crate) fn new(
        shared: Option<Arc<Shared>>,
        principal: &Principal,
        deadline: Instant,
        limit: Duration,
        seat: Arc<Seat>,
        notes: &CallNotes,
    ) -> Self {
        let reserve = (limit / RESERVED_PART).min(MAX_RESERVE);
        let (principal, told) = (principal.clone(), Told::new(notes.clone()));
        Self {
            shared,
            principal,
            deadline,
            reserve,
            seat,
            told,
            operations: 0,
            bytes: 0,
            using: None,
            cursors: HashMap::new(),
        }
    }

    fn using(&mut self) -> Option<&mut Using> {
        if self.using.is_none() {
            let shared = self.shared.as_ref()?;
            let buckets = Buckets::of(&shared.open, &self.principal, &shared.plugin);
            let principal = self.principal.in_buckets().into_owned();
            let writer = Writer { principal, plugin: shared.plugin.to_string(), digest: shared.digest.clone() };
            self.using = Some(Using { buckets, writer: Arc::new(writer), opened: BTreeMap::new() });
        }
        self.using.as_mut()
    }

    /// Counts an operation that brings so many bytes of keys and values in.
    pub(crate) fn begin(&mut self, bytes: usize) -> Result<(), Fault> {
        self.carry(bytes);
        self.operations = self.operations.saturating_add(1);
        if self.operations > MAX_OPERATIONS {
            return Err(Fault::Limit(format!("more than {MAX_OPERATIONS} operations on shared context in one call")));
        }
        if self.bytes > MAX_BYTES {
            let limit = format!("more than {MAX_BYTES} bytes to and from shared context in one call");
            return Err(Fault::Limit(limit));
        }
        Ok(())
    }

    /// Counts bytes of keys and values. What was answered already stands; the next operation is refused.
    fn carry(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// When the store has to have answered: a little before the call's end; less early where that is near.
    fn until(&self) -> Instant {
        let left = self.deadline.saturating_duration_since(Instant::now());
        self.deadline.checked_sub(self.reserve.min(left / 2)).unwrap_or(self.deadline)
    }
}

/// A call's buckets, with the table that its handles are in.
pub(crate) struct View<'a> {
    pub(crate) ctx: &'a mut Ctx,
    pub(crate) table: &'a mut ResourceTable,
}

impl View<'_> {
    pub(crate) fn bucket(&self, handle: &Resource<Bucket>) -> Result<Arc<Opened>, Fault> {
        Ok(Arc::clone(&self.table.get(handle)?.0))
    }

    pub(crate) fn close(&mut self, handle: Resource<Bucket>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}

/// Interfaces over a call's buckets.
pub(crate) struct Kv;

impl HasData for Kv {
    type Data<'a> = View<'a>;
}

pub(crate) fn add_to_linker(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    kv::add_to_linker::<_, Kv>(linker, Sandbox::kv)
}
