//! What goes wrong between this engine and redb, and how it is told.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::contract::StoreError;

/// Why a transaction did not end well.
#[derive(Debug)]
pub(super) enum Fault {
    /// The operation is refused; the transaction may go on.
    Refused(StoreError),
    /// The disk failed, or redb after it. The transaction is over.
    Storage(redb::Error),
    /// What the file holds is not what was written. The transaction is over.
    Damaged(String),
}

impl Fault {
    /// The sentence for operators.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::Refused(error) => error.to_string(),
            Self::Storage(redb::Error::Io(error)) => error.to_string(),
            Self::Storage(error) => error.to_string(),
            Self::Damaged(message) => damaged(message),
        }
    }

    /// What a read answers.
    pub(super) fn of_read(self) -> StoreError {
        match self {
            Self::Refused(error) => error,
            Self::Storage(redb::Error::Corrupted(message)) => StoreError::Other(damaged(&message)),
            Self::Storage(error) => StoreError::Unavailable(Self::Storage(error).reason()),
            Self::Damaged(message) => StoreError::Other(damaged(&message)),
        }
    }

    /// Whether opening the file again may help: redb refuses everything after an error of the disk, and a panic of its leaves
    /// locks poisoned.
    pub(super) fn heals(&self) -> bool {
        match self {
            Self::Refused(_) | Self::Damaged(_) => false,
            Self::Storage(_) => true,
        }
    }
}

fn damaged(message: &str) -> String {
    format!("the store's file is damaged: {message}. {}", super::open::WHAT_TO_DO)
}

macro_rules! from {
    ($($error:ty),*) => {
        $(impl From<$error> for Fault {
            fn from(error: $error) -> Self {
                Self::Storage(error.into())
            }
        })*
    };
}

from!(redb::StorageError, redb::TableError, redb::TransactionError, redb::CommitError, redb::SetDurabilityError);

/// Runs what reads or writes the file. redb checks most of what it reads, and panics on some of what is damaged.
pub(super) fn caught<T>(run: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
        Err(Fault::Storage(redb::Error::Corrupted("redb stopped at what it found in it".to_owned())))
    })
}
