//! The slots of a call: held while it computes, given back while it waits in the host.
//!
//! **A sandbox is either in a slot or in a place of those that wait**, so that the pool of sandboxes, which has as many as
//! there are slots and places, never runs out.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

/// Calls that wait for a slot at one time, in all; each holds its arguments. One more is told that the tool is busy.
const MAX_QUEUE: usize = 1024;

/// The slots of the host, and the places of calls that wait.
pub(crate) struct Slots {
    computing: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    max_waiting: u32,
    /// Places to wait for a slot in.
    queue: Semaphore,
}

/// Why a call has no slot: the limit it waited for in vain.
pub(crate) struct Busy(pub(crate) &'static str);

impl Slots {
    pub(crate) fn new(computing: u32, waiting: u32) -> Self {
        Self {
            computing: Arc::new(Semaphore::new(computing as usize)),
            waiting: Arc::new(Semaphore::new(waiting as usize)),
            max_waiting: waiting,
            queue: Semaphore::new(MAX_QUEUE),
        }
    }

    /// A seat with a slot of the plugin and one of the host, waited for no longer than `deadline`.
    pub(crate) async fn seat(self: &Arc<Self>, own: &Arc<Semaphore>, deadline: Instant) -> Result<Arc<Seat>, Busy> {
        // The plugin's own first, so that calls waiting for it take nothing from others.
        let first = self.slot(own, deadline).await.ok_or(Busy("limit `concurrency` of the plugin"))?;
        let second = self.slot(&self.computing, deadline).await.ok_or(Busy("`max-concurrent-calls` of the host"))?;
        let held = Mutex::new(Held::Slots([first, second]));
        Ok(Arc::new(Seat { slots: Arc::clone(self), own: Arc::clone(own), held }))
    }

    /// A slot of `slots`. None where it took too long, or where too many wait already.
    async fn slot(&self, slots: &Arc<Semaphore>, deadline: Instant) -> Option<OwnedSemaphorePermit> {
        if let Ok(slot) = Arc::clone(slots).try_acquire_owned() {
            return Some(slot);
        }
        let _place = self.queue.try_acquire().ok()?;
        timeout_at(deadline, Arc::clone(slots).acquire_owned()).await.ok()?.ok()
    }
}

/// What one call holds: its slots, or a place among those that wait. It comes free with the last owner of the seat, which
/// is dropped after the sandbox, and never with a future of the guest's, which is dropped before.
pub(crate) struct Seat {
    slots: Arc<Slots>,
    own: Arc<Semaphore>,
    held: Mutex<Held>,
}

/// Held, and never looked at.
#[expect(dead_code, reason = "what counts is when it is dropped")]
enum Held {
    /// One of the plugin, one of the host.
    Slots([OwnedSemaphorePermit; 2]),
    /// A place among the calls that wait.
    Place(OwnedSemaphorePermit),
}

impl Seat {
    /// Gives the slots back for a place among those that wait. False, and nothing given back, where all places are taken.
    #[must_use]
    pub(crate) fn leave(&self) -> bool {
        let Ok(place) = Arc::clone(&self.slots.waiting).try_acquire_owned() else {
            return false;
        };
        self.hold(Held::Place(place));
        true
    }

    /// Takes slots again, before the place is free for others. It waits as long as that takes: whoever runs the call ends it
    /// at its deadline.
    pub(crate) async fn sit(&self) {
        // In the one order in which all take them, so that no two calls wait for each other's. They are never closed.
        let own = Arc::clone(&self.own).acquire_owned().await;
        let any = Arc::clone(&self.slots.computing).acquire_owned().await;
        if let (Ok(own), Ok(any)) = (own, any) {
            self.hold(Held::Slots([own, any]));
        }
    }

    fn hold(&self, held: Held) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = held;
    }

    /// How many calls of the host may wait at one time.
    pub(crate) fn max_waiting(&self) -> u32 {
        self.slots.max_waiting
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A call that is ended while it waits, or while it waits for its slots, still has a sandbox until its seat is gone.
    #[tokio::test]
    async fn a_place_is_held_as_long_as_the_seat() {
        let (slots, own) = (Arc::new(Slots::new(1, 1)), Arc::new(Semaphore::new(1)));
        let soon = || Instant::now() + Duration::from_secs(1);
        let one = slots.seat(&own, soon()).await.ok().expect("a seat");
        assert!(one.leave());
        let other = slots.seat(&own, soon()).await.ok().expect("the slots that were given back");
        assert!(!other.leave(), "there is one place");
        let sitting = tokio::time::timeout(Duration::from_millis(10), one.sit()).await;
        sitting.expect_err("the slots are taken");
        assert!(!other.leave(), "the call is ended, and its sandbox is still there");
        drop(one);
        assert!(other.leave(), "now its place is free");
        other.sit().await;
        assert_eq!((own.available_permits(), slots.waiting.available_permits()), (0, 1));
    }
}
