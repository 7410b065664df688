//! What a guest asked of shared context and did not get: the record, and what the operator is told.

use std::sync::atomic::{AtomicBool, Ordering};

use portcullis_audit::CallNotes;
use portcullis_policy::{Access, Buckets, KvGrant, Principal};
use portcullis_store::StoreError;

use super::{Opened, Shared};

/// Bytes of a name that are recorded, of a guest's own making.
const MAX_SHOWN: usize = 512;

/// Where the refusals of one call go.
pub(super) struct Told {
    notes: CallNotes,
    /// What is at fault beside the guest is told once a call.
    failing: AtomicBool,
    crowded: AtomicBool,
}

impl Told {
    pub(super) fn new(notes: CallNotes) -> Self {
        Self { notes, failing: AtomicBool::new(false), crowded: AtomicBool::new(false) }
    }

    /// A bucket that nothing grants.
    pub(super) fn bucket(&self, shared: &Shared, principal: &Principal, name: &str) {
        let name = name.get(..name.floor_char_boundary(MAX_SHOWN)).unwrap_or_default();
        let waits = |configured: Buckets| configured.bucket(name).is_some();
        let line = || KvGrant::line(name, "", Access::Read);
        self.tell(shared, principal, name, "no entry of `kv` opens the bucket", waits, line);
    }

    /// A key that nothing grants with this access. `key` is empty for the whole bucket.
    pub(super) fn key(&self, opened: &Opened, principal: &Principal, key: &str, access: Access) {
        let (shared, name) = (&*opened.shared, opened.bucket.name.as_str());
        let reason = match access {
            Access::Read if key.is_empty() => "no entry of `kv` lets all of the bucket be read",
            Access::Read => "no entry of `kv` lets the key be read",
            Access::ReadWrite => "no entry of `kv` lets the key be written",
        };
        let waits = |configured: Buckets| configured.bucket(name).is_some_and(|keys| keys.allow(key, access));
        let line = || KvGrant::line(opened.keys.written(), key, access);
        self.tell(shared, principal, &format!("{name}/{key}"), reason, waits, line);
    }

    fn tell(
        &self,
        shared: &Shared,
        principal: &Principal,
        target: &str,
        reason: &str,
        waits: impl FnOnce(Buckets) -> bool,
        line: impl FnOnce() -> String,
    ) {
        if !self.notes.denied("kv", target, reason) {
            return;
        }
        let (plugin, target) = (&shared.plugin, target.escape_debug());
        let hint = if waits(Buckets::of(shared.grants.configured().kv(), principal, plugin)) {
            format!("it is configured and waits for approval: portcullis diff {plugin}")
        } else {
            format!("in `[plugins.{plugin}.grants]`: {}", line().escape_debug())
        };
        tracing::warn!(%plugin, %target, %hint, "a plugin was refused shared context: {reason}");
    }

    /// The store is at fault: its reasons are for the operator alone.
    pub(super) fn failed(&self, shared: &Shared, error: &StoreError) {
        if error.is_engine() && !self.failing.swap(true, Ordering::Relaxed) {
            tracing::warn!(plugin = %shared.plugin, %error, "the store failed an operation of a plugin");
        }
    }

    /// Too many wait.
    pub(super) fn crowded(&self, shared: &Shared, most: u32) {
        if !self.crowded.swap(true, Ordering::Relaxed) {
            let hint = format!("in `[server]`: max-waiting-calls = {}", most.max(1).saturating_mul(2));
            tracing::warn!(plugin = %shared.plugin, %hint, "{most} calls wait for changes already, and one more may not");
        }
    }
}
