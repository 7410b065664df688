//! Turns of a guest that has the host work for it.
//!
//! Fuel counts what a guest computes and nothing of what it has the host do, so that a guest which only calls the host
//! would reach a yield after some hundred thousand calls: minutes, with a megabyte handed over in each. No deadline, no
//! cancel and no neighbour would come through in between. So the clock is looked at after each call of the host.

use std::time::{Duration, Instant};

use wasmtime::{CallHook, CallHookHandler, StoreContextMut};

use super::Sandbox;

/// The longest that a guest holds a thread with calls of the host: as long as with computing (`engine::YIELD_EVERY`).
const TURN: Duration = Duration::from_millis(1);

/// Gives the thread back after each [`TURN`].
pub(super) struct Turns;

#[wasmtime_wasi::async_trait]
impl CallHookHandler<Sandbox> for Turns {
    async fn handle_call_event(
        &self,
        mut store: StoreContextMut<'_, Sandbox>,
        event: CallHook,
    ) -> wasmtime::Result<()> {
        if matches!(event, CallHook::ReturningFromHost) && store.data().turn.elapsed() > TURN {
            tokio::task::yield_now().await;
            store.data_mut().turn = Instant::now();
        }
        Ok(())
    }
}
