//! What is wrong with arguments, told so that a model can mend them: where, what was expected, what was found.

use std::fmt;

use serde_json::Value;

/// Longest piece of the arguments quoted, in characters: enough to recognise it.
const MAX_EXCERPT: usize = 64;
/// Most names offered for an unknown one.
const MAX_OFFERED: usize = 16;
/// Largest edit distance at which a known name is taken for what was meant.
const NEAR: usize = 2;

/// An argument that the function does not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgumentError {
    /// Where, as a JSON path from the arguments: `$.filter.tags[2]`.
    pub path: String,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong with an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It is not of the type.
    Unexpected {
        /// What the type allows: "an integer from 0 to 255".
        expected: String,
        /// What was found, an escaped excerpt.
        found: String,
    },
    /// It is not there.
    Missing {
        /// What the type allows.
        expected: String,
    },
    /// There is no such argument or field.
    Unknown {
        /// The names that are meant most likely, else all that there are, a bounded number of them.
        known: Vec<String>,
    },
}

impl fmt::Display for ArgumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match &self.problem {
            Problem::Unexpected { expected, found } => write!(f, "`{path}`: expected {expected}, found {found}"),
            Problem::Missing { expected } => write!(f, "`{path}`: required, expected {expected}"),
            Problem::Unknown { known } if known.is_empty() => write!(f, "`{path}`: unknown, expected nothing here"),
            Problem::Unknown { known } => {
                write!(f, "`{path}`: unknown, expected ")?;
                for (i, name) in known.iter().enumerate() {
                    let comma = if i == 0 { "" } else { " or " };
                    write!(f, "{comma}`{name}`")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for ArgumentError {}

/// An error on its way out, which gets its path step by step.
pub(super) struct Fault {
    /// From the inside out.
    steps: Vec<Step>,
    problem: Problem,
}

enum Step {
    Key(String),
    Index(usize),
}

impl Fault {
    #[cold]
    pub(super) fn unexpected(expected: impl Into<String>, found: &Value) -> Box<Self> {
        Self::found(expected, excerpt(found))
    }

    #[cold]
    pub(super) fn found(expected: impl Into<String>, found: String) -> Box<Self> {
        Box::new(Self { steps: Vec::new(), problem: Problem::Unexpected { expected: expected.into(), found } })
    }

    #[cold]
    pub(super) fn missing(key: &str, expected: String) -> Box<Self> {
        Box::new(Self { steps: vec![Step::Key(key.to_owned())], problem: Problem::Missing { expected } })
    }

    #[cold]
    pub(super) fn unknown<'a>(key: &str, known: impl Iterator<Item = &'a str>) -> Box<Self> {
        let known: Vec<&str> = known.collect();
        let asked: String = key.chars().take(MAX_EXCERPT).collect();
        let near = known.iter().filter(|k| strsim::damerau_levenshtein(k, &asked) <= NEAR);
        let mut offered: Vec<String> = near.map(|k| (*k).to_owned()).collect();
        if offered.is_empty() {
            offered = known.iter().map(|k| (*k).to_owned()).collect();
        }
        offered.truncate(MAX_OFFERED);
        Box::new(Self { steps: vec![Step::Key(key.to_owned())], problem: Problem::Unknown { known: offered } })
    }

    #[cold]
    pub(super) fn at_key(mut self: Box<Self>, key: &str) -> Box<Self> {
        self.steps.push(Step::Key(key.to_owned()));
        self
    }

    #[cold]
    pub(super) fn at_index(mut self: Box<Self>, index: usize) -> Box<Self> {
        self.steps.push(Step::Index(index));
        self
    }

    #[cold]
    pub(super) fn into_error(self) -> ArgumentError {
        let mut path = String::from("$");
        for step in self.steps.iter().rev() {
            match step {
                Step::Key(key) if is_plain(key) => {
                    path.push('.');
                    path.push_str(key);
                }
                Step::Key(key) => path.push_str(&format!("[{}]", quoted(key))),
                Step::Index(index) => path.push_str(&format!("[{index}]")),
            }
        }
        ArgumentError { path, problem: self.problem }
    }
}

/// Whether a key can stand in a path without quotes.
fn is_plain(key: &str) -> bool {
    !key.is_empty() && key.len() <= MAX_EXCERPT && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// What was found, short and without control characters.
pub(super) fn excerpt(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(b) => b.to_string(),
        Value::Number(n) => n.to_string(),
        Value::String(s) => quoted(s),
        Value::Array(items) => format!("an array of {} elements", items.len()),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// Text in quotes, escaped, and cut where it is long.
pub(super) fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(MAX_EXCERPT).flat_map(char::escape_debug).collect();
    if text.chars().nth(MAX_EXCERPT).is_some() {
        shown.push('…');
    }
    format!("\"{shown}\"")
}
