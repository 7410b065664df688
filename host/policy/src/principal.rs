//! Who asks.

use std::{fmt, sync::Arc};

use crate::Agent;

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
    /// The name in records, and what guests are told by `portcullis:host/call`.
    pub fn as_str(&self) -> &str {
        match self {
            Self::LocalOperator => "local-operator",
            Self::Loopback => "loopback",
            Self::Agent(agent) => agent.name().as_str(),
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
