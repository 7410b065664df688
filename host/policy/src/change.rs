//! A difference between what was approved and what is configured, for people. It decides nothing.

use std::fmt;

use serde::Serialize;

/// What a [`Change`] is about. Its word is the key in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    /// An entry of `http`, or its `private` ranges.
    Http,
    /// An entry of `deny`.
    Deny,
    /// An entry of `secrets`.
    Secrets,
    /// An entry of `files`.
    Files,
    /// A variable of `env`.
    Env,
    /// An entry of `kv`.
    Kv,
    /// The limit `deadline`.
    Deadline,
    /// The limit `fuel`.
    Fuel,
    /// The limit `memory`.
    Memory,
    /// The limit `output`.
    Output,
    /// The limit `concurrency`.
    Concurrency,
    /// Whether a person is asked first.
    Confirm,
}

impl ChangeKind {
    /// The key in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Deny => "deny",
            Self::Secrets => "secrets",
            Self::Files => "files",
            Self::Env => "env",
            Self::Kv => "kv",
            Self::Deadline => "deadline",
            Self::Fuel => "fuel",
            Self::Memory => "memory",
            Self::Output => "output",
            Self::Concurrency => "concurrency",
            Self::Confirm => "confirm",
        }
    }
}

impl fmt::Display for ChangeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One thing that is wider or narrower than what it is compared with. Shown as `http: GET https://b.example/**`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Change {
    /// What it is about.
    pub kind: ChangeKind,
    /// The entry, or `before → after`, without the word of the kind. It may hold text of the configuration.
    pub text: String,
}

impl Change {
    pub(crate) fn new(kind: ChangeKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.text)
    }
}

/// Whether what is compared gained or lost, so that `before → after` reads in the order of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// What is configured goes beyond what was approved.
    Widened,
    /// What is configured stays below what was approved.
    Narrowed,
}

impl Direction {
    /// `before → after`, where `more` is the wider of the two.
    pub(crate) fn arrow(self, less: impl fmt::Display, more: impl fmt::Display) -> String {
        match self {
            Self::Widened => format!("{less} → {more}"),
            Self::Narrowed => format!("{more} → {less}"),
        }
    }
}
