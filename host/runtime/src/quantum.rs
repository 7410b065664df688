//! Where a call computes: its first milliseconds on the thread that serves, the rest on threads of lower priority.
//!
//! Measured (PERFORMANCE.md, "Neighbours"): with 32 spinning calls on the serving threads another call's p99 grows
//! 3 to 250 times, by the yield interval; with the spinners on threads of their own at nice 10, 1.1 times. Moving every
//! call would cost short calls the hand-over, so only what outlives its first quantum moves.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::{
    runtime::{Handle, Runtime},
    task::JoinHandle,
};

/// Computing time on the serving thread before a call moves: two yields' worth.
const FIRST_QUANTUM: Duration = Duration::from_millis(2);
/// Priority of the threads behind: the kernel gives a thread at 10 about a tenth of what one at 0 gets.
const NICE: i32 = 10;

/// The threads behind.
#[derive(Debug)]
pub(crate) struct Background {
    runtime: Option<Runtime>,
}

impl Background {
    /// As many threads as the machine has processors.
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .thread_name("portcullis-bg")
            .enable_all()
            // Timers and I/O of waiting guests come before the next slice of a spinning one.
            .event_interval(1)
            // A call that arrives comes before the next slices, too. Tokio would look for it after 61 of them at first.
            .global_queue_interval(2)
            .on_thread_start(|| {
                // On Linux the priority is the thread's own; elsewhere it would be the whole process's.
                #[cfg(target_os = "linux")]
                if let Err(error) = rustix::process::setpriority_process(None, NICE) {
                    tracing::warn!(%error, "long calls run at the priority of short ones");
                }
            })
            .build()?;
        Ok(Self { runtime: Some(runtime) })
    }

    /// Runs `call`: here for a start, then behind; behind at once where `pace` says that calls of its kind are long.
    /// Dropping the future this returns stops the call.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        pace: &Arc<Pace>,
        call: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, tokio::task::JoinError> {
        let call = Timed { call: Box::pin(call), used: Duration::ZERO, pace: Arc::clone(pace) };
        let call = if pace.is_long() {
            call
        } else {
            match (FirstQuantum { call: Some(call) }).await {
                Quantum::Done(value) => return Ok(value),
                Quantum::Outlived(call) => call,
            }
        };
        AbortOnDrop(self.handle().spawn(call)).await
    }

    fn handle(&self) -> Handle {
        self.runtime.as_ref().map_or_else(Handle::current, |runtime| runtime.handle().clone())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // Dropping a runtime waits for it, which an asynchronous context may not.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Whether calls of a kind outlive their first quantum, by the last ones that ended.
///
/// A call can compute for long in one piece, which no yield interrupts: a result of a megabyte is some tens of
/// milliseconds of work for the host. So it is not enough to move a call once it was long.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Long calls in a row.
    long: AtomicU8,
}

/// Long calls in a row that make the next one begin behind. One alone may have been short and waited for a processor.
const IN_A_ROW: u8 = 3;

impl Pace {
    fn is_long(&self) -> bool {
        self.long.load(Ordering::Relaxed) >= IN_A_ROW
    }

    fn ended(&self, used: Duration) {
        let before = self.long.load(Ordering::Relaxed);
        let after = if used < FIRST_QUANTUM { 0 } else { before.saturating_add(1).min(IN_A_ROW) };
        // Most calls change nothing, and a write would take the line from other processors.
        if before != after {
            self.long.store(after, Ordering::Relaxed);
        }
    }
}

/// A call that counts the time for which it computes, and tells its pace.
struct Timed<F> {
    call: Pin<Box<F>>,
    used: Duration,
    pace: Arc<Pace>,
}

impl<F: Future> Future for Timed<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let began = Instant::now();
        let polled = self.call.as_mut().poll(context);
        self.used += began.elapsed();
        polled
    }
}

impl<F> Drop for Timed<F> {
    fn drop(&mut self) {
        self.pace.ended(self.used);
    }
}

enum Quantum<F: Future> {
    Done(F::Output),
    Outlived(Timed<F>),
}

struct FirstQuantum<F> {
    call: Option<Timed<F>>,
}

impl<F: Future> Future for FirstQuantum<F> {
    type Output = Quantum<F>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(call) = &mut self.call else { return Poll::Pending };
        if let Poll::Ready(value) = Pin::new(&mut *call).poll(context) {
            return Poll::Ready(Quantum::Done(value));
        }
        if call.used < FIRST_QUANTUM {
            return Poll::Pending;
        }
        match self.call.take() {
            Some(call) => Poll::Ready(Quantum::Outlived(call)),
            None => Poll::Pending,
        }
    }
}

/// Stops the task behind when nobody waits for it any more.
struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<T> Future for AbortOnDrop<T> {
    type Output = Result<T, tokio::task::JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_long_call_moves_and_a_dropped_one_stops() {
        let background = Background::start().expect("threads");
        fn name() -> String {
            std::thread::current().name().unwrap_or_default().to_owned()
        }
        let pace = Arc::new(Pace::default());
        let long = || async {
            let here = name();
            let began = Instant::now();
            while began.elapsed() < FIRST_QUANTUM * 2 {
                std::hint::spin_loop();
            }
            tokio::task::yield_now().await;
            (here, name())
        };
        for _ in 0..IN_A_ROW {
            let (here, there) = background.run(&pace, long()).await.expect("an end");
            assert_ne!(here, "portcullis-bg");
            assert_eq!(there, "portcullis-bg");
        }
        // The next of its kind begins behind, until one was short again.
        let (here, _) = background.run(&pace, long()).await.expect("an end");
        assert_eq!(here, "portcullis-bg");
        assert_eq!(background.run(&pace, async { name() }).await.expect("an end"), "portcullis-bg");
        assert_ne!(background.run(&pace, async { name() }).await.expect("an end"), "portcullis-bg");

        let (stopped, dropped) = tokio::sync::oneshot::channel::<()>();
        let spin = async move {
            let _stopped = stopped;
            loop {
                let began = Instant::now();
                while began.elapsed() < FIRST_QUANTUM {
                    std::hint::spin_loop();
                }
                tokio::task::yield_now().await;
            }
        };
        let ended = tokio::time::timeout(FIRST_QUANTUM * 10, background.run::<()>(&Arc::default(), spin)).await;
        assert!(ended.is_err());
        assert!(dropped.await.is_err(), "the spinning task is gone");
    }
}
