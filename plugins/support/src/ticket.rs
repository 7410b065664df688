//! A ticket, and what may become of it: it knows neither a store nor a clock.

use serde::{Deserialize, Serialize};
use shelf::{Answer, refused};

/// How a ticket stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Nobody has analysed it.
    New,
    /// Somebody has.
    Analysing,
    /// Ended with a resolution.
    Resolved,
    /// Ended here, for people.
    Escalated,
}

impl State {
    /// As agents read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Analysing => "analysing",
            Self::Resolved => "resolved",
            Self::Escalated => "escalated",
        }
    }

    /// Whether nothing can become of it any more.
    pub fn is_end(self) -> bool {
        match self {
            Self::Resolved | Self::Escalated => true,
            Self::New | Self::Analysing => false,
        }
    }
}

/// Something that happened to a ticket. There are at most three.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// How it stood after it.
    pub state: State,
    /// Who did it.
    pub by: String,
    /// When, by the clock of whoever did it.
    pub at_ms: u64,
}

/// A ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// Its name.
    pub id: String,
    /// Whose it is.
    pub customer: String,
    /// What it is about.
    pub subject: String,
    /// What the customer wrote.
    pub body: String,
    /// How it stands.
    pub state: State,
    /// The resolution, or the reason.
    pub outcome: Option<String>,
    /// What happened to it.
    pub history: Vec<Event>,
}

impl Ticket {
    /// Since when it stands so.
    pub fn since_ms(&self) -> u64 {
        self.history.last().map_or(0, |event| event.at_ms)
    }

    fn enter(&mut self, state: State, by: &str, at_ms: u64) {
        self.state = state;
        self.history.push(Event { state, by: by.to_owned(), at_ms });
    }

    /// It is opened.
    pub(crate) fn open(&mut self, by: &str, at_ms: u64) {
        self.enter(State::New, by, at_ms);
    }

    /// Somebody analyses it; whether that changed it.
    pub(crate) fn analyse(&mut self, by: &str, at_ms: u64) -> Answer<bool> {
        match self.state {
            State::New => {
                self.enter(State::Analysing, by, at_ms);
                Ok(true)
            }
            State::Analysing => Ok(false),
            State::Resolved | State::Escalated => {
                refused(format_args!("{} is {} already: it takes no more analyses", self.id, self.state.as_str()))
            }
        }
    }

    /// It ends; whether that changed it. A ticket ends without an analysis too, where there is nothing to find.
    pub(crate) fn end(&mut self, state: State, outcome: &str, by: &str, at_ms: u64) -> Answer<bool> {
        if !self.state.is_end() {
            self.outcome = Some(outcome.to_owned());
            self.enter(state, by, at_ms);
            return Ok(true);
        }
        if self.state == state && self.outcome.as_deref() == Some(outcome) {
            return Ok(false);
        }
        let by = self.history.last().map_or("another", |event| &event.by);
        refused(format_args!(
            "{} was {} by `{by}` already, and stays so: see `get_ticket`",
            self.id,
            self.state.as_str()
        ))
    }
}
