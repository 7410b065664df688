//! To whom a message goes, how urgent it is, what it is called, and where it lies.
//!
//! `box/NAME/m/P/SEQ` is a message in somebody's mailbox, P its priority and SEQ the number that the bucket gave it: keys in
//! order are messages in the order in which to give them out. `box/NAME/l/P-SEQ` is there while somebody has it, and
//! `box/NAME/s/P-SEQ` from when it was first given out.

use serde::{Deserialize, Serialize};
use shelf::{Answer, check_name, name_part, refused};

/// Digits of a number in a key, so that their order is that of the numbers: below 2^53, as versions.
const DIGITS: usize = 16;
/// Longest name of a topic, in bytes.
const MAX_TOPIC: usize = 64;

/// How urgent a message is. The order is that in which they are given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Priority {
    /// Before all others.
    High,
    /// The usual.
    Normal,
    /// When there is nothing else.
    Low,
}

impl Priority {
    fn digit(self) -> char {
        match self {
            Self::High => '0',
            Self::Normal => '1',
            Self::Low => '2',
        }
    }
}

/// To whom a message goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// To one.
    Agent(String),
    /// To those who follow a topic.
    Topic(String),
    /// To all who are there.
    All,
}

impl Recipient {
    /// Reads `to`.
    ///
    /// # Errors
    /// Where it is no name of an agent, and no topic.
    pub fn read(to: &str) -> Answer<Self> {
        if to == "all" {
            return Ok(Self::All);
        }
        if let Some(topic) = to.strip_prefix("topic:") {
            return check_topic(topic).map(|()| Self::Topic(topic.into()));
        }
        let agent = to.strip_prefix("agent:").unwrap_or(to);
        name_part("to", agent)?;
        Ok(Self::Agent(agent.into()))
    }
}

/// Refuses what is no name of a topic.
pub(crate) fn check_topic(topic: &str) -> Answer<()> {
    check_name("topic", topic, MAX_TOPIC)?;
    match topic.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')) {
        true => Ok(()),
        false => refused(format_args!("`{topic}` is no topic: 1 to {MAX_TOPIC} letters, digits, `-`, `_` and `.`")),
    }
}

/// The name of a message, and the end of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id(pub(crate) Priority, pub(crate) u64);

impl Id {
    /// As it stands in answers and in keys of leases.
    pub(crate) fn text(self) -> String {
        let Self(priority, number) = self;
        format!("{}-{number:0DIGITS$}", priority.digit())
    }

    /// Reads what [`Id::text`] wrote, in that spelling alone.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let (priority, number) = text.split_once('-')?;
        let priority = [Priority::High, Priority::Normal, Priority::Low]
            .into_iter()
            .find(|known| priority.len() == 1 && priority.starts_with(known.digit()))?;
        let id = Self(priority, number.parse().ok()?);
        (id.text() == text).then_some(id)
    }
}

/// Somebody's mailbox.
pub(crate) struct Mailbox(String);

impl Mailbox {
    pub(crate) fn of(name: &str) -> Answer<Self> {
        Ok(Self(format!("box/{}/", name_part("name", name)?)))
    }

    /// What all its keys begin with, and nobody else's.
    pub(crate) fn all(&self) -> &str {
        &self.0
    }

    /// What the keys of its messages begin with.
    pub(crate) fn messages(&self) -> String {
        format!("{}m/", self.0)
    }

    /// What the keys of its leases begin with.
    pub(crate) fn leases(&self) -> String {
        format!("{}l/", self.0)
    }

    pub(crate) fn message(&self, id: Id) -> String {
        format!("{}m/{}/{:0DIGITS$}", self.0, id.0.digit(), id.1)
    }

    pub(crate) fn lease(&self, id: Id) -> String {
        format!("{}l/{}", self.0, id.text())
    }

    pub(crate) fn seen(&self, id: Id) -> String {
        format!("{}s/{}", self.0, id.text())
    }

    /// The message that has this key.
    pub(crate) fn id(&self, key: &str) -> Option<Id> {
        Id::read(&key.strip_prefix(&self.messages())?.replacen('/', "-", 1))
    }
}
