//! Trying again where somebody else was quicker.

use crate::{Answer, Fault};

/// How often a call tries before it says that others are always quicker. Fifty agents that change one entry at once need
/// no more; each try that fails is another's that succeeded.
const MAX_TRIES: u32 = 100;

/// Why a try ended without a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// What was asked is not possible as things stand: the sentence to say.
    Refused(String),
    /// The store did not do it.
    Fault(Fault),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<String> for Stop {
    fn from(sentence: String) -> Self {
        Self::Refused(sentence)
    }
}

impl From<&str> for Stop {
    fn from(sentence: &str) -> Self {
        Self::Refused(sentence.into())
    }
}

impl From<Stop> for String {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Refused(sentence) => sentence,
            Stop::Fault(fault) => fault.into(),
        }
    }
}

/// Reads, decides and writes, as `attempt` does it in one, until no other write comes between.
///
/// # Errors
/// What `attempt` ends with; a conflict only after a hundred tries.
pub fn settled<T>(mut attempt: impl FnMut() -> Result<T, Stop>) -> Answer<T> {
    let mut tries = 0;
    loop {
        tries += 1;
        match attempt() {
            Err(Stop::Fault(Fault::Conflict(_))) if tries < MAX_TRIES => {}
            ended => return ended.map_err(String::from),
        }
    }
}
