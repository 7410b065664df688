//! Who asks.

use std::{borrow::Cow, fmt, sync::Arc};

use crate::{Agent, MAX_AGENT_NAME};

/// What stands before the names of agents that would be taken for somebody else's in buckets.
const AGENT: &str = "agent.";
/// Longest name of a principal in buckets, in bytes.
pub(crate) const MAX_NAME_IN_BUCKETS: usize = MAX_AGENT_NAME + AGENT.len();

/// Who a request comes from, as the door that it came through vouches for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// Who started the process and holds its pipes, or ran a command: the operator of this machine.
    LocalOperator,
    /// A client on the loopback interface without authentication.
    Loopback,
    /// An agent that has said who it is, and proved it.
    Agent(Arc<Agent>),
}

impl Principal {
    /// The name in records.
    pub fn as_str(&self) -> &str {
        match self {
            Self::LocalOperator => "local-operator",
            Self::Loopback => "loopback",
            Self::Agent(agent) => agent.name().as_str(),
        }
    }

    /// The name that stands for it in `{principal}`, as the writer of entries, and what guests are told by
    /// `portcullis:host/call`: no two principals share one. It is the
    /// name in records, but for agents that are called like the host's own principals, or like an agent in this form:
    /// those have `agent.` before it. 1 to 70 letters, digits, `-`, `_` and `.`.
    pub fn in_buckets(&self) -> Cow<'_, str> {
        match self {
            Self::LocalOperator | Self::Loopback => Cow::Borrowed(self.as_str()),
            Self::Agent(agent) => agent.in_buckets(),
        }
    }
}

impl Agent {
    /// As [`Principal::in_buckets`]: what `{principal}` stands for, in grants and in the resources of roles.
    pub fn in_buckets(&self) -> Cow<'_, str> {
        let name = self.name().as_str();
        let taken = || [Principal::LocalOperator, Principal::Loopback].iter().any(|own| own.as_str() == name);
        if name.starts_with(AGENT) || taken() { Cow::Owned(format!("{AGENT}{name}")) } else { Cow::Borrowed(name) }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
