//! `portcullis.lock`: what people review and merge. A text in, a text out; who accepted it is not known here.
//!
//! Two branches that approve different plugins merge without a conflict: git joins changes that have an unchanged line
//! between them. So each block stands between two lines with its name, which are there before it is approved, and names
//! stand between lines for the letter that they begin with, which are always there. No line of a block is one of another
//! plugin's too ([`layout`]): git would take it for unchanged.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_policy::PluginName;
use serde::Deserialize;

use self::block::Block;
use crate::{Approval, file::FileError, show::escaped};

mod block;
mod layout;
#[cfg(test)]
mod merge;
#[cfg(test)]
mod tests;

/// Largest lock, in bytes: far above the bound on plugins times the size of an ordinary block, and parsed in a second.
pub const MAX_LOCK: u64 = 16 << 20;
/// Most plugins in a lock: a host of that many has other troubles first.
pub const MAX_PLUGINS: usize = 10_000;
/// The version of the layout that this Portcullis reads and writes.
const VERSION: u64 = 1;

const HEAD: &str = "\
# What was approved of each plugin: written by `portcullis approve` and `portcullis remove`, reviewed by people.
# A host loads a block once an operator there has accepted it, by approving it or with `portcullis approve --lock`.
# Keep the lines `# -- a --`, `# begin NAME` and `# end NAME`: they let branches merge that approve different plugins.
";
/// What a plugin's name can begin with, upper case folded, in the order of [`place`].
const INDEX: &str = "-0123456789_abcdefghijklmnopqrstuvwxyz";

/// The blocks of a lock, by plugin.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lock {
    /// What was approved of each.
    pub plugins: BTreeMap<PluginName, Approval>,
    /// Those whose grants or limits have another digest than stands beside them: somebody has edited the one or the
    /// other. Such a block is none that this host has accepted, until it accepts it anew.
    pub stale: BTreeSet<PluginName>,
}

/// A lock that cannot be used. All of it, since which part is sound cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// It could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is longer than [`MAX_LOCK`].
    #[error("the lock is larger than {MAX_LOCK} bytes")]
    TooLarge,
    /// It holds more than [`MAX_PLUGINS`] plugins.
    #[error("the lock has {found} plugins, expected at most {MAX_PLUGINS}")]
    TooMany {
        /// How many it holds.
        found: usize,
    },
    /// It is not UTF-8.
    #[error("line {line} of the lock is not UTF-8")]
    Encoding {
        /// The first such line, from 1.
        line: usize,
    },
    /// A merge was not finished.
    #[error("line {line} of the lock is a conflict that was left by a merge")]
    Conflict {
        /// The first such line, from 1.
        line: usize,
    },
    /// A newer Portcullis wrote it.
    #[error("the lock has version {found}, this Portcullis knows {VERSION}")]
    Newer {
        /// Its version.
        found: u64,
    },
    /// It is cut short, damaged, or has a field that is unknown.
    #[error("line {line} of the lock: {message}")]
    Damaged {
        /// The line, from 1.
        line: usize,
        /// What was expected.
        message: String,
    },
    /// An approval that the format cannot hold.
    #[error("the approval of `{plugin}` cannot be written: {message}")]
    Unwritable {
        /// Whose.
        plugin: PluginName,
        /// Why not.
        message: String,
    },
}

impl LockError {
    /// The command that mends it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::File(error @ (FileError::Io { .. } | FileError::Busy { .. })) => error.hint(),
            Self::File(FileError::NotRegular { path } | FileError::TooLarge { path, .. }) => {
                Some(format!("git checkout -- '{}'", path.display()))
            }
            Self::Conflict { .. } => Some("keep both blocks, remove the lines with `<<<<<<<`, `=======` and `>>>>>>>`, then run `portcullis approve --lock`".to_owned()),
            Self::Newer { .. } => Some("run the Portcullis that wrote it, or a newer one".to_owned()),
            Self::TooLarge
            | Self::TooMany { .. }
            | Self::Encoding { .. }
            | Self::Damaged { .. } => Some("git checkout -- portcullis.lock".to_owned()),
            Self::Unwritable { plugin, .. } => Some(format!("portcullis inspect {plugin}")),
        }
    }
}

#[derive(Deserialize)]
struct Versioned {
    version: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(rename = "version")]
    _version: u64,
    #[serde(default)]
    plugins: BTreeMap<PluginName, Block>,
}

impl Lock {
    /// Reads the text of a lock.
    ///
    /// # Errors
    /// When it is over a bound, of another version, or any part of it does not parse; unknown fields are errors.
    pub fn parse(text: &str) -> Result<Self, LockError> {
        if text.len() as u64 > MAX_LOCK {
            return Err(LockError::TooLarge);
        }
        // The version first: what a newer one holds is not damage.
        let found = toml::from_str(text).map(|Versioned { version }| version).map_err(|error| damaged(text, &error))?;
        match found {
            VERSION => {}
            0 => return Err(LockError::Damaged { line: 1, message: "there is no version 0".to_owned() }),
            _ => return Err(LockError::Newer { found }),
        }
        let Written { plugins, .. } = toml::from_str(text).map_err(|error| damaged(text, &error))?;
        if plugins.len() > MAX_PLUGINS {
            return Err(LockError::TooMany { found: plugins.len() });
        }
        let mut lock = Self::default();
        for (plugin, block) in plugins {
            let (approval, expected) = block.parts();
            let found = approval.terms_digest().map_err(|error| {
                let line = line_with(text, &format!("plugins.{plugin}.digest "));
                LockError::Damaged { line, message: format!("`{plugin}`: {error}") }
            })?;
            if found != expected {
                lock.stale.insert(plugin.clone());
            }
            lock.plugins.insert(plugin, approval);
        }
        Ok(lock)
    }

    /// Reads the bytes of a lock; see [`Lock::parse`].
    ///
    /// # Errors
    /// Those of [`Lock::parse`], and when the bytes are not UTF-8.
    pub fn read(bytes: &[u8]) -> Result<Self, LockError> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::parse(text),
            Err(error) => Err(LockError::Encoding { line: line_of(bytes, error.valid_up_to()) }),
        }
    }

    /// The text of this lock, the same for equal locks. `known` are the plugins that the configuration names: they get
    /// their place before they are approved.
    ///
    /// # Errors
    /// When a value does not fit the format, or the text is longer than [`MAX_LOCK`].
    pub fn render(&self, known: &BTreeSet<PluginName>) -> Result<String, LockError> {
        let mut names: Vec<_> = known.iter().chain(self.plugins.keys()).collect();
        names.sort_by_key(|name| place(name));
        names.dedup();
        let mut names = names.into_iter().peekable();
        let mut text = format!("{HEAD}version = {VERSION}\n\n");
        for initial in INDEX.chars() {
            text.push_str(&format!("# -- {initial} --\n"));
            while let Some(name) = names.next_if(|name| place(name).0.starts_with(initial)) {
                text.push_str(&format!("# begin {name}\n"));
                if let Some(approval) = self.plugins.get(name) {
                    text.push_str(&block(name, approval)?);
                }
                text.push_str(&format!("# end {name}\n\n"));
            }
        }
        if text.len() as u64 > MAX_LOCK {
            return Err(LockError::TooLarge);
        }
        Ok(text)
    }
}

impl Approval {
    /// This approval as it reads once it was written: what the format rounds, such as a deadline to milliseconds, is
    /// rounded. What is accepted has to equal what stands in the lock.
    ///
    /// # Errors
    /// When a value does not fit the format.
    pub(crate) fn as_written(&self, plugin: &PluginName) -> Result<Self, LockError> {
        let unwritable = |message: String| LockError::Unwritable { plugin: plugin.clone(), message };
        let text = block(plugin, self)?;
        let mut lock = Lock::parse(&format!("version = {VERSION}\n{text}")).map_err(|error| match error {
            LockError::Damaged { message, .. } => unwritable(message),
            other => unwritable(other.to_string()),
        })?;
        lock.plugins.remove(plugin).ok_or_else(|| unwritable("it was lost".to_owned()))
    }
}

/// By name without case, so that the order is the index's; then by name.
fn place(name: &PluginName) -> (String, PluginName) {
    (name.as_str().to_ascii_lowercase(), name.clone())
}

fn block(name: &PluginName, approval: &Approval) -> Result<String, LockError> {
    let unwritable = |message: String| LockError::Unwritable { plugin: name.clone(), message };
    let digest = approval.terms_digest().map_err(|error| unwritable(error.to_string()))?;
    layout::block(name, approval, digest).map_err(|error| unwritable(error.to_string()))
}

fn damaged(text: &str, error: &toml::de::Error) -> LockError {
    if let Some(at) = text.lines().position(|line| line.starts_with("<<<<<<< ") || line.starts_with(">>>>>>> ")) {
        return LockError::Conflict { line: at.saturating_add(1) };
    }
    let line = line_of(text.as_bytes(), error.span().map_or(0, |span| span.start));
    LockError::Damaged { line, message: escaped(error.message()).to_string() }
}

fn line_with(text: &str, start: &str) -> usize {
    text.lines().position(|line| line.starts_with(start)).unwrap_or_default().saturating_add(1)
}

fn line_of(text: &[u8], offset: usize) -> usize {
    text.iter().take(offset).filter(|byte| **byte == b'\n').count().saturating_add(1)
}
