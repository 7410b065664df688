//! What keeps the store from doing something, as a sentence for a model.

use std::fmt;

use crate::Entry;

/// Why an operation was not done. But for [`Fault::Unknown`] nothing was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A condition does not hold: the entry as it stands.
    Conflict(Option<Box<Entry>>),
    /// The bucket holds as much as it may.
    Full,
    /// Too many calls wait.
    Busy,
    /// This call has done as much as a call may.
    Limit,
    /// It may have been done, or may be yet.
    Unknown,
    /// The store is away, or the call's time is over.
    Away,
    /// The operator grants it not.
    Denied,
    /// An entry is not what the plugin writes; its key.
    Damaged(String),
    /// Something else; what.
    Other(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict(_) => f.write_str("others changed this at the same time; nothing was done: try again"),
            Self::Full => f.write_str(
                "nothing was done: the bucket of this tool is full. Ask the operator for more room, or wait until older \
                 entries expire",
            ),
            Self::Busy => f.write_str("as many calls wait as may: call again without waiting, or later"),
            Self::Limit => f.write_str("this call asked for more than one call may do: ask for less at a time"),
            Self::Unknown => f.write_str(
                "the store went away in the middle: this may have been done or not. Look how it stands before you try \
                 again",
            ),
            Self::Away => f.write_str("the store is away, and nothing was done: try again in a while"),
            Self::Denied => f.write_str("nothing was done: the operator has not granted this tool the bucket it needs"),
            Self::Damaged(key) => write!(f, "the entry `{key}` was not written by this tool: ask the operator to look"),
            Self::Other(what) => write!(f, "nothing was done: {what}"),
        }
    }
}

impl From<Fault> for String {
    fn from(fault: Fault) -> Self {
        fault.to_string()
    }
}
