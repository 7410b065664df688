//! Turns of a guest that has the host work for it.
//!
//! Fuel counts what a guest computes and nothing of what it has the host do, so that a guest which only calls the host
//! would reach a yield after some hundred thousand calls: minutes, with a megabyte handed over in each. No deadline, no
//! cancel and no neighbour would come through in between. So the clock is looked at after each call of the host.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use wasmtime::{CallHook, CallHookHandler, StoreContextMut};

use super::Sandbox;

/// The longest that a guest holds a thread with calls of the host: as long as with computing (`engine::YIELD_EVERY`).
const TURN: Duration = Duration::from_millis(1);

/// Gives the thread back after each [`TURN`].
pub(super) struct Turns;

type Given<'a> = Pin<Box<dyn Future<Output = wasmtime::Result<()>> + Send + 'a>>;

// Written out: `async_trait` would allocate a future for each of the four events of a call of the host.
impl CallHookHandler<Sandbox> for Turns {
    fn handle_call_event<'s, 'c, 'f>(&'s self, mut store: StoreContextMut<'c, Sandbox>, event: CallHook) -> Given<'f>
    where
        's: 'f,
        'c: 'f,
        Self: 'f,
    {
        if !matches!(event, CallHook::ReturningFromHost) || store.data().turn.elapsed() <= TURN {
            return Box::pin(GoOn);
        }
        Box::pin(async move {
            tokio::task::yield_now().await;
            store.data_mut().turn = Instant::now();
            Ok(())
        })
    }
}

/// Is ready at once. Of no size, so that its box is no allocation.
struct GoOn;

impl Future for GoOn {
    type Output = wasmtime::Result<()>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(()))
    }
}
