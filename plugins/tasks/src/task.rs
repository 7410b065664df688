//! A task, and what may become of it: every transition is a function here, and knows neither a store nor a clock.

use serde::{Deserialize, Serialize};
use shelf::{Answer, refused};

use crate::keys::{Seq, id};

/// The most urgent.
pub(crate) const MAX_PRIORITY: u8 = 9;
/// Most tasks that one depends on: all are read and written with it in one transaction.
pub const MAX_DEPENDENCIES: usize = 20;
/// Most events that a task remembers.
pub const MAX_EVENTS: usize = 50;

/// How a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Waits for others.
    Blocked,
    /// Can be claimed.
    Pending,
    /// Somebody has it.
    Claimed,
    /// Done.
    Completed,
    /// Tried in vain.
    DeadLetter,
    /// Called off.
    Cancelled,
}

impl State {
    /// Whether nothing can become of it any more.
    pub fn is_end(self) -> bool {
        match self {
            Self::Completed | Self::DeadLetter | Self::Cancelled => true,
            Self::Blocked | Self::Pending | Self::Claimed => false,
        }
    }

    /// As agents read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Pending => "pending",
            Self::Claimed => "claimed",
            Self::Completed => "completed",
            Self::DeadLetter => "dead-letter",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Something that happened to a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// How it stood after it.
    pub state: State,
    /// Who did it; none: it happened by itself.
    pub by: Option<String>,
    /// When, by the clock of whoever did it.
    pub at_ms: u64,
    /// Why.
    pub note: Option<String>,
}

/// A task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    pub(crate) seq: Seq,
    /// What it is, in a line.
    pub title: String,
    /// What is to be done.
    pub description: String,
    /// 9 comes first.
    pub priority: u8,
    /// How it stands.
    pub state: State,
    /// Who posted it.
    pub orchestrator: String,
    /// Who has it, or had it last.
    pub claimant: Option<String>,
    /// Under which time it is in the list of those that are held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) held_ms: Option<u64>,
    /// How often it was claimed.
    pub attempt: u32,
    /// How often it may be.
    pub max_attempts: u32,
    pub(crate) depends_on: Vec<Seq>,
    pub(crate) waiting_for: Vec<Seq>,
    /// What came of it.
    pub outcome: Option<String>,
    /// What happened to it, the last of it.
    pub history: Vec<Event>,
    /// How many events came before those.
    pub earlier_events: u32,
}

impl Task {
    /// What it is called.
    pub fn id(&self) -> String {
        id(self.seq)
    }

    /// What it depends on.
    pub fn depends_on(&self) -> Vec<String> {
        self.depends_on.iter().copied().map(id).collect()
    }

    /// What of that is not completed.
    pub fn waiting_for(&self) -> Vec<String> {
        self.waiting_for.iter().copied().map(id).collect()
    }

    fn enter(&mut self, state: State, by: Option<&str>, at_ms: u64, note: Option<String>) {
        self.state = state;
        self.history.push(Event { state, by: by.map(str::to_owned), at_ms, note });
        while self.history.len() > MAX_EVENTS {
            self.history.remove(0);
            self.earlier_events = self.earlier_events.saturating_add(1);
        }
    }

    /// It is posted.
    pub(crate) fn begin(&mut self, at_ms: u64) {
        let state = if self.waiting_for.is_empty() { State::Pending } else { State::Blocked };
        let by = self.orchestrator.clone();
        self.enter(state, Some(&by), at_ms, None);
    }

    /// Somebody takes it.
    pub(crate) fn claim(&mut self, by: &str, at_ms: u64) -> Answer<()> {
        let id = self.id();
        match self.state {
            State::Pending => {}
            State::Blocked => {
                let waiting = self.waiting_for().join(", ");
                return refused(format_args!("{id} cannot be claimed yet: it waits for {waiting}"));
            }
            State::Claimed if self.claimant.as_deref() == Some(by) => {
                return refused(format_args!(
                    "you have {id} already, as attempt {}: complete it, fail it, or call `extend_task`",
                    self.attempt
                ));
            }
            State::Claimed => {
                let claimant = self.claimant.as_deref().unwrap_or("another");
                return refused(format_args!("`{claimant}` has {id}: call `get_pending_tasks` for others"));
            }
            State::Completed | State::DeadLetter | State::Cancelled => {
                return refused(format_args!("{id} is {}: call `get_pending_tasks` for others", self.state.as_str()));
            }
        }
        self.attempt = self.attempt.saturating_add(1);
        self.claimant = Some(by.to_owned());
        self.enter(State::Claimed, Some(by), at_ms, Some(format!("attempt {} of {}", self.attempt, self.max_attempts)));
        Ok(())
    }

    /// Whether `by` may speak for it. Whether the lease still runs is the store's to say.
    pub(crate) fn check_claimant(&self, by: &str, attempt: Option<u32>) -> Answer<()> {
        let (id, state) = (self.id(), self.state.as_str());
        if self.state != State::Claimed {
            return refused(format_args!("{id} is {state} and not yours any more: `get_task` shows what happened"));
        }
        if self.claimant.as_deref() != Some(by) {
            let claimant = self.claimant.as_deref().unwrap_or("another");
            return refused(format_args!("`{claimant}` has {id}, and not you"));
        }
        match attempt {
            Some(attempt) if attempt != self.attempt => refused(format_args!(
                "{id} is claimed as attempt {} now, and you said {attempt}: another worker of yours has it",
                self.attempt
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// Its claimant has done it.
    pub(crate) fn complete(&mut self, by: &str, at_ms: u64, outcome: Option<&str>) {
        self.outcome = outcome.map(str::to_owned);
        self.enter(State::Completed, Some(by), at_ms, None);
    }

    /// The attempt is over without success: by its claimant, or since the lease ended.
    pub(crate) fn give_up(&mut self, by: Option<&str>, at_ms: u64, reason: &str, retry: bool) {
        let again = retry && self.attempt < self.max_attempts;
        let state = if again { State::Pending } else { State::DeadLetter };
        self.enter(state, by, at_ms, Some(reason.to_owned()));
    }

    /// Its poster calls it off.
    pub(crate) fn cancel(&mut self, by: &str, at_ms: u64, reason: Option<&str>) -> Answer<()> {
        let (id, state) = (self.id(), self.state.as_str());
        if self.orchestrator != by {
            return refused(format_args!("`{}` posted {id}, who alone may cancel it", self.orchestrator));
        }
        if self.state.is_end() {
            return refused(format_args!("{id} is {state} already: there is nothing to cancel"));
        }
        self.enter(State::Cancelled, Some(by), at_ms, reason.map(str::to_owned));
        Ok(())
    }

    /// A task that it waits for has ended. Nothing where it does not wait for it.
    pub(crate) fn hear(&mut self, of: Seq, ended: State, at_ms: u64) {
        if self.state != State::Blocked || !self.waiting_for.contains(&of) {
            return;
        }
        if ended == State::Completed {
            self.waiting_for.retain(|waiting| *waiting != of);
            if self.waiting_for.is_empty() {
                self.enter(State::Pending, None, at_ms, Some("all that it depends on is completed".into()));
            }
        } else {
            let note = format!("{}, which it depends on, is {}", id(of), ended.as_str());
            self.enter(State::Cancelled, None, at_ms, Some(note));
        }
    }
}
