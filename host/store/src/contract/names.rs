//! Names of buckets and keys, each a type with one constructor that checks it.

use std::{borrow::Borrow, fmt};

use super::{
    Bound,
    bounds::{MAX_BUCKET, MAX_KEY},
};

/// The name of a bucket: 1 to [`MAX_BUCKET`] letters, digits, `-`, `_` and `.`, as in a grant.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketName(String);

/// A key: 1 to [`MAX_KEY`] bytes of UTF-8 without control characters.
///
/// Without them, since keys are shown in lists, logs and addresses (`kv://bucket/key`), where a line break or an escape
/// sequence would forge what surrounds it; a grant's prefix may hold none either. Keys are compared byte by byte: no two
/// spellings are taken for one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl BucketName {
    /// Checks `name`.
    ///
    /// # Errors
    /// When it is empty, too long, or holds another character.
    pub fn new(name: impl Into<String>) -> Result<Self, Bound> {
        let name = name.into();
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty() || name.len() > MAX_BUCKET || !name.bytes().all(allowed) {
            let expected = format!("be 1 to {MAX_BUCKET} letters, digits, `-`, `_` and `.`, is {}", shown(&name));
            return Err(Bound::new("bucket", expected));
        }
        Ok(Self(name))
    }
}

impl Key {
    /// Checks `key`.
    ///
    /// # Errors
    /// When it is empty, too long, or holds a control character.
    pub fn new(key: impl Into<String>) -> Result<Self, Bound> {
        let key = key.into();
        if key.is_empty() || key.len() > MAX_KEY || key.chars().any(char::is_control) {
            let expected = format!("be 1 to {MAX_KEY} bytes without control characters, is {}", shown(&key));
            return Err(Bound::new("key", expected));
        }
        Ok(Self(key))
    }
}

/// The beginning of a text, escaped, with its length.
fn shown(text: &str) -> String {
    let start: String = text.chars().take(40).flat_map(char::escape_debug).collect();
    format!("`{start}` of {} bytes", text.len())
}

macro_rules! text {
    ($name:ident) => {
        impl $name {
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

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = Bound;
            fn try_from(name: String) -> Result<Self, Bound> {
                Self::new(name)
            }
        }
    };
}

text!(BucketName);
text!(Key);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_and_plain() {
        for good in ["a", "agent-local.operator_2", &"x".repeat(MAX_BUCKET)] {
            assert!(BucketName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a/b", "a{b}", "ä", "a\0", &"x".repeat(MAX_BUCKET + 1)] {
            assert!(BucketName::new(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "weather/Zürich 1", "{}", &"x".repeat(MAX_KEY)] {
            assert!(Key::new(good).is_ok(), "{good}");
        }
        for bad in ["", "a\nb", "a\u{1b}[2J", "\u{85}", "\0", &"x".repeat(MAX_KEY + 1), &"ä".repeat(257)] {
            assert!(Key::new(bad).is_err(), "{bad:?}");
        }
        let error = Key::new("a\u{1b}[2Jb").expect_err("a control character").to_string();
        assert!(!error.contains('\u{1b}'), "{error:?}");
    }
}
