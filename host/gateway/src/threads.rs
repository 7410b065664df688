//! The threads that doors serve on, apart from those of the rest of the host.
//!
//! Measured (`tests/bench/README.md`, "Threads"): connections of HTTP are many, and a thread that shares no work with the
//! others is done with a short call before another could take any of it over. The messages of one pipe are one stream, and
//! two threads that share the work on it do half as much again as one. Long calls leave either by themselves.

use std::{
    future::Future,
    io,
    num::NonZero,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::{
    runtime::Builder,
    sync::{Notify, oneshot},
};

/// How long a thread looks for the next request after an answer before it sleeps: who asks one thing after the other asks
/// within it, and a processor that sleeps takes 25 to 40 µs to wake on a virtual machine, as long as a whole call
/// (`tests/bench/README.md`, "Reading the figures").
const LINGER: Duration = Duration::from_micros(100);

/// How the threads of a door share its work.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Threads {
    /// One, which does everything that it is given.
    One,
    /// Two, which take work from each other.
    Pair,
}

/// As many threads as the machine has processors.
pub(crate) fn count() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// Keeps a pair of threads awake for a moment: the one that answered, and one whose processor whoever asked may need, which
/// would sleep as well.
#[derive(Clone, Debug)]
pub(crate) struct Linger(Arc<Until>);

#[derive(Debug)]
struct Until {
    began: Instant,
    /// Microseconds after that.
    micros: AtomicU64,
    /// Requests that are not answered yet.
    asked: AtomicUsize,
    moved: Notify,
}

impl Linger {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Until {
            began: Instant::now(),
            micros: AtomicU64::new(0),
            asked: AtomicUsize::new(0),
            moved: Notify::new(),
        }))
    }

    /// A request came. Its end, when what this returns is dropped, may be the last for now: only then the threads linger, and
    /// take no processor from other requests or from whoever reads the answers.
    pub(crate) fn asked(&self) -> Asked {
        self.0.asked.fetch_add(1, Ordering::Relaxed);
        Asked(Arc::clone(&self.0))
    }

    /// Whether there are requests that are not answered yet.
    pub(crate) fn is_asked(&self) -> bool {
        self.0.asked.load(Ordering::Relaxed) > 0
    }

    /// Never ends. Whatever else is to run on this thread, or on its processor, comes first.
    async fn run(self) {
        let Until { began, micros, moved, .. } = &*self.0;
        loop {
            let answered = moved.notified();
            while (began.elapsed().as_micros() as u64) < micros.load(Ordering::Acquire) {
                tokio::task::yield_now().await;
                thread::yield_now();
            }
            answered.await;
        }
    }
}

/// A request that is not answered yet.
#[derive(Debug)]
pub(crate) struct Asked(Arc<Until>);

impl Drop for Asked {
    fn drop(&mut self) {
        let Until { began, micros, asked, moved } = &*self.0;
        if asked.fetch_sub(1, Ordering::Relaxed) == 1 {
            micros.store((began.elapsed() + LINGER).as_micros() as u64, Ordering::Release);
            moved.notify_waiters();
        }
    }
}

/// Runs `work` on threads of its own, with a runtime of its own that ends with it.
///
/// # Errors
/// When a thread or the runtime cannot start, or `work` panics.
pub(crate) async fn on_own_threads<F: Future<Output: Send + 'static>>(
    name: String,
    threads: Threads,
    linger: Linger,
    work: impl FnOnce() -> F + Send + 'static,
) -> io::Result<F::Output> {
    let (done, ended) = oneshot::channel();
    thread::Builder::new().name(name.clone()).spawn(move || {
        let (mut builder, count) = match threads {
            Threads::One => (Builder::new_current_thread(), 1),
            Threads::Pair => (Builder::new_multi_thread(), 2),
        };
        let ended = builder.worker_threads(count).thread_name(name).enable_all().build().map(|runtime| {
            for _ in 0..count {
                drop(runtime.spawn(linger.clone().run()));
            }
            runtime.block_on(work())
        });
        // Nobody may be waiting any more.
        _ = done.send(ended);
    })?;
    ended.await.map_err(|_| io::Error::other("a thread that serves died"))?
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        sync::atomic::AtomicBool,
        task::{Context, Wake, Waker},
    };

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// Outside a runtime, one that wants to run again says so at once.
    #[test]
    fn a_thread_stays_awake_after_an_answer_and_then_sleeps() {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let linger = Linger::new();
        let mut running = pin!(linger.clone().run());
        let mut wants_to_run = || {
            woken.0.store(false, Ordering::Relaxed);
            assert!(running.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            woken.0.load(Ordering::Relaxed)
        };
        assert!(!wants_to_run(), "before any answer");
        for _ in 0..2 {
            let others = linger.asked();
            drop(linger.asked());
            assert!(!wants_to_run(), "others are not answered");
            let began = Instant::now();
            drop(others);
            // The first look finds that there was an answer, unless this thread was away for longer than it lingers.
            assert!(wants_to_run() || began.elapsed() > LINGER);
            thread::sleep(LINGER * 2);
            wants_to_run();
            assert!(!wants_to_run(), "long after it");
        }
    }
}
