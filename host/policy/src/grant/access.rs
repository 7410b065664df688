//! Reading, or reading and writing: one word for files and key-value buckets.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What may be done with what a grant opens. The wider one is the greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// It may be read.
    #[default]
    Read,
    /// It may be read, changed and removed.
    ReadWrite,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Read => "read",
            Self::ReadWrite => "read-write",
        })
    }
}
