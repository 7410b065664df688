//! Names, each a type with one constructor that checks it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest name of a tool, in bytes: the bound of the MCP specification (2025-11-25, "Tool Names").
pub const MAX_TOOL_NAME: usize = 128;
/// Longest name of a plugin, in bytes: it becomes a prefix of tool names.
pub const MAX_PLUGIN_NAME: usize = 64;
/// Longest name of an agent, in bytes: it becomes part of buckets' names.
pub const MAX_AGENT_NAME: usize = 64;

/// A text that is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It is empty or longer than the bound.
    #[error("`{name}` has {length} bytes, expected 1 to {max}")]
    Length {
        /// The text, as it was given.
        name: String,
        /// Its length in bytes.
        length: usize,
        /// The bound.
        max: usize,
    },
    /// It holds a character that names may not have.
    #[error("`{name}` contains `{found}`, expected only {allowed}")]
    Character {
        /// The text, as it was given.
        name: String,
        /// The first character that is not allowed, escaped.
        found: String,
        /// Which characters are.
        allowed: &'static str,
    },
}

fn check(name: &str, max: usize, allowed: &'static str, ok: fn(char) -> bool) -> Result<(), NameError> {
    if name.is_empty() || name.len() > max {
        let shown = name.chars().take(40).flat_map(char::escape_debug).collect();
        return Err(NameError::Length { name: shown, length: name.len(), max });
    }
    match name.chars().find(|c| !ok(*c)) {
        Some(found) => Err(NameError::Character {
            name: name.escape_debug().to_string(),
            found: found.escape_debug().to_string(),
            allowed,
        }),
        None => Ok(()),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $max:expr, $allowed:literal, $ok:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks `name`.
            ///
            /// # Errors
            /// When it is empty, too long, or holds a character outside the set.
            pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
                let name = name.into();
                check(&name, $max, $allowed, $ok)?;
                Ok(Self(name))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(name: String) -> Result<Self, NameError> {
                Self::new(name)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name! {
    /// The name of a plugin: its key in the configuration.
    PluginName, MAX_PLUGIN_NAME, "`a-z`, `A-Z`, `0-9`, `-` and `_`", |c| c.is_ascii_alphanumeric() || c == '-' || c == '_'
}

name! {
    /// The name that clients call a tool by (MCP 2025-11-25, "Tool Names").
    ToolName, MAX_TOOL_NAME, "`a-z`, `A-Z`, `0-9`, `_`, `-` and `.`",
    |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

name! {
    /// The name of an agent: its key in the configuration, or what a token calls it. Case counts.
    AgentName, MAX_AGENT_NAME, "`a-z`, `A-Z`, `0-9`, `-`, `_` and `.`",
    |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

name! {
    /// The name of a role: its key in the configuration.
    RoleName, MAX_PLUGIN_NAME, "`a-z`, `A-Z`, `0-9`, `-` and `_`", |c| c.is_ascii_alphanumeric() || c == '-' || c == '_'
}

/// A WIT identifier as a name in JSON: `get-URL` becomes `get_url`.
///
/// One to one within a scope, since WIT identifiers have no `_` and may not differ by case alone.
pub fn snake_case(wit: &str) -> String {
    wit.chars().map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_and_plain() {
        assert!(PluginName::new("weather-2_x").is_ok());
        assert!(ToolName::new("a.b-c_D9").is_ok());
        assert!(matches!(PluginName::new(""), Err(NameError::Length { length: 0, .. })));
        assert!(matches!(ToolName::new("x".repeat(129)), Err(NameError::Length { length: 129, .. })));
        for bad in ["a b", "naïve", "a\nb", "a\u{202e}b", "../x"] {
            assert!(matches!(ToolName::new(bad), Err(NameError::Character { .. })), "{bad:?}");
        }
    }

    #[test]
    fn an_error_shows_no_raw_control_character() {
        let error = ToolName::new("a\u{1b}[2Jb").expect_err("a control character").to_string();
        assert!(!error.contains('\u{1b}'), "{error:?}");
    }
}
