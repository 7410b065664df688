//! Patterns over tools and resources. `*` stands for any number of characters but `/`, `**` in resources for those too.

use std::{fmt, str::FromStr};

use serde::Deserialize;

use crate::{PluginName, ToolName};

/// Longest pattern, in bytes.
const MAX_PATTERN: usize = 512;
/// What a resource's address begins with.
const SCHEME: &str = "kv://";

/// `TOOL`, or `PLUGIN/TOOL`: names, in which `*` stands for any number of characters.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ToolPattern {
    plugin: Option<String>,
    tool: String,
}

/// `kv://BUCKET/KEY`, in which `*` stands for any number of characters but `/`, and `**` for any number of any.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ResourcePattern(String);

/// A text that is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, found `{found}`")]
pub struct PatternError {
    /// What a pattern has.
    pub expected: &'static str,
    /// What was written, escaped.
    pub found: String,
}

impl PatternError {
    fn new(expected: &'static str, found: &str) -> Self {
        Self { expected, found: found.chars().take(80).flat_map(char::escape_debug).collect() }
    }
}

impl ToolPattern {
    pub(super) fn matches(&self, plugin: &PluginName, tool: &ToolName) -> bool {
        let of_plugin = self.plugin.as_ref().is_none_or(|pattern| glob(pattern, plugin.as_str()));
        of_plugin && glob(&self.tool, tool.as_str())
    }
}

impl FromStr for ToolPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let (plugin, tool) = text.split_once('/').map_or((None, text), |(plugin, tool)| (Some(plugin), tool));
        // What no name can match would be a rule without effect, which a `deny` must not be.
        let plugin_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '*');
        let tool_name = |c: char| plugin_name(c) || c == '.';
        let fits = text.len() <= MAX_PATTERN
            && plugin.is_none_or(|plugin| !plugin.is_empty() && plugin.chars().all(plugin_name))
            && !tool.is_empty()
            && tool.chars().all(tool_name);
        if !fits {
            return Err(PatternError::new("a tool as `search` or `context_*`, or `PLUGIN/TOOL`", text));
        }
        Ok(Self { plugin: plugin.map(str::to_owned), tool: tool.to_owned() })
    }
}

impl ResourcePattern {
    pub(super) fn matches(&self, uri: &str) -> bool {
        path(&self.0, uri)
    }
}

impl FromStr for ResourcePattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let rest = text.strip_prefix(SCHEME).unwrap_or_default();
        let fits = text.len() <= MAX_PATTERN && !rest.is_empty() && !text.chars().any(char::is_control);
        if !fits {
            return Err(PatternError::new("a resource as `kv://shared/research/**`", text));
        }
        Ok(Self(text.to_owned()))
    }
}

/// `*` is any number of characters.
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut pieces: Vec<_> = pieces.collect();
    let Some(last) = pieces.pop() else { return rest.is_empty() };
    for piece in pieces {
        match rest.split_once(piece) {
            Some((_, behind)) => rest = behind,
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// The same where `*` stops at a slash and `**` does not. Works through the pattern with what it could have matched so
/// far, so that no pattern takes more than its length times the text's.
pub(super) fn path(pattern: &str, text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let mut reached = vec![false; text.len() + 1];
    if let Some(start) = reached.first_mut() {
        *start = true;
    }
    let mut pattern = pattern.chars().peekable();
    while let Some(c) = pattern.next() {
        let before = std::mem::replace(&mut reached, vec![false; text.len() + 1]);
        let star = c == '*';
        let any = star && pattern.next_if_eq(&'*').is_some();
        let mut open = false;
        for (at, was) in before.iter().enumerate() {
            let previous = at.checked_sub(1).and_then(|before| text.get(before));
            let here = if star {
                open = *was || (open && (any || previous != Some(&'/')));
                open
            } else {
                at.checked_sub(1).and_then(|at| before.get(at)) == Some(&true) && previous == Some(&c)
            };
            if let Some(slot) = reached.get_mut(at) {
                *slot = here;
            }
        }
    }
    reached.last() == Some(&true)
}

macro_rules! text {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = PatternError;
            fn try_from(text: String) -> Result<Self, PatternError> {
                text.parse()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.to_string())
            }
        }
    };
}
text!(ToolPattern);
text!(ResourcePattern);

impl fmt::Display for ToolPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.plugin {
            Some(plugin) => write!(f, "{plugin}/{}", self.tool),
            None => f.write_str(&self.tool),
        }
    }
}

impl fmt::Display for ResourcePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
