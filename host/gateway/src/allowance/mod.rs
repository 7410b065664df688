//! How much each agent has in flight, has called and has spent: whether one more call may begin.
//!
//! Decided before a slot is waited for. What the bounds are is `policy`'s; here is only what is counted against them.

mod rate;
mod spent;

use std::{
    collections::HashMap,
    num::NonZero,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use portcullis_policy::{Agent, AgentName, Principal};
use tokio::{sync::Notify, time::timeout};

pub use self::spent::SpentError;
use self::{rate::Rate, spent::Book};

/// Agents that are counted at one time. A configuration has fewer; an issuer of tokens can name more.
const MAX_COUNTED: usize = 10_000;
/// When to try again where a call of one's own has to end first: most end within it.
const SOON: Duration = Duration::from_secs(1);
/// Most units of fuel that a processor computes in a microsecond: 1e9 are some 65 to 110 ms (../shared/DESIGN.md). What a
/// call that was stopped has used is not known, and it is taken to have computed all the time.
const FUEL_PER_MICRO: u64 = 16_000;

/// What time it is, for the rate of calls and for the day.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// Never goes back.
    pub instant: fn() -> Instant,
    /// Of people.
    pub time: fn() -> SystemTime,
}

impl Clocks {
    /// This machine's.
    pub fn of_this_machine() -> Self {
        Self { instant: Instant::now, time: SystemTime::now }
    }
}

/// What agents have asked of this host.
#[derive(Debug)]
pub struct Allowances {
    counted: RwLock<HashMap<AgentName, Arc<Counted>>>,
    book: Mutex<Book>,
    clocks: Clocks,
}

/// One agent's.
#[derive(Debug, Default)]
struct Counted {
    in_flight: AtomicU32,
    /// Told when one has left.
    left: Notify,
    rate: Mutex<Rate>,
}

/// An agent has asked for more than it may. The text is for the client: a model can read it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many calls: {what} (limit `{limit}` of the agent); try again in {}", humane(*.again))]
pub struct Exceeded {
    /// The key in the configuration.
    pub limit: &'static str,
    /// What is bounded, with the bound.
    what: String,
    /// When it may be otherwise; whole seconds.
    pub again: Duration,
}

impl Exceeded {
    fn new(limit: &'static str, what: String, again: Duration) -> Self {
        // Rounded up: whoever comes at that time is let in.
        let again = Duration::from_secs(again.as_secs() + u64::from(again.subsec_nanos() > 0)).max(SOON);
        Self { limit, what, again }
    }
}

/// A call that may begin. However it ends, its agent has one less in flight.
#[derive(Debug)]
pub(crate) struct Admitted {
    allowances: Arc<Allowances>,
    counted: Arc<Counted>,
    agent: AgentName,
    /// Whether it is counted among those in flight, and their bound.
    counts: bool,
    bound: NonZero<u32>,
    /// When it began to compute.
    began: Option<Instant>,
    /// The call's own bound.
    ceiling: Option<u64>,
    budget: Option<u64>,
}

impl Allowances {
    /// Counts from nothing, but for the fuel of this day, which stands in the file at `path`.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn open(path: PathBuf, clocks: Clocks) -> Result<Arc<Self>, SpentError> {
        let book = Book::open(path, (clocks.time)())?;
        Ok(Arc::new(Self { counted: RwLock::default(), book: Mutex::new(book), clocks }))
    }

    /// May `principal` begin a call that may use `ceiling` units of fuel? Only agents are bounded.
    pub(crate) fn admit(
        self: &Arc<Self>,
        principal: &Principal,
        ceiling: Option<u64>,
    ) -> Result<Option<Admitted>, Exceeded> {
        let agent = match principal {
            Principal::LocalOperator | Principal::Loopback => return Ok(None),
            Principal::Agent(agent) => agent,
        };
        let allowance = agent.allowance();
        if let Some(budget) = allowance.fuel_per_day {
            let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
            if book.spent(agent.name(), (self.clocks.time)()) >= budget {
                let again = spent::until_midnight((self.clocks.time)());
                return Err(Exceeded::new("fuel-per-day", format!("all {budget} units of this day are used"), again));
            }
        }
        let counted = self.counted(agent)?;
        counted.enter(allowance.concurrency)?;
        // From here on it is counted, and its end takes it out.
        let admitted = Admitted {
            allowances: Arc::clone(self),
            agent: agent.name().clone(),
            counts: true,
            bound: allowance.concurrency,
            began: None,
            ceiling,
            budget: allowance.fuel_per_day,
            counted,
        };
        let refused = admitted.counted.one(allowance.calls_per_minute, (self.clocks.instant)());
        match refused {
            None => Ok(Some(admitted)),
            Some(again) => {
                admitted.settle(Some(0));
                Err(Exceeded::new("calls-per-minute", format!("{} a minute", allowance.calls_per_minute), again))
            }
        }
    }

    fn counted(&self, agent: &Agent) -> Result<Arc<Counted>, Exceeded> {
        let known = |all: &HashMap<AgentName, Arc<Counted>>| all.get(agent.name()).cloned();
        if let Some(counted) = known(&self.counted.read().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(counted);
        }
        let mut all = self.counted.write().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX_COUNTED {
            // Those of whom nothing is left to know.
            let now = (self.clocks.instant)();
            all.retain(|_, counted| Arc::strong_count(counted) > 1 || !counted.is_fresh(now));
        }
        if all.len() >= MAX_COUNTED {
            return Err(Exceeded::new("calls-per-minute", "too many agents are calling".into(), SOON));
        }
        Ok(Arc::clone(all.entry(agent.name().clone()).or_default()))
    }
}

impl Counted {
    /// Counts one in flight, where it is none too many.
    fn enter(&self, bound: NonZero<u32>) -> Result<(), Exceeded> {
        let bound = bound.get();
        let one_more = |count: u32| (count < bound).then_some(count + 1);
        let counted = self.in_flight.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        counted.map(drop).map_err(|_| Exceeded::new("concurrency", format!("{bound} are running already"), SOON))
    }

    /// Counts one call. Where it is one too many, when there may be another.
    fn one(&self, per_minute: NonZero<u32>, now: Instant) -> Option<Duration> {
        self.rate.lock().unwrap_or_else(PoisonError::into_inner).one(per_minute, now).err()
    }

    /// Whether nothing is counted, as for an agent that never called.
    fn is_fresh(&self, now: Instant) -> bool {
        self.rate.lock().unwrap_or_else(PoisonError::into_inner).is_fresh(now)
    }
}

impl Admitted {
    /// Its agent has one less in flight, while a person is asked.
    pub(crate) fn steps_back(&mut self) {
        if std::mem::take(&mut self.counts) {
            self.counted.in_flight.fetch_sub(1, Ordering::Relaxed);
            self.counted.left.notify_one();
        }
    }

    /// And one more again, where need be after a moment: a person's yes counts once, and would be for nothing.
    ///
    /// # Errors
    /// When that is one too many still after [`SOON`].
    pub(crate) async fn comes_back(&mut self) -> Result<(), Exceeded> {
        if self.counts {
            return Ok(());
        }
        let entered = async {
            while self.counted.enter(self.bound).is_err() {
                self.counted.left.notified().await;
            }
        };
        match timeout(SOON, entered).await {
            Ok(()) => {}
            Err(_) => self.counted.enter(self.bound)?,
        }
        self.counts = true;
        Ok(())
    }

    /// From here on it may compute.
    pub(crate) fn begins(&mut self) {
        self.began = Some((self.allowances.clocks.instant)());
    }

    /// The call used so much; not known where it was stopped.
    pub(crate) fn settle(mut self, fuel: Option<u64>) {
        self.charge(fuel);
    }

    fn charge(&mut self, fuel: Option<u64>) {
        let Some(budget) = self.budget.take() else { return };
        let fuel = fuel.unwrap_or_else(|| {
            let now = (self.allowances.clocks.instant)();
            let micros = self.began.map_or(0, |began| now.saturating_duration_since(began).as_micros());
            let most = u64::try_from(micros).unwrap_or(u64::MAX).saturating_mul(FUEL_PER_MICRO);
            most.min(self.ceiling.unwrap_or(u64::MAX))
        });
        let mut book = self.allowances.book.lock().unwrap_or_else(PoisonError::into_inner);
        book.charge(&self.agent, fuel, budget, (self.allowances.clocks.time)());
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.charge(None);
        self.steps_back();
    }
}

fn humane(time: Duration) -> String {
    humantime::format_duration(time).to_string()
}

#[cfg(test)]
mod tests;
