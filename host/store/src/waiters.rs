//! Who waits for changes: a future each, and no thread.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use crate::contract::BucketName;

/// The buckets that somebody in this process waits for, and their last version known.
#[derive(Default)]
pub(crate) struct Waiters(Mutex<HashMap<BucketName, watch::Sender<u64>>>);

impl Waiters {
    /// From now on each change of the bucket marks the receiver as changed.
    pub(crate) fn wait(&self, bucket: &BucketName) -> watch::Receiver<u64> {
        let mut buckets = self.lock();
        // Those that nobody waits for any more, whenever somebody comes.
        buckets.retain(|_, sender| sender.receiver_count() > 0);
        buckets.entry(bucket.clone()).or_insert_with(|| watch::channel(0).0).subscribe()
    }

    /// The bucket changed. Whether anybody waits for it.
    pub(crate) fn wake(&self, bucket: &BucketName, version: u64) -> bool {
        self.lock().get(bucket).is_some_and(|sender| {
            sender.send_replace(version);
            sender.receiver_count() > 0
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<BucketName, watch::Sender<u64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
