//! The threads that doors serve on: each runs what it begins to the end, and shares no work with the others.
//!
//! A short call is done before another thread could take any of it over. On a runtime whose threads share their work it
//! was woken and handed on several times a call, which cost more than its sandbox (`tests/bench/README.md`). Long calls
//! leave these threads by themselves.

use std::{future::Future, io, num::NonZero, thread};

use tokio::sync::oneshot;

/// As many threads as the machine has processors.
pub(crate) fn count() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// Runs `work` on a thread of its own, with a runtime of its own that ends with it.
///
/// # Errors
/// When the thread or its runtime cannot start, or it panics.
pub(crate) async fn on_own_thread<F: Future<Output: Send + 'static>>(
    name: String,
    work: impl FnOnce() -> F + Send + 'static,
) -> io::Result<F::Output> {
    let (done, ended) = oneshot::channel();
    thread::Builder::new().name(name).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        // Nobody may be waiting any more.
        _ = done.send(runtime.map(|runtime| runtime.block_on(work())));
    })?;
    ended.await.map_err(|_| io::Error::other("a thread that serves died"))?
}
