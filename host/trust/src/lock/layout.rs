//! How a block is laid out as TOML: a line a value, and every line with the plugin's name.
//!
//! So a line of a diff says whose it is without its surroundings, and no line of one plugin's block is a line of
//! another's, which git would take for unchanged when it merges. Which values there are is not known here.

use std::fmt::Write as _;

use portcullis_policy::{Digest, PluginName};
use serde_json::Value;

use crate::{
    Approval,
    definition::characters::{Class, classes},
};

/// Why a value has no place in the lock.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfit {
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error("expected whole numbers up to 2^63 - 1, found {0}")]
    Number(String),
}

/// The lines of a block: `plugins.NAME.size = 4096`, and lists with a line an entry. `digest` is that of its grants and
/// limits, and stands below them.
pub(super) fn block(plugin: &PluginName, approval: &Approval, digest: Digest) -> Result<String, Unfit> {
    let mut text = String::new();
    lines(&format!("plugins.{plugin}"), &serde_json::to_value(approval)?, &mut text)?;
    lines(&format!("plugins.{plugin}.digest"), &Value::String(digest.to_string()), &mut text)?;
    Ok(text)
}

fn lines(path: &str, value: &Value, text: &mut String) -> Result<(), Unfit> {
    match value {
        Value::Object(members) if !members.is_empty() => {
            members.iter().try_for_each(|(name, member)| lines(&format!("{path}.{}", key(name)), member, text))
        }
        Value::Array(entries) if !entries.is_empty() => {
            text.push_str(&format!("{path} = [\n"));
            for entry in entries {
                text.push_str(&format!("    {}, # {path}\n", inline(entry)?));
            }
            text.push_str(&format!("] # {path}\n"));
            Ok(())
        }
        value => {
            text.push_str(&format!("{path} = {}\n", inline(value)?));
            Ok(())
        }
    }
}

fn inline(value: &Value) -> Result<String, Unfit> {
    let joined = |parts: Result<Vec<String>, Unfit>| parts.map(|parts| parts.join(", "));
    match value {
        Value::Bool(value) => Ok(value.to_string()),
        Value::String(text) => Ok(string(text)),
        Value::Number(number) => {
            number.as_i64().map(|n| n.to_string()).ok_or_else(|| Unfit::Number(number.to_string()))
        }
        Value::Array(entries) => Ok(format!("[{}]", joined(entries.iter().map(inline).collect())?)),
        Value::Object(members) if members.is_empty() => Ok("{}".to_owned()),
        Value::Object(members) => {
            let member = |(name, member): (&String, &Value)| Ok(format!("{} = {}", key(name), inline(member)?));
            Ok(format!("{{ {} }}", joined(members.iter().map(member).collect())?))
        }
        // Nothing of an approval is optional and written.
        Value::Null => Err(Unfit::Number("null".to_owned())),
    }
}

fn key(name: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if !name.is_empty() && name.bytes().all(bare) { name.to_owned() } else { string(name) }
}

/// A basic string on one line, in which whoever reviews sees every character (TOML 1.0, "String").
fn string(text: &str) -> String {
    let mut quoted = String::from('"');
    for (c, class) in classes(text) {
        match (c, class) {
            ('"' | '\\', _) => quoted.extend(['\\', c]),
            ('\n', _) => quoted.push_str("\\n"),
            ('\t', _) => quoted.push_str("\\t"),
            (_, Class::Plain | Class::InSequence) => quoted.push(c),
            // Writing to a text does not fail.
            _ => _ = write!(quoted, "\\U{:08X}", u32::from(c)),
        }
    }
    quoted.push('"');
    quoted
}
