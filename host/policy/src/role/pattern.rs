//! Patterns over tools and resources. `*` stands for any number of characters but `/`, `**` in resources for those too.

use std::{borrow::Cow, fmt, str::FromStr};

use serde::Deserialize;

use crate::{PluginName, ToolName};

/// Longest pattern, in bytes.
const MAX_PATTERN: usize = 512;
/// What a resource's address begins with.
const SCHEME: &str = "kv://";
/// Stands for the name of the agent that asks.
const PRINCIPAL: &str = "{principal}";

/// `TOOL`, or `PLUGIN/TOOL`: names, in which `*` stands for any number of characters.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ToolPattern {
    plugin: Option<String>,
    tool: String,
}

/// `kv://BUCKET/KEY`, in which `*` stands for any number of characters but `/`, and `**` for any number of any. Keys are
/// written as in addresses, percent-encoded (RFC 3986); `{principal}` stands for the name of the agent that asks.
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
    /// Whether it is about `uri` when `agent` asks.
    pub(super) fn matches(&self, uri: &str, agent: &str) -> bool {
        let pattern = self.of(agent);
        let (literal, rest) = split(&pattern);
        uri.strip_prefix(literal).is_some_and(|behind| path(rest, behind))
    }

    /// What every address has in common, from its first character on, that it is about when `agent` asks.
    pub fn beginning(&self, agent: &str) -> String {
        split(&self.of(agent)).0.to_owned()
    }

    /// Whether it is about an address that begins with `beginning`, as far as addresses can have any end.
    pub fn reaches(&self, beginning: &str, agent: &str) -> bool {
        walk(&self.of(agent), beginning).1
    }

    /// The name of the one bucket that it is about; none where it may be about several.
    pub fn bucket(&self, agent: &str) -> Option<String> {
        let pattern = self.of(agent);
        let (bucket, _) = pattern.strip_prefix(SCHEME)?.split_once('/')?;
        (!bucket.contains('*')).then(|| bucket.to_owned())
    }

    /// Names of agents hold nothing that means anything in a pattern.
    fn of(&self, agent: &str) -> Cow<'_, str> {
        if self.0.contains(PRINCIPAL) { Cow::Owned(self.0.replace(PRINCIPAL, agent)) } else { Cow::Borrowed(&self.0) }
    }
}

/// What stands before the first `*`, and the rest.
fn split(pattern: &str) -> (&str, &str) {
    pattern.split_at(pattern.find('*').unwrap_or(pattern.len()))
}

/// Whether addresses can have this text in them: what RFC 3986 allows in a path, with escapes in one spelling. A pattern
/// with anything else would match nothing.
fn stands_in_addresses(text: &str) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let escaped = match byte {
            b'%' => [bytes.next(), bytes.next()],
            _ if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&byte) => continue,
            _ => return false,
        };
        let upper =
            |digit: Option<u8>| digit.is_some_and(|digit| digit.is_ascii_digit() || (b'A'..=b'F').contains(&digit));
        if !escaped.into_iter().all(upper) {
            return false;
        }
    }
    true
}

impl FromStr for ResourcePattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let rest = text.strip_prefix(SCHEME).unwrap_or_default();
        let fits = text.len() <= MAX_PATTERN && !rest.is_empty() && stands_in_addresses(&rest.replace(PRINCIPAL, "p"));
        if !fits {
            let expected = "a resource as `kv://shared/research/**`, percent-encoded (`%C3%BC` for `ü`)";
            return Err(PatternError::new(expected, text));
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
    walk(pattern, text).0
}

/// Whether the pattern matches the text, and whether it matches anything that begins with it.
fn walk(pattern: &str, text: &str) -> (bool, bool) {
    let text: Vec<char> = text.chars().collect();
    let mut reached = vec![false; text.len() + 1];
    if let Some(start) = reached.first_mut() {
        *start = true;
    }
    let mut alive = text.is_empty();
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
        alive |= reached.last() == Some(&true);
    }
    (reached.last() == Some(&true), alive)
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
